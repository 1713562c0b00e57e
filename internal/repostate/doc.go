// Package repostate is the life of a repo in the index: what becomes of it when a fact
// reaches it. It reads no file, no network and no clock: Decide takes what is known of a
// repo and a fact, and returns the repo as it is from now on. What it spends (Budget) and
// draws (Backoff) comes in by its Env. The store loads the one and applies the other;
// ingest, crawl, plc and resync make facts, and none of them decides.
//
// A #commit or #sync (Signed.decide; the first line that is true decides):
//
//	                         candidate, desynchronized,  resyncing            synchronized      inactive
//	                         not_found
//	no document was seen     queue, within limits        -                    -                 -
//	a rev below our head     stale: nothing
//	from a PDS not its own   refuse, look the document up
//	checked with another key nothing: it is queued       desynchronize        desynchronize     nothing
//	refused, was signed      keep the rev                desynchronize        desynchronize     keep the rev
//	refused, bad signature   look the document up; an earlier key: look for the rev in half a minute
//	refused by our own fault look for the rev in half a minute, while in service
//	refused otherwise        look for any newer rev in half a minute, within limits, if not older
//	follows our head         keep the rev, queue         buffer               apply             keep the rev, ask the host
//	does not follow          keep the rev, queue         buffer: its end sees desynchronize     keep the rev, ask the host
//	#sync, same data         keep the rev, queue         nothing if buffered  move the rev      keep the rev, ask the host
//	#sync, other data        keep the rev, queue         desynchronize        desynchronize     keep the rev, ask the host
//
// Repos whose document was never seen wait for their look-up among those that the same
// upstream has brought. To queue a commit's repo changes nothing if an attempt is due or
// backs off; a #sync makes it due. To desynchronize is bounded for each host, beyond
// which the rev is looked for in half a minute.
//
// Other facts:
//
//	#identity              look the document up, twice unless that brings another key or host
//	#identity, #account    of a DID whose document was never seen: nothing
//	#account, named host   inactive: hide, and look an old document up; active: fetch; another PDS: as above
//	#account, a relay      inactive: hide at once, and ask the host; active: ask the host, and show
//	                       again what only a relay has hidden; throttled, desynchronized: ask
//	a message unreadable   look for a newer rev in half a minute, while in service
//	listed, newer rev      in service: look for it in half a minute
//	listed, other status   ask the host under a new document; not_found and listed active: fetch
//	left out of a listing  synchronized: ask the host, behind all other work
//	a log's operation      its document is applied; another key or host: desynchronize
//
// The result of an attempt (Result) is void if something happened meanwhile (the
// generation), but for a document, which is always applied. Otherwise:
//
//	established           synchronized; a claim stays queued for its proof
//	older than was seen   again; believed when three equal answers came over an hour
//	no such repo or DID   again, a host in half a minute; ten minutes later not_found, or deleted. A
//	                      host need not say so in words (package resync, enquire)
//	gone                  inactive, if the document is of this moment
//	anything else         again, later and later
//
// That an account has moved is decided in one place, where a document or an operation
// is applied (adopt, moved). Whoever doubts where it lives only has the document looked
// up: the callers of doubtIdentity, recheck, stale and fresh. They are another host that
// lists it or a PDS that speaks for it, a relay behind our head, a host that calls it
// inactive, lists another status, has no such repo, serves an older one or none, and a
// signature under another key.
package repostate
