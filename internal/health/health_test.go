package health

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A trouble counts once it has lasted, is logged once when it begins and once when it
// ends, and is over when somebody says so.
func TestATroubleIsSaidOnceWhenItBeginsAndOnceWhenItEnds(t *testing.T) {
	var lines bytes.Buffer
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := New(slog.New(slog.NewTextHandler(&lines, nil)), func() time.Time { return now })
	report := func(why string, seconds int) {
		for range seconds / 5 {
			b.Report(CutOff, "http://relay", why, time.Time{})
			now = now.Add(5 * time.Second)
		}
	}
	report("refused", 10)
	report("", 5)
	if n := len(b.Troubles()); n != 0 || lines.Len() > 0 {
		t.Errorf("a short one counts: %v, %s", b.Troubles(), &lines)
	}
	report("connection refused", 60)
	got := b.Troubles()
	if len(got) != 1 || got[0].Why != "connection refused" || now.Sub(got[0].Since) != time.Minute {
		t.Errorf("after a minute: %+v", got)
	}
	report("", 10)
	if n := len(b.Troubles()); n != 0 {
		t.Errorf("after the end: %v", b.Troubles())
	}
	log := lines.String()
	if strings.Count(log, "level=WARN") != 1 || strings.Count(log, "level=INFO") != 1 || !strings.Contains(log, "upstream=http://relay") {
		t.Errorf("the log is\n%s", log)
	}
	lines.Reset()
	for range 26 {
		b.Report(Locked, "", "somebody holds the lock", time.Time{}, "holder", "sqlite3")
		now = now.Add(5 * time.Second)
	}
	log = lines.String()
	if strings.Count(log, "level=WARN") != 3 || !strings.Contains(log, "holder=sqlite3") || len(b.Troubles()) != 1 {
		t.Errorf("in 130 s of a locked file the log is\n%s", log)
	}
}

// The index stands still if its file does, or all that it follows.
func TestStands(t *testing.T) {
	for name, c := range map[string]struct {
		troubles []Trouble
		want     Kind
	}{
		"nothing":                 {},
		"one of two":              {[]Trouble{{Kind: CutOff, Upstream: "a"}}, ""},
		"one of two, twice":       {[]Trouble{{Kind: CutOff, Upstream: "a"}, {Kind: Refused, Upstream: "a"}}, ""},
		"both":                    {[]Trouble{{Kind: CutOff, Upstream: "a"}, {Kind: Refused, Upstream: "b"}}, Refused},
		"both, but one is slow":   {[]Trouble{{Kind: CutOff, Upstream: "a"}, {Kind: Behind, Upstream: "b"}}, ""},
		"both, but one is silent": {[]Trouble{{Kind: CutOff, Upstream: "a"}, {Kind: Silent, Upstream: "b"}}, ""},
		"the file":                {[]Trouble{{Kind: Locked}}, Locked},
		"the file is large":       {[]Trouble{{Kind: Pinned}}, ""},
	} {
		got := Kind("")
		if s := Stands(c.troubles, 2); s != nil {
			got = s.Kind
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
