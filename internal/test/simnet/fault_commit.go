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
	NoOpPrev       FaultName = "no prev"
	MissingBlock   FaultName = "missing block"
	ForgedBlock    FaultName = "forged block"
	OmittedOp      FaultName = "omitted op"
	InventedOp     FaultName = "invented op"
	OldRev         FaultName = "old rev"
	FutureRev      FaultName = "future rev"
	WrongRepo      FaultName = "wrong repo"
)

// commitFaults are told instead of the true #commit, unless Rule.Also.
func commitFaults() []Fault {
	lie := func(name FaultName, tell func(*turn, *commitEvent) bool, doc string) Fault {
		return Fault{Name: name, Where: OnStream, Loses: true, Doc: doc, on: []string{"#commit"}, tell: func(t *turn) bool { return t.lied(tell) }}
	}
	return []Fault{
		lie(WrongSignature, wrongSignature, "The commit is signed by a key that is not the account's, or not at all."),
		lie(WrongPrevData, wrongPrevData, "The prevData is of another tree."),
		lie(NoPrevData, noPrevData, "The prevData is left out."),
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
func (t *turn) lied(tell func(*turn, *commitEvent) bool) bool {
	before := *t
	if lie := t.alter(); lie != nil && tell(t, lie) {
		return true
	}
	*t = before
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

// resign gives the lie a commit block of another rev by an author.
func (t *turn) resign(e *commitEvent, by author, rev atproto.TID) bool {
	r, err := by.commitTo(t.change.before, t.change.after.tree, rev)
	if err != nil {
		return false
	}
	e.rev = rev
	e.replaceCommit(r.commit)
	return true
}

// stranger is an author who has not the account's key.
func (t *turn) stranger() (author, bool) {
	key, err := newKey(t.net.cfg.Seed, t.account.number, 1_000_000+t.dice.IntN(1000))
	return author{t.account.did, key, t.account.author().links}, err == nil
}

func wrongSignature(t *turn, e *commitEvent) bool {
	if t.dice.IntN(2) == 0 {
		r := t.change.after
		e.replaceCommit(appendCommit(nil, e.did, r.rev, r.data(), nil, junk(t.dice, 64)))
		return true
	}
	by, ok := t.stranger()
	return ok && t.resign(e, by, e.rev)
}

func wrongPrevData(t *turn, e *commitEvent) bool {
	if e.prevData == nil {
		return false
	}
	other := atproto.DigestOf(junk(t.dice, 32))
	e.prevData = &other
	return true
}

func noPrevData(_ *turn, e *commitEvent) bool {
	had := e.prevData != nil
	e.prevData = nil
	return had
}

// noOpPrev takes a prev away that no other op of the same path makes needless.
func noOpPrev(t *turn, e *commitEvent) bool {
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
	e.ops[oneOf(t.dice, with)].prev = nil
	return true
}

// anyBlock draws a block that is not the commit.
func (t *turn) anyBlock(e *commitEvent) (at int, found bool) {
	if len(e.blocks) < 2 {
		return 0, false
	}
	at = t.dice.IntN(len(e.blocks))
	if e.blocks[at].digest == e.commit {
		at = (at + 1) % len(e.blocks)
	}
	return at, true
}

func missingBlock(t *turn, e *commitEvent) bool {
	at, found := t.anyBlock(e)
	if found {
		gone := e.blocks[at].digest
		e.blocks = slices.DeleteFunc(e.blocks, func(b block) bool { return b.digest == gone })
	}
	return found
}

func forgedBlock(t *turn, e *commitEvent) bool {
	at, found := t.anyBlock(e)
	if found {
		data := slices.Clone(e.blocks[at].data)
		data[t.dice.IntN(len(data))] ^= byte(1 + t.dice.IntN(255))
		e.blocks[at].data = data
	}
	return found
}

func omittedOp(t *turn, e *commitEvent) bool {
	if len(e.ops) == 0 {
		return false
	}
	at := t.dice.IntN(len(e.ops))
	e.ops = slices.Delete(e.ops, at, at+1)
	return true
}

func inventedOp(t *turn, e *commitEvent) bool {
	cid := atproto.DigestOf(junk(t.dice, 32))
	o := op{action: Create, path: oneOf(t.dice, nsids()) + "/never-written", cid: &cid}
	if t.dice.IntN(2) == 0 {
		o.action, o.cid, o.prev = Delete, nil, &cid
	}
	e.ops = append(e.ops, o)
	return true
}

func oldRev(t *turn, e *commitEvent) bool {
	if t.change.before == nil {
		return false
	}
	return t.resign(e, t.account.author(), t.change.before.rev-atproto.TID(1+t.dice.Int64N(1<<20)))
}

func futureRev(t *turn, e *commitEvent) bool {
	return t.resign(e, t.account.author(), atproto.TIDAt(t.net.clock.Add(24*time.Hour)))
}

func wrongRepo(t *turn, e *commitEvent) bool {
	if len(t.net.accounts) < 2 {
		return false
	}
	other := oneOf(t.dice, t.net.accounts)
	if other == t.account {
		other = t.net.accounts[(other.number+1)%len(t.net.accounts)]
	}
	e.did = other.did
	if d := t.net.dealings[other.did]; d != nil {
		d.Fired[WrongRepo]++
	}
	return true
}
