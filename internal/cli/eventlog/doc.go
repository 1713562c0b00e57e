// Package eventlog follows the firehose of one upstream and returns each event as a
// line for people and scripts, verified if that is asked for.
//
// It promises the lines in the order of the events, whatever the verification of
// one takes, and field names that stay. A line is given for everything that the
// stream brings, also for what is refused or lost, unless collections are asked
// for. Verification proves an event by itself, under the key that the DID
// document names now: of events of yesterday whose account has another key today
// it says bad-signature. Whether a commit follows the one before is not looked at.
//
// Its memory is bounded: a few hundred events wait for their proof, and the keys
// of a hundred thousand accounts are kept. It stores nothing; a caller who wants
// to go on later keeps the seq of the last line. The command firehose calls it.
package eventlog
