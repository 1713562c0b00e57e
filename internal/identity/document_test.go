package identity

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
	"railyard/internal/test/fixtures"
)

const (
	did      = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	otherDID = "did:plc:z72i7hdynmk6r22z27h6tvur"
	key1     = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
	key2     = "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
)

func TestTheTwoFormsOfARealDocumentGiveOneIdentity(t *testing.T) {
	for _, name := range []string{"did_plc_doc.json", "did_plc_doc_legacy.json"} {
		id, err := ParseDocument(did, fixtures.Read(t, "did-docs", name), atproto.Hosts{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := Identity{DID: did, Key: id.Key, Host: "bsky.social"}
		if id != want || id.Key.String() != key1 {
			t.Errorf("%s: got %+v with key %s", name, id, id.Key)
		}
	}
}

func TestADocumentWithoutARepoIsRefused(t *testing.T) {
	_, err := ParseDocument("did:web:discover.bsky.social", fixtures.Read(t, "did-docs", "did_web_doc.json"), atproto.Hosts{})
	if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid {
		t.Errorf("got %v", err)
	}
}

// What other members than the right ones say is nobody's word, however like the names are.
func TestMembersOfOtherNamesMeanNothing(t *testing.T) {
	for name, text := range map[string]string{
		"document": `{"id":%q,"ID":"did:plc:z72i7hdynmk6r22z27h6tvur","Service":[],"VERIFICATIONMETHOD":null,
			"verificationMethod":[{"id":"#atproto","Id":"#other","type":"Multikey","Type":"X","controller":%[1]q,"publicKeyMultibase":%q,"PublicKeyMultibase":"z"}],
			"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://pds.example.com","ServiceEndpoint":"https://other.example.com"}],
			"Service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://other.example.com"}]}`,
		"operation": `{"did":%q,"DID":"did:plc:z72i7hdynmk6r22z27h6tvur","cid":"bafyreib","Cid":7,"createdAt":"2024-05-06T07:08:09.123Z","CreatedAt":"x","nullified":false,"Nullified":true,
			"operation":{"type":"plc_operation","Type":"plc_tombstone","verificationMethods":{"atproto":"did:key:%[2]s","Atproto":"x"},"VerificationMethods":{},
			"services":{"atproto_pds":{"type":"AtprotoPersonalDataServer","Type":"x","endpoint":"https://pds.example.com","Endpoint":"https://other.example.com"}},"Services":{}},"Operation":{}}`,
	} {
		raw := fmt.Appendf(nil, text, did, key1)
		id, err := ParseDocument(did, raw, atproto.Hosts{})
		if name == "operation" {
			e, entryErr := ParseLogEntry(raw)
			if id, err = e.Identity(atproto.Hosts{}); entryErr != nil || e.Nullified {
				t.Errorf("%s: %+v, %v", name, e, entryErr)
			}
		}
		if err != nil || id.DID != did || id.Host != "pds.example.com" || id.Key.String() != key1 {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestAllRealDocumentsParse(t *testing.T) {
	var docs map[string]json.RawMessage
	if err := json.Unmarshal(fixtures.Read(t, "frames", "did_docs.json"), &docs); err != nil {
		t.Fatal(err)
	}
	if len(docs) < 90 {
		t.Fatalf("%d documents", len(docs))
	}
	for did, doc := range docs {
		id, err := ParseDocument(did, doc, atproto.Hosts{})
		if err != nil {
			t.Errorf("%s: %v", did, err)
			continue
		}
		if id.DID != did || !strings.Contains(id.Host, ".") || id.Insecure || id.Key[:2] != prefixK256 {
			t.Errorf("got %+v", id)
		}
	}
}

// method and pds are entries of the documents below.
func method(id, kind, controller, key string) string {
	return fmt.Sprintf(`{"id":%q,"type":%q,"controller":%q,"publicKeyMultibase":%q}`, id, kind, controller, key)
}

func pds(id, kind, endpoint string) string {
	return fmt.Sprintf(`{"id":%q,"type":%q,"serviceEndpoint":%q}`, id, kind, endpoint)
}

func written(id string, methods, services []string) string {
	return fmt.Sprintf(`{"id":%q,"verificationMethod":[%s],"service":[%s]}`,
		id, strings.Join(methods, ","), strings.Join(services, ","))
}

var (
	goodMethod = method("#atproto", "Multikey", did, key1)
	goodPDS    = pds("#atproto_pds", "AtprotoPersonalDataServer", "https://pds.example.com")
)

func TestTheFirstMatchingKeyAndServiceCount(t *testing.T) {
	cases := []struct {
		name      string
		methods   []string
		services  []string
		key, host string
	}{
		{"plain", []string{goodMethod}, []string{goodPDS}, key1, "pds.example.com"},
		{"absolute ids", []string{method(did+"#atproto", "Multikey", did, key1)},
			[]string{pds(did+"#atproto_pds", "AtprotoPersonalDataServer", "https://pds.example.com")}, key1, "pds.example.com"},
		{"two of each", []string{goodMethod, method("#atproto", "Multikey", did, key2)},
			[]string{goodPDS, pds("#atproto_pds", "AtprotoPersonalDataServer", "https://b.example.com")}, key1, "pds.example.com"},
		{"others before", []string{
			method("#other", "Multikey", did, key2),
			method("#atproto", "Multikey", otherDID, key2),
			method("#atproto", "JsonWebKey2020", did, key2),
			method(otherDID+"#atproto", "Multikey", did, key2),
			method("atproto", "Multikey", did, key2),
			`"did:key:z1"`, `null`, `7`, `{"id":"#atproto","controller":["did:plc:x"]}`, goodMethod,
		}, []string{
			pds("#atproto_labeler", "AtprotoLabeler", "https://b.example.com"),
			pds("#atproto_pds", "Other", "https://b.example.com"),
			pds(otherDID+"#atproto_pds", "AtprotoPersonalDataServer", "https://b.example.com"),
			`{"id":"#didcomm","type":["A","B"],"serviceEndpoint":{"uri":"https://b.example.com"}}`, `[]`, goodPDS,
		}, key1, "pds.example.com"},
		{"capital letters, a slash, the usual port", []string{goodMethod},
			[]string{pds("#atproto_pds", "AtprotoPersonalDataServer", "https://PDS.Example.com:443/")}, key1, "pds.example.com"},
	}
	for _, tc := range cases {
		id, err := ParseDocument(did, []byte(written(did, tc.methods, tc.services)), atproto.Hosts{})
		if err != nil || id.Key.String() != tc.key || id.Host != tc.host || id.Insecure {
			t.Errorf("%s: got %+v, %v", tc.name, id, err)
		}
	}
}

func TestDocumentsThatNameNoRepoAreRefused(t *testing.T) {
	endpoint := func(url string) string { return pds("#atproto_pds", "AtprotoPersonalDataServer", url) }
	one := func(m, s string) string { return written(did, []string{m}, []string{s}) }
	cases := map[string]string{
		"nothing":               "",
		"no JSON":               "<html>",
		"a list":                "[]",
		"null":                  "null",
		"no fields":             "{}",
		"two values":            one(goodMethod, goodPDS) + "{}",
		"another DID":           written(otherDID, []string{method("#atproto", "Multikey", otherDID, key1)}, []string{goodPDS}),
		"an id with a fragment": strings.Replace(one(goodMethod, goodPDS), did, did+"#x", 1),
		"an id in capitals":     strings.Replace(one(goodMethod, goodPDS), did, strings.ToUpper(did), 1),
		"an id that is no text": `{"id":7}`,
		"no key":                written(did, nil, []string{goodPDS}),
		"no service":            written(did, []string{goodMethod}, nil),
		"keys that are no list": `{"id":"` + did + `","verificationMethod":{},"service":[` + goodPDS + `]}`,
		"another controller":    one(method("#atproto", "Multikey", otherDID, key1), goodPDS),
		"a broken key first":    written(did, []string{method("#atproto", "Multikey", did, "z1"), goodMethod}, []string{goodPDS}),
		"http":                  one(goodMethod, endpoint("http://pds.example.com")),
		"a path":                one(goodMethod, endpoint("https://pds.example.com/x")),
		"another port":          one(goodMethod, endpoint("https://pds.example.com:8443")),
		"an address":            one(goodMethod, endpoint("https://127.0.0.1")),
		"localhost":             one(goodMethod, endpoint("https://localhost")),
		"no host":               one(goodMethod, endpoint("https://")),
		"a broken PDS first":    written(did, []string{goodMethod}, []string{endpoint("ftp://x"), goodPDS}),
		"over 64 KiB":           one(goodMethod, goodPDS) + strings.Repeat(" ", MaxDocument),
		"deep nesting":          `{"id":"` + did + `","verificationMethod":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + "}",
	}
	for name, doc := range cases {
		id, err := ParseDocument(did, []byte(doc), atproto.Hosts{})
		if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid {
			t.Errorf("%s: got %+v, %v", name, id, err)
		}
	}
}

func TestDevelopmentTakesHTTPEndpoints(t *testing.T) {
	doc := written(did, []string{goodMethod}, []string{pds("#atproto_pds", "AtprotoPersonalDataServer", "http://127.0.0.1:2583")})
	id, err := ParseDocument(did, []byte(doc), atproto.Hosts{AllowPrivate: true})
	if err != nil || !id.Insecure || id.Host != "127.0.0.1:2583" {
		t.Errorf("got %+v, %v", id, err)
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(written(did, []string{goodMethod}, []string{goodPDS})))
	f.Add([]byte(written(did, []string{method(did+"#atproto", typeLegacyK256, did, key1)}, []string{goodPDS})))
	f.Add([]byte(`{"id":"` + did + `","verificationMethod":[null,7],"service":[{}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		id, err := ParseDocument(did, doc, atproto.Hosts{})
		if err != nil {
			if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if _, err := id.Key.Public(); err != nil || id.DID != did || id.Insecure {
			t.Fatalf("accepted %+v: %v", id, err)
		}
		if host, _, err := (atproto.Hosts{}).Endpoint("https://" + id.Host); err != nil || host != id.Host {
			t.Fatalf("host %q: %v", id.Host, err)
		}
	})
}
