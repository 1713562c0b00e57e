package api

import (
	"net/http"
	"time"

	"railyard/internal/health"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

type statsAnswer struct {
	Index       string           `json:"index" doc:"The id of the index, which its cursors begin with."`
	Repos       map[string]int64 `json:"repos" doc:"How many repos are in each state, in all (total), and of active accounts (active)."`
	Memberships int64            `json:"memberships" doc:"Pairs of a repo and a collection that are listed."`
	Collections int64            `json:"collections" doc:"Collections with at least one repo."`
	ResyncQueue int64            `json:"resync_queue" doc:"Repos that are wrong or unproven today."`
	InFlight    *int64           `json:"in_flight" doc:"Events received and not stored yet, fetches under way, and crawls that are wanted."`
	ResyncLater int64            `json:"resync_later" doc:"Repos that are right and looked at again later."`
	Upstreams   []upstreamStats  `json:"upstreams" doc:"The relays and PDSes whose events are followed."`
	Version     string           `json:"version" doc:"Of the program."`
	Troubles    []health.Trouble `json:"troubles" doc:"What stands still or falls behind."`
}

type upstreamStats struct {
	URL         string   `json:"url" doc:"As it was configured."`
	Kind        *string  `json:"kind" doc:"relay or pds."`
	Cursor      *int64   `json:"cursor" doc:"Its events up to this number are in the index."`
	Connected   bool     `json:"connected" doc:"Whether its socket is open."`
	LastEventAt *string  `json:"last_event_at" format:"date-time" doc:"When its last event was applied."`
	LagSeconds  *float64 `json:"lag_seconds" doc:"How old the newest event was when it was applied."`
}

// stats answers /v1/stats.
func (s *server) stats(r *http.Request) (any, error) {
	var live Live
	if s.Live != nil {
		live = s.Live() // before the file: what is done meanwhile must show in one of the two
	}
	var st store.Stats
	err := s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		st, err = rx.Stats()
		return err
	})
	if err != nil {
		return nil, err
	}
	out := statsAnswer{
		Index: s.Store.IndexID(), Memberships: st.Memberships, Collections: st.Collections,
		ResyncQueue: st.Waiting, ResyncLater: st.WaitingLater, Version: s.Version,
		Repos: map[string]int64{"active": st.Active}, Upstreams: []upstreamStats{},
		Troubles: append([]health.Trouble{}, live.Troubles...),
	}
	if s.Live != nil {
		out.InFlight = &live.InFlight
	}
	for state := repostate.Candidate; state <= repostate.NotFound; state++ {
		out.Repos[state.String()] = st.Repos[state]
		out.Repos["total"] += st.Repos[state]
	}
	for _, u := range st.Upstreams {
		if connected, followed := live.Connected[u.ID]; followed || s.Live == nil {
			out.Upstreams = append(out.Upstreams, statsOf(u, connected))
		}
	}
	return out, nil
}

func statsOf(u store.Upstream, connected bool) upstreamStats {
	out := upstreamStats{URL: u.URL, Connected: connected}
	if u.Kind != store.KindUnknown {
		k := string(u.Kind)
		out.Kind = &k
	}
	if u.Cursor != 0 {
		out.Cursor = &u.Cursor
	}
	if !u.LastEventAt.IsZero() {
		t := u.LastEventAt.UTC().Format(time.RFC3339Nano)
		out.LastEventAt = &t
	}
	if u.Lag != nil {
		lag := u.Lag.Seconds()
		out.LagSeconds = &lag
	}
	return out
}

type healthAnswer struct {
	Version  string           `json:"version" doc:"Of the program."`
	Troubles []health.Trouble `json:"troubles,omitempty" doc:"What falls behind."`
}

// health answers /_health: 503 once the writer has stopped, and while the index stands
// still. A trouble that slows it down is in the answer.
func (s *server) health(*http.Request) (any, error) {
	if err := s.Store.Err(); err != nil {
		return nil, fail(http.StatusServiceUnavailable, "WriterStopped", "the index is no longer written")
	}
	out := healthAnswer{Version: s.Version}
	if s.Live == nil {
		return out, nil
	}
	live := s.Live()
	if t := health.Stands(live.Troubles, len(live.Connected)); t != nil {
		return nil, fail(http.StatusServiceUnavailable, "StandsStill", "%s", standing(t))
	}
	out.Troubles = live.Troubles
	return out, nil
}

// standing says what a trouble is of, and since when.
func standing(t *health.Trouble) string {
	of := ""
	if t.Upstream != "" {
		of = t.Upstream + ": "
	}
	return of + t.Why + ", since " + t.Since.Format(time.RFC3339)
}
