package simnet

import (
	"bytes"
	"slices"
)

// Lies of one query. They are counted where the answer is another for them.
const (
	DeniesRepo     FaultName = "denies repo"
	StaleReplica   FaultName = "stale replica"
	DescribesLess  FaultName = "describes less"
	DescribesMore  FaultName = "describes more"
	DescribesNone  FaultName = "describes nothing"
	ShortArchive   FaultName = "short archive"
	CorruptArchive FaultName = "corrupt archive"
	NoArchive      FaultName = "no archive"
	ForeignArchive FaultName = "foreign archive"
)

func answerFaults() []Fault {
	of := func(name FaultName, doc string, on ...string) Fault {
		return Fault{Name: name, Where: OnHTTP, Doc: doc, on: on}
	}
	return []Fault{
		of(DeniesRepo, "RepoNotFound for a repo that is there.", "getRepo", "getRecord", "getLatestCommit", "describeRepo"),
		of(StaleReplica, "An older state of the repo is served, up to three commits back.", "getRepo", "getRecord", "getLatestCommit", "describeRepo"),
		of(DescribesLess, "describeRepo leaves collections out.", "describeRepo"),
		of(DescribesMore, "describeRepo invents collections.", "describeRepo"),
		of(DescribesNone, "describeRepo names no collection of a repo that has some.", "describeRepo"),
		of(ShortArchive, "The archive ends early, between two blocks.", "getRepo", "getRecord"),
		of(CorruptArchive, "A block of the archive is not what its CID says.", "getRepo", "getRecord"),
		of(NoArchive, "What should be an archive is none: another version, a length without end, or JSON.", "getRepo", "getRecord"),
		of(ForeignArchive, "The archive is that of another account.", "getRepo", "getRecord"),
	}
}

// oldStates is how many earlier states of a repo a stale replica can serve.
const oldStates = 3

// become moves the account's repo on and keeps what a stale replica serves.
func (a *account) become(r *repo) {
	if a.repo != nil {
		a.past = append(a.past, a.repo)
	}
	if len(a.past) > oldStates {
		a.past = slices.Clone(a.past[len(a.past)-oldStates:])
	}
	a.repo, a.arrival = r, nil
}

// state returns the repo as a query is to see it. The caller holds the lock.
func (a *account) state(all matches) *repo {
	one := all.of(StaleReplica)
	if one == nil || len(a.past) == 0 {
		return a.repo
	}
	one.count()
	return oneOf(one.dice, a.past)
}

// lieAbout returns the account that a query is to see instead of the one that it asks
// for. The caller holds the lock.
func (h *host) lieAbout(a *account, all matches) *account {
	one := all.of(ForeignArchive)
	if one == nil {
		return a
	}
	others := slices.DeleteFunc(slices.Clone(h.accounts), func(b *account) bool { return b == a || b.repo == nil })
	if len(others) == 0 {
		return a
	}
	one.count()
	return oneOf(one.dice, others)
}

// describeAs returns what describeRepo says where the truth is names. The caller holds
// the lock.
func describeAs(names []string, all matches) []string {
	names = append([]string{}, names...)
	if one := all.of(DescribesLess); one != nil && len(names) > 0 {
		one.count()
		keep := one.dice.IntN(len(names))
		names = slices.Delete(names, keep, len(names)-one.dice.IntN(len(names)-keep))
	}
	if one := all.of(DescribesMore); one != nil {
		one.count()
		names = append(names, "net.invented.collection", "net.invented.other")
		slices.Sort(names)
	}
	if one := all.of(DescribesNone); one != nil && len(names) > 0 {
		one.count()
		names = names[:0]
	}
	return names
}

// spoil returns the blocks of an archive as they are to be sent.
func (h *host) spoil(blocks []block, all matches) []block {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if one := all.of(ShortArchive); one != nil && len(blocks) > 0 {
		one.count()
		blocks = blocks[:one.dice.IntN(len(blocks))]
	}
	if one := all.of(CorruptArchive); one != nil && len(blocks) > 0 {
		one.count()
		blocks = slices.Clone(blocks)
		b := &blocks[one.dice.IntN(len(blocks))]
		b.data = slices.Clone(b.data)
		b.data[one.dice.IntN(len(b.data))] ^= byte(1 + one.dice.IntN(255))
	}
	return blocks
}

// garble returns an archive as it is to be sent: as none, if a fault demands it.
func (h *host) garble(archive []byte, all matches) car {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	one := all.of(NoArchive)
	if one == nil {
		return archive
	}
	one.count()
	switch one.dice.IntN(3) {
	case 0: // of version 3: the header ends with it
		archive = slices.Clone(archive)
		archive[archive[0]] = 3
		return archive
	case 1:
		return slices.Concat(archive, bytes.Repeat([]byte{0xff}, 16))
	}
	return car(`{"blocks":[]}`)
}
