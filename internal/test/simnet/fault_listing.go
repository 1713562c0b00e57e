package simnet

import (
	"slices"
	"strconv"

	"railyard/internal/atproto"
)

// Lies of listings. They are counted where the page is another for them.
const (
	ListsLess         FaultName = "lists less"
	ListsUnknown      FaultName = "lists unknown accounts"
	ListsOthers       FaultName = "lists others"
	ListsStatuses     FaultName = "lists wrong statuses"
	CursorLoop        FaultName = "cursor loop"
	EndlessListing    FaultName = "endless listing"
	ListsInvalidHosts FaultName = "lists invalid hosts"
	EndlessHosts      FaultName = "endless hosts"
)

func listingFaults() []Fault {
	of := func(name FaultName, doc, on string) Fault {
		return Fault{Name: name, Where: OnHTTP, Doc: doc, on: []string{on}}
	}
	return []Fault{
		of(ListsLess, "listRepos leaves accounts out.", "listRepos"),
		of(ListsUnknown, "listRepos names accounts that are nowhere.", "listRepos"),
		of(ListsOthers, "A PDS's listRepos names accounts of another PDS, with newer revs.", "listRepos"),
		of(ListsStatuses, "listRepos calls active accounts inactive, and inactive ones active.", "listRepos"),
		of(CursorLoop, "listRepos returns the cursor that it was asked with.", "listRepos"),
		of(EndlessListing, "listRepos goes on for ever behind its end: empty pages, each with a cursor of its own.", "listRepos"),
		of(ListsInvalidHosts, "The relay's listHosts names hosts that are not there, or are no hosts.", "listHosts"),
		of(EndlessHosts, "The relay's listHosts goes on for ever behind its end.", "listHosts"),
	}
}

// lieOnPage spoils a page of listRepos that was asked for with a cursor. The caller
// holds the lock.
func (h *host) lieOnPage(page *repoPage, cursor string, all matches) {
	if one := all.of(ListsLess); one != nil && len(page.Repos) > 0 {
		one.count()
		at := one.dice.IntN(len(page.Repos))
		page.Repos = slices.Delete(page.Repos, at, at+1+one.dice.IntN(len(page.Repos)-at))
	}
	if one := all.of(ListsStatuses); one != nil && len(page.Repos) > 0 {
		one.count()
		for i := range page.Repos {
			if e := &page.Repos[i]; i == 0 || one.dice.IntN(2) == 0 {
				misname(e, oneOf(one.dice, []string{"deactivated", "takendown", "suspended", "deleted", "asleep"}))
			}
		}
	}
	if one := all.of(ListsUnknown); one != nil {
		one.count()
		for range 1 + one.dice.IntN(5) {
			did := newDID(h.net.cfg.Seed, 1_000_000+one.dice.IntN(1_000_000))
			head := atproto.DigestOf([]byte(did)).String()
			page.Repos = append(page.Repos, listedRepo{DID: did, Head: head, Rev: atproto.TID(1 << 50).String(), Active: true})
		}
	}
	if one := all.of(ListsOthers); one != nil {
		h.listOthers(page, one)
	}
	h.lieOnCursor(page, cursor, all)
}

// misname turns what an entry says of its account around.
func misname(e *listedRepo, word string) {
	if e.Active = !e.Active; e.Active {
		word = ""
	}
	e.Status = word
}

// listOthers adds accounts that another PDS has.
func (h *host) listOthers(page *repoPage, one *match) {
	var others []*account
	for _, a := range h.net.accounts {
		if h != h.net.relay && a.pds != h && a.repo != nil && !a.deleted {
			others = append(others, a)
		}
	}
	if len(others) == 0 {
		return
	}
	one.count()
	for range 1 + one.dice.IntN(5) {
		e := listed(oneOf(one.dice, others), h.net.accounts[0].repo)
		e.Rev, e.Active, e.Status = atproto.TIDAt(h.net.clock).String(), true, ""
		page.Repos = append(page.Repos, e)
	}
}

// behindAll is a number behind every account of a listing: its pages are empty.
const behindAll = 9_000_000_000_000

func (h *host) lieOnCursor(page *repoPage, cursor string, all matches) {
	if one := all.of(CursorLoop); one != nil && cursor != "" {
		one.count()
		page.Cursor = cursor
	}
	if one := all.of(EndlessListing); one != nil && page.Cursor == "" {
		one.count()
		page.Cursor = strconv.Itoa(behindAll + one.rule.fired)
		if h != h.net.relay {
			page.Cursor += "::did:plc:nobody"
		}
	}
}
