package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
)

// MaxEntry is the longest entry of a log that is read, in bytes. The directory
// takes operations of up to 4,000 bytes in DAG-CBOR; it once took longer ones.
const MaxEntry = 64 << 10

// maxCID is more than the text of any CID that the directory uses.
const maxCID = 100

// ErrTombstone is in the chain of the refusal when an operation ends the DID.
var ErrTombstone = errors.New("tombstone")

// maxSeq is the largest sequence number: JSON's are exact up to it.
const maxSeq = 1<<53 - 1

// LogEntry is an operation in the log of the PLC directory (spec: did:plc).
type LogEntry struct {
	DID       string
	CID       string // of the operation, as text; it identifies entries and is not checked
	CreatedAt time.Time
	Seq       int64 // its number at the server that was asked, from 1 on; 0 = the entry has none
	Nullified bool  // another operation took its place; entries with a Seq do not tell
	operation json.RawMessage
}

// ParseLogEntry reads one line of an export, or one element of an audit log. An
// error is a *refusal.Error of the reason IdentityInvalid; the entry then has its
// time and its sequence number, as far as they could be read, and nothing else.
func ParseLogEntry(line []byte) (LogEntry, error) {
	if len(line) > MaxEntry {
		return LogEntry{}, invalid("log entry of %d bytes", len(line))
	}
	var raw struct {
		Type      json.RawMessage `json:"type"`
		Seq       json.RawMessage `json:"seq"`
		DID       string          `json:"did"`
		CID       string          `json:"cid"`
		CreatedAt json.RawMessage `json:"createdAt"`
		Nullified bool            `json:"nullified"` // the form with sequence numbers has none
		Operation json.RawMessage `json:"operation"`
	}
	wrong := exactjson.Unmarshal(line, &raw)
	seq, noSeq := readSeq(raw.Seq, raw.Type)
	at, noTime := readTime(raw.CreatedAt)
	broken := LogEntry{CreatedAt: at, Seq: seq}
	if err := errors.Join(wrong, noSeq, noTime); err != nil {
		return broken, invalid("log entry: %w", err)
	}
	e := broken
	e.DID, e.CID, e.Nullified, e.operation = raw.DID, raw.CID, raw.Nullified, bytes.Clone(raw.Operation)
	if _, err := atproto.ParseDID(e.DID); err != nil || !strings.HasPrefix(e.DID, "did:plc:") {
		return broken, invalid("log entry of the DID %q", atproto.Clip(e.DID))
	}
	if e.CID == "" || len(e.CID) > maxCID {
		return broken, invalid("log entry of %s with a CID of %d characters", e.DID, len(e.CID))
	}
	return e, nil
}

// readSeq returns the sequence number of an entry, 0 if it has none. One of another
// type than that of operations has its number all the same.
func readSeq(seq, kind json.RawMessage) (n int64, err error) {
	if len(seq) == 0 || string(seq) == "null" {
		return 0, nil
	}
	if exactjson.Unmarshal(seq, &n) != nil || n < 1 || n > maxSeq {
		return 0, fmt.Errorf("the number %s", atproto.Clip(seq))
	}
	if string(kind) != `"sequenced_op"` {
		err = fmt.Errorf("the type %s", atproto.Clip(kind))
	}
	return n, err
}

func readTime(raw json.RawMessage) (time.Time, error) {
	var text string
	if err := exactjson.Unmarshal(raw, &text); err != nil {
		return time.Time{}, fmt.Errorf("the time %s", atproto.Clip(raw))
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("the time %q", atproto.Clip(text))
	}
	return at.UTC(), nil
}

// Prev returns the CID of the operation that this one follows, empty for the first one
// of a DID. Operations that follow the same one exclude each other: of them the
// directory took the last for the others (spec: did:plc, account recovery).
func (e LogEntry) Prev() string {
	var op struct {
		Prev string `json:"prev"`
	}
	_ = exactjson.Unmarshal(e.operation, &op) // what is no text is none
	return op.Prev
}

// operation is what is read of one. The first DIDs were made with the legacy form
// "create"; the directory shows it as what is in the last three fields.
type operation struct {
	Type     string                     `json:"type"`
	Methods  map[string]json.RawMessage `json:"verificationMethods"`
	Services map[string]json.RawMessage `json:"services"`

	SigningKey json.RawMessage `json:"signingKey"`
	Service    json.RawMessage `json:"service"`
}

// Identity returns what the DID document says once the operation is the last one.
// Errors are those of ParseDocument, with ErrTombstone where there is none any
// more.
func (e LogEntry) Identity(hosts atproto.Hosts) (Identity, error) {
	op, err := e.read()
	if err != nil {
		return Identity{}, err
	}
	key, err := op.key()
	if err != nil {
		return Identity{}, invalid("operation of %s: %w", e.DID, err)
	}
	endpoint, err := op.endpoint()
	if err != nil {
		return Identity{}, invalid("operation of %s: %w", e.DID, err)
	}
	host, base, err := hosts.Endpoint(endpoint)
	if err != nil {
		return Identity{}, invalid("operation of %s: %w", e.DID, err)
	}
	return Identity{DID: e.DID, Key: key, Host: host, Insecure: strings.HasPrefix(base, "http://")}, nil
}

func (e LogEntry) read() (op operation, err error) {
	if err := exactjson.Unmarshal(e.operation, &op); err != nil {
		return op, invalid("operation of %s: %w", e.DID, err)
	}
	switch op.Type {
	case "plc_operation", "create":
		return op, nil
	case "plc_tombstone":
		return op, invalid("operation of %s: %w", e.DID, ErrTombstone)
	}
	return op, invalid("operation of %s: type %q", e.DID, atproto.Clip(op.Type))
}

// key reads the signing key, which is a did:key.
func (op *operation) key() (Key, error) {
	raw := op.Methods["atproto"]
	if op.Type == "create" {
		raw = op.SigningKey
	}
	var didKey string
	if exactjson.Unmarshal(raw, &didKey) != nil {
		return "", errNoKey
	}
	multibase, ok := strings.CutPrefix(didKey, "did:key:")
	if !ok {
		return "", errNoKey
	}
	return parseKey(typeMultikey, multibase)
}

// endpoint reads the URL of the PDS. The legacy form may leave out its scheme.
func (op *operation) endpoint() (url string, err error) {
	if op.Type == "create" {
		if exactjson.Unmarshal(op.Service, &url) != nil || url == "" {
			return "", errNoPDS
		}
		if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
			url = "https://" + url
		}
		return url, nil
	}
	var s struct {
		Type     string `json:"type"`
		Endpoint string `json:"endpoint"`
	}
	if exactjson.Unmarshal(op.Services["atproto_pds"], &s) != nil || s.Type != "AtprotoPersonalDataServer" {
		return "", errNoPDS
	}
	return s.Endpoint, nil
}
