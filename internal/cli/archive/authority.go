package archive

import (
	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/identity"
)

// Authority says whose key counts for a commit, and where that is known from.
type Authority struct {
	// Key is empty where none is known.
	Key identity.Key
	// Given: somebody vouches for the key, and no document is looked at.
	Given bool
	// Identity is that of the document, if it is one of the DID.
	Identity *identity.Identity
	// Err says why the document does not count: a *refusal.Error, or anything
	// else where it could not be had.
	Err error
}

// Given is the authority of a key that the caller vouches for.
func Given(pub atcrypto.PublicKey) (Authority, error) {
	key, err := identity.KeyOf(pub)
	return Authority{Key: key, Given: true}, err
}

// Resolved is the authority of an identity, as Resolver.Resolve returns it.
func Resolved(id identity.Identity, err error) Authority {
	if err != nil {
		return Authority{Err: err}
	}
	return Authority{Key: id.Key, Identity: &id}
}

// Document is the authority of a DID document for a DID. A document of another
// DID has no authority; its key is kept all the same, because whether the
// signature is good under it is worth knowing.
func Document(did string, raw []byte) Authority {
	hosts := atproto.Hosts{AllowPrivate: true} // no request goes to the host
	id, err := identity.ParseDocument(did, raw, hosts)
	auth := Resolved(id, err)
	if err == nil {
		return auth
	}
	var named struct {
		ID string `json:"id"`
	}
	if len(raw) > identity.MaxDocument || exactjson.Unmarshal(raw, &named) != nil {
		return auth
	}
	if other, err := identity.ParseDocument(named.ID, raw, hosts); err == nil {
		auth.Key = other.Key
	}
	return auth
}
