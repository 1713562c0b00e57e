package simnet

import "time"

// Rotation says how an account gets another signing key.
type Rotation struct {
	// Silent leaves out the #identity.
	Silent bool
	// Unsigned leaves the repo signed by the key before, and out the #sync; the next
	// commit is by the new key.
	Unsigned bool
	// Late is how long after the events the directory says so.
	Late time.Duration
}

// RotateKey gives the account another signing key and signs its repo anew under
// a new rev, with the same content. Events: #identity, #sync.
func (n *Network) RotateKey(did string) error { return n.Rotate(did, Rotation{}) }

// Rotate is RotateKey in another way.
func (n *Network) Rotate(did string, how Rotation) error {
	return n.with(did, func(a *account) error { return n.rotate(a, how) })
}

// AnnounceKey gives the account another key in the directory, while its PDS still
// signs with the one before. The next rotation or migration takes that key. No event.
func (n *Network) AnnounceKey(did string) error {
	return n.with(did, n.announce)
}

func (n *Network) announce(a *account) error {
	key, err := n.nextKey(a)
	if err != nil {
		return err
	}
	a.announced = key
	n.publish(a, key, 0)
	n.report(a, Announced)
	return nil
}

func (n *Network) nextKey(a *account) (*signingKey, error) {
	if a.announced != nil {
		return a.announced, nil
	}
	return newKey(n.cfg.Seed, a.number, len(a.keys))
}

// inDocument is the key that the account's document names.
func (a *account) inDocument() *signingKey {
	if a.announced != nil {
		return a.announced
	}
	return a.key
}

// adopt makes a key the account's own.
func (a *account) adopt(key *signingKey) {
	a.key, a.keys, a.announced = key, append(a.keys, key), nil
}

func (n *Network) rotate(a *account, how Rotation) error {
	key, err := n.nextKey(a)
	if err != nil {
		return err
	}
	known := a.announced != nil
	a.adopt(key)
	if !how.Unsigned {
		r, err := a.author().commitTo(a.repo, a.repo.tree, n.tick())
		if err != nil {
			return err
		}
		a.become(r)
	}
	if !known {
		n.publish(a, key, how.Late)
	}
	if !how.Silent {
		n.identityChanged(a)
	}
	if !how.Unsigned {
		n.emit(a, syncMessage(a.did, a.repo, a.headRev(), n.tick().Time()))
	}
	n.report(a, Rotated)
	return nil
}
