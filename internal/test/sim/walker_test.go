package sim

import (
	"encoding/json"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"railyard/internal/api"
)

// walkers are the clients of a history who page through listings: each asks for a
// set of collections, takes a page or a few now and then, and keeps its cursor,
// whatever becomes of the service and of its file. They hold the service to the
// promise of the durable cursor, with the witness as the judge.
type walkers struct {
	*witness
	dice    *rand.Rand
	clients []*walker

	file    string // of the last run
	of      *running
	handler http.Handler // of that run
	index   string       // its id, then
	names   []string     // collections that there are, at this moment

	tally
}

// tally counts what has happened, to see that something has.
type tally struct {
	pages     int
	ends      int // of walks, for the time being
	returns   int // repos came again, with a reason
	restores  int
	anew      int // walks that began anew, since the index had another id
	spared    int // times that a row which an older copy had brought back did not come
	known     int // pairs of a client and a true member at the very end
	forgotten int // of those, who never came because of an older copy
}

func (s *tally) add(more tally) {
	s.pages += more.pages
	s.ends += more.ends
	s.returns += more.returns
	s.restores += more.restores
	s.anew += more.anew
	s.spared += more.spared
	s.known += more.known
	s.forgotten += more.forgotten
}

// habit is how a client reads a listing.
type habit int

const (
	steady  habit = iota // goes on, and on with its last cursor when it was at the end
	fresh                // begins again from nothing at times
	fickle               // changes its set of collections in the middle of a walk
	sleeper              // walks to the end once, and comes back when all is over
	habits
)

// walker is one client and its walk: one set of collections from one cursor on.
type walker struct {
	habit  habit
	nsids  []string
	limit  int
	cursor string

	number int64           // of the cursor
	begun  int             // tick at which the walk began
	knew   map[string]bool // members that were born before the cursor that it began with
	came   map[string]int  // by DID, the tick of the last page that had it
	lapsed map[string]int  // by DID, the tick at which it was last seen without membership
	pauses bool
}

// newWalkers makes n clients, who are drawn from dice. Nobody asks for anything
// before the first step.
func newWalkers(t *testing.T, dice *rand.Rand, n int) *walkers {
	w := &walkers{witness: newWitness(t), dice: dice}
	for i := range n {
		w.clients = append(w.clients, &walker{habit: habit(i) % habits})
	}
	return w
}

// step gives every client a moment with a run that lives. A run that has died
// answers nobody.
func (w *walkers) step(r *running) {
	w.t.Helper()
	w.moment(r, func() {
		for _, c := range w.clients {
			w.move(c)
			for range w.dice.IntN(3) {
				if w.read(c) {
					break
				}
			}
		}
	})
}

// restored notes that an older copy of the file was put back, before a run is
// started on it.
func (w *walkers) restored() {
	w.t.Helper()
	if w.file == "" {
		return
	}
	w.restores++
	seen := w.file + ".seen" // opening the file itself would change it
	if err := copyFile(w.file, seen); err != nil {
		w.t.Fatal(err)
	}
	w.feed = 0
	w.observe(seen, "rw", w.seeRestored)
	w.lapse()
}

// finish lets every client come back to a run that has settled, and go on to the
// end. It then knows every member of the truth; a new walk gives exactly those.
func (w *walkers) finish(r *running) {
	w.t.Helper()
	truth := r.net.Truth()
	w.moment(r, func() {
		for _, c := range w.clients {
			if c.came == nil {
				w.begin(c, "")
			}
			w.toTheEnd(c)
			w.everybodyKnown(c, membersIn(truth, c.nsids))
			again := &walker{nsids: c.nsids, limit: 1 + w.dice.IntN(50)}
			w.begin(again, "")
			w.toTheEnd(again)
			got := slices.Sorted(maps.Keys(again.came))
			if want := membersIn(truth, c.nsids); !slices.Equal(got, want) {
				w.t.Errorf("a new walk of %q is not the truth: %s", c.nsids, difference(got, want))
			}
		}
	})
}

// everybodyKnown: a client at its end has got every true member, in this walk or
// before its cursor.
func (w *walkers) everybodyKnown(c *walker, truth []string) {
	w.t.Helper()
	for _, did := range truth {
		w.known++
		if _, came := c.came[did]; came || c.knew[did] {
			continue
		}
		if w.broughtBack(did, c) {
			w.forgotten++
			continue
		}
		w.t.Errorf("walk of %q since %d: %s is a member in the end and never came", c.nsids, c.begun, did)
	}
}

// membersIn returns the repos that are truly members, sorted.
func membersIn(truth map[string][]string, nsids []string) []string {
	var dids []string
	for did, collections := range truth {
		if len(nsids) == 0 || slices.ContainsFunc(collections, func(nsid string) bool { return asksFor(nsids, nsid) }) {
			dids = append(dids, did)
		}
	}
	slices.Sort(dids)
	return dids
}

// moment stops the time of a run, reads its file, and lets fn happen. After a
// broken promise nobody asks any more: what follows would say it again.
func (w *walkers) moment(r *running, fn func()) {
	w.t.Helper()
	synctest.Wait()
	if r.service == nil || r.death.isDead() || w.t.Failed() {
		return
	}
	if w.of != r {
		w.of, w.file, w.index = r, r.file, r.service.Store().IndexID()
		w.handler = api.Handler(api.Config{
			Store: r.service.Store(), Version: "sim", Log: slog.New(slog.DiscardHandler), Metrics: r.service.Metrics(),
		})
	}
	w.names = nil
	for _, collections := range r.net.Truth() {
		w.names = append(w.names, collections...)
	}
	slices.Sort(w.names)
	w.names = slices.Compact(w.names)
	w.observe(r.file, "ro", func(l snapshot) {
		w.see(l)
		w.lapse()
		fn()
	})
}

// lapse notes for every client who has lost a membership that it asks for.
func (w *walkers) lapse() {
	for _, c := range w.clients {
		if c.came != nil {
			w.lapses(c.nsids, func(did string) { c.lapsed[did] = w.tick })
		}
	}
}

// move does what the habit of a client is before it reads.
func (w *walkers) move(c *walker) {
	switch {
	case c.came == nil:
		c.nsids = w.someNames()
		w.begin(c, "")
	case c.habit == fresh && w.dice.IntN(6) == 0:
		w.begin(c, "")
	case c.habit == fickle && w.dice.IntN(6) == 0:
		c.nsids = w.someNames()
		w.begin(c, c.cursor)
	}
}

// someNames draws what to ask for: everything, one collection, a union or patterns. Now
// and then one is asked for that nobody has.
func (w *walkers) someNames() []string {
	n := []int{0, 1, 1, 2, 3, 6}[w.dice.IntN(6)]
	names := make([]string, n)
	for i := range names {
		names[i] = "net.rails.nobody"
		if len(w.names) > 0 && w.dice.IntN(12) > 0 {
			names[i] = w.names[w.dice.IntN(len(w.names))]
		}
		if w.dice.IntN(3) == 0 {
			names[i] = w.patternOf(names[i])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// patternOf returns a pattern that a name matches.
func (w *walkers) patternOf(nsid string) string {
	segments := strings.Split(nsid, ".")
	return strings.Join(segments[:2+w.dice.IntN(len(segments)-2)], ".") + ".*"
}

// begin starts a walk behind a cursor of this service, or from nothing.
func (w *walkers) begin(c *walker, cursor string) {
	c.cursor, c.number, c.begun, c.pauses = cursor, numberOf(w.t, cursor), w.tick, false
	c.limit = 1 + w.dice.IntN(20)
	c.came, c.lapsed, c.knew = make(map[string]int), make(map[string]int), make(map[string]bool)
	for _, m := range w.members(c.nsids, 0) {
		if m.number <= c.number {
			c.knew[m.did] = true
		}
	}
}

// numberOf returns the number in a cursor.
func numberOf(t *testing.T, cursor string) int64 {
	t.Helper()
	if cursor == "" {
		return 0
	}
	_, text, _ := strings.Cut(cursor, ".")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		t.Errorf("cursor %q has no number", cursor)
	}
	return n
}

func (w *walkers) toTheEnd(c *walker) {
	w.t.Helper()
	c.pauses = false
	for range 1000 {
		if w.read(c) || w.t.Failed() {
			return
		}
	}
	w.t.Fatalf("a walk of %q has no end", c.nsids)
}

// read takes a page and holds the service to its promise. It reports whether the
// walk is at its end for now.
func (w *walkers) read(c *walker) (end bool) {
	w.t.Helper()
	if c.pauses {
		return true
	}
	if cursor := c.cursor; cursor != "" && !strings.HasPrefix(cursor, w.index+".") {
		w.anew++
		w.begin(c, "") // though the client holds on to its cursor
		c.cursor = cursor
	}
	dids, cursor := w.page(c)
	w.pages++
	if len(dids) == 0 {
		w.ends++
		c.pauses = c.habit == sleeper
		w.nobodyMissed(c)
		return true
	}
	for _, did := range dids {
		w.noneTwice(c, did)
		c.came[did] = w.tick
	}
	c.cursor, c.number = cursor, numberOf(w.t, cursor)
	return false
}

// page asks for a page: the members born after the cursor's number, in the order of
// their births, as many as were asked for; and a cursor unless there is none, which is
// behind the last of them and before the next one.
func (w *walkers) page(c *walker) (dids []string, cursor string) {
	w.t.Helper()
	query := url.Values{"collection": c.nsids, "limit": {strconv.Itoa(c.limit)}}
	if c.cursor != "" {
		query.Set("cursor", c.cursor)
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet,
		"/xrpc/com.atproto.sync.listReposByCollection?"+query.Encode(), nil))
	var page struct {
		Repos []struct {
			DID string `json:"did"`
		} `json:"repos"`
		Cursor string `json:"cursor"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil || answer.Code != http.StatusOK {
		w.t.Fatalf("a page of %q after %q: status %d, %s", c.nsids, c.cursor, answer.Code, answer.Body)
	}
	for _, repo := range page.Repos {
		dids = append(dids, repo.DID)
	}
	want := w.members(c.nsids, c.number)
	next := member{number: math.MaxInt64}
	if len(want) > c.limit {
		next, want = want[c.limit], want[:c.limit]
	}
	number := numberOf(w.t, page.Cursor)
	if !slices.EqualFunc(dids, want, func(did string, m member) bool { return did == m.did }) ||
		(page.Cursor == "") != (len(want) == 0) || len(want) > 0 && (number < want[len(want)-1].number || number >= next.number) {
		w.t.Errorf("a page of %q after %d by %d is %q with %q, want %v", c.nsids, c.number, c.limit, dids, page.Cursor, want)
	}
	return dids, page.Cursor
}

// noneTwice: no repo comes twice unless meanwhile one of its asked memberships died,
// was hidden with its account, or was taken back with the file. (A row that is born
// again, or shown again, has died or was hidden before.)
func (w *walkers) noneTwice(c *walker, did string) {
	w.t.Helper()
	before, twice := c.came[did]
	if !twice {
		return
	}
	w.returns++
	ended := w.lastOf(did, c.nsids, func(r *row) int { return r.ended })
	if ended <= before {
		w.t.Errorf("walk of %q since %d: %s came at %d and again at %d, and was a member ever since %d",
			c.nsids, c.begun, did, before, w.tick, ended)
	}
}

// nobodyMissed: at the end of a walk every member has come, and has come again if it
// was no member for a time. Two kinds of members need not come: those born before
// the cursor with which the walk began, and those of whom an older copy of the file
// brought a row back during the walk, under a number that the client had passed.
func (w *walkers) nobodyMissed(c *walker) {
	w.t.Helper()
	for _, m := range w.members(c.nsids, 0) {
		lapsed := c.lapsed[m.did]
		came, known := c.came[m.did]
		switch {
		case known && came >= lapsed, c.knew[m.did] && lapsed == 0:
		case w.broughtBack(m.did, c):
			w.spared++
		case known:
			w.t.Errorf("walk of %q since %d, at its end at %d: %s came at %d, and not again after it was back at %d (number %d, cursor %d)",
				c.nsids, c.begun, w.tick, m.did, came, lapsed, m.number, c.number)
		default:
			w.t.Errorf("walk of %q since %d, at its end at %d: %s has not come, a member since %d (number %d, cursor %d)",
				c.nsids, c.begun, w.tick, m.did, lapsed, m.number, c.number)
		}
	}
}

// broughtBack reports whether an older copy of the file brought a row of the repo back
// since the walk began. The client may have passed its number while it was dead.
func (w *walkers) broughtBack(did string, c *walker) bool {
	return w.lastOf(did, c.nsids, func(r *row) int { return r.revived }) > c.begun
}
