package simnet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// Action is what a Write does to its record.
type Action string

// The actions, as they stand in a commit's ops.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Write is one change of one record of a repo.
type Write struct {
	Action Action
	Path   string // "collection/rkey"
	// Record is the DAG-CBOR of the record; nil lets the network make one that
	// differs from every other. It is ignored for Delete.
	Record []byte
}

// repo is the state of one repo after a commit. It never changes; each commit
// makes another, and those who read it need no lock.
type repo struct {
	*tree
	rev    atproto.TID
	cid    atproto.Digest // of the commit block
	commit []byte
}

func (r *repo) data() atproto.Digest { return r.root.digest }

// op is one entry of a commit's ops.
type op struct {
	action    Action
	path      string
	cid, prev *atproto.Digest
}

// change is all that a commit did.
type change struct {
	before, after *repo // before is nil for the first commit
	ops           []op
	made          map[*node]bool
}

// signCommit makes the commit block of version 3 (spec: repository).
func signCommit(key *signingKey, did string, rev atproto.TID, data atproto.Digest, prev *atproto.Digest) ([]byte, error) {
	sig, err := key.sign(appendCommit(nil, did, rev, data, prev, nil))
	if err != nil {
		return nil, err
	}
	return appendCommit(nil, did, rev, data, prev, sig), nil
}

// appendCommit writes a commit, without its signature where sig is nil. prev is the
// commit before it, which practically nobody names.
func appendCommit(b []byte, did string, rev atproto.TID, data atproto.Digest, prev *atproto.Digest, sig []byte) []byte {
	fields := 6
	if sig == nil {
		fields--
	}
	b = dagcbor.AppendMap(b, fields)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), rev.String())
	if sig != nil {
		b = dagcbor.AppendBytes(dagcbor.AppendText(b, "sig"), sig)
	}
	b = dagcbor.AppendLink(dagcbor.AppendText(b, "data"), data)
	b = appendOptionalLink(dagcbor.AppendText(b, "prev"), prev)
	return dagcbor.AppendInt(dagcbor.AppendText(b, "version"), 3)
}

func appendOptionalLink(b []byte, d *atproto.Digest) []byte {
	if d == nil {
		return dagcbor.AppendNull(b)
	}
	return dagcbor.AppendLink(b, *d)
}

// author signs the commits of one repo.
type author struct {
	did   string
	key   *signingKey
	links bool // its commits name the one before
}

// commitTo signs a tree; before is nil for the first commit.
func (by author) commitTo(before *repo, t *tree, rev atproto.TID) (*repo, error) {
	var prev *atproto.Digest
	if by.links && before != nil {
		prev = &before.cid
	}
	commit, err := signCommit(by.key, by.did, rev, t.root.digest, prev)
	if err != nil {
		return nil, err
	}
	return &repo{tree: t, rev: rev, cid: atproto.DigestOf(commit), commit: commit}, nil
}

// applyWrites makes the next state of a repo. A path may be written several times,
// as the reference PDS allows: every write stands in the ops, with the record from
// before the commit as its prev, and the last one counts. Nothing is changed when it
// fails.
func (by author) applyWrites(before *repo, rev atproto.TID, writes []Write) (*change, error) {
	next := map[string]*entry{} // nil: no such record after the commit
	ops := make([]op, 0, len(writes))
	for _, w := range writes {
		if _, _, err := atproto.ParsePath(w.Path); err != nil {
			return nil, err
		}
		at, found := before.find(w.Path)
		there := found
		if e, written := next[w.Path]; written {
			there = e != nil
		}
		if there == (w.Action == Create) {
			return nil, fmt.Errorf("%s %s: there is such a record: %v", w.Action, w.Path, there)
		}
		o := op{action: w.Action, path: w.Path}
		if found {
			prev := before.entries[at].digest
			o.prev = &prev
		}
		next[w.Path] = nil
		if w.Action != Delete {
			e := newEntry(w.Path, w.Record, rev)
			o.cid, next[w.Path] = &e.digest, &e
		}
		ops = append(ops, o)
	}
	entries, changed := mergeEntries(before.entries, next)
	t, made := buildTree(entries, before.tree, changed, rev)
	after, err := by.commitTo(before, t, rev)
	if err != nil {
		return nil, err
	}
	return &change{before: before, after: after, ops: ops, made: made}, nil
}

// mergeEntries returns a copy of sorted entries with some replaced, added or, for
// nil, taken out, and the sorted keys of those.
func mergeEntries(entries []entry, next map[string]*entry) (merged []entry, changed []string) {
	for key := range next {
		changed = append(changed, key)
	}
	slices.Sort(changed)
	merged = make([]entry, 0, len(entries)+len(changed))
	at := 0
	for _, key := range changed {
		for at < len(entries) && entries[at].key < key {
			merged = append(merged, entries[at])
			at++
		}
		if at < len(entries) && entries[at].key == key {
			at++
		}
		if e := next[key]; e != nil {
			merged = append(merged, *e)
		}
	}
	return append(merged, entries[at:]...), changed
}

// blocks returns what a #commit carries, in the order of the reference PDS: the
// new nodes, the records, the commit, then the older nodes that show the
// neighbours, then the records of updates that changed nothing.
func (c *change) blocks() []block {
	blocks, unchanged := c.newAndUnchanged()
	for _, n := range c.after.proof(paths(c.ops)) {
		if !c.made[n] {
			blocks = append(blocks, block{n.digest, n.block})
		}
	}
	return append(blocks, unchanged...)
}

// leastBlocks is blocks without the older nodes that do not lead to a deleted key.
func (c *change) leastBlocks() []block {
	blocks, unchanged := c.newAndUnchanged()
	sent := map[*node]bool{}
	for _, key := range paths(c.ops) {
		if _, there := c.after.find(key); there {
			continue
		}
		for _, n := range c.after.path(key) {
			if !c.made[n] && !sent[n] {
				sent[n] = true
				blocks = append(blocks, block{n.digest, n.block})
			}
		}
	}
	return append(blocks, unchanged...)
}

// newBlocks is blocks without the older nodes.
func (c *change) newBlocks() []block {
	blocks, unchanged := c.newAndUnchanged()
	return append(blocks, unchanged...)
}

func paths(ops []op) []string {
	all := make([]string, len(ops))
	for i, o := range ops {
		all[i] = o.path
	}
	return all
}

// newAndUnchanged returns the blocks that the commit made, and the records of its
// updates that changed nothing.
func (c *change) newAndUnchanged() (blocks, unchanged []block) {
	c.after.root.walkMade(c.made, func(n *node) { blocks = append(blocks, block{n.digest, n.block}) })
	for _, o := range c.ops {
		if at, found := c.after.find(o.path); found && o.cid != nil && *o.cid == c.after.entries[at].digest {
			record := block{*o.cid, c.after.entries[at].block}
			if o.prev != nil && *o.prev == *o.cid {
				unchanged = append(unchanged, record)
			} else {
				blocks = append(blocks, record)
			}
		}
	}
	return append(blocks, block{c.after.cid, c.after.commit}), unchanged
}

// walkMade visits the nodes that the commit made; what hangs below an older
// node is older.
func (n *node) walkMade(made map[*node]bool, visit func(*node)) {
	if !made[n] {
		return
	}
	visit(n)
	for _, kid := range n.kids {
		if kid != nil {
			kid.walkMade(made, visit)
		}
	}
}

// collections lists the collections of a repo, in byte order.
func (r *repo) collections() []string {
	var names []string
	for _, e := range r.entries {
		name, _ := atproto.CollectionOf(e.key)
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// hasCollection reports whether a tree has a key of the collection.
func (t *tree) hasCollection(name string) bool {
	at, _ := t.find(name + "/")
	return at < len(t.entries) && strings.HasPrefix(t.entries[at].key, name+"/")
}

// newRecord makes a record of a collection that differs for each number.
func newRecord(path string, number int64, at string) []byte {
	collection, _, _ := strings.Cut(path, "/")
	b := dagcbor.AppendMap(nil, 3)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "n"), syntax.NewTIDFromInteger(uint64(number)).String())
	b = dagcbor.AppendText(dagcbor.AppendText(b, "$type"), collection)
	return dagcbor.AppendText(dagcbor.AppendText(b, "createdAt"), at)
}
