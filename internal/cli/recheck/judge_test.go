package recheck

import (
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/establish"
	"railyard/internal/repostate"
)

// at is the row of a repo in service whose tree is named by its rev.
func at(rev atproto.TID, set ...string) *row {
	repo := &repostate.Repo{State: repostate.Synchronized, Active: true, Head: &repostate.Head{Rev: rev, CID: atproto.Digest{byte(rev)}}, Identity: new(repostate.Identity)}
	return &row{Repo: repo, idle: true, set: set, listed: true}
}

func TestJudge(t *testing.T) {
	changed := func(r *row, change func(*row)) *row { change(r); return r }
	queued := func(r *row) { r.idle = false }
	out := func(r *row) { r.idle, r.State = false, repostate.Desynchronized }
	for name, c := range map[string]struct {
		before, after *row
		got           *row // what the host serves
		want          Verdict
		decider       int // 0 before, 1 after
	}{
		"the same":                  {at(5, "a"), at(5, "a"), at(5, "a"), Equal, 1},
		"lacks":                     {at(5), at(5), at(5, "a"), Differs, 1},
		"too many":                  {at(5, "a", "b"), at(5, "a", "b"), at(5, "a"), Differs, 1},
		"repaired meanwhile":        {at(5), at(5, "a"), at(5, "a"), Equal, 1},
		"broken meanwhile":          {at(5, "a"), at(5), at(5, "a"), Equal, 0},
		"arrived":                   {at(4), at(5, "a"), at(5, "a"), Equal, 1},
		"left":                      {at(5, "a"), at(6), at(5, "a"), Equal, 0},
		"left, and was wrong":       {at(5), at(6, "a"), at(5, "a"), Differs, 0},
		"arrived wrong":             {at(4), at(5), at(5, "a"), Differs, 1},
		"went by":                   {at(4), at(6), at(5, "a"), Moved, 1},
		"later":                     {at(4), at(4), at(5, "a"), Behind, 1},
		"later still":               {at(3), at(4), at(5, "a"), Behind, 1},
		"older":                     {at(6), at(6), at(5, "a"), Ahead, 1},
		"older, and on":             {at(6), at(7), at(5, "a"), Ahead, 1},
		"wrong, and in the queue":   {changed(at(5), queued), changed(at(5), queued), at(5, "a"), Moved, 1},
		"wrong, and then queued":    {at(5), changed(at(5), queued), at(5, "a"), Differs, 0},
		"right, and in the queue":   {changed(at(5, "a"), queued), changed(at(5, "a"), queued), at(5, "a"), Equal, 1},
		"later, and out of service": {at(4), changed(at(4), out), at(5, "a"), Moved, 1},
	} {
		verdict, decider := judge(c.before, c.after, &establish.Found{Head: establish.Head(*c.got.Head), Collections: c.got.set})
		if verdict != c.want || decider != []*row{c.before, c.after}[c.decider] {
			t.Errorf("%s: %s, want %s", name, verdict, c.want)
		}
	}
}
