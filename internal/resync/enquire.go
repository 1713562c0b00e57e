package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/refusal"
	"railyard/internal/repo"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// enquire asks the host by its other methods about an account, where its answer means
// nothing or needs another one: a method that it does not have, a page of a proxy, an
// error in words of its own, a word of getRepoStatus that getRepo may not bear out. It
// returns the result that the attempt has then:
//
//   - By another method it says what is known: that.
//   - It serves the repo: the account is active.
//   - It refuses the account by getRepoStatus and getRepo, and goes on refusing while it
//     serves others; or its listing, which is read to the end, leaves the account out: it
//     has no such repo (absent). That is one word, believed when it was said again.
//   - It serves nobody: the host fails (result.nobody).
//   - Else the first answer stands, and the host is not to blame (result.answered).
func (rs *Resyncer) enquire(ctx context.Context, a *attempt, first result) result {
	if !doubtful(a, first) {
		return first
	}
	e := &enquiry{rs: rs, a: a, first: first}
	if first.err != nil {
		e.refused(first.err)
	}
	res, err := e.ask(ctx)
	switch {
	case err != nil && (isWord(err) || ends(err) || unclear(first.err)):
		return result{err: err, observed: first.observed}
	case err != nil: // of a request beside one that was answered in known words
		return first
	case res.err != nil || res.status != nil:
		res.observed = first.observed
		return res
	}
	first.answered, first.nobody = res.answered, res.nobody && unclear(first.err)
	return first
}

// doubtful reports whether the answer to an attempt is no answer, or one that getRepo has
// to bear out: that there is no such repo, which other software says of what it serves,
// and that an account is active which a whole listing has left out.
func doubtful(a *attempt, first result) bool {
	switch {
	case a.Step == repostate.Fetch:
		return unclear(first.err) && !young(first.err)
	case first.err == nil:
		w := a.Repo.Waiting
		return first.status.Active && w.Priority == repostate.PriorityBackground && (w.Reason == repostate.StatusCheck || w.Said == repostate.NoSuchRepo)
	}
	return unclear(first.err) || deniesRepo(first.err)
}

// deniesRepo reports whether a host says in known words that it has no such repo.
func deniesRepo(err error) bool {
	e, said := errors.AsType[*pds.Error](err)
	return said && e.Outcome == pds.NotFound
}

// isWord reports whether an answer says in known words what the account is.
func isWord(err error) bool {
	e, said := errors.AsType[*pds.Error](err)
	return deniesRepo(err) || said && e.Outcome.Gone()
}

// unclear reports whether a server has answered, and the answer says nothing of the
// account that was asked for.
func unclear(err error) bool {
	if e, ok := errors.AsType[*pds.Error](err); ok {
		return e.Unclear()
	}
	switch reason, _ := refusal.ReasonOf(err); reason {
	case refusal.AnswerInvalid, refusal.BadCAR, refusal.BadCommit:
		return true
	}
	return false
}

// absent is the error of an account that its host has not, as far as its answers show.
type absent struct{ said string }

func (e *absent) Error() string { return "its host has no such repo: " + e.said }

const (
	// maxSaid bounds what is kept of each refusal.
	maxSaid = 120
	// neighbours is how many accounts are compared with, comparisons how often one of
	// them must be served and then the account refused once more: a host that fails now
	// and then fails for all of them.
	neighbours  = 3
	comparisons = 2
	// maxListed and maxPages bound what is read of a listing.
	maxListed = 1000
	maxPages  = 3
)

// ends reports whether an error forbids to ask the host for anything more now.
func ends(err error) bool {
	_, off := errors.AsType[*putOff](err)
	e, said := errors.AsType[*pds.Error](err)
	return off || said && e.Outcome == pds.RateLimited || errors.Is(err, context.Canceled) || outbound.Short(err)
}

// enquiry is what was asked about one account, and what was said. The errors of its
// methods end it: the network's, a refusal by rate, a word that is known.
type enquiry struct {
	rs    *Resyncer
	a     *attempt
	first result
	said  []string // of the account, without a meaning
}

func (e *enquiry) did() string  { return e.a.Repo.DID }
func (e *enquiry) base() string { return e.a.Repo.Identity.URL() }

// refused notes an answer that means nothing.
func (e *enquiry) refused(err error) {
	said := err.Error()
	if p, ok := errors.AsType[*pds.Error](err); ok {
		said = strings.TrimSpace(fmt.Sprintf("%s %d %s", p.Method[strings.LastIndexByte(p.Method, '.')+1:], p.Status, p.Name))
	}
	if said = atproto.ClipTo(said, maxSaid); !slices.Contains(e.said, said) {
		e.said = append(e.said, said)
	}
}

// ask returns what the host says otherwise, nothing if its first answer stands.
func (e *enquiry) ask(ctx context.Context) (result, error) {
	active := false
	if e.a.Step == repostate.Fetch {
		st, err := e.status(ctx)
		switch {
		case err != nil:
			return result{}, err
		case st != nil && !st.Active:
			return result{status: st}, nil
		case st != nil:
			active = true
		}
	}
	served, err := e.servesIt(ctx)
	switch {
	case err != nil:
		return result{}, err
	case served && e.a.Step == repostate.AskStatus:
		return result{status: &pds.AccountStatus{Active: true}}, nil
	case served:
		return result{answered: true}, nil
	case deniesRepo(e.first.err):
		return result{}, nil
	}
	res, err := e.compare(ctx)
	if active && res.err != nil && e.a.Repo.Waiting.Said != repostate.NoSuchRepo { // one method has it, another has not
		res.err = nil
	}
	return res, err
}

// servesIt asks for the repo, unless that is what was answered first.
func (e *enquiry) servesIt(ctx context.Context) (bool, error) {
	if p, ok := errors.AsType[*pds.Error](e.first.err); ok && strings.HasSuffix(p.Method, ".getRepo") {
		return false, nil
	}
	return e.serves(ctx, e.did())
}

// compare looks whether the host serves others while it refuses the account: those that
// are in service, which may all have left with it, and those that it lists.
func (e *enquiry) compare(ctx context.Context) (result, error) {
	others, err := e.inService(ctx)
	if err != nil {
		return result{}, err
	}
	res, err := e.refusedBeside(ctx, others)
	if err != nil || !res.nobody {
		return res, err
	}
	others, res, err = e.listed(ctx)
	if err != nil || len(others) == 0 {
		return res, err
	}
	return e.refusedBeside(ctx, others)
}

// refusedBeside asks for other accounts, and each time that one is served for this one.
func (e *enquiry) refusedBeside(ctx context.Context, others []string) (result, error) {
	times := 0
	for _, other := range others {
		for times < comparisons {
			served, err := e.serves(ctx, other)
			if err != nil {
				return result{}, err
			}
			if !served {
				break
			}
			times++
			if served, err = e.serves(ctx, e.did()); err != nil || served {
				return result{answered: true}, err
			}
		}
	}
	if times < comparisons {
		return result{answered: times > 0, nobody: times == 0}, nil
	}
	return e.gone("others are served"), nil
}

// listed reads the host's listing as far as its first active accounts. If it has no
// others, the listing itself says what is to be said of this one.
func (e *enquiry) listed(ctx context.Context) (others []string, res result, err error) {
	cursor, complete := "", true
	for range maxPages {
		if err := e.a.pace(ctx); err != nil {
			return nil, res, err
		}
		page, err := e.rs.cfg.Hosts.ListRepos(ctx, e.base(), cursor, maxListed)
		if err != nil {
			if res.nobody = !res.answered; unclear(err) {
				err = nil
			}
			return nil, res, err
		}
		res.answered, complete = true, complete && len(page.Refused) == 0
		for _, r := range page.Repos {
			switch {
			case r.DID == e.did() && r.Active:
				complete = false
			case r.DID == e.did():
				return nil, result{status: &pds.AccountStatus{Status: r.Status}}, nil
			case r.Active && len(others) < neighbours:
				others = append(others, r.DID)
			}
		}
		if page.Cursor == "" && len(others) == 0 && complete {
			return nil, e.gone("its listing leaves it out"), nil
		}
		if page.Cursor == "" || len(others) > 0 {
			break
		}
		cursor = page.Cursor
	}
	return others, res, nil
}

func (e *enquiry) gone(beside string) result {
	return result{err: &absent{strings.Join(append(e.said, beside), ", ")}, answered: true}
}

// status asks for the account's status, nil if the answer means nothing.
func (e *enquiry) status(ctx context.Context) (*pds.AccountStatus, error) {
	if err := e.a.pace(ctx); err != nil {
		return nil, err
	}
	st, err := e.rs.cfg.Hosts.GetRepoStatus(ctx, e.base(), e.did())
	if unclear(err) {
		e.refused(err)
		return nil, nil
	}
	return &st, err
}

// serves reports whether the host serves a repo, as far as the header of its archive
// shows. What it says of another account is no word for this one.
func (e *enquiry) serves(ctx context.Context, did string) (bool, error) {
	if err := e.a.pace(ctx); err != nil {
		return false, err
	}
	body, err := e.rs.cfg.Hosts.GetRepo(ctx, e.base(), did)
	if err == nil {
		_, err = repo.ReadRoot(body)
		_ = body.Close()
	}
	switch {
	case err == nil:
		return true, nil
	case did != e.did() && !ends(err): // whatever is the matter with that one
		return false, nil
	case !unclear(err):
		return false, err
	}
	e.refused(err)
	return false, nil
}

// inService returns accounts of the host that are in service.
func (e *enquiry) inService(ctx context.Context) (dids []string, err error) {
	err = e.rs.cfg.Store.OwnView(ctx, func(rx *store.Rx) error {
		dids, err = rx.Neighbours(e.a.Repo, neighbours)
		return err
	})
	return dids, err
}
