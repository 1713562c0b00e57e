package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"railyard/internal/cli/recheck"
	"railyard/internal/store"
)

const (
	maxSample = 10_000
	// maxNamed is how many collections are named of one repo.
	maxNamed = 20
)

var (
	errSampleDiffers = errors.New("the file differs from the network")
	errNoEvidence    = errors.New("nothing could be compared with the network")
)

// sampling is what the flags of check say of a comparison with the network.
type sampling struct {
	lookups
	repos    int
	seed     uint64
	crawlQPS float64
	maxBytes int64

	pauses []time.Duration // between attempts, for tests; nil means the usual ones
}

func (c *sampling) flags(fs *flag.FlagSet) {
	fs.IntVar(&c.repos, "sample", 0, "also fetch so many repos, drawn evenly, and compare them; 0: none")
	fs.Uint64Var(&c.seed, "seed", 0, "of the draw; 0: another one each time, and printed")
	c.lookups.flags(fs)
	fs.Float64Var(&c.plcQPS, "plc-qps", 30, "requests per second to the PLC directory")
	fs.Float64Var(&c.crawlQPS, "crawl-qps", 8, "requests per second to one host")
	fs.DurationVar(&c.repoTimeout, "repo-timeout", 5*time.Minute, "time for one getRepo")
	fs.Int64Var(&c.maxBytes, "max-bytes", 2<<30, "the longest repo that is read")
}

func (c *sampling) validate() error {
	switch {
	case c.repos < 0 || c.repos > maxSample:
		return usagef("check: --sample %d: not between 0 and %d", c.repos, maxSample)
	case !(c.plcQPS > 0 && c.plcQPS <= math.MaxFloat32): // nor NaN
		return usagef("check: --plc-qps %g: not above 0", c.plcQPS)
	case !(c.crawlQPS > 0 && c.crawlQPS <= math.MaxFloat32):
		return usagef("check: --crawl-qps %g: not above 0", c.crawlQPS)
	case c.repoTimeout < time.Second || c.repoTimeout > 24*time.Hour:
		return usagef("check: --repo-timeout %s: not between 1s and 24h", c.repoTimeout)
	case c.maxBytes < 1 || c.maxBytes > 1<<36:
		return usagef("check: --max-bytes %d: not between 1 and 2^36", c.maxBytes)
	}
	return c.lookups.validate("check")
}

// sampleReport is what a comparison with the network has found.
type sampleReport struct {
	Asked         int                     `json:"asked"`
	Counts        map[recheck.Verdict]int `json:"counts"`
	StaleIdentity int                     `json:"stale_identity"`
	Waiting       int64                   `json:"waiting"`       // repos in the queue, not drawn: wrong or unproven today
	WaitingLater  int64                   `json:"waiting_later"` // in the queue, not drawn, to be asked about later
	Seed          uint64                  `json:"seed"`
	Findings      []findingJSON           `json:"findings"` // of all that are not equal, or whose identity is stale

	verdict error
}

// findingJSON is one repo that is not simply equal.
type findingJSON struct {
	DID           string          `json:"did"`
	Verdict       recheck.Verdict `json:"verdict"`
	Host          *string         `json:"host"`
	FileRev       *string         `json:"file_rev"`
	HostRev       *string         `json:"host_rev"`
	Missing       []string        `json:"missing"`
	Extra         []string        `json:"extra"`
	Contradiction bool            `json:"contradiction"`
	Detail        string          `json:"detail"`
	StaleIdentity string          `json:"stale_identity"`
}

// run draws repos and compares them.
func (c *sampling) run(ctx context.Context, rd *store.Reader, stderr io.Writer) (*sampleReport, error) {
	out, resolver, hosts, err := c.clients()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	hosts.RepoMaxBytes = c.maxBytes
	report := &sampleReport{Seed: cmp.Or(c.seed, rand.Uint64(), 1), Findings: []findingJSON{}}
	if err := report.queue(ctx, rd); err != nil {
		return nil, err
	}
	ids, err := recheck.Draw(ctx, rd, c.repos, report.Seed)
	if err != nil {
		return nil, err
	}
	progress := newScreen(stderr)
	defer progress.end()
	cfg := recheck.Config{Reader: rd, Resolver: resolver, Hosts: hosts, QPS: c.crawlQPS, Pauses: c.pauses}
	if progress.tty {
		cfg.Progress = func(done, all int) { progress.bar("sample", int64(done), int64(all)) }
	}
	findings, err := recheck.Compare(ctx, cfg, ids)
	if err != nil {
		return nil, err
	}
	report.take(findings)
	return report, nil
}

// queue returns how many repos are not drawn, because the file itself says that somebody
// must ask about them.
func (r *sampleReport) queue(ctx context.Context, rd *store.Reader) error {
	return rd.View(ctx, func(rx *store.Rx) error {
		st, err := rx.Stats()
		r.Waiting, r.WaitingLater = st.Waiting, st.WaitingLater
		return err
	})
}

// take counts what was found. No evidence is no success: where nothing could be
// compared the check fails.
func (r *sampleReport) take(findings []recheck.Finding) {
	r.Asked, r.Counts = len(findings), make(map[recheck.Verdict]int)
	for _, v := range recheck.Verdicts() {
		r.Counts[v] = 0
	}
	decided, wrong := 0, 0
	for _, f := range findings {
		r.Counts[f.Verdict]++
		if f.Decided() {
			decided++
		}
		if f.Wrong() {
			wrong++
		}
		if f.StaleIdentity != "" {
			r.StaleIdentity++
		}
		if f.Verdict != recheck.Equal || f.StaleIdentity != "" {
			r.Findings = append(r.Findings, findingOf(f))
		}
	}
	switch {
	case wrong > 0:
		r.verdict = errSampleDiffers
	case decided == 0:
		r.verdict = errNoEvidence
	}
}

func findingOf(f recheck.Finding) findingJSON {
	j := findingJSON{
		DID: f.DID, Verdict: f.Verdict, Missing: append([]string{}, f.Missing...), Extra: append([]string{}, f.Extra...),
		Contradiction: f.Contradiction, Detail: f.Detail, StaleIdentity: f.StaleIdentity,
	}
	if f.Host != "" {
		j.Host = &f.Host
	}
	if f.FileRev != 0 {
		rev := f.FileRev.String()
		j.FileRev = &rev
	}
	if f.HostRev != 0 {
		rev := f.HostRev.String()
		j.HostRev = &rev
	}
	return j
}

func (r *sampleReport) print(w io.Writer) error {
	for _, f := range r.Findings {
		for _, line := range f.lines() {
			if _, err := fmt.Fprintln(w, plain(line)); err != nil {
				return err
			}
		}
	}
	if n := r.Waiting + r.WaitingLater; n > 0 {
		if _, err := fmt.Fprintf(w, "not drawn, because they wait in the queue: %d repos that are wrong or unproven, %d others\n",
			r.Waiting, r.WaitingLater); err != nil {
			return err
		}
	}
	var counts strings.Builder
	for _, v := range recheck.Verdicts() {
		fmt.Fprintf(&counts, " %s=%d", v, r.Counts[v])
	}
	_, err := fmt.Fprintf(w, "sample: asked=%d%s stale-identity=%d seed=%d\n", r.Asked, &counts, r.StaleIdentity, r.Seed)
	return err
}

// lines describes one repo for people.
func (f *findingJSON) lines() (lines []string) {
	if f.Verdict != recheck.Equal {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", f.Verdict, f.DID, f.text()))
	}
	if f.StaleIdentity != "" {
		lines = append(lines, fmt.Sprintf("stale-identity: %s: %s", f.DID, f.StaleIdentity))
	}
	return lines
}

func (f *findingJSON) text() string {
	var parts []string
	switch f.Verdict {
	case recheck.Differs:
		parts = append(parts, "rev "+cell(f.HostRev)+" at "+cell(f.Host))
	case recheck.Behind, recheck.Ahead:
		parts = append(parts, fmt.Sprintf("the file has rev %s, %s has %s", cell(f.FileRev), cell(f.Host), cell(f.HostRev)))
	}
	if len(f.Missing) > 0 {
		parts = append(parts, "missing "+named(f.Missing))
	}
	if len(f.Extra) > 0 {
		parts = append(parts, "extra "+named(f.Extra))
	}
	if f.Verdict == recheck.Behind && len(parts) == 1 {
		parts = append(parts, "the same collections")
	}
	if f.Detail != "" {
		parts = append(parts, printable(f.Detail))
	}
	if f.Contradiction {
		parts = append(parts, "the file lists it")
	}
	return strings.Join(parts, "; ")
}

// named lists collections, the first of them where there are many.
func named(nsids []string) string {
	if more := len(nsids) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(nsids[:maxNamed], ", "), more)
	}
	return strings.Join(nsids, ", ")
}
