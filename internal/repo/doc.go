// Package repo reads the containers of a repo: the CAR of a message, the signed
// commit, the CAR stream of com.atproto.sync.getRepo.
//
// It promises that every block it returns hashes to its CID, that a Commit is of
// version 3 and keeps exactly the bytes that were signed, and that a Snapshot
// was read out of a whole tree that obeys every rule. It does not decide whose
// key or which host counts: Commit.Verify takes the key, and the caller compares
// DID and rev with what it asked for.
//
// It refuses with the reasons of package refusal; a failing reader comes back
// as its own error. Blocks, bytes and what is kept of them are bounded; records
// are hashed and dropped. Package verify and the resync call it. It writes
// nothing: a crash leaves nothing behind.
package repo
