package resync

import (
	"testing"
	"time"

	"railyard/internal/store"
)

// The clock was an hour ahead and is set back: a host waits for its distance and its
// cooldown as they are bounded, and not for the clock.
func TestAClockThatGoesBackDoesNotBlockAHost(t *testing.T) {
	ls := newLanes(8, 2)
	ahead := time.Now().Add(24 * time.Hour)
	tell := func(at time.Time, m store.Manners) {
		ls.learn(store.News{Heads: []store.LaneHead{{Lane: 1, Priority: 1, Manners: m}}, Hosts: map[int64]store.Manners{1: m}}, at)
	}
	tell(ahead, store.Manners{Answered: true})
	picks := ls.choose(ahead)
	for _, p := range picks {
		ls.claimed(p, p.Rows, time.UnixMicro(1), ahead)
	}
	now := ahead.Add(-24 * time.Hour)
	for range picks[0].Rows {
		ls.done(picks[0].lane, false, false, now)
	}
	wait := 10 * time.Second
	if picks := ls.choose(now.Add(wait)); len(picks) == 0 {
		t.Errorf("the host still waits after %s", wait)
	}
	ls = newLanes(8, 2)
	tell(now, store.Manners{Answered: true, Cooling: ahead})
	if picks := ls.choose(now.Add(mostCooling)); len(picks) == 0 {
		t.Error("the host cools down for longer than anybody can ask for")
	}
}

// What was picked and was not there, and a look that sent no request, cost a host
// nothing of its rate and hold no worker.
func TestWhatWasNotAskedCostsNothing(t *testing.T) {
	now := time.Now()
	at := func(m store.Manners) *lanes {
		ls := newLanes(8, 0.1)
		ls.learn(store.News{Heads: []store.LaneHead{{Lane: 1, Priority: 1, NotBefore: now, Manners: m}}}, now)
		return ls
	}
	for name, m := range map[string]store.Manners{"on probation": {}, "known": {Answered: true}} {
		ls := at(m)
		p := ls.choose(now)[0]
		if again := ls.choose(now); len(again) != 0 {
			t.Fatalf("%s: picked again at once: %+v", name, again)
		}
		ls.claimed(p, 0, now, now)
		if ls.running != 0 || ls.trying != 0 {
			t.Errorf("%s: %d run, %d try", name, ls.running, ls.trying)
		}
		picks := ls.choose(now)
		if len(picks) != 1 {
			t.Fatalf("%s: not picked again", name)
		}
		ls.claimed(picks[0], 1, now, now)
		ls.done(picks[0].lane, picks[0].trial, true, now)
		if picks = ls.choose(now); len(picks) != 1 {
			t.Fatalf("%s: not picked after a look without a request", name)
		}
		ls.claimed(picks[0], 1, now, now)
		ls.done(picks[0].lane, picks[0].trial, false, now)
		if picks = ls.choose(now.Add(9 * time.Second)); len(picks) != 0 {
			t.Errorf("%s: picked too early after a request", name)
		}
		if picks = ls.choose(now.Add(10 * time.Second)); len(picks) != 1 {
			t.Errorf("%s: not picked in time", name)
		}
	}
}

// headOf is a due row of a host.
func headOf(id int64, m store.Manners) store.LaneHead {
	return store.LaneHead{Lane: id, Priority: 4, NotBefore: time.UnixMicro(1), Manners: m}
}

// Strangers invent as many hosts as there is room for, all with rows that are due.
// The directory and hosts that are known to answer find room all the same, and
// there are never more lanes than that.
func TestInventedHostsDoNotFillTheMemory(t *testing.T) {
	now := time.Now()
	ls := newLanes(8, 8)
	ls.most = 50
	tell := func(h store.LaneHead) bool {
		ls.learn(store.News{Heads: []store.LaneHead{h}}, now)
		return ls.byID[h.Lane] != nil
	}
	for id := int64(1); id <= 200; id++ {
		if tell(headOf(id, store.Manners{})) != (id <= 50) {
			t.Fatalf("invented host %d", id)
		}
	}
	if !ls.missed {
		t.Error("nobody knows of those that found no room")
	}
	for id := int64(1001); id <= 1040; id++ {
		if !tell(headOf(id, store.Manners{Answered: true})) {
			t.Errorf("no room for host %d, which answers", id)
		}
	}
	if !tell(headOf(store.DirectoryLane, store.Manners{})) || !tell(headOf(store.WebLane, store.Manners{})) {
		t.Error("no room for documents")
	}
	if n := len(ls.byID); n != 52 {
		t.Errorf("%d lanes", n)
	}
	for id := int64(1001); id <= 1040; id++ {
		if ls.byID[id] == nil {
			t.Errorf("host %d was forgotten", id)
		}
	}
	if got := len(ls.ready.lanes) + len(ls.trial.lanes); got != 52 {
		t.Errorf("%d lanes may be served, want 52", got)
	}
}

// A host with a look under way, or that was asked a moment ago, is not forgotten for
// another one's sake: its share and its pace would be forgotten with it.
func TestAHostIsNotForgottenTooEarly(t *testing.T) {
	now := time.Now()
	slow := store.Manners{Answered: true, Rate: slowestRate}
	for name, c := range map[string]struct {
		manners store.Manners
		done    bool
		later   time.Duration
		forgets bool
	}{
		"asked a moment ago":       {slow, true, 0, false},
		"asked a minute ago":       {slow, true, time.Minute, true},
		"being asked":              {slow, false, time.Minute, false},
		"of any pace, being asked": {store.Manners{Answered: true}, false, 0, false},
		"of any pace":              {store.Manners{Answered: true}, true, 0, true},
	} {
		ls := newLanes(8, 0)
		ls.most = 1
		ls.learn(store.News{Heads: []store.LaneHead{headOf(1, c.manners)}}, now)
		p := ls.choose(now)[0]
		ls.claimed(p, 1, now.Add(time.Hour), now)
		if c.done {
			ls.done(p.lane, p.trial, false, now)
		}
		ls.learn(store.News{Heads: []store.LaneHead{headOf(2, store.Manners{Answered: true})}}, now.Add(c.later))
		if forgotten := ls.byID[1] == nil; forgotten != c.forgets || (ls.byID[2] != nil) != c.forgets {
			t.Errorf("%s: forgotten: %t", name, forgotten)
		}
	}
}

// Hosts that nobody has seen before come all the time. They queue behind the others.
func TestNewHostsDoNotGoBeforeOldOnes(t *testing.T) {
	now := time.Now()
	ls := newLanes(1, 0)
	m := store.Manners{Answered: true}
	ls.learn(store.News{Heads: []store.LaneHead{headOf(1, m), headOf(2, m), headOf(3, m)}}, now)
	served := map[int64]int{}
	for id := int64(10); id < 40; id++ {
		ls.learn(store.News{Heads: []store.LaneHead{headOf(id, m)}}, now)
		p := ls.choose(now)[0]
		served[p.Lane]++
		ls.claimed(p, p.Rows, time.UnixMicro(1), now)
		ls.done(p.lane, p.trial, false, now)
	}
	if served[1] < 2 || served[2] < 2 || served[3] < 2 {
		t.Errorf("turns of the old ones: %d, %d, %d of 30", served[1], served[2], served[3])
	}
}

// A host that says nothing but nonsense about its rate is asked at the least once a
// minute.
func TestTheSlowestRate(t *testing.T) {
	for _, said := range []float64{1e-12, 1e-3} {
		l := newLane(1)
		l.manners.Rate = said
		if p := paceOf(l, 8); time.Duration(p.interval)*time.Microsecond != time.Minute {
			t.Errorf("%g a second: an interval of %d µs", said, p.interval)
		}
	}
}
