package atproto

// The grammars of names as loops over bytes, because every frame has several
// names and regular expressions cost more than all else of its decoding.

// class is a set of bytes, as bits of classes.
type class uint8

const (
	letter class = 1 << iota
	digit
	hyphen
	inTID  // a-z and 2-7
	inRkey // of record keys
	inDID  // of the last part of a DID, but for the colon

	alphanumeric = letter | digit
)

// classes holds the classes of each byte.
var classes = makeClasses()

func makeClasses() (t [256]class) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = letter | inTID | inRkey | inDID
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = letter | inRkey | inDID
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = digit | inRkey | inDID
	}
	for c := '2'; c <= '7'; c++ {
		t[c] |= inTID
	}
	for _, c := range "_~.:-" {
		t[c] |= inRkey
	}
	for _, c := range "._%-" {
		t[c] |= inDID
	}
	t['-'] |= hyphen
	return t
}

// text is what a grammar reads.
type text interface{ ~string | ~[]byte }

// all reports whether every byte is of one of the classes.
func all[T text](s T, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return true
}

// Limits on names in bytes (spec: nsid, record-key, did).
const (
	maxNSID    = 317
	maxSegment = 63
	maxRkey    = 512
	maxDID     = 2048
)

// IsNSID is ParseNSID without an error: three segments or more, of which the
// first begins with a letter and the last is a letter and then letters and
// digits; a segment neither begins nor ends with a hyphen (spec: nsid).
func IsNSID[T text](s T) bool {
	if len(s) > maxNSID || len(s) == 0 || classes[s[0]]&letter == 0 {
		return false
	}
	dots, start := 0, 0
	var seen class // in the present segment
	for i := range len(s) {
		c := s[i]
		if c != '.' {
			seen |= classes[c]
			if classes[c]&(alphanumeric|hyphen) == 0 {
				return false
			}
			continue
		}
		if !isSegment(s, start, i) {
			return false
		}
		dots, start, seen = dots+1, i+1, 0
	}
	return dots >= 2 && isSegment(s, start, len(s)) && seen&hyphen == 0 && classes[s[start]]&letter != 0
}

// isSegment checks the length of a segment and its first and last byte.
func isSegment[T text](s T, start, end int) bool {
	n := end - start
	return n > 0 && n <= maxSegment && s[start] != '-' && s[end-1] != '-'
}

// isRkey reports whether s is a record key (spec: record-key).
func isRkey[T text](s T) bool {
	if len(s) == 0 || len(s) > maxRkey || s[0] == '.' && (len(s) == 1 || len(s) == 2 && s[1] == '.') {
		return false
	}
	return all(s, inRkey)
}

// isWeb reports whether s can stand behind "did:web:" (spec: did): a host, perhaps
// with an escaped port, without a path.
func isWeb(s string) bool {
	return len(s) > 0 && all(s, inDID) && s[len(s)-1] != '%'
}

// tidAlphabet has the digits of a TID in their order (spec: tid).
const tidAlphabet = "234567abcdefghijklmnopqrstuvwxyz"

// tidLen is the length of a TID.
const tidLen = 13

// tidDigit returns the value of a byte of a TID.
func tidDigit(c byte) uint64 {
	if c < 'a' {
		return uint64(c - '2')
	}
	return uint64(c-'a') + 6
}

// tidValue reads a TID's 65 bits. ok is false for what is no TID by the grammar
// alone, in which the first of them is zero.
func tidValue(s string) (v uint64, ok bool) {
	if len(s) != tidLen || !all(s, inTID) || s[0] > 'j' {
		return 0, false
	}
	for i := range tidLen {
		v = v<<5 | tidDigit(s[i])
	}
	return v, true
}
