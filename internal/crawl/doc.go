// Package crawl walks listings of repos, to find those that are not in the file
// yet and those whose last event was lost.
//
// Relays and PDSes that the operator chose are walked by their own listRepos,
// once their socket is open, so that a repo that is made meanwhile comes by one
// way or the other. A deep crawl also asks the relays for their hosts, and walks
// each host's listRepos. The same walks, repeated now and then, are the sweep: a
// listed rev that is newer than ours, an account that is listed and inactive here,
// and a repo in service that a whole walk has left out are each a reason to look.
//
// A page's repos, their queue rows and the walk's cursor are one transaction: a
// crash goes on at the next page. What a whole walk has left out is known only to
// a walk that began and ended in one process.
//
// Nothing that a listing says is believed. What a host that nobody chose lists is
// a candidate until its document names that host; a host has room for few of them
// until some have proven right, and its walk waits for that. Cursors that come
// round, empty pages without end and entries that bring nothing new end a walk.
// Each host has its own pace and back-off, and both survive a restart.
//
// Run fails only when the file does.
package crawl
