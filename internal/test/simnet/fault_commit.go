package simnet

import (
	"slices"
	"time"

	"railyard/internal/atproto"
)

// Lies of a #commit.
const (
	WrongSignature FaultName = "wrong signature"
	WrongPrevData  FaultName = "wrong prevData"
	NoPrevData     FaultName = "no prevData"
	LeastNodes     FaultName = "least nodes"
	NoOpPrev       FaultName = "no prev"
	MissingBlock   FaultName = "missing block"
	ForgedBlock    FaultName = "forged block"
	OmittedOp      FaultName = "omitted op"
	InventedOp     FaultName = "invented op"
	OldRev         FaultName = "old rev"
	FutureRev      FaultName = "future rev"
	WrongRepo      FaultName = "wrong repo"
)

// commitFaults are sent instead of the true #commit, unless Rule.Also.
func commitFaults() []Fault {
	lie := func(name FaultName, send func(*delivery, *commitEvent) bool, doc string) Fault {
		return Fault{Name: name, Where: OnStream, Loses: true, Doc: doc, on: []string{"#commit"}, send: func(d *delivery) bool { return d.lied(send) }}
	}
	return []Fault{
		lie(WrongSignature, wrongSignature, "The commit is signed by a key that is not the account's, or not at all."),
		lie(WrongPrevData, wrongPrevData, "The prevData is of another tree."),
		lie(NoPrevData, noPrevData, "The prevData is left out."),
		lie(LeastNodes, leastNodes, "Of the nodes that the commit did not make only those are sent that lead to a deleted key."),
		lie(NoOpPrev, noOpPrev, "One update or delete lacks its prev."),
		lie(MissingBlock, missingBlock, "A node or record of the commit is not among the blocks."),
		lie(ForgedBlock, forgedBlock, "A block is not what its CID says."),
		lie(OmittedOp, omittedOp, "One op is left out."),
		lie(InventedOp, inventedOp, "One op is of a record that was never written."),
		lie(OldRev, oldRev, "The rev, signed, is older than that of the commit before."),
		lie(FutureRev, futureRev, "The rev, signed, is a day ahead of the network's clock."),
		lie(WrongRepo, wrongRepo, "The commit is said to be of another account."),
	}
}

// lied lets a fault alter the #commit, and leaves everything as it was where the
// fault finds nothing to do.
func (d *delivery) lied(send func(*delivery, *commitEvent) bool) bool {
	before := *d
	if lie := d.alter(); lie != nil && send(d, lie) {
		return true
	}
	*d = before
	return false
}

// replaceCommit puts another commit block in the place of the true one.
func (e *commitEvent) replaceCommit(commit []byte) {
	digest := atproto.DigestOf(commit)
	for i := range e.blocks {
		if e.blocks[i].digest == e.commit {
			e.blocks[i] = block{digest, commit}
		}
	}
	e.commit = digest
}

// resign replaces the commit block of the lie by one of another rev and author.
func (d *delivery) resign(e *commitEvent, by author, rev atproto.TID) bool {
	r, err := by.commitTo(d.change.before, d.change.after.tree, rev)
	if err != nil {
		return false
	}
	e.rev = rev
	e.replaceCommit(r.commit)
	return true
}

// forger is an author who has not the account's key.
func (d *delivery) forger() (author, bool) {
	key, err := newKey(d.net.cfg.Seed, d.account.number, 1_000_000+d.dice.IntN(1000))
	return author{d.account.did, key, d.account.author().links}, err == nil
}

func wrongSignature(d *delivery, e *commitEvent) bool {
	if d.dice.IntN(2) == 0 {
		r := d.change.after
		e.replaceCommit(appendCommit(nil, e.did, r.rev, r.data(), nil, junk(d.dice, 64)))
		return true
	}
	by, ok := d.forger()
	return ok && d.resign(e, by, e.rev)
}

func wrongPrevData(d *delivery, e *commitEvent) bool {
	if e.prevData == nil {
		return false
	}
	other := atproto.DigestOf(junk(d.dice, 32))
	e.prevData = &other
	return true
}

func noPrevData(_ *delivery, e *commitEvent) bool {
	had := e.prevData != nil
	e.prevData = nil
	return had
}

// leastNodes leaves out the nodes that only show neighbours: those that are left are
// the least with which a commit of several ops can be undone, in the best order.
func leastNodes(d *delivery, e *commitEvent) bool {
	before := len(e.blocks)
	e.blocks = d.change.leastBlocks()
	return len(e.blocks) < before
}

// noOpPrev takes a prev away that no other op of the same path makes needless.
func noOpPrev(d *delivery, e *commitEvent) bool {
	ops := map[string]int{}
	for _, o := range e.ops {
		ops[o.path]++
	}
	var with []int
	for i, o := range e.ops {
		if o.prev != nil && ops[o.path] == 1 {
			with = append(with, i)
		}
	}
	if len(with) == 0 {
		return false
	}
	e.ops[oneOf(d.dice, with)].prev = nil
	return true
}

// anyBlock draws a block that is not the commit.
func (d *delivery) anyBlock(e *commitEvent) (at int, found bool) {
	if len(e.blocks) < 2 {
		return 0, false
	}
	at = d.dice.IntN(len(e.blocks))
	if e.blocks[at].digest == e.commit {
		at = (at + 1) % len(e.blocks)
	}
	return at, true
}

func missingBlock(d *delivery, e *commitEvent) bool {
	at, found := d.anyBlock(e)
	if found {
		gone := e.blocks[at].digest
		e.blocks = slices.DeleteFunc(e.blocks, func(b block) bool { return b.digest == gone })
	}
	return found
}

func forgedBlock(d *delivery, e *commitEvent) bool {
	at, found := d.anyBlock(e)
	if found {
		data := slices.Clone(e.blocks[at].data)
		data[d.dice.IntN(len(data))] ^= byte(1 + d.dice.IntN(255))
		e.blocks[at].data = data
	}
	return found
}

func omittedOp(d *delivery, e *commitEvent) bool {
	if len(e.ops) == 0 {
		return false
	}
	at := d.dice.IntN(len(e.ops))
	e.ops = slices.Delete(e.ops, at, at+1)
	return true
}

func inventedOp(d *delivery, e *commitEvent) bool {
	cid := atproto.DigestOf(junk(d.dice, 32))
	o := op{action: Create, path: oneOf(d.dice, nsids()) + "/never-written", cid: &cid}
	if d.dice.IntN(2) == 0 {
		o.action, o.cid, o.prev = Delete, nil, &cid
	}
	e.ops = append(e.ops, o)
	return true
}

func oldRev(d *delivery, e *commitEvent) bool {
	if d.change.before == nil {
		return false
	}
	return d.resign(e, d.account.author(), d.change.before.rev-atproto.TID(1+d.dice.Int64N(1<<20)))
}

func futureRev(d *delivery, e *commitEvent) bool {
	return d.resign(e, d.account.author(), atproto.TIDAt(d.net.clock.Add(24*time.Hour)))
}

func wrongRepo(d *delivery, e *commitEvent) bool {
	if len(d.net.accounts) < 2 {
		return false
	}
	other := oneOf(d.dice, d.net.accounts)
	if other == d.account {
		other = d.net.accounts[(other.number+1)%len(d.net.accounts)]
	}
	e.did = other.did
	if about := d.net.histories[other.did]; about != nil {
		about.Fired[WrongRepo]++
	}
	return true
}
