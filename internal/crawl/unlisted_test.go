package crawl

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// hold puts accounts into service, as their host has them.
func (y *testHosts) hold(host string, from, to int, rev atproto.TID) {
	y.Helper()
	y.update(func(tx *store.Tx) error {
		for n := from; n < to; n++ {
			r, err := tx.RepoByDID(numbered(n))
			if err == nil && r == nil {
				r, err = testrepo.Add(tx, numbered(n))
			}
			if err == nil {
				_, err = testrepo.SetIdentity(tx, r, "\xe7\x01\x02"+strings.Repeat("k", 32), host, false)
			}
			if err == nil {
				_, _, err = testrepo.Establish(tx, r, repostate.Head{Rev: rev}, []string{"app.bsky.feed.post"}, repostate.ProofTree)
			}
			if err = errors.Join(err, testrepo.Done(tx, r)); err != nil {
				return err
			}
		}
		return nil
	})
	time.Sleep(time.Second) // what comes is later
}

// waiting returns which accounts wait in the queue, by number, and why.
func (y *testHosts) waiting(to int) map[int]repostate.Reason {
	y.Helper()
	found := make(map[int]repostate.Reason)
	y.update(func(tx *store.Tx) error {
		for n := range to {
			r, err := tx.RepoByDID(numbered(n))
			if err != nil || r == nil {
				return err
			}
			if r.Waiting != nil {
				found[n] = r.Waiting.Reason
			}
		}
		return nil
	})
	return found
}

func (y *testHosts) questions() (about []int) {
	y.Helper()
	for n := range 100 {
		if y.count("SELECT count(*) FROM resync_queue q JOIN repo r ON r.id = q.repo_id WHERE r.did = ? AND q.ask_status = 1 AND q.priority = 6", numbered(n)) == 1 {
			about = append(about, n)
		}
	}
	return about
}

func revved(from, to int, rev atproto.TID) pds.ReposPage {
	p, _ := shelves(from, to, 1000)("")
	for i := range p.Repos {
		p.Repos[i].Rev = rev.String()
	}
	return p
}

// A repo's first commit of its life, and another one's last, were lost while we
// were away; their accounts are quiet since. The next crawl finds both. A third repo
// exists no longer, and its #account was lost too: its host is asked, in the
// background, and the repo stays in service until it has answered.
func TestTheNextCrawlFindsLostBirthsAndVanishedRepos(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		rev := atproto.TIDAt(time.Now())
		y.hold("pds.example.com", 0, 3, rev)
		l := &listing{page: func(string) (pds.ReposPage, error) {
			p := revved(0, 2, rev)
			p.Repos[1].Rev = (rev + 7).String()
			p.Repos = append(p.Repos, revved(3, 4, rev).Repos...)
			return p, nil
		}}
		y.want()
		y.crawl(l)
		if n := y.count("SELECT want_rev FROM resync_queue q JOIN repo r ON r.id = q.repo_id WHERE r.did = ?", numbered(1)); n != int64(rev+7) {
			y.Errorf("the lost commit is not looked for: %d", n)
		}
		if y.repo(numbered(3)) == nil {
			y.Error("the lost birth was not found")
		}
		if got := y.questions(); !slices.Equal(got, []int{2}) {
			y.Errorf("asked about %v, want 2", got)
		}
		if r := y.repo(numbered(2)); !r.Listed() || r.State != repostate.Synchronized {
			y.Error("the listing's silence has hidden a repo")
		}
		if got := y.metric(`railyard_listed_total{what="unlisted"}`); got != "1" {
			y.Errorf("%s were counted", got)
		}
		y.sound()
	})
}

// A process ends in the middle of a crawl. The next one has not seen the first
// pages, and does not take their repos for vanished.
func TestACrawlThatBeganInAFormerProcessAsksAboutNobody(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hold("pds.example.com", 0, 4, 5)
		broken := true
		l := &listing{page: func(cursor string) (pds.ReposPage, error) {
			if cursor == "2" && broken {
				return pds.ReposPage{}, errors.New("connection reset")
			}
			return shelves(0, 4, 1)(cursor)
		}}
		y.want()
		y.crawl(l)
		broken = false
		time.Sleep(retryFirst)
		y.crawl(l)
		if got := y.questions(); len(got) != 0 || y.row().Wanted() {
			y.Errorf("asked about %v", got)
		}
	})
}

// The same failure within one process does not make the crawl forget what it saw:
// it asks about the one that is not there, and about nobody else.
func TestACrawlThatFailsHalfwayRemembersWhatItSaw(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hold("pds.example.com", 0, 5, 5)
		l := &listing{}
		l.page = func(cursor string) (pds.ReposPage, error) {
			if cursor == "2" && len(l.times("2")) < 3 {
				return pds.ReposPage{}, errors.New("connection reset")
			}
			return shelves(0, 4, 1)(cursor)
		}
		y.want()
		c := y.crawler(l)
		stop := y.start(c)
		c.Wake(y.up)
		time.Sleep(time.Hour)
		if err := stop(); err != nil {
			y.Error(err)
		}
		if got := y.questions(); !slices.Equal(got, []int{4}) {
			y.Errorf("asked about %v, want 4", got)
		}
	})
}

// What a crawl that was cut short by a loop has not listed says nothing, and neither
// does a repo that was found, or heard of from its host, while the crawl ran.
func TestNobodyIsAskedAboutWithoutReason(t *testing.T) {
	t.Run("a loop", func(t *testing.T) {
		withTestHosts(t, func(y *testHosts) {
			y.hold("pds.example.com", 0, 5, 5)
			y.want()
			y.crawl(&listing{page: func(cursor string) (pds.ReposPage, error) {
				p, _ := shelves(0, 5, 1)("0")
				p.Cursor = "0"
				return p, nil
			}})
			if got := y.questions(); len(got) != 0 {
				y.Errorf("asked about %v", got)
			}
		})
	})
	t.Run("found or fetched meanwhile", func(t *testing.T) {
		withTestHosts(t, func(y *testHosts) {
			y.hold("pds.example.com", 0, 3, 5)
			y.want()
			y.crawl(&listing{page: func(cursor string) (pds.ReposPage, error) {
				if cursor == "" {
					y.hold("pds.example.com", 2, 5, 6) // 2 again, and 3 and 4 are new
				}
				return shelves(0, 2, 1)(cursor)
			}})
			if got := y.questions(); len(got) != 0 {
				y.Errorf("asked about %v", got)
			}
		})
	})
}

// A host's crawl says something about those accounts alone whose document names it.
func TestAHostsListingSaysNothingAboutTheReposOfOthers(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hold("a.example.com", 0, 4, 5)
		y.hold("b.example.com", 4, 8, 5)
		l := network(map[string]func(string) (pds.ReposPage, error){"a.example.com": shelves(1, 4, 2), "b.example.com": func(string) (pds.ReposPage, error) {
			return pds.ReposPage{}, errors.New("it is down")
		}})
		c := y.deep(l, 0) // nobody wakes the relay's crawl: all would be missing in it
		stop := y.start(c)
		signal(c.wakeList[y.up])
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			y.Error(err)
		}
		if got := y.questions(); !slices.Equal(got, []int{0}) {
			y.Errorf("asked about %v, want 0", got)
		}
		y.sound()
	})
}

// An upstream that is a PDS speaks for its own accounts. One that has moved away is
// still listed there, as deactivated: nobody is asked about it day after day.
// Documents may call it otherwise than the operator does.
func TestAPDSUpstreamSpeaksForItsOwnAccounts(t *testing.T) {
	for url, name := range map[string]string{"relay.example.com": "", "relay.internal": "relay.example.com"} {
		t.Run(url, func(t *testing.T) { testOwnAccounts(t, url, name) })
	}
}

func testOwnAccounts(t *testing.T, url, name string) {
	withTestHosts(t, func(y *testHosts) {
		y.hold("relay.example.com", 0, 2, 5)
		y.hold("other.example.com", 2, 4, 5)
		y.update(func(tx *store.Tx) error { return tx.SetKind(y.up, store.KindPDS, name) })
		y.want()
		l := &listing{page: func(string) (pds.ReposPage, error) {
			p := revved(1, 3, 5)
			p.Repos[1].Active = false
			return p, nil
		}}
		c := y.crawler(l)
		c.cfg.HostName = func(string) (string, error) { return url, nil }
		stop := y.start(c)
		c.Wake(y.up)
		synctest.Wait()
		if err := stop(); err != nil {
			y.Error(err)
		}
		if got := y.waiting(4); len(got) != 1 || got[0] != repostate.StatusCheck {
			y.Errorf("queued %v, want a question about 0", got)
		}
	})
}

// More repos are missing than one crawl asks about. It takes those that were not
// asked about for longest; the next one takes the rest.
func TestACrawlAsksAboutTheLongestUnaskedFirst(t *testing.T) {
	var o oldestFirst
	for n := range 1000 {
		o.add(store.InService{ID: int64(n), Sure: time.Unix(int64(n*7919%1000), 0)}, 10)
	}
	slices.SortFunc(o, func(a, b store.InService) int { return a.Sure.Compare(b.Sure) })
	if len(o) != 10 || o[0].Sure.Unix() != 0 || o[9].Sure.Unix() != 9 {
		t.Errorf("kept %v", o)
	}
}

func TestTheQuestionsOfACrawlAreSpreadOverTime(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hold("pds.example.com", 0, 700, 5)
		y.want()
		start := time.Now()
		y.crawl(&listing{page: func(string) (pds.ReposPage, error) { return pds.ReposPage{}, nil }})
		if n := y.count("SELECT count(*) FROM resync_queue WHERE ask_status = 1"); n != 700 {
			y.Errorf("%d questions", n)
		}
		last := time.UnixMicro(y.count("SELECT max(not_before) FROM resync_queue"))
		if spread := last.Sub(start); spread < 699*unlistedPause || spread > 700*unlistedPause {
			y.Errorf("the last one is asked after %s", spread)
		}
	})
}

// Upstreams are crawled again when the time has come, also when the process ended
// in between: the clock begins at the end of the last crawl.
func TestAnUpstreamIsSweptNowAndThen(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		l := pages(2)
		run := func(wake bool, during time.Duration) {
			c := y.crawler(l)
			c.cfg.SweepEvery = day
			stop := y.start(c)
			if wake {
				c.Wake(y.up)
			}
			time.Sleep(during)
			synctest.Wait()
			if err := stop(); err != nil {
				y.Error(err)
			}
		}
		y.want()
		run(true, 20*time.Hour)
		if n := len(l.cursors()); n != 2 {
			y.Fatalf("%d pages, want the two of the first crawl", n)
		}
		run(true, 7*time.Hour) // 27 hours after it
		if n := len(l.cursors()); n != 4 {
			y.Errorf("%d pages, want a second crawl", n)
		}
		run(true, 10*day)
		if n := len(l.cursors()); n < 4+2*8 || n > 4+2*10 {
			y.Errorf("%d pages after ten days more", n)
		}
		run(false, 10*day) // its socket never opens
		if n := len(l.cursors()); n > 4+2*10 {
			y.Errorf("%d pages: crawled before the socket was open", n)
		}
	})
}

// The process ends while a repeated crawl is under way: the request for it is a row, and the
// next process ends it.
func TestARepeatedCrawlSurvivesARestart(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		l := pages(3)
		y.crawl(l)
		broken := &listing{page: func(cursor string) (pds.ReposPage, error) {
			if cursor == "1" {
				return pds.ReposPage{}, errors.New("connection reset")
			}
			return pageOf(cursor, 3), nil
		}}
		c := y.crawler(broken)
		c.cfg.SweepEvery = time.Hour
		stop := y.start(c)
		c.Wake(y.up)
		time.Sleep(2 * time.Hour)
		if !c.Busy(y.up) {
			y.Error("not busy during a repeated crawl")
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
		time.Sleep(retryMost)
		l = pages(3)
		y.crawl(l)
		if want := []string{"1", "2"}; !slices.Equal(l.cursors(), want) {
			y.Errorf("went on with %q, want %q", l.cursors(), want)
		}
	})
}

func TestWithoutRepetitionAnUpstreamIsCrawledOnce(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.want()
		l := pages(2)
		c := y.crawler(l)
		stop := y.start(c)
		c.Wake(y.up)
		time.Sleep(10 * day)
		if err := stop(); err != nil {
			y.Error(err)
		}
		if n := len(l.cursors()); n != 2 {
			y.Errorf("%d pages", n)
		}
	})
}

// Once an upstream was crawled, a test may ask for no more of it: not by the clock, not
// for lost events, and not about repos that the listing leaves out.
func TestWhatIsCrawledOnceIsNotAskedAgain(t *testing.T) {
	withTestHosts(t, func(y *testHosts) {
		y.hold("pds.example.com", 50, 51, atproto.TIDAt(time.Now()))
		l := pages(2)
		c := y.crawler(l)
		c.cfg.Once, c.cfg.SweepEvery = true, day
		stop := y.start(c)
		for range 3 {
			y.want()
			c.Wake(y.up)
			time.Sleep(10 * day)
			if c.Busy(y.up) {
				y.Error("a crawl is said to be under way")
			}
		}
		if err := stop(); err != nil {
			y.Error(err)
		}
		if n := len(l.cursors()); n != 2 {
			y.Errorf("%d pages", n)
		}
		if about := y.questions(); len(about) != 0 {
			y.Errorf("asked about %v", about)
		}
	})
}

func TestBitsAreASet(t *testing.T) {
	var b bits
	for n := range int64(50_000) {
		id := n * n % 99_991
		if was := b.has(id); b.set(id) == was || !b.has(id) {
			t.Fatalf("id %d: it was there %t", id, was)
		}
	}
	if b.has(99_991) || b.has(1<<40) {
		t.Error("an id that was never added is there")
	}
}
