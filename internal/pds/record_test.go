package pds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/refusal"
)

func TestARecordIsAskedForByItsPath(t *testing.T) {
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/xrpc/com.atproto.sync.getRecord" || q.Get("did") != did1 || q.Get("collection") != "com.example.a" ||
			q.Get("rkey") != "~:&a=b" || len(q) != 3 || r.Header.Get("Accept") != "application/vnd.ipld.car" {
			t.Errorf("asked for %s as %s", r.URL, r.Header.Get("Accept"))
		}
		io.WriteString(w, "the proof")
	})
	got, err := c.GetRecord(t.Context(), base+"/", did1, "com.example.a", "~:&a=b")
	if err != nil || string(got) != "the proof" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAnAnswerAboutARecordIsBounded(t *testing.T) {
	size := 0
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", size))
	})
	for _, size = range []int{0, 1_100_000, recordAnswer, recordAnswer + 1} {
		got, err := c.GetRecord(t.Context(), base, did1, "com.example.a", "-")
		if size > recordAnswer {
			wantReason(t, err, refusal.AnswerTooBig)
			if got != nil {
				t.Errorf("%d bytes with an error", len(got))
			}
		} else if err != nil || len(got) != size {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
}

func TestARecordThatBreaksOffIsTransient(t *testing.T) {
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	_, err := c.GetRecord(t.Context(), base, did1, "com.example.a", "-")
	wantOutcome(t, err, Transient)
}

func TestACallerWhoStopsIsNoFailureOfTheHostOfARecord(t *testing.T) {
	arrived := make(chan struct{}, 1)
	c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	var canceller sync.WaitGroup
	canceller.Go(func() {
		<-arrived
		cancel()
	})
	defer canceller.Wait()
	_, err := c.GetRecord(ctx, base, did1, "com.example.a", "-")
	if _, typed := errors.AsType[*Error](err); typed || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRefusalsOfAbsentRecordsAreNoFailure(t *testing.T) {
	cases := []struct {
		name         string
		status       int
		body         string
		record, head Outcome // of getRecord and of another method
	}{
		{"Bridgy Fed", 400, named("InvalidRequest", "com.example.a - not found"), NoRecord, Transient},
		{"the former lexicon", 400, named("RecordNotFound", ""), NoRecord, NoRecord},
		{"with a fitting status", 404, named("RecordNotFound", "Could not locate record"), NoRecord, NoRecord},
		{"a repo that the PDS has not", 400, named("InvalidRequest", "Could not find repo for DID: "+did1), Transient, Transient},
		{"unresolved by the PDS", 400, named("InvalidRequest", "Could not resolve DID: "+did1), Transient, Transient},
		{"a failing server", 500, named("InvalidRequest", ""), Transient, Transient},
		{"no such method", 404, named("InvalidRequest", ""), Unsupported, Unsupported},
		{"unknown repo", 400, named("RepoNotFound", ""), NotFound, NotFound},
		{"deactivated", 400, named("RepoDeactivated", ""), Deactivated, Deactivated},
		{"taken down", 400, named("RepoTakendown", ""), Takendown, Takendown},
		{"suspended", 400, named("RepoSuspended", ""), Suspended, Suspended},
		{"rate limited", 429, html, RateLimited, RateLimited},
		{"rate limited by name", 400, named("RateLimitExceeded", ""), RateLimited, RateLimited},
		{"not implemented", 501, named("MethodNotImplemented", ""), Unsupported, Unsupported},
		{"bad gateway", 502, html, Transient, Transient},
		{"a bare refusal", 400, "", Transient, Transient},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, base := host(t, answer(tc.status, tc.body))
			_, err := c.GetRecord(t.Context(), base, did1, "com.example.a", "-")
			if e := wantOutcome(t, err, tc.record); e.Status != tc.status || e.Method != "com.atproto.sync.getRecord" {
				t.Errorf("got %+v", e)
			}
			_, err = c.DescribeRepo(t.Context(), base, did1)
			wantOutcome(t, err, tc.head)
		})
	}
}

func TestTheDescriptionOfARepo(t *testing.T) {
	const mine = `{"did":"` + did1 + `","handle":"a.example.com","didDoc":{"id":"x"},"handleIsCorrect":true,"collections":`
	long := "com.example." + strings.Repeat("x", 64)
	cases := []struct {
		name, body string
		want       RepoDescription
		reason     refusal.Reason
	}{
		{"some", mine + `["sh.tangled.repo.issue","app.bsky.feed.post","sh.tangled.repo"]}`,
			RepoDescription{Collections: []string{"app.bsky.feed.post", "sh.tangled.repo", "sh.tangled.repo.issue"}}, ""},
		{"one twice, in two cases", mine + `["com.example.b","com.example.a","com.example.b","com.example.B"]}`,
			RepoDescription{Collections: []string{"com.example.B", "com.example.a", "com.example.b"}}, ""},
		{"what is no name", mine + `["com.example.a","nodots",7,null,"",["com.example.b"],"com.example.a/self","` + long + `"]}`,
			RepoDescription{Collections: []string{"com.example.a"}, Invalid: 7}, ""},
		{"none", mine + `[]}`, RepoDescription{}, ""},
		{"a null list", mine + `null}`, RepoDescription{}, ""},
		{"no list", `{"did":"` + did1 + `"}`, RepoDescription{}, refusal.AnswerInvalid},
		{"a text for a list", mine + `"com.example.a"}`, RepoDescription{}, refusal.AnswerInvalid},
		{"an object for a list", mine + `{"com.example.a":1}}`, RepoDescription{}, refusal.AnswerInvalid},
		{"another account", `{"did":"` + did2 + `","collections":[]}`, RepoDescription{}, refusal.AnswerWrongDID},
		{"no account", `{"collections":[]}`, RepoDescription{}, refusal.AnswerWrongDID},
		{"cut off", mine + `["com.example.a"`, RepoDescription{}, refusal.AnswerInvalid},
		{"a page", html, RepoDescription{}, refusal.AnswerInvalid},
		{"over 4 MiB", mine + `[]` + strings.Repeat(" ", listAnswer) + `}`, RepoDescription{}, refusal.AnswerTooBig},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, base := host(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/xrpc/com.atproto.repo.describeRepo" || r.URL.Query().Get("repo") != did1 {
					t.Errorf("asked for %s", r.URL)
				}
				io.WriteString(w, tc.body)
			})
			got, err := c.DescribeRepo(t.Context(), base, did1)
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v", got)
			}
			if reason, _ := refusal.ReasonOf(err); reason != tc.reason || (tc.reason == "" && err != nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestADescriptionHasAtMostTwentyThousandCollections(t *testing.T) {
	for _, n := range []int{maxDescribed, maxDescribed + 1} {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`"com.example.c%d"`, i)
		}
		c, base := host(t, answer(200, `{"did":"`+did1+`","collections":[`+strings.Join(names, ",")+`]}`))
		got, err := c.DescribeRepo(t.Context(), base, did1)
		if n > maxDescribed {
			wantReason(t, err, refusal.AnswerTooBig)
			if got.Collections != nil {
				t.Errorf("%d collections with an error", len(got.Collections))
			}
		} else if err != nil || len(got.Collections) != n || !slices.IsSorted(got.Collections) {
			t.Errorf("%d: got %d, %v", n, len(got.Collections), err)
		}
	}
}

func FuzzDescription(f *testing.F) {
	f.Add([]byte(`["com.example.b","com.example.a",7]`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"a":[`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := call{method: "m"}.readCollections(raw)
		if err != nil {
			reason, _ := refusal.ReasonOf(err)
			if reason != refusal.AnswerInvalid && reason != refusal.AnswerTooBig {
				t.Errorf("got %v", err)
			}
			return
		}
		for i, nsid := range got.Collections {
			if _, err := atproto.ParseNSID(nsid); err != nil || i > 0 && got.Collections[i-1] >= nsid {
				t.Errorf("got %v", got.Collections)
			}
		}
	})
}

func TestADescriptionThatTakesTooLongIsTransient(t *testing.T) {
	c, base := host(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c.DescribeTimeout = 100 * time.Millisecond
	_, err := c.DescribeRepo(t.Context(), base, did1)
	wantOutcome(t, err, Transient)
	if !strings.Contains(err.Error(), "100ms") {
		t.Errorf("another bound ended it: %v", err)
	}
}
