package identity

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/refusal"
)

const (
	// maxAuditLog bounds the log of one DID, in bytes: the directory takes some
	// hundred operations a week, nearly all DIDs have fewer than ten in all.
	maxAuditLog = 4 << 20
	// maxEarlierKeys bounds the keys that are given, so that nobody can make a
	// caller check a signature a thousand times.
	maxEarlierKeys = 64
)

// EarlierKey is a signing key that a DID had once.
type EarlierKey struct {
	Key        Key
	Superseded time.Time // when another key, or none, took its place
}

// EarlierKeys asks the directory for the signing keys that a did:plc had before
// the one that it has now, the newest first and each once, at most 64.
// Operations that were nullified do not count, nor do keys of other curves. A
// did:web has no history: none, and no error. Errors are those of Resolve.
func (r *Resolver) EarlierKeys(ctx context.Context, did string) ([]EarlierKey, error) {
	if _, err := atproto.ParseDID(did); err != nil {
		return nil, refusal.New(refusal.BadDID, "%w", err)
	}
	if !strings.HasPrefix(did, "did:plc:") {
		return nil, nil
	}
	if err := r.Pace(ctx); err != nil {
		return nil, failed(ctx, err)
	}
	body, err := r.fetch(ctx, did, r.plc+"/"+did+"/log/audit", "application/json", maxAuditLog)
	if err != nil {
		return nil, err
	}
	return earlierKeys(did, body)
}

// earlierKeys reads an audit log, which is in the order of time.
func earlierKeys(did string, body []byte) ([]EarlierKey, error) {
	var lines []json.RawMessage
	if err := exactjson.Unmarshal(body, &lines); err != nil {
		return nil, invalid("audit log of %s: %w", atproto.Clip(did), err)
	}
	if len(lines) == 0 {
		return nil, invalid("audit log of %s without an operation", atproto.Clip(did))
	}
	var now Key
	var last time.Time
	ended := make(map[Key]time.Time)
	for _, line := range lines {
		e, err := ParseLogEntry(line)
		switch {
		case err != nil:
			return nil, err
		case e.DID != did:
			return nil, invalid("audit log of %s has an operation of %s", atproto.Clip(did), e.DID)
		case e.CreatedAt.Before(last):
			return nil, invalid("audit log of %s is not in the order of time", atproto.Clip(did))
		}
		last = e.CreatedAt
		if e.Nullified {
			continue
		}
		if next := e.signingKey(); next != now {
			ended[now], now = e.CreatedAt, next
		}
	}
	return newestFirst(ended, now), nil
}

// newestFirst leaves out the key of now, and the absence of one.
func newestFirst(ended map[Key]time.Time, now Key) []EarlierKey {
	delete(ended, now)
	delete(ended, "")
	keys := make([]EarlierKey, 0, len(ended))
	for k, at := range ended {
		keys = append(keys, EarlierKey{Key: k, Superseded: at})
	}
	slices.SortFunc(keys, func(a, b EarlierKey) int {
		if c := b.Superseded.Compare(a.Superseded); c != 0 {
			return c
		}
		return strings.Compare(string(a.Key), string(b.Key))
	})
	return keys[:min(len(keys), maxEarlierKeys)]
}

// signingKey is the key that the operation names, empty if there is none that
// can sign a repo.
func (e LogEntry) signingKey() Key {
	op, err := e.read()
	if err != nil {
		return ""
	}
	key, err := op.key()
	if err != nil {
		return ""
	}
	return key
}
