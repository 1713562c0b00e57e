package ingest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"railyard/internal/event"
	"railyard/internal/firehose"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// judge makes a fact of one event, has it decided (package repostate), and applies the
// decision.
func (b *batch) judge(s *slot) (repostate.Outcome, error) {
	if s.fault != nil {
		return repostate.Refused, s.fault
	}
	if err := b.notice(s); err != nil {
		return repostate.Refused, err
	}
	switch unread := s.frame.Refusal != nil; {
	case unread && s.frame.DID == "":
		b.refuse(s, s.frame.Refusal.Reason, s.frame.Refusal.Detail)
		return repostate.Refused, nil
	case s.kind == otherEvent && !unread:
		return repostate.Noted, nil // info, an unknown type
	}
	r, err := b.tx.RepoOrNew(s.frame.DID)
	if err != nil {
		return repostate.Refused, err
	}
	f, err := b.fact(s, r)
	if err != nil {
		return repostate.Refused, err
	}
	births := b.births
	d, err := b.decide(s, r, f)
	if f, signed := f.(repostate.Signed); signed && r.Identity != nil && r.Identity.Key != f.Key &&
		d.Outcome != repostate.Stale && d.Outcome != repostate.Refused {
		b.in.keys.forget(r.DID) // the prover had another key than the file has now
	}
	if err == nil && d.Outcome == repostate.Applied && s.kind == commitEvent {
		err = b.audit(s, d.Repo, b.births > births)
	}
	return d.Outcome, err
}

// fact is what an event says of a repo.
func (b *batch) fact(s *slot, r *repostate.Repo) (repostate.Fact, error) {
	pds := s.up.speaker(r.Identity)
	switch s.kind {
	case otherEvent:
		return repostate.Unread{Refusal: s.frame.Refusal, PDS: pds}, nil
	case identityEvent:
		return repostate.Announced{}, nil
	case accountEvent:
		a := s.frame.Event.(*event.Account)
		return repostate.Account{Active: a.Active, Status: a.Status, PDS: pds}, nil
	}
	f := repostate.Signed{
		Sync: s.kind == syncEvent, Rev: s.rev, Key: s.key, Refusal: s.refusal, ForeignPDS: pds,
		Commit: repostate.Commit{
			Prev: s.proof.Prev, Head: repostate.Head{Rev: s.proof.Rev, Data: s.proof.Data, CID: s.proof.Commit},
			Present: s.proof.Present, Died: s.proof.Died,
		},
	}
	if r.State != repostate.Resyncing {
		return f, nil
	}
	var err error
	f.Buffer, err = b.tx.BufferAt(r, f.Commit.Head)
	return f, err
}

// decide has a fact decided and applies the decision.
func (b *batch) decide(s *slot, r *repostate.Repo, f repostate.Fact) (repostate.Decision, error) {
	left := b.in.limits.of(s.up.id, r, b.tx.Now())
	if r.ID == 0 {
		var err error
		if left.room, err = b.room(s.up.id); err != nil {
			return repostate.Decision{}, err
		}
	}
	env := b.tx.Env()
	env.Upstream, env.Budget = s.up.id, left
	d := repostate.Decide(r, f, env)
	for _, e := range d.Refusals {
		b.refuse(s, e.Reason, e.Detail)
	}
	c, err := b.tx.Apply(r, d)
	b.births += c.CommitBirths
	b.deaths += c.CommitDeaths
	return d, err
}

// room returns how many unknown DIDs more an upstream may bring, as counted by the
// first event of the batch.
func (b *batch) room(upstream int64) (*int64, error) {
	if room := b.rooms[upstream]; room != nil {
		return room, nil
	}
	n, err := b.tx.SightsLeft(upstream)
	if err != nil {
		return nil, err
	}
	if b.rooms == nil {
		b.rooms = make(map[int64]*int64)
	}
	b.rooms[upstream] = &n
	return &n, nil
}

// auditedRows is how many rows of a repo an audit reads. Nearly all repos have fewer.
const auditedRows = 128

// audit compares a repo's rows with what an applied commit shows of the whole tree: the
// nodes that it carries hold some forty keys, of other collections too. A collection
// that is seen and has no row, or one that has a row and cannot be where it would have
// to be, proves a row wrong; the repo is then fetched. It costs no request, so every
// commit is an audit of the index.
//
// What it costs does not grow with the repo: of a large one it looks some of the
// collections up that are seen, and reads some of the rows, other ones for each rev.
func (b *batch) audit(s *slot, r *repostate.Repo, grown bool) error {
	if b.in.cfg.NoAudit {
		return nil
	}
	set, err := b.tx.SomeOfSet(r, 0, auditedRows+1)
	if err != nil {
		return err
	}
	if len(set) <= auditedRows {
		return b.audited(s, r, s.proof.Shown.Contradicts(set, true))
	}
	if grown {
		n, err := b.tx.SetSize(r, refusal.MaxCollections+1)
		if err != nil {
			return err
		}
		if n > refusal.MaxCollections {
			_, err := b.decide(s, r, repostate.Outgrown{})
			return err
		}
	}
	if set, err = b.tx.SomeOfSet(r, uint64(s.proof.Rev), auditedRows); err != nil {
		return err
	}
	wrong := s.proof.Shown.Contradicts(set, false)
	if wrong == "" {
		wrong, err = b.tx.Lacking(r, some(slices.Collect(s.proof.Shown.Names()), uint64(s.proof.Rev)))
	}
	if err != nil {
		return err
	}
	return b.audited(s, r, wrong)
}

// some returns auditedRows names of a list, other ones for each rev, or all of a shorter one.
func some(names []string, rev uint64) []string {
	if len(names) <= auditedRows {
		return names
	}
	at := rand.New(rand.NewPCG(rev, 0)).IntN(len(names))
	end := min(at+auditedRows, len(names))
	return append(names[at:end:end], names[:auditedRows-(end-at)]...)
}

// audited handles the result of an audit: a collection whose row is wrong, if there is one.
func (b *batch) audited(s *slot, r *repostate.Repo, wrong string) error {
	if wrong == "" {
		return nil
	}
	d, err := b.decide(s, r, repostate.Contradicted{})
	if err != nil {
		return err
	}
	did, rev := r.DID, s.proof.Rev
	b.tx.AfterCommit(func() {
		b.in.cfg.Metrics.AuditFailed()
		b.in.cfg.Log.Error("a row of the index is wrong; its repo is fetched", "did", did, "rev", rev, "collection", wrong, "claim", d.Disproved)
	})
	if d.Disproved {
		return b.tx.DistrustDescribe(r.Identity.HostID)
	}
	return nil
}

// missedNumbers is how many sequence numbers between our cursor and the first
// event of a connection count as lost events. Gaps are legal, but a relay that
// does not say that a cursor is too old shows it only by them.
const missedNumbers = 1000

// notice handles what the stream itself shows: events are lost, or the upstream
// was reset. A crawl of its listing then finds the repos that have moved on.
func (b *batch) notice(s *slot) error {
	switch s.notice {
	case firehose.None:
		if s.missed < missedNumbers {
			return nil
		}
		b.refuse(s, refusal.SequenceGap, fmt.Sprintf("the stream goes on %d numbers behind our cursor", s.missed))
	case firehose.Reset:
		b.refuse(s, refusal.SequenceReset, fmt.Sprintf("the stream began at %d, below our cursor", s.frame.Seq))
	case firehose.Gap:
		b.refuse(s, refusal.SequenceGap, "OutdatedCursor")
	case firehose.Future:
		b.refuse(s, refusal.SequenceFuture, "FutureCursor")
	case firehose.Skipped: // its frame carries the refusal
	}
	up, notice := s.up, s.notice
	b.tx.AfterCommit(func() {
		b.in.cfg.Log.Warn("events are lost; the upstream's repos are crawled", "upstream", up.base, "notice", notice, "missed", s.missed)
		b.in.wakeCrawl(up)
	})
	return b.tx.WantCrawl(store.CrawlID{Kind: store.OfUpstream, Server: up.id})
}
