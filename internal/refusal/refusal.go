// Package refusal is the closed list of reasons for which railyard refuses what
// the network sends.
//
// A reason is declared once. From it come the typed error, the label of the
// metric, the row of the file's refusal table and the line in docs/refusals.md.
// The network's bad data never stops the process: a refusal is counted, a
// sample of it is kept, and where it may hide a change of a repo the repo is
// queued for a resync.
package refusal

import (
	"errors"
	"fmt"
	"slices"
)

// Reason is one way in which a frame, a block, a document or an answer is
// unacceptable. Its text is the metric label and the key in the file.
type Reason string

// Frames: what a connection to an upstream can break (spec: event stream).
const (
	FrameTooBig      Reason = "frame-too-big"     // over 5,000,000 bytes; ends the connection
	FrameNotBinary   Reason = "frame-not-binary"  // a text message; ends the connection
	FrameMalformed   Reason = "frame-malformed"   // framing or DAG-CBOR broken; ends the connection
	FrameUnknown     Reason = "frame-unknown"     // unknown op or type; skipped
	FrameError       Reason = "frame-error"       // an error frame; the stream ends
	FrameSkipped     Reason = "frame-skipped"     // no frame, and stepped over
	EventSchema      Reason = "event-schema"      // decodes, but breaks the lexicon
	EventLimit       Reason = "event-limit"       // over a limit of the lexicon: ops, blocks, lengths
	SequenceRepeated Reason = "sequence-repeated" // seq not above the last one of its connection
	SequenceReset    Reason = "sequence-reset"    // a connection started below our cursor
	SequenceGap      Reason = "sequence-gap"      // OutdatedCursor: events are lost
	SequenceFuture   Reason = "sequence-future"   // FutureCursor: the upstream was reset
)

// Commits, checked before and by the signature: nothing is known to be true, so
// nothing changes (spec: sync, validation).
const (
	BadDID         Reason = "bad-did"         // not a did:plc or did:web
	BadRev         Reason = "bad-rev"         // not a TID
	FutureRev      Reason = "future-rev"      // more than five minutes ahead of our clock
	BadOp          Reason = "bad-op"          // unknown action, bad path or cid, ops of one path that contradict each other
	BadCAR         Reason = "bad-car"         // CAR framing, header, root or limits
	BadBlock       Reason = "bad-block"       // a block's bytes do not hash to its CID
	BadCommit      Reason = "bad-commit"      // commit block missing, not version 3, or malformed
	CommitMismatch Reason = "commit-mismatch" // commit block disagrees with the message: CID, did or rev
	BadSignature   Reason = "bad-signature"   // does not verify under the account's key
)

// Commits whose signature verified: the commit was real, so the repo is also
// marked desynchronized, limited per host.
const (
	BadTree          Reason = "bad-tree"          // a rule of the Merkle search tree is broken
	OpsMismatch      Reason = "ops-mismatch"      // an op does not agree with the new tree
	RecordMissing    Reason = "record-missing"    // the record of a create or update is absent or over 1 MB
	InversionBlocked Reason = "inversion-blocked" // a node that undoing the ops needs is absent
	InversionFailed  Reason = "inversion-failed"  // undoing the ops does not give prevData
	NoPrev           Reason = "no-prev"           // an op without prev (Sync 1.0): cannot be inverted
)

// MaxCollections bounds those of one repo, whether it is fetched or has grown by commits.
// The largest seen have about a thousand.
const MaxCollections = 10_000

// Repos as a whole.
const (
	RepoTooBig Reason = "repo-too-big" // over MaxCollections
)

// Identities and hosts.
const (
	IdentityUnresolved Reason = "identity-unresolved" // the directory or did:web host has no document
	IdentityInvalid    Reason = "identity-invalid"    // document without usable key or PDS, or of another DID
	WrongHost          Reason = "wrong-host"          // the document names another PDS than the sender
	ForbiddenAddress   Reason = "forbidden-address"   // SSRF guard: not a public address, port or scheme
)

// Answers to our requests.
const (
	AnswerTooBig   Reason = "answer-too-big"   // body over its cap
	AnswerTooSlow  Reason = "answer-too-slow"  // timeout, or below the minimum transfer rate
	AnswerInvalid  Reason = "answer-invalid"   // not the JSON or CAR that the lexicon promises
	AnswerStale    Reason = "answer-stale"     // a repo older than a commit that we have seen
	AnswerPartial  Reason = "answer-partial"   // getRepo lacks nodes of its own tree
	AnswerLoop     Reason = "answer-loop"      // a listing repeats its cursor
	AnswerWrongDID Reason = "answer-wrong-did" // the repo of somebody else
	Internal       Reason = "internal"         // a panic of ours while looking at outside bytes
)

// Entry is a reason and its meaning.
type Entry struct {
	Reason  Reason
	Meaning string
}

var entries = []Entry{
	{FrameTooBig, "a firehose message over 5,000,000 bytes; the connection is opened again"},
	{FrameNotBinary, "a text message on a firehose; the connection is opened again"},
	{FrameMalformed, "a message that is not two DAG-CBOR maps; the connection is opened again"},
	{FrameUnknown, "a message with an op or type that we do not know; skipped"},
	{FrameError, "the upstream sent an error frame and ended the stream"},
	{FrameSkipped, "a message that is no frame was stepped over: it came for the third time and had broken the connection twice, within an hour of such a one, or before there was a cursor"},
	{EventSchema, "a message that decodes but breaks the lexicon"},
	{EventLimit, "a message over a limit of the lexicon (ops, blocks, lengths)"},
	{SequenceRepeated, "a sequence number not above the last one of its connection"},
	{SequenceReset, "a connection that started below our cursor: the upstream was reset"},
	{SequenceGap, "the upstream's replay window begins after our cursor: events are lost"},
	{SequenceFuture, "our cursor is ahead of the upstream's newest event: the upstream was reset"},
	{BadDID, "an account that is neither a did:plc nor a did:web"},
	{BadRev, "a rev that is not a TID"},
	{FutureRev, "a rev more than five minutes ahead of our clock"},
	{BadOp, "an op with an unknown action, a bad path or cid, or several of one path that contradict each other"},
	{BadCAR, "blocks that are no CAR v1 within the limits"},
	{BadBlock, "a block whose bytes do not hash to its CID"},
	{BadCommit, "a commit block that is absent, malformed or not of version 3"},
	{CommitMismatch, "a commit block that disagrees with its message about CID, did or rev"},
	{BadSignature, "a commit that does not verify under the account's signing key"},
	{BadTree, "a tree that breaks a rule of the Merkle search tree"},
	{OpsMismatch, "an op that does not agree with the new tree"},
	{RecordMissing, "a created or updated record whose block is absent or over 1,000,000 bytes"},
	{InversionBlocked, "a tree node that undoing the ops needs is absent"},
	{InversionFailed, "undoing the ops does not give prevData"},
	{NoPrev, "an update or delete that does not name the record before it (Sync 1.0): the commit cannot be inverted"},
	{RepoTooBig, fmt.Sprintf("a repo with more than %d collections", MaxCollections)},
	{IdentityUnresolved, "a DID for which the directory or the did:web host has no document"},
	{IdentityInvalid, "a DID document without usable key or PDS, or of another DID"},
	{WrongHost, "an event of an account whose DID document names another PDS"},
	{ForbiddenAddress, "a request that the guard stopped: not a public address, port or scheme"},
	{AnswerTooBig, "an answer over its cap"},
	{AnswerTooSlow, "an answer that took too long or dripped below the minimum rate"},
	{AnswerInvalid, "an answer that is not what its lexicon promises"},
	{AnswerStale, "a fetched repo older than a commit that we have seen"},
	{AnswerPartial, "a fetched repo that lacks nodes of its own tree"},
	{AnswerLoop, "a listing that repeats its cursor"},
	{AnswerWrongDID, "a fetched repo of another account"},
	{Internal, "a fault of railyard itself while it looked at outside bytes; please report it"},
}

// AfterSignature reports whether the reason is given only to commits whose
// signature verified. Such a commit was real, so its repo has changed in a way
// that we could not follow.
func (r Reason) AfterSignature() bool {
	switch r {
	case BadTree, OpsMismatch, RecordMissing, InversionBlocked, InversionFailed, NoPrev:
		return true
	}
	return false
}

// All lists every reason with its meaning, in the order of the documentation.
func All() []Entry { return slices.Clone(entries) }

// Error is a refusal: what was refused and why.
type Error struct {
	Reason Reason
	Detail string // names what and where, bounded in length
	Err    error  // the cause, or nil
}

// maxDetail bounds what an outsider's bytes can add to a log line or a row.
const maxDetail = 300

// New makes a refusal. The detail is formatted as by fmt.Errorf, so %w keeps a
// cause reachable.
func New(reason Reason, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	detail := err.Error()
	if len(detail) > maxDetail {
		detail = detail[:maxDetail] + "…"
	}
	return &Error{Reason: reason, Detail: detail, Err: errors.Unwrap(err)}
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf finds the reason of a refusal in an error chain.
func ReasonOf(err error) (Reason, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason, true
	}
	return "", false
}
