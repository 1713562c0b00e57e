package simnet

import (
	"bytes"
	"context"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
)

// match is a request and a rule that acts on it.
type match struct {
	host *host
	did  string // the account that it asks for, empty if it asks for none
	rule *rule
	dice *rand.Rand
}

// matches are those of one request, in the order of the table.
type matches []*match

// of returns the match of a fault, nil if there is none. The caller holds the lock.
func (all matches) of(name FaultName) *match {
	for _, one := range all {
		if one.rule.fault.Name == name && !one.rule.spent() {
			return one
		}
	}
	return nil
}

// count records that the fault acted. The caller holds the lock.
func (one *match) count() { one.host.net.count(one.rule, one.did) }

type matchesKey struct{}

// matchesOf returns the matches of a request.
func matchesOf(r *http.Request) matches {
	all, _ := r.Context().Value(matchesKey{}).(matches)
	return all
}

// matches draws the rules that act on a request. Draws depend on the request and on how often
// it was put to the host.
func (h *host) matches(r *http.Request) (all matches) {
	on, did := h.subject(r.URL)
	if on == "_health" {
		return nil
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, rule := range h.net.rules {
		about := rule.covers(OnHTTP, h.name, did, on) || h == h.net.plc && rule.covers(OnDirectory, h.name, did, on)
		if !about || !rule.opportunity() {
			continue
		}
		key := fnv.New64a()
		_, _ = key.Write([]byte(h.name + " " + r.URL.RequestURI()))
		id := key.Sum64()
		rule.asked[id]++
		dice := h.net.dice(rule.fault.Name, h.name, id+rule.asked[id])
		if dice.Float64() < rule.Chance {
			all = append(all, &match{h, did, rule, dice})
		}
	}
	return all
}

// subject returns what a request asks for: the last part of the query's name and the
// account. At the directory these are did, log or export, and the DID.
func (h *host) subject(u *url.URL) (on, did string) {
	if h == h.net.plc {
		did, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		switch {
		case !strings.HasPrefix(did, "did:"):
			return did, ""
		case rest != "":
			return "log", did
		}
		return "did", did
	}
	q := u.Query()
	return u.Path[strings.LastIndexAny(u.Path, "./")+1:], q.Get("did") + q.Get("repo")
}

// respond answers a request, with its faults.
func (h *host) respond(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == loopPath {
		http.Redirect(w, r, loopPath, http.StatusFound)
		return
	}
	all := h.matches(r)
	if len(all) == 0 {
		h.routes.ServeHTTP(w, r)
		return
	}
	for _, one := range all {
		if act := one.rule.fault.instead; act != nil && h.acts(one) && act(one, w, r) {
			return
		}
	}
	r = r.WithContext(context.WithValue(r.Context(), matchesKey{}, all))
	for _, one := range all {
		if act := one.rule.fault.around; act != nil && !websocket.IsWebSocketUpgrade(r) && h.acts(one) {
			a := &answered{status: http.StatusOK, header: w.Header()}
			h.routes.ServeHTTP(a, r)
			act(one, w, r, a)
			return
		}
	}
	h.routes.ServeHTTP(w, r)
}

// acts counts a fault that is sure to act.
func (h *host) acts(one *match) bool {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if one.rule.spent() {
		return false
	}
	one.count()
	return true
}

// answered is a recorded answer, for a fault to change.
type answered struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) WriteHeader(status int)      { a.status = status }
func (a *answered) Write(b []byte) (int, error) { return a.body.Write(b) }
