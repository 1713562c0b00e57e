// Package metrics names what railyard counts.
//
// Labels come from closed lists: refusal reasons, event types, outcomes. What
// outsiders can mint (hosts, DIDs, collections) is never a label; it is in the
// file, to be asked with SQL.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"railyard/internal/refusal"
)

// Metrics is the set of one process. A nil *Metrics counts nothing.
type Metrics struct {
	registry *prometheus.Registry
	events   *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	refusals *prometheus.CounterVec
	resyncs  *prometheus.CounterVec
	births   *prometheus.CounterVec
	deaths   *prometheus.CounterVec
	batches  prometheus.Histogram
	sizes    prometheus.Histogram
	requests *prometheus.CounterVec
	foreign  prometheus.Counter
	audits   prometheus.Counter
	listed   *prometheus.CounterVec
	logged   *prometheus.CounterVec
	turned   *prometheus.CounterVec
}

// Why a request was turned away (TurnedAway).
const (
	OverBudget = "over-budget" // 429: its client has spent what it may
	NoSlot     = "no-slot"     // 503: too many of its kind at once
	Unread     = "unread"      // 503: too many finished answers wait for slow readers
)

// New makes the metrics in a registry of their own.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		events: counter("events_total", "Frames received from upstreams, by message type. "+
			"No growth while an upstream is connected is normal only for a quiet PDS.", "type"),
		outcomes: counter("event_outcomes_total", "What was done with an event once it was judged. "+
			"A lasting share of desynchronized means that events are being lost.", "outcome"),
		refusals: counter("refusals_total", "What the network sent and we refused, by reason (docs/refusals.md). "+
			"Any internal deserves a report.", "reason"),
		resyncs: counter("resyncs_total", "Finished attempts at a repo, by outcome.", "outcome"),
		births:  counter("births_total", "Membership rows added, by source.", "source"),
		deaths:  counter("deaths_total", "Membership rows removed, by source.", "source"),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "railyard_batch_seconds", Help: "Time of one write transaction of the firehose path.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		sizes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "railyard_batch_events", Help: "Events in one write transaction of the firehose path.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		logged: counter("plc_operations_total", "Operations read from the log of the PLC directory (--plc-export), by what became "+
			"of them. Malformed ones are skipped and deserve a look.", "result"),
		requests: counter("http_requests_total", "Requests answered, by route and status.", "route", "status"),
		turned: counter("http_turned_away_total", "Requests refused for the sake of others: light or heavy ones because their client is over its budget or "+
			"no slot was free, answers because too many are unread. Growth of light ones without a slot means that the machine is too small, or attacked.",
			"what", "why"),
		foreign: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "railyard_foreign_cursors_total", Help: "Listings that were restarted because their cursor was of another index.",
		}),
		audits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "railyard_audit_findings_total", Help: "Applied commits that showed a row of the index to be wrong. " +
				"Claims of hosts can be wrong; anything else deserves a report.",
		}),
		listed: counter("listed_total", "Entries of listings, by what they were: found (unknown until then), known, "+
			"foreign (of an account whose document names another host), unlisted (in service, and left out by a whole crawl).", "what"),
	}
	m.registry.MustRegister(m.turned, m.listed, m.audits, m.events, m.outcomes, m.refusals, m.resyncs, m.births, m.deaths, m.logged, m.batches, m.sizes, m.requests, m.foreign,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, r := range refusal.All() {
		m.refusals.WithLabelValues(string(r.Reason))
	}
	for _, what := range []string{"light", "heavy"} {
		m.turned.WithLabelValues(what, OverBudget)
		m.turned.WithLabelValues(what, NoSlot)
	}
	m.turned.WithLabelValues("answer", Unread)
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "railyard_" + name, Help: help}, labels)
}

// Gauge registers a value that is read when the metrics are.
func (m *Metrics) Gauge(name, help string, labels map[string]string, read func() float64) {
	if m == nil {
		return
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "railyard_" + name, Help: help, ConstLabels: labels,
	}, read))
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Event counts a received frame.
func (m *Metrics) Event(kind string) {
	if m != nil {
		m.events.WithLabelValues(kind).Inc()
	}
}

// Outcomes counts judged events.
func (m *Metrics) Outcomes(outcome string, n int) {
	if m != nil {
		m.outcomes.WithLabelValues(outcome).Add(float64(n))
	}
}

// Refused counts a refusal.
func (m *Metrics) Refused(r refusal.Reason) {
	if m != nil {
		m.refusals.WithLabelValues(string(r)).Inc()
	}
}

// Resynced counts a finished look at a repo.
func (m *Metrics) Resynced(outcome string) {
	if m != nil {
		m.resyncs.WithLabelValues(outcome).Inc()
	}
}

// Changed counts births and deaths of rows.
func (m *Metrics) Changed(source string, births, deaths int) {
	if m != nil {
		m.births.WithLabelValues(source).Add(float64(births))
		m.deaths.WithLabelValues(source).Add(float64(deaths))
	}
}

// Logged counts operations of the PLC directory's log.
func (m *Metrics) Logged(result string, n int) {
	if m != nil && n > 0 {
		m.logged.WithLabelValues(result).Add(float64(n))
	}
}

// Batch records one write transaction of the firehose path.
func (m *Metrics) Batch(events int, seconds float64) {
	if m != nil {
		m.batches.Observe(seconds)
		m.sizes.Observe(float64(events))
	}
}

// Request counts an answered request. The route is one of ours, never a path.
func (m *Metrics) Request(route, status string) {
	if m != nil {
		m.requests.WithLabelValues(route, status).Inc()
	}
}

// TurnedAway counts a request that was refused for the sake of others. what is its
// kind, light or heavy, or "answer".
func (m *Metrics) TurnedAway(what, why string) {
	if m != nil {
		m.turned.WithLabelValues(what, why).Inc()
	}
}

// ForeignCursor counts a listing that was restarted.
func (m *Metrics) ForeignCursor() {
	if m != nil {
		m.foreign.Inc()
	}
}

// AuditFailed counts a commit that showed a row to be wrong.
func (m *Metrics) AuditFailed() {
	if m != nil {
		m.audits.Inc()
	}
}

// Listed counts entries of listings.
func (m *Metrics) Listed(what string, n int) {
	if m != nil && n > 0 {
		m.listed.WithLabelValues(what).Add(float64(n))
	}
}

// Sum adds up the samples of a counter, those with a label's value or all of
// them if no label is named.
func (m *Metrics) Sum(name, label, value string) (sum float64) {
	if m == nil {
		return 0
	}
	families, err := m.registry.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() != "railyard_"+name {
			continue
		}
		for _, sample := range f.GetMetric() {
			matches := label == ""
			for _, l := range sample.GetLabel() {
				matches = matches || (l.GetName() == label && l.GetValue() == value)
			}
			if matches {
				sum += sample.GetCounter().GetValue()
			}
		}
	}
	return sum
}
