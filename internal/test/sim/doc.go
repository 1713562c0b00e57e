// Package sim holds the tests of the whole service on a simulated network: seeded
// histories of faults, lies and crashes, in a time of their own, that end with the
// question whether the index equals the truth. It has no code but that of tests.
//
// internal/test/simnet is the network, internal/daemon what is put on it.
package sim
