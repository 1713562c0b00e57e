package repostate

import (
	"fmt"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

// result is the result of an attempt being decided.
type result struct {
	*machine
	*Attempt
	doubted bool // the identity became stale while it ran
}

// was is the row as it was leased.
func (a *result) was() *Waiting { return a.Repo.Waiting }

// decide finishes an attempt. What it brings is void if the row has another generation
// now, but for a document, which is as good as ever.
func (e Result) decide(m *machine) Outcome {
	a := &result{m, e.Attempt, m.r.Identity != nil && m.r.Identity.Stale}
	if m.r.Waiting == nil {
		return Superseded
	}
	current := m.r.Waiting.Generation == a.was().Generation
	switch {
	case e.Identity != nil:
		return a.resolved(*e.Identity)
	case a.Step == Resolve:
		m.stale() // a document of yesterday beats none
	}
	switch {
	case e.Failure != nil && e.Failure.Kind == FailedCancelled:
		m.release(m.Now)
		return Cancelled
	case !current:
		return a.supersede()
	case e.Failure != nil:
		return a.failed(e.Failure)
	case e.Status != nil:
		return a.answered(*e.Status)
	case e.Found != nil && a.WasSynchronized():
		return a.compared(e.Found)
	case e.Found != nil:
		return a.fetched(e.Found, e.Buffered)
	case a.Step != Nothing: // a fault of ours: the repo keeps its row
		panic(fmt.Sprintf("the result of an attempt at %s has nothing", m.r.DID))
	}
	a.done()
	return Confirmed
}

// supersede requeues a row for which something happened meanwhile. It is due at once,
// unless that happens again and again.
func (a *result) supersede() Outcome {
	at := a.Now
	if n := a.was().Attempts; n >= supersededFree {
		at = at.Add(a.Backoff(supersededFirst, supersededMost, n-supersededFree))
	}
	a.r.Waiting.Attempts++
	a.release(at)
	return Superseded
}

// resolved stores what the DID document says. The row goes on with the next step, in
// its place.
func (a *result) resolved(id Identity) Outcome {
	changed := a.adopt(id, a.Now)
	w := a.r.Waiting
	w.IdentityChecks = max(0, w.IdentityChecks-1)
	if w.Said == NoSuchDID {
		w.unsay()
	}
	switch {
	case changed:
		w.IdentityChecks = 0
		a.moved()
		a.release(a.Now)
	case a.doubted: // an #identity came during the look-up: another one, but no faster
		a.release(a.Now.Add(announcedMinAge))
	default:
		a.release(a.was().NotBefore)
	}
	return Resolved
}

// fresh reports whether the host was surely the one that the DID document named when it
// was asked. If not, the document is looked up before the host is asked again. The
// directory's log is no substitute: a look-up can have brought an older document than
// what the log has told before, and then the log is silent.
func (a *result) fresh() bool {
	if a.At.Sub(a.r.Identity.FetchedAt) <= identityFresh {
		return true
	}
	a.stale()
	a.release(a.was().NotBefore)
	return false
}

// failed sorts what went wrong. A refusal by rate or a terminal one never leads to a
// heavier request.
func (a *result) failed(f *Failure) Outcome {
	if f.Refusal != nil {
		a.d.Refusals = append(a.d.Refusals, f.Refusal)
	}
	n := a.was().Attempts
	switch f.Kind {
	case FailedDeferred:
		a.release(a.Now.Add(f.Pause))
		return Superseded
	case FailedGone:
		a.inactive(f.Status)
		return Gone
	case FailedNoRepo:
		a.noRepo(f.Cause)
		return Missing
	case FailedRate:
		a.release(a.Now) // when the host may be asked again
		return RateLimited
	case FailedYoung: // that is no failure
		a.again(f.Cause, a.Backoff(youngFirst, youngMost, n))
		return TooYoung
	case FailedHost:
		// The account may live elsewhere by now, or never have lived there.
		if a.At.Sub(a.r.Identity.FetchedAt) > identityFresh {
			a.stale()
		}
		a.again(f.Cause, max(a.Backoff(retryFirst, retryMost, n), min(f.Pause, time.Hour)))
		return Transient
	case FailedKey:
		a.wrongKey(f.Cause)
		return Invalid
	case FailedDirectory:
		a.again(f.Cause, max(a.Backoff(retryFirst, retryMost, n), min(f.Pause, time.Hour)))
		return IdentityFailed
	case FailedNoDID:
		a.noDID()
		return IdentityFailed
	case FailedLookup:
		a.again(f.Cause, a.Backoff(retryFirst, retryMost, n))
		a.giveUp(n)
		return IdentityFailed
	case FailedDocument:
		a.again(f.Cause, a.Backoff(brokenFirst, brokenMost, n))
		a.giveUp(n)
		return IdentityFailed
	}
	a.again(f.Cause, a.Backoff(brokenFirst, brokenMost, n))
	switch {
	case a.Step == Resolve:
		return IdentityFailed
	case f.Kind == FailedInternal:
		return InternalFault
	}
	return Invalid
}

// again notes a failure and puts the row back. If an #identity came meanwhile, the
// failure may be the old host's or key's, and is not waited for.
func (a *result) again(cause error, after time.Duration) {
	a.note(cause.Error())
	if a.doubted {
		after = min(after, identitySecond)
	}
	why := a.was().Reason
	if !a.WasSynchronized() && (why == NotFoundAgain || why == MissedRev) && a.r.Active {
		why = Discontinuity // it is no mere check: the rows may be wrong
	}
	a.retry(why, a.Now.Add(after), true, a.WasSynchronized() && a.was().Attempts > 0)
}

func (a *result) note(text string) { a.r.Error, a.r.ErrorAt = text, a.Now }

// giveUp forgets a DID of which only the events of one upstream have told, and whose
// document is of no use again and again: its row would take the place of another one.
// Another event or a listing brings it back.
func (a *result) giveUp(failures int) {
	if failures >= sightTries && a.r.Identity == nil && a.r.FoundHostID < 0 {
		a.d.Forget = true
	}
}

// wrongKey: perhaps the key is another one by now. The document is looked up before the
// next fetch: at once if the one that we have is not of this moment, soon if it is,
// since a rotation and its replicas take a moment.
func (a *result) wrongKey(cause error) {
	a.stale()
	switch n := a.was().Attempts; {
	case n == 0 && a.At.Sub(a.r.Identity.FetchedAt) > identitySecond:
		a.r.Waiting.Attempts++
		a.release(a.Now)
	case n < rotationRetries:
		a.again(cause, rotationPause<<(2*n))
	default:
		a.again(cause, a.Backoff(brokenFirst, brokenMost, n-rotationRetries))
	}
}

// inactive hides an account that its host calls inactive, and drops the row.
func (a *result) inactive(status string) {
	if a.fresh() {
		a.leave(status, FromHost)
		a.done()
	}
}

// noRepo: the host knows no such repo. A replica may lag, so it is asked once more;
// then the rows are hidden, and it is asked now and then. An account that a relay
// called deleted is.
func (a *result) noRepo(cause error) {
	if !a.fresh() {
		return
	}
	a.r.Identity.StatusAskedAt = a.Now // late commits of an inactive account ask for no more
	a.note(cause.Error())
	switch {
	case !a.saidAgain(NoSuchRepo):
	case !a.r.Active && a.r.Status == "deleted":
		a.leave(a.r.Status, FromHost)
		a.done()
	default:
		a.r.State, a.r.Proof = NotFound, 0
	}
}

// noDID: the directory has no document of a DID. A DID that it once had is tombstoned,
// and its account deleted (spec: did:plc; account); one that it never had was invented,
// and leaves no row behind.
func (a *result) noDID() {
	a.note("the directory has no document of this DID")
	switch {
	case !a.saidAgain(NoSuchDID):
	case a.r.Identity != nil:
		a.r.Identity.StatusAskedAt = a.Now // its late commits ask for no more
		a.leave("deleted", FromDirectory)
	case a.r.Head == nil && a.r.ProvenAt.IsZero():
		a.d.Forget = true
	}
}

// saidAgain puts back the row of what is said not to exist, and reports whether that is
// to be believed: it was said before, long enough ago for every replica.
func (a *result) saidAgain(what Statement) bool {
	w := a.r.Waiting
	first, later := a.Now.Add(notFoundSecond), notFoundLater
	if what == NoSuchRepo {
		first = a.Now.Add(notFoundSoon)
		later = a.Backoff(notFoundSecond, notFoundLater, max(0, w.SaidTimes-1))
	}
	second := w.SaidSince.Add(notFoundSecond)
	switch {
	case w.Said != what:
		w.says(what, 0, a.Now)
		a.retry(NotFoundAgain, first, true, true)
		return false
	case a.Now.Before(second):
		a.retry(NotFoundAgain, second, false, true)
		return false
	}
	w.says(what, 0, a.Now)
	a.retry(NotFoundAgain, a.Now.Add(later), true, true)
	return true
}

// answered: the named host has said what the account is. Whoever doubted the status may
// know of another host: an account that moved unheard lives on at the old one. So the
// word counts only under a document of this moment, whatever it is.
func (a *result) answered(st Account) Outcome {
	a.r.Identity.StatusAskedAt = a.Now
	if !a.fresh() {
		return Superseded // the question stands
	}
	w := a.r.Waiting
	w.AskStatus = false
	if w.Said == NoSuchRepo {
		w.unsay()
	}
	switch {
	case !st.Active:
		a.inactive(st.Status)
		return Gone
	case a.r.Active && a.r.State == Synchronized:
		a.done()
		return Confirmed
	case !a.r.Active:
		a.show()
	}
	a.retry(Reactivated, a.Now, false, false)
	return Returned
}

// fetched makes the repo what was fetched, replays the commits that came meanwhile, and
// puts it into service.
func (a *result) fetched(f *Found, waiting []Commit) Outcome {
	r := a.r
	if r.State != Resyncing || !r.Active {
		return a.supersede()
	}
	a.d.Unbuffer = true
	reached, replay, linked := chain(f.Head, waiting)
	if !linked { // what was fetched and what was seen do not meet: fetch once more
		a.retry(Discontinuity, a.Now.Add(a.staleDelay()), true, false)
		return Superseded
	}
	newest := r.Floor()
	switch {
	case f.OldKey && !r.OldKeysCount() && (reached == f.Head.Rev || reached < newest):
		// An earlier key has signed it, and something was seen that the present one has
		// signed and that does not lead on from there.
		a.refuseStale(f, newest)
		a.again(a.lastRefusal(), a.staleDelay())
		return StaleAnswer
	case reached >= newest:
	case reached >= a.Repo.Floor():
		// It is as new as what was seen when it was asked for, and older than a commit
		// that came since and could not be buffered: the truth of a moment ago. The rows
		// become equal to it; the repo stays out of service until an answer has that
		// commit too.
		a.establish(f, replay)
		a.saw(newest)
		a.desynchronize(Discontinuity)
		a.retry(Discontinuity, a.Now.Add(a.staleDelay()), true, false)
		return StaleAnswer
	case !a.believesOlder(f, newest):
		return StaleAnswer
	}
	a.establish(f, replay)
	a.done()
	return Established
}

// chain finds the commits that lead on from a fetched head. Older ones are in it
// already; linked is false if a newer one does not follow. reached is the rev to which
// they lead.
func chain(head Head, waiting []Commit) (reached atproto.TID, replay []Commit, linked bool) {
	last := head
	for _, c := range waiting {
		switch {
		case c.Head.Rev < last.Rev, c.Head.Rev == last.Rev && c.Head.CID == last.CID:
			continue
		case c.Head.Rev == last.Rev, c.Prev != last.Data && c.Head.Data != last.Data:
			return 0, nil, false
		}
		last, replay = c.Head, append(replay, c)
	}
	return last.Rev, replay, true
}

// establish takes what was found, with the commits that follow it.
func (a *result) establish(f *Found, replay []Commit) {
	r := a.r
	a.d.TestsClaim = r.Proof == ProofClaim && r.Head != nil && *r.Head == f.Head && f.Proof != ProofClaim
	a.d.Set, a.d.Commits = &Set{Collections: f.Collections, First: r.ProvenAt.IsZero()}, replay
	head := f.Head
	if n := len(replay); n > 0 {
		head = replay[n-1].Head
	}
	r.Head, r.State, r.SeenRev = &head, Synchronized, 0
	a.unhide()
	r.Proof, r.ProvenAt, r.Error, r.ErrorAt = f.Proof, a.Now, "", time.Time{}
	r.Identity.EarlierRev = 0
	if f.OldKey {
		r.Identity.EarlierRev = f.Head.Rev
	}
}

func (a *result) staleDelay() time.Duration {
	return a.Backoff(staleRetry, staleMost, a.was().Attempts)
}

func (a *result) refuseStale(f *Found, newest atproto.TID) {
	a.refuse(refusal.AnswerStale, "its host serves rev %s, and %s was seen", f.Head.Rev, newest)
}

func (a *result) lastRefusal() error { return a.d.Refusals[len(a.d.Refusals)-1] }

// believesOlder reports whether an answer older than what was seen is to be believed:
// three equal ones over an hour, of the host that the document names now, are a restored
// backup. If not, the row is put back.
func (a *result) believesOlder(f *Found, newest atproto.TID) bool {
	a.refuseStale(f, newest)
	times, since := a.r.Waiting.says(OlderRev, f.Head.Rev, a.Now)
	if times < staleTimes || a.Now.Sub(since) < staleBelief {
		a.again(a.lastRefusal(), a.staleDelay())
		return false
	}
	return a.fresh()
}

// compared compares a repo in service with what its host serves. Only an answer of the
// head's own rev says something about the rows.
func (a *result) compared(f *Found) Outcome {
	r, w := a.r, a.r.Waiting
	if r.State != Synchronized {
		return a.supersede()
	}
	reached := r.Reached(w.WantRev) && r.Head.Rev >= r.SeenRev
	switch {
	case f.Head == *r.Head && f.Head.Rev >= r.SeenRev:
		return a.equal(f, reached)
	case a.Repo.Head != nil && f.Head == *a.Repo.Head && f.Head != *r.Head:
		if reached && r.Proof != ProofClaim { // it was where we were, and a commit has come since
			a.done()
			return Confirmed
		}
		a.again(fmt.Errorf("a commit came while rev %s was fetched", f.Head.Rev), a.staleDelay())
		return Superseded
	case f.Head.Rev < r.Floor() && reached && r.Proof != ProofClaim: // the commit has arrived
		a.done()
		return Confirmed
	case f.Head.Rev < r.Floor():
		if !a.believesOlder(f, r.Floor()) {
			return StaleAnswer
		}
		return a.equal(f, reached)
	case reached && f.Head.Rev > r.Head.Rev && a.was().Attempts < inFlightTries:
		// Its commit may be on its way. If not, the wanted rev brings us back.
		a.enqueueMissed(a.Now, f.Head.Rev)
		a.retry(MissedRev, a.Now.Add(MissedGrace), true, true)
		return Superseded
	}
	a.desynchronize(Discontinuity)
	a.release(a.Now)
	return Superseded
}

// equal: the host itself is where we are, so its tree is the proof of our rows. What
// else was heard of until the lease is not so, if it is the host.
func (a *result) equal(f *Found, reached bool) Outcome {
	if !reached && !a.fresh() {
		return Confirmed
	}
	a.establish(f, nil)
	heard, w := a.was().WantRev, a.r.Waiting
	if w.WantRev <= heard {
		w.WantRev = 0
	}
	if age := a.Now.Sub(heard.Time()); !reached && heard != 0 && (age >= harmlessAge || age <= -harmlessAge) {
		a.r.HarmlessRev = heard
	}
	a.done()
	return Established
}

// done drops the row, unless there is more to do for which it stands.
func (a *result) done() {
	r, w := a.r, a.r.Waiting
	r.Error, r.ErrorAt = "", time.Time{}
	switch {
	case r.Identity.Stale:
		a.retry(IdentityCheck, a.Now, false, false)
	case w.IdentityChecks > 0:
		a.stale()
		a.retry(IdentityCheck, a.Now.Add(identitySecond), false, true)
	case r.State == Synchronized && !r.Reached(w.WantRev):
		a.retry(MissedRev, a.Now.Add(a.Backoff(2*MissedGrace, brokenMost, a.was().Attempts)), false, true)
	case r.State == Synchronized && r.Proof == ProofClaim:
		a.retry(Prove, a.Now.Add(a.proofDelay()), false, true)
	default:
		r.Waiting = nil
	}
}

func (a *result) proofDelay() time.Duration {
	if a.was().Reason.New() {
		return a.Backoff(bulkProofPause, bulkProofPause, 0)
	}
	return proofPause
}

// New reports whether the repo is queued because it is new to the index.
func (r Reason) New() bool { return r == FirstSight || r == Backfill }

// MayAskForEarlierKeys reports whether the directory may be asked about a head that the
// present key has not signed: not in the retries that wait for a rotation to
// arrive, and not under an old document, since such a head counts only at the host that
// the document names.
func (a *Attempt) MayAskForEarlierKeys() bool {
	n := a.Repo.Waiting.Attempts
	return (n <= 1 || n >= rotationRetries) && a.At.Sub(a.Repo.Identity.FetchedAt) <= identityFresh
}
