package simnet

import (
	"encoding/json"
	"time"

	"railyard/internal/atproto"
)

// plcOp is one operation of the directory: what it says of a DID from then on.
type plcOp struct {
	did       string
	key       *signingKey
	handle    string
	pds       *host
	tombstone bool
	at        time.Time // later than that of every operation before, by a millisecond at least
	seen      time.Time // by the real clock: when a replica that does not lag begins to say so
	previous  *plcOp    // of this DID
	place     int64     // in the log, from 1 on
	cid       string    // made when it is asked for
}

// publish adds what holds of the account now to the directory, to be seen after a
// delay. The caller holds the lock.
func (n *Network) publish(a *account, key *signingKey, delay time.Duration) {
	n.published = n.published.Add(time.Millisecond)
	if now := n.clock.Truncate(time.Millisecond); now.After(n.published) {
		n.published = now
	}
	e := &plcOp{
		did: a.did, key: key, handle: a.handle, pds: a.pds, tombstone: a.tombstoned,
		at: n.published, seen: time.Now().Add(delay), previous: a.plcOp,
		place: int64(len(n.plcOps) + 1),
	}
	d := n.histories[a.did]
	d.PLCOps++
	if a.plcOp == nil || a.plcOp.key != key || a.plcOp.pds != a.pds {
		d.Moves++
	}
	a.plcOp = e
	n.plcOps = append(n.plcOps, e)
}

// seenAt returns the newest plcOp that a replica has at a time, at least the first.
func (e *plcOp) seenAt(now time.Time) *plcOp {
	for e.previous != nil && e.seen.After(now) {
		e = e.previous
	}
	return e
}

// history lists the plcOps of a DID, oldest first.
func (e *plcOp) history() []*plcOp {
	if e == nil {
		return nil
	}
	return append(e.previous.history(), e)
}

// logEntry is one entry of a DID's audit log, and of the export. The operations are
// not signed: nothing here checks them. In an export by sequence number entries have Type
// and Seq, else Nullified.
type logEntry struct {
	Type      string        `json:"type,omitempty"`
	Seq       int64         `json:"seq,omitempty"`
	DID       string        `json:"did"`
	Operation operationJSON `json:"operation"`
	CID       string        `json:"cid"`
	Nullified *bool         `json:"nullified,omitempty"`
	CreatedAt string        `json:"createdAt"`
}

type operationJSON struct {
	Type        string                `json:"type"`
	Rotation    []string              `json:"rotationKeys"`
	Methods     map[string]string     `json:"verificationMethods"`
	AlsoKnownAs []string              `json:"alsoKnownAs"`
	Services    map[string]plcService `json:"services"`
	Prev        *string               `json:"prev"`
	Sig         string                `json:"sig"`
}

type plcService struct {
	Type     string `json:"type"`
	Endpoint string `json:"endpoint"`
}

// MarshalJSON leaves out what a tombstone does not have.
func (op operationJSON) MarshalJSON() ([]byte, error) {
	if op.Type == "plc_tombstone" {
		return json.Marshal(struct {
			Type string  `json:"type"`
			Prev *string `json:"prev"`
			Sig  string  `json:"sig"`
		}{op.Type, op.Prev, op.Sig})
	}
	type whole operationJSON
	return json.Marshal(whole(op))
}

func (e *plcOp) operation() operationJSON {
	op := operationJSON{Type: "plc_tombstone"}
	if !e.tombstone {
		op = operationJSON{
			Type: "plc_operation", Rotation: []string{},
			Methods:     map[string]string{"atproto": e.key.public.DIDKey()},
			AlsoKnownAs: []string{"at://" + e.handle},
			Services:    map[string]plcService{"atproto_pds": {"AtprotoPersonalDataServer", e.pds.url}},
		}
	}
	if e.previous != nil {
		prev := e.previous.entry().CID
		op.Prev = &prev
	}
	return op
}

// entry returns the plcOp as the log has it. The caller holds the lock.
func (e *plcOp) entry() logEntry {
	op := e.operation()
	if e.cid == "" {
		text, _ := json.Marshal(op) // strings and maps of strings: cannot fail
		e.cid = atproto.DigestOf(text).String()
	}
	return logEntry{DID: e.did, Operation: op, CID: e.cid, Nullified: new(bool), CreatedAt: stamp(e.at)}
}
