package repostate

import "railyard/internal/refusal"

// Decide returns what becomes of a repo when a fact reaches it. It changes nothing:
// the repo of the decision is another value.
func Decide(r *Repo, f Fact, env Env) Decision {
	d := Decision{Repo: r.clone()}
	d.Outcome = f.decide(&machine{Env: env, r: d.Repo, d: &d})
	return d
}

// decide judges a #commit or a #sync.
func (e Signed) decide(m *machine) Outcome {
	r := m.r
	switch {
	case r.Identity == nil:
		return m.firstSight()
	case r.Head != nil && e.Rev < r.Head.Rev:
		return Stale // before all else: a replay may carry an earlier key's commits
	case e.ForeignPDS != "" && e.ForeignPDS != r.Identity.Host:
		return m.wrongHost()
	case e.Key != r.Identity.Key && r.InService(): // the repo may have missed it
		m.desynchronize(Unprovable)
		return Broken
	case e.Key != r.Identity.Key:
		return Waits
	case e.Refusal != nil:
		m.refused(e)
		return Refused
	case !r.Active:
		m.commitOfInactive(e)
		return Hidden
	case r.State == Synchronized:
		return m.follow(e)
	case r.State == Resyncing:
		return m.buffer(e)
	}
	// The repo is wrong or unproven and a fetch is queued. The rev is kept, so that an
	// older answer of the host is known to be stale.
	m.saw(e.Commit.Head.Rev)
	if e.Sync {
		m.enqueue(SyncEvent, m.Now)
		return Waits
	}
	return m.firstSight()
}

// firstSight queues a repo of which nothing is known, or whose attempt is put off
// although it is alive. Anybody can invent DIDs, so those that an upstream brings wait
// for their turn among themselves, and only so many; a crawl of its listing finds the
// others. Who has told of a DID first does not matter: another upstream may be faster.
func (m *machine) firstSight() Outcome {
	if m.asked() && !m.inLineOfAnother() {
		return Waits
	}
	at := m.Now
	if m.r.Identity == nil {
		wait, ok := m.Budget.Sight()
		switch {
		case !ok && m.r.ID == 0:
			return Unseen
		case !ok:
			return Waits
		case m.inLineOfAnother():
			m.r.FoundHostID = 0
		case m.r.ID == 0, m.r.FoundHostID != 0:
			m.r.FoundHostID = -m.Upstream
		}
		at = at.Add(wait)
	}
	m.enqueue(FirstSight, at)
	return Waits
}

// inLineOfAnother reports whether the repo waits for its first look-up because of the
// unknown DIDs that another upstream has brought.
func (m *machine) inLineOfAnother() bool {
	r, w := m.r, m.r.Waiting
	return r.FoundHostID < 0 && r.FoundHostID != -m.Upstream && w != nil && w.Attempts == 0 && w.NotBefore.After(m.Now)
}

// wrongHost: a PDS speaks for an account that the document says is another's.
func (m *machine) wrongHost() Outcome {
	m.refuse(refusal.WrongHost, "the document names %s", m.r.Identity.Host)
	m.doubtIdentity(identityMinAge)
	return Refused
}

// refused handles what could not be proven. Before the signature nothing is known to
// be true and nothing changes, but a failed signature can mean a new key, and there may
// be a good commit behind what could not be read: the host is asked, after a while.
// After the signature the commit was real: our state no longer is.
func (m *machine) refused(e Signed) {
	r, reason := m.r, e.Refusal.Reason
	m.d.Refusals = append(m.d.Refusals, e.Refusal)
	switch {
	case reason == refusal.BadSignature:
		// A host may go on signing with an earlier key of the DID. Such commits are not
		// taken from a stream, but the named host is asked for its head.
		if r.OldKeysCount() && m.Budget.Desync() {
			m.expect(e.Rev)
		}
		m.doubtIdentity(identityMinAge)
	case reason == refusal.Internal:
		m.expect(e.Rev)
	case !reason.AfterSignature() && r.Head != nil && e.Rev != 0 && e.Rev <= r.Head.Rev:
		// a broken copy of what we have, most likely
	case !reason.AfterSignature():
		m.unread()
	case r.Head != nil && e.Commit.Head.CID == r.Head.CID:
	default:
		rev := e.Commit.Head.Rev
		m.saw(rev)
		if !m.Budget.Desync() {
			m.expect(rev)
		} else if r.Active && r.InService() {
			m.desynchronize(Unprovable)
		}
	}
}

// unread: perhaps there is a commit that we lack. What its rev is nobody knows, and what
// is fetched before then, for another reason, has it.
func (m *machine) unread() {
	if m.r.InService() && m.Budget.Desync() {
		m.expect(m.r.Floor() + 1)
	}
}

// decide counts a message that could not be read. Whatever it was about, the host knows.
func (u Unread) decide(m *machine) Outcome {
	m.d.Refusals = append(m.d.Refusals, u.Refusal)
	if m.r.Identity != nil && (u.PDS == "" || u.PDS == m.r.Identity.Host) {
		m.unread()
	}
	return Refused
}

// commitOfInactive: a host does not commit for an inactive account, so what we hold of
// its status may be old. The host is asked, now and then.
func (m *machine) commitOfInactive(e Signed) {
	m.saw(e.Commit.Head.Rev)
	if w := m.r.Waiting; w == nil || w.Later() {
		m.enqueue(StatusCheck, latest(m.Now, m.r.Identity.StatusAskedAt.Add(statusPause)))
	}
}

// follow is the chain check: the commit starts from the data that we hold and is
// newer. Otherwise it is a repetition, or our copy is no longer the repo.
func (m *machine) follow(e Signed) Outcome {
	r, head := m.r, e.Commit.Head
	prev := e.Commit.Prev
	if e.Sync || head.Data == r.Head.Data {
		prev = head.Data // nothing but the rev changes
	}
	switch {
	case prev == r.Head.Data && head.Rev > r.Head.Rev:
		r.Head = &head
		m.d.Commits = []Commit{e.Commit}
		return Applied
	case head.Rev == r.Head.Rev && head.CID == r.Head.CID:
		return Stale
	case e.Sync:
		m.desynchronize(SyncEvent)
	default:
		m.desynchronize(Discontinuity)
	}
	m.saw(head.Rev)
	return Broken
}

// buffer keeps a proven commit of a repo that is being fetched. A #sync that repeats a
// buffered commit says nothing new (real hosts send one after an account's first
// commit); any other voids the fetch.
func (m *machine) buffer(e Signed) Outcome {
	if e.Sync && e.Buffer.Same {
		return Noted
	}
	m.saw(e.Commit.Head.Rev)
	switch {
	case e.Sync:
		m.desynchronize(SyncEvent)
	case e.Buffer.Same:
		return Kept
	case e.Buffer.Rev, e.Buffer.Len >= MaxBuffered:
		m.desynchronize(Discontinuity)
	default:
		m.d.Buffer = &e.Commit
		return Kept
	}
	return Broken
}

// decide: an applied commit shows a tree that our rows are not of.
func (Contradicted) decide(m *machine) Outcome {
	m.d.Disproved = m.r.Proof == ProofClaim
	m.desynchronize(Audit)
	return Broken
}

// decide: the repo is out of service until a fetch finds it smaller.
func (Outgrown) decide(m *machine) Outcome {
	m.refuse(refusal.RepoTooBig, "more than %d collections", refusal.MaxCollections)
	m.desynchronize(Unprovable)
	return Broken
}

// decide judges an #identity. Only a changed key or host will take the repo out of
// service. One of a DID whose document was never seen says that a look-up under way
// may bring an older one; it is no reason to begin one.
func (Announced) decide(m *machine) Outcome {
	if m.r.Identity == nil {
		if w := m.r.Waiting; w != nil {
			w.IdentityChecks = identityChecks
		}
		return Noted
	}
	m.doubtIdentity(announcedMinAge)
	return Checked
}

// decide judges an #account. The host that the document names decides (spec: account).
// Of a DID whose document was never seen it says nothing: a repo is heard of by its
// first commit or #sync, or by a listing.
func (a Account) decide(m *machine) Outcome {
	switch {
	case m.r.Identity == nil:
		return Noted
	case a.PDS == "":
		return m.relayed(a)
	case a.PDS != m.r.Identity.Host:
		return m.wrongHost()
	case a.Active && m.r.Active && m.r.State != NotFound:
		return Noted
	case a.Active:
		m.show()
		m.enqueue(Reactivated, m.Now)
		return Checked
	}
	m.leave(a.Status, FromHost)
	if m.Now.Sub(m.r.Identity.FetchedAt) > identityMinAge {
		m.doubtIdentity(identityMinAge) // it may name another host by now
	}
	// What is being fetched is void, and the status is asked for. A row that only
	// waits keeps its pause: copies of one word are no reason to ask more often.
	if m.leased() {
		m.enqueue(StatusCheck, m.Now)
	}
	return Hidden
}

// relayed is the word of a relay. One that means inactive hides at once and the host
// is asked; until that has said so too, a relay may take it back. Other words only make
// us ask.
func (m *machine) relayed(a Account) Outcome {
	r, out, at := m.r, Checked, m.Now
	switch {
	case a.Active && r.Active && r.State == NotFound: // as of the host, which was asked lately perhaps
		at = latest(m.Now, r.Identity.StatusAskedAt.Add(statusPause))
	case a.Active && r.Active:
		return Noted
	case a.Active == r.Active && a.Status == r.Status && !m.leased():
		return Noted // else the question under way may have been answered before this
	case a.Active && r.StatusFrom == FromRelay:
		m.unhide() // the rows are what they were, and a fetch follows
	case r.Active && !a.Active && meansInactive(a.Status):
		m.hide(a.Status, FromRelay)
		out = Hidden
	}
	m.enqueue(StatusCheck, at)
	return out
}

// meansInactive: throttled and desynchronized speak of the relay itself. All else is a
// reason, known or not, or none is given (lexicon: subscribeRepos#account).
func meansInactive(status string) bool { return status != "throttled" && status != "desynchronized" }

// decide compares what is listed with what is known.
func (e Entry) decide(m *machine) Outcome {
	r := m.r
	switch {
	case r.ID == 0:
		if e.Candidate {
			r.FoundHostID = e.Host
		}
		m.enqueue(Backfill, m.Now)
		return Unchanged
	case r.Identity == nil && e.Candidate:
		return Unchanged // its document has not been seen yet
	case r.Identity == nil:
		r.FoundHostID = 0
	case e.Host != 0 && e.Host != r.Identity.HostID:
		m.foreign(e)
		return Unchanged
	case e.Host == 0 && r.State == Synchronized && e.Active == r.Active && e.Rev != 0 && e.Rev < r.Head.Rev:
		// The relay is behind our head. It may follow the host where the account lives
		// now, while we listen to the one that it has left.
		m.recheck(behindMinAge)
		return Unchanged
	}
	m.compare(e)
	return Unchanged
}

// foreign: a host lists a repo that is another host's by the document that we have. It
// has no say in it; but if it lists as active what is inactive here, or a rev that
// was not reached, the account may have moved there and its #identity was lost. (Hosts that
// an account has left list it as inactive, with an old rev.)
func (m *machine) foreign(e Entry) {
	r := m.r
	if r.Head != nil && e.Rev > r.Head.Rev || e.Active && (!r.Active || r.State == NotFound || !r.Reached(e.Rev)) {
		m.recheck(movedMinAge)
	}
}

func (m *machine) compare(e Entry) {
	r := m.r
	switch {
	case r.State == Candidate && r.Active && (r.Identity == nil || r.Identity.Stale):
		// Its first attempt is to come, perhaps not before the directory's log was read.
	case r.State == NotFound && e.Active:
		m.enqueue(Backfill, m.Now)
	case r.State == NotFound:
	case e.Active != r.Active:
		m.stale() // perhaps it is another host's word now
		m.enqueue(StatusCheck, m.Now)
	case r.InService() && (r.Head == nil || !r.Reached(e.Rev)) && e.Rev != r.HarmlessRev:
		// A fetch under way may have read an older tree; it stays good, and the rev is
		// looked for at its end.
		m.enqueueMissed(m.Now.Add(MissedGrace), e.Rev)
	}
}

// decide asks for the status of an account that a listing has left out. That is a doubt
// and no more: it waits behind all other work, and the repo stays in service.
func (u Unlisted) decide(m *machine) Outcome {
	if m.r.State == Synchronized && m.r.Active {
		m.enqueueAs(StatusCheck, PriorityBackground, u.At, 0)
	}
	return Unchanged
}

// decide has an old document looked up, unless the repo is queued anyhow.
func (a Aged) decide(m *machine) Outcome {
	if m.r.Waiting == nil && m.r.Identity != nil {
		m.refresh(a.At)
	}
	return Unchanged
}

// decide takes an operation for what it is: the answer to a look-up at its time. A
// change takes the repo out of service like that of a document that was looked up.
//
// A row that is parked back stays so: there may be later operations, and until the log
// was read to its end the identity is stale, for whoever needs it sooner.
func (o Operation) decide(m *machine) Outcome {
	known, parked := m.r.Identity, m.r.parked()
	switch {
	case o.Counts(m.r):
	case known == nil:
		return LoggedNothing
	case !o.At.After(known.FetchedAt) && (o.says(known) || known.FetchedAt.Sub(o.At) > clockSkew):
		return LoggedOlder
	default:
		m.stale()
		m.enqueue(IdentityCheck, m.Now)
		return LoggedDoubt
	}
	at := latest(o.At, o.AsOf)
	if at.After(m.Now) {
		at = m.Now
	}
	changed := m.adopt(*o.Identity, at)
	if parked || m.leased() && (changed || known == nil) {
		m.stale() // a look-up under way may end with an older document
	}
	switch {
	case known == nil && !parked:
		m.d.KeyChanged = true
		m.enqueue(Backfill, m.Now)
		return LoggedIdentity
	case known == nil, parked && changed:
		m.d.KeyChanged = true
		return LoggedIdentity
	case changed:
		m.moved()
		return LoggedMove
	}
	return LoggedSame
}

// says reports whether the operation says what is known.
func (o Operation) says(known *Identity) bool {
	return o.Identity != nil && o.Identity.Key == known.Key && o.Identity.Host == known.Host && o.Identity.Insecure == known.Insecure
}

// Counts reports whether the identity that the operation names becomes that of a repo.
// Only then is the row of its host needed.
func (o Operation) Counts(r *Repo) bool {
	switch {
	case o.Identity == nil:
		return false
	case r.Identity == nil:
		return r.parked() || !o.AsOf.IsZero()
	}
	return o.At.After(r.Identity.FetchedAt)
}

// decide chooses what an attempt does, from what is known of the repo. A repo that is
// fetched is resyncing from here on, unless it is in service. An identity that is
// looked up is stale no longer: what makes it stale from now on needs another look-up.
func (Lease) decide(m *machine) Outcome {
	r, w := m.r, m.r.Waiting
	w.Leased, w.Lease = true, w.Generation
	switch {
	case r.Identity == nil:
		m.d.Step = Resolve
	case r.Identity.Stale:
		m.d.Step, r.Identity.Stale = Resolve, false
	case !r.Active || w.AskStatus:
		m.d.Step = AskStatus
	case r.State != Synchronized:
		m.d.Step = Fetch
		m.moveTo(Resyncing)
	case w.Said == NoSuchRepo:
		m.d.Step = AskStatus // in service, but its host said that it has no such repo
	case !r.Reached(w.WantRev), r.Proof == ProofClaim && !m.NoProofs:
		m.d.Step = Fetch
	}
	return Unchanged
}

// decide releases a row whose worker has died: its attempt, perhaps the look-up of
// the document, is lost.
func (Lost) decide(m *machine) Outcome {
	m.stale()
	m.release(m.Now)
	return Cancelled
}
