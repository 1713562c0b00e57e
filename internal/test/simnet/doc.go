// Package simnet is an AT Protocol network in one process: a PLC directory,
// PDSes and a relay, with real keys, real signed trees, real HTTP and real
// websockets. It is what the tests of the whole service, and people who try it
// without the internet, point railyard at.
//
// It promises one history per seed: the accounts, DIDs, keys, revs, commits and
// the order of events depend on Config.Seed, Config.Start and the calls made,
// never on the clock of the machine or on who listens. (Delays, such as that of a
// directory that lags, are by the clock.) It keeps the truth about
// what it did (Truth, Ledger; of one account History), to compare an index with, and
// reports each AccountAction (Config.Watch), so that a history can be repeated
// elsewhere.
// Answers, statuses, error names and the order of events are those of the reference
// PDS and of indigo's relay.
//
// It lies on demand. Faults lists every way in which a host, a connection or an
// answer goes wrong; rules switch them on (Switch), by host, account, event or
// query, or drawn from a seed (Mixture), and each counts how often it acted
// (Fired). Faults change what is said, never what is true, and their draws touch
// neither the history nor each other. Hosts of other software (Abilities), rates
// (SetRate), the policies of the relay and of the directory, and Config.Churn,
// which moves accounts about, are not lies: real networks are like that.
//
// It refuses to share code with what it tests: trees, CARs, commits and frames
// are encoded here, plainly, and only the names and the DAG-CBOR primitives of
// packages atproto and dagcbor are common ground. Nothing in it dials, and it
// listens only on what Config.Listen returns: loopback, or the pipes of
// NewPipes inside a bubble of testing/synctest.
//
// Tests and the demo command call it. It keeps nothing on disk: a crash in the
// middle leaves nothing behind, and a new Network with the same seed begins the
// same history again.
package simnet
