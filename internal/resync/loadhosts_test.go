package resync_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"railyard/internal/atproto"
)

// loadVariable makes the test binary the load hosts instead: a process of its own,
// so that memory and processor time of either side are known.
const loadVariable = "RAILYARD_TEST_FARM"

func TestMain(m *testing.M) {
	if os.Getenv(loadVariable) == "" {
		os.Exit(m.Run())
	}
	if err := loadProcess(); err != nil {
		fmt.Fprintln(os.Stderr, "load hosts:", err)
		os.Exit(1)
	}
}

// loadProcess serves until its standard input ends.
func loadProcess() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f := newLoadHosts()
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	f.serve(l)
	return nil
}

// loadHosts is many hosts on one listener, told apart by the name in the request. It
// knows just enough of HTTP for the client that it is made for.
type loadHosts struct {
	loadRepos *loadRepos

	mu   sync.Mutex
	asks map[string]int             // requests by method, those of attackers by what they do
	log  map[string][]time.Time     // when each host was asked; nil = nobody wants to know
	open map[net.Conn]struct{}      // connections
	vice map[string]func(*exchange) // hosts that are no honest ones, by the letters of their names
}

func newLoadHosts() *loadHosts {
	return &loadHosts{
		loadRepos: newLoadRepos(), asks: make(map[string]int), open: make(map[net.Conn]struct{}),
		vice: map[string]func(*exchange){"endless": endless, "drip": drip, "hop": hop},
	}
}

// serve answers until the listener is closed, and then ends all connections.
func (f *loadHosts) serve(l net.Listener) {
	var serving sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err != nil {
			break
		}
		f.mu.Lock()
		f.open[conn] = struct{}{}
		f.mu.Unlock()
		serving.Go(func() {
			f.converse(conn)
			_ = conn.Close()
			f.mu.Lock()
			delete(f.open, conn)
			f.mu.Unlock()
		})
	}
	f.mu.Lock()
	for conn := range f.open {
		_ = conn.Close()
	}
	f.mu.Unlock()
	serving.Wait()
}

// exchange is one request and its answer.
type exchange struct {
	loadHosts *loadHosts
	conn      net.Conn
	host      string
	method    string
	query     url.Values
	out       []byte // reused
}

func (f *loadHosts) converse(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 4<<10)
	x := &exchange{loadHosts: f, conn: conn}
	for x.read(in) == nil {
		if x.method == "report" {
			x.send("application/json", f.report(x.query.Has("log")))
			continue
		}
		sort := strings.TrimRight(firstLabel(x.host), "0123456789")
		if misbehave := f.vice[sort]; misbehave != nil {
			f.count(sort, x.host)
			misbehave(x)
			return
		}
		f.count(x.method, x.host)
		x.answer()
	}
}

func firstLabel(host string) string {
	label, _, _ := strings.Cut(host, ".")
	return label
}

// read takes the head of a request.
func (x *exchange) read(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	target, _, ok := bytes.Cut(bytes.TrimPrefix(line, []byte("GET /")), []byte(" "))
	if !ok {
		return errors.New("no request")
	}
	path, raw, _ := strings.Cut(string(target), "?")
	x.method = path[strings.LastIndexAny(path, "./")+1:]
	if x.query, err = url.ParseQuery(raw); err != nil {
		return err
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			return nil
		}
		if host, ok := bytes.CutPrefix(line, []byte("Host: ")); ok {
			x.host = string(bytes.TrimSpace(host))
		}
	}
}

func (f *loadHosts) count(what, host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asks[what]++
	if f.log != nil {
		f.log[host] = append(f.log[host], time.Now())
	}
}

// answer is that of an honest host.
func (x *exchange) answer() {
	did := x.query.Get("did") + x.query.Get("repo")
	repo, ok := loadRepo(did)
	if !ok {
		x.refuse()
		return
	}
	e := x.loadHosts.loadRepos
	switch x.method {
	case "getRecord":
		x.sendArchive(repo, e.tree(repo).proof(x.query.Get("collection")+"/"+x.query.Get("rkey")))
	case "getRepo":
		x.sendArchive(repo, e.tree(repo).archive)
	case "describeRepo":
		x.send("application/json", fmt.Appendf(nil,
			`{"handle":"h.load.test","did":%q,"didDoc":{},"collections":%s,"handleIsCorrect":true}`, did, e.tree(repo).describe))
	case "getRepoStatus":
		x.send("application/json", fmt.Appendf(nil, `{"did":%q,"active":true,"rev":%q}`, did, loadRev(repo)))
	default:
		x.refuse()
	}
}

func (x *exchange) refuse() {
	_, _ = io.WriteString(x.conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
}

func (x *exchange) head(kind string, length int) {
	x.out = append(x.out[:0], "HTTP/1.1 200 OK\r\nContent-Type: "...)
	x.out = append(x.out, kind...)
	x.out = append(x.out, "\r\nContent-Length: "...)
	x.out = strconv.AppendInt(x.out, int64(length), 10)
	x.out = append(x.out, "\r\n\r\n"...)
}

func (x *exchange) send(kind string, body []byte) {
	x.head(kind, len(body))
	x.out = append(x.out, body...)
	_, _ = x.conn.Write(x.out)
}

func (x *exchange) sendArchive(repo int, sections []byte) {
	var start [512]byte
	commit, cid := x.loadHosts.loadRepos.commit(repo)
	begin := appendArchive(start[:0], commit, cid)
	x.head("application/vnd.ipld.car", len(begin)+len(sections))
	x.out = append(append(x.out, begin...), sections...)
	_, _ = x.conn.Write(x.out)
}

// Hosts that would keep others waiting.

// endless sends a repo that does not end, at a mebibyte a second.
func endless(x *exchange) {
	repo, _ := loadRepo(x.query.Get("did") + x.query.Get("repo"))
	commit, cid := x.loadHosts.loadRepos.commit(repo)
	_, _ = io.WriteString(x.conn, "HTTP/1.1 200 OK\r\n\r\n")
	_, err := x.conn.Write(appendArchive(nil, commit, cid))
	block := make([]byte, 32<<10)
	section := appendSection(nil, atproto.DigestOf(block), block)
	for err == nil {
		time.Sleep(time.Second / 32)
		_, err = x.conn.Write(section)
	}
}

// drip sends ten bytes a second.
func drip(x *exchange) {
	_, err := io.WriteString(x.conn, "HTTP/1.1 200 OK\r\n\r\n")
	for err == nil {
		time.Sleep(time.Second / 10)
		_, err = x.conn.Write([]byte{0})
	}
}

// hop sends its callers to a name that is on their own machine.
func hop(x *exchange) {
	_, _ = io.WriteString(x.conn, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: https://inside0.load.test/\r\n\r\n")
}

// account is what the load hosts has seen since the last report.
type account struct {
	Asks    map[string]int // requests by method, those of attackers by what they do
	Busiest int            // the most requests that one host had in any second
	CPU     time.Duration  // processor time of the process
}

// report returns the account and begins a new one, with or without a log of times.
func (f *loadHosts) report(log bool) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := account{Asks: f.asks, CPU: processorTime()}
	for _, times := range f.log {
		a.Busiest = max(a.Busiest, mostWithin(times, time.Second))
	}
	f.asks, f.log = make(map[string]int), nil
	if log {
		f.log = make(map[string][]time.Time)
	}
	text, _ := json.Marshal(a)
	return text
}

// mostWithin is the most of some ascending times that lie in a window of a length,
// its end excluded.
func mostWithin(times []time.Time, window time.Duration) (most int) {
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
