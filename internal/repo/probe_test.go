package repo

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/mst"
	"railyard/internal/test/fixtures"
)

// TestGetRecordAnswersShowTheNeighboursOfAPath reads the proofs that a server
// returns for keys that are there or not.
func TestGetRecordAnswersShowTheNeighboursOfAPath(t *testing.T) {
	var set struct {
		Data, DID    string
		KeyMultibase string `json:"key_multibase"`
		Probes       []struct {
			Name, Collection, Rkey string
			CARBase64              string `json:"car_base64"`
			RecordFound            bool   `json:"record_found"`
			Left                   string `json:"left_neighbour"`
			Right                  string `json:"right_neighbour"`
			LeftHidden             bool   `json:"left_hidden"`
			RightHidden            bool   `json:"right_hidden"`
		}
	}
	must(t, json.Unmarshal(fixtures.Read(t, "synthetic", "getrecord_probes.json"), &set))
	key, err := atcrypto.ParsePublicMultibase(set.KeyMultibase)
	must(t, err)
	if len(set.Probes) != 11 {
		t.Fatalf("%d probes", len(set.Probes))
	}
	for _, probe := range set.Probes {
		b, err := base64.StdEncoding.DecodeString(probe.CARBase64)
		must(t, err)
		car, err := ParseCAR(b, MessageLimits())
		must(t, err)
		block, ok := car.Block(car.Root())
		if !ok {
			t.Fatalf("%s: no commit", probe.Name)
		}
		commit, err := ParseCommit(block)
		must(t, err)
		must(t, commit.Verify(key))
		if commit.DID != set.DID || commit.Data.String() != set.Data {
			t.Errorf("%s: commit of %s", probe.Name, commit.DID)
		}
		checkProbe(t, probe.Name, commit.Data, car, probe.Collection+"/"+probe.Rkey, probe.RecordFound,
			side(probe.Left, probe.LeftHidden), side(probe.Right, probe.RightHidden))
	}
}

func side(key string, hidden bool) mst.Side {
	switch {
	case hidden:
		return mst.Side{Kind: mst.BesideGap}
	case key == "":
		return mst.Side{Kind: mst.BesideEdge}
	}
	return mst.Side{Kind: mst.BesideKey, Path: []byte(key)}
}

func checkProbe(t *testing.T, name string, data atproto.Digest, car *CAR, path string, found bool, wantLeft, wantRight mst.Side) {
	t.Helper()
	tree, view, err := mst.Load(data, car)
	must(t, err)
	if _, p := view.Get(path); (p == mst.Present) != found || p == mst.Unknown {
		t.Errorf("%s: the key is %s", name, p)
	}
	left, right := view.Neighbours(path)
	for _, s := range []struct{ got, want mst.Side }{{left, wantLeft}, {right, wantRight}} {
		if s.got.Kind != s.want.Kind || string(s.got.Path) != string(s.want.Path) {
			t.Errorf("%s: beside %q, want %q", name, s.got.Path, s.want.Path)
		}
	}
	if tree.Height() < 1 || view.Complete() {
		t.Errorf("%s: height %d, complete %v", name, tree.Height(), view.Complete())
	}
}
