package simnet

import (
	"encoding/json"
	"time"

	"railyard/internal/atproto"
)

// edition is one operation of the directory: what it says of a DID from then on.
type edition struct {
	did       string
	key       *signingKey
	handle    string
	pds       *host
	tombstone bool
	at        time.Time // later than that of every operation before, by a millisecond at least
	seen      time.Time // by the real clock: when a replica that does not lag begins to say so
	previous  *edition  // of this DID
	cid       string    // made when it is asked for
}

// publish adds what holds of the account now to the directory, to be seen after a
// delay. The caller holds the lock.
func (n *Network) publish(a *account, key *signingKey, delay time.Duration) {
	n.published = n.published.Add(time.Millisecond)
	if now := n.clock.Truncate(time.Millisecond); now.After(n.published) {
		n.published = now
	}
	e := &edition{
		did: a.did, key: key, handle: a.handle, pds: a.pds, tombstone: a.tombstoned,
		at: n.published, seen: time.Now().Add(delay), previous: a.edition,
	}
	d := n.dealings[a.did]
	d.Editions++
	if a.edition == nil || a.edition.key != key || a.edition.pds != a.pds {
		d.Moves++
	}
	a.edition = e
	n.editions = append(n.editions, e)
}

// seenAt gives the newest edition that a replica has at a time, at least the first.
func (e *edition) seenAt(now time.Time) *edition {
	for e.previous != nil && e.seen.After(now) {
		e = e.previous
	}
	return e
}

// history lists the editions of a DID, oldest first.
func (e *edition) history() []*edition {
	if e == nil {
		return nil
	}
	return append(e.previous.history(), e)
}

// logEntry is one entry of a DID's audit log, and of the export. The operations are
// not signed: nothing here checks them.
type logEntry struct {
	DID       string       `json:"did"`
	Operation plcOperation `json:"operation"`
	CID       string       `json:"cid"`
	Nullified bool         `json:"nullified"`
	CreatedAt string       `json:"createdAt"`
}

type plcOperation struct {
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
func (op plcOperation) MarshalJSON() ([]byte, error) {
	if op.Type == "plc_tombstone" {
		return json.Marshal(struct {
			Type string  `json:"type"`
			Prev *string `json:"prev"`
			Sig  string  `json:"sig"`
		}{op.Type, op.Prev, op.Sig})
	}
	type whole plcOperation
	return json.Marshal(whole(op))
}

func (e *edition) operation() plcOperation {
	op := plcOperation{Type: "plc_tombstone"}
	if !e.tombstone {
		op = plcOperation{
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

// entry gives the edition as the log has it. The caller holds the lock.
func (e *edition) entry() logEntry {
	op := e.operation()
	if e.cid == "" {
		text, _ := json.Marshal(op) // strings and maps of strings: cannot fail
		e.cid = atproto.DigestOf(text).String()
	}
	return logEntry{DID: e.did, Operation: op, CID: e.cid, CreatedAt: stamp(e.at)}
}
