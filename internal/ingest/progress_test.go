package ingest

import (
	"fmt"
	"testing"
	"time"

	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
)

// Events that are all refused are counted, those that cannot be decoded too; what is
// wrong with one account alone is not wrong with its host, and one good event is enough.
func TestRefusedEventsInARowAreCounted(t *testing.T) {
	refused, applied := repostate.Refused, repostate.Applied
	for name, c := range map[string]struct {
		kind     kind
		accounts int
		outcomes []repostate.Outcome
		want     int64
	}{
		"commits":               {commitEvent, 9, []repostate.Outcome{refused, refused, refused}, 3},
		"frames without events": {otherEvent, 9, []repostate.Outcome{refused, refused}, 2},
		"one account":           {commitEvent, 1, []repostate.Outcome{refused, refused, refused}, 1},
		"two accounts":          {commitEvent, 2, []repostate.Outcome{refused, refused, refused}, 3},
		"a good one in between": {commitEvent, 9, []repostate.Outcome{refused, refused, applied, refused}, 1},
		"a good one last":       {commitEvent, 9, []repostate.Outcome{refused, applied}, 0},
		"messages of no repo":   {otherEvent, 9, []repostate.Outcome{repostate.Noted}, 0},
	} {
		u := &upstream{}
		var slots []*slot
		for i := range c.outcomes {
			did := fmt.Sprintf("did:plc:%024d", i%c.accounts)
			slots = append(slots, &slot{up: u, kind: c.kind, frame: event.Frame{DID: did}, refused: refusal.BadCAR})
		}
		progressed(slots, c.outcomes, nil, time.Now())
		if n := u.progress.refused.Load(); n != c.want {
			t.Errorf("%s: %d are refused in a row, want %d", name, n, c.want)
		}
	}
}

// The lag is that of the newest event that was not refused.
func TestTheLagIsThatOfTheNewestGoodEvent(t *testing.T) {
	u, now := &upstream{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var slots []*slot
	for _, age := range []time.Duration{time.Hour, time.Minute, 2 * time.Hour, time.Second} {
		slots = append(slots, &slot{up: u, kind: commitEvent, frame: event.Frame{Time: now.Add(-age)}})
	}
	b := &batch{outcomes: []repostate.Outcome{repostate.Applied, repostate.Stale, repostate.Applied, repostate.Refused}}
	progressed(slots, b.outcomes, b.newest(slots), now)
	if lag := time.Duration(u.progress.lag.Load()); lag != time.Minute {
		t.Errorf("the lag is %s", lag)
	}
}
