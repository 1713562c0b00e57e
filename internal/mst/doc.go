// Package mst reads, checks and undoes changes of the Merkle search tree that
// holds a repo's keys (spec: repository).
//
// A tree may be partial: the nodes that are absent are gaps, of which only the
// digest and the place are known. Load takes what is present, enforces every
// rule of the tree on it and keeps it in memory, so that operations can be
// undone and the root computed again; View is the same tree as a flat sequence
// of visible keys and gaps, and answers what is proven about a key or a
// collection; its Outline answers for collections alone, and is small enough to
// keep. Walk is for whole trees of any size and keeps one path in memory.
//
// It refuses a tree that breaks a rule (ErrInvalid), an operation that would
// need an absent node (ErrHidden), a whole tree that lacks a node (ErrMissing).
// It trusts that the digest of each block was checked by the Source. Work and
// memory are bounded by the blocks of the Source: no node is taken twice.
//
// Nodes of the usual shape are read on a fast path (parseUsual), which leaves
// every other node, sound or not, to the strict reader: there is one judge, and
// a fuzzer holds the fast path to it.
//
// Package verify calls it for commits, package repo for whole repos. It holds
// no state of its own and no file: a crash leaves nothing behind.
package mst
