//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"railyard/internal/event"
	repopkg "railyard/internal/repo"
)

func TestSimulatedMigrationIsThatOfTheReferenceServers(t *testing.T) {
	want, got := migrationStory(t, referenceSide(t)), migrationStory(t, simulatedSide(t, 20_000))
	for i, w := range want {
		if got[i].seen != w.seen {
			t.Errorf("%s\n%s", w.what, unlike(w.seen, got[i].seen))
		}
	}
	if len(want) < 15 || !strings.Contains(want[1].seen, "[rev of the commit block: false]") {
		t.Errorf("%d entries, the #sync of the reference: %s", len(want), want[1].seen)
	}
}

// migrationStory moves an account that has records, asks both PDSes about it, and
// writes on the new one.
func migrationStory(t *testing.T, s *side) (all []entry) {
	t.Helper()
	ask := func(when string) {
		for _, pds := range []string{"pds0", "pds1"} {
			for _, query := range []string{
				"repo.describeRepo?repo=WHO", "sync.getRepo?did=WHO", "sync.getLatestCommit?did=WHO", "sync.getRepoStatus?did=WHO",
				"sync.getRecord?did=WHO&collection=" + thing + "&rkey=1", "sync.getRecord?did=WHO&collection=" + thing + "&rkey=none", "sync.listRepos",
			} {
				question := "GET {" + pds + "}/xrpc/com.atproto." + strings.ReplaceAll(query, "WHO", "{mover}")
				all = append(all, entry{when + question, s.ask(t, question)})
			}
		}
		all = append(all, entry{when + "heads", s.headsOfMover(t)}, entry{when + "document", s.ask(t, "GET {plc}/{mover}")})
	}
	for _, err := range []error{
		s.account("clerk", 0), s.account("mover", 0), s.account("resident", 1),
		s.apply("mover", create(thing, "1", "2"), create(thingX, "1")), s.apply("mover", remove(thing, "2")),
	} {
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	s.until(s.feed, s.mark(t))
	far := s.subscribeTo(t, "pds1", "?cursor=0")
	s.untilRecordOf(far, "resident") // there are none: its first commit is empty
	if err := s.migrate(s.vars["mover"], 1); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	all = append(all, entry{"frames of the old PDS", s.until(s.feed, s.mark(t))})
	var arrival []string
	for range 3 {
		frame, end := far.next()
		arrival = append(arrival, s.frame(frame)+end)
	}
	all = append(all, entry{"frames of the new PDS", strings.Join(arrival, "\n")})
	ask("before the first write: ")
	if err := s.apply("mover", create(thing, "3")); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	frame, end := far.next()
	all = append(all, entry{"the first write on the new PDS", s.frame(frame) + end})
	ask("after the first write: ")
	return all
}

// untilRecordOf reads past the first #sync of an account, the last of what creates it.
func (s *side) untilRecordOf(f *feed, name string) {
	for {
		frame, end := f.next()
		if sync, ok := event.Decode(frame).Event.(*event.Sync); end != "" || ok && sync != nil && event.Decode(frame).DID == s.vars[name] {
			return
		}
	}
}

// headsOfMover says how the revs and CIDs that the sources of the new PDS name stand
// to each other.
func (s *side) headsOfMover(t *testing.T) string {
	t.Helper()
	var latest, status struct{ CID, Rev string }
	s.read(t, "GET {pds1}/xrpc/com.atproto.sync.getLatestCommit?did={mover}", &latest)
	s.read(t, "GET {pds1}/xrpc/com.atproto.sync.getRepoStatus?did={mover}", &status)
	var page struct {
		Repos []struct{ DID, Head, Rev string }
	}
	_, _, body := s.request(t, "GET {pds1}/xrpc/com.atproto.sync.listRepos")
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	_, _, body = s.request(t, "GET {pds1}/xrpc/com.atproto.sync.getRepo?did={mover}")
	car, err := repopkg.ParseCAR(body, repopkg.MessageLimits())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := car.Block(car.Root())
	signed, err := repopkg.ParseCommit(block)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("latest to signed %d, status to latest %d, latest is the root: %v", cmp.Compare(latest.Rev, signed.Rev.String()),
		cmp.Compare(status.Rev, latest.Rev), latest.CID == car.Root().String())
	for _, r := range page.Repos {
		if r.DID == s.vars["mover"] {
			text += fmt.Sprintf(", listed to signed %d and to latest %d, listed head is the root: %v", cmp.Compare(r.Rev, signed.Rev.String()),
				cmp.Compare(r.Rev, latest.Rev), r.Head == car.Root().String())
		}
	}
	return text
}
