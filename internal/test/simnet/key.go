package simnet

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// curve is one of the two curves of atproto: its order and the base point
// multiplication, as a compressed public key.
type curve struct {
	name  string
	order *big.Int
	mul   func(scalar []byte) (atcrypto.PublicKey, error)
}

func k256() curve {
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	return curve{"K-256", order, func(scalar []byte) (atcrypto.PublicKey, error) {
		key, err := atcrypto.ParsePrivateBytesK256(scalar)
		if err != nil {
			return nil, err
		}
		return key.PublicKey()
	}}
}

func p256() curve {
	return curve{"P-256", elliptic.P256().Params().N, func(scalar []byte) (atcrypto.PublicKey, error) {
		key, err := atcrypto.ParsePrivateBytesP256(scalar)
		if err != nil {
			return nil, err
		}
		return key.PublicKey()
	}}
}

// signingKey signs the commits of one account. Its signatures are
// deterministic (RFC 6979) so that a seed gives the same commit CIDs in every
// run; the libraries at hand mix in randomness.
type signingKey struct {
	curve  curve
	secret *big.Int
	public atcrypto.PublicKey
}

// newKey derives a key from the seed, the number of the account and how often
// its key was rotated. One account in eight has a P-256 key.
func newKey(seed uint64, account, rotation int) (*signingKey, error) {
	c := k256()
	if account%8 == 5 {
		c = p256()
	}
	d := new(big.Int).SetBytes(seeded(seed, "key", account, rotation))
	d.Mod(d, new(big.Int).Sub(c.order, big.NewInt(1))).Add(d, big.NewInt(1))
	public, err := c.mul(d.FillBytes(make([]byte, 32)))
	if err != nil {
		return nil, fmt.Errorf("%s key of account %d: %w", c.name, account, err)
	}
	return &signingKey{curve: c, secret: d, public: public}, nil
}

// seeded returns 32 bytes that depend on the seed, a word and two numbers only.
func seeded(seed uint64, word string, a, b int) []byte {
	h := sha256.New()
	var n [24]byte
	binary.BigEndian.PutUint64(n[:], seed)
	binary.BigEndian.PutUint64(n[8:], uint64(a))
	binary.BigEndian.PutUint64(n[16:], uint64(b))
	h.Write(n[:])
	h.Write([]byte(word))
	return h.Sum(nil)
}

// sign returns the 64 bytes r‖s over the SHA-256 of the message, with the low s
// that atproto demands (spec: cryptography).
func (k *signingKey) sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	n := k.curve.order
	z := new(big.Int).SetBytes(digest[:])
	nonces := newNonces(k.secret, new(big.Int).Mod(z, n))
	for {
		nonce := nonces.next()
		if nonce.Sign() == 0 || nonce.Cmp(n) >= 0 {
			continue
		}
		point, err := k.curve.mul(nonce.FillBytes(make([]byte, 32)))
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		r := new(big.Int).SetBytes(point.Bytes()[1:33])
		r.Mod(r, n)
		s := new(big.Int).Mul(r, k.secret)
		s.Add(s, z).Mul(s, new(big.Int).ModInverse(nonce, n)).Mod(s, n)
		if r.Sign() == 0 || s.Sign() == 0 {
			continue
		}
		if s.Cmp(new(big.Int).Rsh(n, 1)) > 0 {
			s.Sub(n, s)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig, nil
	}
}

// nonces is the generator of RFC 6979, section 3.2, for SHA-256 and curves of
// 256 bits.
type nonces struct {
	k, v  []byte
	first bool
}

func newNonces(secret, digest *big.Int) *nonces {
	seed := append(secret.FillBytes(make([]byte, 32)), digest.FillBytes(make([]byte, 32))...)
	g := &nonces{k: make([]byte, 32), v: make([]byte, 32), first: true}
	for i := range g.v {
		g.v[i] = 1
	}
	g.mix(0, seed)
	g.mix(1, seed)
	return g
}

func (g *nonces) mix(marker byte, seed []byte) {
	g.k = mac(g.k, g.v, []byte{marker}, seed)
	g.v = mac(g.k, g.v)
}

func (g *nonces) next() *big.Int {
	if !g.first {
		g.mix(0, nil)
	}
	g.first = false
	g.v = mac(g.k, g.v)
	return new(big.Int).SetBytes(g.v)
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}
