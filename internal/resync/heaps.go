package resync

import (
	"container/heap"
	"math"
)

// never is a time that does not come, in unix microseconds.
const never = math.MaxInt64

// queue is a heap of lanes that knows where each one stands in it.
type queue struct {
	lanes  []*lane
	before func(a, b *lane) bool
	place  func(l *lane) *int // where the lane keeps its place in this queue; -1 = it is not in it
}

func (q *queue) Len() int           { return len(q.lanes) }
func (q *queue) Less(i, j int) bool { return q.before(q.lanes[i], q.lanes[j]) }

func (q *queue) Swap(i, j int) {
	q.lanes[i], q.lanes[j] = q.lanes[j], q.lanes[i]
	*q.place(q.lanes[i]), *q.place(q.lanes[j]) = i, j
}

// Push is for container/heap.
func (q *queue) Push(x any) {
	l := x.(*lane)
	*q.place(l) = len(q.lanes)
	q.lanes = append(q.lanes, l)
}

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(q.lanes) - 1
	l := q.lanes[last]
	q.lanes[last] = nil
	q.lanes = q.lanes[:last]
	*q.place(l) = -1
	return l
}

// put brings a lane to its place, whether it was in the queue or not.
func (q *queue) put(l *lane) {
	if at := *q.place(l); at >= 0 {
		heap.Fix(q, at)
		return
	}
	heap.Push(q, l)
}

func (q *queue) remove(l *lane) {
	if at := *q.place(l); at >= 0 {
		heap.Remove(q, at)
	}
}

// first gives the lane that comes first, nil if there is none.
func (q *queue) first() *lane {
	if len(q.lanes) == 0 {
		return nil
	}
	return q.lanes[0]
}

// readyQueue has the lanes that may be served: the most urgent first, of those
// that whose last turn is longest ago.
func readyQueue(place func(*lane) *int) *queue {
	return &queue{place: place, before: func(a, b *lane) bool {
		if a.best != b.best {
			return a.best < b.best
		}
		return a.served < b.served
	}}
}

// timerQueue has the lanes that time will change, the next one first.
func timerQueue() *queue {
	return &queue{
		place:  func(l *lane) *int { return &l.atTimer },
		before: func(a, b *lane) bool { return a.wake < b.wake },
	}
}
