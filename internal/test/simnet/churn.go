package simnet

import "time"

// churn does what Config.Churn adds to a life: accounts move, return, and get
// another key in unusual ways. It is drawn beside the rest of the life.
func (n *Network) churn() error {
	if !n.cfg.Churn || n.trouble.IntN(20) > 0 || len(n.living) == 0 {
		return nil
	}
	a := n.living[n.trouble.IntN(len(n.living))]
	switch n.trouble.IntN(10) {
	case 0, 1, 2, 3:
		return n.wander(a)
	case 4, 5:
		return n.speakLate()
	case 6:
		return n.revive()
	case 7:
		if a.announced == nil && !a.tombstoned {
			return n.announce(a)
		}
	default:
		if a.active() {
			bits := n.trouble.IntN(8)
			return n.rotate(a, Rotation{Silent: bits&1 > 0, Unsigned: bits&2 > 0, Late: time.Duration(bits>>2) * time.Second})
		}
	}
	return nil
}

// wander moves an account to another PDS.
func (n *Network) wander(a *account) error {
	to := n.trouble.IntN(len(n.pdses))
	if n.pdses[to] == a.pds || !a.active() {
		return nil
	}
	how := n.trouble.IntN(4)
	return n.migrate(a, Migration{To: to, OldStays: how < 2, DeleteOld: how == 3, Late: time.Duration(n.trouble.IntN(2)) * time.Second})
}

// speakLate lets a PDS write for an account that left it, or end it there at last.
func (n *Network) speakLate() error {
	for _, a := range n.living {
		left := n.formerOf(a.did)
		switch {
		case left == nil:
		case n.trouble.IntN(2) == 0:
			n.endFormer(left, n.trouble.IntN(2) == 0)
			return nil
		default:
			return n.apply(left, []Write{{Action: Create, Path: "net.rails.late/" + n.tick().String()}})
		}
	}
	return nil
}

// revive lets a deleted account return.
func (n *Network) revive() error {
	start := n.trouble.IntN(len(n.accounts))
	for i := range n.accounts {
		if a := n.accounts[(start+i)%len(n.accounts)]; a.deleted && !a.tombstoned {
			return n.comeBack(a, n.pdses[n.trouble.IntN(len(n.pdses))])
		}
	}
	return nil
}
