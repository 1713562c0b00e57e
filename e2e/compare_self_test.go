//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fakeIndex serves rows as an index would, and lies where it is told to.
type fakeIndex struct {
	// rows are in the order of their birth. A row without a collection lists its
	// repo.
	rows        []fakeRow
	memberships int
	// repeat lists a repo once for each of its asked collections.
	repeat bool
	lie    func(*page)
}

type fakeRow struct{ did, collection string }

// fakeOf is an index that equals the truth.
func fakeOf(w truth) *fakeIndex {
	f := &fakeIndex{memberships: w.memberships()}
	for _, a := range w.Accounts {
		if !a.counts() {
			continue
		}
		f.rows = append(f.rows, fakeRow{did: a.DID})
		for _, c := range a.Collections {
			f.rows = append(f.rows, fakeRow{a.DID, c})
		}
	}
	return f
}

func (f *fakeIndex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/stats" {
		json.NewEncoder(w).Encode(stats{Memberships: f.memberships})
		return
	}
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	after, _ := strconv.Atoi(strings.TrimLeft(q.Get("cursor"), "fake. "))
	p := f.page(q["collection"], limit, after)
	if f.lie != nil {
		f.lie(&p)
	}
	json.NewEncoder(w).Encode(p)
}

func (f *fakeIndex) page(collections []string, limit, after int) page {
	var p page
	given := map[string]bool{}
	for i, row := range f.rows {
		asked := len(collections) == 0 && row.collection == "" || row.collection != "" && slices.Contains(collections, row.collection)
		if !asked || given[row.did] && !f.repeat {
			continue
		}
		given[row.did] = true
		if i < after || len(p.Repos) == limit {
			continue
		}
		p.Repos = append(p.Repos, repo{row.did})
		cursor := fmt.Sprintf("fake.%d", i+1)
		p.Cursor = &cursor
	}
	return p
}

func (f *fakeIndex) serve(t *testing.T) index {
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return index(server.URL)
}

// smallTruth has more members of one collection than a page holds.
func smallTruth() truth {
	w := truth{Written: []string{ghost, thing, thingX, thingy}}
	for i := range 20 {
		w.Accounts = append(w.Accounts, account{DID: fmt.Sprintf("did:plc:a%02d", i), Public: true, Collections: []string{thing}})
	}
	w.Accounts = append(w.Accounts,
		account{DID: "did:plc:empty", Public: true},
		account{DID: "did:plc:gone"},
		account{DID: "did:plc:both", Public: true, Collections: []string{thing, thingX}},
		account{DID: "did:plc:two", Public: true, Collections: []string{thingX, thingy}})
	return w
}

func TestComparisonAcceptsAnEqualIndex(t *testing.T) {
	w := smallTruth()
	diff, err := differences(t.Context(), fakeOf(w).serve(t), w)
	if len(diff) > 0 || err != nil {
		t.Errorf("differences %v, %v", diff, err)
	}
}

func TestComparisonNoticesEachKindOfWrongRow(t *testing.T) {
	remove := func(row fakeRow) func(*fakeIndex) {
		return func(f *fakeIndex) { f.rows = slices.DeleteFunc(f.rows, func(r fakeRow) bool { return r == row }) }
	}
	add := func(row fakeRow) func(*fakeIndex) {
		return func(f *fakeIndex) { f.rows = append(f.rows, row) }
	}
	for _, c := range []struct {
		name  string
		spoil func(*fakeIndex)
		want  string
	}{
		{"a member is missing", remove(fakeRow{"did:plc:two", thingX}), "[" + thingX + "]: did:plc:two missing"},
		{"a member on the last page is missing", remove(fakeRow{"did:plc:a19", thing}), "[" + thing + "]: did:plc:a19 missing"},
		{"an empty repo is missing", remove(fakeRow{did: "did:plc:empty"}), "[]: did:plc:empty missing"},
		{"a hidden repo is listed", add(fakeRow{did: "did:plc:gone"}), "[]: did:plc:gone extra"},
		{"a neighbour is listed", add(fakeRow{"did:plc:two", thing}), "[" + thing + "]: did:plc:two extra"},
		{"an emptied collection has a member", add(fakeRow{"did:plc:two", ghost}), "[" + ghost + "]: did:plc:two extra"},
		{"a count is wrong", func(f *fakeIndex) { f.memberships++ }, "/v1/stats counts 25 memberships, want 24"},
		{"a repo comes twice in a union", func(f *fakeIndex) { f.repeat = true },
			fmt.Sprint([]string{ghost, thing, thingX}) + ": did:plc:both twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := smallTruth()
			f := fakeOf(w)
			c.spoil(f)
			diff, err := differences(t.Context(), f.serve(t), w)
			if err != nil || !slices.Contains(diff, c.want) {
				t.Errorf("differences %v, %v, want %q", diff, err, c.want)
			}
		})
	}
}

func TestComparisonLeavesTombstonedDIDsOut(t *testing.T) {
	w := smallTruth()
	held := fakeOf(w)
	for i, a := range w.Accounts {
		w.Accounts[i].Tombstoned = a.DID == "did:plc:both" || a.DID == "did:plc:gone"
	}
	for name, f := range map[string]*fakeIndex{"held": held, "not held": fakeOf(w)} {
		diff, err := differences(t.Context(), f.serve(t), w)
		if len(diff) > 0 || err != nil {
			t.Errorf("%s: differences %v, %v", name, diff, err)
		}
	}
	held.memberships--
	diff, err := differences(t.Context(), held.serve(t), w)
	if want := []string{"/v1/stats counts 21 memberships, want 22"}; !slices.Equal(diff, want) || err != nil {
		t.Errorf("a wrong count: differences %v, %v, want %v", diff, err, want)
	}
}

func TestComparisonNoticesARepeatedRepo(t *testing.T) {
	w := smallTruth()
	f := fakeOf(w)
	f.lie = func(p *page) {
		if len(p.Repos) > 1 {
			p.Repos[1] = p.Repos[0]
		}
	}
	diff, err := differences(t.Context(), f.serve(t), w)
	if err != nil || !slices.Contains(diff, "["+thing+"]: did:plc:a00 twice") {
		t.Errorf("differences %v, %v", diff, err)
	}
}

func TestComparisonRefusesABrokenContract(t *testing.T) {
	text := "fake.99"
	for name, lie := range map[string]func(*page){
		"a page without a cursor": func(p *page) { p.Cursor = nil },
		"an empty page with one":  func(p *page) { p.Cursor = &text; p.Repos = nil },
		"a cursor with a space": func(p *page) {
			if p.Cursor != nil {
				odd := strings.Replace(*p.Cursor, ".", " ", 1)
				p.Cursor = &odd
			}
		},
		"more repos than asked for": func(p *page) {
			if len(p.Repos) > 0 {
				p.Repos = append(p.Repos, make([]repo, unionLimit)...)
			}
		},
		"a walk without an end": func(p *page) {
			p.Repos = []repo{{"did:plc:a00"}}
			p.Cursor = &text
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := fakeOf(smallTruth())
			f.lie = lie
			if _, err := differences(t.Context(), f.serve(t), smallTruth()); !errors.Is(err, errContract) {
				t.Errorf("%v, want a broken contract", err)
			}
		})
	}
}

func TestFollowerExpectsNewcomersAndWhoCameBackOnly(t *testing.T) {
	w := smallTruth()
	f := fakeOf(w)
	x := f.serve(t)
	client := follow(thing)
	ask := func(w truth, back ...string) []string {
		client.observe(w, back)
		wrong, err := client.ask(t.Context(), x, w)
		if err != nil {
			t.Fatal(err)
		}
		return wrong
	}
	if wrong := ask(w); len(wrong) > 0 {
		t.Errorf("the first walk: %v", wrong)
	}
	if wrong := ask(w); len(wrong) > 0 {
		t.Errorf("nothing new: %v", wrong)
	}

	newcomer := fakeRow{"did:plc:two", thing}
	w.Accounts[len(w.Accounts)-1].Collections = []string{thing, thingX, thingy}
	f.rows = append(f.rows, newcomer)
	if wrong := ask(w); len(wrong) > 0 {
		t.Errorf("a newcomer: %v", wrong)
	}
	f.rows = append(slices.DeleteFunc(f.rows, func(r fakeRow) bool { return r == newcomer }), fakeRow{}, newcomer)
	if wrong := ask(w, "did:plc:two"); len(wrong) > 0 {
		t.Errorf("one that came back: %v", wrong)
	}
	if wrong := ask(w, "did:plc:a00"); !slices.Equal(wrong, []string{"newcomers of [" + thing + "]: did:plc:a00 missing"}) {
		t.Errorf("one that should have come back: %v", wrong)
	}
	client.cursor = ""
	if wrong := ask(w); len(wrong) != len(w.members(thing)) {
		t.Errorf("all came again: %v", wrong)
	}

	gone := smallTruth()
	gone.Accounts[0].Public = false
	client.observe(gone, nil)
	if known := slices.Sorted(maps.Keys(client.known)); slices.Contains(known, "did:plc:a00") || !slices.Contains(known, "did:plc:a01") {
		t.Errorf("after did:plc:a00 left, known are %v", known)
	}
}

func TestEagerClientNamesWhatItMissed(t *testing.T) {
	w := smallTruth()
	f := fakeOf(w)
	e := &eager{given: map[string]bool{}}
	x := f.serve(t)
	f.rows = slices.DeleteFunc(f.rows, func(r fakeRow) bool { return r.did == "did:plc:a03" })
	if err := e.ask(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if missed := e.missed(w); !slices.Equal(missed, []string{"did:plc:a03"}) {
		t.Errorf("missed %v", missed)
	}
}
