package listing

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func didOf(n int) string {
	switch n % 5 {
	case 3:
		return fmt.Sprintf("did:web:host%d.example.com", n)
	case 4:
		return "did:plc:" + strings.Repeat("9", 24) // not in the alphabet
	}
	return "did:plc:" + base32PLC.EncodeToString([]byte(fmt.Sprintf("%015d", n)))
}

func read(t *testing.T, first int64, block []byte) (entries []Entry) {
	t.Helper()
	r := Read(first, block)
	for r.Next() {
		entries = append(entries, Entry{r.Seq, r.RepoID, r.Listed, string(r.AppendDID(nil))})
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return entries
}

func build(first int64, entries []Entry) (block []byte) {
	last := first
	for _, e := range entries {
		block, last = Append(block, last, e), e.Seq
	}
	return block
}

// Entries are read as they were appended, whatever was removed or joined since.
func TestBlocksHoldWhatWasPutIn(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		seq := rnd.Int64N(1 << 45)
		var all []Entry
		for i := range 1 + rnd.IntN(120) {
			seq += 1 + rnd.Int64N(1<<rnd.IntN(20))
			all = append(all, Entry{seq, 1 + rnd.Int64N(1<<30), seq - rnd.Int64N(seq+1), didOf(i)})
		}
		cut := rnd.IntN(len(all))
		first, second := all[0].Seq, all[cut].Seq
		a, b := build(first, all[:cut]), build(second, all[cut:])
		if got := read(t, first, a); !slices.Equal(got, all[:cut]) {
			t.Fatalf("seed %d: read %v, want %v", seed, got, all[:cut])
		}
		var dead []int64
		kept := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool {
			if rnd.IntN(3) == 0 {
				dead = append(dead, e.Seq)
			}
			return len(dead) > 0 && dead[len(dead)-1] == e.Seq
		})
		a, n, err := Remove(first, a, dead)
		if err != nil {
			t.Fatal(err)
		}
		b, m, err := Remove(second, b, dead)
		if err != nil || n+m != len(dead) {
			t.Fatalf("seed %d: removed %d + %d of %d, %v", seed, n, m, len(dead), err)
		}
		last, err := Last(first, a)
		if err != nil {
			t.Fatal(err)
		}
		joined, err := Join(a, last, second, b)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, first, joined); !slices.Equal(got, kept) {
			t.Fatalf("seed %d: joined %v, want %v", seed, got, kept)
		}
	}
}

func TestDigestsOfSets(t *testing.T) {
	var sum Digest
	for n := range 100 {
		sum = sum.Plus(Hash(didOf(n * 5)))
	}
	if sum == 0 || sum > digestMask {
		t.Errorf("digest %x", sum)
	}
	for n := range 100 {
		sum = sum.Minus(HashBytes([]byte(didOf(n * 5))))
	}
	if sum != 0 {
		t.Errorf("digest of the empty set %x", sum)
	}
	// XXH64 with seed 0 of "a" is d24ec4f1a98c6e5b.
	if got, want := Hash("a"), Digest(0xd24ec4f1a98c6e5b>>2); got != want {
		t.Errorf("hash %x, want %x", got, want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(int64(7), build(7, []Entry{{7, 1, 3, didOf(0)}, {9, 2, 9, didOf(3)}}))
	f.Add(int64(1), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, first int64, block []byte) {
		r := Read(first, block)
		entries := 0
		var rebuilt []Entry
		for r.Next() {
			if entries++; entries > len(block) {
				t.Fatal("more entries than bytes")
			}
			rebuilt = append(rebuilt, Entry{r.Seq, r.RepoID, r.Listed, string(r.AppendDID(nil))})
		}
		if r.Err() != nil || first < 0 {
			return
		}
		if again := read(t, first, build(first, rebuilt)); !slices.Equal(again, rebuilt) {
			t.Fatalf("read %v, packed and read again %v", rebuilt, again)
		}
	})
}
