// Package e2e holds the end-to-end test: the real binary against a real PLC
// directory and real PDSes.
//
// It promises that the binary, started before or after the network was filled,
// killed and started again, serves the collections of every public repo as a
// walk of its getRepo shows them, and no other. It refuses to run half: without
// Node, the npm packages or a binary that builds, the test fails. Nothing
// imports it; people and CI run it:
//
//	(cd e2e && npm ci) && go test -tags e2e ./e2e
//
// The network is net.mjs and the folder net. It listens on loopback only and
// ends, without leaving files, when the test does or dies.
package e2e
