package simnet

import (
	"encoding/json"
	"net/http"
	"strings"

	"railyard/internal/atproto"
)

// document is a DID document (spec: did).
type document struct {
	Context     []string             `json:"@context"`
	ID          string               `json:"id"`
	AlsoKnownAs []string             `json:"alsoKnownAs"`
	Methods     []verificationMethod `json:"verificationMethod"`
	Services    []service            `json:"service"`
}

type verificationMethod struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Controller string `json:"controller"`
	Key        string `json:"publicKeyMultibase"`
}

type service struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Endpoint string `json:"serviceEndpoint"`
}

func documentOf(a *account) *document {
	suite := "https://w3id.org/security/suites/secp256k1-2019/v1"
	if a.key.curve.name == "P-256" {
		suite = "https://w3id.org/security/suites/ecdsa-2019/v1"
	}
	return &document{
		Context:     []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1", suite},
		ID:          a.did,
		AlsoKnownAs: []string{"at://" + a.handle},
		Methods:     []verificationMethod{{a.did + "#atproto", "Multikey", a.did, a.key.public.Multibase()}},
		Services:    []service{{"#atproto_pds", "AtprotoPersonalDataServer", a.pds.url}},
	}
}

// logEntry is one entry of a DID's audit log. The operations are not signed:
// nothing here checks them.
type logEntry struct {
	DID       string       `json:"did"`
	Operation plcOperation `json:"operation"`
	CID       string       `json:"cid"`
	Nullified bool         `json:"nullified"`
	CreatedAt string       `json:"createdAt"`
}

type plcOperation struct {
	Type        string                `json:"type"`
	Rotation    []string              `json:"rotationKeys"`
	Methods     map[string]string     `json:"verificationMethods"`
	AlsoKnownAs []string              `json:"alsoKnownAs"`
	Services    map[string]plcService `json:"services"`
	Prev        *string               `json:"prev"`
	Sig         string                `json:"sig"`
}

type plcService struct {
	Type     string `json:"type"`
	Endpoint string `json:"endpoint"`
}

// auditLog has one operation for each signing key that the account had.
func auditLog(a *account) []logEntry {
	var entries []logEntry
	var prev *string
	for _, key := range a.keys {
		op := plcOperation{
			Type: "plc_operation", Rotation: []string{}, Prev: prev,
			Methods:     map[string]string{"atproto": key.public.DIDKey()},
			AlsoKnownAs: []string{"at://" + a.handle},
			Services:    map[string]plcService{"atproto_pds": {"AtprotoPersonalDataServer", a.pds.url}},
		}
		text, _ := json.Marshal(op) // strings and maps of strings: cannot fail
		cid := atproto.DigestOf(text).String()
		entries = append(entries, logEntry{DID: a.did, Operation: op, CID: cid, CreatedAt: stamp(a.created)})
		prev = &cid
	}
	return entries
}

// plcRoutes answers GET /<did> and GET /<did>/log/audit.
func (n *Network) plcRoutes(*host) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		did, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		body, kind, refusal := n.lookUp(did, rest)
		if refusal != "" {
			writeJSON(w, http.StatusNotFound, "application/json; charset=utf-8", map[string]string{"message": refusal})
			return
		}
		writeJSON(w, http.StatusOK, kind, body)
	})
}

func (n *Network) lookUp(did, rest string) (body any, contentType, refusal string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.byDID[did]
	switch {
	case did == "_health":
		return map[string]string{"version": "simnet"}, "application/json; charset=utf-8", ""
	case a == nil:
		return nil, "", "DID not registered: " + did
	case rest == "log/audit":
		return auditLog(a), "application/json; charset=utf-8", ""
	case rest != "":
		return nil, "", "Not Found"
	case a.tombstoned:
		return nil, "", "DID not available: " + did
	}
	return documentOf(a), "application/did+ld+json; charset=utf-8", ""
}
