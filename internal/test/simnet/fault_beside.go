package simnet

import (
	"fmt"
	"slices"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// Faults that say something beside the true event.
const (
	ForgedCommit   FaultName = "forged commit"
	ForgedBirth    FaultName = "forged birth"
	ForgedSync     FaultName = "forged sync"
	FalseStatus    FaultName = "false status"
	Impostor       FaultName = "impostor"
	UnknownType    FaultName = "unknown type"
	BadSchema      FaultName = "bad schema"
	MalformedFrame FaultName = "malformed frame"
	OversizedFrame FaultName = "oversized frame"
)

func besideFaults() []Fault {
	commits := []string{"#commit"}
	return []Fault{
		{Name: ForgedCommit, Where: OnStream, on: commits, send: forgedCommit,
			Doc: "A commit follows that can be undone to the tree as it stands and leaves the collections as they are, with a signature that is not the account's."},
		{Name: ForgedBirth, Where: OnStream, on: commits, send: forgedBirth,
			Doc: "A commit follows that can be undone to the tree as it stands and begins a collection, with a signature that is not the account's."},
		{Name: ForgedSync, Where: OnStream, on: commits, send: forgedSync,
			Doc: "A #sync follows of an empty tree, with a signature that is not the account's."},
		{Name: FalseStatus, Where: OnStream, send: falseStatus,
			Doc: "An #account follows that calls the active account inactive, in a word that is known or not."},
		{Name: Impostor, Where: OnStream, send: impostor,
			Doc: "Another PDS says, on its own firehose, that the account is gone."},
		{Name: UnknownType, Where: OnStream, send: unknownType, Doc: "A message of a type that nobody knows follows, or one with an op that nobody knows."},
		{Name: BadSchema, Where: OnStream, send: badSchema, Doc: "A message follows that is a frame and breaks the schema of its type."},
		{Name: MalformedFrame, Where: OnStream, send: malformedFrame, Doc: "A message follows that is no frame, in every replay."},
		{Name: OversizedFrame, Where: OnStream, send: oversizedFrame, Doc: "A message of 6,000,000 bytes follows, in every replay."},
	}
}

// forge makes the commit that would follow, by somebody who has not the key.
func (d *delivery) forge(path string) (*commitEvent, bool) {
	by, ok := d.forger()
	if !ok {
		return nil, false
	}
	now := d.change.after
	rev := now.rev + 1
	made, err := by.applyWrites(now, rev, []Write{{Action: Create, Path: path, Record: newRecord(path, int64(rev), stamp(rev.Time()))}})
	if err != nil {
		return nil, false
	}
	return newCommitEvent(d.account.did, made, rev.Time()), true
}

func forgedCommit(d *delivery) bool {
	names := d.change.after.collections()
	if len(names) == 0 {
		return false
	}
	e, ok := d.forge(oneOf(d.dice, names) + "/forged")
	return ok && d.beside(e.message())
}

func forgedBirth(d *delivery) bool {
	e, ok := d.forge("net.forged.collection/forged")
	return ok && d.beside(e.message())
}

func forgedSync(d *delivery) bool {
	by, ok := d.forger()
	if !ok {
		return false
	}
	rev := d.change.after.rev + 1
	empty, _ := buildTree(nil, nil, nil, rev)
	r, err := by.commitTo(d.change.after, empty, rev)
	return err == nil && d.beside(syncMessage(d.account.did, r, rev, rev.Time()))
}

func falseStatus(d *delivery) bool {
	words := []string{"deactivated", "takendown", "suspended", "deleted", "throttled", "desynchronized", "asleep"}
	return d.account.active() && d.beside(accountMessage(d.account.did, oneOf(d.dice, words), d.net.clock))
}

func impostor(d *delivery) bool {
	other := d.otherPDS()
	if other == nil || d.host != d.account.pds {
		return false
	}
	other.stream.append(numbered{message: accountMessage(d.account.did, "deleted", d.net.clock)})
	return true
}

func unknownType(d *delivery) bool {
	did := d.account.did
	header := appendFrameHeader(nil, "#novelty")
	if d.dice.IntN(2) == 0 {
		header = dagcbor.AppendMap(nil, 2)
		header = dagcbor.AppendText(dagcbor.AppendText(header, "d"), "#commit")
		header = dagcbor.AppendInt(dagcbor.AppendText(header, "op"), 7)
	}
	return d.beside(&message{did: did, kind: "#novelty", raw: func(seq int64) []byte {
		b := dagcbor.AppendMap(slices.Clone(header), 2)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
		return dagcbor.AppendInt(dagcbor.AppendText(b, "seq"), seq)
	}})
}

func badSchema(d *delivery) bool {
	did := d.account.did
	return d.beside(&message{did: did, kind: "#sync", raw: func(seq int64) []byte {
		b := dagcbor.AppendMap(appendFrameHeader(nil, "#sync"), 3)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), "nonsense")
		return dagcbor.AppendInt(dagcbor.AppendText(b, "seq"), seq)
	}})
}

func malformedFrame(d *delivery) bool {
	which, noise, truth := d.dice.IntN(4), junk(d.dice, 200), d.message
	return d.beside(&message{did: d.account.did, raw: func(seq int64) []byte {
		frame := truth.frame(seq)
		switch which {
		case 0:
			return frame[:len(frame)*2/3]
		case 1:
			return append(slices.Clone(frame), 0xf6)
		case 2: // two maps of indefinite length
			return []byte{0xbf, 0x61, 'd', 0x65, '#', 's', 'y', 'n', 'c', 0x62, 'o', 'p', 0x01, 0xff, 0xbf, 0xff}
		}
		return append([]byte{0xff}, noise...)
	}})
}

// oversizedSize is above the hard limit of a frame (spec: sync).
const oversizedSize = 6_000_000

func oversizedFrame(d *delivery) bool {
	did, rev := d.account.did, d.net.clock
	return d.beside(&message{did: did, kind: "#sync", raw: func(seq int64) []byte {
		b := dagcbor.AppendMap(appendFrameHeader(nil, "#sync"), 5)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), fmt.Sprint(atproto.TIDAt(rev)))
		b = dagcbor.AppendInt(dagcbor.AppendText(b, "seq"), seq)
		b = dagcbor.AppendText(dagcbor.AppendText(b, "time"), stamp(rev))
		return dagcbor.AppendBytes(dagcbor.AppendText(b, "blocks"), make([]byte, oversizedSize))
	}})
}
