package archive

import (
	"encoding/binary"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/mst"
	"railyard/internal/refusal"
)

const checkCollection = "collection"

// VerifyCollection makes every check of a CAR that is to prove whether the repo of an
// account has records of a collection, or none. The proof is good if the report is
// valid; which of the two it proves says HasRecords. Whatever else of the repo is
// absent, or is there too, does not matter.
func VerifyCollection(a *Archive, did, nsid string, auth Authority, now time.Time) *Report {
	v := &verifier{a: a, report: &Report{}}
	v.framing()
	v.commit(did, now)
	v.identity(auth)
	v.tree()
	v.collection(nsid)
	return v.report
}

// HasRecords returns what the tree shows of a collection, whoever signed it.
func (a *Archive) HasRecords(nsid string) mst.Presence {
	if a.View == nil {
		return mst.Unknown
	}
	return a.View.Collection(nsid).Presence()
}

func (v *verifier) collection(nsid string) {
	switch {
	case v.a.View == nil:
		v.add(checkCollection, Undecided, "the tree cannot be read")
	case v.a.HasRecords(nsid) == mst.Present:
		v.add(checkCollection, Passed, "has records of %s", nsid)
	case v.a.HasRecords(nsid) == mst.Absent:
		v.add(checkCollection, Passed, "has no records of %s", nsid)
	default:
		v.judge(checkCollection, refusal.New(refusal.AnswerPartial, "absent nodes hide the place of %s in the tree", nsid), "")
	}
}

// Hidden reports whether the only thing wrong is that nodes are absent, which hide the
// place of a collection.
func (r *Report) Hidden() bool {
	check, refused := r.First()
	_, unsound := r.Signed()
	return refused && check.Name == checkCollection && !unsound
}

// ProofOf returns a CAR of the commit and those nodes alone that VerifyCollection needs
// for a collection, in the order in which it needs them; nil where commit or tree
// cannot be read.
func (a *Archive) ProofOf(nsid string) []byte {
	if a.Err() != nil {
		return nil
	}
	root := a.CAR.Root()
	header := dagcbor.AppendArray(dagcbor.AppendText(dagcbor.AppendMap(nil, 2), "roots"), 1)
	header = dagcbor.AppendLink(header, root)
	header = dagcbor.AppendInt(dagcbor.AppendText(header, "version"), 1)
	car := append(binary.AppendUvarint(nil, uint64(len(header))), header...)
	for _, d := range append([]atproto.Digest{root}, a.tree.CollectionPath(nsid)...) {
		block, _ := a.CAR.Block(d) // all were read from it
		car = binary.AppendUvarint(car, uint64(atproto.CIDLen+len(block)))
		car = append(d.AppendCID(car), block...)
	}
	return car
}
