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
			{"hostname":""}, {"hostname":7}, {}, null, "x.example.com", {"hostname":"`+strings.Repeat("a", maxHostname+1)+`"}
		]}`)
	})
	page, err := c.ListHosts(t.Context(), base, "a&b", 5000)
	if err != nil {
		t.Fatal(err)
	}
	want := HostsPage{Cursor: "17", Invalid: 6, Hosts: []HostEntry{
		{"PDS.example.com", "active"}, {"old.example.com", "offline"}, {"bare.example.com", ""},
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
		"a number for cursor": `{"hosts":[],"cursor":7}`,
		"a long cursor":       `{"hosts":[],"cursor":"` + strings.Repeat("x", maxCursor+1) + `"}`,
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
