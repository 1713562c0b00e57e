package api

import (
	"errors"
	"net/http"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// maxSteps bounds the steps of a time series.
const maxSteps = 2000

type countAnswer struct {
	Counts   []countOf `json:"counts" doc:"In the order of the names, each once."`
	Distinct *int64    `json:"distinct,omitempty" doc:"Repos that have records in any of them, if that was asked for."`
	Coverage coverage  `json:"coverage" doc:"How far the index is."`
}

type countOf struct {
	Collection  string `json:"collection" doc:"As it was asked for."`
	Members     int64  `json:"members" doc:"Repos with records in it; of a pattern the sum over its collections, in which a repo may count several times."`
	Collections int64  `json:"collections" doc:"Collections that it stands for and that have members."`
}

// coverage says how far the index is, so that a figure can be judged.
type coverage struct {
	Listed       int64 `json:"listed" doc:"Repos that are listed."`
	Synchronized int64 `json:"synchronized" doc:"Repos whose set is the one of their last known commit."`
	ResyncQueue  int64 `json:"resync_queue" doc:"Repos that are wrong or unproven today; the index is complete once it is near 0."`
}

func coverageOf(rx *store.Rx) (c coverage, err error) {
	all, err := rx.Counts([]string{""})
	if err != nil {
		return c, err
	}
	st, err := rx.Stats()
	return coverage{Listed: all[0].Members, Synchronized: st.Repos[repostate.Synchronized], ResyncQueue: st.Waiting}, err
}

// count answers /v1/count: what each of some collections or patterns has, and how many
// repos have records in any of them.
func (s *server) count(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	collections, err := patternsOf("collection", params["collection"])
	if err != nil {
		return nil, err
	}
	if len(collections) == 0 {
		return nil, badRequest("collection: missing")
	}
	distinct, err := boolOf(params, "distinct")
	if err != nil {
		return nil, err
	}
	out := countAnswer{Counts: make([]countOf, len(collections))}
	err = s.Store.View(r.Context(), func(rx *store.Rx) error {
		counts, err := rx.Counts(collections)
		if err != nil {
			return err
		}
		for i, c := range counts {
			out.Counts[i] = countOf{Collection: collections[i], Members: c.Members, Collections: c.Collections}
		}
		if distinct {
			n, err := rx.Distinct(collections)
			if err != nil {
				return err
			}
			out.Distinct = &n
		}
		out.Coverage, err = coverageOf(rx)
		return err
	})
	switch {
	case errors.Is(err, store.ErrTooMany):
		return nil, badRequest("collection: the patterns match %v with repos, or names without end", err)
	case errors.Is(err, store.ErrTooLarge):
		return nil, badRequest("distinct: the collections have %v together", err)
	}
	return out, err
}

type timeseriesAnswer struct {
	Collection string   `json:"collection,omitempty" doc:"The one that was asked for."`
	Since      *string  `json:"since" format:"date-time" doc:"When the first step begins of which there are figures."`
	Steps      []stepOf `json:"steps" doc:"In their order."`
	Coverage   coverage `json:"coverage" doc:"How far the index is now."`
}

type stepOf struct {
	Start   string `json:"start" format:"date-time" doc:"When it begins."`
	Members int64  `json:"members" doc:"Repos with records in the collection at its end."`
	Births  int64  `json:"births" doc:"How often one became visible in it."`
	Deaths  int64  `json:"deaths" doc:"How often one ceased to be."`
}

// timeseries answers /v1/timeseries: what a collection, or the listing of all repos, had
// at the end of each hour or day.
func (s *server) timeseries(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	collection, err := single(params, "collection")
	if err != nil {
		return nil, err
	}
	if params.Has("collection") && !atproto.IsNSID(collection) {
		return nil, badRequest("collection %q: not an NSID", atproto.Clip(collection))
	}
	word, err := single(params, "step")
	if err != nil {
		return nil, err
	}
	step, before := time.Hour, 7*24*time.Hour
	switch word {
	case "", "hour":
	case "day":
		step, before = 24*time.Hour, 90*24*time.Hour
	default:
		return nil, badRequest("step %q: neither hour nor day", atproto.Clip(word))
	}
	now := time.Now()
	upto, err := timeOf(params, "to", now)
	if err != nil {
		return nil, err
	}
	if upto.After(now) {
		upto = now
	}
	from, err := timeOf(params, "from", upto.Add(-before))
	if err != nil {
		return nil, err
	}
	if upto.Sub(from) > maxSteps*step {
		return nil, badRequest("from %s: more than %d steps before to", from.Format(time.RFC3339), maxSteps)
	}
	if from.After(upto) {
		return nil, badRequest("from %s: after to", from.Format(time.RFC3339))
	}
	out := timeseriesAnswer{Collection: collection, Steps: []stepOf{}}
	err = s.Store.View(r.Context(), func(rx *store.Rx) error {
		h, err := rx.History(collection, from, upto, step)
		if err != nil {
			return err
		}
		if !h.Since.IsZero() {
			out.Since = known(h.Since.Format(time.RFC3339))
		}
		for _, st := range h.Steps {
			out.Steps = append(out.Steps, stepOf{st.Start.Format(time.RFC3339), st.Members, st.Births, st.Deaths})
		}
		out.Coverage, err = coverageOf(rx)
		return err
	})
	return out, err
}
