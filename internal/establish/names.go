package establish

import (
	"sort"
	"strings"

	"railyard/internal/atproto"
)

// letters are all that stand in a collection's name, and the slash behind it, in
// the order of the tree.
const letters = "-./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// beyondAll stands above every path.
const beyondAll = "\xff"

// maxPart is the most characters between two dots of a name (spec: nsid).
const maxPart = 63

func isNSID(text string) bool {
	_, err := atproto.ParseNSID(text)
	return err == nil
}

// nameBetween returns the last collection, in the order of the tree, all possible
// keys of which stand above after and below end, which is not empty.
func nameBetween(after, end string) (nsid string, ok bool) {
	same := 0 // as much of end as some name begins with
	for same < len(end)-1 && begins(end[:same+1]) {
		same++
	}
	for same = min(same, len(end)-1); same >= 0; same-- {
		for i := len(letters) - 1; i >= 0; i-- {
			prefix := end[:same] + letters[i:i+1]
			if letters[i] >= end[same] || !begins(prefix) {
				continue
			}
			if prefix < after[:min(len(after), len(prefix))] {
				return "", false
			}
			nsid = greatest(prefix)
			return nsid, nsid+"/" > after
		}
	}
	return "", false
}

// greatest returns the last name that begins so, which some name does. Where no
// letter fits any more, no digit or hyphen does.
func greatest(prefix string) string {
	for !strings.HasSuffix(prefix, "/") {
		prefix += strings.Repeat("z", sort.Search(maxPart, func(n int) bool {
			return !begins(prefix + strings.Repeat("z", n+1))
		}))
		if begins(prefix + "/") {
			prefix += "/"
		} else {
			prefix += "."
		}
	}
	return strings.TrimSuffix(prefix, "/")
}

// begins reports whether any name, with its slash, begins with a text. The endings
// are the shortest ones, one of which completes whatever can be completed (spec:
// nsid, three or more parts, the last of which begins with a letter and has no
// hyphen; no part ends with a hyphen).
func begins(text string) bool {
	if name, whole := strings.CutSuffix(text, "/"); whole {
		return isNSID(name)
	}
	for _, rest := range []string{"", "A", ".A", "A.A", ".A.A", "A.A.A"} {
		if isNSID(text + rest) {
			return true
		}
	}
	return false
}
