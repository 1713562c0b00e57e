// Package health keeps what is wrong with the running service: what stands still, or
// fails to keep up. Whoever watches a part reports it again and again; a trouble counts
// once it has lasted for a while. It is logged when it begins and when it
// ends, one of the file each minute. /_health, /v1/stats, the page and the metrics read the one list.
package health

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Kind says what is wrong.
type Kind string

// The kinds of trouble.
const (
	Locked  Kind = "locked"     // another program holds the write lock of the file: nothing is written
	Short   Kind = "short"      // descriptors or memory have run out: hosts cannot be asked
	Pinned  Kind = "log-pinned" // a reader keeps the write-ahead log from being shortened
	CutOff  Kind = "cut-off"    // an upstream is not connected
	Silent  Kind = "silent"     // a relay is connected and sends nothing
	Refused Kind = "refused"    // each event of an upstream is refused
	Behind  Kind = "behind"     // the events of an upstream are old when they are applied
)

// Kinds returns all of them.
func Kinds() []Kind { return []Kind{Locked, Short, Pinned, CutOff, Silent, Refused, Behind} }

// stops reports whether what has the trouble does not move at all.
func (k Kind) stops() bool { return k == Locked || k == CutOff || k == Refused }

// grace is how long a trouble lasts before it counts: connections are made anew now and
// then, and a query can be in the way of the log. Locked has no grace: whoever reports it
// has waited. Short has no grace: a request has failed already.
func (k Kind) grace() time.Duration {
	switch k {
	case Locked, Short:
		return 0
	case Pinned:
		return 5 * time.Second
	}
	return 15 * time.Second
}

const (
	// repeat is how often a trouble of the file is logged that stays: somebody has to go
	// and end it.
	repeat = time.Minute
)

// Trouble is one thing that is wrong.
type Trouble struct {
	Kind     Kind      `json:"kind" doc:"What it is."`
	Upstream string    `json:"upstream,omitempty" doc:"Of which upstream; none if it is of the file or the process."`
	Since    time.Time `json:"since" doc:"When it began."`
	Why      string    `json:"why" doc:"What is known of it."`
}

type key struct {
	kind     Kind
	upstream string
}

type entry struct {
	since  time.Time
	logged time.Time // zero: it does not count yet
	why    string
}

// Board is the list of what is wrong. The zero value is not usable; see New.
type Board struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	entries map[key]*entry
}

// New returns a board without trouble.
func New(log *slog.Logger, now func() time.Time) *Board {
	return &Board{log: log.With("component", "health"), now: now, entries: make(map[key]*entry)}
}

// Report says how a thing is now: why it is in trouble, empty if it is not. since is when
// that began, the zero time if the first report was then; attrs are for the log alone,
// for what strangers need not know. A trouble of which nobody reports that it is over
// stays.
func (b *Board) Report(kind Kind, upstream, why string, since time.Time, attrs ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, now := key{kind, upstream}, b.now()
	e := b.entries[k]
	if why == "" {
		if e != nil && !e.logged.IsZero() {
			b.log.Info("it is well again", "trouble", kind, "upstream", upstream, "lasted", now.Sub(e.since).Round(time.Second))
		}
		delete(b.entries, k)
		return
	}
	if e == nil {
		e = &entry{since: now}
		b.entries[k] = e
	}
	e.why = why
	if !since.IsZero() {
		e.since = since
	}
	switch {
	case now.Sub(e.since) < kind.grace():
		return
	case !e.logged.IsZero() && (upstream != "" || now.Sub(e.logged) < repeat):
		return
	}
	e.logged = now
	b.log.Warn(why, append([]any{"trouble", kind, "upstream", upstream, "since", e.since.UTC().Format(time.RFC3339)}, attrs...)...)
}

// Troubles returns what is wrong, the oldest first.
func (b *Board) Troubles() []Trouble {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []Trouble{}
	for k, e := range b.entries {
		if !e.logged.IsZero() {
			list = append(list, Trouble{k.kind, k.upstream, e.since.UTC(), e.why})
		}
	}
	slices.SortFunc(list, func(x, y Trouble) int {
		return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Upstream, y.Upstream))
	})
	return list
}

// Stands returns the trouble because of which the index stands still: the file's, or the
// last one if none of the upstreams moves. It returns nil if some part moves.
func Stands(troubles []Trouble, upstreams int) *Trouble {
	stopped := map[string]bool{}
	for i, t := range troubles {
		switch {
		case !t.Kind.stops():
			continue
		case t.Upstream == "":
			return &troubles[i]
		}
		if stopped[t.Upstream] = true; len(stopped) == upstreams {
			return &troubles[i]
		}
	}
	return nil
}
