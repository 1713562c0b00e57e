package simnet

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/gorilla/websocket"

	"railyard/internal/atproto"
)

// pdsRoutes answers as the reference PDS does: every refusal is 400, and only
// the error name distinguishes the cases.
func (n *Network) pdsRoutes(h *host) http.Handler {
	queries := methods{
		"com.atproto.repo.describeRepo":     h.describeRepo,
		"com.atproto.server.describeServer": h.describeServer,
		"com.atproto.sync.getLatestCommit":  h.getLatestCommit,
		"com.atproto.sync.getRecord":        h.getRecord,
		"com.atproto.sync.getRepo":          h.getRepo,
		"com.atproto.sync.getRepoStatus":    h.getRepoStatus,
		"com.atproto.sync.listRepos":        h.listRepos,
		"_health":                           health,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/xrpc/")
		if !ok {
			http.NotFound(w, r)
			return
		}
		if name == "com.atproto.sync.subscribeRepos" && websocket.IsWebSocketUpgrade(r) {
			h.subscribe(w, r)
			return
		}
		query := queries[name]
		switch {
		case !isMethodName(name) && (query == nil || r.Method == http.MethodPost):
			refuse(w, &xrpcError{http.StatusBadRequest, "InvalidRequest", "invalid xrpc path"})
		case query == nil:
			refuse(w, &xrpcError{http.StatusBadRequest, "InvalidRequest", "No service configured for " + name})
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			refuse(w, &xrpcError{http.StatusBadRequest, "InvalidRequest", "Incorrect HTTP method (" + r.Method + ") expected GET"})
		default:
			answer(w, r, query, params{name, r.URL.Query(), pdsBad, matchesOf(r), archiveOf(r)})
		}
	})
}

// isMethodName reports whether the reference PDS takes a text for the name of a
// method: two or more letters and digits, single dots and hyphens between them.
func isMethodName(name string) bool {
	alone := true // a dot or a hyphen may not stand here
	for _, c := range []byte(name) {
		switch {
		case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			alone = false
		case c != '.' && c != '-' || alone:
			return false
		default:
			alone = true
		}
	}
	return !alone && len(name) >= 2
}

func health(params) (any, error) {
	return map[string]string{"version": "simnet"}, nil
}

func (h *host) describeServer(params) (any, error) {
	return struct {
		DID        string            `json:"did"`
		Domains    []string          `json:"availableUserDomains"`
		InviteCode bool              `json:"inviteCodeRequired"`
		BlobLimit  int               `json:"blobUploadLimit"`
		Links      map[string]string `json:"links"`
		Contact    map[string]string `json:"contact"`
	}{"did:web:" + strings.ReplaceAll(h.addr, ":", "%3A"), []string{".sim.test"}, false, 5 << 20, map[string]string{}, map[string]string{}}, nil
}

// own finds an account of this PDS that is not deleted. The caller holds the
// lock.
func (h *host) own(did string) (*account, error) {
	a := h.net.byDID[did]
	if left := h.former[did]; left != nil {
		a = left
	}
	switch {
	case a != nil && !a.deleted && a.pds == h:
		return a, nil
	case h.abilities.Gone != nil:
		return nil, h.abilities.Gone.about(did)
	}
	return nil, repoNotFound(did)
}

func repoNotFound(did string) error {
	return &xrpcError{http.StatusBadRequest, "RepoNotFound", "Could not find repo for DID: " + did}
}

// available finds an account of this PDS whose repo the public may read, by the
// DID or, in the words of a refusal, by what the client called it. The caller
// holds the lock.
func (h *host) available(did, called string, all matches) (*account, error) {
	a, err := h.own(did)
	if err != nil {
		return nil, err
	}
	if one := all.of(DeniesRepo); one != nil {
		one.count()
		return nil, repoNotFound(did)
	}
	switch status := a.status(); status {
	case "":
		return a, nil
	case "takendown":
		return nil, &xrpcError{http.StatusBadRequest, "RepoTakendown", "Repo has been takendown: " + called}
	case "suspended":
		return nil, &xrpcError{http.StatusBadRequest, "RepoSuspended", "Repo has been suspended: " + called}
	default:
		return nil, &xrpcError{http.StatusBadRequest, "RepoDeactivated", "Repo has been deactivated: " + called}
	}
}

// reading is the repo that a query asks for, as its host serves it.
type reading struct {
	*repo
	host     *host
	by       Abilities
	young    bool        // not served as a whole yet
	imported atproto.TID // rev of the import, 0 where it is that of the commit
	matches  matches
}

func (h *host) read(p params) (reading, error) {
	did, err := p.did()
	if err != nil {
		return reading{}, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	a, err := h.available(did, did, p.matches)
	if err != nil {
		return reading{}, err
	}
	a = h.lieAbout(a, p.matches)
	r := reading{repo: a.state(p.matches), host: h, by: h.abilities, young: h.abilities.tooYoung(a.created, time.Now()), matches: p.matches}
	if a.arrival != nil && r.repo == a.repo {
		r.imported = a.arrival.rev
	}
	if d := h.net.histories[did]; p.archive != nil {
		p.archive.of, p.archive.rev = d, r.rev
	} else {
		d.served(r.rev)
	}
	return r, nil
}

func (r reading) archive(blocks []block) car {
	if r.by.CommitFirst {
		blocks = commitFirst(blocks, r.cid)
	}
	return r.host.garble(encodeCAR(r.cid, r.host.spoil(blocks, r.matches)), r.matches)
}

func (h *host) getLatestCommit(p params) (any, error) {
	r, err := h.read(p)
	if err != nil {
		return nil, err
	}
	rev := r.rev
	if r.imported != 0 {
		rev = r.imported
	}
	return struct {
		CID string `json:"cid"`
		Rev string `json:"rev"`
	}{r.cid.String(), rev.String()}, nil
}

func (h *host) getRecord(p params) (any, error) {
	if _, err := p.did(); err != nil {
		return nil, err
	}
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	r, err := h.read(p)
	if err != nil {
		return nil, err
	}
	if _, found := r.find(path); !found && r.by.NoAbsentProofs {
		return nil, &xrpcError{http.StatusBadRequest, "RecordNotFound", "Could not locate record: at://" + p.values.Get("did") + "/" + path}
	}
	return r.archive(r.proofBlocks(path)), nil
}

func (h *host) getRepo(p params) (any, error) {
	since, err := p.since()
	if err != nil {
		return nil, err
	}
	r, err := h.read(p)
	if err != nil {
		return nil, err
	}
	if r.young {
		return nil, &xrpcError{http.StatusNotImplemented, "NotImplemented", "This repo is new, and not served as a whole yet"}
	}
	return r.archive(r.blocksSince(since)), nil
}

// repoStatus is the answer of getRepoStatus.
type repoStatus struct {
	DID    string `json:"did"`
	Active bool   `json:"active"`
	Status string `json:"status,omitempty"`
	Rev    string `json:"rev,omitempty"`
}

func (h *host) getRepoStatus(p params) (any, error) {
	did, err := p.did()
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if words := h.abilities.RepoStatus; words != nil {
		return nil, words.about(did)
	}
	a, err := h.own(did)
	if err != nil {
		return nil, err
	}
	s := repoStatus{DID: did, Active: a.active(), Status: a.status()}
	if s.Active {
		s.Rev = a.headRev().String()
	}
	return s, nil
}

// listedRepo is one entry of listRepos.
type listedRepo struct {
	DID    string `json:"did"`
	Head   string `json:"head"`
	Rev    string `json:"rev"`
	Active bool   `json:"active"`
	Status string `json:"status,omitempty"`
}

type repoPage struct {
	Cursor string       `json:"cursor,omitempty"`
	Repos  []listedRepo `json:"repos"`
}

func listed(a *account, r *repo) listedRepo {
	return listedRepo{a.did, r.cid.String(), r.rev.String(), a.active(), a.status()}
}

// listRepos lists by time of creation. Every page with an entry has a cursor,
// the last one too.
func (h *host) listRepos(p params) (any, error) {
	limit, err := p.limit(500)
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	at := 0
	if cursor := p.values.Get("cursor"); cursor != "" {
		if at, err = h.resume(cursor); err != nil {
			return nil, err
		}
	}
	page := repoPage{Repos: []listedRepo{}}
	for _, a := range h.accounts[at:min(at+limit, len(h.accounts))] {
		r := a.repo
		if a.arrival != nil {
			r = a.arrival.empty
		}
		page.Repos = append(page.Repos, listed(a, r))
		page.Cursor = fmt.Sprintf("%d::%s", a.created.UnixMilli(), a.did)
	}
	h.lieOnPage(&page, p.values.Get("cursor"), p.matches)
	return page, nil
}

// resume finds the place behind a cursor, milliseconds::did.
func (h *host) resume(cursor string) (int, error) {
	milli, did, _ := strings.Cut(cursor, "::")
	ms, err := strconv.ParseInt(milli, 10, 64)
	if did == "" || strings.Contains(did, "::") || err != nil {
		return 0, &xrpcError{http.StatusBadRequest, "InvalidRequest", "Malformed cursor"}
	}
	at, found := h.place(ms, did)
	if found {
		at++
	}
	return at, nil
}

// resolve turns the handle of an account of this PDS into its DID, and leaves
// all else as it is. The caller holds the lock.
func (h *host) resolve(who string) string {
	if strings.HasPrefix(who, "did:") {
		return who
	}
	for _, a := range h.accounts {
		if a.handle == who {
			return a.did
		}
	}
	return who
}

func (h *host) describeRepo(p params) (any, error) {
	who, err := p.required("repo")
	if err != nil {
		return nil, err
	}
	if _, err := syntax.ParseAtIdentifier(who); err != nil {
		return nil, p.bad(p.method, fmt.Sprintf("Invalid AT identifier (got %q)", who))
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	a, err := h.available(h.resolve(who), who, p.matches)
	if err != nil {
		return nil, err
	}
	collections := h.abilities.Collections
	if collections == nil {
		collections = describeAs(a.state(p.matches).collections(), p.matches)
	}
	return struct {
		Handle      string    `json:"handle"`
		DID         string    `json:"did"`
		Document    *document `json:"didDoc"`
		Collections []string  `json:"collections"`
		Correct     bool      `json:"handleIsCorrect"`
	}{a.handle, a.did, a.described(time.Now()).document(), collections, true}, nil
}
