package ingest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// fairDirectory is a directory that answers 30 times a second, of two upstreams.
type fairDirectory struct {
	*story
	other  *upstream
	exists map[string]bool
	asked  map[string]time.Time
	n      int
}

func newFairDirectory(t *testing.T) *fairDirectory {
	s := newStory(t, store.KindRelay, "http://other.test")
	other := s.in.upstreams[1]
	other.kind.Store(store.KindRelay)
	return &fairDirectory{story: s, other: other, exists: map[string]bool{}, asked: map[string]time.Time{}}
}

// invent returns a DID that nobody has registered.
func (d *fairDirectory) invent(format string) string {
	d.n++
	return fmt.Sprintf(format, d.n)
}

// judgeAll judges events of an upstream in one batch.
func (d *fairDirectory) judgeAll(up *upstream, slots []*slot) {
	d.t.Helper()
	d.update(func(tx *store.Tx) error {
		b := &batch{in: d.in, tx: tx}
		for _, sl := range slots {
			d.seq++
			sl.up, sl.cursor = up, d.seq
			if _, err := b.judge(sl); err != nil {
				return err
			}
		}
		return nil
	})
}

// tick lets the directory answer one question; the hosts of did:web answer in no time.
func (d *fairDirectory) tick() {
	d.t.Helper()
	d.now = d.now.Add(time.Second / defaultDirectoryQPS)
	d.update(func(tx *store.Tx) error {
		hosts, err := tx.ReadyHosts(100, 100)
		if err != nil {
			return err
		}
		for _, h := range hosts {
			a, err := tx.Lease(h, h.NextAt, tx.Env())
			if err != nil {
				return err
			}
			if a != nil {
				if err := d.answer(tx, a); err != nil {
					return err
				}
			}
			if err := tx.FinishAttempt(h.ID, h.NextAt); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *fairDirectory) answer(tx *store.Tx, a *repostate.Attempt) error {
	did := a.Repo.DID
	if _, again := d.asked[did]; !again {
		d.asked[did] = d.now
	}
	r, err := tx.RepoByDID(did)
	if err != nil {
		return err
	}
	result := repostate.Result{Attempt: a, Failure: &repostate.Failure{Kind: repostate.FailedNoDID}}
	if r.Identity != nil || d.exists[did] {
		result.Failure = &repostate.Failure{Kind: repostate.FailedDocument, Cause: errors.New("none")} // the directory was asked: that is all
	}
	env := tx.Env()
	env.Budget, env.Backoff = testrepo.Unlimited{}, func(_, longest time.Duration, _ int) time.Duration { return longest }
	_, err = tx.Apply(r, repostate.Decide(r, result, env))
	return err
}

func unknown(did string, words bool) *slot {
	sl := &slot{kind: identityEvent}
	if !words {
		sl = commit(50, 1, 2, []string{posts}, nil)
	}
	sl.frame.DID = did
	return sl
}

// An upstream tells of accounts that nobody has registered: thousands at once, and
// hundreds per second after that. The newcomers of another upstream are looked up
// at once, and those of its own as long as it does not invent whole commits.
func TestInventedAccountsHoldUpNobody(t *testing.T) {
	const wait = 5 * time.Second
	for name, c := range map[string]struct {
		invented string
		words    bool // the events are #identity; else #commit
		same     bool // the newcomers come from the liar
	}{
		"by commits":                      {"did:plc:%024d", false, false},
		"by words":                        {"did:plc:%024d", true, false},
		"by words, beside its own":        {"did:plc:%024d", true, true},
		"about accounts that exist":       {"", true, false},
		"by commits of did:web":           {"did:web:i%d.example.com", false, false},
		"by commits of did:web, same one": {"did:web:i%d.example.com", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFairDirectory(t)
			from := d.other
			if c.same {
				from = d.up
			}
			lie := func(n int) {
				slots := make([]*slot, n)
				for i := range slots {
					if c.invented == "" {
						d.n++
						slots[i] = unknown(fmt.Sprintf("did:plc:known%019d", d.n%knownAccounts), true)
						continue
					}
					slots[i] = unknown(d.invent(c.invented), c.words)
				}
				d.judgeAll(d.up, slots)
			}
			if c.invented == "" {
				d.addKnown()
			}
			lie(2000)
			came := map[string]time.Time{}
			for i := range 12 * defaultDirectoryQPS {
				lie(10)
				if i%30 == 0 {
					did := d.invent("did:plc:honest%018d")
					d.exists[did], came[did] = true, d.now
					d.judgeAll(from, []*slot{unknown(did, false)})
				}
				d.tick()
			}
			for did, at := range came {
				if asked, ok := d.asked[did]; !ok && d.now.Sub(at) > wait || asked.Sub(at) > wait {
					t.Errorf("%s came at %v and was looked up at %v", did, at, asked)
				}
			}
		})
	}
}

// knownAccounts are some that are in service, each at a host of its own.
const knownAccounts = 1000

func (d *fairDirectory) addKnown() {
	d.t.Helper()
	d.update(func(tx *store.Tx) error {
		for i := range knownAccounts {
			r, err := testrepo.Add(tx, fmt.Sprintf("did:plc:known%019d", i))
			if err != nil {
				return err
			}
			if _, err := testrepo.SetIdentity(tx, r, homeKey, fmt.Sprintf("pds%d.home.test", i), false); err != nil {
				return err
			}
			if _, _, err := testrepo.Establish(tx, r, head(10, 1), []string{posts}, repostate.ProofTree); err != nil {
				return err
			}
		}
		return nil
	})
	d.now = d.now.Add(time.Hour) // the documents are old
}

// mostInvented is how many DIDs an upstream can invent that leave a row.
const mostInvented = 10_000

// A DID that waits because of what one upstream invents is looked up at once when
// another one tells of it, too.
func TestAnotherUpstreamIsFaster(t *testing.T) {
	d := newFairDirectory(t)
	const did = "did:plc:cccccccccccccccccccccccc"
	slots := make([]*slot, 1000)
	for i := range slots {
		slots[i] = unknown(d.invent("did:plc:%024d"), false)
	}
	d.judgeAll(d.up, append(slots, unknown(did, false)))
	if at := d.repoOf(did).Waiting.NotBefore; at.Sub(d.now) < time.Minute {
		t.Fatalf("it waits until %v", at)
	}
	d.judgeAll(d.up, []*slot{unknown(did, false)})
	d.judgeAll(d.other, []*slot{unknown(did, false), unknown(did, false)})
	if at := d.repoOf(did).Waiting.NotBefore; !at.Equal(d.now) {
		t.Errorf("it waits until %v", at)
	}
}

// What is over the limit of an upstream is counted and leaves no row; the limit is
// another upstream's own, and holds over restarts. DIDs that are known are judged as
// always.
func TestAnUpstreamBringsALimitedNumberOfUnknownDIDs(t *testing.T) {
	d := newFairDirectory(t)
	d.known(posts)
	for range 4 {
		slots := make([]*slot, mostInvented/3)
		for i := range slots {
			slots[i] = unknown(d.invent("did:plc:%024d"), false)
		}
		d.judgeAll(d.up, slots)
		d.in.limits = newLimits(defaultDirectoryQPS, 2) // as after a restart
	}
	over := unknown("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", false)
	d.want(d.judge(over), repostate.Unseen)
	if r := d.repoOf(over.frame.DID); r != nil {
		t.Errorf("it became a row: %+v", r)
	}
	d.want(d.judge(commit(50, 1, 2, []string{posts}, nil)), repostate.Applied)
	d.judgeAll(d.other, []*slot{over})
	if r := d.repoOf(over.frame.DID); r == nil {
		t.Error("the other upstream has no limit of its own")
	}
}

// The directory does not know a DID, and is to be asked once more in ten minutes.
// Its events bring that forward, but not without end. A DID that one host's listing
// alone had named is no longer that host's candidate, since it speaks here.
func TestEventsOfAnUnknownDIDBringTheSecondAttemptForward(t *testing.T) {
	s := newStory(t, store.KindRelay)
	const did = "did:plc:cccccccccccccccccccccccc"
	var host store.CrawlID
	s.update(func(tx *store.Tx) (err error) {
		if host, err = tx.ListHost("a.example.com", false, "active"); err != nil {
			return err
		}
		return testrepo.List(tx, map[string]repostate.Entry{did: {Active: true, Host: host.Server, Candidate: true}})
	})
	left := func() (n int64) {
		s.update(func(tx *store.Tx) (err error) {
			c, err := tx.Candidates(host.Server)
			n = c.Left
			return err
		})
		return n
	}
	later := func() bool { return s.repoOf(did).Waiting.Later() }
	before := left()
	putOff := func() {
		s.update(func(tx *store.Tx) error {
			r, err := tx.RepoByDID(did)
			if err != nil {
				return err
			}
			return testrepo.Retry(tx, r, repostate.NotFoundAgain, tx.Now().Add(10*time.Minute), true, true)
		})
	}
	putOff()
	sl := commit(50, 1, 2, []string{posts}, nil)
	sl.frame.DID = did
	s.want(s.judge(sl), repostate.Waits)
	if later() {
		t.Error("the event did not bring the look forward")
	}
	if got := left(); got != before+1 {
		t.Errorf("the host may have %d candidates more, before %d", got, before)
	}
	putOff()
	for ok := true; ok; {
		_, ok = s.in.limits.of(s.up.id, s.repoOf(did), s.now).Sight()
	}
	s.want(s.judge(sl), repostate.Waits)
	if !later() {
		t.Error("events without end bring attempts without end")
	}
}

func (s *story) repoOf(did string) (r *repostate.Repo) {
	s.t.Helper()
	s.update(func(tx *store.Tx) (err error) {
		r, err = tx.RepoByDID(did)
		return err
	})
	return r
}
