package dagcbor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"railyard/internal/atproto"
)

// Limits on what is read (guide values of the data-validation guide). Nothing
// legal in a sync structure comes near them.
const (
	MaxDepth   = 32      // nesting of arrays and maps
	MaxEntries = 131_072 // items of one array or map
)

// ErrMalformed is wrapped by every error of this package.
var ErrMalformed = errors.New("not DAG-CBOR")

// Kind is the kind of a value.
type Kind byte

// The kinds that DAG-CBOR in atproto has.
const (
	Invalid Kind = iota
	Int
	Bytes
	Text
	Array
	Map
	CID
	Bool
	Null
)

func (k Kind) String() string {
	return [...]string{"nothing", "an integer", "bytes", "a text", "an array", "a map", "a CID", "a boolean", "null"}[k]
}

// Reader reads values one after the other. The zero Reader reads nothing; set
// its bytes with NewReader. After an error every method returns a zero value;
// Err returns the first error.
type Reader struct {
	b   []byte
	off int
	err error
}

// NewReader reads from b. Slices that the Reader hands out share b's memory.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err is the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Offset is the number of bytes read.
func (r *Reader) Offset() int { return r.off }

// Rest is what has not been read.
func (r *Reader) Rest() []byte { return r.b[r.off:] }

// End fails unless everything was read, and returns Err.
func (r *Reader) End() error {
	if r.err == nil && r.off != len(r.b) {
		r.fail("%d bytes after the value", len(r.b)-r.off)
	}
	return r.err
}

// Fail records an error of the caller's own at the present offset, unless there
// is one already.
func (r *Reader) Fail(format string, args ...any) { r.fail(format, args...) }

// TooDeep records that a value is nested deeper than MaxDepth, which may be valid and is
// not read.
func (r *Reader) TooDeep() {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %w", r.off, errTooDeep)
	}
}

// depthError counts as ErrMalformed and does not call a value so that may be valid.
type depthError struct{}

var errTooDeep error = depthError{}

func (depthError) Error() string {
	return fmt.Sprintf("nested deeper than %d, which is not read", MaxDepth)
}
func (depthError) Is(target error) bool { return target == ErrMalformed }

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: byte %d: %s", ErrMalformed, r.off, fmt.Sprintf(format, args...))
	}
}

// Peek returns the kind of the next value without reading it.
func (r *Reader) Peek() Kind {
	if r.err != nil || r.off >= len(r.b) {
		return Invalid
	}
	switch c := r.b[r.off]; c >> 5 {
	case 0, 1:
		return Int
	case 2:
		return Bytes
	case 3:
		return Text
	case 4:
		return Array
	case 5:
		return Map
	case 6:
		return CID
	default:
		switch c {
		case 0xf4, 0xf5:
			return Bool
		case 0xf6:
			return Null
		}
		return Invalid
	}
}

// head reads an initial byte and its argument in the shortest form.
func (r *Reader) head() (major byte, arg uint64) {
	if r.err != nil {
		return 0xff, 0
	}
	if r.off >= len(r.b) {
		r.fail("ends early")
		return 0xff, 0
	}
	c := r.b[r.off]
	major, info := c>>5, c&31
	if info < 24 {
		r.off++
		return major, uint64(info)
	}
	if info > 27 {
		r.fail("initial byte %#02x: indefinite or reserved length", c)
		return 0xff, 0
	}
	width := 1 << (info - 24)
	if len(r.b)-r.off-1 < width {
		r.fail("ends early")
		return 0xff, 0
	}
	p := r.b[r.off+1:]
	var least uint64
	switch width {
	case 1:
		arg, least = uint64(p[0]), 24
	case 2:
		arg, least = uint64(binary.BigEndian.Uint16(p)), 1<<8
	case 4:
		arg, least = uint64(binary.BigEndian.Uint32(p)), 1<<16
	default:
		arg, least = binary.BigEndian.Uint64(p), 1<<32
	}
	if arg < least {
		r.fail("%d is not in its shortest form", arg)
		return 0xff, 0
	}
	r.off += 1 + width
	return major, arg
}

func (r *Reader) want(major byte, what Kind) uint64 {
	got := r.Peek()
	m, arg := r.head()
	if r.err == nil && m != major {
		r.fail("%s instead of %s", got, what)
	}
	if r.err != nil {
		return 0
	}
	return arg
}

// chunk takes n bytes; n comes from outside.
func (r *Reader) chunk(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.b)-r.off) {
		r.fail("%d bytes stated, %d left", n, len(r.b)-r.off)
		return nil
	}
	p := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return p
}

// Int reads an integer that fits an int64.
func (r *Reader) Int() int64 {
	n, fits := r.AnyInt()
	if !fits {
		r.fail("integer beyond 64 bits")
		return 0
	}
	return n
}

// AnyInt reads an integer; fits is false, and n means nothing, if it does not fit an int64.
func (r *Reader) AnyInt() (n int64, fits bool) {
	k := r.Peek()
	major, arg := r.head()
	if r.err != nil {
		return 0, true
	}
	if major > 1 {
		r.fail("%s instead of an integer", k)
		return 0, true
	}
	if arg > math.MaxInt64 {
		return 0, false
	}
	if major == 1 {
		return -1 - int64(arg), true
	}
	return int64(arg), true
}

// Bytes reads a byte string.
func (r *Reader) Bytes() []byte { return r.chunk(r.want(2, Bytes)) }

// Text reads a text as a slice of the input.
func (r *Reader) Text() []byte {
	p := r.chunk(r.want(3, Text))
	if r.err == nil && !utf8.Valid(p) {
		r.fail("text is not UTF-8")
		return nil
	}
	return p
}

// String reads a text.
func (r *Reader) String() string { return string(r.Text()) }

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	if k := r.Peek(); k != Bool {
		r.mismatch(k, Bool)
		return false
	}
	r.off++
	return r.b[r.off-1] == 0xf5
}

// Null reads a null if one is next and reports whether it did.
func (r *Reader) Null() bool {
	if r.Peek() != Null {
		return false
	}
	r.off++
	return true
}

func (r *Reader) mismatch(got, want Kind) {
	if got == Invalid && r.err == nil {
		if r.off >= len(r.b) {
			r.fail("ends early")
		} else {
			r.fail("initial byte %#02x", r.b[r.off])
		}
		return
	}
	r.fail("%s instead of %s", got, want)
}

// CID reads tag 42 and returns the binary CID, without its leading zero byte and
// without judging it: CheckCID or DigestFromCID of package atproto do that.
func (r *Reader) CID() []byte {
	tag := r.want(6, CID)
	if r.err == nil && tag != 42 {
		r.fail("tag %d", tag)
	}
	p := r.Bytes()
	if r.err != nil {
		return nil
	}
	if len(p) < 2 || p[0] != 0 {
		r.fail("a CID without its zero byte")
		return nil
	}
	return p[1:]
}

// Digest reads a link to a DAG-CBOR block: any other CID fails.
func (r *Reader) Digest() atproto.Digest {
	p := r.CID()
	if r.err != nil {
		return atproto.Digest{}
	}
	d, err := atproto.DigestFromCID(p)
	if err != nil {
		r.fail("%v", err)
	}
	return d
}

// Array reads the head of an array and returns its length, which is bounded by
// what the input can hold.
func (r *Reader) Array() int { return r.container(4, Array, 1) }

// Map reads the head of a map and returns the number of its pairs. Read the keys
// with a Keys, which enforces their order.
func (r *Reader) Map() int { return r.container(5, Map, 2) }

func (r *Reader) container(major byte, what Kind, least int) int {
	n := r.want(major, what)
	if r.err != nil {
		return 0
	}
	if n > MaxEntries || n > uint64((len(r.b)-r.off)/least) {
		r.fail("%s of %d entries", what, n)
		return 0
	}
	return int(n)
}

// Keys enforces the order of one map's keys: by length, then by bytes, none
// twice. The zero value is ready.
type Keys struct {
	last []byte
	some bool
}

// Key reads the next key of a map.
func (r *Reader) Key(k *Keys) []byte {
	p := r.Text()
	if r.err != nil {
		return nil
	}
	if k.some && !keyLess(k.last, p) {
		r.fail("map key %q out of order", atproto.Clip(p))
		return nil
	}
	k.last, k.some = p, true
	return p
}

func keyLess(a, b []byte) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return string(a) < string(b)
}

// Skip reads and checks one value of any kind.
func (r *Reader) Skip() { r.skip(0) }

func (r *Reader) skip(depth int) {
	if depth > MaxDepth {
		r.TooDeep()
	}
	if r.err != nil {
		return
	}
	switch k := r.Peek(); k {
	case Int:
		r.Int()
	case Bytes:
		r.Bytes()
	case Text:
		r.Text()
	case CID:
		r.CID()
	case Bool, Null:
		r.off++
	case Array:
		for n := r.Array(); n > 0 && r.err == nil; n-- {
			r.skip(depth + 1)
		}
	case Map:
		var keys Keys
		for n := r.Map(); n > 0 && r.err == nil; n-- {
			r.Key(&keys)
			r.skip(depth + 1)
		}
	default:
		r.mismatch(k, Invalid)
	}
}

// Valid checks that b is exactly one DAG-CBOR value.
func Valid(b []byte) error {
	r := NewReader(b)
	r.Skip()
	return r.End()
}
