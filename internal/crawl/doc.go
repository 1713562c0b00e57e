// Package crawl reads listings of repos, to find those that are not in the file yet
// and those whose last event was lost.
//
// Relays and PDSes that the operator chose are crawled by their own listRepos, once
// their socket is open, so that a repo that is made meanwhile comes by one way or the
// other. A deep crawl also asks the relays for their hosts, and reads each host's
// listRepos. The same, repeated now and then, finds what was missed: a listed rev that
// is newer than ours, an account that is listed and inactive here, and a repo in
// service that a whole crawl has left out are each a reason to ask.
//
// A crawl is a row, of an upstream or of a host; the crawler attempts those that are
// due. A page's repos, their queue rows and the cursor are one transaction: a crash
// goes on at the next page. What a whole crawl has left out is known only to a crawl
// that began and ended in one process.
//
// Nothing that a listing says is believed. What a host that nobody chose lists is a
// candidate until its document was seen; a host may have only so many candidates, and
// its crawl waits for their documents. Cursors that come round, empty pages without end
// and entries that bring nothing new end a crawl. Each host has its own pace and
// back-off, and both survive a restart.
//
// Run fails only when the file does.
package crawl
