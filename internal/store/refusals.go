package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"railyard/db"
	"railyard/internal/refusal"
)

// maxSamples is how many refusals of each reason the file remembers.
const maxSamples = 8

// Refused is one refusal as the file remembers it.
type Refused struct {
	Reason refusal.Reason `json:"-"`
	Source string         `json:"source"` // upstream or host
	DID    string         `json:"did,omitempty"`
	Detail string         `json:"detail"`
	At     time.Time      `json:"at"`
}

// AddRefusals counts refusals and keeps the last few of each reason. The list is
// bounded by the caller's batch.
func (tx *Tx) AddRefusals(refused []Refused) error {
	byReason := make(map[refusal.Reason][]Refused)
	for _, r := range refused {
		byReason[r.Reason] = append(byReason[r.Reason], r)
	}
	for reason, added := range byReason {
		if err := tx.addRefusals(reason, added); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) addRefusals(reason refusal.Reason, added []Refused) error {
	old, err := tx.q.RefusalSample(tx.ctx, string(reason))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var sample []Refused
	if old != "" {
		if err := json.Unmarshal([]byte(old), &sample); err != nil {
			return err
		}
	}
	sample = append(sample, added...)
	sample = sample[max(0, len(sample)-maxSamples):]
	b, err := json.Marshal(sample)
	if err != nil {
		return err
	}
	return tx.q.AddRefusals(tx.ctx, db.AddRefusalsParams{
		Reason: string(reason), N: int64(len(added)), Now: tx.micros(), Sample: string(b),
	})
}
