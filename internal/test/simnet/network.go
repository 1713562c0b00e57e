package simnet

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"railyard/internal/atproto"
)

// Config says which network to make.
type Config struct {
	// Seed decides everything that is drawn.
	Seed uint64
	// PDS is the number of PDSes, 1 if 0. They are named pds1, pds2 and on.
	PDS int
	// Accounts is the number of accounts made by New, with content.
	Accounts int
	// Records is about how many records a repo grows to, 100 if 0.
	Records int
	// Relay adds a relay that merges all PDSes, named relay.
	Relay bool
	// Start is where the network's own clock begins, now if zero. That clock
	// moves at most 100 µs per event, so that it never runs ahead of real time,
	// and makes revs and times of events a function of the seed.
	Start time.Time
	// Now, if set, pulls the network's clock forward to its answer before each
	// event: revs and times then look alive, and are no longer a function of the
	// seed.
	Now func() time.Time
	// Listen returns a listener for each host, asked by name: plc, relay, pds1 and
	// on. The text of its address becomes the host's in URLs and documents. nil
	// makes a network without servers, whose hosts are called name.sim.test.
	Listen func(name string) (net.Listener, error)
	// ReplayWindow is how many events a firehose can replay, 20,000 if 0.
	ReplayWindow int
	// RelayWindow is how many events the relay can replay, ReplayWindow if 0.
	RelayWindow int
	// RelayPolicy is that of the relay from the beginning.
	RelayPolicy RelayPolicy
	// Churn lets Step also move accounts between PDSes, bring deleted ones back and
	// rotate keys in unusual ways.
	Churn bool
	// Abilities are those of PDSes of other software than the reference one, by
	// the host's name.
	Abilities map[string]Abilities
	// Watch, if set, is called with every action in order, those of New too. It is called
	// in the middle of the verb that does the action and must not call the network.
	Watch func(AccountAction)
}

func (c *Config) applyDefaults() {
	if c.PDS == 0 {
		c.PDS = 1
	}
	if c.Records == 0 {
		c.Records = 100
	}
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	if c.ReplayWindow == 0 {
		c.ReplayWindow = 20_000
	}
}

func (c *Config) validate() error {
	switch {
	case c.PDS < 0 || c.PDS > 1000:
		return fmt.Errorf("config PDS: %d is not in 1 to 1000", c.PDS)
	case c.Accounts < 0:
		return fmt.Errorf("config Accounts: %d is negative", c.Accounts)
	case c.Records < 0:
		return fmt.Errorf("config Records: %d is negative", c.Records)
	case c.RelayWindow < 0:
		return fmt.Errorf("config RelayWindow: %d is negative", c.RelayWindow)
	case c.ReplayWindow < 0:
		return fmt.Errorf("config ReplayWindow: %d is negative", c.ReplayWindow)
	}
	return nil
}

// Network is a running network. All its methods may be called from any
// goroutine; one history per seed needs calls in one order.
type Network struct {
	cfg Config
	wg  sync.WaitGroup // servers and their handlers

	mu        sync.Mutex // guards everything below, but for what says otherwise
	closed    bool
	clock     time.Time
	ticks     *rand.Rand
	life      *rand.Rand
	trouble   *rand.Rand // of Config.Churn
	accounts  []*account // by number, deleted ones too
	byDID     map[string]*account
	living    roster
	ledger    Ledger
	digest    hash.Hash
	plcOps    []*plcOp  // of the directory, oldest first
	seqShift  int64     // what is added to their sequence numbers
	published time.Time // of the last plcOp
	directory Directory
	policy    RelayPolicy
	events    int64   // so far
	rules     []*rule // of faults, in the order of the table
	fired     map[FaultName]int64
	histories map[string]*History // by DID
	hosts     map[string]*host    // set once by New
	plc       *host               // set once by New
	relay     *host               // set once by New; nil without a relay
	pdses     []*host             // set once by New
}

// New makes a network, its servers and its accounts. Close ends it.
func New(cfg Config) (*Network, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("simnet: %w", err)
	}
	cfg.applyDefaults()
	n := &Network{
		cfg: cfg, clock: cfg.Start.UTC(), byDID: map[string]*account{}, hosts: map[string]*host{}, digest: sha256.New(),
		fired: map[FaultName]int64{}, histories: map[string]*History{}, policy: cfg.RelayPolicy,
		ticks: rand.New(rand.NewPCG(cfg.Seed, 1)), life: rand.New(rand.NewPCG(cfg.Seed, 2)), trouble: rand.New(rand.NewPCG(cfg.Seed, 3)),
	}
	if err := n.raise(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if err := n.populate(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// raise makes the hosts and starts their servers.
func (n *Network) raise() error {
	var err error
	if n.plc, err = n.newHost("plc", n.plcRoutes); err != nil {
		return err
	}
	for i := range n.cfg.PDS {
		pds, err := n.newHost(fmt.Sprintf("pds%d", i+1), n.pdsRoutes)
		if err != nil {
			return err
		}
		pds.abilities = n.cfg.Abilities[pds.name]
		pds.stream = &stream{window: n.cfg.ReplayWindow, announces: true}
		n.pdses = append(n.pdses, pds)
	}
	if n.cfg.Relay {
		if n.relay, err = n.newHost("relay", n.relayRoutes); err != nil {
			return err
		}
		n.relay.stream = &stream{window: cmp.Or(n.cfg.RelayWindow, n.cfg.ReplayWindow)}
	}
	for _, h := range n.hosts {
		h.serve()
	}
	return nil
}

func (n *Network) populate() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.cfg.Accounts {
		if err := n.settle(n.pdses[i%len(n.pdses)]); err != nil {
			return fmt.Errorf("simnet: %w", err)
		}
	}
	return nil
}

// Close cuts every connection, ends the servers and waits for them.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	var errs []error
	for _, h := range n.hosts {
		errs = append(errs, h.close())
	}
	n.wg.Wait()
	return errors.Join(errs...)
}

// tick moves the network's clock and returns a rev that was never given before.
func (n *Network) tick() atproto.TID {
	n.clock = n.clock.Add(time.Duration(1+n.ticks.IntN(100)) * time.Microsecond)
	if n.cfg.Now != nil {
		if now := n.cfg.Now(); now.After(n.clock) {
			n.clock = now.UTC()
		}
	}
	return atproto.TIDAt(n.clock) | atproto.TID(n.cfg.Seed%1024)
}

// emitCommit puts a #commit on the firehoses, as the account's PDS words it.
func (n *Network) emitCommit(a *account, c *change, at time.Time) {
	e := newCommitEvent(a.did, c, at)
	a.pds.abilities.word(e, c, a.pds.sent)
	n.spread(&occasion{account: a, message: e.message(), commit: e, change: c})
}

// emit puts another event on the firehoses.
func (n *Network) emit(a *account, m *message) { n.spread(&occasion{account: a, message: m}) }

// spread sends an event by the account's PDS and by the relay.
func (n *Network) spread(o *occasion) {
	a, m := o.account, o.message
	n.events++
	o.number = n.events
	n.histories[a.did].Events[m.kind]++
	a.pds.sent++
	a.pds.hear(o)
	if n.relayHears(o) {
		n.relay.hear(o)
	}
	var number [16]byte
	binary.BigEndian.PutUint64(number[:], uint64(a.pds.sent))
	binary.BigEndian.PutUint64(number[8:], uint64(a.number))
	n.digest.Write(number[:])
	n.digest.Write(m.head)
	n.digest.Write(m.tail)
}

// Events counts the events so far, as they are without faults.
func (n *Network) Events() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.events
}

// Digest is a hash over every event so far, as it is without faults: equal for equal
// histories.
func (n *Network) Digest() [32]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return [32]byte(n.digest.Sum(nil))
}

// PLC is the directory's base URL.
func (n *Network) PLC() string { return n.plc.url }

// Relay is the relay's base URL, empty without a relay.
func (n *Network) Relay() string {
	if n.relay == nil {
		return ""
	}
	return n.relay.url
}

// PDS is the base URL of a PDS, counted from 0.
func (n *Network) PDS(i int) string { return n.pdses[i].url }

// roster is a list from which one can be drawn or removed at once.
type roster []*account

func (r *roster) add(a *account) {
	a.position = len(*r)
	*r = append(*r, a)
}

func (r *roster) remove(a *account) {
	last := (*r)[len(*r)-1]
	(*r)[a.position] = last
	last.position = a.position
	*r = (*r)[:len(*r)-1]
}
