package resync

import (
	"time"

	"railyard/internal/store"
)

// lane is who is asked for some rows of the queue: a host, the PLC directory, or
// the hosts of did:web together. Times are unix microseconds.
type lane struct {
	id      int64
	due     [store.Priorities + 1]int64 // when the first row of a priority is due that nobody works on
	cooling int64                       // not served before then
	spaced  int64                       // when its next request would be due if all kept their distance
	manners store.Manners
	running int    // looks, from the claim to the commit of their ends
	failed  int    // requests in a row that failed; of the directory, which has no row
	served  uint64 // its last turn

	best    int64 // priority of its best due row, when it was placed
	wake    int64 // when time changes something
	atReady int   // places in the queues, -1 = in none
	atTrial int
	atTimer int
}

func newLane(id int64) *lane {
	l := &lane{id: id, atReady: -1, atTrial: -1, atTimer: -1}
	for p := range l.due {
		l.due[p] = never
	}
	return l
}

// onProbation: nobody knows yet that it answers in time. A host on probation gets
// one request at a time, and all of them together a part of the workers. The hosts
// of did:web stay there, because strangers make them up.
func (l *lane) onProbation() bool {
	switch l.id {
	case store.DirectoryLane:
		return false
	case store.WebLane:
		return true
	}
	return !l.manners.Answered || l.manners.Failures > 0
}

// learn takes what the row of the host says.
func (l *lane) learn(m store.Manners, now int64) {
	l.manners = m
	// The clock may have been ahead when the row was written.
	l.cooling = min(max(l.cooling, m.Cooling.UnixMicro()), now+mostCooling.Microseconds())
}

// urgent gives the priority of its best due row, 0 if none is due, and when a
// better one becomes due.
func (l *lane) urgent(now int64) (best, better int64) {
	better = never
	for p := int64(1); p <= store.Priorities; p++ {
		if l.due[p] <= now {
			return p, better
		}
		better = min(better, l.due[p])
	}
	return 0, better
}

// first is when its first row is due, never if it has none.
func (l *lane) first() int64 {
	first := int64(never)
	for _, at := range l.due {
		first = min(first, at)
	}
	return first
}

// pace is how often a host may be asked.
type pace struct {
	interval int64 // microseconds between requests; 0 = as often as we like
	burst    int64 // how far ahead of its time a request may be
}

// slowestRate is the least that a host can ask for: one request in a minute.
const slowestRate = 1.0 / 60

// paceOf follows the operator's bound and the host's own, whichever is less. What
// was missed within a quarter of a second may be made up for.
func paceOf(l *lane, qps float64) pace {
	perSecond := qps
	if own := l.manners.Rate; own > 0 && (qps <= 0 || own < qps) {
		perSecond = max(own, slowestRate)
	}
	if l.id <= 0 || perSecond <= 0 {
		return pace{}
	}
	interval := int64(float64(time.Second.Microseconds()) / perSecond)
	return pace{interval, interval * max(0, int64(perSecond/4)-1)}
}

// mostAhead is how many requests a host is behind at most: more of them means that
// the clock went back.
const mostAhead = 16

// allowed is when its next request may be sent.
func (l *lane) allowed(p pace, now int64) int64 {
	l.spaced = min(l.spaced, now+p.burst+mostAhead*p.interval)
	return l.spaced - p.burst
}

// take counts a request.
func (l *lane) take(p pace, now int64) { l.spaced = max(l.spaced, now) + p.interval }

// giveBack takes back one that was not sent.
func (l *lane) giveBack(p pace) { l.spaced -= p.interval }
