// Package atproto holds the small values that every other package speaks: CIDs
// as digests, revs as integers, DIDs, collections and host names.
//
// Each is parsed once, where bytes enter the program, and is typed from then
// on. The grammar of DIDs, NSIDs, record keys and TIDs is written out here, and
// tests hold it to that of github.com/bluesky-social/indigo/atproto/syntax; the
// compact form (a rev of eight bytes, a CID of thirty-two) is what the index
// keeps forty million of.
package atproto
