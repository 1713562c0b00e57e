//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	// settleWithin is how long the index may take to reach the truth of a network
	// that has gone quiet.
	settleWithin = 60 * time.Second
	// holdFor is how long it must then stay there: late repairs must not break it.
	holdFor   = 5 * time.Second
	pollEvery = 250 * time.Millisecond

	// The limits are small and odd, so that pages end everywhere.
	collectionLimit = 7
	unionLimit      = 11
	unionSize       = 3
	allLimit        = 9

	maxShown = 20
)

// differences compares every listing of an index with the truth: each
// collection, unions of several, all repos, and the counted memberships. An
// error says that the index did not answer or broke its contract.
func differences(ctx context.Context, x index, want truth) ([]string, error) {
	var out []string
	compare := func(limit int, collections ...string) (leftOut int, err error) {
		got, _, err := x.walk(ctx, collections, limit, "")
		leftOut = len(got)
		got = want.withoutTombstones(got)
		out = append(out, diffSets(fmt.Sprint(collections), got, want.members(collections...))...)
		return leftOut - len(got), err
	}
	tombstoned := 0 // memberships
	for _, c := range want.Written {
		n, err := compare(collectionLimit, c)
		if err != nil {
			return nil, err
		}
		tombstoned += n
	}
	for union := range slices.Chunk(want.Written, unionSize) {
		if _, err := compare(unionLimit, union...); err != nil {
			return nil, err
		}
	}
	if _, err := compare(allLimit); err != nil {
		return nil, err
	}
	s, err := x.stats(ctx)
	if err != nil {
		return nil, err
	}
	if n := s.Memberships - tombstoned; n != want.memberships() {
		out = append(out, fmt.Sprintf("/v1/stats counts %d memberships, want %d", n, want.memberships()))
	}
	return out, nil
}

// diffSets compares the DIDs of a walk with a sorted set.
func diffSets(what string, got, want []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, did := range got {
		if seen[did] {
			out = append(out, fmt.Sprintf("%s: %s twice", what, did))
		} else if _, found := slices.BinarySearch(want, did); !found {
			out = append(out, fmt.Sprintf("%s: %s extra", what, did))
		}
		seen[did] = true
	}
	for _, did := range want {
		if !seen[did] {
			out = append(out, fmt.Sprintf("%s: %s missing", what, did))
		}
	}
	return out
}

// requireEqual waits until every index equals the truth and checks that it
// stays so.
func requireEqual(t *testing.T, want truth, indexes ...index) {
	t.Helper()
	requireEqualWithin(t, settleWithin, want, indexes...)
}

func requireEqualWithin(t *testing.T, within time.Duration, want truth, indexes ...index) {
	t.Helper()
	c := comparison{want: want, indexes: indexes}
	if err := poll(t.Context(), within, func() (bool, error) { return c.check(t.Context()) }); err != nil {
		c.fail(t, fmt.Sprintf("the index does not reach the truth: %v", err))
	}
	for end := time.Now().Add(holdFor); time.Now().Before(end); pause(t.Context()) {
		if equal, err := c.check(t.Context()); !equal {
			c.fail(t, fmt.Sprintf("the index left the truth again: %v", err))
		}
	}
}

// comparison is the last check of some indexes.
type comparison struct {
	want    truth
	indexes []index
	diff    []string
}

// check compares all indexes. That one does not answer is a difference too; an
// error is what waiting cannot mend.
func (c *comparison) check(ctx context.Context) (bool, error) {
	c.diff = nil
	for _, x := range c.indexes {
		diff, err := differences(ctx, x, c.want)
		if errors.Is(err, errContract) {
			return false, err
		}
		if err != nil {
			diff = append(diff, err.Error())
		}
		for _, line := range diff {
			c.diff = append(c.diff, fmt.Sprintf("%s %s", x, line))
		}
	}
	return len(c.diff) == 0, nil
}

func (c *comparison) fail(t *testing.T, why string) {
	t.Helper()
	for _, x := range c.indexes {
		x.dump(t)
	}
	show(t, c.diff)
	t.Fatal(why)
}

// show prints the first of many lines.
func show(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines[:min(len(lines), maxShown)] {
		t.Logf("difference: %s", line)
	}
	if more := len(lines) - maxShown; more > 0 {
		t.Logf("and %d more", more)
	}
}

// poll asks until the answer is yes, an error comes or the time is over.
func poll(ctx context.Context, within time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		pause(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("not within %v", within)
		}
	}
}

// pause waits for the next check of another process.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(pollEvery):
	}
}
