package identity

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"railyard/internal/atproto"
	"railyard/internal/outbound"
	"railyard/internal/refusal"
)

// lookupTimeout bounds one request for a document.
const lookupTimeout = 15 * time.Second

// Config is what a Resolver needs.
type Config struct {
	Client *outbound.Client
	PLCURL string // of the PLC directory, "https://plc.directory"

	// QPS bounds the requests per second to the PLC directory; 0 means no bound.
	// The directory publishes no limit for reads.
	QPS float64

	Hosts atproto.Hosts
	Log   *slog.Logger // look-ups, at debug level; nil means silence
}

// Resolver fetches DID documents. It is safe for concurrent use.
type Resolver struct {
	client *outbound.Client
	plc    string
	limit  *rate.Limiter
	hosts  atproto.Hosts
	log    *slog.Logger
}

// NewResolver makes a resolver; it starts nothing.
func NewResolver(cfg Config) *Resolver {
	r := &Resolver{
		client: cfg.Client,
		plc:    strings.TrimRight(cfg.PLCURL, "/"),
		limit:  rate.NewLimiter(rate.Inf, 1),
		hosts:  cfg.Hosts,
		log:    slog.New(slog.DiscardHandler),
	}
	if cfg.QPS > 0 {
		r.limit = rate.NewLimiter(rate.Limit(cfg.QPS), 1)
	}
	if cfg.Log != nil {
		r.log = cfg.Log.With("component", "identity")
	}
	return r
}

// Resolve fetches and reads the document of a DID: did:plc from the directory,
// did:web from its host. Errors are
//   - a *refusal.Error: BadDID; IdentityUnresolved with ErrNoDocument;
//     IdentityInvalid; ForbiddenAddress for a did:web host that may not be asked;
//   - the error of the context, when the caller ended it;
//   - *Unavailable for everything else.
func (r *Resolver) Resolve(ctx context.Context, did string) (Identity, error) {
	if _, err := atproto.ParseDID(did); err != nil {
		return Identity{}, refusal.New(refusal.BadDID, "%w", err)
	}
	target, err := r.documentURL(did)
	if err != nil {
		return Identity{}, err
	}
	if strings.HasPrefix(did, "did:plc:") {
		if err := r.Pace(ctx); err != nil {
			return Identity{}, failed(ctx, err)
		}
	}
	doc, err := r.fetch(ctx, did, target, "application/did+ld+json, application/json", MaxDocument)
	if err == nil {
		var id Identity
		if id, err = ParseDocument(did, doc, r.hosts); err == nil {
			return id, nil
		}
	}
	r.log.DebugContext(ctx, "did not resolved", "did", atproto.Clip(did), "err", err)
	return Identity{}, err
}

// documentURL says where the document of a DID is (spec: did; did:web has no
// path in atproto).
func (r *Resolver) documentURL(did string) (string, error) {
	if strings.HasPrefix(did, "did:plc:") {
		return r.plc + "/" + did, nil
	}
	name, err := url.PathUnescape(strings.TrimPrefix(did, "did:web:"))
	if err != nil {
		return "", invalid("%s: %w", atproto.Clip(did), err)
	}
	host, err := r.hosts.Name(name)
	if err != nil {
		return "", invalid("%s: %w", atproto.Clip(did), err)
	}
	scheme := "https"
	if r.hosts.AllowPrivate && loopback(host) {
		scheme = "http"
	}
	return scheme + "://" + host + "/.well-known/did.json", nil
}

// loopback reports whether a canonical host is this machine: in development its
// servers have no certificates.
func loopback(host string) bool {
	u, err := url.Parse("http://" + host)
	if err != nil {
		return false
	}
	name := u.Hostname()
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || (err == nil && addr.IsLoopback())
}

// Pace waits until the directory may be asked once more. Whoever else sends it
// requests waits here too.
func (r *Resolver) Pace(ctx context.Context) error { return r.limit.Wait(ctx) }

func (r *Resolver) fetch(ctx context.Context, did, target, accept string, most int64) ([]byte, error) {
	resp, err := r.client.Get(ctx, outbound.Request{URL: target, Accept: accept, MaxBytes: most, Timeout: lookupTimeout})
	if err != nil {
		return nil, failed(ctx, err)
	}
	body, err := resp.ReadAll()
	switch resp.Status {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, refusal.New(refusal.IdentityUnresolved, "%s: status %d: %w", atproto.Clip(did), resp.Status, ErrNoDocument)
	default:
		return nil, &Unavailable{Status: resp.Status, RetryAfter: resp.RetryAfter(time.Now())}
	}
	if err != nil {
		return nil, failed(ctx, err)
	}
	return body, nil
}

// failed sorts the errors of a request.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	switch reason, _ := refusal.ReasonOf(err); reason {
	case refusal.AnswerTooBig, refusal.AnswerInvalid:
		return invalid("document: %w", err)
	case refusal.ForbiddenAddress:
		return err
	}
	return &Unavailable{Err: err}
}
