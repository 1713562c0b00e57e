package atproto

import (
	"fmt"
	"math"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// TID is a rev as its 63-bit integer: the order of the integers is that of the
// texts. It is a logical clock; the time inside is only as true as its writer
// (spec: tid; Bridgy Fed's revs are counters near 1970).
type TID int64

// ParseTID reads the thirteen-character form. The highest of the 64 bits must be
// zero (spec: tid); the grammar alone lets it pass.
func ParseTID(text string) (TID, error) {
	t, err := syntax.ParseTID(text)
	if err != nil {
		return 0, fmt.Errorf("rev %q: %w", clip(text), err)
	}
	n := t.Integer()
	if n > math.MaxInt64 {
		return 0, fmt.Errorf("rev %q: its highest bit is set", clip(text))
	}
	return TID(n), nil
}

// TIDAt is the first TID of a microsecond.
func TIDAt(t time.Time) TID { return TID(t.UnixMicro() << 10) }

// String is the thirteen-character form.
func (t TID) String() string { return string(syntax.NewTIDFromInteger(uint64(t))) }

// Time is what the TID claims, to the microsecond.
func (t TID) Time() time.Time { return time.UnixMicro(int64(t) >> 10) }
