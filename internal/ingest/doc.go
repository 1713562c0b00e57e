// Package ingest is the path of an event from the socket to the row: follow the
// upstreams, prove in parallel, judge in the order of arrival, commit.
//
// It promises that a cursor and the consequences of the events that it covers
// are in one transaction, and that the rows do not depend on the number of
// provers, the size of batches or a restart in between. A slot keeps an event's
// place from its socket to the transaction; the queues of several upstreams are
// merged fairly, so that a flooding one does not starve the others.
//
// The path makes no request to the network and keeps no memory of repos but a
// bounded cache of signing keys. An event is made a fact, and package repostate decides;
// what cannot be decided here becomes a row of the resync queue. What the network sends wrong is refused and counted; only a
// failure of the file itself ends Run.
//
// A crash leaves the last committed batch; the upstreams send the rest again.
package ingest
