//go:build e2e

package e2e

import (
	"fmt"
	"sync"
	"testing"
)

// scenario is subtests that live through one story together: the test tells the
// story to the network, and each subtest holds its own services to it.
type scenario struct {
	members []*member
	left    sync.WaitGroup
}

// member is one subtest. It runs what it is told to, until it is dismissed or has
// failed.
type member struct {
	name  string
	tasks chan func(t *testing.T)
	done  chan struct{} // a task has ended
	gone  chan struct{} // it has failed, or is dismissed
}

// enlist starts a subtest. One that -run does not name is no member.
func (c *scenario) enlist(t *testing.T, name string) *member {
	m := &member{name: name, tasks: make(chan func(*testing.T)), done: make(chan struct{}), gone: make(chan struct{})}
	runs := make(chan bool, 2) // that it does comes first
	c.left.Go(func() {
		t.Run(name, func(t *testing.T) {
			defer close(m.gone)
			runs <- true
			for task := range m.tasks {
				task(t)
				m.done <- struct{}{}
			}
		})
		runs <- false
	})
	if !<-runs {
		return nil
	}
	c.members = append(c.members, m)
	return m
}

// all hands each member that has not failed a task, and returns when they have ended.
func (c *scenario) all(t *testing.T, task func(t *testing.T, m *member)) {
	t.Helper()
	var working sync.WaitGroup
	for _, m := range c.members {
		working.Go(func() {
			select {
			case m.tasks <- func(t *testing.T) { task(t, m) }:
			case <-m.gone:
				return
			}
			select {
			case <-m.done:
			case <-m.gone:
			}
		})
	}
	working.Wait()
	if c.standing() == 0 {
		t.Fatal("all have failed")
	}
}

// standing counts the members that have not failed.
func (c *scenario) standing() int {
	n := 0
	for _, m := range c.members {
		select {
		case <-m.gone:
		default:
			n++
		}
	}
	return n
}

// dismiss ends the subtests.
func (c *scenario) dismiss() {
	for _, m := range c.members {
		close(m.tasks)
	}
	c.left.Wait()
}

func TestScenarioGoesOnWithoutWhoHasFailed(t *testing.T) {
	var c scenario
	heard := map[string]*int{}
	for _, name := range []string{"stays", "leaves", "stays too"} {
		if m := c.enlist(t, name); m != nil {
			heard[name] = new(int)
		}
	}
	if len(heard) < 3 {
		c.dismiss()
		t.Skip("-run names some of the subtests only")
	}
	for range 3 {
		c.all(t, func(t *testing.T, m *member) {
			*heard[m.name]++
			if m.name == "leaves" {
				t.SkipNow() // as FailNow does, it ends the subtest in the middle of a task
			}
		})
	}
	standing := c.standing()
	c.dismiss()
	if got := fmt.Sprint(*heard["stays"], *heard["leaves"], *heard["stays too"], standing); got != "3 1 3 2" {
		t.Errorf("tasks heard and members at the end: %s", got)
	}
}
