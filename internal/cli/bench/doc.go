// Package bench measures what this machine can do, for railyard bench.
//
// A Shape describes a made-up network: its repos, their collections, keys and hosts are
// functions of a seed, so that whoever needs them can ask for repo i instead of keeping
// all of them. Build grows an index of a shape through the store, with the transactions
// of a backfill and then of commits, and Shape.commit goes on from there. Query serves
// such a file over HTTP and asks it, from a process of its own (Client).
//
// Another benchmark begins with a Shape, too: one of ingest or backfill serves what
// Shape.DID, Collections and Head say of each repo as events or as hosts, one that
// verifies a file builds it.
package bench
