// Package resync is the one repair path: it takes repos out of the queue, finds
// out what they are, and makes the file equal to that in one transaction.
//
// Backfill, #sync, a broken chain, a changed key, an account that came back: each
// is a row of the queue. What is done follows from the repo's own state, one
// step at a time, and after each step the row goes back into the queue or out of
// it: resolve the identity, ask the host for the account's status, fetch the
// repo and walk its whole tree.
//
// It believes nobody but the host that the DID document names, and nothing about
// a head but a signed commit. What a fetch brings is void when something
// happened meanwhile that is not a buffered commit (the row's generation tells),
// and it is refused when it is older than a commit that was seen.
//
// Every ending is one of a closed list of outcomes. A crash loses what was
// fetched and nothing else: the claims are released at the next start.
package resync
