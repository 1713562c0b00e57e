package simnet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// exportPage is the most entries of one page of the directory's export.
const exportPage = 1000

// export answers GET /export: operations of all DIDs as lines of JSON, those behind the
// parameter after, which is a sequence number or a time, oldest first.
func (n *Network) export(w http.ResponseWriter, q url.Values, all matches) {
	count := exportPage
	var err error
	if text := q.Get("count"); text != "" {
		if count, err = strconv.Atoi(text); err != nil || count < 1 {
			plcRefuse(w, &plcError{http.StatusBadRequest, "Invalid count parameter"})
			return
		}
	}
	n.mu.Lock()
	page, err := n.exportPage(q.Get("after"), min(count, exportPage), all)
	n.mu.Unlock()
	if err != nil {
		plcRefuse(w, &plcError{http.StatusBadRequest, "Invalid after parameter"})
		return
	}
	var lines [][]byte
	for _, e := range page {
		line, _ := json.Marshal(e) // strings, numbers and maps of strings: cannot fail
		lines = append(lines, line)
	}
	w.Header().Set("Content-Type", "application/jsonlines")
	_, _ = w.Write(bytes.Join(lines, []byte("\n")))
}

// exportPage returns a page of the log. The caller holds the lock.
func (n *Network) exportPage(after string, count int, all matches) ([]logEntry, error) {
	seq, err := strconv.ParseInt(after, 10, 64)
	bySeq := err == nil
	if one := all.of(ExportByTime); bySeq && !n.directory.TimeOnly && one != nil {
		one.count()
		bySeq = false
	}
	if bySeq && !n.directory.TimeOnly {
		if one := all.of(ExportRenumbers); one != nil {
			one.count()
			n.seqShift += int64(1 + one.dice.IntN(1000))
		}
		at, _ := slices.BinarySearchFunc(n.plcOps, seq, func(e *plcOp, seq int64) int { return cmp.Compare(n.seq(e), seq+1) })
		return n.misquoteLog(at, count, true, all), nil
	}
	since, err := readAfter(after)
	if err != nil {
		return nil, err
	}
	at, _ := slices.BinarySearchFunc(n.plcOps, since, func(e *plcOp, t time.Time) int {
		if e.at.After(t) {
			return 1
		}
		return -1
	})
	return n.misquoteLog(at, count, false, all), nil
}

// readAfter reads a time as the reference server does: a small number is a year, and 0 is
// the year 2000.
func readAfter(text string) (time.Time, error) {
	year, err := strconv.Atoi(text)
	switch {
	case text == "":
		return time.Time{}, nil
	case err != nil || year > 275760:
		return time.Parse(time.RFC3339, text)
	}
	return time.Date(cmp.Or(year, 2000), 1, 1, 0, 0, 0, 0, time.UTC), nil
}

// seq returns the sequence number of an operation. There are gaps between them. The caller
// holds the lock.
func (n *Network) seq(e *plcOp) int64 { return n.seqShift + 2*e.place }

// exportLag is how old an operation is that a lagging export has.
const exportLag = 10 * time.Minute

// misquoteLog returns a page of the log from a place on, as the faults have it. The caller
// holds the lock.
func (n *Network) misquoteLog(at, count int, bySeq bool, all matches) []logEntry {
	ops := n.plcOps
	old, end := time.Now().Add(-exportLag), len(ops)
	for end > at && ops[end-1].seen.After(old) {
		end--
	}
	if one := all.of(ExportLags); one != nil && end < len(ops) {
		one.count()
		ops = ops[:end]
	}
	var page []logEntry
	for _, e := range ops[at:min(at+count, len(ops))] {
		page = append(page, n.logged(e, bySeq))
	}
	if one := all.of(ExportNullified); one != nil {
		page = n.addNullified(page, ops[at:], bySeq, one)
	}
	if one := all.of(ExportRepeats); one != nil && len(ops) > 0 {
		one.count()
		var older []logEntry
		for _, e := range ops[max(0, at-one.dice.IntN(10)):at] {
			older = append(older, n.logged(e, bySeq))
		}
		page = slices.Concat(older, page, page)
	}
	page = page[:min(count, len(page))]
	if one := all.of(ExportShuffles); one != nil && len(page) > 1 {
		one.count()
		one.dice.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	}
	return page
}

// logged returns an operation as the export has it. The caller holds the lock.
func (n *Network) logged(e *plcOp, bySeq bool) logEntry {
	entry := e.entry()
	if bySeq {
		entry.Type, entry.Seq, entry.Nullified = "sequenced_op", n.seq(e), nil
	}
	return entry
}

// addNullified puts an operation of another key into a page of ops, in whose place one of
// them was made. The caller holds the lock.
func (n *Network) addNullified(page []logEntry, ops []*plcOp, bySeq bool, one *match) []logEntry {
	for i := range page {
		e := ops[i]
		if e.previous == nil || e.at.Sub(e.previous.at) < 2*time.Millisecond {
			continue
		}
		key, err := newKey(n.cfg.Seed, 0, 2_000_000+one.dice.IntN(1000))
		if err != nil {
			continue
		}
		one.count()
		x := &plcOp{did: e.did, key: key, handle: e.handle, pds: e.pds, at: e.at.Add(-time.Millisecond), previous: e.previous, place: e.place}
		entry := n.logged(x, bySeq)
		if bySeq {
			entry.Seq--
		} else {
			*entry.Nullified = true
		}
		return slices.Insert(page, i, entry)
	}
	return page
}
