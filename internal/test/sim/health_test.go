package sim

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/test/simnet"
)

// health returns the status of /_health and the kinds of trouble of which it, or the
// statistics, speak.
func (r *running) health() (status int, kinds []string) {
	r.t.Helper()
	resp, err := r.client.Get(r.base + "/_health")
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	var stats struct {
		Troubles []struct{ Kind, Why string } `json:"troubles"`
	}
	r.get("/v1/stats", &stats)
	for _, t := range stats.Troubles {
		if t.Why == "" {
			r.t.Errorf("no reason for %s", t.Kind)
		}
		kinds = append(kinds, t.Kind)
	}
	return resp.StatusCode, kinds
}

// expectHealth lets a minute pass and compares.
func (r *running) expectHealth(when string, status int, kinds string) {
	r.t.Helper()
	time.Sleep(time.Minute)
	synctest.Wait()
	if got, of := r.health(); got != status || strings.Join(of, " ") != kinds {
		r.t.Errorf("%s: %d with %q, want %d with %q", when, got, of, status, kinds)
	}
}

// A service whose upstream is gone, silent or refused as a whole says so within a minute,
// and when it is over says that.
func TestWhatStandsStillIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, simnet.Config{Seed: 1, PDS: 2, Accounts: 30, Records: 20, Relay: true, Now: time.Now})
		r := s.start("index.db", s.net.Relay())
		s.live(50)
		r.settle("relay")
		if status, kinds := r.health(); status != http.StatusOK || len(kinds) > 0 {
			t.Errorf("at first: %d with %q", status, kinds)
		}

		s.net.SetDown("relay", true)
		r.expectHealth("the relay is gone", http.StatusServiceUnavailable, "cut-off")
		s.net.SetDown("relay", false)
		time.Sleep(2 * time.Minute) // until it is asked again
		s.live(20)
		r.settle("relay")
		time.Sleep(10 * time.Second)
		if status, kinds := r.health(); status != http.StatusOK || len(kinds) > 0 {
			t.Errorf("the relay is back: %d with %q", status, kinds)
		}

		time.Sleep(20 * time.Second)
		r.expectHealth("the relay says nothing", http.StatusOK, "silent")

		if err := s.net.Switch(simnet.Rule{Fault: simnet.WrongSignature, Host: "relay"}); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			if err := s.net.StepCommit(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if status, kinds := r.health(); status != http.StatusServiceUnavailable || strings.Join(kinds, " ") != "refused" {
			t.Errorf("all is refused: %d with %q", status, kinds)
		}
		s.net.SwitchOff()
		s.live(20)
		r.settle("relay")
		time.Sleep(20 * time.Second)
		if status, kinds := r.health(); status != http.StatusOK || len(kinds) > 0 {
			t.Errorf("it is believed again: %d with %q", status, kinds)
		}

		s.net.SetHook("relay", simnet.Hook{Frame: func([]byte) [][]byte { return [][]byte{{0xff}} }})
		for range 60 {
			if err := s.net.StepCommit(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if status, kinds := r.health(); status != http.StatusServiceUnavailable || strings.Join(kinds, " ") != "refused" {
			t.Errorf("nothing can be decoded: %d with %q", status, kinds)
		}
		r.end()
	})
}
