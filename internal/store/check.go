package store

import (
	"context"
	"fmt"

	"railyard/db"
	"railyard/internal/atproto"
)

const (
	// maxOffenders is how many rows a violation shows.
	maxOffenders = 20
	// namesAtOnce is how many names are read in one piece.
	namesAtOnce = 10_000
)

// Violation is an invariant that the file breaks.
type Violation struct {
	Invariant   string   `json:"invariant"`
	Explanation string   `json:"explanation"`
	Count       int64    `json:"count"` // of all offending rows
	Rows        []string `json:"rows"`  // the first few, "did/nsid: what"
}

// Check verifies that the file keeps its own rules. They hold after every
// transaction, so it may run beside the service; it reads each of them in a
// transaction of its own, so that the write-ahead log is not held back for the
// whole of it. It returns the number of rules and those that are broken. The
// error is that of the reading.
func (rd *Reader) Check(ctx context.Context) (checked int, broken []Violation, err error) {
	var rules []db.InvariantsRow
	err = rd.View(ctx, func(rx *Rx) (err error) {
		rules, err = rx.q.Invariants(ctx)
		return err
	})
	if err != nil {
		return 0, nil, onFile(rd.path, fmt.Errorf("read the invariants: %w", err))
	}
	for _, rule := range rules {
		found, err := rd.find(ctx, rule.Name)
		if err != nil {
			return checked, broken, onFile(rd.path, fmt.Errorf("check of %s: %w", rule.Name, err))
		}
		checked++
		if found.count > 0 {
			broken = append(broken, Violation{rule.Name, rule.Explanation, found.count, found.rows})
		}
	}
	return checked, broken, nil
}

// beyondSQL has the invariants that the view violation cannot ask for: the
// grammar of names, and what is packed.
var beyondSQL = map[string]func(*Rx) (offenders, error){
	"dids": badDIDs, "nsids": badNSIDs, "hosts": badHosts, "listings": badListings,
}

// find returns the rows that break an invariant.
func (rd *Reader) find(ctx context.Context, invariant string) (found offenders, err error) {
	if invariant == "file" {
		return rd.quickCheck(ctx)
	}
	err = rd.View(ctx, func(rx *Rx) (err error) {
		if find := beyondSQL[invariant]; find != nil {
			found, err = find(rx)
			return err
		}
		found, err = rx.violations(invariant)
		return err
	})
	return found, err
}

func (rx *Rx) violations(invariant string) (found offenders, err error) {
	rows, err := rx.q.Violations(rx.ctx, db.ViolationsParams{Invariant: invariant, MaxRows: maxOffenders})
	for _, row := range rows {
		found.rows, found.count = append(found.rows, row.What), row.Total
	}
	return found, err
}

// quickCheck asks SQLite itself. On a read-only connection it does not look at
// the constraints of the schema: the invariant of the flags does.
func (rd *Reader) quickCheck(ctx context.Context) (found offenders, err error) {
	err = rd.with(ctx, func(sn *session) error {
		rows, err := sn.conn.QueryContext(ctx, fmt.Sprintf("PRAGMA quick_check(%d)", maxOffenders))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return err
			}
			if line != "ok" {
				found.add("%s", line)
			}
		}
		return rows.Err()
	})
	return found, err
}

// offenders are rows that break an invariant.
type offenders struct {
	count int64
	rows  []string
}

func (o *offenders) add(format string, args ...any) {
	o.count++
	if len(o.rows) < maxOffenders {
		o.rows = append(o.rows, fmt.Sprintf(format, args...))
	}
}

func badDIDs(rx *Rx) (offenders, error) {
	return badNames(
		func(after int64) ([]db.CheckDIDsRow, error) {
			return rx.q.CheckDIDs(rx.ctx, db.CheckDIDsParams{After: after, MaxRows: namesAtOnce})
		},
		func(r db.CheckDIDsRow) (id int64, name string, ok bool) {
			_, err := atproto.ParseDID(r.DID)
			return r.ID, r.DID, err == nil
		})
}

func badNSIDs(rx *Rx) (offenders, error) {
	return badNames(
		func(after int64) ([]db.CheckNSIDsRow, error) {
			return rx.q.CheckNSIDs(rx.ctx, db.CheckNSIDsParams{After: after, MaxRows: namesAtOnce})
		},
		func(r db.CheckNSIDsRow) (id int64, name string, ok bool) {
			_, err := atproto.ParseNSID(r.NSID)
			return r.ID, r.NSID, err == nil
		})
}

func badHosts(rx *Rx) (offenders, error) {
	return badNames(
		func(after int64) ([]db.CheckHostsRow, error) {
			return rx.q.CheckHosts(rx.ctx, db.CheckHostsParams{After: after, MaxRows: namesAtOnce})
		},
		func(r db.CheckHostsRow) (id int64, name string, ok bool) {
			scheme := "https://"
			if r.Insecure == 1 {
				scheme = "http://"
			}
			canonical, _, err := atproto.Hosts{AllowPrivate: true}.Endpoint(scheme + r.Hostname)
			return r.ID, r.Hostname, err == nil && canonical == r.Hostname
		})
}

// badNames reads names piece by piece, in the order of their ids.
func badNames[R any](read func(after int64) ([]R, error), judge func(R) (id int64, name string, ok bool)) (found offenders, err error) {
	for after := int64(0); ; {
		rows, err := read(after)
		if err != nil || len(rows) == 0 {
			return found, err
		}
		for _, row := range rows {
			id, name, ok := judge(row)
			if after = id; !ok {
				found.add("%s: row %d", name, id)
			}
		}
	}
}
