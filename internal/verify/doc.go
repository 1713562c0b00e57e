// Package verify proves what one event says by itself, without stored state:
// checks 2 to 7 of docs/verification.md for a #commit, and those of a #sync (spec: sync).
//
// A Proof of Commit says: the account's key signed this commit; every op is true
// of its tree; undone, the ops lead back to the tree Prev; so the collections
// in Present have a key now and those in Died have none. Whether Prev is the
// tree that the index knows is package ingest's question.
//
// It refuses with *refusal.Error, never panics, makes no call and keeps nothing
// but memory for the next proof, so that any number of goroutines may prove at
// once and a crash leaves nothing behind.
//
// A proof is mostly hashing: of each block once, of each visible key once for its
// depth, of each node that undoing the ops changes. The rest is kept below that
// by memory that is used again; go test -bench . compares it with the bare
// signature.
package verify
