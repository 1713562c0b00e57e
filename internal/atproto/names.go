package atproto

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// MaxKeyLen is the longest legal key of a repo's tree: an NSID of 317 bytes, a
// slash, a record key of 512.
const MaxKeyLen = 317 + 1 + 512

// ErrName is wrapped by every refusal of a DID, an NSID or a path.
var ErrName = errors.New("not valid")

// ParseDID accepts the DIDs that can own a repo: did:plc of exactly 32
// characters and did:web of a host alone (spec: did). DIDs are compared byte
// for byte; nothing is folded.
func ParseDID(text string) (string, error) {
	if _, err := syntax.ParseDID(text); err != nil {
		return "", fmt.Errorf("did %q: %w: %w", clip(text), ErrName, err)
	}
	switch {
	case strings.HasPrefix(text, "did:plc:"):
		if len(text) != 32 || strings.Trim(text[8:], "abcdefghijklmnopqrstuvwxyz234567") != "" {
			return "", fmt.Errorf("did %q: %w: a did:plc has 24 characters of a-z and 2-7", clip(text), ErrName)
		}
	case strings.HasPrefix(text, "did:web:"):
		if strings.Contains(text[8:], ":") {
			return "", fmt.Errorf("did %q: %w: atproto allows no path in a did:web", clip(text), ErrName)
		}
	default:
		return "", fmt.Errorf("did %q: %w: only did:plc and did:web own repos", clip(text), ErrName)
	}
	return text, nil
}

// ParseNSID accepts the name of a collection. Case is kept: two spellings are
// two collections, because they are two keys in the tree.
func ParseNSID(text string) (string, error) {
	if _, err := syntax.ParseNSID(text); err != nil {
		return "", fmt.Errorf("nsid %q: %w: %w", clip(text), ErrName, err)
	}
	return text, nil
}

// CollectionOf gives the collection of a tree key: what stands before its
// slash. It is the one function that maps a key to a collection; it does not
// check the NSID (ParsePath does). ok is false for a key without a slash.
func CollectionOf(key string) (nsid string, ok bool) {
	i := strings.IndexByte(key, '/')
	if i <= 0 {
		return "", false
	}
	return key[:i], true
}

// ParsePath accepts a record's path "collection/rkey" (spec: repository, with
// ':' allowed in record keys as all implementations do).
func ParsePath(path string) (collection, rkey string, err error) {
	collection, ok := CollectionOf(path)
	if !ok {
		return "", "", fmt.Errorf("path %q: %w: no collection", clip(path), ErrName)
	}
	if _, err := ParseNSID(collection); err != nil {
		return "", "", err
	}
	rkey = path[len(collection)+1:]
	if _, err := syntax.ParseRecordKey(rkey); err != nil {
		return "", "", fmt.Errorf("path %q: %w: %w", clip(path), ErrName, err)
	}
	return collection, rkey, nil
}
