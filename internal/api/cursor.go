package api

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"

	"railyard/internal/atproto"
)

// A cursor is "<index id>.<birth number>": letters, digits and the dot.

// maxCursor is the size of the longest.
const maxCursor = 13 + 1 + 19

var ownCursor = regexp.MustCompile(`^([a-z2-7]{13})\.([0-9]{1,19})$`)

// makeCursor names the place behind a birth number.
func makeCursor(indexID string, seq int64) string { return indexID + "." + strconv.FormatInt(seq, 10) }

// parseCursor returns the birth number to go on after. A cursor of another index, of
// collectiondir or of lightrail, begins anew: the client sees repos twice and misses
// none. Other text is refused.
func parseCursor(indexID, text string) (after int64, foreign bool, err error) {
	if text == "" {
		return 0, false, nil
	}
	if m := ownCursor.FindStringSubmatch(text); m != nil {
		if m[1] != indexID {
			return 0, true, nil
		}
		if seq, err := strconv.ParseInt(m[2], 10, 64); err == nil {
			return seq, false, nil
		}
	} else if isCollectiondir(text) || isLightrail(text) {
		return 0, true, nil
	}
	return 0, false, badRequest("cursor %q: not one of this service", atproto.Clip(text))
}

// isLightrail recognises the cursors of lightrail, which lists in the order of DIDs: the
// last one.
func isLightrail(text string) bool {
	_, err := atproto.ParseDID(text)
	return err == nil
}

// isCollectiondir recognises the cursors of Bluesky's collectiondir: base64 of
// "A", a collection id of 4 bytes, a time of 8 bytes, a DID and a zero byte.
func isCollectiondir(text string) bool {
	if len(text) > 4096 {
		return false
	}
	bare := strings.TrimRight(text, "=")
	b, err := base64.RawURLEncoding.DecodeString(bare)
	if err != nil {
		if b, err = base64.RawStdEncoding.DecodeString(bare); err != nil {
			return false
		}
	}
	const head = 1 + 4 + 8
	if len(b) < head+2 || b[0] != 'A' || b[len(b)-1] != 0 {
		return false
	}
	_, err = atproto.ParseDID(string(b[head : len(b)-1]))
	return err == nil
}
