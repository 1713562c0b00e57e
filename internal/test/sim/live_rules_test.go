package sim

import (
	"math/rand/v2"
	"slices"

	"railyard/internal/test/simnet"
)

// Faults that are no part of this sweep, because nothing that happens later shows
// what they hide: a set that its host describes wrongly is found out by a proof or an
// audit only. (A stale replica does so too, and is left to the other queries.)
func beyondEvents() []simnet.FaultName {
	return []simnet.FaultName{simnet.DescribesLess, simnet.DescribesMore}
}

// harmless are the faults after which nobody has a reason to ask about the account whose
// event they befall: nothing is lost, and nothing is said of it that could be true.
func harmless() []simnet.FaultName {
	return []simnet.FaultName{
		simnet.Repeat, simnet.Reorder, simnet.UnknownType, simnet.MalformedFrame, simnet.OversizedFrame,
		simnet.CutFrame, simnet.Stall, simnet.Stutter, simnet.TextMessage, simnet.TooSlow, simnet.LateAnswer,
	}
}

// streamed are the harmless ones of a stream.
func streamed() []simnet.FaultName {
	return slices.DeleteFunc(harmless(), func(f simnet.FaultName) bool { return f == simnet.LateAnswer })
}

// forgetting are the faults that lose events of everybody, so that nobody is left of
// whom nothing was lost: only some histories have them.
func forgetting() []simnet.FaultName {
	return []simnet.FaultName{simnet.LostWindow, simnet.SequenceReset}
}

// listings are the faults of the one crawl at the beginning.
func listings() []simnet.FaultName {
	return []simnet.FaultName{simnet.ListsLess, simnet.ListsUnknown, simnet.CursorLoop, simnet.ListsInvalidHosts}
}

// ofAccount returns the faults of some places that are about one account.
func ofAccount(places ...simnet.Place) (names []simnet.FaultName) {
	apart := slices.Concat(beyondEvents(), harmless(), forgetting(), listings())
	for _, f := range simnet.Faults() {
		if slices.Contains(places, f.Where) && !slices.Contains(apart, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// rules makes those of a history, each fault with a chance of its own or left out.
type rules struct {
	dice *rand.Rand
	made []simnet.Rule
}

// add makes rules of faults, of which like says where they act. Those that take a
// host or a connection away for minutes are rarer.
func (r *rules) add(limit float64, like simnet.Rule, names ...simnet.FaultName) {
	slow := []simnet.FaultName{
		simnet.HostVanishes, simnet.Stall, simnet.NoAnswer, simnet.Drip, simnet.EndlessBody, simnet.OversizedFrame,
		simnet.LostWindow, simnet.SequenceReset,
	}
	for _, name := range names {
		on, chance, also := r.dice.IntN(2) == 0, limit*(0.05+0.95*r.dice.Float64()), r.dice.IntN(2) == 0
		if slices.Contains(slow, name) {
			chance /= 20
		}
		if !on {
			continue
		}
		rule := like
		rule.Fault, rule.Chance, rule.Also = name, chance, also
		if name == simnet.Unresolvable {
			// A directory that says twice that there is no such DID is believed, whatever
			// events say, until it is asked again a day later.
			rule.Times = 1
		}
		queries := []string{like.On}
		if name == simnet.StaleReplica {
			queries = []string{"getRepo", "getRecord", "getLatestCommit"}
		}
		for _, rule.On = range queries {
			r.made = append(r.made, rule)
		}
	}
}

// early are the rules from the first start on: lies about some accounts while they are
// asked about for the first time, and lies in the listing. The streams are followed
// without faults until each has a cursor: what is lost before that only a second
// crawl could find.
func early(dice *rand.Rand, victims []string) []simnet.Rule {
	r := &rules{dice: dice}
	asked := slices.DeleteFunc(ofAccount(simnet.OnHTTP, simnet.OnDirectory), func(f simnet.FaultName) bool { return f == simnet.HostVanishes })
	for _, did := range victims {
		r.add(0.05, simnet.Rule{DID: did}, asked...)
	}
	r.add(0.5, simnet.Rule{On: "listRepos"}, listings()...)
	for _, query := range []string{"getRepo", "getRecord", "describeRepo"} { // commits come during the fetch
		r.made = append(r.made, simnet.Rule{Fault: simnet.LateAnswer, On: query, Chance: 0.5})
	}
	return r.made
}

// late are the rules of the long life: lies about some accounts often and about
// anybody now and then, and what befalls streams and their beginning.
func late(dice *rand.Rand, victims, hosts []string, forgets bool) []simnet.Rule {
	r := &rules{dice: dice}
	for _, did := range victims {
		r.add(0.03, simnet.Rule{DID: did}, ofAccount(simnet.OnHTTP, simnet.OnDirectory)...)
	}
	for _, host := range hosts {
		for _, did := range victims {
			r.add(0.02, simnet.Rule{Host: host, DID: did}, ofAccount(simnet.OnStream)...)
			r.add(0.2, simnet.Rule{Host: host, DID: did}, simnet.Drop)
		}
		r.add(0.0008/float64(len(hosts)), simnet.Rule{Host: host}, ofAccount(simnet.OnStream)...)
		r.add(0.02, simnet.Rule{Host: host}, streamed()...)
		if forgets {
			r.add(0.1, simnet.Rule{Host: host}, forgetting()...)
		}
		for _, query := range []string{"subscribeRepos", "describeServer", "listHosts"} {
			r.add(0.05, simnet.Rule{Host: host, On: query}, simnet.ServerError, simnet.BareRateLimit, simnet.NoAnswer,
				simnet.Latency, simnet.HTMLPage, simnet.CutBody, simnet.HostVanishes)
		}
	}
	return r.made
}
