package repo

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/test/msttest"
)

// bigRecords and bigRecord make a repo whose CAR has 97 MB.
const (
	bigRecords = 288_000
	bigRecord  = 205
)

// writeBigCAR writes a repo of many records, the blocks in no order, and returns
// the name of its file.
func writeBigCAR(t testing.TB, records int) (name string, size int64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(97, 288))
	content := make(map[string][]byte, records)
	var blocks [][]byte
	for i := range records {
		record := dagcbor.AppendBytes(nil, make([]byte, bigRecord))
		copy(record[4:], fmt.Sprint(i))
		rev := atproto.TID(1_750_000_000_000_000+rng.Int64N(1<<45)) << 10
		content[[...]string{"app.bsky.feed.like/", "app.bsky.feed.post/", "app.bsky.graph.follow/"}[i%3]+rev.String()] = atproto.DigestOf(record).AppendCID(nil)
		blocks = append(blocks, record)
	}
	root, nodes := msttest.Build(content)
	for _, node := range nodes {
		blocks = append(blocks, node)
	}
	rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	name = filepath.Join(t.TempDir(), "big.car")
	file, err := os.Create(name)
	must(t, err)
	w := bufio.NewWriterSize(file, 1<<20)
	w.Write(carOf(t, root, nil))
	for _, block := range blocks {
		w.Write(blockOf(block))
	}
	must(t, w.Flush())
	info, err := file.Stat()
	must(t, err)
	must(t, file.Close())
	return name, info.Size()
}

// BenchmarkWalkCAR lists a repo of 288,000 records from a file. The metric
// peak-rss-MiB is that of a new process which does the same once.
func BenchmarkWalkCAR(b *testing.B) {
	name, size := writeBigCAR(b, bigRecords)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		s, err := readFile(name)
		if err != nil || len(s.Collections) != 3 {
			b.Fatalf("%+v, %v", s, err)
		}
	}
	b.ReportMetric(peakRSS(b, name), "peak-rss-MiB")
}

func readFile(name string) (*Snapshot, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ReadSnapshot(struct{ io.Reader }{file}, SnapshotLimits{})
}

// walkVariable names the CAR that a process of this test binary is to read.
const walkVariable = "RAILYARD_TEST_WALK_CAR"

// peakRSS reads a CAR in a new process and returns the most memory that it had
// resident, in MiB.
func peakRSS(t testing.TB, name string) float64 {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWalkInAProcessOfItsOwn$", "-test.v")
	cmd.Env = append(os.Environ(), walkVariable+"="+name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "VmHWM:")
	fields := strings.Fields(text)
	if len(fields) < 2 || fields[1] != "kB" {
		t.Skipf("no VmHWM in %q", out)
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	must(t, err)
	return kib / 1024
}

// TestWalkInAProcessOfItsOwn is what peakRSS runs.
func TestWalkInAProcessOfItsOwn(t *testing.T) {
	name := os.Getenv(walkVariable)
	if name == "" {
		t.Skip("only has work in the process that peakRSS starts")
	}
	s, err := readFile(name)
	if err != nil || len(s.Collections) == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range bytes.Lines(status) {
		if bytes.HasPrefix(line, []byte("VmHWM:")) {
			fmt.Printf("%s", line)
		}
	}
}
