package identity

import (
	"errors"
	"fmt"
	"strings"

	"railyard/internal/atproto"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"
)

// Multicodec prefixes of the two curves (spec: cryptography).
const (
	prefixK256 = "\xe7\x01"
	prefixP256 = "\x80\x24"
)

const (
	compressedLen   = 33
	uncompressedLen = 65

	// maxMultibase is more than base58 makes of the longest key, 90 characters.
	maxMultibase = 100
)

// Key is a signing key: two bytes that name the curve and the 33 bytes of the
// compressed point. It is what a Multikey encodes and what the file stores. Two
// keys are the same key if they are equal.
type Key string

// KeyOf is the key in its stored form.
func KeyOf(pub atcrypto.PublicKey) (Key, error) {
	switch pub := pub.(type) {
	case *atcrypto.PublicKeyK256:
		return Key(prefixK256 + string(pub.Bytes())), nil
	case *atcrypto.PublicKeyP256:
		return Key(prefixP256 + string(pub.Bytes())), nil
	}
	return "", fmt.Errorf("key of type %T", pub)
}

// Public parses the key for verification. It fails for anything but a point on
// one of the two curves.
func (k Key) Public() (atcrypto.PublicKey, error) {
	if len(k) != 2+compressedLen {
		return nil, fmt.Errorf("key of %d bytes, not %d", len(k), 2+compressedLen)
	}
	switch point := []byte(k[2:]); k[:2] {
	case prefixK256:
		return orNil(atcrypto.ParsePublicBytesK256(point))
	case prefixP256:
		return orNil(atcrypto.ParsePublicBytesP256(point))
	}
	return nil, fmt.Errorf("key of unknown curve %x", string(k[:2]))
}

// String is the Multikey text, "zQ3s…" or "zDn…".
func (k Key) String() string { return "z" + base58.Encode([]byte(k)) }

// Types of verification methods that carry a signing key. The last two are of
// old documents: a bare point, uncompressed by their specification, compressed
// in some test data.
const (
	typeMultikey   = "Multikey"
	typeLegacyK256 = "EcdsaSecp256k1VerificationKey2019"
	typeLegacyP256 = "EcdsaSecp256r1VerificationKey2019"
)

func keyType(t string) bool {
	return t == typeMultikey || t == typeLegacyK256 || t == typeLegacyP256
}

// parseKey reads publicKeyMultibase as a verification method of this type has
// it.
func parseKey(methodType, multibase string) (Key, error) {
	raw, err := decodeMultibase(multibase)
	if err != nil {
		return "", err
	}
	var pub atcrypto.PublicKey
	switch methodType {
	case typeMultikey:
		pub, err = Key(raw).Public()
	case typeLegacyK256:
		pub, err = parsePoint(raw, atcrypto.ParsePublicBytesK256, atcrypto.ParsePublicUncompressedBytesK256)
	case typeLegacyP256:
		pub, err = parsePoint(raw, atcrypto.ParsePublicBytesP256, atcrypto.ParsePublicUncompressedBytesP256)
	default:
		return "", fmt.Errorf("key type %q", atproto.Clip(methodType))
	}
	if err != nil {
		return "", err
	}
	return KeyOf(pub)
}

func decodeMultibase(text string) ([]byte, error) {
	if len(text) > maxMultibase {
		return nil, fmt.Errorf("publicKeyMultibase of %d characters", len(text))
	}
	base58Text, ok := strings.CutPrefix(text, "z")
	if !ok || base58Text == "" {
		return nil, errors.New("publicKeyMultibase is not base58btc")
	}
	return base58.Decode(base58Text)
}

// parsePoint reads a bare point, compressed or not by its length.
func parsePoint[P atcrypto.PublicKey](raw []byte, compressed, uncompressed func([]byte) (P, error)) (atcrypto.PublicKey, error) {
	switch {
	case len(raw) == compressedLen:
		return orNil(compressed(raw))
	case len(raw) == uncompressedLen:
		return orNil(uncompressed(raw))
	}
	return nil, fmt.Errorf("a point of %d bytes", len(raw))
}

// orNil keeps a nil pointer out of the interface.
func orNil[P atcrypto.PublicKey](pub P, err error) (atcrypto.PublicKey, error) {
	if err != nil {
		return nil, err
	}
	return pub, nil
}
