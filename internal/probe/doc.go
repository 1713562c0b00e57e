// Package probe finds out which collections a repo holds without fetching the
// repo, by com.atproto.sync.getRecord: its answer for a key that is not there is
// the signed commit and the path of tree nodes to the key's place, which shows
// both neighbours of that place.
//
// Collections asks for the place behind each collection until nothing in the
// tree can be hidden but keys of known collections; what it gives is proven.
// Collection answers for one collection with one request. Describe takes the
// host's word for the list (com.atproto.repo.describeRepo) between two answers
// that show the same signed tree; what it gives is a claim, unless the first
// answer already shows the whole tree.
//
// All answers must show the same tree. Another one ends the work with Moved, or
// begins it again if the caller allows that. Every commit has the DID that was
// asked for and has passed the caller's Verify, every block its hash, every node
// the rules of the tree. The caller compares the rev of the result with what it
// has seen and with its clock.
//
// Errors:
//   - ErrNoAbsenceProof: the host does not prove the absence of keys;
//   - *Moved, *Unsuited, ErrRequests, ErrClaim: getRepo is the better way;
//   - refusals: BadCAR, BadBlock, BadCommit, BadTree, AnswerWrongDID,
//     AnswerPartial (together with ErrNoAbsenceProof), AnswerTooBig, AnswerInvalid
//     (together with ErrClaim), Internal, and those of Verify;
//   - the errors of the Source and of the context, as they are.
//
// Requests, collections and what is kept in memory are bounded. Nothing is
// retried and nothing waits: the Source keeps the manners of the host. The
// resync calls it. It writes nothing: a crash leaves nothing behind.
package probe
