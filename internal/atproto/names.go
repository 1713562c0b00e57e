package atproto

import (
	"errors"
	"fmt"
	"strings"
)

// MaxKeyLen is the longest legal key of a repo's tree: an NSID of 317 bytes, a
// slash, a record key of 512.
const MaxKeyLen = maxNSID + 1 + maxRkey

// ErrName is wrapped by every refusal of a DID, an NSID or a path.
var ErrName = errors.New("not valid")

// ParseDID accepts the DIDs that can own a repo: did:plc of exactly 32
// characters and did:web of a host alone (spec: did). DIDs are compared byte
// for byte; nothing is folded.
func ParseDID(text string) (string, error) {
	var why string
	switch {
	case strings.HasPrefix(text, "did:plc:"):
		if len(text) == 32 && all(text[8:], inTID) {
			return text, nil
		}
		why = "a did:plc has 24 characters of a-z and 2-7"
	case len(text) > maxDID:
		why = "too long"
	case strings.HasPrefix(text, "did:web:"):
		if isWeb(text[8:]) {
			return text, nil
		}
		why = "a did:web is that of a host, without a path"
	default:
		why = "only did:plc and did:web own repos"
	}
	return "", fmt.Errorf("did %q: %w: %s", Clip(text), ErrName, why)
}

// ParseNSID accepts the name of a collection. Case is kept: two spellings are
// two collections, because they are two keys in the tree.
func ParseNSID(text string) (string, error) {
	if !IsNSID(text) {
		return "", fmt.Errorf("nsid %q: %w", Clip(text), ErrName)
	}
	return text, nil
}

// LowestRkey is the smallest record key there is (spec: record-key): no record of a
// collection stands before its path.
const LowestRkey = "-"

// CollectionOf returns the collection of a tree key: what stands before its
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
		return "", "", fmt.Errorf("path %q: %w: no collection", Clip(path), ErrName)
	}
	if _, err := ParseNSID(collection); err != nil {
		return "", "", err
	}
	rkey = path[len(collection)+1:]
	if !isRkey(rkey) {
		return "", "", fmt.Errorf("path %q: %w: its record key", Clip(path), ErrName)
	}
	return collection, rkey, nil
}
