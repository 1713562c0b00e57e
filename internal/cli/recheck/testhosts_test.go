package recheck

import (
	"database/sql"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/simnet"
	"railyard/internal/test/testrepo"
)

// testHosts is a simulated network and a file, inside a bubble whose clock costs
// nothing. Nobody keeps the file but the test.
type testHosts struct {
	*testing.T
	*simnet.Network
	path string
	st   *store.Store
	cfg  Config

	mu      sync.Mutex
	asked   []string // repos that were asked for, in that order
	running int
	most    int // requests for repos at once
}

// withTestHosts makes a network whose repos are all in the file.
func withTestHosts(t *testing.T, cfg simnet.Config, act func(y *testHosts)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pipes := simnet.NewPipes()
		cfg.Listen, cfg.Records = pipes.Listen, 16
		if cfg.Start.IsZero() {
			cfg.Start = time.Now()
		}
		n, err := simnet.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		out := outbound.New(outbound.Config{AllowPrivate: true, Dial: pipes.Dial, Lookup: pipes.Lookup})
		y := &testHosts{T: t, Network: n, path: filepath.Join(t.TempDir(), "index.db")}
		if y.st, err = store.Open(t.Context(), store.Config{Path: y.path, Version: "test"}); err != nil {
			t.Fatal(err)
		}
		y.cfg = Config{
			Reader: y.st.Reader, Hosts: pds.New(out), QPS: 100,
			Resolver: identity.NewResolver(identity.Config{Client: out, PLCURL: n.PLC(), Hosts: atproto.Hosts{AllowPrivate: true}}),
		}
		for _, did := range n.DIDs() {
			y.index(did)
		}
		act(y)
		out.Close()
		if err := errors.Join(y.st.Close(), n.Close()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour) // connections notice
	})
}

// made makes an account on a host with a record of each collection, and indexes it.
func (y *testHosts) made(host int, collections ...string) string {
	y.Helper()
	did, err := y.CreateAccount(host)
	if err != nil {
		y.Fatal(err)
	}
	for _, c := range collections {
		y.must(y.Create(did, c+"/1"))
	}
	y.index(did)
	return did
}

func (y *testHosts) must(err error) {
	y.Helper()
	if err != nil {
		y.Fatal(err)
	}
}

func (y *testHosts) update(did string, fn func(tx *store.Tx, r *repostate.Repo) error) {
	y.Helper()
	y.must(y.st.Update(y.Context(), "test", func(tx *store.Tx) error {
		r, err := tx.RepoByDID(did)
		if err == nil && r == nil {
			r, err = testrepo.Add(tx, did)
		}
		if err != nil {
			return err
		}
		return fn(tx, r)
	}))
}

// index makes the file equal to the network in one repo, as the service would.
func (y *testHosts) index(did string) { y.indexAs(did, repostate.ProofTree) }

func (y *testHosts) indexAs(did string, proof repostate.Proof) {
	y.Helper()
	id, err := y.cfg.Resolver.Resolve(y.Context(), did)
	y.must(err)
	truth, err := y.Repo(did)
	y.must(err)
	y.update(did, func(tx *store.Tx, r *repostate.Repo) error {
		if truth.Status != "" {
			return testrepo.Leave(tx, r, truth.Status)
		}
		if _, err := testrepo.SetIdentity(tx, r, string(id.Key), id.Host, id.Insecure); err != nil {
			return err
		}
		_, _, err := testrepo.Establish(tx, r, repostate.Head{Rev: truth.Rev, Data: truth.Data, CID: truth.Commit}, truth.Collections, proof)
		if err == nil && proof == repostate.ProofOldKey {
			err = testrepo.SignedEarlier(tx, r, truth.Rev)
		}
		return errors.Join(err, testrepo.Done(tx, r))
	})
}

// plant writes to the file behind everybody's back.
func (y *testHosts) plant(script string) {
	y.Helper()
	d, err := sql.Open("sqlite", "file:"+y.path)
	y.must(err)
	_, err = d.Exec(script)
	y.must(errors.Join(err, d.Close()))
}

// watch counts the requests for repos to a host; then gets in between, if it is set,
// and reports whether it answered.
func (y *testHosts) watch(host string, then func(w http.ResponseWriter, r *http.Request) bool) {
	y.SetHook(host, simnet.Hook{HTTP: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".getRepo") {
			return false
		}
		y.mu.Lock()
		y.asked = append(y.asked, r.URL.Query().Get("did"))
		y.running++
		y.most = max(y.most, y.running)
		y.mu.Unlock()
		time.Sleep(10 * time.Millisecond) // so that others would be met
		y.mu.Lock()
		y.running--
		y.mu.Unlock()
		return then != nil && then(w, r)
	}})
}

// car is what an account's host serves of it now.
func (y *testHosts) car(did string) []byte {
	y.Helper()
	id, err := y.cfg.Resolver.Resolve(y.Context(), did)
	y.must(err)
	body, err := y.cfg.Hosts.GetRepo(y.Context(), id.URL(), did)
	y.must(err)
	b, err := io.ReadAll(body)
	y.must(errors.Join(err, body.Close()))
	return b
}

// all compares every idle repo.
func (y *testHosts) all() map[string]Finding {
	y.Helper()
	ids, err := Draw(y.Context(), y.cfg.Reader, 1_000_000, 1)
	y.must(err)
	return y.compare(ids)
}

func (y *testHosts) compare(ids []int64) map[string]Finding {
	y.Helper()
	findings, err := Compare(y.Context(), y.cfg, ids)
	y.must(err)
	by := make(map[string]Finding)
	for _, f := range findings {
		by[f.DID] = f
	}
	if len(by) != len(ids) || !slices.IsSortedFunc(findings, func(a, b Finding) int { return strings.Compare(a.DID, b.DID) }) {
		y.Errorf("%d findings of %d repos: %+v", len(by), len(ids), findings)
	}
	return by
}

// one compares one repo.
func (y *testHosts) one(did string) Finding {
	y.Helper()
	var id int64
	y.must(y.st.View(y.Context(), func(rx *store.Rx) error {
		r, err := rx.RepoByDID(did)
		id = r.ID
		return err
	}))
	return y.compare([]int64{id})[did]
}

// after runs in some time, while something else goes on.
func (y *testHosts) after(d time.Duration, fn func()) {
	done := make(chan struct{})
	y.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		time.Sleep(d)
		fn()
	}()
}
