package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/event"
	"railyard/internal/refusal"
	"railyard/internal/test/msttest"
)

const testDID = "did:plc:railyardtestktwofivesixa"

// account makes signed commits of one repo, in which every value is a record
// block of its own. Without a key its signatures are zeros.
type account struct {
	t       testing.TB
	key     atcrypto.PrivateKey
	public  atcrypto.PublicKey
	rev     atproto.TID
	content map[string][]byte
	records map[string][]byte // by binary CID
	written int
}

func newAccount(t testing.TB) *account {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyP256()
	must(t, err)
	public, err := key.PublicKey()
	must(t, err)
	return &account{t: t, key: key, public: public, rev: atproto.TIDAt(fixtureNow.Add(-time.Hour)),
		content: map[string][]byte{}, records: map[string][]byte{}}
}

// record makes another record and returns its CID.
func (a *account) record() []byte {
	a.written++
	block := dagcbor.AppendInt(nil, int64(a.written))
	cid := atproto.DigestOf(block).AppendCID(nil)
	a.records[string(cid)] = block
	return cid
}

func (a *account) create(path string) event.Op {
	a.content[path] = a.record()
	return event.Op{Action: event.Create, Path: path, CID: a.content[path]}
}

func (a *account) update(path string) event.Op {
	prev := a.content[path]
	a.content[path] = a.record()
	return event.Op{Action: event.Update, Path: path, CID: a.content[path], Prev: prev}
}

func (a *account) delete(path string) event.Op {
	prev := a.content[path]
	delete(a.content, path)
	return event.Op{Action: event.Delete, Path: path, Prev: prev}
}

// fill puts records into the repo without a commit.
func (a *account) fill(paths ...string) *account {
	for _, path := range paths {
		a.create(path)
	}
	return a
}

func (a *account) data() atproto.Digest {
	root, _ := msttest.Build(a.content)
	return root
}

// commit makes the message that leads from prev to the present content. The CAR
// has the whole tree.
func (a *account) commit(prev *atproto.Digest, ops ...event.Op) *event.Commit {
	root, nodes := msttest.Build(a.content)
	return a.commitOf(prev, root, slices.Collect(maps.Values(nodes)), ops)
}

func (a *account) commitOf(prev *atproto.Digest, root atproto.Digest, nodes [][]byte, ops []event.Op) *event.Commit {
	a.t.Helper()
	since := a.rev
	a.rev++
	blocks := slices.Clone(nodes)
	for _, op := range ops {
		if block := a.records[string(op.CID)]; block != nil {
			blocks = append(blocks, block)
		}
	}
	block := a.sign(root)
	c := &event.Commit{DID: testDID, Rev: a.rev, Since: &since, PrevData: prev, Ops: ops}
	c.CID = atproto.DigestOf(block)
	c.Blocks = carOf(c.CID, append(blocks, block)...)
	return c
}

func (a *account) sign(data atproto.Digest) []byte {
	a.t.Helper()
	if a.key == nil {
		return encodeCommit(a.rev, data, make([]byte, 64))
	}
	sig, err := a.key.HashAndSign(encodeCommit(a.rev, data, nil))
	must(a.t, err)
	return encodeCommit(a.rev, data, sig)
}

// encodeCommit encodes a commit of testDID, without "sig" where there is none.
func encodeCommit(rev atproto.TID, data atproto.Digest, sig []byte) []byte {
	n := 5
	if sig != nil {
		n = 6
	}
	b := dagcbor.AppendMap(nil, n)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), testDID)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), rev.String())
	if sig != nil {
		b = dagcbor.AppendBytes(dagcbor.AppendText(b, "sig"), sig)
	}
	b = dagcbor.AppendLink(dagcbor.AppendText(b, "data"), data)
	b = dagcbor.AppendNull(dagcbor.AppendText(b, "prev"))
	return dagcbor.AppendInt(dagcbor.AppendText(b, "version"), 3)
}

func carOf(root atproto.Digest, blocks ...[]byte) []byte {
	h := dagcbor.AppendText(dagcbor.AppendMap(nil, 2), "roots")
	h = dagcbor.AppendLink(dagcbor.AppendArray(h, 1), root)
	h = dagcbor.AppendInt(dagcbor.AppendText(h, "version"), 1)
	car := append(binary.AppendUvarint(nil, uint64(len(h))), h...)
	for _, block := range blocks {
		car = binary.AppendUvarint(car, uint64(atproto.CIDLen+len(block)))
		car = append(atproto.DigestOf(block).AppendCID(car), block...)
	}
	return car
}

// digestPtr returns a pointer to a copy.
func digestPtr(d atproto.Digest) *atproto.Digest { return &d }

func (a *account) wantReason(c *event.Commit, want refusal.Reason) {
	a.t.Helper()
	p, err := Commit(c, a.public, fixtureNow)
	if reasonOf(err) != want {
		a.t.Errorf("%v, want %s", err, want)
	}
	if (p.Rev != 0) != want.AfterSignature() {
		a.t.Errorf("%s leaves %+v", want, p)
	}
}

func (a *account) prove(c *event.Commit) Proof {
	a.t.Helper()
	p, err := Commit(c, a.public, fixtureNow)
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

func wantLists(t *testing.T, p Proof, present, died, born string) {
	t.Helper()
	for _, l := range []struct {
		name string
		got  []string
		want string
	}{{"present", p.Present, present}, {"died", p.Died, died}, {"born", p.Born, born}} {
		if strings.Join(l.got, " ") != l.want {
			t.Errorf("%s: %v, want %q", l.name, l.got, l.want)
		}
	}
}

func TestACommitProvesWhatItsOpsChanged(t *testing.T) {
	a := newAccount(t).fill("com.ex.a.b/1", "com.ex.a/1", "com.ex.b/1", "com.ex.c/1", "com.ex.c/2", "com.ex.d/1")
	prev := a.data()
	c := a.commit(&prev, a.delete("com.ex.a/1"), a.create("com.ex.a2/1"), a.update("com.ex.b/1"),
		a.delete("com.ex.c/1"), a.create("com.ex.d/2"), a.delete("com.ex.d/1"), a.create("com.ex.e/1"), a.create("com.ex.e/2"))
	p := a.prove(c)
	wantLists(t, p, "com.ex.a2 com.ex.b com.ex.d com.ex.e", "com.ex.a", "com.ex.a2 com.ex.e")
	if p.Prev != prev || p.Data != a.data() || p.Commit != c.CID || p.Rev != c.Rev {
		t.Errorf("%+v", p)
	}
	want := []string{"com.ex.a.b", "com.ex.a2", "com.ex.b", "com.ex.c", "com.ex.d", "com.ex.e"}
	if got := slices.Sorted(p.Shown.Names()); !slices.Equal(got, want) || p.BirthUnknown != nil {
		t.Errorf("shown %v, unknown %v", got, p.BirthUnknown)
	}
}

// TestWhatIsHiddenAmongNewKeysIsOlder creates two keys of a collection around an
// old one whose node is not sent.
func TestWhatIsHiddenAmongNewKeysIsOlder(t *testing.T) {
	keyOf := func(prefix string, depth int) string {
		for i := 0; ; i++ {
			if key := fmt.Sprintf("com.ex.c/%s%d", prefix, i); msttest.Depth(key) == depth {
				return key
			}
		}
	}
	a := newAccount(t).fill(keyOf("m", 0))
	prev := a.data()
	ops := []event.Op{a.create(keyOf("a", 1)), a.create(keyOf("z", 1))}
	root, nodes := msttest.Build(a.content)
	p := a.prove(a.commitOf(&prev, root, [][]byte{nodes[root]}, ops))
	wantLists(t, p, "com.ex.c", "", "")
	if p.BirthUnknown != nil || p.Prev != prev {
		t.Errorf("%+v", p)
	}
}

func TestTheFirstCommitStartsFromTheEmptyTree(t *testing.T) {
	a := newAccount(t)
	c := a.commit(nil, a.create("com.ex.a/1"), a.create("com.ex.b/1"))
	c.Since = nil
	p := a.prove(c)
	wantLists(t, p, "com.ex.a com.ex.b", "", "com.ex.a com.ex.b")
	if p.Prev != atproto.EmptyTree {
		t.Errorf("%+v", p)
	}

	empty := newAccount(t).commit(nil)
	empty.Since = nil
	other := newAccount(t)
	_, err := Commit(empty, other.public, fixtureNow)
	if reasonOf(err) != refusal.BadSignature {
		t.Errorf("under another key: %v", err)
	}

}

// TestACommitThatNamesNoTreeBeforeStartsFromWhereItsOpsLead: whether the index
// holds that tree decides, whatever the message leaves out (Sync 1.0).
func TestACommitThatNamesNoTreeBeforeStartsFromWhereItsOpsLead(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1", "com.ex.b/2")
	prev := a.data()
	p := a.prove(a.commit(nil, a.create("com.ex.c/1"), a.update("com.ex.b/1"), a.delete("com.ex.a/1")))
	wantLists(t, p, "com.ex.b com.ex.c", "com.ex.a", "com.ex.c")
	if p.Prev != prev {
		t.Errorf("undone to %s, want %s", p.Prev, prev)
	}
}

func TestCommitsWithoutOpsNeedNoTree(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1")
	data := a.data()
	p := a.prove(a.commitOf(&data, data, nil, nil))
	if p.Prev != data || p.Data != data || p.Present != nil {
		t.Errorf("%+v", p)
	}
	a.wantReason(a.commitOf(digestPtr(atproto.EmptyTree), data, nil, nil), refusal.InversionFailed)
	a.wantReason(a.commit(digestPtr(atproto.EmptyTree)), refusal.InversionFailed)
	if p := a.prove(a.commit(nil)); p.Prev != data {
		t.Errorf("without prevData: %+v", p)
	}
}

func TestACreateAndItsDeleteInOneCommitCancelOut(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1")
	prev := a.data()
	create := event.Op{Action: event.Create, Path: "com.ex.gone/1", CID: atproto.DigestOf([]byte("gone")).AppendCID(nil)}
	remove := event.Op{Action: event.Delete, Path: "com.ex.gone/1"}
	p := a.prove(a.commit(&prev, create, a.create("com.ex.c/1"), remove))
	wantLists(t, p, "com.ex.c", "", "com.ex.c")

	prev = a.data()
	p = a.prove(a.commit(&prev, create, remove))
	wantLists(t, p, "", "", "")
	if p.Prev != prev || p.Data != prev {
		t.Errorf("%+v", p)
	}

	withPrev := remove
	withPrev.Prev = create.CID
	a.prove(a.commit(&prev, create, withPrev))
	withPrev.Prev = atproto.EmptyTree.AppendCID(nil)
	a.wantReason(a.commit(&prev, create, withPrev), refusal.BadOp)
}

// Real servers send every write of a path in one commit, each with the record
// before the commit as prev, or with none if there was none.
func TestTheWritesOfOnePathInOneCommitAreOne(t *testing.T) {
	const old, fresh = "com.ex.old/1", "com.ex.fresh/1"
	r1, r2 := atproto.DigestOf([]byte("r1")).AppendCID(nil), atproto.DigestOf([]byte("r2")).AppendCID(nil)
	op := func(action event.Action, path string, cid, prev []byte) event.Op {
		return event.Op{Action: action, Path: path, CID: cid, Prev: prev}
	}
	for _, tc := range []struct {
		name          string
		ops           func(before []byte, last event.Op) []event.Op
		last          event.Action // of the tree; what the last op leads to
		path          string
		present, died string
	}{
		{"create, update", func(_ []byte, last event.Op) []event.Op {
			return []event.Op{op(event.Create, fresh, r1, nil), op(event.Update, fresh, last.CID, nil)}
		}, event.Create, fresh, "com.ex.fresh", ""},
		{"create, update with the created as prev", func(_ []byte, last event.Op) []event.Op {
			return []event.Op{op(event.Create, fresh, r1, nil), op(event.Update, fresh, last.CID, r1)}
		}, event.Create, fresh, "com.ex.fresh", ""},
		{"create, delete, create", func(_ []byte, last event.Op) []event.Op {
			return []event.Op{op(event.Create, fresh, r1, nil), op(event.Delete, fresh, nil, nil), op(event.Create, fresh, last.CID, nil)}
		}, event.Create, fresh, "com.ex.fresh", ""},
		{"delete, create", func(before []byte, last event.Op) []event.Op {
			return []event.Op{op(event.Delete, old, nil, before), op(event.Create, old, last.CID, before)}
		}, event.Update, old, "com.ex.old", ""},
		{"delete, create without prev", func(before []byte, last event.Op) []event.Op {
			return []event.Op{op(event.Delete, old, nil, before), op(event.Create, old, last.CID, nil)}
		}, event.Update, old, "com.ex.old", ""},
		{"update, update", func(before []byte, last event.Op) []event.Op {
			return []event.Op{op(event.Update, old, r1, before), op(event.Update, old, last.CID, before)}
		}, event.Update, old, "com.ex.old", ""},
		{"update, delete", func(before []byte, _ event.Op) []event.Op {
			return []event.Op{op(event.Update, old, r1, before), op(event.Delete, old, nil, before)}
		}, event.Delete, old, "", "com.ex.old"},
		{"delete, create, delete", func(before []byte, _ event.Op) []event.Op {
			return []event.Op{op(event.Delete, old, nil, before), op(event.Create, old, r1, before), op(event.Delete, old, nil, before)}
		}, event.Delete, old, "", "com.ex.old"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t).fill("com.ex.a/1", old)
			prev, before := a.data(), a.content[old]
			var last event.Op
			switch tc.last {
			case event.Create:
				last = a.create(tc.path)
			case event.Update:
				last = a.update(tc.path)
			default:
				last = a.delete(tc.path)
			}
			p := a.prove(a.commit(&prev, tc.ops(before, last)...))
			born := tc.present
			if tc.last == event.Update {
				born = ""
			}
			wantLists(t, p, tc.present, tc.died, born)
			if p.Prev != prev {
				t.Errorf("starts from %s, not %s", p.Prev, prev)
			}
		})
	}

	a := newAccount(t).fill("com.ex.a/1", old)
	prev, before := a.data(), a.content[old]
	for name, ops := range map[string][]event.Op{
		"create, create":           {op(event.Create, fresh, r1, nil), op(event.Create, fresh, r2, nil)},
		"delete, delete":           {op(event.Delete, old, nil, before), op(event.Delete, old, nil, before)},
		"delete, update":           {op(event.Delete, old, nil, before), op(event.Update, old, r1, before)},
		"update, create":           {op(event.Update, old, r1, before), op(event.Create, old, r2, before)},
		"prevs that disagree":      {op(event.Update, old, r1, before), op(event.Update, old, r2, atproto.EmptyTree.AppendCID(nil))},
		"a prev out of nothing":    {op(event.Create, fresh, r1, nil), op(event.Update, fresh, r2, before)},
		"a lone create with prev":  {op(event.Create, fresh, r1, before)},
		"a first create with prev": {op(event.Create, fresh, r1, before), op(event.Delete, fresh, nil, before)},
	} {
		t.Run(name, func(t *testing.T) { a.wantReason(a.commit(&prev, ops...), refusal.BadOp) })
	}
}

func TestOpsThatTheTreeDoesNotBearOutAreRefused(t *testing.T) {
	fresh := func() (*account, *atproto.Digest) {
		a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1", "com.ex.c/1")
		return a, digestPtr(a.data())
	}
	a, prev := fresh()
	op := a.create("com.ex.d/1")
	op.CID = a.record()
	a.wantReason(a.commit(prev, op), refusal.OpsMismatch)

	a, prev = fresh()
	op = a.create("com.ex.d/1")
	delete(a.content, "com.ex.d/1")
	a.wantReason(a.commit(prev, op), refusal.OpsMismatch)

	a, prev = fresh()
	op = a.delete("com.ex.a/1")
	a.content["com.ex.a/1"] = op.Prev
	a.wantReason(a.commit(prev, op), refusal.OpsMismatch)

	a, prev = fresh()
	op = a.update("com.ex.a/1")
	op.Prev = a.record()
	a.wantReason(a.commit(prev, op), refusal.InversionFailed)

	a, prev = fresh()
	op = a.create("com.ex.d/1")
	a.create("com.ex.hidden/1")
	a.wantReason(a.commit(prev, op), refusal.InversionFailed)

	a, prev = fresh()
	op = a.create("com.ex.d/1")
	delete(a.records, string(op.CID))
	a.wantReason(a.commit(prev, op), refusal.RecordMissing)

	for _, size := range []int{event.MaxRecord, event.MaxRecord + 1} {
		a, prev = fresh()
		block := dagcbor.AppendBytes(nil, make([]byte, size-5))
		cid := atproto.DigestOf(block).AppendCID(nil)
		a.records[string(cid)], a.content["com.ex.d/1"] = block, cid
		c := a.commit(prev, event.Op{Action: event.Create, Path: "com.ex.d/1", CID: cid})
		if len(block) != size {
			t.Fatalf("a record of %d bytes", len(block))
		}
		if size > event.MaxRecord {
			a.wantReason(c, refusal.RecordMissing)
		} else {
			a.prove(c)
		}
	}
}

func TestAnOpWithoutPrevCannotBeUndone(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1", "com.ex.b/1")
	prev := a.data()
	op := a.delete("com.ex.a/1")
	op.Prev = nil
	a.wantReason(a.commit(&prev, op), refusal.NoPrev)
	a.wantReason(a.commit(nil, op), refusal.NoPrev)
	a.wantReason(a.commit(&prev, op, a.create("com.ex.a/2")), refusal.NoPrev)
	delete(a.content, "com.ex.a/2")
	a.content["com.ex.a/1"] = a.record()
	a.wantReason(a.commit(&prev, op), refusal.OpsMismatch)
}

func TestAMessageMustAgreeWithItsCommit(t *testing.T) {
	a := newAccount(t)
	good := a.commit(digestPtr(a.data()))
	a.prove(good)
	for name, change := range map[string]func(c *event.Commit) refusal.Reason{
		"did": func(c *event.Commit) refusal.Reason {
			c.DID = "did:plc:railyardtestptwofivesixa"
			return refusal.CommitMismatch
		},
		"rev": func(c *event.Commit) refusal.Reason { c.Rev++; return refusal.CommitMismatch },
		"cid": func(c *event.Commit) refusal.Reason { c.CID[0] ^= 1; return refusal.CommitMismatch },
		"future": func(c *event.Commit) refusal.Reason {
			c.Rev = atproto.TIDAt(fixtureNow.Add(Tolerance + time.Second))
			return refusal.FutureRev
		},
		"no block":  func(c *event.Commit) refusal.Reason { c.Blocks = carOf(c.CID); return refusal.BadCommit },
		"no CAR":    func(c *event.Commit) refusal.Reason { c.Blocks = nil; return refusal.BadCAR },
		"no action": func(c *event.Commit) refusal.Reason { c.Ops = []event.Op{{Path: "a.b.c/d"}}; return refusal.BadOp },
		"no slash": func(c *event.Commit) refusal.Reason {
			c.Ops = []event.Op{{Action: event.Delete, Path: "a"}}
			return refusal.BadOp
		},
		"other block": func(c *event.Commit) refusal.Reason {
			c.Blocks = carOf(atproto.EmptyTree, []byte{0xa0})
			return refusal.BadCommit
		},
	} {
		c := *good
		want := change(&c)
		if p, err := Commit(&c, a.public, fixtureNow); reasonOf(err) != want || p.Rev != 0 {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func TestARevMayBeFiveMinutesAhead(t *testing.T) {
	a := newAccount(t)
	a.rev = atproto.TIDAt(fixtureNow.Add(Tolerance)) - 1
	a.prove(a.commit(digestPtr(a.data())))
	a.rev = atproto.TIDAt(fixtureNow.Add(Tolerance + time.Microsecond))
	a.wantReason(a.commit(digestPtr(a.data())), refusal.FutureRev)
}

func TestSyncProvesTheHeadAlone(t *testing.T) {
	a := newAccount(t).fill("com.ex.a/1")
	c := a.commitOf(nil, a.data(), nil, nil)
	s := &event.Sync{DID: testDID, Rev: c.Rev, Blocks: c.Blocks}
	p, err := Sync(s, a.public, fixtureNow)
	if err != nil || p.Commit != c.CID || p.Data != a.data() || p.Rev != c.Rev {
		t.Fatalf("%+v, %v", p, err)
	}
	for name, want := range map[string]refusal.Reason{
		"did": refusal.CommitMismatch, "rev": refusal.CommitMismatch, "key": refusal.BadSignature, "future": refusal.FutureRev,
	} {
		bad, key := *s, a.public
		switch name {
		case "did":
			bad.DID = "did:plc:railyardtestptwofivesixa"
		case "rev":
			bad.Rev++
		case "key":
			key = newAccount(t).public
		case "future":
			bad.Rev = atproto.TIDAt(fixtureNow.Add(time.Hour))
		}
		p, err := Sync(&bad, key, fixtureNow)
		if reasonOf(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		checkRefused(t, p, err)
	}
}

func TestAPanicBecomesARefusal(t *testing.T) {
	a := newAccount(t)
	c := a.commit(digestPtr(a.data()))
	p, err := Commit(c, panicking{}, fixtureNow)
	if reasonOf(err) != refusal.Internal || p.Rev != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = Sync(&event.Sync{DID: c.DID, Rev: c.Rev, Blocks: c.Blocks}, panicking{}, fixtureNow)
	if reasonOf(err) != refusal.Internal || p.Rev != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

type panicking struct{ atcrypto.PublicKey }

func (panicking) HashAndVerify(_, _ []byte) error { panic("no key") }

// TestRandomCommitsProveTheTruth compares births, deaths and presence with the
// content before and after, with whole trees and with thinned ones.
func TestRandomCommitsProveTheTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	var born, died, unknown, blocked int
	for range 1000 {
		a := newAccount(t)
		for range rng.IntN(200) {
			a.create(randomPath(rng))
		}
		before, prev := maps.Clone(a.content), a.data()
		_, oldNodes := msttest.Build(a.content)
		ops := a.randomOps(rng, 1+rng.IntN(6))
		root, nodes := msttest.Build(a.content)
		var sent [][]byte
		for _, d := range sortedDigests(nodes) {
			if _, old := oldNodes[d]; !old || rng.IntN(3) == 0 {
				sent = append(sent, nodes[d])
			}
		}
		p, err := Commit(a.commitOf(&prev, root, sent, ops), a.public, fixtureNow)
		if reasonOf(err) == refusal.InversionBlocked {
			blocked++
			continue
		}
		must(t, err)
		if p.Prev != prev {
			t.Fatalf("undone to %s, want %s", p.Prev, prev)
		}
		was, is := collectionsOf(before), collectionsOf(a.content)
		checkTruth(t, p, ops, was, is)
		born, died, unknown = born+len(p.Born), died+len(p.Died), unknown+len(p.BirthUnknown)
	}
	if born < 20 || died < 20 || unknown < 5 || blocked < 5 {
		t.Fatalf("%d born, %d died, %d unknown, %d blocked: too few", born, died, unknown, blocked)
	}
}

func sortedDigests(nodes msttest.Blocks) []atproto.Digest {
	return slices.SortedFunc(maps.Keys(nodes), func(a, b atproto.Digest) int { return bytes.Compare(a[:], b[:]) })
}

func randomPath(rng *rand.Rand) string {
	if rng.IntN(4) == 0 {
		return fmt.Sprintf("com.ex.n%d/1", rng.IntN(1000))
	}
	nsids := []string{"com.ex.a", "com.ex.a.b", "com.ex.a-b.c", "com.ex.ab", "com.ex.a2", "com.ex.b", "com.ex.c", "sh.t.repo", "sh.t.repo.x"}
	i := min(rng.IntN(len(nsids)), rng.IntN(len(nsids)))
	return fmt.Sprintf("%s/%x", nsids[i], rng.IntN(1+10*i*i))
}

func (a *account) randomOps(rng *rand.Rand, n int) []event.Op {
	done := map[string]bool{}
	var ops []event.Op
	for range n {
		path := randomPath(rng)
		if done[path] {
			continue
		}
		done[path] = true
		switch {
		case a.content[path] == nil:
			ops = append(ops, a.create(path))
		case rng.IntN(4) == 0:
			ops = append(ops, a.update(path))
		default:
			ops = append(ops, a.delete(path))
		}
	}
	return ops
}

func collectionsOf(content map[string][]byte) map[string]bool {
	out := map[string]bool{}
	for path := range content {
		nsid, _ := atproto.CollectionOf(path)
		out[nsid] = true
	}
	return out
}

// checkTruth compares a proof with the collections before and after.
func checkTruth(t testing.TB, p Proof, ops []event.Op, was, is map[string]bool) {
	t.Helper()
	for _, op := range ops {
		nsid, _ := atproto.CollectionOf(op.Path)
		if slices.Contains(p.Died, nsid) == is[nsid] {
			t.Fatalf("%s: died %v, is there %v", nsid, p.Died, is[nsid])
		}
		if op.Action != event.Delete && !slices.Contains(p.Present, nsid) {
			t.Fatalf("%s is written and not in %v", nsid, p.Present)
		}
		isBorn := !was[nsid] && is[nsid]
		if isBorn && !slices.Contains(p.Born, nsid) && !slices.Contains(p.BirthUnknown, nsid) {
			t.Fatalf("%s was born and is in neither list", nsid)
		}
		if !isBorn && slices.Contains(p.Born, nsid) {
			t.Fatalf("%s is said to be born", nsid)
		}
	}
	for _, list := range [][]string{p.Present, p.Died, p.Born, p.BirthUnknown} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Fatalf("%v is not sorted and distinct", list)
		}
	}
	for _, nsid := range p.Present {
		if !is[nsid] {
			t.Fatalf("%s is said to be present", nsid)
		}
	}
}
