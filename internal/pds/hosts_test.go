package pds

import (
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"railyard/internal/refusal"
)

func TestAPageOfHostsIsReadAsItStands(t *testing.T) {
	var asked url.Values
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/xrpc/com.atproto.sync.listHosts" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		asked = r.URL.Query()
		_, _ = io.WriteString(w, `{"cursor":"17","hosts":[
			{"hostname":"PDS.example.com","seq":5,"accountCount":3,"status":"active"},
			{"hostname":"old.example.com","status":"offline"}, {"hostname":"bare.example.com"},
			{"hostname":"odd.example.com","Hostname":"x.example.com","status":7},
			{"hostname":""}, {"hostname":7}, {"Hostname":"x.example.com"}, null, "x.example.com", {"hostname":"`+strings.Repeat("a", maxHostname+1)+`"}
		]}`)
	})
	page, err := c.ListHosts(t.Context(), base, "a&b", 5000)
	if err != nil {
		t.Fatal(err)
	}
	wantFaults(t, page.Refused, "answer-invalid: listHosts: odd.example.com: status is a number", "answer-invalid: listHosts: an entry: no hostname",
		"answer-invalid: listHosts: an entry: hostname is a number", "answer-invalid: listHosts: an entry: no hostname",
		"answer-invalid: listHosts: an entry: no hostname", "answer-invalid: listHosts: an entry: it is a string", "answer-invalid: listHosts: a hostname of 513 bytes")
	page.Refused = nil
	want := HostsPage{Cursor: "17", Hosts: []HostEntry{
		{"PDS.example.com", "active"}, {"old.example.com", "offline"}, {"bare.example.com", ""}, {"odd.example.com", ""},
	}}
	if !reflect.DeepEqual(page, want) {
		t.Errorf("got %+v", page)
	}
	if asked.Get("cursor") != "a&b" || asked.Get("limit") != "1000" {
		t.Errorf("asked %v", asked)
	}
}

func TestPagesOfHostsThatBreakTheLexiconAreRefused(t *testing.T) {
	for name, body := range map[string]string{
		"no list": `{}`, "an object for a list": `{"hosts":{}}`, "a page": html, "nothing": ``,
	} {
		c, base := host(t, answer(200, body))
		if _, err := c.ListHosts(t.Context(), base, "", 500); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantReason(t, err, refusal.AnswerInvalid)
		}
	}
	c, base := host(t, answer(200, `{"hosts":null}`))
	if page, err := c.ListHosts(t.Context(), base, "", 500); err != nil || len(page.Hosts) != 0 {
		t.Errorf("an empty page: %+v, %v", page, err)
	}
}
