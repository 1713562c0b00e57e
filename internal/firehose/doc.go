// Package firehose follows the event stream of one upstream
// (spec: event stream; lexicon: com.atproto.sync.subscribeRepos).
//
// A Consumer keeps one websocket open, for ever, and delivers decoded frames in
// the order in which they came. It promises that no event which the upstream
// sent is left out without a Notice or a count, and that the cursor of an item
// never runs ahead of what was delivered. It delivers an event again rather than
// lose one: revs make repetitions harmless.
//
// It refuses text messages, messages over the limit and frames that are not
// strict DAG-CBOR: each ends the connection, and is stepped over when it comes for the
// third time at the same cursor. So is at once, for an hour, what comes after it, and
// what comes before there is a cursor. It judges nothing else.
//
// Package ingest calls it, one Consumer for each upstream. Delivery blocks, and
// so does the reading of the socket then: nothing piles up here. Nothing is
// stored either. After a crash the caller begins at the cursor that it stored
// together with the consequences of the events.
package firehose
