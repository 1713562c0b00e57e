package identity

import (
	"encoding/json"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/refusal"
)

// MaxDocument is the longest DID document that is read, in bytes.
const MaxDocument = 64 << 10

// Identity is what a DID document says about a repo.
type Identity struct {
	DID      string
	Key      Key
	Host     string // of the PDS, canonical (atproto.Hosts.Endpoint)
	Insecure bool   // the endpoint is http:// (development only)
}

// URL is the base of requests to the host.
func (i Identity) URL() string { return atproto.BaseURL(i.Host, i.Insecure) }

// document is the part of a DID document that is read. Entries stay raw: other
// services and keys of the same document may have shapes of their own.
type document struct {
	ID                 string            `json:"id"`
	VerificationMethod []json.RawMessage `json:"verificationMethod"`
	Service            []json.RawMessage `json:"service"`
}

type verificationMethod struct {
	ID                 string `json:"id"`
	Type               string `json:"type"`
	Controller         string `json:"controller"`
	PublicKeyMultibase string `json:"publicKeyMultibase"`
}

type service struct {
	ID              string `json:"id"`
	Type            string `json:"type"`
	ServiceEndpoint string `json:"serviceEndpoint"`
}

// ParseDocument reads the identity of a DID out of its document. Every error is
// a *refusal.Error of the reason IdentityInvalid.
func ParseDocument(did string, raw []byte, hosts atproto.Hosts) (Identity, error) {
	if len(raw) > MaxDocument {
		return Identity{}, invalid("document of %s: %d bytes", atproto.Clip(did), len(raw))
	}
	var doc document
	if err := exactjson.Unmarshal(raw, &doc); err != nil {
		return Identity{}, invalid("document of %s: %w", atproto.Clip(did), err)
	}
	if doc.ID != did {
		return Identity{}, invalid("document of %s is of %s", atproto.Clip(did), atproto.Clip(doc.ID))
	}
	key, err := doc.signingKey()
	if err != nil {
		return Identity{}, invalid("document of %s: %w", atproto.Clip(did), err)
	}
	host, base, err := doc.pds(hosts)
	if err != nil {
		return Identity{}, invalid("document of %s: %w", atproto.Clip(did), err)
	}
	return Identity{DID: did, Key: key, Host: host, Insecure: strings.HasPrefix(base, "http://")}, nil
}

// signingKey takes the first method that is named #atproto, controlled by the
// DID and of a known type, and no later one if that is broken (spec: did).
func (d *document) signingKey() (Key, error) {
	for _, raw := range d.VerificationMethod {
		var m verificationMethod
		if exactjson.Unmarshal(raw, &m) != nil {
			continue
		}
		if d.names(m.ID, "#atproto") && m.Controller == d.ID && keyType(m.Type) {
			return parseKey(m.Type, m.PublicKeyMultibase)
		}
	}
	return "", errNoKey
}

// pds takes the first service that is named #atproto_pds and of the PDS type.
func (d *document) pds(hosts atproto.Hosts) (host, base string, err error) {
	for _, raw := range d.Service {
		var s service
		if exactjson.Unmarshal(raw, &s) != nil {
			continue
		}
		if d.names(s.ID, "#atproto_pds") && s.Type == "AtprotoPersonalDataServer" {
			return hosts.Endpoint(s.ServiceEndpoint)
		}
	}
	return "", "", errNoPDS
}

// names reports whether an id is this fragment, relative or absolute.
func (d *document) names(id, fragment string) bool {
	return id == fragment || id == d.ID+fragment
}

func invalid(format string, args ...any) *refusal.Error {
	return refusal.New(refusal.IdentityInvalid, format, args...)
}
