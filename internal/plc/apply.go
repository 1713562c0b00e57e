package plc

import (
	"context"
	"errors"
	"slices"
	"time"

	"railyard/internal/refusal"
	"railyard/internal/repostate"
	"railyard/internal/store"
)

// pieceLines is how many operations of known DIDs one transaction applies.
const pieceLines = 200

// unapplied returns the lines that were not applied yet.
func unapplied(pos position, lines []line) (fresh []line) {
	for _, l := range lines {
		if !pos.has(l) {
			fresh = append(fresh, l)
		}
	}
	return fresh
}

// nullify marks the operations in whose place a later one of the page was made: one that
// does not follow the newest operation of its DID, but one before that (spec: did:plc, account
// recovery). What follows a marked one is marked, too.
func nullify(lines []line) {
	byDID := make(map[string][]int)
	for i, l := range lines {
		if l.did == "" {
			continue
		}
		earlier := byDID[l.did]
		byDID[l.did] = append(earlier, i)
		if len(earlier) == 0 {
			continue
		}
		prev := l.entry.Prev()
		at := slices.IndexFunc(earlier, func(j int) bool { return lines[j].id == prev })
		if at >= 0 && lines[earlier[at]].entry.Nullified {
			lines[i].entry.Nullified = true
			continue
		}
		for _, j := range earlier[at+1:] {
			lines[j].entry.Nullified = true
		}
	}
}

// apply stores what the lines say together with the position behind them, in
// pieces. Of a DID only the last line of the page counts. asOf is when the page
// was asked for, if it reaches to the end of the log.
func (f *Follower) apply(ctx context.Context, of *form, lines []line, asOf time.Time) error {
	known, err := f.known(ctx, lines)
	if err != nil {
		return err
	}
	said := make([]*repostate.Operation, len(lines)) // nil where it does not matter
	for i, l := range lines {
		if known[i] {
			said[i] = f.operation(l, asOf)
		}
	}
	for from := 0; from < len(lines); {
		upto, n := from, 0
		for ; upto < len(lines) && n < pieceLines; upto++ {
			if said[upto] != nil {
				n++
			}
		}
		if err := f.piece(ctx, of, lines[from:upto], said[from:upto]); err != nil {
			return err
		}
		from = upto
	}
	return nil
}

// known returns which lines are the last ones of DIDs that have a repo.
func (f *Follower) known(ctx context.Context, lines []line) ([]bool, error) {
	last := make(map[string]int, len(lines))
	for i, l := range lines {
		last[l.did] = i
	}
	known := make([]bool, len(lines))
	err := f.cfg.Store.OwnView(ctx, func(rx *store.Rx) (err error) {
		for did, i := range last {
			if did == "" {
				continue
			}
			if known[i], err = rx.Knows(did); err != nil {
				return err
			}
		}
		return nil
	})
	return known, err
}

// piece is one transaction.
func (f *Follower) piece(ctx context.Context, of *form, lines []line, said []*repostate.Operation) error {
	counts := make(map[string]int)
	pos := f.pos.next(of, lines, f.cfg.Now())
	err := f.cfg.Store.Update(ctx, "read the PLC log", func(tx *store.Tx) error {
		var broken []error
		for i, l := range lines {
			result := passed
			switch {
			case l.err != nil:
				result, broken = malformed, append(broken, l.err)
			case said[i] != nil:
				applied, err := f.applyOperation(tx, l.did, *said[i])
				if err != nil {
					return err
				}
				result = applied
			}
			counts[result]++
		}
		if err := f.refuse(tx, broken); err != nil {
			return err
		}
		return tx.PutPLCLog(pos.log(f.cfg.URL, f.done))
	})
	if err != nil {
		return err
	}
	f.pos = pos
	f.count(lines, counts)
	return nil
}

// operation returns what a line says of its DID: no identity if it is not in force, is of
// the future, or has none that is usable.
func (f *Follower) operation(l line, asOf time.Time) *repostate.Operation {
	op := &repostate.Operation{At: l.at, AsOf: asOf}
	if l.entry.Nullified || f.future(l) {
		return op
	}
	if id, err := l.entry.Identity(f.cfg.Hosts); err == nil {
		op.Identity = &repostate.Identity{Key: string(id.Key), Host: id.Host, Insecure: id.Insecure}
	}
	return op
}

// applyOperation applies one line.
func (f *Follower) applyOperation(tx *store.Tx, did string, op repostate.Operation) (string, error) {
	r, err := tx.RepoByDID(did)
	if err != nil || r == nil {
		return passed, err
	}
	if id := op.Identity; op.Counts(r) {
		if op.Identity, err = tx.IdentityAtHost(id.Key, id.Host, id.Insecure); err != nil {
			return "", err
		}
	}
	d := repostate.Decide(r, op, tx.Env())
	if _, err := tx.Apply(r, d); err != nil {
		return "", err
	}
	if d.KeyChanged {
		tx.AfterCommit(func() { f.cfg.KeyChanged(did) })
	}
	return string(d.Outcome), nil
}

// refuse counts malformed lines, and keeps a sample of them.
func (f *Follower) refuse(tx *store.Tx, broken []error) error {
	var refused []store.Refused
	for _, err := range broken {
		detail := err.Error()
		if e, ok := errors.AsType[*refusal.Error](err); ok {
			detail = e.Detail
		}
		refused = append(refused, store.Refused{
			Reason: refusal.IdentityInvalid, Source: f.host, Detail: detail, At: tx.Now().UTC(),
		})
	}
	tx.AfterCommit(func() {
		for range refused {
			f.cfg.Metrics.Refused(refusal.IdentityInvalid)
		}
	})
	return tx.AddRefusals(refused)
}

// refusePlaceless counts the lines that no position can distinguish from others: once, as
// long as the page brings something new.
func (f *Follower) refusePlaceless(ctx context.Context, p page) error {
	if len(p.invalid) == 0 {
		return nil
	}
	f.cfg.Metrics.Logged(malformed, len(p.invalid))
	return f.cfg.Store.Update(ctx, "malformed lines of the PLC log", func(tx *store.Tx) error { return f.refuse(tx, p.invalid) })
}

// What becomes of a line, beside the outcomes of repostate.Operation.
const (
	passed    = "passed"    // the DID has no repo in the file, or the page has a later line of it
	malformed = "malformed" // it could not be read
)

// count updates the figures on the progress of the log.
func (f *Follower) count(lines []line, counts map[string]int) {
	for result, n := range counts {
		f.cfg.Metrics.Logged(result, n)
	}
	before := f.read / reportEvery
	if f.read += len(lines); f.read/reportEvery > before {
		f.cfg.Log.Info("read the PLC log", "operations", f.read, "up to", f.pos.form.after(lines[len(lines)-1].key))
	}
}
