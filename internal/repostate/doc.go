// Package repostate is the life of a repo in the index: what becomes of it when a fact
// reaches it. It is pure: Decide takes what is known of a repo and a fact, and returns
// the repo as it is from now on. The store loads the one and applies the other; ingest,
// crawl, plc and resync make facts, and none of them decides.
//
// Events and listings (rows: facts; columns: states):
//
//	                      candidate, desynchronized   resyncing         synchronized             inactive
//	commit that follows   note its rev                buffer            apply                    note its rev, ask the host
//	commit that does not  note its rev                buffer            desynchronize            note its rev, ask the host
//	#sync, same data      note its rev                drop if buffered  move the rev             note its rev, ask the host
//	#sync, other data     queue                       desynchronize     desynchronize            note its rev, ask the host
//	refused, was signed   note its rev                desynchronize     desynchronize            note its rev
//	refused, unsigned     nothing; a wrong signature is worth a look-up of the document
//	#identity             look the document up
//	#account              the named host: hide or fetch; a relay: hide at once, ask the host
//	listed, newer rev     nothing                     look at the end   look in half a minute    ask the host if listed active
//	left out of a listing nothing                     nothing           ask the host, in service nothing
//
// A look-up or an operation of the directory's log that brings another key or host
// desynchronizes. The end of an attempt (Ended) is void if something happened meanwhile
// (the generation), or puts the repo into service, hides it, or puts its row back:
//
//	established           synchronized; the host's word stays queued for its proof
//	older than was seen   again; believed when three equal answers came over an hour
//	no such repo or DID   again in ten minutes; then not found, or deleted
//	gone                  inactive, if the document is of this moment
//	anything else         again, later and later
//
// An account that moved is found in three places: learn and moved (a document or
// operation names another host or key), foreign (another host lists it), and Entry (a
// relay's listing is behind our head).
package repostate
