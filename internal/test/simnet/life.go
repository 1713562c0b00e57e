package simnet

import (
	"errors"
	"strings"

	"railyard/internal/atproto"
)

// errNobody is returned by Step when no account can write.
var errNobody = errors.New("simnet: no account is active")

// Step lets the network live for the length of one commit: now and then the
// state of an account changes or an account is made, and then an active account
// commits once. What happens is drawn from the seed.
func (n *Network) Step() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.IntN(25) == 0 {
		if err := n.upheaval(); err != nil {
			return err
		}
	}
	if err := n.churn(); err != nil {
		return err
	}
	return n.stepCommit()
}

// StepCommit is Step without changes of accounts.
func (n *Network) StepCommit() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stepCommit()
}

func (n *Network) stepCommit() error {
	a := n.drawActive()
	if a == nil {
		return errNobody
	}
	return n.apply(a, n.drawWrites(a))
}

// drawActive draws an account that can write, nil if there is none.
func (n *Network) drawActive() *account {
	if len(n.living) == 0 {
		return nil
	}
	start := n.life.IntN(len(n.living))
	for i := range n.living {
		if a := n.living[(start+i)%len(n.living)]; a.active() {
			return a
		}
	}
	return nil
}

// upheaval changes the state of one account, or makes one. An inactive account
// mostly comes back.
func (n *Network) upheaval() error {
	if len(n.living) == 0 || n.life.IntN(10) == 0 {
		return n.settle(n.pdses[n.life.IntN(len(n.pdses))])
	}
	a := n.living[n.life.IntN(len(n.living))]
	if a.active() {
		a = n.living[n.life.IntN(len(n.living))] // to find those who can come back
	}
	if !a.active() && n.life.IntN(4) > 0 {
		return n.restore(a)
	}
	switch n.life.IntN(24) {
	case 0, 1, 2:
		if !a.deactivated {
			return n.set(a, &a.deactivated, true, Deactivated)
		}
	case 3, 4:
		if !a.takendown {
			return n.set(a, &a.takendown, true, TakenDown)
		}
	case 5:
		if !a.suspended {
			return n.set(a, &a.suspended, true, Suspended)
		}
	case 6, 7:
		n.delete(a)
	case 8, 9, 10:
		if a.active() {
			return n.rotate(a, Rotation{})
		}
	case 11, 12, 13, 14:
		n.emit(a, identityMessage(a.did, a.handle, n.tick().Time()))
	default:
		n.rename(a, "renamed-"+a.handle[strings.LastIndex(a.handle, "account"):])
	}
	return nil
}

// restore undoes one of the things that keep an account inactive.
func (n *Network) restore(a *account) error {
	switch {
	case a.takendown:
		return n.set(a, &a.takendown, false, Restored)
	case a.suspended:
		return n.set(a, &a.suspended, false, Unsuspended)
	}
	return n.activate(a)
}

// settle makes an account and gives it something to begin with: up to eight
// collections, none for some.
func (n *Network) settle(pds *host) error {
	a, err := n.createAccount(pds)
	if err != nil {
		return err
	}
	d := n.draw(a)
	for range n.life.IntN(9) {
		name := d.anyCollection()
		for range 1 + n.life.IntN(1+n.cfg.Records/8) {
			d.create(name)
		}
	}
	for len(d.writes) > 0 {
		size := min(len(d.writes), 1+n.life.IntN(60))
		if err := n.apply(a, d.writes[:size]); err != nil {
			return err
		}
		d.writes = d.writes[size:]
	}
	return nil
}

// draft is a commit in the making; each path is touched once.
type draft struct {
	net     *Network
	account *account
	writes  []Write
	touched map[string]bool
	number  int64
}

func (n *Network) draw(a *account) *draft {
	return &draft{net: n, account: a, touched: map[string]bool{}, number: a.written}
}

// drawWrites draws one commit of an account.
func (n *Network) drawWrites(a *account) []Write {
	d := n.draw(a)
	if len(a.repo.entries) > 2*n.cfg.Records {
		d.shrink()
		return d.writes
	}
	switch roll := n.life.IntN(100); {
	case roll < 50:
		d.create(d.collection())
	case roll < 58:
		d.update()
	case roll < 70:
		d.delete()
	case roll < 77:
		d.empty(d.anyCollectionOf())
	case roll < 92:
		d.mix()
	case roll < 94:
		d.flash()
	case roll < 96:
		d.waver()
	case roll < 99:
		d.succeed()
	}
	return d.writes // empty now and then: a commit without ops is legal
}

func (d *draft) anyCollection() string {
	all := nsids()
	return all[d.net.life.IntN(len(all))]
}

// anyCollectionOf draws one of the collections that the repo has, each as likely; empty
// if it has none.
func (d *draft) anyCollectionOf() string {
	names := d.account.repo.collections()
	if len(names) == 0 {
		return ""
	}
	return names[d.net.life.IntN(len(names))]
}

// collectionOfARecord draws the collection of a record, empty if there is none.
func (d *draft) collectionOfARecord() string {
	entries := d.account.repo.entries
	if len(entries) == 0 {
		return ""
	}
	name, _ := atproto.CollectionOf(entries[d.net.life.IntN(len(entries))].key)
	return name
}

// collection draws one to write to: mostly one that the repo has, else a
// relative of it or any.
func (d *draft) collection() string {
	name := d.collectionOfARecord()
	switch roll := d.net.life.IntN(10); {
	case name == "" || roll == 0:
		return d.anyCollection()
	case roll == 1:
		if kin := relatives(name); len(kin) > 0 {
			return kin[d.net.life.IntN(len(kin))]
		}
	}
	return name
}

func (d *draft) add(action Action, path string) {
	d.touched[path] = true
	d.writes = append(d.writes, Write{Action: action, Path: path})
}

// create adds a record of a collection.
func (d *draft) create(name string) (path string) {
	for {
		d.number++
		path = name + "/" + d.net.newRkey(d.number)
		if _, found := d.account.repo.find(path); !found && !d.touched[path] {
			d.add(Create, path)
			return path
		}
	}
}

// record draws a record that the draft has not touched, empty if that fails.
func (d *draft) record() string {
	entries := d.account.repo.entries
	if len(entries) == 0 {
		return ""
	}
	path := entries[d.net.life.IntN(len(entries))].key
	if d.touched[path] {
		return ""
	}
	return path
}

func (d *draft) update() {
	if path := d.record(); path != "" {
		d.add(Update, path)
	}
}

func (d *draft) delete() {
	if path := d.record(); path != "" {
		d.add(Delete, path)
	}
}

// maxOps is the most that one commit may hold (lexicon: subscribeRepos).
const maxOps = 200

// empty deletes a whole collection, as far as one commit can.
func (d *draft) empty(name string) {
	for _, e := range d.account.repo.entries {
		if strings.HasPrefix(e.key, name+"/") && len(d.writes) < maxOps {
			d.add(Delete, e.key)
		}
	}
}

// mix does several things at once.
func (d *draft) mix() {
	for range 2 + d.net.life.IntN(11) {
		switch d.net.life.IntN(4) {
		case 0:
			d.update()
		case 1:
			d.delete()
		default:
			d.create(d.collection())
		}
	}
}

// flash creates and deletes one record in one commit, beside another write.
func (d *draft) flash() {
	path := d.create(d.collection())
	d.add(Delete, path)
	if d.net.life.IntN(2) == 0 {
		d.create(d.collection())
	}
}

// waver writes one record several times in one commit, as a client may: made and
// changed, taken away and made again, changed twice, changed and taken away.
func (d *draft) waver() {
	path := d.record()
	if path == "" || d.net.life.IntN(4) == 0 {
		d.add(Update, d.create(d.collection()))
		return
	}
	switch d.net.life.IntN(3) {
	case 0:
		d.add(Delete, path)
		d.add(Create, path)
	case 1:
		d.add(Update, path)
		d.add(Update, path)
	default:
		d.add(Update, path)
		d.add(Delete, path)
	}
}

// succeed ends a collection and begins a relative of it in one commit.
func (d *draft) succeed() {
	name := d.anyCollectionOf()
	d.empty(name)
	if kin := relatives(name); len(kin) > 0 && len(d.writes) < maxOps {
		d.create(kin[d.net.life.IntN(len(kin))])
	}
}

// shrink deletes about every third record.
func (d *draft) shrink() {
	for _, e := range d.account.repo.entries {
		if d.net.life.IntN(3) == 0 && len(d.writes) < maxOps {
			d.add(Delete, e.key)
		}
	}
}
