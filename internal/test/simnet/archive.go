package simnet

import (
	"cmp"
	"slices"

	"railyard/internal/atproto"
)

// proofBlocks answers getRecord in the order of the reference PDS: commit, record
// if there is one, path.
func (r *repo) proofBlocks(path string) []block {
	blocks := []block{{r.cid, r.commit}}
	if at, found := r.find(path); found {
		blocks = append(blocks, block{r.entries[at].digest, r.entries[at].block})
	}
	for _, n := range r.path(path) {
		blocks = append(blocks, block{n.digest, n.block})
	}
	return blocks
}

// blocksSince answers getRepo in the order of the reference PDS's database: by
// the rev that wrote the block, then by the text of the CID, both descending.
// since 0 means the whole repo.
func (r *repo) blocksSince(since atproto.TID) []block {
	type row struct {
		block
		rev  atproto.TID
		text string
	}
	var rows []row
	add := func(d atproto.Digest, data []byte, rev atproto.TID) {
		if rev > since {
			rows = append(rows, row{block{d, data}, rev, cidText(d)})
		}
	}
	add(r.cid, r.commit, r.rev)
	r.root.walk(func(n *node) { add(n.digest, n.block, n.rev) })
	for _, e := range r.entries {
		add(e.digest, e.block, e.rev)
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.rev, a.rev), cmp.Compare(b.text, a.text))
	})
	blocks := make([]block, len(rows))
	for i := range rows {
		blocks[i] = rows[i].block
	}
	return blocks
}
