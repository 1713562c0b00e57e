// Package pds reads the XRPC endpoints of PDSes and relays that find and check
// repos: listRepos, listHosts, getRepoStatus, describeRepo, getRecord, getRepo, and
// which kind of server one is.
//
// It promises a typed answer that keeps to its lexicon, or one of these errors:
//   - *Error, the server's refusal or a failure to reach it, with an Outcome from
//     a closed list;
//   - a refusal: AnswerInvalid for a body that breaks the lexicon, AnswerTooBig,
//     AnswerWrongDID, ForbiddenAddress from the guard;
//   - the error of the context, when the caller ended it.
//
// What a server answers is its word: nothing here is verified, and revs of
// listings and statuses are passed on as text. It never retries and never waits:
// callers keep the limits of each host in the file. Package crawl and the workers
// of resync call it. A crash leaves nothing behind.
package pds
