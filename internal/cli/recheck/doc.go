// Package recheck compares repos of an index file with what their hosts serve now.
//
// Draw takes idle repos (repostate.Repo.Idle), each as likely as any other.
// Compare resolves the DID document of each afresh, fetches the whole repo from the
// host that it names, checks signature and tree, and returns one verdict:
//
//	equal        the host serves the file's head, and the rows are the collections of its tree
//	differs      the host serves the file's rev, and the rows, or the head, are others
//	behind       the host serves a later rev than the file has
//	ahead        the host serves an earlier one: a stale replica, or a restored backup
//	moved        the file took the repo out of service meanwhile, or moved on with each fetch
//	gone         the host has the account no more, or does not show it; or the DID has no document
//	unreachable  the host or the directory did not answer, or asked to be left alone
//	refused      what came is not a repo that the account has signed
//
// Equal and differs are sure: a service may write to the file meanwhile, so the row
// is read before and after the fetch, each time in one transaction, and what was
// fetched is compared with the one of its own rev. All others are asked for again
// after pauses that grow, in which a running service may catch up; the file is read
// first, and a host is asked again only where that can decide. Beside the verdict
// a Finding names an identity row that is not what the document says.
//
// It asks one host for one thing at a time, at a bounded rate, and a few hosts at
// once; a host that wants to be left alone, or has failed three times in a row, is.
// What hosts send is bounded and held against the tree; no host makes Compare fail:
// its error is that of the file or of the context.
//
// The command check --sample calls it. It writes nothing: a crash leaves nothing
// behind.
package recheck
