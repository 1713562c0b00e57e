package daemon

import (
	"context"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/plc"
	"railyard/internal/store"
)

// newFollower makes the follower of the PLC directory's log, nil without
// Config.PLCExport.
func (s *Service) newFollower(resolver *identity.Resolver, hosts atproto.Hosts) *plc.Follower {
	if s.cfg.PLCExport == "" {
		return nil
	}
	return plc.New(plc.Config{
		Store: s.store, Client: s.outbound, URL: strings.TrimSuffix(s.cfg.PLCExport, "/"), Pace: resolver.Pace, Hosts: hosts,
		Ready: s.listed, KeyChanged: s.ingest.ForgetKey, Log: s.log, Metrics: s.metrics,
	})
}

// listed reports whether a first crawl of each upstream's listing has ended.
func (s *Service) listed(ctx context.Context) (bool, error) {
	if s.cfg.Crawl == Off {
		return true, nil
	}
	followed, listed := s.ingest.Upstreams(), 0
	err := s.store.OwnView(ctx, func(rx *store.Rx) error {
		for _, id := range followed {
			row, err := rx.Crawl(store.CrawlID{Kind: store.OfUpstream, Server: id})
			if err != nil {
				return err
			}
			if !row.Finished.IsZero() {
				listed++
			}
		}
		return nil
	})
	return listed == len(followed), err
}

// logCurrent returns the time up to which the PLC directory's log is in the file.
func (s *Service) logCurrent() (at time.Time) {
	if s.plc != nil {
		at = s.plc.Current()
	}
	return at
}

// followLog reads the PLC directory's log. Without it, what a former process held
// back for it is released.
func (s *Service) followLog(ctx context.Context) error {
	if s.plc != nil {
		return s.plc.Run(ctx)
	}
	if err := s.store.DropPLCLog(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	<-ctx.Done()
	return nil
}
