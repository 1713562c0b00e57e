package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"railyard/internal/atproto"
	"railyard/internal/event"
	"railyard/internal/firehose"
	"railyard/internal/metrics"
	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

const (
	defaultBatch = 200
	defaultDelay = 50 * time.Millisecond
	// queued bounds the events of one upstream between its socket and the judge.
	queued = 512
	// waiting bounds the bytes of frames that wait for a prover, all upstreams
	// together; a proven event needs little.
	waiting = 64 << 20
	// drainTime is how long a stop may take to commit what was received.
	drainTime = 20 * time.Second
	// defaultDirectoryQPS is that of "railyard serve".
	defaultDirectoryQPS = 30
)

// Config of the path.
type Config struct {
	Store *store.Store
	// Upstreams are the URLs to follow, as ParseUpstream reads them.
	Upstreams []string
	// Kind finds out what the server at a base URL is, and the name of a PDS
	// (store.Upstream.Name). It is asked at connect, unless the operator has said it.
	Kind func(ctx context.Context, base string) (k store.Kind, name string, err error)
	// HostName returns the canonical host of a base URL, as DID documents are
	// compared with.
	HostName func(base string) (string, error)
	// WakeCrawl is called after an upstream's socket is open, and when a crawl of
	// its repos is wanted.
	WakeCrawl func(upstream int64)
	// Provers is the number of goroutines that verify; 0 means one per core.
	Provers int
	// Batch and Delay close a transaction: at so many events or after that time.
	Batch int
	Delay time.Duration
	// DirectoryQPS is how often per second the PLC directory is asked; 0 means 30.
	DirectoryQPS float64
	// NoAudit: commits do not question the rows. Only tests set it.
	NoAudit bool

	UserAgent string
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	Now       func() time.Time
	Log       *slog.Logger
	Metrics   *metrics.Metrics
}

// Ingest follows upstreams into the store.
type Ingest struct {
	cfg       Config
	upstreams []*upstream
	keys      *keyCache
	limits    *limits
	memory    *semaphore.Weighted
	inFlight  atomic.Int64
	work      chan *slot
}

// upstream is one followed firehose.
type upstream struct {
	id       int64
	base     string // http form of its URL
	host     string // canonical
	given    string // the name that the operator gave it
	consumer *firehose.Consumer
	queue    chan *slot
	kind     atomic.Value // store.Kind
	name     atomic.Value // string: of a PDS, beside host
	hasSeq   atomic.Bool  // a position is known: the next connection has a cursor
	ready    atomic.Bool  // connected has done its part for the present connection
	progress progress
}

func (u *upstream) isPDS() bool {
	k, _ := u.kind.Load().(store.Kind)
	return k == store.KindPDS
}

func (u *upstream) connected() bool { return u.consumer.Connected() && u.ready.Load() }

// isCalled reports whether the upstream is a PDS and documents may call it so.
func (u *upstream) isCalled(host string) bool {
	return u.isPDS() && host != "" && (host == u.host || host == u.name.Load())
}

// speaker returns the name of a PDS to those who compare it with that of a document: the
// same if both mean this one. Empty means a relay.
func (u *upstream) speaker(named *repostate.Identity) string {
	switch {
	case !u.isPDS():
		return ""
	case named != nil && u.isCalled(named.Host):
		return named.Host
	}
	return u.host
}

// slot is one event on its way.
type slot struct {
	up      *upstream
	frame   event.Frame
	notice  firehose.Notice
	cursor  int64
	reset   bool
	missed  int64 // sequence numbers between our cursor and a connection's first event
	size    int64
	rev     atproto.TID   // as the message states it
	done    chan struct{} // closed when the fields below are set
	key     string        // the signing key that the prover used; empty if none is known
	proof   proof
	refusal *refusal.Error
	refused refusal.Reason // the last one that it was counted under
	fault   error          // of our file
	kind    kind
}

// New registers the upstreams in the file and prepares to follow them.
func New(ctx context.Context, cfg Config) (*Ingest, error) {
	if cfg.Provers == 0 {
		cfg.Provers = runtime.GOMAXPROCS(0)
	}
	if cfg.Batch == 0 {
		cfg.Batch = defaultBatch
	}
	if cfg.Delay == 0 {
		cfg.Delay = defaultDelay
	}
	if cfg.DirectoryQPS == 0 {
		cfg.DirectoryQPS = defaultDirectoryQPS
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	bare := cfg.Log // each component adds its own name
	cfg.Log = cfg.Log.With("component", "ingest")
	in := &Ingest{
		cfg: cfg, keys: newKeyCache(cfg.Store), limits: newLimits(cfg.DirectoryQPS, len(cfg.Upstreams)),
		memory: semaphore.NewWeighted(waiting), work: make(chan *slot, 4*cfg.Provers),
	}
	for _, raw := range cfg.Upstreams {
		u, err := in.add(ctx, raw, bare)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", raw, err)
		}
		in.upstreams = append(in.upstreams, u)
	}
	return in, nil
}

func (in *Ingest) add(ctx context.Context, raw string, log *slog.Logger) (*upstream, error) {
	base, given, err := ParseUpstream(raw)
	if err != nil {
		return nil, err
	}
	host, err := in.cfg.HostName(base)
	if err != nil {
		return nil, err
	}
	var row store.Upstream
	err = in.cfg.Store.Update(ctx, "add upstream", func(tx *store.Tx) (err error) {
		row, err = tx.AddUpstream(base)
		return err
	})
	if err != nil {
		return nil, err
	}
	u := &upstream{id: row.ID, base: base, host: host, given: given, queue: make(chan *slot, queued)}
	u.kind.Store(row.Kind)
	u.name.Store(row.Name)
	if given != "" {
		u.kind.Store(store.KindPDS)
		u.name.Store(given)
	}
	u.hasSeq.Store(row.Cursor != 0)
	u.consumer, err = firehose.New(firehose.Config{
		URL: base, UserAgent: in.cfg.UserAgent, Dial: in.cfg.Dial, Cursor: row.Cursor, Log: log,
		OnConnect: func(ctx context.Context) error { return in.connected(ctx, u) },
		Count:     func(reason refusal.Reason) { in.refusedFrame(u, reason) },
	})
	return u, err
}

// ParseUpstream reads an upstream as operators write it: a URL, and behind a # the host
// that DID documents call a PDS, where that is another one.
func ParseUpstream(raw string) (base, name string, err error) {
	raw, name, named := strings.Cut(raw, "#")
	if base, err = BaseURL(raw); err != nil || !named {
		return base, "", err
	}
	name, err = atproto.Hosts{AllowPrivate: true}.Name(name)
	return base, name, err
}

// BaseURL is the http form of an upstream's URL, without a trailing slash.
func BaseURL(raw string) (string, error) {
	if !strings.Contains(raw, "://") {
		return "", fmt.Errorf("no scheme: wants ws, wss, http or https, as in wss://%s", atproto.Clip(raw))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	switch u.Scheme {
	case "wss", "https":
		u.Scheme = "https"
	case "ws", "http":
		u.Scheme = "http"
	default:
		return "", fmt.Errorf("scheme %q: wants ws, wss, http or https", u.Scheme)
	}
	if u.Host == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("wants a host and nothing else")
	}
	return u.Scheme + "://" + u.Host, nil
}

// Route returns the base URL at which the operator has a PDS that documents call
// otherwise: perhaps it is not in reach by that name. Others have their own.
func (in *Ingest) Route(base string) string {
	_, host, _ := strings.Cut(base, "://")
	route := base
	for _, u := range in.upstreams {
		switch {
		case u.host == host:
			return base
		case route == base && u.isCalled(host):
			route = u.base
		}
	}
	return route
}

// connected finds out what the upstream is, and asks for a crawl of its repos
// when the connection starts live: whatever happened before is unknown.
func (in *Ingest) connected(ctx context.Context, u *upstream) error {
	u.ready.Store(false)
	k, name := store.KindPDS, u.given
	if name == "" {
		var err error
		if k, name, err = in.cfg.Kind(ctx, u.base); err != nil {
			return fmt.Errorf("what is it: %w", err)
		}
	}
	err := in.cfg.Store.Update(ctx, "connected", func(tx *store.Tx) error {
		if err := tx.SetKind(u.id, k, name); err != nil || u.hasSeq.Load() {
			return err
		}
		return tx.WantCrawl(store.CrawlID{Kind: store.OfUpstream, Server: u.id})
	})
	if err != nil {
		return err
	}
	u.name.Store(name)
	u.kind.Store(k)
	u.progress.heard.CompareAndSwap(0, in.cfg.Now().UnixNano())
	in.cfg.Log.Info("connected", "upstream", u.base, "kind", k, "name", name)
	in.wakeCrawl(u)
	u.ready.Store(true)
	return nil
}

func (in *Ingest) wakeCrawl(u *upstream) {
	if in.cfg.WakeCrawl != nil {
		in.cfg.WakeCrawl(u.id)
	}
}

// refusedFrame counts what ended a connection and so never became an event.
// Notices reach the judge, who counts them; repeated numbers are too many for
// the file.
func (in *Ingest) refusedFrame(u *upstream, reason refusal.Reason) {
	switch reason {
	case refusal.SequenceReset, refusal.SequenceGap, refusal.SequenceFuture:
		return
	}
	in.cfg.Metrics.Refused(reason)
	if reason == refusal.SequenceRepeated {
		return
	}
	err := in.cfg.Store.Update(context.Background(), "refuse a frame", func(tx *store.Tx) error {
		return tx.AddRefusals([]store.Refused{{Reason: reason, Source: u.host, Detail: "the connection ended", At: tx.Now().UTC()}})
	})
	if err != nil {
		in.cfg.Log.Warn("store a refusal", "err", err)
	}
}

// InFlight is the number of events received and not committed.
func (in *Ingest) InFlight() int64 { return in.inFlight.Load() }

// Connected reports whether an upstream is followed: its socket is open, and a crawl
// of its repos is under way if one is wanted.
func (in *Ingest) Connected(id int64) bool {
	for _, u := range in.upstreams {
		if u.id == id {
			return u.connected()
		}
	}
	return false
}

// Upstreams returns the ids of the followed upstreams in the file.
func (in *Ingest) Upstreams() []int64 {
	ids := make([]int64, len(in.upstreams))
	for i, u := range in.upstreams {
		ids[i] = u.id
	}
	return ids
}

// Run follows the upstreams until ctx ends, then commits what was received. It
// fails only when the file does.
func (in *Ingest) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readers, provers, mergers sync.WaitGroup
	for range in.cfg.Provers {
		provers.Go(func() { in.prove(ctx) })
	}
	merged := make(chan *slot)
	for _, u := range in.upstreams {
		readers.Go(func() {
			defer close(u.queue)
			if err := u.consumer.Run(ctx, func(ctx context.Context, it firehose.Item) error { return in.receive(ctx, u, it) }); err != nil && ctx.Err() == nil {
				in.cfg.Log.Error("upstream given up", "upstream", u.base, "err", err)
			}
		})
		mergers.Go(func() {
			for s := range u.queue {
				<-s.done
				merged <- s
			}
		})
	}
	failed := make(chan error, 1)
	go func() {
		err := in.commitBatches(ctx, merged)
		cancel() // a failure of the file stops the readers
		for range merged {
			// nothing more can be committed
		}
		failed <- err
	}()
	readers.Wait()
	close(in.work)
	provers.Wait()
	mergers.Wait()
	close(merged)
	return <-failed
}

// receive puts an event into its place and gives it to a prover.
func (in *Ingest) receive(ctx context.Context, u *upstream, it firehose.Item) error {
	s := &slot{up: u, frame: it.Frame, notice: it.Notice, cursor: it.Cursor, reset: it.ResetCursor, missed: it.Missed, done: make(chan struct{})}
	s.kind = kindOf(s.frame.Event)
	u.progress.heard.Store(in.cfg.Now().UnixNano())
	in.cfg.Metrics.Event(s.kind.String())
	if s.kind.signed() {
		var blocks int
		s.rev, blocks = statedBy(s.frame.Event)
		s.size = min(int64(blocks)+1024, waiting)
		if err := in.memory.Acquire(ctx, s.size); err != nil {
			return err
		}
	}
	if it.Cursor != 0 || it.ResetCursor {
		u.hasSeq.Store(it.Cursor != 0)
	}
	in.inFlight.Add(1)
	select {
	case u.queue <- s:
	case <-ctx.Done():
		in.drop(s)
		return ctx.Err()
	}
	if !s.kind.signed() {
		close(s.done)
		return nil
	}
	in.work <- s // provers run until every reader has returned
	return nil
}

func (in *Ingest) drop(s *slot) {
	in.inFlight.Add(-1)
	in.memory.Release(s.size)
}
