// Package resync is the one repair path: it takes repos out of the queue, finds
// out what they are, and makes the file equal to that in one transaction.
//
// Backfill, #sync, a broken chain, a changed key, an account that came back: each
// is a row of the queue. An attempt is one step: resolve the identity, ask the host for
// the account's status, establish the set of collections. Which step, and what becomes
// of the repo and its row by the result, is decided by package repostate.
//
// An answer may mean nothing: hosts of other software have words of their own, and
// proxies have pages. Then the host is asked by its other methods (enquire).
//
// Package establish asks for the set. What it takes on the host's word is proven
// later; what a host cannot do, or said wrong, is remembered in its row.
//
// It believes nobody but the host that the DID document names, and nothing about
// a head but a signed commit, by the present key of the DID; by an earlier one only
// where the account moved and nothing of the present key was seen yet. What a fetch
// brings is void when something happened meanwhile that is not a buffered commit
// (the row's generation says so), and it is refused when it is older than a commit
// that was seen.
//
// Rows wait for whoever is asked next: a host, the PLC directory, the hosts of
// did:web. They are leased in turns, the most urgent rows first, one row of a host
// at a time, each host at its own pace and with few requests at once; hosts that
// are not known to answer share a part of the workers. The file chooses, and
// remembers of a host what must be remembered (schema.sql, host_queue).
//
// Nobody says that an #identity was lost. Documents that were looked up long ago are
// looked up again in the background, unless the PLC directory's log has the changes.
//
// Every attempt has one of a closed list of outcomes. A crash loses what was
// fetched and nothing else: the leases are released at the next start.
package resync
