package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"railyard/internal/exactjson"
	"railyard/internal/health"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	statusHosts   = 10               // the worst ones
	statusSample  = time.Second      // between the two samples of a rate
	statusTimeout = 10 * time.Second // for one answer of the service
	maxStatsBody  = 4 << 20
)

// statusReport is what status prints. Null is what the source does not know: a
// file knows no process, a service does not report refusals and hosts. Its first
// part is also what /v1/stats answers.
type statusReport struct {
	Source      string           `json:"source"`
	Index       string           `json:"index"`
	Version     *string          `json:"version"`
	Repos       map[string]int64 `json:"repos"`
	Memberships int64            `json:"memberships"`
	Collections int64            `json:"collections"`
	ResyncQueue int64            `json:"resync_queue"`
	ResyncLater int64            `json:"resync_later"`
	InFlight    *int64           `json:"in_flight"`
	Upstreams   []upstreamReport `json:"upstreams"`
	Troubles    []health.Trouble `json:"troubles,omitempty"` // a running service knows them
	Refusals    []refusalReport  `json:"refusals"`
	Hosts       []hostReport     `json:"hosts"`
}

type upstreamReport struct {
	URL         string     `json:"url"`
	Kind        *string    `json:"kind"`
	Cursor      *int64     `json:"cursor"`
	Connected   *bool      `json:"connected"`
	LastEventAt *time.Time `json:"last_event_at"`
	LagSeconds  *float64   `json:"lag_seconds"`       // age of the newest event: when it was applied, of a file now
	Rate        *float64   `json:"events_per_second"` // how fast the cursor moves
}

type refusalReport struct {
	Reason string    `json:"reason"`
	Count  int64     `json:"count"`
	LastAt time.Time `json:"last_at"`
}

type hostReport struct {
	Host          string     `json:"host"`
	Status        *string    `json:"status"`
	Failures      int64      `json:"failures"` // in a row
	Answers       int64      `json:"answers"`
	CooldownUntil *time.Time `json:"cooldown_until"`
	Error         *string    `json:"error"`
	ErrorAt       *time.Time `json:"error_at"`
}

// status prints the state of a file, or of a running service.
func status(ctx context.Context, args, environ []string, stdout, _ io.Writer) error {
	fs := flag.NewFlagSet("status", flag.ContinueOnError)
	db := fs.String("db", "railyard.db", "the index file; a service may be running on it")
	service := fs.String("url", "", "ask this running service instead of the file, http://HOST:PORT")
	asJSON := fs.Bool("json", false, "print one JSON object")
	// Unknown variables are those of other commands here.
	if _, err := parse(fs, args, environ, stdout); err != nil {
		return err
	}
	report, err := statusFrom(ctx, *db, *service)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(report)
	}
	return report.print(stdout)
}

func statusFrom(ctx context.Context, db, service string) (*statusReport, error) {
	if service == "" {
		return statusOfFile(ctx, db)
	}
	base, err := serverURL(service)
	if err != nil {
		return nil, usagef("status: --url %q: %v", service, err)
	}
	return statusOfService(ctx, base)
}

// statusOfService asks twice, to see how fast the cursors move.
func statusOfService(ctx context.Context, base string) (*statusReport, error) {
	before, err := askStats(ctx, base)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(statusSample):
	}
	now, err := askStats(ctx, base)
	if err != nil {
		return nil, err
	}
	now.rates(before, time.Since(start))
	return now, nil
}

func (s *statusReport) rates(before *statusReport, took time.Duration) {
	old := make(map[string]*int64)
	for _, u := range before.Upstreams {
		old[u.URL] = u.Cursor
	}
	for i := range s.Upstreams {
		u := &s.Upstreams[i]
		if was := old[u.URL]; was != nil && u.Cursor != nil && *u.Cursor >= *was {
			rate := float64(*u.Cursor-*was) / took.Seconds()
			u.Rate = &rate
		}
	}
}

func askStats(ctx context.Context, base string) (*statusReport, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	url := base + "/v1/stats"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	report := new(statusReport)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatsBody))
	if err == nil {
		err = exactjson.Unmarshal(body, report)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if report.Index == "" {
		return nil, fmt.Errorf("%s: not the answer of a railyard", url)
	}
	report.Source = base
	return report, nil
}

// statusOfFile reads all of it in one state of the file.
func statusOfFile(ctx context.Context, path string) (*statusReport, error) {
	rd, err := store.OpenReader(ctx, path)
	if err != nil {
		return nil, err
	}
	report := &statusReport{Source: path}
	err = rd.View(ctx, report.read)
	return report, errors.Join(err, rd.Close())
}

func (s *statusReport) read(rx *store.Rx) (err error) {
	if s.Index, err = rx.IndexID(); err != nil {
		return err
	}
	st, err := rx.Stats()
	if err != nil {
		return err
	}
	refusals, err := rx.RefusalCounts()
	if err != nil {
		return err
	}
	hosts, err := rx.FailingHosts(time.Now(), statusHosts)
	if err != nil {
		return err
	}
	s.figures(st)
	s.Refusals = make([]refusalReport, len(refusals))
	for i, r := range refusals {
		s.Refusals[i] = refusalReport{string(r.Reason), r.Count, r.LastAt.UTC()}
	}
	s.Hosts = make([]hostReport, len(hosts))
	for i, h := range hosts {
		s.Hosts[i] = hostReport{
			Host: h.Host, Status: known(h.Status), Failures: h.Failures, Answers: h.Answers,
			CooldownUntil: knownTime(h.CooldownUntil), Error: known(h.Error), ErrorAt: knownTime(h.ErrorAt),
		}
	}
	return nil
}

func (s *statusReport) figures(st store.Stats) {
	s.Memberships, s.Collections, s.ResyncQueue, s.ResyncLater = st.Memberships, st.Collections, st.Waiting, st.WaitingLater
	s.Repos = map[string]int64{"active": st.Active}
	for state := repostate.Candidate; state <= repostate.NotFound; state++ {
		s.Repos[state.String()] = st.Repos[state]
		s.Repos["total"] += st.Repos[state]
	}
	s.Upstreams = make([]upstreamReport, len(st.Upstreams))
	for i, u := range st.Upstreams {
		s.Upstreams[i] = upstreamReport{
			URL: u.URL, Kind: known(string(u.Kind)), Cursor: known(u.Cursor), LastEventAt: knownTime(u.LastEventAt),
		}
		if u.Lag != nil {
			lag := (max(0, time.Since(u.LastEventAt)) + *u.Lag).Seconds()
			s.Upstreams[i].LagSeconds = &lag
		}
	}
}

// known is nil for the zero value, which stands for what is not known.
func known[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

func knownTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// print is the form for people.
func (s *statusReport) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")) } // Flush has the error
	line("source", s.Source)
	line("index", s.Index)
	if s.Version != nil {
		line("version", printable(*s.Version))
	}
	line("repos", fmt.Sprintf("%d, %d of them active", s.Repos["total"], s.Repos["active"]))
	for state := repostate.Candidate; state <= repostate.NotFound; state++ {
		line("  "+state.String(), strconv.FormatInt(s.Repos[state.String()], 10))
	}
	line("memberships", fmt.Sprintf("%d in %d collections", s.Memberships, s.Collections))
	line("queue", fmt.Sprintf("%d, and %d for later", s.ResyncQueue, s.ResyncLater))
	if s.InFlight != nil {
		line("in flight", strconv.FormatInt(*s.InFlight, 10))
	}
	s.printTables(line)
	return t.Flush()
}

func (s *statusReport) printTables(line func(cells ...string)) {
	if len(s.Troubles) > 0 {
		line()
		line("TROUBLE", "SINCE", "UPSTREAM", "WHY")
	}
	for _, t := range s.Troubles {
		line(printable(string(t.Kind)), cell(&t.Since), cell(known(t.Upstream)), printable(t.Why))
	}
	if len(s.Upstreams) > 0 {
		line()
		line("UPSTREAM", "KIND", "CONNECTED", "CURSOR", "LAG (S)", "EVENTS/S")
	}
	for _, u := range s.Upstreams {
		line(printable(u.URL), cell(u.Kind), cell(u.Connected), cell(u.Cursor), cell(u.LagSeconds), cell(u.Rate))
	}
	if len(s.Refusals) > 0 {
		line()
		line("REFUSED FOR", "TIMES", "LAST")
	}
	for _, r := range s.Refusals {
		line(r.Reason, strconv.FormatInt(r.Count, 10), cell(&r.LastAt))
	}
	if len(s.Hosts) > 0 {
		line()
		line("HOST", "STATUS", "FAILURES", "ANSWERS", "COOLS UNTIL", "LAST ERROR")
	}
	for _, h := range s.Hosts {
		line(printable(h.Host), cell(h.Status), strconv.FormatInt(h.Failures, 10), strconv.FormatInt(h.Answers, 10),
			cell(h.CooldownUntil), cell(h.Error))
	}
}

// cell is a value as a table shows it; a dash stands for what is not known.
func cell[T any](v *T) string {
	if v == nil {
		return "-"
	}
	switch v := any(*v).(type) {
	case time.Time:
		return v.Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case string:
		return printable(v)
	default:
		return fmt.Sprint(v)
	}
}

// maxPrintable bounds one value, in characters.
const maxPrintable = 300

// printable makes text of outsiders harmless for a terminal and a table, and
// short.
func printable(text string) string {
	text = plain(text)
	if runes := []rune(text); len(runes) > maxPrintable {
		return string(runes[:maxPrintable]) + "..."
	}
	return text
}

// plain is printable for a text whose length is bounded already.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
