package simnet

import (
	"hash/fnv"
	"math/rand/v2"
)

// dice returns the draws of one fault for one occasion at one host. They depend on
// these and the seed only, so that no fault shifts the history of another.
func (n *Network) dice(fault FaultName, host string, occasion uint64) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(string(fault) + "\x00" + host))
	return rand.New(rand.NewPCG(n.cfg.Seed^h.Sum64(), scramble(occasion)))
}

// scramble spreads small numbers over all bits.
func scramble(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// junk draws bytes.
func junk(dice *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
	return b
}

// oneOf draws from a list.
func oneOf[T any](dice *rand.Rand, list []T) T { return list[dice.IntN(len(list))] }

// Mixture draws rules from a seed: each fault of the places, with a chance of its
// own up to a limit, or not at all. Faults that act on the whole of a host are
// rarer, and those of queries that are seldom asked more frequent.
func Mixture(seed uint64, limit float64, places ...Place) []Rule {
	dice := rand.New(rand.NewPCG(seed, 3))
	var rules []Rule
	for _, f := range Faults() {
		on, chance := dice.IntN(2) == 0, limit*(0.05+0.95*dice.Float64())
		switch f.Name {
		case LostWindow, SequenceReset, HostVanishes, Stall, NoAnswer, Drip, EndlessBody, OversizedFrame:
			chance /= 20
		case DescribesLess, DescribesMore, DescribesNone, ListsLess, ListsOthers, ListsStatuses, CursorLoop, EndlessListing, ExportShuffles,
			ExportRenumbers:
			chance *= 4
		}
		for _, p := range places {
			if on && f.Where == p {
				rules = append(rules, Rule{Fault: f.Name, Chance: chance, Also: dice.IntN(2) == 0})
			}
		}
	}
	return rules
}
