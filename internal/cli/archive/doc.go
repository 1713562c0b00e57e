// Package archive looks at repos for people: what a CAR holds, which checks it
// passes, and what lies between two states of a repo.
//
// It promises to show as much as can be read. A consumer of today refuses a
// commit of version 2 and a tree that lacks nodes; here both are shown, and
// Verify says of each check whether it holds. VerifyCollection wants only as much of
// the tree as proves the presence or absence of one collection; ProofOf cuts a CAR
// down to that. Nothing that is counted or
// compared is guessed: where a tree hides something, the answer is unknown. Every
// block that it shows hashes to its CID.
//
// It refuses with the reasons of package refusal, the same ones that the service
// counts. It resolves no identity and opens no file: callers pass the bytes of a
// CAR and an Authority. The commands repo inspect, collections, verify, prove
// and diff call it. It keeps nothing: a crash leaves nothing behind.
package archive
