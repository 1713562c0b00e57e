package resync

import (
	"sync"
	"time"

	"railyard/internal/backoff"
	"railyard/internal/store"
)

const (
	// mostLanes bounds the lanes in memory, about 30 MB, however many hosts
	// strangers invent. Those beyond it are found as others become empty.
	mostLanes = 100_000
	// hostShare is how many looks may ask one host at once.
	hostShare = 4
	// The parts of the workers that the directory, the hosts of did:web, and all
	// hosts on probation together may hold: a quarter of them is always left for
	// hosts that are known to answer.
	directoryPart = 4
	webPart       = 8
	trialPart     = 2
	// mostCooling bounds what a row says about a host's cooldown.
	mostCooling = unreachableMost
	// spareTime: a lane with nothing to do for so long is forgotten where there is
	// no room for one with due rows. The file has it, and the next reading finds it.
	spareTime = 10 * time.Second
)

// lanes chooses whose rows are claimed next. It mirrors the heads of the queue: by
// lane and priority when the first row is due. A head may be too early, which a
// claim finds out; it is never too late but for what News did not tell, which the
// next reading finds.
type lanes struct {
	workers int
	qps     float64 // requests per second to one host; 0 = no bound
	most    int

	mu      sync.Mutex // guards what follows, and the lanes
	byID    map[int64]*lane
	ready   *queue // may be served now
	trial   *queue // the same, on probation
	timers  *queue // time will change something
	turn    uint64
	missed  bool // there was no room for some
	running int  // looks
	trying  int  // of them, those that were begun on probation
}

func newLanes(workers int, qps float64) *lanes {
	return &lanes{
		workers: workers, qps: qps, most: mostLanes,
		byID:   make(map[int64]*lane),
		ready:  readyQueue(func(l *lane) *int { return &l.atReady }),
		trial:  readyQueue(func(l *lane) *int { return &l.atTrial }),
		timers: timerQueue(),
	}
}

// part is a share of the workers, at least one.
func (ls *lanes) part(of int) int { return max(1, ls.workers/of) }

// share is how many looks may run in a lane.
func (ls *lanes) share(l *lane) int {
	switch {
	case l.id == store.DirectoryLane && l.failed >= hostPatience:
		return 1
	case l.id == store.DirectoryLane:
		return ls.part(directoryPart)
	case l.id == store.WebLane:
		return ls.part(webPart)
	case l.onProbation():
		return 1
	}
	return hostShare
}

// learn takes the news of the file, or a piece of a reading of all heads.
func (ls *lanes) learn(news store.News, at time.Time) {
	now := at.UnixMicro()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, h := range news.Heads {
		l := ls.byID[h.Lane]
		if l == nil {
			if l = ls.admit(h, now); l == nil {
				ls.missed = true
				continue
			}
		}
		if p := h.Priority; p >= 1 && p <= store.Priorities {
			l.due[p] = min(l.due[p], h.NotBefore.UnixMicro())
		}
		ls.place(l, now)
	}
	for id, m := range news.Hosts {
		if l := ls.byID[id]; l != nil {
			l.learn(m, now)
			ls.place(l, now)
		}
	}
}

// admit makes a lane, behind all others in the order of turns. Where there is no
// room, one whose rows are due takes the place of one that has nothing to do for a
// while, and a host that is known to answer that of one on probation; if there is
// none it gives nil.
func (ls *lanes) admit(h store.LaneHead, now int64) *lane {
	l := newLane(h.Lane)
	l.learn(h.Manners, now)
	if l.id > 0 && len(ls.byID) >= ls.most {
		idle := h.NotBefore.UnixMicro() > now || l.cooling > now
		if idle || !(ls.forgetIdle(now) || (!l.onProbation() && ls.forgetOne(ls.trial, func(*lane) bool { return true }))) {
			return nil
		}
	}
	ls.turn++
	l.served = ls.turn
	ls.byID[l.id] = l
	return l
}

// roomAgain tells whether lanes were missed that there is room for by now.
func (ls *lanes) roomAgain() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	again := ls.missed && len(ls.byID) <= ls.most/2
	if again {
		ls.missed = false
	}
	return again
}

// forgetIdle forgets a lane that has nothing to do for a while.
func (ls *lanes) forgetIdle(now int64) bool {
	before := now + spareTime.Microseconds()
	return ls.forgetOne(ls.timers, func(l *lane) bool {
		return l.wake > before && l.spaced <= now && l.atReady < 0 && l.atTrial < 0
	})
}

// forgetOne forgets a lane of a queue that may be forgotten. It looks at a few of
// the last leaves of the heap, which are late ones.
func (ls *lanes) forgetOne(q *queue, may func(*lane) bool) bool {
	for at := len(q.lanes) - 1; at >= max(0, len(q.lanes)-8); at-- {
		if l := q.lanes[at]; l.id > 0 && l.running == 0 && may(l) {
			l.wake = never
			ls.move(l, nil)
			delete(ls.byID, l.id)
			return true
		}
	}
	return false
}

// place puts a lane into the queues where it belongs now.
func (ls *lanes) place(l *lane, now int64) {
	best, better := l.urgent(now)
	blocked := max(l.cooling, l.allowed(paceOf(l, ls.qps), now))
	var into *queue
	switch {
	case l.running >= ls.share(l):
		l.wake = never // the end of a look places it again
	case l.first() == never && l.running == 0 && l.id > 0 && l.spaced <= now:
		delete(ls.byID, l.id)
		l.wake = never
	case l.first() == never:
		l.wake = never
		if l.running == 0 && l.id > 0 {
			l.wake = l.spaced // it may be forgotten then
		}
	case blocked > now:
		l.wake = max(blocked, l.first())
	case best == 0:
		l.wake = better
	default:
		l.best, l.wake = best, better
		if into = ls.ready; l.onProbation() {
			into = ls.trial
		}
	}
	ls.move(l, into)
}

// move puts a lane into one of the queues for service, or none, and sets its
// timer.
func (ls *lanes) move(l *lane, into *queue) {
	for _, q := range []*queue{ls.ready, ls.trial} {
		if q != into {
			q.remove(l)
		}
	}
	if into != nil {
		into.put(l)
	}
	if l.wake == never {
		ls.timers.remove(l)
		return
	}
	ls.timers.put(l)
}

// tick places the lanes that time has changed.
func (ls *lanes) tick(now int64) {
	for l := ls.timers.first(); l != nil && l.wake <= now; l = ls.timers.first() {
		ls.place(l, now)
	}
}

// pick is what is to be claimed of a lane, and paid for already.
type pick struct {
	store.Wanted
	lane  *lane
	trial bool
}

// head names the rows of a lane and priority.
type head struct{ lane, priority int64 }

// choose picks rows for the free workers: of the lanes with the most urgent rows,
// in turns, one row in each.
func (ls *lanes) choose(at time.Time) []pick {
	now := at.UnixMicro()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.tick(now)
	var picks []pick
	known := make(map[head]int)
	for ls.running < ls.workers {
		l := ls.nextReady()
		if l == nil {
			break
		}
		key := head{l.id, l.best}
		i, ok := known[key]
		if !ok {
			i = len(picks)
			known[key] = i
			picks = append(picks, pick{Wanted: store.Wanted{Lane: l.id, Priority: l.best}, lane: l, trial: l.onProbation()})
		}
		picks[i].Rows++
		ls.begin(l, now)
	}
	return picks
}

// nextReady gives the lane whose turn it is.
func (ls *lanes) nextReady() *lane {
	l, t := ls.ready.first(), ls.trial.first()
	switch {
	case t == nil || ls.trying >= ls.part(trialPart):
		return l
	case l == nil || ls.trial.before(t, l):
		return t
	}
	return l
}

func (ls *lanes) begin(l *lane, now int64) {
	ls.turn++
	l.served = ls.turn
	l.running++
	ls.running++
	if l.onProbation() {
		ls.trying++
	}
	l.take(paceOf(l, ls.qps), now)
	ls.place(l, now)
}

// claimed says how many rows of a pick there were, and when the next one is due.
// What was begun for the others is taken back.
func (ls *lanes) claimed(p pick, rows int, next time.Time, at time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	p.lane.due[p.Priority] = never
	if !next.IsZero() {
		p.lane.due[p.Priority] = next.UnixMicro()
	}
	for range p.Rows - rows {
		ls.end(p.lane, p.trial, true)
	}
	ls.place(p.lane, at.UnixMicro())
}

func (ls *lanes) end(l *lane, trial, unpaid bool) {
	l.running--
	ls.running--
	if trial {
		ls.trying--
	}
	if unpaid {
		l.giveBack(paceOf(l, ls.qps))
	}
}

// done ends a look. unused: no request was sent.
func (ls *lanes) done(l *lane, trial, unused bool, at time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.end(l, trial, unused)
	ls.place(l, at.UnixMicro())
}

// again tells how long a look must wait until it may send another request to its
// host, which is counted; ok is false if the host cools down.
func (ls *lanes) again(l *lane, at time.Time) (wait time.Duration, ok bool) {
	now := at.UnixMicro()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.cooling > now {
		return 0, false
	}
	p := paceOf(l, ls.qps)
	wait = time.Duration(l.allowed(p, now)-now) * time.Microsecond
	l.take(p, now)
	return wait, true
}

// spend counts a request of somebody else to a host and tells how long it must
// wait. A host that nobody waits for has a lane until it may be asked again.
func (ls *lanes) spend(id int64, at time.Time) time.Duration {
	now := at.UnixMicro()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byID[id]
	if l == nil {
		l = newLane(id)
		if len(ls.byID) < ls.most {
			ls.byID[id] = l
		}
	}
	p := paceOf(l, ls.qps)
	pause := time.Duration(l.allowed(p, now)-now) * time.Microsecond
	l.take(p, now)
	if ls.byID[id] == l {
		ls.place(l, now)
	}
	return pause
}

// rate gives what the host of a lane is known to allow.
func (ls *lanes) rate(l *lane) float64 {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return l.manners.Rate
}

// directoryFailed counts a request to the directory that failed, and leaves it
// alone for as long as it says, or longer and longer.
func (ls *lanes) directoryFailed(retryAfter time.Duration, at time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := at.UnixMicro()
	l := ls.byID[store.DirectoryLane]
	if l == nil || (l.cooling > now && retryAfter <= 0) { // it was asked before
		return
	}
	if l.failed++; retryAfter <= 0 && l.failed >= hostPatience {
		retryAfter = backoff.Delay(directoryFirst, directoryMost, l.failed-hostPatience)
	}
	l.cooling = max(l.cooling, now+min(retryAfter, cooldownMost).Microseconds())
	ls.place(l, now)
}

// directoryAnswered forgets its failures.
func (ls *lanes) directoryAnswered() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.byID[store.DirectoryLane]; l != nil {
		l.failed = 0
	}
}

// pending tells how many looks run, and when time changes something: the zero
// time if it does not.
func (ls *lanes) pending() (running int, wake time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.timers.first(); l != nil {
		wake = time.UnixMicro(l.wake)
	}
	return ls.running, wake
}
