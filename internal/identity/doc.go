// Package identity reads who may sign for a DID and which host keeps its repo:
// the signing key and the PDS in its DID document (spec: did).
//
// It promises that an Identity comes from a document of exactly that DID, that
// its key is a point on its curve, and that its host passed atproto.Hosts. It
// keeps nothing: callers store identities and decide when to look again.
//
// It refuses documents without a usable key or PDS, of another DID, that are no
// JSON or over 64 KiB (refusal.IdentityInvalid), and DIDs that have no document
// (refusal.IdentityUnresolved with ErrNoDocument). A directory that fails is
// neither: *Unavailable says so, and the document of before stays good.
//
// The log of the PLC directory has the same in another form: ParseLogEntry reads
// one operation, and EarlierKeys the keys that a DID had before. Signatures of
// operations are not checked: the directory is believed, as it is for documents.
//
// The workers that resync repos and check identities call Resolver; the reader
// of the PLC export calls ParseLogEntry. A crash leaves nothing behind.
package identity
