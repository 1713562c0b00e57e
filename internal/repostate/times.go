package repostate

import "time"

// All the times of a repo's life. Nothing else says when a document is looked up
// again, when a row is due, or how often something must be said to be believed.
const (
	// A document is believed for this long before it is looked up again because of:
	identityMinAge  = time.Minute        // a signature that failed, or a foreign sender
	announcedMinAge = 2 * time.Second    // an #identity: something has changed just now
	identityFresh   = 5 * time.Minute    // a result (gone, not found, an older state) that its host states
	movedMinAge     = time.Hour          // the listing of a host that it does not name
	behindMinAge    = 6 * time.Hour      // a relay's listing that is behind our head
	IdentityAge     = 7 * 24 * time.Hour // nothing at all: an #identity can be lost
	// identityChecks is how often a document is looked up that has not changed when an
	// #identity says so, identitySecond how soon the second time: replicas lag.
	identityChecks = 2
	identitySecond = 15 * time.Second
	// A repo whose signature fails under a document of this moment: perhaps its key
	// was rotated just now. 2, 8 and 32 seconds.
	rotationPause   = 2 * time.Second
	rotationRetries = 3
	// clockSkew is how far the directory's clock may be from ours, and how far a
	// replica that answered us may have lagged.
	clockSkew = 10 * time.Minute
	// statusPause is how often a host is asked about an inactive account that goes on
	// committing.
	statusPause = 10 * time.Minute

	// MissedGrace is how long a listed rev may be ahead of our head before it counts
	// as a lost event: commits are in flight.
	MissedGrace = 30 * time.Second
	// inFlightTries is how often a head of the host that is newer than ours is taken
	// for one whose commit is on its way.
	inFlightTries = 3
	// harmlessAge is how old a listed rev is at least that its host does not have, for
	// it to be remembered as harmless. A younger one may be on its way to a replica.
	harmlessAge = time.Hour

	// Retries of what may work again soon (networks, servers), of what is wrong until
	// somebody mends it (documents, trees), and of a host that is too young to serve.
	retryFirst  = 30 * time.Second
	retryMost   = 2 * time.Hour
	brokenFirst = 5 * time.Minute
	brokenMost  = 24 * time.Hour
	youngFirst  = 30 * time.Minute
	youngMost   = 6 * time.Hour
	// sightTries is how often the document of a DID that one upstream has told of may fail.
	sightTries = 6
	// Fetches that came to nothing because of events meanwhile: the first few are
	// repeated at once.
	supersededFree  = 3
	supersededFirst = 5 * time.Second
	supersededMost  = 10 * time.Minute

	// notFoundSecond is when a host that has no such repo, or a directory that has no
	// such DID, is asked again and believed, notFoundLater when it is after that. A host
	// is asked once before, as it may have failed for a moment, and after that more and
	// more rarely until then.
	notFoundSoon   = 30 * time.Second
	notFoundSecond = 10 * time.Minute
	notFoundLater  = 24 * time.Hour
	// A host that serves an older state is asked again soon: replicas catch up. Three
	// equal answers over an hour are a restored backup.
	staleRetry  = 20 * time.Second
	staleMost   = 15 * time.Minute
	staleBelief = time.Hour
	staleTimes  = 3

	// proofPause is how long a host's word waits to be proven; that of a backfill waits
	// longer, and not all at once.
	proofPause     = 10 * time.Minute
	bulkProofPause = time.Hour

	// MaxBuffered bounds the commits that wait for one repo's fetch.
	MaxBuffered = 256
)
