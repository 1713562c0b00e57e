package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page's text and its style
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"railyard/internal/health"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	// topCollections is the length of the page's table of collections.
	topCollections = 25
	// figuresKept is how old the figures of the page may be, at least. If reading
	// them takes long, they are kept figuresRest times as long.
	figuresKept = time.Second
	figuresRest = 20
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// frontPage is the first page. It needs nothing but itself: no script, no image,
// no font from anywhere, and its policy forbids them.
type frontPage struct {
	*server
	html   *template.Template
	policy string
	turn   chan struct{} // held while the figures are read or looked at
	kept   *figures
}

// figures are what the page shows of one moment.
type figures struct {
	at    time.Time // when they were read
	until time.Time // how long they may be shown
	live  Live
	stats store.Stats
	top   []store.Collection
}

func newFrontPage(s *server) *frontPage {
	sum := sha256.Sum256([]byte(pageStyle))
	return &frontPage{
		server: s,
		html:   template.Must(template.New("page").Parse(pageText)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		turn: make(chan struct{}, 1),
	}
}

// ServeHTTP answers with the page, or with the same page with an error in it.
func (p *frontPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, view := http.StatusOK, pageView{}
	f, err := p.read(w.Header(), r)
	if err == nil {
		view = p.viewOf(f, baseOf(r))
	} else {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = p.internal(r, err)
		}
		status, view.Problem = e.Status, e.Message
		e.headers(w.Header())
	}
	view.Style, view.Version = template.CSS(pageStyle), p.Version
	var body bytes.Buffer
	if err := p.html.Execute(&body, view); err != nil {
		p.Log.Error("write the first page", "err", err)
		status = http.StatusInternalServerError
		body.Reset()
	}
	p.Metrics.Request("/", strconv.Itoa(status))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store") // the page names the host that it was asked under
	p.send(w, r, status, body.Bytes())
}

// read returns the figures. It takes no slot: whoever reads them is alone, and shares
// them with all who wait.
func (p *frontPage) read(h http.Header, r *http.Request) (*figures, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, wrongMethod(r, http.MethodGet)
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	if _, err := p.admission.charge(h, p.clients.of(r), unitRows); err != nil {
		return nil, err
	}
	return p.current(ctx)
}

// current returns figures that are not too old. Whoever finds them too old reads
// them, alone; the others wait for that.
func (p *frontPage) current(ctx context.Context) (*figures, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.kept != nil && time.Now().Before(p.kept.until) {
		return p.kept, nil
	}
	f := &figures{at: time.Now()}
	if p.Live != nil {
		f.live = p.Live()
	}
	err := p.Store.View(ctx, func(rx *store.Rx) (err error) {
		if f.stats, err = rx.Stats(); err == nil {
			f.top, err = rx.Largest(topCollections)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f.until = time.Now().Add(max(figuresKept, figuresRest*time.Since(f.at)))
	p.kept = f
	return f, nil
}

// pageView is what the template shows. Its texts are escaped there.
type pageView struct {
	Style       template.CSS
	Version     string
	Problem     string // if not empty, the rest is
	Index       string
	At          moment
	Health      healthLine
	Totals      []total
	States      []stateRow
	Upstreams   []upstreamRow
	Collections []collectionRow
	Trials      []trial
}

// healthLine is one word on how the service is, and a sentence that explains it.
type healthLine struct{ Level, Word, Sentence string }

type total struct{ Name, Value, Note string }

type stateRow struct{ Name, Meaning, Repos, Share string }

type upstreamRow struct {
	URL, Kind, Cursor, Level, State string
	LastEvent                       moment
	Lag                             string // how old that was when it was applied; empty if it did not say
}

type collectionRow struct {
	NSID, Link, Members string
	Width               string // of the bar, in hundredths of the largest
}

// trial is something to try: what it asks, and lines for a shell.
type trial struct{ Ask, Lines string }

// moment is a time as a machine and as a person reads it.
type moment struct{ Machine, Person string }

func (p *frontPage) viewOf(f *figures, base string) pageView {
	v := pageView{
		Index: p.Store.IndexID(), At: moment{f.at.UTC().Format(time.RFC3339), f.at.UTC().Format("2006-01-02 15:04:05 UTC")},
		Totals: totalsOf(f, p.Live != nil), States: statesOf(f.stats), Collections: collectionRows(f.top), Trials: trialsOf(base),
	}
	connected := 0
	for _, u := range f.stats.Upstreams {
		open, followed := f.live.Connected[u.ID]
		if !followed && p.Live != nil {
			continue
		}
		if open {
			connected++
		}
		v.Upstreams = append(v.Upstreams, upstreamRowOf(u, f.at, open, p.Live != nil))
	}
	v.Health = p.healthOf(f, connected, len(v.Upstreams))
	return v
}

func (p *frontPage) healthOf(f *figures, connected, followed int) healthLine {
	waiting := f.stats.Waiting
	switch stands := health.Stands(f.live.Troubles, followed); {
	case p.Store.Err() != nil:
		return healthLine{"bad", "Stopped", "The index is no longer written: what stands here does not change any more."}
	case p.Live == nil:
		return healthLine{"good", "Reading", "This process answers from the file and follows no network."}
	case stands != nil:
		return healthLine{"bad", "Standing still", sentence(standing(stands))}
	case connected < followed || followed == 0:
		return healthLine{"warn", "Disconnected", fmt.Sprintf("Connected to %d of %s.", connected, counted(int64(followed), "upstream"))}
	case len(f.live.Troubles) > 0:
		return healthLine{"warn", "In trouble", sentence(standing(&f.live.Troubles[0]))}
	case waiting > 0:
		return healthLine{"good", "Following", counted(waiting, "repo") + " still to be proven or proven again."}
	}
	return healthLine{"good", "In step", "Connected, and no repo is left to be proven."}
}

// sentence begins with a capital, unless that would change a name, and ends with a stop.
func sentence(text string) string {
	if !strings.Contains(strings.Fields(text)[0], "://") {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return text + "."
}

func totalsOf(f *figures, alive bool) []total {
	repos := int64(0)
	for _, n := range f.stats.Repos {
		repos += n
	}
	moving := "waiting to be proven"
	if alive {
		moving += fmt.Sprintf("; %s in flight", grouped(f.live.InFlight))
	}
	if f.stats.WaitingLater > 0 {
		moving += fmt.Sprintf("; %s for a second look", grouped(f.stats.WaitingLater))
	}
	return []total{
		{"Repos", grouped(repos), grouped(f.stats.Active) + " of active accounts"},
		{"Memberships", grouped(f.stats.Memberships), "pairs of repo and collection"},
		{"Collections", grouped(f.stats.Collections), "with at least one repo"},
		{"Queue", grouped(f.stats.Waiting), moving},
	}
}

func statesOf(st store.Stats) []stateRow {
	sum := int64(0)
	for _, n := range st.Repos {
		sum += n
	}
	rows := []stateRow{
		{Name: repostate.Synchronized.String(), Meaning: "proven; commits are applied as they come"},
		{Name: repostate.Resyncing.String(), Meaning: "being fetched from its host"},
		{Name: repostate.Desynchronized.String(), Meaning: "may be wrong, or its account is inactive"},
		{Name: repostate.Candidate.String(), Meaning: "heard of, never proven"},
		{Name: repostate.NotFound.String(), Meaning: "its host does not have it"},
	}
	for i, s := range []repostate.State{repostate.Synchronized, repostate.Resyncing, repostate.Desynchronized, repostate.Candidate, repostate.NotFound} {
		rows[i].Repos, rows[i].Share = grouped(st.Repos[s]), percent(st.Repos[s], sum)
	}
	return rows
}

func upstreamRowOf(u store.Upstream, now time.Time, connected, alive bool) upstreamRow {
	row := upstreamRow{URL: u.URL, Kind: string(u.Kind), Level: "warn", State: "not connected"}
	switch {
	case !alive:
		row.Level, row.State = "none", "not followed"
	case connected:
		row.Level, row.State = "good", "connected"
	}
	if u.Cursor != 0 {
		row.Cursor = strconv.FormatInt(u.Cursor, 10)
	}
	if !u.LastEventAt.IsZero() {
		row.LastEvent = moment{u.LastEventAt.UTC().Format(time.RFC3339), ago(now.Sub(u.LastEventAt))}
	}
	if u.Lag != nil {
		row.Lag = strings.TrimSuffix(ago(*u.Lag), " ago")
	}
	return row
}

func collectionRows(top []store.Collection) []collectionRow {
	rows := make([]collectionRow, len(top))
	for i, c := range top {
		rows[i] = collectionRow{
			NSID: c.NSID, Members: grouped(c.Members),
			Link:  "/xrpc/com.atproto.sync.listReposByCollection?" + url.Values{"collection": {c.NSID}}.Encode(),
			Width: strconv.FormatFloat(100*float64(c.Members)/float64(top[0].Members), 'f', 2, 64),
		}
	}
	return rows
}

func trialsOf(base string) []trial {
	const posts = "app.bsky.feed.post"
	get := func(target string) string { return "curl '" + base + target + "'" }
	ask := func(query string) string { return `sqlite3 -readonly railyard.db "` + query + `"` }
	return []trial{
		{"Who has records in a collection? Keep the cursor: asked with it later, only newcomers come.",
			get("/xrpc/com.atproto.sync.listReposByCollection?collection=" + posts + "&limit=10")},
		{"Who has records in any of several?",
			get("/xrpc/com.atproto.sync.listReposByCollection?collection=" + posts + "&collection=app.bsky.feed.like")},
		{"Which collections are there, and how large are they?",
			get("/v1/listCollections?limit=100") + "\n" + get("/v1/listCollections?c="+posts)},
		{"What does a DID hold, since when, and how was it proven? This one is atproto.com.",
			get("/v1/repo?did=did:plc:ewvi7nxzyoun6zhxrhs64oiz")},
		{"How far is the index?",
			get("/v1/stats")},
		{"The same on the file itself, while the service runs (sqlite3 3.40 or newer):",
			ask("SELECT did FROM repos_by_collection WHERE nsid = '"+posts+"' LIMIT 10") + "\n" +
				ask("SELECT * FROM collection_stats ORDER BY members DESC LIMIT 25") + "\n" +
				ask("SELECT reason, count(*) FROM resync_backlog GROUP BY reason")},
	}
}

var plainHost = regexp.MustCompile(`^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// baseOf is the address under which the client reached us. It stands in lines for
// a shell: a Host header with other letters than those of a name is not repeated.
func baseOf(r *http.Request) string {
	scheme, host := "http", r.Host
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	if !plainHost.MatchString(host) {
		host = "HOST"
	}
	return scheme + "://" + host
}

// grouped writes a number with a comma after every third digit.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// percent never rounds something to nothing, nor less than all to all.
func percent(part, whole int64) string {
	if part == 0 || whole == 0 {
		return "0 %"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case part == whole:
		return "100 %"
	case p < 0.1:
		return "< 0.1 %"
	case p > 99.9:
		return "> 99.9 %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

func ago(d time.Duration) string {
	switch {
	case d < time.Second: // or in the future, by another clock
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}
