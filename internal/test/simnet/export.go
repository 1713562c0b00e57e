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
func (n *Network) export(w http.ResponseWriter, q url.Values, all matches) {
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
	_, _ = w.Write(bytes.Join(n.exportLines(after, min(count, exportPage), all), []byte("\n")))
}

func (n *Network) exportLines(after time.Time, count int, all matches) (lines [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, _ := slices.BinarySearchFunc(n.plcOps, after, func(e *plcOp, t time.Time) int {
		if e.at.After(t) {
			return 1
		}
		return -1
	})
	for _, e := range n.misquoteLog(n.plcOps, at, count, all) {
		line, _ := json.Marshal(e.entry()) // strings and maps of strings: cannot fail
		lines = append(lines, line)
	}
	return lines
}

// exportLag is how old an operation is that a lagging export has.
const exportLag = 10 * time.Minute

// misquoteLog returns a page of a log as the faults have it. The caller holds the lock.
func (n *Network) misquoteLog(plcOps []*plcOp, at, count int, all matches) []*plcOp {
	old, end := time.Now().Add(-exportLag), len(plcOps)
	for end > at && plcOps[end-1].seen.After(old) {
		end--
	}
	if one := all.of(ExportLags); one != nil && end < len(plcOps) {
		one.count()
		plcOps = plcOps[:end]
	}
	page := plcOps[at:min(at+count, len(plcOps))]
	if one := all.of(ExportRepeats); one != nil && len(plcOps) > 0 {
		one.count()
		from := max(0, at-one.dice.IntN(10))
		page = slices.Concat(plcOps[from:at], page, page)
		page = page[:min(count, len(page))]
	}
	if one := all.of(ExportShuffles); one != nil && len(page) > 1 {
		one.count()
		page = slices.Clone(page)
		one.dice.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	}
	return page
}
