package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/daemon"
	"railyard/internal/test/simnet"
)

// plcLog is the log of the simulated directory, which it serves as its export.
type plcLog struct {
	*sim
	client *http.Client

	mu      sync.Mutex
	entries []plcEntry
	lookups int // of documents
	broken  bool
}

type plcEntry struct {
	at   time.Time
	text string
}

// logged gives the directory a log in which every account was made an hour ago.
func logged(s *sim) *plcLog {
	l := &plcLog{sim: s, client: &http.Client{Transport: &http.Transport{DialContext: s.pipes.Dial, DisableKeepAlives: true}}}
	for _, did := range s.net.DIDs() {
		l.add(did, time.Now().Add(-time.Hour))
	}
	s.net.SetHook("plc", simnet.Hook{HTTP: l.answer})
	s.configure = func(c *daemon.Config) { c.PLCExport = s.net.PLC() }
	return l
}

// add logs what the document of an account says now.
func (l *plcLog) add(did string, at time.Time) {
	l.t.Helper()
	resp, err := l.client.Get(l.net.PLC() + "/" + did)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var doc struct {
		Methods []struct {
			Key string `json:"publicKeyMultibase"`
		} `json:"verificationMethod"`
		Services []struct {
			Endpoint string `json:"serviceEndpoint"`
		} `json:"service"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || len(doc.Methods) != 1 || len(doc.Services) != 1 {
		l.t.Fatalf("document of %s: %+v, %v", did, doc, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookups = 0
	l.entries = append(l.entries, plcEntry{at.Truncate(time.Millisecond), fmt.Sprintf(
		`{"did":%q,"cid":"bafy%d","nullified":false,"createdAt":%q,"operation":{"type":"plc_operation",`+
			`"verificationMethods":{"atproto":"did:key:%s"},"services":{"atproto_pds":{"type":"AtprotoPersonalDataServer","endpoint":%q}}}}`,
		did, len(l.entries), at.UTC().Format("2006-01-02T15:04:05.000Z"), doc.Methods[0].Key, doc.Services[0].Endpoint)})
}

func (l *plcLog) answer(w http.ResponseWriter, r *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.URL.Path != "/export" {
		l.lookups++
		return false
	}
	if l.broken {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	after, _ := time.Parse(time.RFC3339, r.URL.Query().Get("after"))
	var lines []string
	for _, e := range l.entries {
		if e.at.After(after) {
			lines = append(lines, e.text)
		}
	}
	_, _ = w.Write([]byte(strings.Join(lines, "\n")))
	return true
}

func (l *plcLog) lookedUp() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lookups
}

func (l *plcLog) breakDown(broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = broken
}

// With the log a start looks no document up, and a rotation is found though its
// events were lost.
func TestTheLogOfTheDirectoryReplacesLookUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, simnet.Config{Seed: 3, PDS: 2, Accounts: 30, Records: 10, Relay: true, Start: time.Now()})
		l := logged(s)
		r := s.start("index.db", s.upstreams(0)...)
		r.settle("relay")
		r.same()
		if n := l.lookedUp(); n != 0 {
			t.Errorf("%d documents were looked up", n)
		}

		did := s.net.DIDs()[4]
		s.net.SetHook("relay", simnet.Hook{Frame: func([]byte) [][]byte { return nil }})
		if err := s.net.RotateKey(did); err != nil {
			t.Fatal(err)
		}
		if err := s.net.Create(did, "com.example.unheard/a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.net.SetHook("relay", simnet.Hook{})
		l.add(did, time.Now())
		time.Sleep(time.Minute)
		r.same()
		if err := s.net.Create(did, "com.example.heard/a"); err != nil {
			t.Fatal(err)
		}
		r.settle("relay")
		r.same()
		if n := l.lookedUp(); n != 0 {
			t.Errorf("%d documents were looked up", n)
		}
		r.end()
	})
}

// A directory that serves no log holds backfill back, but not those who speak;
// and a process that is started without the log releases what was parked.
func TestAStartWithoutTheLogReleasesWhatWaitedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, simnet.Config{Seed: 4, PDS: 1, Accounts: 10, Records: 10, Relay: true, Start: time.Now()})
		l := logged(s)
		l.breakDown(true)
		r := s.start("index.db", s.upstreams(0)...)
		time.Sleep(time.Hour)
		if dids, _ := r.list(""); len(dids) != 0 {
			t.Errorf("%d repos were fetched without the log", len(dids))
		}
		did := s.net.DIDs()[2]
		if err := s.net.Create(did, "com.example.speaks/a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if dids, _ := r.list(""); len(dids) != 1 || dids[0] != did {
			t.Errorf("after an event of one: %q", dids)
		}
		r.sound()
		r.end()

		s.configure = nil
		r = s.start("index.db", s.upstreams(0)...)
		r.settle("relay")
		r.same()
		r.end()
	})
}
