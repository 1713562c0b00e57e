package sim

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/daemon"
	"railyard/internal/establish"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
)

// TestLivePath is the sweep without repair: audits, repeated crawls and proofs are switched
// off, so that what the path of events does wrong stays wrong. Streams, hosts and the
// directory fail and lie, the service is stopped and killed, accounts move about. At
// the end everything wrong has been followed by an event that shows it: every account
// has written once more, or its status was sent again. Then
//
//   - the rows are those of the truth,
//   - an account about which nothing happened but commits was fetched exactly once,
//     and any other no more often than what happened justifies,
//   - what such an account began after that fetch was brought by its commits.
//
// RAILYARD_SEEDS=200 go test -run 'TestLivePath$' -timeout 1h ./internal/test/sim -v prints
// how often each fault acted.
func TestLivePath(t *testing.T) {
	var all liveTally
	list, quiet := sweep(t)
	t.Run("seeds", func(t *testing.T) {
		for _, seed := range list {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				defer repeatable(t, "TestLivePath", seed)
				synctest.Test(t, func(t *testing.T) { newLive(t, seed, quiet).run(&all) })
			})
		}
	})
	all.print(t)
}

// live is one history and the service on it.
type live struct {
	*sim
	dice    *rand.Rand
	seed    uint64
	ups     []string // names of the hosts that are followed
	method  establish.Method
	victims []string                  // accounts about which there are many lies
	known   map[string]simnet.History // of the accounts that are older than the index
	waiting map[string]int            // how often an account waited for an attempt when the service ended
	first   map[string]atproto.TID    // the last rev that was shown in the first attempts
	// unfinished are those that waited for their first attempt then: it may have begun.
	unfinished map[string]bool
	// broken counts how often the rest of a claim was being prolonged then: nobody knows
	// what that attempt was about, and the document is looked up once more.
	broken   map[string]int
	deaths   int
	attempts *attemptLog
	late     time.Time // when the first attempts were over, and the long life began
	r        *running
}

func newLive(t *testing.T, seed uint64, quiet bool) *live {
	dice := rand.New(rand.NewPCG(seed, 99))
	y := &live{dice: dice, seed: seed, waiting: map[string]int{}, unfinished: map[string]bool{}, broken: map[string]int{}, first: map[string]atproto.TID{}, known: map[string]simnet.History{}, attempts: &attemptLog{of: map[string][]string{}}}
	y.sim = newSim(t, simnet.Config{
		Seed: seed, PDS: 3, Accounts: 50, Records: 20, Relay: true, Churn: true, Start: time.Now(), Now: time.Now,
	})
	y.quiet, y.listener = quiet, y.attempts
	y.ups = one(dice, [][]string{{"relay"}, {"pds1", "pds2", "pds3"}, {"relay", "pds1", "pds2", "pds3"}})
	y.setUp()
	y.remember()
	return y
}

// setUp draws the flags of all runs.
func (y *live) setUp() {
	y.method = one(y.dice, everyMethod)
	cfg := daemon.Config{
		Provers: one(y.dice, []int{1, 2, 8}), Batch: one(y.dice, []int{1, 20, 1000}), ResyncWorkers: one(y.dice, []int{1, 8, 128}),
	}
	y.configure = func(c *daemon.Config) {
		c.Unrepaired, c.ResyncMethod, c.ResyncWorkers = true, y.method, cfg.ResyncWorkers
		c.Provers, c.Batch = cfg.Provers, cfg.Batch
	}
	y.t.Logf("seed %d follows %s, method %s", y.seed, strings.Join(y.ups, ", "), y.method)
}

// remember notes what happened to each account before the index begins, and chooses
// those about which there will be many lies.
func (y *live) remember() {
	dids := y.net.DIDs()
	for _, did := range dids {
		y.known[did] = y.net.History(did)
	}
	y.dice.Shuffle(len(dids), func(i, j int) { dids[i], dids[j] = dids[j], dids[i] })
	y.victims = dids[:len(dids)/2]
}

func (y *live) urls() (urls []string) {
	for _, name := range y.ups {
		urls = append(urls, y.pipes.URL(name))
	}
	return urls
}

func (y *live) on(rules []simnet.Rule) {
	if err := y.net.Switch(rules...); err != nil {
		y.t.Fatal(err)
	}
}

func (y *live) run(all *liveTally) {
	y.on(early(y.dice, y.victims))
	y.r = y.start("index.db", y.urls()...)
	time.Sleep(time.Second) // connections are open, and attempts under way
	for range 10 {
		y.write(10)
		time.Sleep(10 * time.Second)
	}
	time.Sleep(2 * time.Hour) // hosts that refused by rate are asked again
	y.net.SwitchOff()
	y.r.cursors(y.ups)
	for did := range y.known {
		y.first[did] = y.net.History(did).LastRev
	}
	y.late = time.Now()
	y.on(late(y.dice, y.victims, y.ups, y.seed%4 == 3))
	for range 10 {
		for range 4 {
			y.write(42)
			time.Sleep(time.Duration(y.dice.IntN(1<<y.dice.IntN(10))) * time.Second)
			y.mourn()
		}
		y.fate()
	}
	y.net.SwitchOff()
	y.survive()
	time.Sleep(15 * time.Minute) // hosts are back, and connections open
	y.lastWords()
	time.Sleep(8 * time.Hour)
	y.r.settle(y.ups...)
	y.r.same()
	all.add(y.judge())
	y.r.end()
}

// write lets the network live; three of four steps are commits and nothing else, so that
// there are accounts about which nothing else happens.
func (y *live) write(steps int) {
	y.t.Helper()
	for range steps {
		step := y.net.StepCommit
		if y.dice.IntN(4) == 0 {
			step = y.net.Step
		}
		if err := step(); err != nil {
			y.t.Fatal(err)
		}
	}
}

// cursors waits until every upstream has one.
func (r *running) cursors(names []string) {
	r.t.Helper()
	for range 100 {
		time.Sleep(time.Second)
		var st struct {
			Upstreams []struct {
				Cursor *int64 `json:"cursor"`
			} `json:"upstreams"`
		}
		r.get("/v1/stats", &st)
		n := 0
		for _, up := range st.Upstreams {
			if up.Cursor != nil {
				n++
			}
		}
		if n == len(names) {
			return
		}
	}
	r.t.Fatal("no cursors")
}

// begin starts the service again, mostly with a point at which it will die.
func (y *live) begin() {
	left := 1 + y.dice.IntN(16<<y.dice.IntN(10))
	y.r = y.startDoomed("index.db", func(store.Point) bool { left--; return left == 0 }, y.urls()...)
}

// mourn begins anew if the service has died.
func (y *live) mourn() {
	for y.r.death.isDead() {
		y.r.bury()
		y.deaths++
		y.ended()
		y.write(y.dice.IntN(20))
		y.begin()
	}
}

// fate stops the service, kills it or lets it be.
func (y *live) fate() {
	switch y.dice.IntN(4) {
	case 0:
		y.r.stop()
	case 1:
		y.r.crash()
		y.deaths++
	default:
		return
	}
	y.ended()
	y.write(y.dice.IntN(40))
	y.begin()
}

// survive lets the run that is under way live to the end.
func (y *live) survive() {
	y.mourn()
	y.r.death.off()
	y.mourn()
}

// ended notes who waits for an attempt now that the service is down: that one may have
// been made already, and is made again. Proofs are not made.
func (y *live) ended() {
	y.t.Helper()
	for _, row := range y.rows("SELECT did, reason FROM resync_backlog WHERE reason <> 'prove' OR leased") {
		switch did, reason := row[0], row[1]; reason {
		case "backfill":
			y.unfinished[did] = true
		case "prove":
			y.broken[did]++
		default:
			y.waiting[did]++
		}
	}
}

// rows returns the answer to a query of the file.
func (y *live) rows(query string) (all [][]string) {
	y.t.Helper()
	file, err := sql.Open("sqlite", y.r.file)
	if err != nil {
		y.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	rows, err := file.QueryContext(y.t.Context(), query)
	if err != nil {
		y.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	names, _ := rows.Columns()
	for rows.Next() {
		row, into := make([]string, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			y.t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		y.t.Fatal(err)
	}
	return all
}

// lastWords makes every account heard of once more.
func (y *live) lastWords() {
	y.t.Helper()
	truth := y.net.Truth()
	for _, did := range y.net.DIDs() {
		var err error
		if _, active := truth[did]; active {
			err = y.net.Create(did, one(y.dice, []string{"net.rails.yard", "net.rails.last"})+"/last-word")
		} else {
			err = y.net.EmitAccount(did)
		}
		if err != nil {
			y.t.Fatal(err)
		}
	}
}
