package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// attemptLog keeps what the service logs of its attempts, by DID, so that a failing test
// says what each was for.
type attemptLog struct {
	mu sync.Mutex
	of map[string][]string
}

func (*attemptLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *attemptLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "attempted" {
		return nil
	}
	said := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		said[a.Key] = a.Value.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	did := said["did"]
	l.of[did] = append(l.of[did], fmt.Sprintf("%s %s: %s", r.Time.Format(time.TimeOnly), said["reason"], said["outcome"]))
	return nil
}

func (l *attemptLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *attemptLog) WithGroup(string) slog.Handler      { return l }

// at returns the attempts at a repo, with their times, reasons and outcomes.
func (l *attemptLog) at(did string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.of[did], ", ")
}
