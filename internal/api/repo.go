package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

type repoAnswer struct {
	DID         string             `json:"did" format:"did" doc:"Whose repo it is."`
	State       string             `json:"state" doc:"candidate, desynchronized, resyncing, synchronized or not_found."`
	Active      bool               `json:"active" doc:"Whether the account is active."`
	Status      *string            `json:"status" doc:"The word that explains an inactive account."`
	StatusFrom  *string            `json:"status_from" doc:"Whose word it is: host, relay or directory."`
	StatusSince *string            `json:"status_since" format:"date-time" doc:"Since when it is."`
	Visible     bool               `json:"visible" doc:"Whether the repo and its collections are listed."`
	Proof       *string            `json:"proof" doc:"How the collections were established: tree, probe, old-key or claim."`
	ProvenAt    *string            `json:"proven_at" format:"date-time" doc:"When they were."`
	Rev         *string            `json:"rev" format:"tid" doc:"Of the last verified commit."`
	Data        *string            `json:"data" format:"cid" doc:"The root of its tree."`
	Commit      *string            `json:"commit" format:"cid" doc:"The commit itself."`
	Host        *string            `json:"host" doc:"The PDS that the DID document names."`
	Error       *string            `json:"error" doc:"What the last attempt failed for."`
	ErrorAt     *string            `json:"error_at" format:"date-time" doc:"When it did."`
	Queue       *queueAnswer       `json:"queue" doc:"What the repo waits for."`
	Collections []membershipAnswer `json:"collections" doc:"Sorted by name."`
	Cursor      string             `json:"cursor,omitempty" doc:"Of the next page."`
}

type queueAnswer struct {
	Reason    string  `json:"reason" doc:"Why it waits."`
	Later     bool    `json:"later" doc:"Whether that is a second look, and what is listed is right meanwhile."`
	Working   bool    `json:"working" doc:"Whether a worker is at it."`
	Attempts  int     `json:"attempts" doc:"Failures in a row."`
	QueuedAt  *string `json:"queued_at" format:"date-time" doc:"Since when it waits."`
	DueAt     *string `json:"due_at" format:"date-time" doc:"When it may be tried."`
	Said      *string `json:"said" doc:"What a source says and is not believed on one word."`
	SaidTimes int     `json:"said_times" doc:"How often it was said."`
	SaidSince *string `json:"said_since" format:"date-time" doc:"Since when."`
}

type membershipAnswer struct {
	Collection string  `json:"collection" format:"nsid" doc:"Its name."`
	Visible    bool    `json:"visible" doc:"Whether the repo is listed under it."`
	Since      *string `json:"since" format:"date-time" doc:"Since when, to the minute."`
	Source     string  `json:"source" doc:"What brought it: commit or resync."`
}

// repoDetail is what one state of the file says of a repo.
type repoDetail struct {
	repo *repostate.Repo
	set  []store.Membership
	last int64
}

// repo answers /v1/repo: what the index knows of one DID. Values that are not
// known are null. Rows that are not listed are marked so. An account that is not
// active shows its status, and neither its head nor its collections; a repo that
// its host has no more shows no collections.
//
// A full page of collections carries a cursor. Each page is sorted by name; pages
// come in the order in which the index met the collections, so that none reads
// more than its limit.
func (s *server) repo(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	did, err := didIn(params)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	after, err := placeOf(params)
	if err != nil {
		return nil, err
	}
	var d repoDetail
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		d, err = detailOf(rx, did, after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	if d.repo == nil {
		return nil, neverHeard(did)
	}
	return answerOf(d, limit), nil
}

// didIn reads the DID of a repo.
func didIn(params url.Values) (string, error) {
	did, err := single(params, "did")
	if err != nil {
		return "", err
	}
	if _, err := atproto.ParseDID(did); err != nil {
		return "", badRequest("did %q: not a did:plc or did:web that can own a repo", atproto.Clip(did))
	}
	return did, nil
}

func neverHeard(did string) *Error {
	return fail(http.StatusNotFound, "RepoNotFound", "did %q: this index has never heard of it", atproto.Clip(did))
}

// placeOf reads the cursor of a repo's collections: a number.
func placeOf(params url.Values) (after int64, err error) {
	text, err := single(params, "cursor")
	if err != nil || text == "" {
		return 0, err
	}
	if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
		return 0, badRequest("cursor %q: not one of this service", atproto.Clip(text))
	}
	return after, nil
}

func detailOf(rx *store.Rx, did string, after int64, limit int) (d repoDetail, err error) {
	if d.repo, err = rx.RepoByDID(did); err != nil || d.repo == nil {
		return d, err
	}
	if !d.repo.Active || d.repo.State == repostate.NotFound {
		return d, nil
	}
	d.set, d.last, err = rx.Memberships(d.repo, after, limit)
	return d, err
}

func answerOf(d repoDetail, limit int) repoAnswer {
	r := d.repo
	out := repoAnswer{
		DID: r.DID, State: r.State.String(), Active: r.Active, Status: known(r.Status), StatusFrom: known(r.StatusFrom.String()),
		StatusSince: timeText(r.StatusAt), Error: known(r.Error), ErrorAt: timeText(r.ErrorAt), Visible: r.Seq > 0,
		Proof:       known(r.Proof.String()),
		Collections: make([]membershipAnswer, len(d.set)),
	}
	if r.Proof != 0 {
		out.ProvenAt = timeText(r.ProvenAt)
	}
	if r.Head != nil && r.Active {
		out.Rev, out.Data, out.Commit = known(r.Head.Rev.String()), known(r.Head.Data.String()), known(r.Head.CID.String())
	}
	if r.Identity != nil {
		out.Host = known(r.Identity.Host)
	}
	if w := r.Waiting; w != nil {
		out.Queue = &queueAnswer{
			Reason: w.Reason.String(), Later: w.Priority == repostate.PriorityBackground, Working: w.Leased, Attempts: w.Attempts,
			QueuedAt: timeText(w.QueuedAt), Said: known(w.Said.String()), SaidTimes: w.SaidTimes, SaidSince: timeText(w.SaidSince),
		}
		if !w.Parked {
			out.Queue.DueAt = timeText(w.NotBefore)
		}
	}
	for i, m := range d.set {
		out.Collections[i] = membershipAnswer{Collection: m.NSID, Visible: m.Visible, Since: timeText(m.Since), Source: m.Source}
	}
	slices.SortFunc(out.Collections, func(a, b membershipAnswer) int { return strings.Compare(a.Collection, b.Collection) })
	if len(d.set) == limit {
		out.Cursor = strconv.FormatInt(d.last, 10)
	}
	return out
}

// known is nil for the empty text, which stands for what is not known.
func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// timeText is RFC 3339 in UTC, nil for the zero time.
func timeText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return known(t.UTC().Format(time.RFC3339Nano))
}
