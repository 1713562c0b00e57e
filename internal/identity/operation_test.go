package identity

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

const (
	keyP256   = "zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv"
	createdAt = "2024-05-06T07:08:09.123Z"
)

// logLine is an entry of the log as the directory writes it.
func logLine(did, operation string) string {
	return fmt.Sprintf(`{"did":%q,"operation":%s,"cid":"bafyreib","nullified":false,"createdAt":%q}`, did, operation, createdAt)
}

// op is an operation of today's form.
func op(key, services string) string {
	return fmt.Sprintf(`{"type":"plc_operation","sig":"x","prev":null,"alsoKnownAs":["at://a.example.com"],
		"rotationKeys":["did:key:%s"],"verificationMethods":{"atproto":%q},"services":{%s}}`, key2, key, services)
}

func service1(endpoint string) string {
	return fmt.Sprintf(`"atproto_pds":{"type":"AtprotoPersonalDataServer","endpoint":%q}`, endpoint)
}

func create(fields string) string {
	return `{"type":"create","handle":"a.example.com","recoveryKey":"did:key:` + key2 + `","prev":null,"sig":"x",` + fields + `}`
}

func TestAnOperationIsTheDocumentThatItMakes(t *testing.T) {
	good := service1("https://PDS.example.com")
	for _, c := range []struct{ name, operation, key, host string }{
		{"today's form", op("did:key:"+key1, good), key1, "pds.example.com"},
		{"P-256", op("did:key:"+keyP256, good), keyP256, "pds.example.com"},
		{"more keys and services", `{"type":"plc_operation","verificationMethods":{"x":7,"atproto":"did:key:` + key1 +
			`"},"services":{"y":[],` + good + `}}`, key1, "pds.example.com"},
		{"the legacy form", create(`"signingKey":"did:key:` + key1 + `","service":"https://bsky.social"`), key1, "bsky.social"},
		{"the legacy form without scheme", create(`"signingKey":"did:key:` + key1 + `","service":"bsky.social"`), key1, "bsky.social"},
	} {
		e, err := ParseLogEntry([]byte(logLine(did, c.operation)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if e.DID != did || e.CID != "bafyreib" || e.Nullified || !e.CreatedAt.Equal(time.Date(2024, 5, 6, 7, 8, 9, 123e6, time.UTC)) {
			t.Errorf("%s: got %+v", c.name, e)
		}
		id, err := e.Identity(atproto.Hosts{})
		if err != nil || id.DID != did || id.Key.String() != c.key || id.Host != c.host || id.Insecure {
			t.Errorf("%s: got %+v, %v", c.name, id, err)
		}
	}
}

func TestOperationsThatGiveNoIdentity(t *testing.T) {
	good, key := service1("https://pds.example.com"), "did:key:"+key1
	for name, operation := range map[string]string{
		"tombstone":               `{"type":"plc_tombstone","prev":"bafyreib","sig":"x"}`,
		"unknown type":            `{"type":"plc_other","verificationMethods":{"atproto":"` + key + `"},"services":{` + good + `}}`,
		"no type":                 `{"verificationMethods":{"atproto":"` + key + `"},"services":{` + good + `}}`,
		"no object":               `7`,
		"null":                    `null`,
		"no key":                  `{"type":"plc_operation","verificationMethods":{},"services":{` + good + `}}`,
		"key of no curve":         op("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", good),
		"key off the curve":       op("did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSG", good),
		"key of another form":     op(key1, good),
		"key of hostile length":   op("did:key:z"+strings.Repeat("2", 1000), good),
		"key that is a number":    `{"type":"plc_operation","verificationMethods":{"atproto":7},"services":{` + good + `}}`,
		"methods that are a list": `{"type":"plc_operation","verificationMethods":[],"services":{` + good + `}}`,
		"no PDS":                  op(key, ""),
		"another service":         op(key, `"bsky_notif":{"type":"AtprotoPersonalDataServer","endpoint":"https://pds.example.com"}`),
		"PDS of another type":     op(key, `"atproto_pds":{"type":"Other","endpoint":"https://pds.example.com"}`),
		"PDS that is text":        op(key, `"atproto_pds":"https://pds.example.com"`),
		"no endpoint":             op(key, `"atproto_pds":{"type":"AtprotoPersonalDataServer"}`),
		"an address":              op(key, service1("https://10.0.0.1")),
		"plain http":              op(key, service1("http://pds.example.com")),
		"a path":                  op(key, service1("https://pds.example.com/x")),
		"host of hostile length":  op(key, service1("https://"+strings.Repeat("a.", 2000)+"com")),
		"legacy without key":      create(`"service":"https://bsky.social"`),
		"legacy without service":  create(`"signingKey":"` + key + `"`),
		"legacy, empty service":   create(`"signingKey":"` + key + `","service":""`),
		"legacy, service of http": create(`"signingKey":"` + key + `","service":"http://bsky.social"`),
		"legacy with new fields":  strings.Replace(op(key, good), "plc_operation", "create", 1),
	} {
		e, err := ParseLogEntry([]byte(logLine(did, operation)))
		if err != nil {
			t.Errorf("%s: the entry itself is good: %v", name, err)
			continue
		}
		id, err := e.Identity(atproto.Hosts{})
		if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid || id != (Identity{}) {
			t.Errorf("%s: got %+v, %v", name, id, err)
		}
		if errors.Is(err, ErrTombstone) != (name == "tombstone") || len(err.Error()) > 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is broken in an entry does not take its time, which the reader of a log
// needs to go on behind it.
func TestBrokenEntriesKeepTheirTime(t *testing.T) {
	good := logLine(did, op("did:key:"+key1, service1("https://pds.example.com")))
	for name, c := range map[string]struct {
		line  string
		timed bool
	}{
		"empty":               {"", false},
		"no JSON":             {"<html>", false},
		"cut off":             {good[:len(good)-1], false},
		"two on a line":       {good + good, false},
		"a list":              {"[" + good + "]", false},
		"no time":             {strings.Replace(good, "createdAt", "created", 1), false},
		"time of another way": {strings.Replace(good, createdAt, "Mon, 02 Jan 2006", 1), false},
		"time that is number": {strings.Replace(good, `"`+createdAt+`"`, "7", 1), false},
		"too long":            {good + strings.Repeat(" ", MaxEntry), false},
		"deep":                {strings.Replace(good, `"sig":"x"`, `"sig":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000), 1), false},
		"did:web":             {strings.ReplaceAll(good, did, "did:web:example.com"), true},
		"no DID":              {strings.Replace(good, `"did":`, `"dod":`, 1), true},
		"DID that is number":  {strings.Replace(good, `"`+did+`"`, "7", 1), true},
		"DID of wrong length": {strings.Replace(good, did, did+"a", 1), true},
		"no CID":              {strings.Replace(good, `"cid":`, `"cod":`, 1), true},
		"empty CID":           {strings.Replace(good, "bafyreib", "", 1), true},
		"CID of great length": {strings.Replace(good, "bafyreib", strings.Repeat("b", 200), 1), true},
		"nullified by text":   {strings.Replace(good, "false", `"no"`, 1), true},
	} {
		e, err := ParseLogEntry([]byte(c.line))
		if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid || len(err.Error()) > 400 {
			t.Errorf("%s: %v", name, err)
		}
		if e.DID != "" || e.CID != "" || e.CreatedAt.IsZero() == c.timed {
			t.Errorf("%s: got %+v", name, e)
		}
	}
	if e, err := ParseLogEntry([]byte(strings.Replace(good, "false", "true", 1))); err != nil || !e.Nullified {
		t.Errorf("nullified: got %+v, %v", e, err)
	}
}

// sequenced is an entry as the directory writes it where it is asked by sequence number.
func sequenced(did, operation, seq, kind string) string {
	return fmt.Sprintf(`{"type":%s,"seq":%s,"did":%q,"operation":%s,"cid":"bafyreib","createdAt":%q}`, kind, seq, did, operation, createdAt)
}

func TestEntriesWithASequenceNumber(t *testing.T) {
	good, kind := op("did:key:"+key1, service1("https://pds.example.com")), `"sequenced_op"`
	line := func(seq string) string { return sequenced(did, good, seq, kind) }
	for name, c := range map[string]struct {
		line string
		seq  int64
		good bool
	}{
		"the first one":       {line("1"), 1, true},
		"the last one":        {line("9007199254740991"), maxSeq, true},
		"too large":           {line("9007199254740992"), 0, false},
		"larger than 64 bits": {line("99999999999999999999"), 0, false},
		"zero":                {line("0"), 0, false},
		"below zero":          {line("-7"), 0, false},
		"a fraction":          {line("7.5"), 0, false},
		"text":                {line(`"7"`), 0, false},
		"null":                {line("null"), 0, true},
		"another type":        {sequenced(did, good, "7", `"other"`), 7, false},
		"a type that is none": {sequenced(did, good, "7", "7"), 7, false},
		"no type":             {strings.Replace(line("7"), `"type":"sequenced_op",`, "", 1), 7, false},
		"did:web":             {sequenced("did:web:example.com", good, "7", kind), 7, false},
		"no CID":              {strings.Replace(line("7"), `"cid"`, `"cod"`, 1), 7, false},
		"no time":             {strings.Replace(line("7"), "createdAt", "created", 1), 7, false},
		"time that is number": {strings.Replace(line("7"), `"`+createdAt+`"`, "7", 1), 7, false},
	} {
		e, err := ParseLogEntry([]byte(c.line))
		if e.Seq != c.seq || (err == nil) != c.good || (e.DID == did) != c.good || e.Nullified {
			t.Errorf("%s: got %+v, %v", name, e, err)
		}
		if reason, _ := refusal.ReasonOf(err); err != nil && (reason != refusal.IdentityInvalid || len(err.Error()) > 400) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrevIsTheOperationBefore(t *testing.T) {
	for operation, prev := range map[string]string{
		`{"type":"plc_operation","prev":"bafyreia"}`: "bafyreia",
		`{"type":"plc_tombstone","prev":"bafyreia"}`: "bafyreia",
		`{"type":"create","prev":null}`:              "",
		`{"type":"plc_operation"}`:                   "",
		`{"type":"plc_operation","prev":7}`:          "",
		`{"type":"plc_operation","prev":{"a":"b"}}`:  "",
		`7`: "", `null`: "", `[]`: "",
	} {
		e, err := ParseLogEntry([]byte(logLine(did, operation)))
		if err != nil || e.Prev() != prev {
			t.Errorf("%s: %q, %v", operation, e.Prev(), err)
		}
	}
}

func FuzzParseLogEntry(f *testing.F) {
	f.Add([]byte(logLine(did, op("did:key:"+key1, service1("https://pds.example.com")))))
	f.Add([]byte(logLine(did, op("did:key:"+keyP256, service1("https://pds.example.com")))))
	f.Add([]byte(logLine(did, create(`"signingKey":"did:key:`+key1+`","service":"bsky.social"`))))
	f.Add([]byte(logLine(did, `{"type":"plc_tombstone","prev":"bafyreia"}`)))
	f.Add([]byte(sequenced(did, op("did:key:"+key1, service1("https://pds.example.com")), "7", `"sequenced_op"`)))
	f.Add([]byte(sequenced(did, "7", "9007199254740993", `7`)))
	f.Add([]byte(`{"did":7,"createdAt":"` + createdAt + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseLogEntry(line)
		if e.Seq < 0 || e.Seq > maxSeq {
			t.Fatalf("number %d", e.Seq)
		}
		_ = e.Prev()
		if err != nil {
			if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid {
				t.Fatalf("untyped: %v", err)
			}
			if e.DID != "" || e.CID != "" {
				t.Fatalf("refused, and given: %+v", e)
			}
			return
		}
		if _, err := atproto.ParseDID(e.DID); err != nil || e.CID == "" {
			t.Fatalf("accepted %+v: %v", e, err)
		}
		id, err := e.Identity(atproto.Hosts{})
		if err != nil {
			if reason, _ := refusal.ReasonOf(err); reason != refusal.IdentityInvalid {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if _, err := id.Key.Public(); err != nil || id.DID != e.DID || id.Insecure || id.Key != e.signingKey() {
			t.Fatalf("accepted %+v: %v", id, err)
		}
		if host, _, err := (atproto.Hosts{}).Endpoint("https://" + id.Host); err != nil || host != id.Host {
			t.Fatalf("host %q: %v", id.Host, err)
		}
	})
}
