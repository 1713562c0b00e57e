package store

import (
	"time"

	"railyard/db"
	"railyard/internal/refusal"
)

// RefusalCount is how often something was refused for a reason.
type RefusalCount struct {
	Reason refusal.Reason
	Count  int64
	LastAt time.Time
}

// RefusalCounts returns all reasons that ever came up, the most frequent first.
func (rx *Rx) RefusalCounts() ([]RefusalCount, error) {
	rows, err := rx.q.RefusalCounts(rx.ctx)
	if err != nil {
		return nil, err
	}
	counts := make([]RefusalCount, len(rows))
	for i, row := range rows {
		counts[i] = RefusalCount{refusal.Reason(row.Reason), row.Count, time.UnixMicro(row.LastAt)}
	}
	return counts, nil
}

// HostHealth is what we think of a PDS.
type HostHealth struct {
	Host          string
	Status        string    // empty = fine
	Failures      int64     // failed requests in a row
	Answers       int64     // resyncs that it answered
	CooldownUntil time.Time // zero = none
	Error         string    // its last failure, in its own words too
	ErrorAt       time.Time
}

// FailingHosts returns up to n hosts that fail or cool down, the worst first.
func (rx *Rx) FailingHosts(now time.Time, n int) ([]HostHealth, error) {
	rows, err := rx.q.FailingHosts(rx.ctx, db.FailingHostsParams{Now: now.UnixMicro(), MaxRows: int64(n)})
	if err != nil {
		return nil, err
	}
	hosts := make([]HostHealth, len(rows))
	for i, row := range rows {
		hosts[i] = HostHealth{
			Host: row.Hostname, Status: deref(row.Status), Failures: row.Failures, Answers: row.Answers,
			Error: deref(row.Error), ErrorAt: instant(row.ErrorAt),
		}
		if row.CooldownUntil > now.UnixMicro() {
			hosts[i].CooldownUntil = time.UnixMicro(row.CooldownUntil)
		}
	}
	return hosts, nil
}

// IndexID names this index in every cursor.
func (rx *Rx) IndexID() (string, error) {
	meta, err := rx.q.Meta(rx.ctx)
	return meta.IndexID, err
}

// CreatedBy returns the version of the program that made the file. (Config.Version)
func (rx *Rx) CreatedBy() (string, error) {
	meta, err := rx.q.Meta(rx.ctx)
	return meta.CreatedBy, err
}
