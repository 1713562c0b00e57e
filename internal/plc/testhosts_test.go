package plc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/metrics"
	"railyard/internal/outbound"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

const (
	key1 = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
	key2 = "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
)

// export is a server of the log: it answers as the directory does.
type export struct {
	mu       sync.Mutex
	log      []record                                      // in the order in which the operations became visible
	timeOnly bool                                          // it knows no sequence numbers
	shift    int                                           // what is added to them
	late     record                                        // what is to become visible
	most     int                                           // lines of a page; 0 = 1000
	fault    func(http.ResponseWriter, *http.Request) bool // answers instead, if it is true
	asked    []time.Time
	after    []string
}

type record struct {
	at   time.Time
	seq  int // before shift
	text string
}

// change changes what the server is.
func (x *export) change(fn func(x *export)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	fn(x)
}

// add appends an operation of a DID that names a key and a host.
func (x *export) add(at time.Time, did, key, host string) {
	x.addOp(at, did, operationOf(key, host), false)
}

func operationOf(key, host string) string {
	return fmt.Sprintf(`{"type":"plc_operation","verificationMethods":{"atproto":"did:key:%s"},`+
		`"services":{"atproto_pds":{"type":"AtprotoPersonalDataServer","endpoint":"https://%s"}}}`, key, host)
}

const tombstone = `{"type":"plc_tombstone"}`

func (x *export) addOp(at time.Time, did, op string, nullified bool) {
	x.mu.Lock()
	n := len(x.log)
	x.mu.Unlock()
	x.addText(at, fmt.Sprintf(`{"did":%q,"operation":%s,"cid":"bafy%06d","nullified":%t,"createdAt":%q}`,
		did, op, n, nullified, at.UTC().Format(timeForm)))
}

func (x *export) addText(at time.Time, text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	seq := 0
	for _, o := range x.log {
		seq = max(seq, o.seq)
	}
	x.log = append(x.log, record{at.Truncate(time.Millisecond), seq + 1, text})
}

func (x *export) requests() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.asked)
}

// askedFor counts the requests for the lines behind a place.
func (x *export) askedFor(after string) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, text := range x.after {
		if text == after {
			n++
		}
	}
	return n
}

// during answers all requests with fault until it is undone.
func (x *export) during(fault func(http.ResponseWriter, *http.Request) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fault = fault
}

func (x *export) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked, x.after = append(x.asked, time.Now()), append(x.after, r.URL.Query().Get("after"))
	if x.fault != nil && x.fault(w, r) {
		return
	}
	lines, ok := x.page(r.URL.Query().Get("after"))
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = w.Write([]byte(strings.Join(lines, "\n")))
}

// page returns the lines behind a place. Those of an export by sequence number state
// theirs, and not whether they were nullified.
func (x *export) page(after string) (lines []string, ok bool) {
	most := pageLines
	if x.most > 0 {
		most = x.most
	}
	log := slices.Clone(x.log)
	n, err := strconv.Atoi(after)
	bySeq := err == nil && !x.timeOnly
	var since time.Time
	if !bySeq && after != "" {
		if since, err = time.Parse(timeForm, after); err != nil {
			return nil, false
		}
	}
	if bySeq {
		slices.SortStableFunc(log, func(a, b record) int { return a.seq - b.seq })
	} else {
		slices.SortStableFunc(log, func(a, b record) int { return a.at.Compare(b.at) })
	}
	for _, o := range log {
		switch seq := o.seq + x.shift; {
		case len(lines) == most:
		case bySeq && seq > n:
			text := strings.Replace(o.text, `{"did":`, fmt.Sprintf(`{"type":"sequenced_op","seq":%d,"did":`, seq), 1)
			lines = append(lines, strings.NewReplacer(`"nullified":true,`, "", `"nullified":false,`, "").Replace(text))
		case !bySeq && o.at.After(since):
			lines = append(lines, o.text)
		}
	}
	return lines, true
}

// testHosts is a file and a log, inside a bubble of fake time.
type testHosts struct {
	*testing.T
	path     string
	form     *form // of the server
	export   *export
	store    *store.Store
	client   *outbound.Client
	metrics  *metrics.Metrics
	follower *Follower
	ready    bool
	forgot   map[string]int // keys that the prover must forget
	mu       sync.Mutex
}

// withTestHosts runs a test with a server of each form.
func withTestHosts(t *testing.T, test func(y *testHosts)) {
	t.Helper()
	for _, of := range []*form{bySeq, byTime} {
		t.Run(string(of.LogForm), func(t *testing.T) { withServer(t, of, test) })
	}
}

func withServer(t *testing.T, of *form, test func(y *testHosts)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.db")
	synctest.Test(t, func(t *testing.T) {
		y := &testHosts{T: t, path: path, form: of, export: &export{timeOnly: of == byTime}, metrics: metrics.New(), ready: true, forgot: make(map[string]int)}
		pipes := simnet.NewPipes()
		l, err := pipes.Listen("plc")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: y.export}
		go func() { _ = server.Serve(l) }()
		defer func() { _ = server.Close() }()
		y.client = outbound.New(outbound.Config{AllowPrivate: true, Dial: pipes.Dial, Lookup: pipes.Lookup})
		defer y.client.Close()
		y.open()
		defer func() {
			if _, broken, err := y.store.Check(context.WithoutCancel(t.Context())); err != nil || len(broken) > 0 {
				t.Errorf("the file breaks its rules: %+v, %v", broken, err)
			}
			_ = y.store.Close()
		}()
		test(y)
	})
}

func (y *testHosts) open() {
	y.Helper()
	var err error
	if y.store, err = store.Open(y.Context(), store.Config{Path: y.path, Version: "test"}); err != nil {
		y.Fatal(err)
	}
	y.follower = y.newFollower("http://plc.sim.test")
}

func (y *testHosts) newFollower(url string) *Follower {
	return New(Config{
		Store: y.store, Client: y.client, URL: url, Pace: func(context.Context) error { return nil },
		Hosts: atproto.Hosts{}, Log: slog.New(slog.NewTextHandler(y.Output(), nil)), Metrics: y.metrics,
		Ready: func(context.Context) (bool, error) { y.mu.Lock(); defer y.mu.Unlock(); return y.ready, nil },
		KeyChanged: func(did string) {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.forgot[did]++
		},
	})
}

// follow runs the follower for a while; stop ends it and returns its error.
func (y *testHosts) follow() (stop func()) {
	y.Helper()
	ctx, cancel := context.WithCancel(y.Context())
	ended := make(chan error, 1)
	go func() { ended <- y.follower.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			y.Errorf("the follower failed: %v", err)
		}
	}
}

// run follows the log for a time.
func (y *testHosts) run(d time.Duration) {
	y.Helper()
	stop := y.follow()
	time.Sleep(d)
	stop()
}

func (y *testHosts) update(fn func(tx *store.Tx) error) {
	y.Helper()
	if err := y.store.Update(context.WithoutCancel(y.Context()), "test", fn); err != nil {
		y.Fatal(err)
	}
}

// find makes a repo that a crawl found.
func (y *testHosts) find(dids ...string) {
	y.Helper()
	listed := make(map[string]repostate.Entry)
	for _, did := range dids {
		listed[did] = repostate.Entry{Active: true}
	}
	y.update(func(tx *store.Tx) error { return testrepo.List(tx, listed) })
}

// serve makes a repo that is in service, with an identity of now.
func (y *testHosts) serve(did, host string) {
	y.Helper()
	y.find(did)
	y.update(func(tx *store.Tx) error {
		r, err := tx.RepoByDID(did)
		if err != nil {
			return err
		}
		if _, err := testrepo.SetIdentity(tx, r, keyOf(y, key1), host, false); err != nil {
			return err
		}
		if _, _, err := testrepo.Establish(tx, r, repostate.Head{Rev: 5}, []string{"com.example.a"}, repostate.ProofTree); err != nil {
			return err
		}
		return testrepo.Done(tx, r)
	})
}

func keyOf(y *testHosts, multibase string) string {
	y.Helper()
	id, err := mustParse(y, fmt.Sprintf(`{"did":%q,"operation":%s,"cid":"c","createdAt":%q}`,
		did(0), operationOf(multibase, "pds.example.com"), day.Format(timeForm))).Identity(atproto.Hosts{})
	if err != nil {
		y.Fatal(err)
	}
	return string(id.Key)
}

func (y *testHosts) repo(did string) (r *repostate.Repo) {
	y.Helper()
	if err := y.store.View(context.WithoutCancel(y.Context()), func(rx *store.Rx) (err error) {
		r, err = rx.RepoByDID(did)
		return err
	}); err != nil {
		y.Fatal(err)
	}
	return r
}

// names checks what is known of an account.
func (y *testHosts) names(did, key, host string) {
	y.Helper()
	r := y.repo(did)
	if r == nil || r.Identity == nil || r.Identity.Key != keyOf(y, key) || r.Identity.Host != host {
		y.Errorf("%s: repo %+v", did, r)
		if r != nil {
			y.Errorf("identity %+v", r.Identity)
		}
	}
}

// due returns the number of rows that a worker could lease.
func (y *testHosts) due() (n int) {
	y.Helper()
	_ = y.store.Update(context.WithoutCancel(y.Context()), "test", func(tx *store.Tx) error {
		for {
			hosts, err := tx.ReadyHosts(1000, 1000)
			if err != nil || len(hosts) == 0 {
				return fmt.Errorf("undone: %w", err)
			}
			for _, h := range hosts {
				a, err := tx.Lease(h, h.NextAt, tx.Env())
				if a != nil && err == nil {
					n++
					err = tx.FinishAttempt(h.ID, h.NextAt)
				}
				if err != nil {
					y.Error(err)
					return err
				}
			}
		}
	})
	return n
}

func (y *testHosts) counted(result string) int {
	return int(y.metrics.Sum("plc_operations_total", "result", result))
}

func did(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	text := []byte(strings.Repeat("a", 24))
	for i := len(text) - 1; n > 0; i-- {
		text[i], n = letters[n%32], n/32
	}
	return "did:plc:" + string(text)
}
