//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// follower is a client that keeps its last cursor and asks again later.
type follower struct {
	collections []string
	cursor      string
	// known holds the DIDs that it was given and that were members ever since:
	// those must not come again.
	known map[string]bool
}

func follow(collections ...string) *follower {
	return &follower{collections: collections, known: map[string]bool{}}
}

// observe shows the follower a settled truth without asking the index: who is
// no member now, or left and came back, may come again.
func (f *follower) observe(want truth, back []string) {
	members := want.members(f.collections...)
	for did := range f.known {
		if _, member := slices.BinarySearch(members, did); !member || slices.Contains(back, did) {
			delete(f.known, did)
		}
	}
}

// ask pages from the kept cursor and returns what was wrong: a newcomer that did
// not come, or another that did.
func (f *follower) ask(ctx context.Context, x index, want truth) ([]string, error) {
	got, cursor, err := x.walk(ctx, f.collections, collectionLimit, f.cursor)
	if err != nil {
		return nil, err
	}
	members := want.members(f.collections...)
	newcomers := slices.DeleteFunc(slices.Clone(members), func(did string) bool { return f.known[did] })
	wrong := diffSets(fmt.Sprintf("newcomers of %v", f.collections), got, newcomers)
	f.cursor = cursor
	for _, did := range members {
		f.known[did] = true
	}
	return wrong, nil
}

// eager is a client that asks in the middle of everything. What it is given may
// be gone a moment later, but it must not miss a repo.
type eager struct {
	collections []string
	cursor      string
	given       map[string]bool
}

func (e *eager) ask(ctx context.Context, x index) error {
	got, cursor, err := x.walk(ctx, e.collections, collectionLimit, e.cursor)
	if err != nil {
		return err
	}
	for _, did := range got {
		e.given[did] = true
	}
	e.cursor = cursor
	return nil
}

// missed returns the members that never came.
func (e *eager) missed(want truth) []string {
	return slices.DeleteFunc(want.members(e.collections...), func(did string) bool { return e.given[did] })
}

// audience is the clients of one index.
type audience struct {
	// regulars ask after each step. Sleepers, nil before the first step, keep its
	// cursor until the last.
	regulars, sleepers map[string]*follower
	eager              []*eager
}

func newAudience() *audience {
	return &audience{
		regulars: map[string]*follower{"": follow()},
		eager: []*eager{
			{given: map[string]bool{}},
			{collections: []string{"com.example.gallery"}, given: map[string]bool{}},
			{collections: []string{"com.example.note", "com.example.Note", "a.b.c"}, given: map[string]bool{}},
		},
	}
}

// settled shows all clients a settled truth, and lets the regulars ask.
func (a *audience) settled(t *testing.T, x index, want truth, back []string) {
	t.Helper()
	first := a.sleepers == nil
	if first {
		a.sleepers = map[string]*follower{"": follow()}
	}
	for _, c := range want.Written {
		if a.regulars[c] == nil {
			a.regulars[c] = follow(c)
		}
		if first {
			a.sleepers[c] = follow(c)
		}
	}
	for _, f := range a.sleepers {
		f.observe(want, back)
	}
	for _, f := range a.regulars {
		f.observe(want, back)
	}
	a.askAll(t, x, want, a.regulars)
	if first {
		a.askAll(t, x, want, a.sleepers)
	}
	a.requireNoneMissed(t, x, want)
}

// requireNoneMissed lets the eager clients ask, and checks that they were given
// every member.
func (a *audience) requireNoneMissed(t *testing.T, x index, want truth) {
	t.Helper()
	for _, e := range a.eager {
		if err := e.ask(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		if missed := e.missed(want); len(missed) > 0 {
			t.Fatalf("%s: a client of %v that asked all the time missed %v", x, e.collections, missed)
		}
	}
}

// wake lets the sleepers ask.
func (a *audience) wake(t *testing.T, x index, want truth) {
	t.Helper()
	a.askAll(t, x, want, a.sleepers)
}

func (a *audience) askAll(t *testing.T, x index, want truth, all map[string]*follower) {
	t.Helper()
	var wrong []string
	for _, f := range all {
		lines, err := f.ask(t.Context(), x, want)
		if err != nil {
			t.Fatal(err)
		}
		wrong = append(wrong, lines...)
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		show(t, wrong)
		t.Fatalf("%s: clients with a kept cursor were answered wrongly", x)
	}
}

// interrupt lets the eager clients ask now.
func (a *audience) interrupt(t *testing.T, x index) {
	t.Helper()
	for _, e := range a.eager {
		if err := e.ask(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
}
