package simnet

import (
	"maps"
	"net/http"
	"time"
)

// Rate is how many requests a host takes.
type Rate struct {
	Requests int // in a window that begins with the first request; all if 0
	Window   time.Duration
	// Bare refuses with an HTML page, and names the limit nowhere. Else every
	// answer has the RateLimit headers of the reference PDS.
	Bare bool
}

// SetRate sets the limit of a host, by its name, and resets its counts.
func (n *Network) SetRate(name string, to Rate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil {
		h.rate, h.window = to, rateWindow{}
	}
}

// rateWindow counts the requests of one window.
type rateWindow struct {
	ends time.Time
	used int
}

// windows are the lengths of time for which the highest rate is kept.
func windows() []time.Duration {
	return []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute}
}

// Traffic is what a host was asked so far.
type Traffic struct {
	Requests map[string]int64 // by query: getRepo; at the directory did, log and export
	Refused  int64            // for the host's Rate
	// Peak is the most requests that came within any one second, ten seconds,
	// minute and five minutes.
	Peak map[time.Duration]int
}

// Traffic returns the counts of a host, by its name.
func (n *Network) Traffic(name string) Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := Traffic{Requests: map[string]int64{}, Peak: map[time.Duration]int{}}
	h := n.hosts[name]
	if h == nil {
		return t
	}
	t.Requests, t.Refused = maps.Clone(h.requests), h.refused
	for i, w := range windows() {
		t.Peak[w] = h.peaks[i].most
	}
	return t
}

// peak keeps the times of the requests in one window up to now, and their highest
// number.
type peak struct {
	times []time.Time
	most  int
}

func (p *peak) add(now time.Time, window time.Duration) {
	for len(p.times) > 0 && now.Sub(p.times[0]) >= window {
		p.times = p.times[1:]
	}
	p.times = append(p.times, now)
	p.most = max(p.most, len(p.times))
}

// knownQueries bounds the names that are counted.
const knownQueries = 100

// measure counts a request, and returns what the host's rate says of it.
func (h *host) measure(r *http.Request) rateState {
	on, did := h.subject(r.URL)
	now := time.Now()
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if _, known := h.requests[on]; !known && len(h.requests) >= knownQueries {
		on = "other"
	}
	h.requests[on]++
	d := h.net.histories[did]
	if d != nil {
		d.Requests[on]++
	}
	for i, window := range windows() {
		h.peaks[i].add(now, window)
	}
	v := rateState{Rate: h.rate}
	if h.rate.Requests == 0 {
		return v
	}
	if !now.Before(h.window.ends) {
		h.window = rateWindow{ends: now.Add(h.rate.Window)}
	}
	h.window.used++
	v.left, v.after = h.rate.Requests-h.window.used, h.window.ends.Sub(now)
	if v.left < 0 {
		h.refused++
		if d != nil {
			d.Refused++
		}
	}
	return v
}

// rateState is what a host's rate says of a request.
type rateState struct {
	Rate
	left  int           // requests in this window, negative for one too many
	after time.Duration // until the next window
}

// refuses reports the rate to the client, and answers where the request is one too many.
func (v rateState) refuses(w http.ResponseWriter) bool {
	switch {
	case v.left < 0 && v.Bare:
		writePage(w, http.StatusTooManyRequests)
	case v.left < 0:
		refuseRate(w, v.Requests, v.Window, max(v.after.Round(time.Second), time.Second))
	case v.Requests > 0 && !v.Bare:
		setRateHeaders(w, v.Requests, v.left, v.Window, v.after)
	}
	return v.left < 0
}
