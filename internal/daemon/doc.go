// Package daemon is the running whole: one file, the upstreams that it follows, the
// workers that repair it, and the server that answers from it. It is the only place
// where those meet; each of them is passed what it needs of the others.
package daemon
