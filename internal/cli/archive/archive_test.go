package archive

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/test/fixtures"
)

func TestFiguresOfThePublicCARs(t *testing.T) {
	for _, c := range []struct {
		file    string
		version int64
		prev    bool
		tree    Tree
		blocks  Blocks // the bytes are not compared
	}{
		{"empty.car", 3, false, Tree{Nodes: 1}, Blocks{Total: 2, Different: 2, Nodes: 1}},
		{"little.car", 3, false, Tree{Keys: 278, Nodes: 96, Height: 4}, Blocks{Total: 375, Different: 375, Nodes: 96, Records: 278}},
		{"jetstream_repo.car", 3, false, Tree{Keys: 23, Nodes: 5, Height: 1}, Blocks{Total: 29, Different: 29, Nodes: 5, Records: 23}},
		{"paul_staging.repo.car", 2, true, Tree{Keys: 185}, Blocks{Total: 458, Different: 452, Unused: 221 - 6}},
		{"repo_slice.car", 2, true, Tree{Keys: 5, AbsentSubtrees: 1, AbsentRecords: 4}, Blocks{Records: 1}},
		{"greenground.repo.car", 3, true, Tree{Keys: 2}, Blocks{Records: 2}},
	} {
		a := Read(fixtures.Read(t, "cars", c.file))
		if a.Err() != nil {
			t.Errorf("%s: %v", c.file, a.Err())
			continue
		}
		if a.Commit.Version != c.version || a.Tree.Keys != c.tree.Keys || a.Tree.AbsentSubtrees != c.tree.AbsentSubtrees ||
			a.Tree.AbsentRecords != c.tree.AbsentRecords || a.View.Gaps() != c.tree.AbsentSubtrees {
			t.Errorf("%s: version %d, %+v", c.file, a.Commit.Version, a.Tree)
		}
		if c.tree.Nodes > 0 && (a.Tree.Nodes != c.tree.Nodes || a.Tree.Height != c.tree.Height || a.Blocks.Nodes != c.tree.Nodes) {
			t.Errorf("%s: %+v", c.file, a.Tree)
		}
		if c.blocks.Total > 0 && (a.Blocks.Total != c.blocks.Total || a.Blocks.Different != c.blocks.Different || a.Blocks.Unused != c.blocks.Unused) {
			t.Errorf("%s: %+v", c.file, a.Blocks)
		}
		if c.blocks.Records > 0 && a.Blocks.Records != c.blocks.Records {
			t.Errorf("%s: %+v", c.file, a.Blocks)
		}
		if used := 1 + a.Blocks.Nodes + a.Blocks.Records + a.Blocks.Unused; used != a.Blocks.Different {
			t.Errorf("%s: %d blocks are accounted for, of %d", c.file, used, a.Blocks.Different)
		}
		if (a.Commit.Prev != nil) != c.prev {
			t.Errorf("%s: prev %v", c.file, a.Commit.Prev)
		}
	}
}

func TestCollectionsOfLittleCar(t *testing.T) {
	a := Read(fixtures.Read(t, "cars", "little.car"))
	list, odd := Collections(a.View)
	var got strings.Builder
	for _, c := range list {
		fmt.Fprintf(&got, "%s\t%d\n", c.NSID, c.Records)
		if c.AtLeast {
			t.Errorf("%s is in doubt in a whole tree", c.NSID)
		}
	}
	if want := string(fixtures.Read(t, "cars", "little.collections.tsv")); got.String() != want || odd != 0 {
		t.Errorf("%d odd\n%s", odd, got.String())
	}
}

func TestRecordsOfTheJetstreamRepo(t *testing.T) {
	a := Read(fixtures.Read(t, "cars", "jetstream_repo.car"))
	var got strings.Builder
	for _, key := range Keys(a.View, "") {
		fmt.Fprintf(&got, "%s\t%s\n", key.Path, CIDText(key.Value))
	}
	if want := string(fixtures.Read(t, "cars", "jetstream_repo.records.tsv")); strings.TrimSpace(got.String()) != strings.TrimSpace(want) {
		t.Errorf("%s", got.String())
	}
	text := string(fixtures.Read(t, "cars", "jetstream_repo.commit.txt"))
	for _, want := range []string{"Version: 3", a.Commit.DID, "Data CID: " + a.Commit.Data.String(), a.Commit.Rev.String()} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
}

func TestKeysOutsideOfCollectionsAreCountedApart(t *testing.T) {
	m := newRepo(t, "/x", "com.example.a/1", "com.example.a/2", "com.example.ab/1", "com.example/odd", "noslash", "zz.example.a/1")
	list, odd := Collections(Read(m.car(t)).View)
	want := []Collection{{"com.example.a", 2, false}, {"com.example.ab", 1, false}, {"zz.example.a", 1, false}}
	if odd != 3 || !slices.Equal(list, want) {
		t.Errorf("%d odd, %v", odd, list)
	}
}

// In a partial tree a number is exact unless it is marked.
func TestNumbersOfAPartialTreeAreExactOrMarked(t *testing.T) {
	var all []string
	truth := map[string]int{}
	for i := range 30 {
		nsid := fmt.Sprintf("com.example.c%02d", i)
		truth[nsid] = 1 + i%5
		all = append(all, paths(nsid, truth[nsid])...)
	}
	m := newRepo(t, all...)
	root, commit, nodes, _ := m.blocks(t)
	marked, exact := 0, 0
	for i := range nodes {
		a := Read(writeCAR(root, append([][]byte{commit}, slices.Delete(slices.Clone(nodes), i, i+1)...)...))
		list, _ := Collections(a.View)
		for _, c := range list {
			if c.AtLeast {
				marked++
			} else if exact++; c.Records != truth[c.NSID] {
				t.Errorf("node %d: %s has %d records, shown %d", i, c.NSID, truth[c.NSID], c.Records)
			}
		}
	}
	if marked < len(nodes)/2 || exact < 10*marked {
		t.Errorf("%d marked, %d exact", marked, exact)
	}
}

func TestBlocksThatNobodyNeedsAndDuplicates(t *testing.T) {
	m := newRepo(t, paths("com.example.thing", 20)...)
	m.records["com.example.thing/000"] = m.records["com.example.thing/001"] // two keys, one block
	root, commit, nodes, records := m.blocks(t)
	all := append(append([][]byte{commit}, nodes...), records...) // the shared one twice
	orphan := record("nobody's")
	a := Read(writeCAR(root, append(all, orphan, orphan, nodes[0])...))
	b := a.Blocks
	if b.Unused != 1 || b.UnusedBytes != int64(len(orphan)) || b.Records != 19 || b.Nodes != len(nodes) || b.Duplicates() != 3 {
		t.Errorf("%+v", b)
	}
	if want := int64(len(orphan) + len(nodes[0]) + len(records[0])); b.DuplicateBytes != want {
		t.Errorf("%d bytes of duplicates, want %d", b.DuplicateBytes, want)
	}
	var nodeBytes int64
	keys, most, least := 0, 0, 1<<30
	for _, node := range nodes {
		nodeBytes += int64(len(node))
		n := keysOf(node)
		keys, most, least = keys+n, max(most, n), min(least, n)
	}
	if a.Tree.MostKeys != most || a.Tree.LeastKeys != least || keys != 20 || b.NodeBytes != nodeBytes || a.Tree.AbsentRecords != 0 {
		t.Errorf("%+v %+v; %d %d %d", a.Tree, b, least, most, keys)
	}
}

func TestRecordsAsJSON(t *testing.T) {
	text := func(s string) []byte { return dagcbor.AppendText(nil, s) }
	d := atproto.DigestOf([]byte("x"))
	deep := []byte{}
	for range 40 {
		deep = dagcbor.AppendArray(deep, 1)
	}
	for _, c := range []struct {
		block []byte
		want  string // empty: refused
	}{
		{dagcbor.AppendInt(nil, -5), `-5`},
		{text("a\"\\\n\x1bé\u202e"), `"a\"\\\u000a\u001bé` + "\u202e" + `"`},
		{dagcbor.AppendBytes(nil, []byte{1, 2, 0xff, 0xfe}), `{"$bytes":"AQL//g"}`},
		{dagcbor.AppendLink(nil, d), `{"$link":"` + d.String() + `"}`},
		{dagcbor.AppendNull(nil), `null`},
		{[]byte{0xf5}, `true`}, {[]byte{0xf4}, `false`},
		{dagcbor.AppendMap(nil, 0), `{}`},
		{append(dagcbor.AppendText(dagcbor.AppendMap(nil, 1), "a"), dagcbor.AppendNull(dagcbor.AppendInt(dagcbor.AppendArray(nil, 2), 1))...), `{"a":[1,null]}`},
		{append(deep, 1), ``},
		{[]byte{0xfb, 0, 0, 0, 0, 0, 0, 0, 0}, ``},
		{[]byte{1, 1}, ``},
		{nil, ``},
	} {
		got, err := AppendJSON(nil, c.block)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%x: %s, %v", c.block, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	m := newRepo(f, paths("com.example.thing", 12)...)
	f.Add(m.car(f))
	m.version = 2
	f.Add(m.car(f))
	root, commit, nodes, _ := m.blocks(f)
	f.Add(writeCAR(root, commit, nodes[0]))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := Read(b)
		r := Verify(a, "", m.authority(t), now)
		if first, refused := r.First(); refused && first.Reason == "internal" {
			t.Fatal(first.Detail)
		}
		if a.Err() != nil {
			return
		}
		Collections(a.View)
		for _, key := range a.View.Keys() {
			_, _ = AppendJSON(nil, a.Record(key.Value))
			CIDText(key.Value)
		}
		if s, err := Compare(a.View, a.View, "", func(Change) error { return nil }); err != nil || s.Same != a.Tree.Keys {
			t.Fatalf("differs from itself: %+v", s)
		}
	})
}
