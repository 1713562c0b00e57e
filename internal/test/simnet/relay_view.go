package simnet

import "fmt"

// RelayPolicy is what the relay does otherwise than to forward all that its PDSes
// say.
type RelayPolicy struct {
	// RefusesInvalidSync keeps back the #sync of an account that has migrated and not
	// written yet: neither its rev nor its signature is what it should be.
	RefusesInvalidSync bool
	// Accounts is how many accounts of one PDS the relay takes; those made later are
	// throttled and never heard of. All if 0.
	Accounts int
}

// SetRelay changes the policy of the relay from now on.
func (n *Network) SetRelay(to RelayPolicy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.policy = to
}

// SetRelayStatus makes the relay call an account inactive in a word of its own, such
// as throttled, and forward nothing of it; an empty word ends that. The account stays
// what it is at its PDS. Event, of the relay only: #account.
func (n *Network) SetRelayStatus(did, word string) error {
	return n.with(did, func(a *account) error {
		if n.relay == nil {
			return fmt.Errorf("there is no relay")
		}
		a.relayWord = word
		n.events++
		n.relay.hear(&occasion{account: a, number: n.events, message: accountMessage(did, a.relayStatus(), n.tick().Time())})
		return nil
	})
}

// SetHostStatus makes the relay's listHosts use a word for a PDS, by its name: idle,
// offline, throttled or banned; an empty word ends that. Of a banned host it forwards
// nothing.
func (n *Network) SetHostStatus(name, word string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil {
		h.relayWord = word
	}
}

// relayStatus is the relay's word for an account, empty for an active one.
func (a *account) relayStatus() string {
	if a.relayWord != "" {
		return a.relayWord
	}
	return a.status()
}

// relayHears reports whether the relay forwards an event.
func (n *Network) relayHears(o *occasion) bool {
	a := o.account
	switch {
	case n.relay == nil || !n.current(a) || a.relayWord != "" || a.pds.relayWord == "banned":
		return false
	case o.message.kind == "#sync" && a.arrival != nil:
		return !n.policy.RefusesInvalidSync
	}
	return true
}

// admit throttles a new account where the relay takes no more of its PDS.
func (n *Network) admit(a *account) {
	if n.policy.Accounts > 0 && len(a.pds.accounts) > n.policy.Accounts {
		a.relayWord = "throttled"
	}
}
