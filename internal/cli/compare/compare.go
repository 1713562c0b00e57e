// Package compare finds the repos that an index file and the index of a server do not
// both list under a collection.
//
// Another railyard is compared by digests: of all collections first, then of the buckets
// of those that differ, and only the repos of buckets that differ are listed. Of other
// servers the whole listing of a collection is read, in whatever order and however often
// they list a repo.
//
// Both indexes may move meanwhile. What differs is looked at a second time, at both, and
// only what differs twice counts.
//
// The server may be anybody's. What it sends is bounded in bytes, in repos and in time,
// and whatever is no answer ends the comparison with an error that says so.
package compare

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"net/url"
	"slices"
	"strconv"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/listing"
	"railyard/internal/outbound"
	"railyard/internal/store"
)

const (
	maxNames = 5_000_000 // collections of a server
	// maxKept bounds the DIDs that are kept because only one side lists them, over all
	// collections, in bytes.
	maxKept = 64 << 20
	// A listing has an end after slack times the repos of ours, and maxRepeats.
	slack      = 4
	maxRepeats = 10_000_000
	// few is how many repos are listed rather than compared by buckets, and maxBuckets how
	// many buckets are listed at once, as many as the server takes.
	few        = 1000
	maxBuckets = 1000
	// perBucket is how many repos a bucket should have: with a million repos and a
	// hundred that differ, the buckets' digests are as many bytes as their repos.
	perBucket = 64
)

// ErrNoCollections is what Run returns where the server has no digests and no collections
// were named.
var ErrNoCollections = fmt.Errorf("the server has no digests (it is no railyard): name the collections")

// Config says what is compared.
type Config struct {
	Reader      *store.Reader
	Client      *outbound.Client
	Base        string        // of the server: scheme and host
	Collections []string      // their NSIDs; none: all of them, and the listed repos
	Again       time.Duration // between the two looks at what differs
	// Progress is told how far a look has come; nil means nobody.
	Progress func(what string, done, total int)
}

// Difference is a collection that is not the same on both sides.
type Difference struct {
	NSID  string   // empty: all listed repos
	Here  []string // DIDs that only the file lists, sorted
	There []string // DIDs that only the server lists, sorted

	bits   int
	wanted []int // the buckets that differ, of 2^bits; nil: all repos
}

func (d *Difference) repos() int { return len(d.Here) + len(d.There) }

// Report is what a comparison has found.
type Report struct {
	Digests     bool // the server is another railyard
	Collections int  // compared, that of all repos too
	Moved       int  // repos that differed at first, and not when they were looked at again
	Differences []Difference
}

type comparison struct {
	Config
	server server
	kept   int // bytes of DIDs
}

// Run compares.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	c := &comparison{Config: cfg, server: server{cfg.Client, cfg.Base, foreignPage}}
	if c.Progress == nil {
		c.Progress = func(string, int, int) {}
	}
	r := new(Report)
	var err error
	if r.Digests, err = c.server.recognise(ctx); err != nil {
		return nil, err
	}
	candidates := cfg.Collections
	r.Collections = len(candidates)
	if r.Digests {
		c.server.limit = ownPage
		if candidates, r.Collections, err = c.unequal(ctx); err != nil {
			return nil, err
		}
	} else if len(candidates) == 0 {
		return nil, ErrNoCollections
	}
	var found []Difference
	for i, nsid := range candidates {
		c.Progress("collections", i, len(candidates))
		d := Difference{NSID: nsid}
		if r.Digests {
			if err := c.narrow(ctx, &d); err != nil {
				return nil, err
			}
		}
		if err := c.look(ctx, &d); err != nil {
			return nil, err
		}
		if d.repos() > 0 {
			found = append(found, d)
		}
	}
	c.Progress("collections", len(candidates), len(candidates))
	if len(found) == 0 {
		return r, nil
	}
	if err := sleep(ctx, cfg.Again); err != nil {
		return nil, err
	}
	c.kept = 0
	for i, d := range found {
		c.Progress("once more", i, len(found))
		again := Difference{NSID: d.NSID, bits: d.bits, wanted: d.wanted}
		if err := c.look(ctx, &again); err != nil {
			return nil, err
		}
		before := d.repos()
		d.Here, d.There = both(d.Here, again.Here), both(d.There, again.There)
		r.Moved += before - d.repos()
		if d.repos() > 0 {
			r.Differences = append(r.Differences, d)
		}
	}
	c.Progress("once more", len(found), len(found))
	return r, nil
}

// both returns what two sorted lists have in common.
func both(a, b []string) []string {
	return slices.DeleteFunc(a, func(s string) bool { _, found := slices.BinarySearch(b, s); return !found })
}

// unequal returns the collections whose digests differ, of those that were named or of
// all, and how many were compared. The empty one comes first.
func (c *comparison) unequal(ctx context.Context) (differ []string, compared int, err error) {
	names := c.Collections
	if len(names) == 0 {
		names = []string{""}
	}
	for _, nsid := range names {
		theirs, err := c.server.sum(ctx, nsid)
		if err != nil {
			return nil, 0, err
		}
		ours, err := c.ours(ctx, nsid)
		if err != nil {
			return nil, 0, err
		}
		if ours != theirs {
			differ = append(differ, nsid)
		}
	}
	if len(c.Collections) > 0 {
		return differ, len(names), nil
	}
	ours := make(map[string]sum)
	for after := ""; ; {
		var page []store.Sum
		if err := c.Reader.View(ctx, func(rx *store.Rx) (err error) {
			page, err = rx.Sums(after, ownPage)
			return err
		}); err != nil {
			return nil, 0, err
		}
		for _, s := range page {
			ours[s.NSID] = sum{s.Members, s.Digest}
			after = s.NSID
		}
		if len(page) < ownPage {
			break
		}
	}
	compared = len(ours) + 1
	var others []string
	if err := c.server.sums(ctx, func(nsid string, theirs sum) {
		if is, known := ours[nsid]; !known {
			compared++
		} else if delete(ours, nsid); is == theirs {
			return
		}
		if theirs.members > 0 || theirs.digest != 0 {
			others = append(others, nsid)
		}
	}); err != nil {
		return nil, 0, err
	}
	for nsid, is := range ours {
		if is.members > 0 {
			others = append(others, nsid)
		}
	}
	slices.Sort(others)
	return append(differ, others...), compared, nil
}

func (c *comparison) ours(ctx context.Context, nsid string) (is sum, err error) {
	err = c.Reader.View(ctx, func(rx *store.Rx) error {
		s, err := rx.Sum(nsid)
		is = sum{s.Members, s.Digest}
		return err
	})
	return is, err
}

// narrow finds the buckets of a collection that differ, unless so few repos are in it, or
// so many buckets differ, that all of it is better listed.
func (c *comparison) narrow(ctx context.Context, d *Difference) error {
	is, err := c.ours(ctx, d.NSID)
	if err != nil || is.members <= few {
		return err
	}
	width := min(bits.Len64(uint64(is.members)/perBucket), store.MaxBucketBits)
	theirs, err := c.server.buckets(ctx, d.NSID, width)
	if err != nil {
		return err
	}
	var ours []store.Sum
	if err := c.Reader.View(ctx, func(rx *store.Rx) (err error) {
		ours, err = rx.Buckets(d.NSID, width)
		return err
	}); err != nil {
		return err
	}
	wanted := []int{}
	for i, o := range ours {
		if (sum{o.Members, o.Digest}) != theirs[i] {
			wanted = append(wanted, i)
		}
	}
	if len(wanted) <= min(maxBuckets, len(ours)/4) {
		d.bits, d.wanted = width, wanted
	}
	return nil
}

// look lists the repos of a collection that are wanted on both sides, and keeps those
// that only one of them has.
func (c *comparison) look(ctx context.Context, d *Difference) error {
	if d.wanted != nil && len(d.wanted) == 0 {
		return nil // it has moved since the digests were read
	}
	in := func(listing.Digest) bool { return true }
	path, params := listingPath, ofCollection(d.NSID)
	if d.wanted != nil {
		wanted := make(map[int]bool, len(d.wanted))
		params.Set("bits", strconv.Itoa(d.bits))
		for _, b := range d.wanted {
			wanted[b] = true
			params.Add("bucket", strconv.Itoa(b))
		}
		in = func(h listing.Digest) bool { return wanted[h.Bucket(d.bits)] }
		path = "/v1/digest/repos"
	}
	listed := make(map[listing.Digest]bool) // ours; true: theirs, too
	if err := c.members(ctx, d.NSID, func(_ []byte, h listing.Digest) bool {
		if in(h) {
			listed[h] = false
		}
		return true
	}); err != nil {
		return err
	}
	there, err := c.theirs(ctx, path, params, listed, in)
	if err != nil {
		return err
	}
	d.There = slices.Sorted(maps.Keys(there))
	// Who has come meanwhile is not in the map.
	err = c.members(ctx, d.NSID, func(did []byte, h listing.Digest) bool {
		if told, ok := listed[h]; ok && !told {
			d.Here = append(d.Here, string(did))
			c.kept += len(did)
		}
		return c.kept <= maxKept
	})
	if err == nil && c.kept > maxKept {
		err = tooMany()
	}
	slices.Sort(d.Here)
	return err
}

// theirs walks a listing of the server, marks what is ours, and returns the others.
func (c *comparison) theirs(ctx context.Context, path string, params url.Values, listed map[listing.Digest]bool,
	in func(listing.Digest) bool,
) (map[string]struct{}, error) {
	there := make(map[string]struct{})
	met := 0
	return there, c.server.walk(ctx, path, params, slack*len(listed)+maxRepeats, func(did string) error {
		h := listing.Hash(did)
		if told, ok := listed[h]; ok {
			if !told {
				listed[h] = true
				if met++; met%foreignPage == 0 {
					c.Progress("listed on both sides", met, len(listed))
				}
			}
			return nil
		}
		if !in(h) {
			return fmt.Errorf("%s: %s is in none of the buckets that were asked for", path, atproto.Clip(did))
		}
		if _, ok := there[did]; !ok {
			there[did] = struct{}{}
			c.kept += len(did)
		}
		if c.kept > maxKept {
			return tooMany()
		}
		return nil
	})
}

func tooMany() error {
	return fmt.Errorf("the DIDs that differ are more than %d MiB: these are no two indexes of one network", maxKept>>20)
}

// members calls fn with every member of a collection of the file.
func (c *comparison) members(ctx context.Context, nsid string, fn func([]byte, listing.Digest) bool) error {
	return c.Reader.View(ctx, func(rx *store.Rx) error { return rx.EachMember(nsid, fn) })
}
