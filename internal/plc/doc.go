// Package plc follows the log of the PLC directory, to know identities in bulk
// and changes of them whose #identity was lost (spec: did:plc, bulk export).
//
// It promises that an operation of a DID that has a repo in the file is either
// applied, in one transaction with the position in the log, or older than what a
// look-up has told since. An operation is as good as a look-up of its time. It
// makes no rows for DIDs that are not in the file: most of the log is of others.
//
// The first reading begins when the upstreams' repos have been listed, or after
// six hours. While it lasts, backfill waits for its end: the log is in the order
// of time, and only then is what it says of a DID the last word. Afterwards the
// end is asked for every few seconds.
//
// The export is paged by sequence numbers of the server where it has them, else by
// time; the first question finds out. Neither is a time that of one operation, nor
// need operations become visible strictly in the order of their times or numbers. So
// a page overlaps with what was read, and what was applied of that is told by its CID.
// The same shows that it is still the log that was read: a server that has nothing
// of it for half an hour was exchanged, set back or numbers otherwise, and its log is
// read from the beginning. That does no harm, as operations have their times.
//
// Numbered operations do not state whether they were nullified. They are followed in
// order, so that whatever took their place comes later; within a page their prev tells.
//
// It skips and counts lines that are malformed, and has the directory asked for
// DIDs whose last operation is nullified, a tombstone or unusable. A server that
// fails, or whose pages lead nowhere, is asked again later and later.
//
// Its position is a row: a crash goes on behind the last transaction.
package plc
