package atproto

import "strings"

// clipped is how much of an outsider's text an error repeats, in bytes.
const clipped = 80

// Clip shortens an outsider's text for an error or a log line.
func Clip[T text](s T) string {
	if len(s) <= clipped {
		return string(s)
	}
	return ClipTo(s, clipped) + "…"
}

// ClipTo returns at most limit bytes of s, without what is not UTF-8.
func ClipTo[T text](s T, limit int) string {
	return strings.ToValidUTF8(string(s[:min(len(s), limit)]), "")
}
