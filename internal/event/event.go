// Package event decodes the frames of a firehose into typed events.
//
// Decode does what can be done with one frame alone: framing, DAG-CBOR, the
// lexicon's types and limits, the grammar of names. It promises nothing about
// truth: signatures and trees are package verify's, and the order of events is
// package ingest's.
//
// It refuses with the reasons of package refusal and never panics; a crash in
// the middle leaves nothing behind. Package firehose calls it for each message.
package event

import (
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

// Limits of the lexicon and of the sync specification, in bytes and entries.
const (
	MaxFrame      = 5_000_000 // one websocket message
	MaxBlocks     = 2_000_000 // #commit.blocks
	MaxSyncBlocks = 10_000    // #sync.blocks
	MaxOps        = 200       // #commit.ops
	MaxRecord     = 1_000_000 // one record block
	MaxSeq        = 1<<53 - 1 // sequence numbers are 1…MaxSeq
)

// Frame is one decoded message of a firehose.
type Frame struct {
	// Type is the header's t, at most 64 bytes, or "error" for an error frame;
	// empty when the header could not be read. Outsiders can mint it: it is no
	// label for a metric.
	Type string
	// Seq is the sequence number, 0 where there is none or it is unreadable.
	Seq int64
	// DID is the account, empty where there is none or it is not valid.
	DID string
	// Time is the event's own arrival time, zero where it cannot be parsed:
	// informal, never an ordering.
	Time time.Time
	// Event is one of *Commit, *Sync, *Identity, *Account, *Info, *StreamError;
	// nil when Refusal is set.
	Event Event
	// Refusal says why there is no event.
	Refusal *refusal.Error
	// Break: the framing is broken and the whole connection must be dropped
	// (spec: event stream).
	Break bool
}

// Event is one of the messages of com.atproto.sync.subscribeRepos.
type Event interface{ event() }

// Commit is a #commit message, as stated by its sender.
type Commit struct {
	DID string
	// Rev is the rev that the message states; the signed commit must agree.
	Rev atproto.TID
	// Since is the rev of the preceding commit, nil for the first.
	Since *atproto.TID
	// CID is the commit's, and the CAR's first root.
	CID atproto.Digest
	// PrevData is the data CID of the preceding commit, nil where absent.
	PrevData *atproto.Digest
	// Blocks is a CAR v1. It shares memory with the frame.
	Blocks []byte
	Ops    []Op
}

// Action is what an op does to its record.
type Action byte

// The actions of a repo op.
const (
	Create Action = iota + 1
	Update
	Delete
)

// Op is one change of one record.
type Op struct {
	Action Action
	// Path is "collection/rkey", checked.
	Path string
	// CID is the record's binary CID after the op, nil for Delete. It shares
	// memory with the frame.
	CID []byte
	// Prev is the record's binary CID before the commit, nil where absent: where
	// there was none, and from hosts of Sync 1.0. Where a commit writes one path
	// several times, a Create can have one. It shares memory with the frame.
	Prev []byte
}

// Sync is a #sync message: the repo's state now, with nothing else said.
type Sync struct {
	DID    string
	Rev    atproto.TID
	Blocks []byte
}

// Identity is an #identity message: something about the identity may have
// changed.
type Identity struct{ DID string }

// Account is an #account message: the hosting status at the sender.
type Account struct {
	DID    string
	Active bool
	// Status is the word that explains, empty where absent, at most 64 bytes.
	Status string
}

// Info is an #info message.
type Info struct{ Name, Message string }

// StreamError is an error frame; the stream ends after it.
type StreamError struct{ Name, Message string }

func (*Commit) event()      {}
func (*Sync) event()        {}
func (*Identity) event()    {}
func (*Account) event()     {}
func (*Info) event()        {}
func (*StreamError) event() {}
