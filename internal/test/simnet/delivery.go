package simnet

import (
	"math/rand/v2"
	"slices"
)

// occasion is one event of an account, to be sent by its PDS and by the relay.
type occasion struct {
	account *account
	number  int64    // over the whole network
	message *message // as it is sent without faults
	commit  *commitEvent
	change  *change // of a #commit
}

// delivery is one event on its way into the stream of one host, where faults act on it.
type delivery struct {
	*occasion
	net  *Network
	host *host
	rule *rule      // the one that acts
	dice *rand.Rand // for that rule

	sent          numbered     // the event itself; without a message it is not sent
	lie           *commitEvent // sent in place of a #commit, nil for the truth
	before, after []numbered   // sent with it
}

// hear puts an event into the stream of a host, with its faults. One that was
// delayed comes before the next of its own PDS, and after the next of another.
func (h *host) hear(o *occasion) {
	if h.delayed != nil && h.delayed.account.pds == o.account.pds {
		h.release()
	}
	waits := h.delayed != nil
	d := &delivery{occasion: o, net: h.net, host: h, sent: numbered{message: o.message}}
	for _, r := range h.net.rules {
		if !r.covers(OnStream, h.name, o.account.did, o.message.kind) || !r.opportunity() {
			continue
		}
		d.rule, d.dice = r, h.net.dice(r.fault.Name, h.name, uint64(o.number))
		if d.dice.Float64() < r.Chance && r.fault.send(d) {
			h.net.count(r, o.account.did)
		}
	}
	d.send()
	if waits {
		h.release()
	}
}

// send appends the result to the stream.
func (d *delivery) send() {
	if d.lie != nil {
		d.sent.message = d.lie.message()
	}
	for _, said := range slices.Concat(d.before, []numbered{d.sent}, d.after) {
		if said.message != nil {
			d.host.stream.append(said)
		}
	}
}

// delayedEvent is an event that a host sends later.
type delayedEvent struct {
	numbered
	account *account
}

// release sends the delayed event.
func (h *host) release() {
	if h.delayed != nil {
		h.stream.append(h.delayed.numbered)
		h.delayed = nil
	}
}

// alter returns the #commit to change, nil for another event. Where the rule says
// so, the truth follows.
func (d *delivery) alter() *commitEvent {
	if d.commit == nil || d.sent.message == nil {
		return nil
	}
	if d.lie == nil {
		lie := *d.commit
		lie.ops, lie.blocks = slices.Clone(lie.ops), slices.Clone(lie.blocks)
		d.lie = &lie
		if d.rule.Also {
			d.after = append(d.after, numbered{message: d.message})
		}
	}
	return d.lie
}

// beside sends one more message behind the event.
func (d *delivery) beside(m *message) bool {
	d.after = append(d.after, numbered{message: m})
	return true
}
