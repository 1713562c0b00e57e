// Package dagcbor reads and writes DAG-CBOR in the strict form that atproto
// requires (spec: data model): shortest heads, definite lengths, map keys that
// are texts in order of length and then bytes, tag 42 alone, no floats, valid
// UTF-8, one value per block.
//
// Reader is a pull reader for bytes from outside: it allocates nothing that a
// length merely states, hands out slices of its input and keeps the first
// error, so that a caller reads a whole structure and looks at Err once.
// Valid checks a whole value. Append functions write.
//
// General CBOR libraries accept most of what DAG-CBOR forbids; where the
// program decodes a cold message with one, it runs Valid over the bytes first.
package dagcbor
