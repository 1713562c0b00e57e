// Package establish asks a host for a repo's set of collections, and proves it.
//
// A set is established by the cheapest method that is good enough (Method): one answer
// of getRecord that shows the whole tree, proofs of absence beside each collection,
// the host's word (com.atproto.repo.describeRepo) between two answers that show one
// signed commit, or the repo itself. An invalid answer leads to the repo; a refusal by
// rate, a word about the account and silence never lead to a heavier request.
//
// Every commit has the DID that was asked for, is signed by the account (Request)
// and is not of the future; every block has its hash, every tree keeps its rules.
// The caller compares the head with what it has seen before.
//
// Errors:
//   - ErrNoMemory, ErrOversized: to be asked for again, and nobody is to blame;
//   - refusals: those of package repo, AnswerWrongDID, AnswerPartial, AnswerTooBig,
//     AnswerInvalid, BadSignature, FutureRev, Internal;
//   - the errors of Hosts, of Request.Pace and of the context, as they are.
//
// Requests, collections and memory are bounded. Nothing is retried, and nothing
// waits but Request.Pace and, for a second, a fetch without memory. The resync and
// the command check --sample call it. It writes nothing: a crash leaves nothing
// behind.
package establish
