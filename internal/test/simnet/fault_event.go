package simnet

import "slices"

// Faults of whole events.
const (
	Drop          FaultName = "drop"
	Repeat        FaultName = "repeat"
	Reorder       FaultName = "reorder"
	LostWindow    FaultName = "lost window"
	SequenceReset FaultName = "sequence reset"
)

func eventFaults() []Fault {
	return []Fault{
		{Name: LostWindow, Where: OnStream, Loses: true, Doc: "The host forgets every event before this one: its replay begins here.", send: forgetWindow},
		{Name: SequenceReset, Where: OnStream, Loses: true, Doc: "The host forgets every event before this one, cuts all connections and numbers anew from 1.", send: resetSequence},
		{Name: Drop, Where: OnStream, Loses: true, Doc: "The event is never sent, and no number is missing.", send: drop},
		{Name: Repeat, Where: OnStream, Doc: "The event is sent a second time at once, under a number of its own.", send: repeat},
		{Name: Reorder, Where: OnStream, Doc: "The relay sends the event after the next one of another PDS; those of one PDS stay in order.", send: reorder},
	}
}

func drop(d *delivery) bool {
	d.sent.message = nil
	return true
}

func repeat(d *delivery) bool {
	return d.sent.message != nil && d.beside(d.message)
}

func reorder(d *delivery) bool {
	if d.host != d.net.relay || d.host.delayed != nil || d.sent.message == nil || d.lie != nil || len(d.after) > 0 {
		return false
	}
	d.host.delayed = &delayedEvent{d.sent, d.account}
	d.sent = numbered{}
	return true
}

func forgetWindow(d *delivery) bool {
	if len(d.host.stream.events) == 0 {
		return false
	}
	d.host.stream.forget()
	return true
}

// forget empties the replay window.
func (s *stream) forget() { s.events, s.forgotten = nil, s.last }

func resetSequence(d *delivery) bool {
	if d.host.stream.last < 2 {
		return false
	}
	d.host.restartAt(0)
	return true
}

// restartAt makes a host number its events from behind seq, as after a reset, and
// cuts its connections.
func (h *host) restartAt(seq int64) {
	h.delayed = nil
	h.stream.last = seq
	h.stream.forget()
	for c := range h.conns {
		_ = c.NetConn().Close()
	}
}

// ResetSequence lets a host, by its name, forget its events and number the next one
// seq. Connections are cut.
func (n *Network) ResetSequence(name string, seq int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && h.stream != nil {
		h.restartAt(seq - 1)
	}
}

// ForgetWindow lets a host, by its name, forget the events that it could replay.
func (n *Network) ForgetWindow(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && h.stream != nil {
		h.stream.forget()
	}
}

// otherPDS draws a PDS that is not the account's, nil if there is none.
func (d *delivery) otherPDS() *host {
	others := slices.DeleteFunc(slices.Clone(d.net.pdses), func(h *host) bool { return h == d.account.pds })
	if len(others) == 0 {
		return nil
	}
	return oneOf(d.dice, others)
}
