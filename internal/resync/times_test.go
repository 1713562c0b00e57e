package resync

import "time"

// Times of package repostate, as the tests count on them.
const (
	bulkRest        = time.Hour
	claimRest       = 10 * time.Minute
	brokenFirst     = 5 * time.Minute
	brokenMost      = 24 * time.Hour
	youngMost       = 6 * time.Hour
	identitySecond  = 15 * time.Second
	rotationPause   = 2 * time.Second
	rotationRetries = 3
	notFoundSecond  = 10 * time.Minute
	notFoundLater   = 24 * time.Hour
	staleRetry      = 20 * time.Second
	staleMost       = 15 * time.Minute
	staleBelief     = time.Hour
	staleTimes      = 3
)
