// Package store is the SQLite file: the one place that reads and writes it.
//
// It promises that what one Update does is there whole or not at all, caches
// included: ids of collections, the next birth number and whatever a caller
// hands to AfterCommit change only once the transaction is in the file, and a
// failed transaction leaves no trace. One connection writes; a pool of
// read-only connections answers queries. Each connection is a session, which prepares
// a statement when it is first asked for, and keeps it.
//
// It has no policy. What becomes of a repo is decided by package repostate; Tx.Apply
// writes what a decision changes, and is the only way to do so but for parking: the
// first reading of the directory's log parks and releases rows of the queue in bulk
// (plclog.go). Visibility follows: a repo's rows are visible exactly when its account is active and its set is proven.
//
// Rows of the queue name whoever is asked next, and for each host there is a row that
// knows the first of them (host_queue), which triggers keep. So one ordered query finds
// what is due in a queue of millions, and one more when something will be.
//
// What it promises can be verified: Check has a rule for each promise that shows
// in the rows, and all of them hold after every transaction. A Reader reads a file,
// and checks it, beside the service that writes to it.
//
// It refuses a file of another application, of a newer version, and one that
// another railyard writes to.
//
// When the disk fails, what failed is not in the file and the error names the file and
// the cause. The store goes on where the file is what it was, on a full disk too; it
// stops where nobody knows that, after a sync that failed or in a damaged file.
//
// A crash at any instruction leaves the last committed transaction. The leases
// of resync workers die with the process: Open releases them.
package store
