package bench

import (
	"strings"
	"testing"

	"railyard/internal/atproto"
)

func TestTheShapeIsWhatItSays(t *testing.T) {
	s := Shape{Repos: 3000, Seed: 7}
	dids, members := make(map[string]bool), make(map[string]int)
	all, late, overlaps := 0, 0, 0
	for i := range s.Repos {
		did, err := atproto.ParseDID(s.DID(i))
		if err != nil {
			t.Fatal(err)
		}
		dids[string(did)] = true
		first, later := s.Collections(i)
		all, late = all+len(first)+len(later), late+len(later)
		large := 0
		for _, nsid := range append(first, later...) {
			if _, err := atproto.ParseNSID(nsid); err != nil {
				t.Error(err)
			}
			if members[nsid]++; strings.HasPrefix(nsid, strings.TrimSuffix(Prefix, "*")) {
				large++
			}
		}
		if large > 1 {
			overlaps++
		}
	}
	n := float64(s.Repos)
	if len(dids) != s.Repos {
		t.Errorf("%d DIDs of %d repos", len(dids), s.Repos)
	}
	if mean := float64(all) / n; mean < 5.5 || mean > 6.5 {
		t.Errorf("%.2f collections a repo", mean)
	}
	if part := float64(late) / float64(all); part < 0.18 || part > 0.22 {
		t.Errorf("%.3f of the memberships come late", part)
	}
	if part := float64(overlaps) / n; part < 0.95 {
		t.Errorf("%.3f of the repos have more than one large collection", part)
	}
	if first, last := float64(members[Large(0)])/n, float64(members[Large(largeOnes-1)])/n; first < 0.92 || last < 0.08 {
		t.Errorf("the large collections have from %.2f to %.2f of the repos", first, last)
	}
	if len(members) < 200 || members[Small(smallOnes-1)] > members[Large(largeOnes-1)]/10 {
		t.Errorf("%d collections, the smallest with %d members", len(members), members[Small(smallOnes-1)])
	}
	if (Shape{3000, 7}).DID(5) != s.DID(5) || (Shape{3000, 8}).DID(5) == s.DID(5) {
		t.Error("a DID does not depend on the seed, or on more than that")
	}
}
