package simnet

import (
	"cmp"
	"net/http"
	"strings"
	"time"
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

// document returns what the directory says in this plcOp.
func (e *plcOp) document() *document {
	suite := "https://w3id.org/security/suites/secp256k1-2019/v1"
	if e.key.curve.name == "P-256" {
		suite = "https://w3id.org/security/suites/ecdsa-2019/v1"
	}
	return &document{
		Context:     []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1", suite},
		ID:          e.did,
		AlsoKnownAs: []string{"at://" + e.handle},
		Methods:     []verificationMethod{{e.did + "#atproto", "Multikey", e.did, e.key.public.Multibase()}},
		Services:    []service{{"#atproto_pds", "AtprotoPersonalDataServer", e.pds.url}},
	}
}

// Directory is what the PLC directory does otherwise than a quick one.
type Directory struct {
	// Lag is by how much its documents are old.
	Lag time.Duration
	// TombstoneStatus is the HTTP status for a tombstoned DID: 404, which is 0 here,
	// or 410.
	TombstoneStatus int
	// TimeOnly is the export of older servers, which knows no sequence numbers.
	TimeOnly bool
}

// SetDirectory changes the policy of the directory from now on.
func (n *Network) SetDirectory(to Directory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.directory = to
}

// plcRoutes answers GET /<did>, GET /<did>/log/audit and GET /export.
func (n *Network) plcRoutes(*host) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		did, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if did == "export" && rest == "" {
			n.export(w, r.URL.Query(), matchesOf(r))
			return
		}
		body, kind, err := n.lookUp(did, rest, matchesOf(r))
		if err != nil {
			plcRefuse(w, err)
			return
		}
		writeJSON(w, http.StatusOK, kind, body)
	})
}

// plcError is a refusal of the directory.
type plcError struct {
	status  int
	message string
}

func plcRefuse(w http.ResponseWriter, e *plcError) {
	writeJSON(w, e.status, "application/json; charset=utf-8", map[string]string{"message": e.message})
}

func (n *Network) lookUp(did, rest string, all matches) (body any, contentType string, refusal *plcError) {
	const plain = "application/json; charset=utf-8"
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.byDID[did]
	switch {
	case did == "_health":
		return map[string]string{"version": "simnet"}, plain, nil
	case a == nil:
		return nil, "", &plcError{http.StatusNotFound, "DID not registered: " + did}
	case rest == "log/audit":
		var entries []logEntry
		for _, e := range a.plcOp.history() {
			entries = append(entries, e.entry())
		}
		return entries, plain, nil
	case rest != "":
		return nil, "", &plcError{http.StatusNotFound, "Not Found"}
	}
	if refusal := unresolvable(did, all); refusal != nil {
		return nil, "", refusal
	}
	e := a.plcOp.seenAt(time.Now().Add(-n.directory.Lag))
	if e.tombstone {
		return nil, "", &plcError{cmp.Or(n.directory.TombstoneStatus, http.StatusNotFound), "DID not available: " + did}
	}
	return n.misquote(e, all), "application/did+ld+json; charset=utf-8", nil
}
