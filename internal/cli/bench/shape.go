package bench

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
)

// Shape is a network of made-up repos. Two equal shapes have the same repos.
type Shape struct {
	Repos int    // numbered from 0
	Seed  uint64 // one seed, one network
}

const (
	largeOnes = 20  // collections that repos have again and again
	smallOnes = 200 // collections that few have
	hosts     = 200
	// lateShare of the memberships come by a commit, after the repo was listed.
	lateShare = 0.2
	// smallShare is how many of the small collections a repo has, on average.
	smallShare = 0.4
)

// Large returns the name of a large collection, 0 to 19, the largest first. 95 of a
// hundred repos have the first one, 11 the last.
func Large(n int) string { return fmt.Sprintf("app.example.feed.large%02d", n) }

// Prefix matches all large collections and no other.
const Prefix = "app.example.*"

// Small returns the name of a small collection, 0 to 199, the largest first.
func Small(n int) string { return fmt.Sprintf("com.site%03d.record", n) }

// share is the part of the repos that have the large collection n. The shares sum up
// to 5.7.
func share(n int) float64 { return 0.95 / (1 + 0.4*float64(n)) }

// String names the shape and the version of the generator: an index of another one is
// another index.
func (s Shape) String() string { return fmt.Sprintf("bench 1, repos %d, seed %d", s.Repos, s.Seed) }

// random returns the chances of repo i, for one purpose.
func (s Shape) random(i int, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed<<8|purpose, uint64(i)))
}

// Purposes of chances.
const (
	forDID = iota
	forCollections
	forOrder
	forWrites
	forQueries
)

var plcBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// DID returns the DID of repo i: a did:plc but for one repo in a hundred.
func (s Shape) DID(i int) string {
	if i%100 == 99 {
		return fmt.Sprintf("did:web:repo%d.example.com", i)
	}
	r := s.random(i, forDID)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	return "did:plc:" + plcBase32.EncodeToString(b[:15])
}

// Host returns the name of the PDS of repo i.
func (s Shape) Host(i int) string { return fmt.Sprintf("pds%03d.example.net", i%hosts) }

// Key returns the signing key of repo i: the prefix of K-256 and what has the form of a
// compressed point. Nothing is signed with it.
func (s Shape) Key(i int) string {
	digest := s.digest("key", i, 0)
	return "\xe7\x01\x02" + string(digest[:])
}

// Collections returns the collections of repo i, about six: those that a fetch finds,
// and those that begin later.
func (s Shape) Collections(i int) (first, later []string) {
	r := s.random(i, forCollections)
	add := func(nsid string) {
		if r.Float64() < lateShare {
			later = append(later, nsid)
		} else {
			first = append(first, nsid)
		}
	}
	for n := range largeOnes {
		if r.Float64() < share(n) {
			add(Large(n))
		}
	}
	if r.Float64() < smallShare {
		add(Small(smallOne(r)))
	}
	return first, later
}

// smallOne draws a small collection: one of the first tenth as often as one of all others.
func smallOne(r *rand.Rand) int {
	if r.IntN(2) == 0 {
		return r.IntN(smallOnes / 10)
	}
	return r.IntN(smallOnes)
}

// Head returns the head of repo i after n commits that followed the first one.
func (s Shape) Head(i, n int) repostate.Head {
	return repostate.Head{Rev: firstRev + atproto.TID(n)<<10, Data: s.digest("data", i, n), CID: s.digest("commit", i, n)}
}

// firstRev is the rev of every repo's first commit.
var firstRev = atproto.TIDAt(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))

// commits returns how many commits a head has behind it.
func commits(h *repostate.Head) int { return int((h.Rev - firstRev) >> 10) }

func (s Shape) digest(what string, i, n int) atproto.Digest {
	return sha256.Sum256(fmt.Appendf(nil, "%s %d %d %d", what, s.Seed, i, n))
}
