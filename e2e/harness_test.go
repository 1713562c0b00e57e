//go:build e2e

package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestNetworkHoldsWhatItWasToldAndSaysSo(t *testing.T) {
	n := startNetwork(t)
	n.startSeed(t, 12, 7)
	n.waitCommits(t, 1)
	planned := n.waitSeed(t)
	seeded := n.truth(t)
	if len(seeded.Accounts) != 12 || len(planned) != 12 {
		t.Fatalf("%d accounts, %d planned, want 12", len(seeded.Accounts), len(planned))
	}
	for _, p := range planned {
		if got := seeded.find(p.DID); !got.Public || !slices.Equal(got.Collections, p.Collections) {
			t.Errorf("%s: %+v, planned %v", p.DID, got, p.Collections)
		}
	}

	did := planned[0].DID
	n.commit(t, did, create(ghost, "1"), create(thing, "1"), remove(ghost, "1"))
	n.record(t, did, thingX, "1")
	n.erase(t, did, thingX, "1")
	want := append(slices.Clone(planned[0].Collections), thing)
	slices.Sort(want)
	after := n.truth(t)
	if got := after.find(did); !slices.Equal(got.Collections, want) {
		t.Errorf("after the writes: %v, want %v", got.Collections, want)
	}
	for _, emptied := range []string{ghost, thingX} {
		if !slices.Contains(after.Written, emptied) || len(after.members(emptied)) != 0 {
			t.Errorf("%s: in %v, members %v", emptied, after.Written, after.members(emptied))
		}
	}

	for _, step := range []struct{ verb, refusal string }{
		{"deactivate", "RepoDeactivated"},
		{"takedown", "RepoTakendown"},
		{"untakedown", "RepoDeactivated"},
		{"activate", ""},
		{"takedown", "RepoTakendown"},
		{"untakedown", ""},
		{"deleteAccount", "RepoNotFound"},
	} {
		n.set(t, step.verb, did)
		if got := n.truth(t).find(did); got.Public != (step.refusal == "") || got.Refusal != step.refusal {
			t.Errorf("after %s: public %v, refusal %q, want %q", step.verb, got.Public, got.Refusal, step.refusal)
		}
	}
	n.call(t, "handle", map[string]string{"did": planned[1].DID, "handle": "another-name"}, nil)

	if err := n.try(t, "deactivate", map[string]string{"did": "did:plc:unknown"}, nil); err == nil || !strings.Contains(err.Error(), "not an account") {
		t.Errorf("an unknown account: %v", err)
	}
	if err := n.try(t, "close", nil, nil); err == nil || !strings.Contains(err.Error(), "no such verb") {
		t.Errorf("an unknown verb: %v", err)
	}
}

func TestNetworkEndsWithItsTestAndLeavesNoFiles(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*network) error
	}{
		{"its standard input closes", (*network).hangUp},
		{"SIGTERM", (*network).terminate},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startNetwork(t)
			n.account(t, "someone", 1)
			if _, err := os.Stat(n.Dir); err != nil {
				t.Fatal(err)
			}
			if err := c.end(n); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(n.Dir); !os.IsNotExist(err) {
				t.Errorf("%s after the end: %v", n.Dir, err)
			}
		})
	}
}
