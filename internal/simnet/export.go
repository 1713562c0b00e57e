package simnet

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// exportPage is the most entries of one page of the directory's export.
const exportPage = 1000

// export answers GET /export: operations of all DIDs as lines of JSON, those made
// later than the parameter after, oldest first.
func (n *Network) export(w http.ResponseWriter, q url.Values) {
	count, after := exportPage, time.Time{}
	var err error
	if text := q.Get("count"); text != "" {
		if count, err = strconv.Atoi(text); err != nil || count < 1 {
			plcRefuse(w, &plcError{http.StatusBadRequest, "Invalid count parameter"})
			return
		}
	}
	if text := q.Get("after"); text != "" {
		if after, err = time.Parse(time.RFC3339, text); err != nil {
			plcRefuse(w, &plcError{http.StatusBadRequest, "Invalid after parameter"})
			return
		}
	}
	w.Header().Set("Content-Type", "application/jsonlines")
	_, _ = w.Write(bytes.Join(n.exportLines(after, min(count, exportPage)), []byte("\n")))
}

func (n *Network) exportLines(after time.Time, count int) (lines [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, _ := slices.BinarySearchFunc(n.editions, after, func(e *edition, t time.Time) int {
		if e.at.After(t) {
			return 1
		}
		return -1
	})
	for _, e := range n.editions[at:min(at+count, len(n.editions))] {
		line, _ := json.Marshal(e.entry()) // strings and maps of strings: cannot fail
		lines = append(lines, line)
	}
	return lines
}
