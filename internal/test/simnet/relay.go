package simnet

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"
)

// relayRoutes answers as indigo's relay does: statuses distinguish the cases, and
// repos are the PDS's affair.
func (n *Network) relayRoutes(h *host) http.Handler {
	queries := methods{
		"com.atproto.sync.getHostStatus":   h.relayHostStatus,
		"com.atproto.sync.getLatestCommit": h.relayLatestCommit,
		"com.atproto.sync.getRepo":         h.relayRepo,
		"com.atproto.sync.getRepoStatus":   h.relayRepoStatus,
		"com.atproto.sync.listHosts":       h.relayHosts,
		"com.atproto.sync.listRepos":       h.relayRepos,
		"_health":                          func(params) (any, error) { return map[string]string{"status": "ok"}, nil },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "simnet (atproto-relay)")
		name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/"), "xrpc/")
		if name == "com.atproto.sync.subscribeRepos" {
			if !websocket.IsWebSocketUpgrade(r) {
				w.Header().Set("Upgrade", "websocket")
				refuse(w, &xrpcError{http.StatusUpgradeRequired, "BadRequest", "wants a websocket"})
				return
			}
			h.relaySubscribe(w, r)
			return
		}
		query := queries[name]
		switch {
		case query == nil:
			refuse(w, &xrpcError{http.StatusNotFound, "NotFound", "Not Found"})
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			refuse(w, &xrpcError{http.StatusMethodNotAllowed, "MethodNotAllowed", "Method Not Allowed"})
		default:
			answer(w, r, query, params{name, r.URL.Query(), relayBad, matchesOf(r), archiveOf(r)})
		}
	})
}

// relaySubscribe refuses a cursor that is no number before the upgrade.
func (h *host) relaySubscribe(w http.ResponseWriter, r *http.Request) {
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		if _, err := strconv.ParseInt(cursor, 10, 64); err != nil {
			refuse(w, &xrpcError{http.StatusBadRequest, "BadRequest", "invalid cursor parameter"})
			return
		}
	}
	h.subscribe(w, r)
}

// hostStatus is one entry of listHosts, and the answer of getHostStatus.
type hostStatus struct {
	Hostname string `json:"hostname"`
	Seq      int64  `json:"seq"`
	Accounts int    `json:"accountCount"`
	Status   string `json:"status"`
}

func statusOf(pds *host) hostStatus {
	s := hostStatus{pds.addr, pds.stream.last, len(pds.accounts), "active"}
	if pds.away() {
		s.Status = "offline"
	}
	if pds.relayWord != "" {
		s.Status = pds.relayWord
	}
	return s
}

func (h *host) relayHosts(p params) (any, error) {
	limit, err := p.limit(200)
	if err != nil {
		return nil, err
	}
	at, err := p.number(len(h.net.pdses))
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	page := struct {
		Cursor string       `json:"cursor,omitempty"`
		Hosts  []hostStatus `json:"hosts"`
	}{Hosts: []hostStatus{}}
	for _, pds := range h.net.pdses[at:min(at+limit, len(h.net.pdses))] {
		page.Hosts = append(page.Hosts, statusOf(pds))
	}
	if len(page.Hosts) == limit {
		page.Cursor = strconv.Itoa(at + limit)
	}
	if one := p.matches.of(ListsInvalidHosts); one != nil {
		one.count()
		for _, name := range []string{"localhost", "10.0.0.1", "not a host", "nowhere.sim.test", "pds.sim.test:9999"} {
			page.Hosts = append(page.Hosts, hostStatus{Hostname: name, Status: "active"})
		}
	}
	if one := p.matches.of(EndlessHosts); one != nil {
		one.count()
		page.Cursor = strconv.Itoa(behindAll + one.rule.fired)
	}
	return page, nil
}

// number reads a cursor that counts entries, at most max.
func (p params) number(max int) (int, error) {
	text := p.values.Get("cursor")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, p.bad(p.method, "invalid cursor parameter")
	}
	return min(n, max), nil
}

func (h *host) relayHostStatus(p params) (any, error) {
	name, err := p.required("hostname")
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, pds := range h.net.pdses {
		if pds.addr == name {
			return statusOf(pds), nil
		}
	}
	return nil, &xrpcError{http.StatusBadRequest, "HostNotFound", "host not found"}
}

// relayRepos lists the active accounts, in order of their first event.
func (h *host) relayRepos(p params) (any, error) {
	limit, err := p.limit(500)
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	at, err := p.number(len(h.net.accounts))
	if err != nil {
		return nil, err
	}
	page := repoPage{Repos: []listedRepo{}}
	for ; at < len(h.net.accounts) && len(page.Repos) < limit; at++ {
		if a := h.net.accounts[at]; a.relayStatus() == "" {
			page.Repos = append(page.Repos, listed(a, a.repo))
		}
	}
	if len(page.Repos) == limit {
		page.Cursor = strconv.Itoa(at)
	}
	h.lieOnPage(&page, p.values.Get("cursor"), p.matches)
	return page, nil
}

// known finds an account that the relay has seen. The caller holds the lock.
func (h *host) known(p params) (*account, error) {
	did, err := p.did()
	if err != nil {
		return nil, err
	}
	if a := h.net.byDID[did]; a != nil {
		return a, nil
	}
	return nil, &xrpcError{http.StatusNotFound, "RepoNotFound", "account not found"}
}

// served finds an account that the relay speaks for: an active one. The caller
// holds the lock.
func (h *host) served(p params) (*account, error) {
	a, err := h.known(p)
	if err != nil {
		return nil, err
	}
	switch status := a.relayStatus(); status {
	case "":
		return a, nil
	case "takendown":
		return nil, &xrpcError{http.StatusForbidden, "RepoTakendown", "account is takendown"}
	case "deactivated":
		return nil, &xrpcError{http.StatusForbidden, "RepoDeactivated", "account is deactivated"}
	case "deleted":
		return nil, &xrpcError{http.StatusForbidden, "RepoDeleted", "account is deleted"}
	default:
		return nil, &xrpcError{http.StatusForbidden, "RepoInactive", "account is " + status}
	}
}

func (h *host) relayRepoStatus(p params) (any, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	a, err := h.known(p)
	if err != nil {
		return nil, err
	}
	s := repoStatus{DID: a.did, Active: a.relayStatus() == "", Status: a.relayStatus()}
	if a.repo != nil {
		s.Rev = a.repo.rev.String()
	}
	return s, nil
}

func (h *host) relayLatestCommit(p params) (any, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	a, err := h.served(p)
	if err != nil {
		return nil, err
	}
	return struct {
		CID string `json:"cid"`
		Rev string `json:"rev"`
	}{a.repo.cid.String(), a.repo.rev.String()}, nil
}

// relayRepo sends the client to the PDS.
func (h *host) relayRepo(p params) (any, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	a, err := h.served(p)
	if err != nil {
		return nil, err
	}
	return redirect(a.pds.url + "/xrpc/com.atproto.sync.getRepo?" + p.values.Encode()), nil
}
