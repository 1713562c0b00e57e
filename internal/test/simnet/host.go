package simnet

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// host is one server of the network.
type host struct {
	net      *Network
	name     string
	addr     string // as it stands in URLs: a name or an address, with its port unless that is 80
	url      string
	listener net.Listener // nil without servers
	server   *http.Server
	routes   http.Handler

	// The rest is guarded by Network.mu.
	hook      Hook
	down      bool
	returns   time.Time // away until then
	conns     map[*websocket.Conn]bool
	stream    *stream       // nil for the directory
	sent      int64         // events of its accounts so far
	delayed   *delayedEvent // of a relay: sent later
	accounts  []*account    // of a PDS, by time of creation and DID
	rate      Rate
	window    rateWindow
	requests  map[string]int64 // so far, by query
	refused   int64
	peaks     [4]peak
	relayWord string              // of a PDS: what the relay's listHosts calls it
	former    map[string]*account // of a PDS: as it has those that left it, by DID

	abilities Abilities // of a PDS
}

func (n *Network) newHost(name string, routes func(*host) http.Handler) (*host, error) {
	h := &host{net: n, name: name, addr: name + ".sim.test", conns: map[*websocket.Conn]bool{}, former: map[string]*account{}, requests: map[string]int64{}}
	if n.cfg.Listen != nil {
		l, err := n.cfg.Listen(name)
		if err != nil {
			return nil, err
		}
		h.listener, h.addr = l, strings.TrimSuffix(l.Addr().String(), ":80")
	}
	h.url = "http://" + h.addr
	h.routes = routes(h)
	h.server = &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	n.hosts[name] = h
	return h, nil
}

// serve starts the server; Network.Close waits for it.
func (h *host) serve() {
	if h.listener == nil {
		return
	}
	h.net.wg.Go(func() { _ = h.server.Serve(h.listener) })
}

func (h *host) close() error {
	h.disconnect()
	err := h.server.Close()
	if h.listener != nil {
		err = errors.Join(err, ignoreClosed(h.listener.Close()))
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// ServeHTTP answers a request, unless the network is closed, the host is away or its
// hook answers first.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hook, ok := h.enter(r)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	defer h.net.wg.Done()
	if h.measure(r).refuses(w) {
		return
	}
	if hook.HTTP != nil && hook.HTTP(w, r) {
		return
	}
	if on, _ := h.subject(r.URL); on == "getRepo" {
		h.respondArchive(w, r)
		return
	}
	h.respond(w, r)
}

// away is set while no connection is served. The caller holds the lock.
func (h *host) away() bool { return h.down || time.Now().Before(h.returns) }

func (h *host) enter(r *http.Request) (Hook, bool) {
	_, did := h.subject(r.URL)
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.closed || h.away() {
		if d := h.net.histories[did]; d != nil {
			d.Refused++
		}
		return Hook{}, false
	}
	h.net.wg.Add(1)
	return h.hook, true
}

// SetDown takes a host away, by its name, or brings it back: while it is down
// every connection ends without an answer. Its accounts and events stay.
func (n *Network) SetDown(name string, down bool) {
	n.mu.Lock()
	h := n.hosts[name]
	if h != nil {
		h.down = down
	}
	n.mu.Unlock()
	if h != nil && down {
		h.disconnect()
	}
}

// Disconnect cuts every firehose connection of a host, by its name, without a
// closing handshake.
func (n *Network) Disconnect(name string) {
	if h := n.hosts[name]; h != nil {
		h.disconnect()
	}
}

func (h *host) disconnect() {
	h.net.mu.Lock()
	conns := make([]*websocket.Conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.net.mu.Unlock()
	for _, c := range conns {
		_ = c.NetConn().Close()
	}
}

// list puts an account among those of a PDS.
func (h *host) list(a *account) {
	at, _ := h.place(a.created.UnixMilli(), a.did)
	h.accounts = slices.Insert(h.accounts, at, a)
}

func (h *host) unlist(a *account) {
	if at, found := h.place(a.created.UnixMilli(), a.did); found {
		h.accounts = slices.Delete(h.accounts, at, at+1)
	}
}

// place finds the first account not before a time in milliseconds and a DID.
func (h *host) place(milli int64, did string) (int, bool) {
	return slices.BinarySearchFunc(h.accounts, did, func(a *account, did string) int {
		return cmp.Or(cmp.Compare(a.created.UnixMilli(), milli), cmp.Compare(a.did, did))
	})
}

// xrpcError is an answer that refuses.
type xrpcError struct {
	status        int
	name, message string
}

func (e *xrpcError) Error() string { return e.name + ": " + e.message }

// methods are the XRPC queries of a host by name. An answer of type car is sent
// as such, a redirect as one, everything else as JSON.
type methods map[string]func(params) (any, error)

type (
	car      []byte
	redirect string
)

// answer runs a query and writes its result.
func answer(w http.ResponseWriter, r *http.Request, query func(params) (any, error), p params) {
	result, err := query(p)
	if err != nil {
		if words, ok := errors.AsType[*Words](err); ok {
			words.write(w)
			return
		}
		refused, ok := errors.AsType[*xrpcError](err)
		if !ok {
			refused = &xrpcError{http.StatusInternalServerError, "InternalServerError", "Internal Server Error"}
		}
		refuse(w, refused)
		return
	}
	switch body := result.(type) {
	case car:
		w.Header().Set("Content-Type", "application/vnd.ipld.car")
		_, _ = w.Write(body)
	case redirect:
		http.Redirect(w, r, string(body), http.StatusFound)
	default:
		writeJSON(w, http.StatusOK, "application/json; charset=utf-8", body)
	}
}

func refuse(w http.ResponseWriter, e *xrpcError) {
	writeJSON(w, e.status, "application/json; charset=utf-8", struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{e.name, e.message})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
