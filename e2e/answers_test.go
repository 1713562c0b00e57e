//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// deliberate are the differences that stay: what the reference says, with some
// pieces replaced, is what the simulated network says. A row that is not needed
// fails the test.
var deliberate = []struct {
	question string
	pieces   []string // old, new, old, new
	why      string
}{
	{"GET {pds0}/xrpc/com.atproto.server.describeServer", []string{`".test"`, `".sim.test"`}, "a name of its own"},
	{"GET {plc}/{elsewhere}/log/audit", []string{`["did:key:<key>"]`, "[]", "<signature>", ""}, "nobody checks the operations, so they are not signed"},
	{"GET {pds0}/xrpc/com.atproto.sync.getRepoStatus?did={alice}&did={empty}",
		[]string{`400 application/json; charset=utf-8 {"error":"InvalidRequest","message":"Invalid com.atproto.sync.getRepoStatus params: ` +
			`Expected string value type (got [\"{alice}\", \"{empty}\"])"}`, `200 application/json; charset=utf-8 {"active":true,"did":"{alice}","rev":"{rev}"}`},
		"no client repeats a parameter"},
	{"GET {pds0}/nothing", []string{notFoundPage("/nothing"), `404 text/plain; charset=utf-8 "404 page not found\n"`}, "not a part of the protocol"},
	{"GET {plc}/", []string{notFoundPage("/"), `404 application/json; charset=utf-8 {"message":"DID not registered: "}`}, "not a part of the protocol"},
}

// notFoundPage is what Express says of a path that it does not know.
func notFoundPage(path string) string {
	return fmt.Sprintf("404 text/html; charset=utf-8 %q", "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<title>Error</title>\n</head>\n<body>\n<pre>Cannot GET "+path+"</pre>\n</body>\n</html>\n")
}

// entry is one thing that was done or asked, and what was seen.
type entry struct{ what, seen string }

func TestSimulatedNetworkAnswersAsTheReferenceServers(t *testing.T) {
	want, got := transcript(t, referenceSide(t)), transcript(t, simulatedSide(t, 20_000))
	if len(want) != len(got) {
		t.Fatalf("%d entries of the reference, %d of the simulation", len(want), len(got))
	}
	for i, w := range want {
		requireSound(t, w)
		expected := w.seen
		for _, d := range deliberate {
			if d.question != w.what {
				continue
			}
			if expected = strings.NewReplacer(d.pieces...).Replace(w.seen); expected == w.seen {
				t.Errorf("%s: there is no such difference (%s)", d.question, d.why)
			}
		}
		if got[i].seen != expected {
			t.Errorf("%s\n%s", w.what, unlike(expected, got[i].seen))
		}
	}
	t.Logf("%d answers and steps are alike, but for %d that differ on purpose", len(want), len(deliberate))
}

func TestSimulatedPDSSaysThatACursorIsTooOldAsTheReferencePDSDoes(t *testing.T) {
	var answers []string
	for _, s := range []*side{referenceSide(t, "--backfill-ms", "1"), simulatedSide(t, 8)} {
		if err := s.account("clerk", 0); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			s.mark(t)
		}
		for _, query := range []string{"?cursor=0", "?cursor=1", "?cursor=-5"} {
			f := s.subscribe(t, query)
			frame, end := f.next()
			answers = append(answers, s.frame(frame)+end)
		}
	}
	const info = `{"op":1,"t":"#info"} {"message":"Requested cursor exceeded limit. Possibly missing events","name":"OutdatedCursor"}`
	for i, got := range answers {
		if got != info {
			t.Errorf("answer %d: %s, want %s", i, got, info)
		}
	}
}

// requireSound fails on words that would make two equal answers worthless.
func requireSound(t *testing.T, e entry) {
	t.Helper()
	for _, bad := range []string{
		"not a frame", "refused:", "i/o timeout", "without a header", "junk", "proves unknown", "present, record sent false", "block: false", "root: false",
		"first: false, since and prevData are of the commit before: false",
	} {
		for line := range strings.Lines(e.seen) {
			if strings.Contains(line, bad) {
				t.Errorf("%s: %q in %s", e.what, bad, line)
			}
		}
	}
}

// unlike shows the lines in which two texts differ.
func unlike(want, got string) string {
	var out strings.Builder
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "nothing", "nothing"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			fmt.Fprintf(&out, "  expected  %s\n  simulated %s\n", x, y)
		}
	}
	return out.String()
}

// transcript plays the whole script on one side.
func transcript(t *testing.T, s *side) []entry {
	t.Helper()
	return slices.Concat(s.events(t), s.questions(t), s.pages(t), s.cursors(t))
}

// events takes the steps and returns the frames of each.
func (s *side) events(t *testing.T) (all []entry) {
	t.Helper()
	for _, step := range script(t) {
		if err := step.do(s); err != nil {
			t.Fatalf("%s: %s: %v", s.name, step.what, err)
		}
		all = append(all, entry{"frames: " + step.what, s.until(s.feed, s.mark(t))})
	}
	return all
}

// step is one thing that happens to a network.
type step struct {
	what string
	do   func(*side) error
}

// residents have records.
var residents = []string{"asleep", "banned", "both", "gone", "back", "freed", "gone-asleep", "gone-banned"}

func script(t *testing.T) []step {
	steps := []step{
		{"create the first account", func(s *side) error { return s.account("clerk", 0) }},
		{"create account", func(s *side) error { return s.account("alice", 0) }},
		{"create record", func(s *side) error { return s.apply("alice", create(thing, "1")) }},
		{"update record", func(s *side) error { return s.apply("alice", update(thing, "1")) }},
		{"delete the only record", func(s *side) error { return s.apply("alice", remove(thing, "1")) }},
		{"create and delete one record in an empty repo", func(s *side) error { return s.apply("alice", create(ghost, "1"), remove(ghost, "1")) }},
		{"2 creates", func(s *side) error { return s.apply("alice", create(thing, "1", "2")) }},
		{"2 creates, 1 update, 1 delete", func(s *side) error {
			return s.apply("alice", create(thingX, "1", "2"), update(thing, "1"), remove(thing, "2"))
		}},
		{"create and delete one record", func(s *side) error { return s.apply("alice", create(ghost, "1"), remove(ghost, "1")) }},
		{"create and delete one record, and create another", func(s *side) error {
			return s.apply("alice", create(ghost, "1"), create(thing, "3"), remove(ghost, "1"))
		}},
		{"forty commits drawn at random", drawnCommits("alice", 40)},
		{"nothing", func(s *side) error { s.remember(t, "rev before", "alice"); return nil }},
		{"200 creates", func(s *side) error { return s.apply("alice", create(thingy, numbers(200)...)) }},
		{"nothing", func(s *side) error { s.remember(t, "rev", "alice"); return nil }},
		{"create the account twin", func(s *side) error { return s.account("twin", 0) }},
		{"2 records alike", func(s *side) error { return s.applyAlike("twin", create(thing, "1", "2")) }},
		{"1 more, alike those before", func(s *side) error { return s.applyAlike("twin", create(thing, "3")) }},
		{"update of one of them", func(s *side) error { return s.apply("twin", update(thing, "1")) }},
		{"delete another of them", func(s *side) error { return s.apply("twin", remove(thing, "2")) }},
		{"and back to what it was", func(s *side) error { return s.applyAlike("twin", update(thing, "1")) }},
		{"create the account same", func(s *side) error { return s.account("same", 0) }},
		{"3 records alike", func(s *side) error { return s.applyAlike("same", create(thing, "1", "2", "3")) }},
		{"update without a change", func(s *side) error { return s.applyAlike("same", update(thing, "1")) }},
		{"create the account again", func(s *side) error { return s.account("again", 0) }},
		{"3 records of again", func(s *side) error { return s.apply("again", create(thing, "1", "2", "3")) }},
		{"delete and create one record", func(s *side) error { return s.apply("again", remove(thing, "1"), create(thing, "1")) }},
		{"update one record twice", func(s *side) error { return s.apply("again", update(thing, "1"), update(thing, "1")) }},
		{"update and delete one record", func(s *side) error { return s.apply("again", update(thing, "1"), remove(thing, "1")) }},
		{"create and update one record", func(s *side) error { return s.apply("again", create(ghost, "1"), update(ghost, "1")) }},
		{"create, delete and create one record", func(s *side) error {
			return s.apply("again", create(ghost, "2"), remove(ghost, "2"), create(ghost, "2"))
		}},
		{"create, update and delete one record", func(s *side) error {
			return s.apply("again", create(ghost, "3"), update(ghost, "3"), remove(ghost, "3"))
		}},
		{"create another account", func(s *side) error { return s.account("renamed", 0) }},
		{"change handle", func(s *side) error { return s.changeHandle("renamed", "renamed-two") }},
		{"create an empty repo", func(s *side) error { return s.account("empty", 0) }},
		{"create an account on another PDS", func(s *side) error { return s.account("elsewhere", 1) }},
	}
	for _, name := range residents {
		steps = append(steps, step{"create " + name, func(s *side) error { return s.account(name, 0) }},
			step{"3 records of " + name, func(s *side) error { return s.apply(name, create(thing, "1"), create(thingX, "1", "2")) }})
	}
	for _, change := range [][2]string{
		{"deactivate", "asleep"}, {"deactivate", "asleep"}, {"takedown", "banned"}, {"takedown", "banned"},
		{"deactivate", "both"}, {"takedown", "both"}, {"untakedown", "both"}, {"takedown", "both"},
		{"deactivate", "back"}, {"activate", "back"}, {"activate", "back"},
		{"takedown", "freed"}, {"untakedown", "freed"}, {"untakedown", "freed"},
		{"deactivate", "gone-asleep"}, {"takedown", "gone-banned"},
		{"deleteAccount", "gone"}, {"deleteAccount", "gone-asleep"}, {"deleteAccount", "gone-banned"},
	} {
		steps = append(steps, step{change[0] + " " + change[1], func(s *side) error { return s.set(change[0], s.vars[change[1]]) }})
	}
	return append(steps,
		step{"write after an activation", func(s *side) error { return s.apply("back", create(thingy, "1")) }},
		step{"write after a takedown", func(s *side) error { return s.apply("freed", create(thingy, "1")) }})
}

func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i)
	}
	return out
}

// drawnCommits makes commits that mix creates, updates and deletes, the same on
// both sides, so that the tree grows and shrinks in many ways.
func drawnCommits(name string, count int) func(*side) error {
	return func(s *side) error {
		rnd := rand.New(rand.NewPCG(1, 2))
		var held []write
		for i := range count {
			var commit, kept []write
			for j := range 1 + rnd.IntN(6) {
				w := write{"create", []string{thing, thingX, thingDash, replacement}[rnd.IntN(4)], fmt.Sprintf("r%d-%d", i, j)}
				if k := rnd.IntN(3); k > 0 && len(held) > 0 {
					at := rnd.IntN(len(held))
					w = write{[]string{"update", "delete"}[k-1], held[at].Collection, held[at].Rkey}
					held = slices.Delete(held, at, at+1)
				}
				if commit = append(commit, w); w.Action != "delete" {
					kept = append(kept, w)
				}
			}
			if err := s.apply(name, commit); err != nil {
				return err
			}
			held = append(held, kept...)
		}
		return nil
	}
}

// questions asks everything of every account, for many records of one, and the
// odd questions.
func (s *side) questions(t *testing.T) (all []entry) {
	t.Helper()
	ask := func(question string) { all = append(all, entry{question, s.ask(t, question)}) }
	for _, name := range append([]string{"alice", "again", "twin", "same", "empty", "elsewhere", "nobody"}, residents...) {
		for _, query := range []string{
			"repo.describeRepo?repo=WHO", "sync.getRepo?did=WHO", "sync.getLatestCommit?did=WHO", "sync.getRepoStatus?did=WHO",
			"sync.getRecord?did=WHO&collection=" + thing + "&rkey=1", "sync.getRecord?did=WHO&collection=" + thing + "&rkey=none",
			"sync.getRecord?did=WHO&collection=" + ghost + "&rkey=1", "sync.getRecord?did=WHO&collection=A.A.A&rkey=-",
			"sync.getRecord?did=WHO&collection=zz.zz.zz&rkey=~",
		} {
			ask("GET {pds0}/xrpc/com.atproto." + strings.ReplaceAll(query, "WHO", "{"+name+"}"))
		}
		ask("GET {plc}/{" + name + "}")
	}
	for _, i := range numbers(40) {
		ask("GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&collection=" + thingy + "&rkey=" + i)
		ask("GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&collection=" + thingX + "&rkey=r" + i)
	}
	for question := range strings.Lines(strings.TrimSpace(oddQuestions)) {
		ask(strings.TrimSpace(question))
	}
	return all
}

const oddQuestions = `
GET {plc}/
GET {plc}/_health
GET {plc}/nonsense
GET {plc}/did:plc:tooshort
GET {plc}/did:web:localhost
GET {plc}/{renamed}
GET {plc}/{elsewhere}/log/audit
GET {plc}/{nobody}/log/audit
GET {pds0}/nothing
GET {pds0}/xrpc/
GET {pds0}/xrpc/_health
POST {pds0}/xrpc/_health
GET {pds0}/xrpc/nonsense
GET {pds0}/xrpc/com.example.nothing
GET {pds0}/xrpc/com.atproto.server.describeServer
GET {pds0}/xrpc/com.atproto.repo.describeRepo
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo=
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo={alice.handle}
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo={asleep.handle}
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo={banned.handle}
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo={gone.handle}
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo=nobody.test
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo=not%20a%20did
GET {pds0}/xrpc/com.atproto.repo.describeRepo?repo=did:web:localhost
GET {pds0}/xrpc/com.atproto.sync.getRepo
GET {pds0}/xrpc/com.atproto.sync.getRepo?did=
GET {pds0}/xrpc/com.atproto.sync.getRepo?did=nonsense
GET {pds0}/xrpc/com.atproto.sync.getRepo?did={alice.handle}
GET {pds0}/xrpc/com.atproto.sync.getRepo?did=did:plc:tooshort
GET {pds0}/xrpc/com.atproto.sync.getRepo?did={alice}&since=nonsense
GET {pds0}/xrpc/com.atproto.sync.getRepo?did={alice}&since=
GET {pds0}/xrpc/com.atproto.sync.getRepo?did={alice}&since={rev}
GET {pds0}/xrpc/com.atproto.sync.getRepo?did={alice}&since={rev before}
GET {pds0}/xrpc/com.atproto.sync.getRepo?did={alice}&more=1
HEAD {pds0}/xrpc/com.atproto.sync.getRepo?did={alice}
GET {pds0}/xrpc/com.atproto.sync.getLatestCommit
GET {pds0}/xrpc/com.atproto.sync.getLatestCommit?did=nonsense
GET {pds0}/xrpc/com.atproto.sync.getRepoStatus
GET {pds0}/xrpc/com.atproto.sync.getRepoStatus?did=nonsense
GET {pds0}/xrpc/com.atproto.sync.getRepoStatus?did={alice}&did={empty}
GET {pds0}/xrpc/com.atproto.sync.getRecord
GET {pds0}/xrpc/com.atproto.sync.getRecord?did=nonsense&collection=nodots&rkey=a/b
GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&collection=nodots&rkey=x
GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&collection=com.example.thing&rkey=a/b
GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&collection=com.example.thing&rkey=..
GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&collection=com.example.thing&rkey=
GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&collection=com.example.thing
GET {pds0}/xrpc/com.atproto.sync.getRecord?did={alice}&rkey=x
GET {pds0}/xrpc/com.atproto.sync.getRecord?collection=com.example.thing&rkey=x
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=0
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=-1
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=1
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=1000
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=1001
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=abc
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=1.5
GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=nonsense
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=::
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=0::
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=::{alice}
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=abc::{alice}
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=1::{alice}
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=-1::{alice}
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=1::2::3
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=12
GET {pds0}/xrpc/com.atproto.sync.listRepos?cursor=9999999999999::{alice}
POST {pds0}/xrpc/com.atproto.sync.listRepos
HEAD {pds0}/xrpc/com.atproto.sync.listRepos
GET {pds0}/xrpc/com.atproto.sync.subscribeRepos
GET {pds0}/xrpc/com.atproto.sync.listHosts
GET {pds0}/xrpc/com.atproto.sync.getHostStatus?hostname=localhost
GET {pds0}/xrpc/com.atproto.sync.listReposByCollection?collection=com.example.thing
POST {pds0}/xrpc/com.atproto.sync.requestCrawl
`

// pages follows the cursors of listRepos.
func (s *side) pages(t *testing.T) (all []entry) {
	t.Helper()
	const question = "GET {pds0}/xrpc/com.atproto.sync.listRepos?limit=3&cursor="
	cursor := ""
	for n := range 9 {
		all = append(all, entry{fmt.Sprintf("page %d of listRepos", n+1), s.ask(t, question+cursor)})
		var page struct{ Cursor string }
		s.read(t, question+cursor, &page)
		if cursor = page.Cursor; cursor == "" {
			return all
		}
	}
	return append(all, entry{"listRepos", "does not end"})
}

// cursors asks the firehose to begin in every kind of place.
func (s *side) cursors(t *testing.T) (all []entry) {
	t.Helper()
	last := s.feed.seqs[len(s.feed.seqs)-1]
	mark := s.marks
	all = append(all, entry{"sequence numbers of the live stream", fmt.Sprint(s.feed.seqs)})
	clear(s.states) // the replay begins with the first commits
	for _, c := range []struct{ what, query string }{
		{"zero", "?cursor=0"},
		{"negative", "?cursor=-5"},
		{"two before the last", fmt.Sprintf("?cursor=%d", last-2)},
	} {
		f := s.subscribe(t, c.query)
		told := s.until(f, mark)
		all = append(all, entry{"cursor " + c.what, fmt.Sprintf("%v\n%s", f.seqs, told)})
		clear(s.states)
	}
	for _, c := range []struct{ what, query string }{
		{"in the future", fmt.Sprintf("?cursor=%d", last+1000)},
		{"just in the future", fmt.Sprintf("?cursor=%d", last+1)},
		{"a word", "?cursor=abc"},
		{"a fraction", "?cursor=1.5"},
	} {
		all = append(all, entry{"cursor " + c.what, s.until(s.subscribe(t, c.query), -1)})
	}
	atEnd := s.subscribe(t, fmt.Sprintf("?cursor=%d", last))
	return append(all,
		entry{"cursor of the last frame", s.until(atEnd, s.mark(t))},
		entry{"no cursor", s.live(t, "")},
		entry{"an empty cursor", s.live(t, "?cursor=")})
}
