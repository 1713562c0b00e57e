package simnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

func (p *plugged) document(t testing.TB, did string) (d document) {
	t.Helper()
	p.get(t, p.PLC(), "/"+did).json(t, &d)
	return d
}

// exported returns one page of the export.
func (p *plugged) exported(t testing.TB, query string) (entries []logEntry) {
	t.Helper()
	r := p.get(t, p.PLC(), "/export?"+query)
	if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/jsonlines" || bytes.HasSuffix(r.body, []byte("\n")) {
		t.Fatalf("status %d, %s: %s", r.status, r.header.Get("Content-Type"), r.body)
	}
	for line := range bytes.Lines(r.body) {
		var e logEntry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func TestExportGivesEveryOperationOnceInOrder(t *testing.T) {
	p := plug(t, Config{Seed: 2, Accounts: 30, PDS: 2, Records: 8})
	live(t, p.Network, 300)
	gone := p.DIDs()[3]
	do(t, p.Tombstone(gone))
	var all []logEntry
	after := ""
	for {
		page := p.exported(t, "count=7&after="+url.QueryEscape(after))
		if len(page) == 0 || len(all) > 1000 {
			break
		}
		all = append(all, page...)
		after = page[len(page)-1].CreatedAt
	}
	if whole := p.exported(t, ""); len(whole) != len(all) || len(all) < 34 {
		t.Errorf("%d operations in pages, %d in all", len(all), len(whole))
	}
	log := map[string][]logEntry{}
	for i, e := range all {
		if i > 0 && e.CreatedAt <= all[i-1].CreatedAt {
			t.Errorf("%s after %s", e.CreatedAt, all[i-1].CreatedAt)
		}
		log[e.DID] = append(log[e.DID], e)
	}
	for _, did := range p.DIDs() {
		var audit []logEntry
		p.get(t, p.PLC(), "/"+did+"/log/audit").json(t, &audit)
		if got, want := fmt.Sprint(describeLog(log[did])), fmt.Sprint(describeLog(audit)); got != want {
			t.Errorf("%s: export %s, audit log %s", did, got, want)
		}
		for i, e := range audit {
			if (e.Operation.Prev == nil) != (i == 0) || i > 0 && *e.Operation.Prev != audit[i-1].CID {
				t.Errorf("%s: operation %d does not follow: %+v", did, i, e)
			}
		}
		last := audit[len(audit)-1].Operation
		if did == gone {
			if last.Type != "plc_tombstone" || last.Methods != nil {
				t.Errorf("%s: %+v", did, last)
			}
			continue
		}
		d := p.document(t, did)
		if last.Methods["atproto"] != "did:key:"+d.Methods[0].Key || last.Services["atproto_pds"].Endpoint != d.Services[0].Endpoint || last.AlsoKnownAs[0] != d.AlsoKnownAs[0] {
			t.Errorf("%s: document %+v, log %+v", did, d, last)
		}
	}
	for _, query := range []string{"count=0", "count=x", "after=yesterday"} {
		if r := p.get(t, p.PLC(), "/export?"+query); r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}

// By sequence number the same operations come in the same order, and nothing says which
// are nullified.
func TestExportBySequenceNumber(t *testing.T) {
	p := plug(t, Config{Seed: 2, Accounts: 30, PDS: 2, Records: 8})
	live(t, p.Network, 300)
	var all []logEntry
	for last := int64(0); ; {
		page := p.exported(t, fmt.Sprintf("count=7&after=%d", last))
		if len(page) == 0 || len(all) > 1000 {
			break
		}
		for _, e := range page {
			if e.Type != "sequenced_op" || e.Seq <= last || e.Nullified != nil {
				t.Errorf("%+v after %d", e, last)
			}
			last = e.Seq
		}
		all = append(all, page...)
	}
	byTime := p.exported(t, "")
	if fmt.Sprint(describeLog(all)) != fmt.Sprint(describeLog(byTime)) || byTime[0].Seq != 0 || byTime[0].Type != "" || byTime[0].Nullified == nil {
		t.Errorf("%d operations by number, %d by time; %+v", len(all), len(byTime), byTime[0])
	}
	p.SetDirectory(Directory{TimeOnly: true})
	if older := p.exported(t, "after=0"); len(older) != len(all) || older[0].Seq != 0 {
		t.Errorf("an older server has %d operations, %+v", len(older), older[0])
	}
	if older := p.exported(t, "after=5000"); len(older) != 0 {
		t.Errorf("an older server has %d operations after the year 5000", len(older))
	}
	if r := p.get(t, p.PLC(), "/export?after=87000000"); r.status != http.StatusBadRequest {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func describeLog(log []logEntry) (all []string) {
	for _, e := range log {
		all = append(all, e.CID+" "+e.CreatedAt+" "+e.Operation.Type)
	}
	return all
}

func TestTombstonesAre404Or410(t *testing.T) {
	p := plug(t, Config{Seed: 2})
	did := p.mustCreate(t, 0)
	do(t, p.Tombstone(did))
	for _, status := range []int{0, 410, 404} {
		p.SetDirectory(Directory{TombstoneStatus: status})
		want := max(status, 404)
		if r := p.get(t, p.PLC(), "/"+did); r.status != want || !strings.Contains(string(r.body), "DID not available: "+did) {
			t.Errorf("%d %s, want %d", r.status, r.body, want)
		}
	}
}

// rotated is what a rotation shows: the kinds of the events, whether the document
// has the new key at once, and whether the repo is signed by it.
func TestRotationsComeInEveryOrder(t *testing.T) {
	identity, sync := "#identity (handle)", "#sync (rev = commit.rev; 1 block)"
	rows := []struct {
		name     string
		do       func(n *Network, did string) error
		frames   []string
		document int // which key the document has: 0 the first
		signed   int // which key signed the repo
	}{
		{"usual", func(n *Network, did string) error { return n.RotateKey(did) }, []string{identity, sync}, 1, 1},
		{"silent", func(n *Network, did string) error { return n.Rotate(did, Rotation{Silent: true}) }, []string{sync}, 1, 1},
		{"silent and unsigned", func(n *Network, did string) error { return n.Rotate(did, Rotation{Silent: true, Unsigned: true}) }, nil, 1, 0},
		{"unsigned", func(n *Network, did string) error { return n.Rotate(did, Rotation{Unsigned: true}) }, []string{identity}, 1, 0},
		{"late in the directory", func(n *Network, did string) error { return n.Rotate(did, Rotation{Late: time.Minute}) }, []string{identity, sync}, 0, 1},
		{"announced", func(n *Network, did string) error { return n.AnnounceKey(did) }, nil, 1, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := plug(t, Config{Seed: 2})
				did := p.mustCreate(t, 0)
				do(t, p.Create(did, "net.rails.yard/a"))
				a := p.byDID[did]
				keys := []*signingKey{a.key}
				from := p.LastSeq("pds1")
				do(t, row.do(p.Network, did))
				if a.announced != nil {
					keys = append(keys, a.announced)
				} else {
					keys = append(keys, a.key)
				}
				var frames []string
				for _, e := range p.pdses[0].stream.after(from, 100) {
					frames = append(frames, describe(t, e.frame(e.seq)))
				}
				if !slices.Equal(frames, row.frames) {
					t.Errorf("frames %v, want %v", frames, row.frames)
				}
				if got := p.document(t, did).Methods[0].Key; got != keys[row.document].public.Multibase() {
					t.Errorf("the document has key %s", got)
				}
				if got := signer(t, a); got != keys[row.signed] {
					t.Error("the repo is signed by the other key")
				}
				time.Sleep(time.Minute)
				if got := p.document(t, did).Methods[0].Key; got != keys[1].public.Multibase() {
					t.Errorf("the document has key %s later", got)
				}
				do(t, p.RotateKey(did), p.Create(did, "net.rails.yard/b"))
				if signer(t, a) != a.key || p.document(t, did).Methods[0].Key != a.key.public.Multibase() || len(a.keys) > 3 {
					t.Error("the next rotation does not bring all together")
				}
				if announced := row.name == "announced"; announced != (a.key == keys[1]) {
					t.Error("an announced key is taken by the next rotation, and no other")
				}
			})
		})
	}
}

// signer returns the key that signed an account's repo.
func signer(t testing.TB, a *account) *signingKey {
	t.Helper()
	c := decodeMap(t, a.repo.commit)
	unsigned := appendCommit(nil, a.did, a.repo.rev, a.repo.data(), nil, nil)
	for _, key := range a.keys {
		if key.public.HashAndVerify(unsigned, c["sig"].([]byte)) == nil {
			return key
		}
	}
	return nil
}

func TestAReplicaThatLagsSaysWhatWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 2})
		did := p.mustCreate(t, 0)
		first := p.document(t, did).Methods[0].Key
		time.Sleep(time.Minute)
		p.SetDirectory(Directory{Lag: 10 * time.Second})
		do(t, p.RotateKey(did))
		time.Sleep(9 * time.Second)
		if p.document(t, did).Methods[0].Key != first {
			t.Error("the new key is there before its time")
		}
		time.Sleep(time.Second)
		if p.document(t, did).Methods[0].Key == first {
			t.Error("the old key is still there")
		}
	})
}

func TestEveryFaultOfTheDirectoryDoesWhatItsLineSays(t *testing.T) {
	stories := map[FaultName]func(d, truth document, r reply) bool{
		Unresolvable: func(_, _ document, r reply) bool { return r.status == http.StatusNotFound },
		StaleDocument: func(d, truth document, _ reply) bool {
			return d.AlsoKnownAs[0] != truth.AlsoKnownAs[0] && d.ID == truth.ID
		},
		NamesOther: func(d, truth document, _ reply) bool {
			return d.Services[0].Endpoint != truth.Services[0].Endpoint && d.Methods[0] == truth.Methods[0]
		},
		ForeignKey: func(d, truth document, _ reply) bool {
			return d.Methods[0].Key != truth.Methods[0].Key && d.Methods[0].Type == "Multikey"
		},
		WrongID:   func(d, truth document, _ reply) bool { return d.ID != truth.ID && d.Methods[0] == truth.Methods[0] },
		NoService: func(d, _ document, _ reply) bool { return len(d.Services) == 0 },
		NamesPrivate: func(d, truth document, _ reply) bool {
			u, err := url.Parse(d.Services[0].Endpoint)
			return err == nil && net.ParseIP(u.Hostname()) != nil && d.Methods[0] == truth.Methods[0]
		},
		BrokenKey: func(d, truth document, _ reply) bool {
			_, err := atcrypto.ParsePublicMultibase(d.Methods[0].Key)
			return err != nil && d.Services[0] == truth.Services[0]
		},
	}
	for _, f := range Faults() {
		if f.Where != OnDirectory || slices.Equal(f.on, []string{"export"}) {
			continue
		}
		story := stories[f.Name]
		if story == nil {
			t.Errorf("%s: nothing shows that it does: %s", f.Name, f.Doc)
			continue
		}
		p := plug(t, Config{Seed: 2, PDS: 2})
		did, other := p.mustCreate(t, 0), p.mustCreate(t, 1)
		do(t, p.ChangeHandle(did, "other.sim.test"))
		digest, truth := p.Digest(), p.document(t, did)
		do(t, p.Switch(Rule{Fault: f.Name, DID: did, Times: 1}))
		p.document(t, other) // which is not lied about
		r := p.get(t, p.PLC(), "/"+did)
		var d document
		if err := json.Unmarshal(r.body, &d); err != nil {
			t.Error(err)
		}
		if !story(d, truth, r) || p.Fired(f.Name) != 1 || p.Digest() != digest {
			t.Errorf("%s\n%s (fired %v)", f.Doc, r.body, p.FiredAll())
		}
		if again := p.document(t, did); fmt.Sprint(again) != fmt.Sprint(truth) {
			t.Errorf("%s: %+v after the fault", f.Name, again)
		}
	}
}

func TestEveryFaultOfTheLogDoesWhatItsLineSays(t *testing.T) {
	cids := func(entries []logEntry) (list []string) {
		for _, e := range entries {
			list = append(list, e.CID)
		}
		return list
	}
	type story func(lie, truth []logEntry) bool
	onCIDs := func(story func(lie, truth []string) bool) story {
		return func(lie, truth []logEntry) bool { return story(cids(lie), cids(truth)) }
	}
	stories := map[FaultName]story{
		ExportLags: onCIDs(func(lie, truth []string) bool {
			return len(lie) == len(truth)-2 && slices.Equal(lie, truth[:len(lie)])
		}),
		ExportRepeats: onCIDs(func(lie, truth []string) bool {
			from := len(lie) - 2*len(truth)
			return from >= 0 && slices.Equal(lie[from:], append(slices.Clone(truth), truth...))
		}),
		ExportShuffles: onCIDs(func(lie, truth []string) bool {
			same := slices.Equal(lie, truth)
			slices.Sort(lie)
			slices.Sort(truth)
			return !same && slices.Equal(lie, truth)
		}),
		ExportNullified: func(lie, truth []logEntry) bool {
			n := len(truth) - 1 // the rotation
			if len(lie) != len(truth)+1 {
				return false
			}
			x, y := lie[n], lie[n+1]
			return y.CID == truth[n].CID && x.CID != y.CID && *x.Operation.Prev == *y.Operation.Prev &&
				x.DID == y.DID && x.CreatedAt < y.CreatedAt && x.Seq <= y.Seq && (x.Seq > 0 || *x.Nullified && !*y.Nullified)
		},
		ExportRenumbers: func(lie, truth []logEntry) bool { // from then on
			return slices.Equal(cids(lie), cids(truth)) && lie[0].Seq == truth[0].Seq && lie[0].Seq > 1000
		},
		ExportByTime: func(lie, truth []logEntry) bool {
			return len(lie) > 0 && lie[0].Seq == 0 && lie[0].Type == "" && truth[0].Seq > 0
		},
	}
	for _, f := range Faults() {
		if !slices.Equal(f.on, []string{"export"}) {
			continue
		}
		story := stories[f.Name]
		if story == nil {
			t.Errorf("%s: nothing shows that it does: %s", f.Name, f.Doc)
			continue
		}
		for _, bySeq := range []bool{true, false} {
			if !bySeq && (f.Name == ExportRenumbers || f.Name == ExportByTime) {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				p := plug(t, Config{Seed: 2, Accounts: 12, Start: time.Now(), Now: time.Now})
				time.Sleep(time.Hour)
				did := p.mustCreate(t, 0)
				time.Sleep(time.Minute)
				do(t, p.Create(did, "net.rails.yard/a"), p.RotateKey(did))
				after := "after=" + url.QueryEscape(p.exported(t, "")[5].CreatedAt)
				if bySeq {
					after = fmt.Sprint("after=", p.exported(t, "after=0")[5].Seq)
				}
				if f.Name == ExportRenumbers {
					p.seqShift += 1000 // so that what is asked for is before everything
				}
				digest := p.Digest()
				do(t, p.Switch(Rule{Fault: f.Name, Times: 1}))
				p.document(t, did)
				lie, truth := p.exported(t, after), p.exported(t, after)
				if !story(lie, truth) || p.Fired(f.Name) != 1 || p.Digest() != digest {
					t.Errorf("%s\n%v for %v (fired %v)", f.Doc, describeLog(lie), describeLog(truth), p.FiredAll())
				}
				time.Sleep(exportLag)
				do(t, p.Switch(Rule{Fault: ExportLags}))
				if later := p.exported(t, after); f.Name == ExportLags && !slices.Equal(cids(later), cids(truth)) {
					t.Errorf("later %v, want %v", later, truth)
				}
			})
		}
	}
}
