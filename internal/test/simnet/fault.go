package simnet

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// FaultName names a fault of the table.
type FaultName string

// Place is where a fault acts.
type Place string

// The places.
const (
	OnStream    Place = "stream"    // what a firehose says; decided once per event and host
	OnHTTP      Place = "http"      // what a host answers; decided for each request
	OnDirectory Place = "directory" // what the PLC directory says of a DID; decided for each request
)

// Fault is one way in which a network goes wrong. A fault never changes what is
// true, only what is said of it.
type Fault struct {
	Name  FaultName
	Doc   string // what happens, in one sentence
	Where Place
	// Expect is what a good follower does, in words for its operator.
	Expect string
	// Loses means that a true event may never be sent: only who fetches the repo
	// itself sees it, unless a later event shows it. Rule.Also cures lies of that.
	Loses bool

	on      []string // the events or queries where it can act; all if nil
	send    func(*delivery) bool
	instead func(*match, http.ResponseWriter, *http.Request) bool
	around  func(*match, http.ResponseWriter, *http.Request, *answered)
}

// Faults is the table of all faults. Those of one event, or request, act in its
// order.
func Faults() []Fault {
	table := slices.Concat(eventFaults(), commitFaults(), besideFaults(), connectionFaults(), httpFaults(), subscriptionFaults(),
		answerFaults(), listingFaults(), directoryFaults())
	said := expected()
	for i := range table {
		table[i].Expect = said[table[i].Name]
	}
	return table
}

// Rule switches a fault on; where it says no more, everywhere and always.
type Rule struct {
	Fault FaultName
	// Host is the only one where it acts, by name: relay, plc, pds1 and on. What a PDS
	// says wrongly the relay does not repeat: its faults are its own.
	Host string
	// DID is the only account about which it acts.
	DID string
	// On is the only type of event ("#commit") or the only query ("getRepo").
	On string
	// Chance is that of each opportunity, 1 if 0. It is drawn from the seed, the
	// fault, the host and the event or request, and from nothing else: other faults
	// do not move it.
	Chance float64
	// Skip is how many opportunities pass first.
	Skip int
	// Times is how often it acts at most, without end if 0.
	Times int
	// Also sends the true event after a lie about it, which else stands instead.
	Also bool
}

// rule is a Rule that is switched on.
type rule struct {
	Rule
	fault *Fault
	place int // in the table
	met   int // opportunities so far
	fired int
	asked map[uint64]uint64 // how often each request came
}

// Switch adds rules. It returns an error for a fault that is not in the table, and
// then adds none.
func (n *Network) Switch(rules ...Rule) error {
	table := Faults()
	added := make([]*rule, len(rules))
	for i, r := range rules {
		at := slices.IndexFunc(table, func(f Fault) bool { return f.Name == r.Fault })
		if at < 0 {
			return fmt.Errorf("simnet: there is no fault %q", r.Fault)
		}
		if r.Chance == 0 {
			r.Chance = 1
		}
		added[i] = &rule{Rule: r, fault: &table[at], place: at, asked: map[uint64]uint64{}}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = slices.Concat(n.rules, added)
	slices.SortStableFunc(n.rules, func(a, b *rule) int { return a.place - b.place })
	return nil
}

// SwitchOff takes all rules away, and sends the events that a fault delayed. Lies
// that were sent stay in the streams.
func (n *Network) SwitchOff() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = nil
	for _, h := range n.hosts {
		h.release()
	}
}

// Fired returns how often a fault acted, in this network.
func (n *Network) Fired(name FaultName) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fired[name]
}

// FiredAll returns the counts of all faults that acted.
func (n *Network) FiredAll() map[FaultName]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.fired)
}

// covers reports whether the rule is about an occasion.
func (r *rule) covers(where Place, host, did, on string) bool {
	return r.fault.Where == where && (r.Host == "" || r.Host == host) && (r.DID == "" || r.DID == did) &&
		(r.On == "" || r.On == on) && (r.fault.on == nil || slices.Contains(r.fault.on, on))
}

// opportunity counts an occasion and reports whether the rule may act there.
func (r *rule) opportunity() bool {
	r.met++
	return r.met > r.Skip && !r.spent()
}

func (r *rule) spent() bool { return r.Times > 0 && r.fired >= r.Times }

// count books that a rule acted on an account, if it did on one. The caller holds
// the lock.
func (n *Network) count(r *rule, did string) {
	r.fired++
	n.acted(r.fault.Name, did)
}

// acted books an act of a fault. The caller holds the lock.
func (n *Network) acted(name FaultName, did string) {
	n.fired[name]++
	if d := n.histories[did]; d != nil {
		d.Fired[name]++
	}
}
