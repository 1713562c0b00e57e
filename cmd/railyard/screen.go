package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// screen is where the demo speaks to a person. In a terminal it draws over its
// last line; elsewhere it writes whole lines, and few of them.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	tty   bool
	drawn bool
	last  string
	lines int
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			s.tty = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return s
}

// say writes a line that stays.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	_, _ = fmt.Fprintf(s.w, format+"\n", args...)
}

// line draws over the last one; where that cannot be, one in ten is written.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if s.tty {
		s.wipe()
		_, _ = io.WriteString(s.w, text)
		s.drawn = true
		return
	}
	if s.lines++; s.lines%10 == 1 && text != s.last {
		_, _ = io.WriteString(s.w, text+"\n")
	}
	s.last = text
}

// bar draws progress.
func (s *screen) bar(what string, done, total int64) {
	const width = 40
	full := int(width * min(done, total) / max(total, 1))
	s.line("%s [%s%s] %d/%d", what, strings.Repeat("#", full), strings.Repeat(".", width-full), done, total)
}

func (s *screen) wipe() {
	if s.drawn {
		_, _ = io.WriteString(s.w, "\r\x1b[K")
		s.drawn = false
	}
}

func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn {
		_, _ = io.WriteString(s.w, "\n")
		s.drawn = false
	}
}

// invite says what to try.
func (s *screen) invite(base, db, plc string) {
	s.say(`
The network is indexed and goes on living. Open %[1]s/ or try:

  curl -s '%[1]s/xrpc/com.atproto.sync.listReposByCollection?collection=app.bsky.feed.post&limit=5'
  curl -s '%[1]s/v1/listCollections'
  curl -s '%[1]s/v1/stats'
  sqlite3 '%[2]s' "SELECT did FROM repos_by_collection WHERE nsid = 'app.bsky.feed.post' LIMIT 5"
  sqlite3 '%[2]s' 'SELECT * FROM collection_stats ORDER BY members DESC LIMIT 10'
  railyard check --db '%[2]s' --sample 20 --plc-url '%[3]s' --allow-private-hosts

Ctrl-C ends it.
`, base, db, plc)
}
