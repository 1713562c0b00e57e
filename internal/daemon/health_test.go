package daemon

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"railyard/internal/health"
	"railyard/internal/ingest"
	"railyard/internal/refusal"
)

func TestWhatIsWrongWithAnUpstream(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	well := ingest.Progress{URL: "https://relay.example.com", Relay: true, Connected: true, Heard: now, Applied: now}
	for name, c := range map[string]struct {
		change func(*ingest.Progress)
		want   []health.Kind
	}{
		"nothing":                 {func(*ingest.Progress) {}, nil},
		"no connection":           {func(p *ingest.Progress) { p.Connected, p.Heard = false, time.Time{} }, []health.Kind{health.CutOff}},
		"a relay without a word":  {func(p *ingest.Progress) { p.Heard = now.Add(-2 * time.Minute) }, []health.Kind{health.Silent}},
		"a PDS without a word":    {func(p *ingest.Progress) { p.Relay, p.Heard = false, now.Add(-time.Hour) }, nil},
		"old events":              {func(p *ingest.Progress) { p.Lag = time.Hour }, []health.Kind{health.Behind}},
		"old events, a while ago": {func(p *ingest.Progress) { p.Lag, p.Applied = time.Hour, now.Add(-time.Minute) }, nil},
		"a few refused":           {func(p *ingest.Progress) { p.Refused, p.Reason = refusedAfter-1, refusal.WrongHost }, nil},
		"all refused":             {func(p *ingest.Progress) { p.Refused, p.Reason = refusedAfter, refusal.WrongHost }, []health.Kind{health.Refused}},
	} {
		at := now
		s := &Service{health: health.New(slog.New(slog.DiscardHandler), func() time.Time { return at })}
		p := well
		c.change(&p)
		for range 5 {
			s.watchUpstream(p, now)
			at = at.Add(watchEvery)
		}
		var got []health.Kind
		for _, trouble := range s.health.Troubles() {
			got = append(got, trouble.Kind)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		for range 2 {
			s.watchUpstream(well, now)
		}
		if left := s.health.Troubles(); len(left) > 0 {
			t.Errorf("%s: it is over, and %v stays", name, left)
		}
	}
}
