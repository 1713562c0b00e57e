package api

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// The lexicons' bounds of listRepos and listHosts.
const (
	lexiconMost     = 1000
	reposStandard   = 500
	hostsStandard   = 200
	desynchronized  = "desynchronized"
	cursorsOfRepos  = "r"
	cursorsOfHosts  = "h"
	hostIsActive    = "active"
	hostIsOffline   = "offline"
	hostIsThrottled = "throttled"
)

// The words that the lexicons know: of an account's status, and of a host's.
var (
	accountWords = []string{"takendown", "suspended", "deleted", "deactivated", desynchronized, "throttled"}
	hostWords    = []string{hostIsActive, "idle", hostIsOffline, hostIsThrottled, "banned"}
)

type knownRepos struct {
	Repos  []knownRepo `json:"repos" doc:"In the order in which the index met them."`
	Cursor string      `json:"cursor,omitempty" doc:"Of the next page; none on an empty page."`
}

type knownRepo struct {
	DID    string `json:"did" format:"did" doc:"Whose repo it is."`
	Head   string `json:"head" format:"cid" doc:"The last verified commit."`
	Rev    string `json:"rev" format:"tid" doc:"Of that commit."`
	Active bool   `json:"active" doc:"Whether the account is active and its host has the repo."`
	Status string `json:"status,omitempty" doc:"Why it is not, if the lexicon has a word for that; desynchronized with active true: the index is about to fetch the repo anew."`
}

type repoStatus struct {
	DID    string `json:"did" format:"did" doc:"Whose repo it is."`
	Active bool   `json:"active" doc:"Whether the account is active and its host has the repo."`
	Status string `json:"status,omitempty" doc:"As in listRepos."`
	Rev    string `json:"rev,omitempty" format:"tid" doc:"Of the last verified commit, if the account is active."`
}

type latestCommit struct {
	CID string `json:"cid" format:"cid" doc:"The last verified commit."`
	Rev string `json:"rev" format:"tid" doc:"Its rev."`
}

type knownHosts struct {
	Hosts  []knownHost `json:"hosts" doc:"In the order in which the index met them."`
	Cursor string      `json:"cursor,omitempty" doc:"Of the next page; none on an empty page."`
}

type knownHost struct {
	Hostname     string `json:"hostname" doc:"Without a scheme."`
	AccountCount int64  `json:"accountCount" doc:"DIDs whose document names the host, active or not."`
	Status       string `json:"status,omitempty" doc:"What the index has met: active, offline, or throttled while it leaves the host alone. A host that it has not asked yet has the word of a relay, if there is one."`
}

// syncRoutes are the queries of com.atproto.sync about repos and hosts, by the
// lexicons. Named errors have the statuses that Bluesky's relay gives them.
func (s *server) syncRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/xrpc/com.atproto.sync.listRepos",
			summary: "Every repo whose head is known, with rev and hosting status.",
			detail: "In the order in which the index met the repos: those of which a first proof comes during a walk may be missed by it, " +
				"and a kept cursor does not bring newcomers. Inactive accounts have active false, and so have repos that their host has lost. " +
				"Repos that were never proven and those of deleted accounts are left out.",
			params: []param{limitParam(reposStandard, lexiconMost), cursorParam},
			output: knownRepos{}, rows: pageRows, handle: s.listRepos,
		},
		{
			method: http.MethodGet, path: "/xrpc/com.atproto.sync.getRepoStatus",
			summary: "The hosting status of a repo, and its rev.",
			params:  []param{didParam}, output: repoStatus{},
			errors: []*Error{fail(http.StatusNotFound, "RepoNotFound", "The index has never heard of the DID.")},
			rows:   fewRows, handle: s.getRepoStatus,
		},
		{
			method: http.MethodGet, path: "/xrpc/com.atproto.sync.getLatestCommit",
			summary: "The last verified commit of a repo.",
			params:  []param{didParam}, output: latestCommit{},
			errors: []*Error{
				fail(http.StatusNotFound, "RepoNotFound", "The head is not known, the host has no such repo, "+
					"or the account is inactive for a reason for which the lexicon has no name."),
				fail(http.StatusForbidden, "RepoTakendown", "The account is taken down."),
				fail(http.StatusForbidden, "RepoSuspended", "The account is suspended."),
				fail(http.StatusForbidden, "RepoDeactivated", "The account is deactivated."),
			},
			rows: fewRows, handle: s.getLatestCommit,
		},
		{
			method: http.MethodGet, path: "/xrpc/com.atproto.sync.listHosts",
			summary: "The PDSes that the index knows, with the number of accounts of each.",
			detail: "DID documents have named them, a relay has listed them, or they have asked to be crawled. Newcomers come last, " +
				"so a kept cursor brings them alone. They have no seq: their own streams are not followed.",
			params: []param{limitParam(hostsStandard, lexiconMost), cursorParam},
			output: knownHosts{}, rows: pageRows, handle: s.listHosts,
		},
		{
			method: http.MethodGet, path: "/xrpc/com.atproto.sync.getHostStatus",
			summary: "What the index knows of a PDS.",
			params:  []param{{name: "hostname", about: "Of the PDS, without a scheme.", schema: ofText, required: true}},
			output:  knownHost{},
			errors:  []*Error{fail(http.StatusNotFound, "HostNotFound", "The index does not know that host.")},
			rows:    fewRows, handle: s.getHostStatus,
		},
	}
}

func (s *server) listRepos(r *http.Request) (any, error) {
	limit, after, err := s.pageOf(r, reposStandard, cursorsOfRepos)
	if err != nil {
		return nil, err
	}
	var list []store.KnownRepo
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		list, err = rx.KnownRepos(after, limit)
		return err
	})
	out := knownRepos{Repos: make([]knownRepo, len(list))}
	for i, k := range list {
		active, status := hosting(k.State, k.Active, k.Status)
		out.Repos[i] = knownRepo{DID: k.DID, Head: k.CID.String(), Rev: k.Rev.String(), Active: active, Status: status}
		out.Cursor = s.rowCursor(cursorsOfRepos, k.ID)
	}
	return out, err
}

func (s *server) getRepoStatus(r *http.Request) (any, error) {
	repo, err := s.repoAsked(r)
	if err != nil {
		return nil, err
	}
	out := repoStatus{DID: repo.DID}
	out.Active, out.Status = hosting(repo.State, repo.Active, repo.Status)
	if out.Active && repo.Head != nil {
		out.Rev = repo.Head.Rev.String()
	}
	return out, nil
}

func (s *server) getLatestCommit(r *http.Request) (any, error) {
	repo, err := s.repoAsked(r)
	if err != nil {
		return nil, err
	}
	active, status := hosting(repo.State, repo.Active, repo.Status)
	switch {
	case status == "takendown":
		return nil, fail(http.StatusForbidden, "RepoTakendown", "did %q: the account is taken down", repo.DID)
	case status == "suspended":
		return nil, fail(http.StatusForbidden, "RepoSuspended", "did %q: the account is suspended", repo.DID)
	case status == "deactivated":
		return nil, fail(http.StatusForbidden, "RepoDeactivated", "did %q: the account is deactivated", repo.DID)
	case !active:
		return nil, fail(http.StatusNotFound, "RepoNotFound", "did %q: its host does not serve the repo", repo.DID)
	case repo.Head == nil:
		return nil, fail(http.StatusNotFound, "RepoNotFound", "did %q: no commit of it was verified yet", repo.DID)
	}
	return latestCommit{CID: repo.Head.CID.String(), Rev: repo.Head.Rev.String()}, nil
}

// repoAsked returns the repo that a request names by its DID.
func (s *server) repoAsked(r *http.Request) (repo *repostate.Repo, err error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	did, err := didIn(params)
	if err != nil {
		return nil, err
	}
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		repo, err = rx.RepoByDID(did)
		return err
	})
	if err == nil && repo == nil {
		err = neverHeard(did)
	}
	return repo, err
}

// hosting returns an account's hosting status in the words of the lexicons. What its
// host has lost is not active, and nothing is said of why; a repo whose collections
// are not known for sure is active, and desynchronized at this service (spec: account).
func hosting(state repostate.State, active bool, word string) (bool, string) {
	switch {
	case !active && slices.Contains(accountWords, word):
		return false, word
	case !active, state == repostate.NotFound:
		return false, ""
	case state != repostate.Synchronized:
		return true, desynchronized
	}
	return true, ""
}

func (s *server) listHosts(r *http.Request) (any, error) {
	limit, after, err := s.pageOf(r, hostsStandard, cursorsOfHosts)
	if err != nil {
		return nil, err
	}
	var list []store.Host
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		list, err = rx.HostsAfter(after, limit)
		return err
	})
	out := knownHosts{Hosts: make([]knownHost, len(list))}
	for i, h := range list {
		out.Hosts[i] = hostAnswer(h)
		out.Cursor = s.rowCursor(cursorsOfHosts, h.ID)
	}
	return out, err
}

func (s *server) getHostStatus(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	text, err := single(params, "hostname")
	if err != nil {
		return nil, err
	}
	name, err := s.Hosts.Name(text)
	if err != nil {
		return nil, badRequest("hostname %q: %v", atproto.Clip(text), err)
	}
	var host *store.Host
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		host, err = rx.HostNamed(name)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case host == nil:
		return nil, fail(http.StatusNotFound, "HostNotFound", "hostname %q: this index does not know it", atproto.Clip(name))
	}
	return hostAnswer(*host), nil
}

// hostAnswer says of a host what was met there, and of one that was never asked what a
// relay says.
func hostAnswer(h store.Host) knownHost {
	out := knownHost{Hostname: h.Name, AccountCount: h.Accounts}
	switch {
	case h.Offline:
		out.Status = hostIsOffline
	case h.CooldownUntil.After(time.Now()):
		out.Status = hostIsThrottled
	case h.Answers > 0:
		out.Status = hostIsActive
	case slices.Contains(hostWords, h.ListedStatus):
		out.Status = h.ListedStatus
	}
	return out
}

// pageOf reads the limit of a page and the row that it goes on after.
func (s *server) pageOf(r *http.Request, standard int, kind string) (limit int, after int64, err error) {
	params, err := paramsOf(r)
	if err != nil {
		return 0, 0, err
	}
	if limit, err = limitWithin(params, standard, lexiconMost); err != nil {
		return 0, 0, err
	}
	after, err = s.rowAfter(params, kind)
	return limit, after, err
}

// ofRows is a cursor of listRepos or listHosts: "<index id>.<what it counts><row id>".
// The letter tells them from each other and from those of listReposByCollection, whose
// numbers mean something else.
var ofRows = regexp.MustCompile(`^([a-z2-7]{13})\.([a-z])([0-9]{1,19})$`)

func (s *server) rowCursor(kind string, id int64) string {
	return s.Store.IndexID() + "." + kind + strconv.FormatInt(id, 10)
}

// rowAfter returns the row to go on after. A cursor of another index begins anew; other
// text is refused.
func (s *server) rowAfter(params url.Values, kind string) (int64, error) {
	text, err := single(params, "cursor")
	if err != nil || text == "" {
		return 0, err
	}
	if m := ofRows.FindStringSubmatch(text); m != nil && m[2] == kind {
		if m[1] != s.Store.IndexID() {
			s.Metrics.ForeignCursor()
			return 0, nil
		}
		if id, err := strconv.ParseInt(m[3], 10, 64); err == nil {
			return id, nil
		}
	}
	return 0, badRequest("cursor %q: not one of this method", atproto.Clip(text))
}
