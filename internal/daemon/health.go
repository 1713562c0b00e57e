package daemon

import (
	"context"
	"fmt"
	"time"

	"railyard/internal/health"
	"railyard/internal/ingest"
	"railyard/internal/refusal"
)

const (
	// watchEvery is how often the service looks at itself.
	watchEvery = 5 * time.Second
	// silentAfter is how long a relay says nothing before that is odd: that of a whole
	// network says hundreds of things a second.
	silentAfter = time.Minute
	// behindAfter is how old events are when they are applied while we are behind, and
	// flowing how old the last of them is at most: a quiet upstream is not behind.
	behindAfter = 30 * time.Second
	flowing     = 10 * time.Second
	// refusedAfter is how many events in a row are refused before that is no accident.
	refusedAfter = 20
)

// watch reports what stands still or falls behind until ctx ends.
func (s *Service) watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			s.health.Report(health.Short, "", s.outbound.Short(), time.Time{})
			if s.watchFile(); !s.store.Locked().IsZero() {
				continue // upstreams wait for us
			}
			for _, p := range s.ingest.Progress() {
				s.watchUpstream(p, now)
			}
		}
	}
}

func (s *Service) watchFile() {
	if locked := s.store.Locked(); locked.IsZero() {
		s.health.Report(health.Locked, "", "", locked)
	} else {
		s.health.Report(health.Locked, "", "another program holds the write lock of the file; nothing is written until it lets go",
			locked, "holder", s.store.Holder())
	}
	why := ""
	if size := s.store.Pinned(); size > 0 {
		why = fmt.Sprintf("the write-ahead log has %d MiB and cannot be shortened: a shell, a backup, a replicator or slow queries have been reading old states of the file", size>>20)
	}
	s.health.Report(health.Pinned, "", why, time.Time{})
}

func (s *Service) watchUpstream(p ingest.Progress, now time.Time) {
	report := func(kind health.Kind, wrong bool, since time.Time, why string) {
		if !wrong {
			why = ""
		}
		s.health.Report(kind, p.URL, why, since)
	}
	report(health.CutOff, !p.Connected, time.Time{}, "the upstream is not connected")
	report(health.Silent, p.Connected && p.Relay && now.Sub(p.Heard) > silentAfter, p.Heard,
		fmt.Sprintf("the relay has sent nothing for %s", now.Sub(p.Heard).Round(time.Second)))
	report(health.Behind, p.Connected && p.Lag > behindAfter && now.Sub(p.Applied) < flowing, time.Time{},
		fmt.Sprintf("its events are %s old when they are applied", p.Lag.Round(time.Second)))
	why := fmt.Sprintf("its last %d events were all refused: %s", p.Refused, p.Reason)
	if p.Reason == refusal.WrongHost {
		why += " (documents of its accounts name another host; if that is this one, follow it as URL#NAME)"
	}
	report(health.Refused, p.Refused >= refusedAfter, time.Time{}, why)
}
