package atproto

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// TID is a rev as its 63-bit integer: the order of the integers is that of the
// texts. It is a logical clock; the time inside is only as true as its writer
// (spec: tid; Bridgy Fed's revs are counters near 1970).
type TID int64

// ParseTID reads the thirteen-character form. The highest of the 64 bits must be
// zero (spec: tid); the grammar alone lets it pass.
func ParseTID(text string) (TID, error) {
	v, ok := tidValue(text)
	if !ok || v > math.MaxInt64 {
		return 0, tidError(text, ok)
	}
	return TID(v), nil
}

// tidError quotes the text by itself, so that a caller's conversion to a string
// stays off the heap.
func tidError(text string, grammatical bool) error {
	quoted := strconv.Quote(Clip(text))
	if grammatical {
		return fmt.Errorf("rev %s: its highest bit is set", quoted)
	}
	return fmt.Errorf("rev %s: not a TID", quoted)
}

// TIDAt is the first TID of a microsecond.
func TIDAt(t time.Time) TID { return TID(t.UnixMicro() << 10) }

// String is the thirteen-character form.
func (t TID) String() string {
	var text [tidLen]byte
	v := uint64(t) &^ (1 << 63)
	for i := tidLen - 1; i >= 0; i-- {
		text[i] = tidAlphabet[v&31]
		v >>= 5
	}
	return string(text[:])
}

// Time is the time that the TID states, to the microsecond.
func (t TID) Time() time.Time { return time.UnixMicro(int64(t) >> 10) }
