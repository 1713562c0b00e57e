//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"railyard/internal/dagcbor"
	"railyard/internal/event"
	"railyard/internal/test/simnet"
)

// side is one of the two networks that are held against each other: the
// reference servers, or the simulated ones.
type side struct {
	name string
	make func(handle string, pds int) (did, fullHandle string, err error)
	// commit makes one commit, of records that are all different or, in a
	// collection, all alike.
	commit func(did string, writes []write, alike bool) error
	set    func(verb, did string) error
	rename func(did, handle string) error
	// migrate moves an account to a PDS, counted from 0.
	migrate func(did string, pds int) error

	// vars are the names of the cast and what they stand for here: an account is
	// its DID, "alice.handle" its handle, "pds0" a URL. They fill in the questions
	// and are put back into the answers, so that those of both sides are equal.
	vars map[string]string
	feed *feed
	// marks is the number of the last mark.
	marks int
	// states are the repos after the last #commit that was sent.
	states map[string]state
}

// referenceSide is a network of the real servers, with flags of net.mjs.
func referenceSide(t *testing.T, flags ...string) *side {
	t.Helper()
	n := startNetwork(t, flags...)
	s := &side{name: "reference"}
	s.make = func(handle string, pds int) (did, full string, err error) {
		var made struct{ DID, Handle string }
		err = n.try(t, "account", map[string]any{"handle": handle, "pds": pds}, &made)
		return made.DID, made.Handle, err
	}
	written := 0
	s.commit = func(did string, writes []write, alike bool) error {
		var all []map[string]any
		for _, w := range writes {
			record := map[string]int{}
			if !alike {
				written++
				record["n"] = written
			}
			all = append(all, map[string]any{"action": w.Action, "collection": w.Collection, "rkey": w.Rkey, "record": record})
		}
		return n.try(t, "applyWrites", map[string]any{"did": did, "writes": all}, nil)
	}
	s.set = func(verb, did string) error { return n.try(t, verb, map[string]any{"did": did}, nil) }
	s.rename = func(did, handle string) error {
		return n.try(t, "handle", map[string]string{"did": did, "handle": handle}, nil)
	}
	s.migrate = func(did string, pds int) error {
		return n.try(t, "migrate", map[string]any{"did": did, "pds": pds}, nil)
	}
	s.begin(t, n.PLC, n.PDS)
	return s
}

// simulatedSide is a network of package simnet on loopback sockets, whose
// firehoses replay that many events. Its clock moves by a second per event, so that
// accounts are listed in the order in which they were made.
func simulatedSide(t *testing.T, window int) *side {
	t.Helper()
	clock := time.Now().Add(-time.Hour)
	n, err := simnet.New(simnet.Config{
		PDS: 2, ReplayWindow: window,
		Listen: func(string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		Start:  clock,
		Now:    func() time.Time { clock = clock.Add(time.Second); return clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &side{name: "simulated"}
	s.make = func(_ string, pds int) (did, full string, err error) {
		if did, err = n.CreateAccount(pds); err != nil {
			return "", "", err
		}
		made, err := n.Repo(did)
		return did, made.Handle, err
	}
	s.commit = func(did string, writes []write, alike bool) error {
		var all []simnet.Write
		for _, w := range writes {
			next := simnet.Write{Action: simnet.Action(w.Action), Path: w.Collection + "/" + w.Rkey}
			if alike {
				next.Record = dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendMap(nil, 1), "$type"), w.Collection)
			}
			all = append(all, next)
		}
		return n.Apply(did, all...)
	}
	verbs := map[string]func(string) error{
		"deactivate": n.Deactivate, "activate": n.Activate, "takedown": n.Takedown, "untakedown": n.Untakedown, "deleteAccount": n.DeleteAccount,
	}
	s.set = func(verb, did string) error { return verbs[verb](did) }
	s.rename = func(did, handle string) error { return n.ChangeHandle(did, handle+".test") }
	s.migrate = func(did string, pds int) error { return n.Migrate(did, simnet.Migration{To: pds}) }
	s.begin(t, n.PLC(), []string{n.PDS(0), n.PDS(1)})
	return s
}

// begin follows the firehose from before the first event.
func (s *side) begin(t *testing.T, plc string, pds []string) {
	t.Helper()
	s.vars = map[string]string{"plc": plc, "pds0": pds[0], "pds1": pds[1], "nobody": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}
	s.states = map[string]state{}
	s.feed = s.subscribe(t, "?cursor=0")
}

// account makes an account of the cast.
func (s *side) account(name string, pds int) (err error) {
	s.vars[name], s.vars[name+".handle"], err = s.make(name+"-one", pds)
	return err
}

// apply makes one commit of an account of the cast.
func (s *side) apply(name string, groups ...[]write) error {
	return s.commit(s.vars[name], slices.Concat(groups...), false)
}

// applyAlike is apply with records that are all alike.
func (s *side) applyAlike(name string, groups ...[]write) error {
	return s.commit(s.vars[name], slices.Concat(groups...), true)
}

func update(collection string, rkeys ...string) []write { return writes("update", collection, rkeys) }

// changeHandle gives an account another handle; the first one keeps a name.
func (s *side) changeHandle(name, handle string) error {
	s.vars[name+".first handle"], s.vars[name+".handle"] = s.vars[name+".handle"], handle+".test"
	return s.rename(s.vars[name], handle)
}

// remember keeps the rev of an account under a name.
func (s *side) remember(t *testing.T, name, account string) {
	t.Helper()
	var head struct{ Rev string }
	s.read(t, "GET {pds0}/xrpc/com.atproto.sync.getLatestCommit?did={"+account+"}", &head)
	s.vars[name] = head.Rev
}

// fill puts what the names stand for into a question.
func (s *side) fill(question string) string {
	for name, value := range s.vars {
		question = strings.ReplaceAll(question, "{"+name+"}", value)
	}
	return question
}

// unfill puts the names back into an answer, those of longer values first.
func (s *side) unfill(answer string) string {
	names := slices.SortedFunc(maps.Keys(s.vars), func(a, b string) int { return len(s.vars[b]) - len(s.vars[a]) })
	for _, name := range names {
		answer = strings.ReplaceAll(answer, s.vars[name], "{"+name+"}")
	}
	return answer
}

// request puts a question: "METHOD URL", with names of the cast in braces.
func (s *side) request(t *testing.T, question string) (status int, kind string, body []byte) {
	t.Helper()
	method, url, _ := strings.Cut(s.fill(question), " ")
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), body
}

// read puts a question whose JSON answer the test itself needs.
func (s *side) read(t *testing.T, question string, into any) {
	t.Helper()
	_, _, body := s.request(t, question)
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %s: %v: %s", s.name, question, err, body)
	}
}

// ask puts a question and returns status, content type and body in words.
func (s *side) ask(t *testing.T, question string) string {
	t.Helper()
	status, kind, body := s.request(t, question)
	text := fmt.Sprintf("%d %s ", status, kind)
	switch {
	case len(body) == 0:
		return text + "without a body"
	case strings.HasPrefix(kind, "application/vnd.ipld.car"):
		return text + s.archive(body, s.fill(question))
	case strings.Contains(kind, "json"):
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("%s: %s: %v: %s", s.name, question, err, body)
		}
		return text + s.words(v)
	}
	return text + fmt.Sprintf("%q", body)
}

// frameWithin is how long the next frame of a firehose may take.
const frameWithin = 15 * time.Second

// feed is one connection to the firehose.
type feed struct {
	conn *websocket.Conn
	seqs []int64
}

// subscribe follows the firehose of the first PDS until the test ends.
func (s *side) subscribe(t *testing.T, query string) *feed { return s.subscribeTo(t, "pds0", query) }

func (s *side) subscribeTo(t *testing.T, pds, query string) *feed {
	t.Helper()
	url := "ws" + strings.TrimPrefix(s.vars[pds], "http") + "/xrpc/com.atproto.sync.subscribeRepos" + query
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	t.Cleanup(func() { conn.Close() })
	return &feed{conn: conn}
}

// next returns the next frame, or how the stream ended.
func (f *feed) next() (frame []byte, end string) {
	if err := f.conn.SetReadDeadline(time.Now().Add(frameWithin)); err != nil {
		return nil, err.Error()
	}
	kind, frame, err := f.conn.ReadMessage()
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return nil, fmt.Sprintf("close %d %q", closed.Code, closed.Text)
	case err != nil:
		return nil, err.Error()
	case kind != websocket.BinaryMessage:
		return nil, "a text message"
	}
	f.seqs = append(f.seqs, event.Decode(frame).Seq)
	return frame, ""
}

const markCollection = "com.example.mark"

// mark writes a record of the clerk. Its frame ends what came before it.
func (s *side) mark(t *testing.T) int {
	t.Helper()
	s.marks++
	if err := s.apply("clerk", create(markCollection, strconv.Itoa(s.marks))); err != nil {
		t.Fatalf("%s: mark: %v", s.name, err)
	}
	return s.marks
}

// markOf returns the number of a mark, 0 for every other frame.
func markOf(frame []byte) int {
	c, ok := event.Decode(frame).Event.(*event.Commit)
	if !ok || len(c.Ops) != 1 {
		return 0
	}
	rkey, _ := strings.CutPrefix(c.Ops[0].Path, markCollection+"/")
	n, _ := strconv.Atoi(rkey)
	return n
}

// until returns the frames before a mark, one per line, or up to the end of the
// stream and how that came.
func (s *side) until(f *feed, mark int) string {
	var told []string
	for {
		frame, end := f.next()
		if end != "" {
			told = append(told, end)
			break
		}
		text := s.frame(frame)
		if markOf(frame) == mark {
			break
		}
		told = append(told, text)
	}
	return strings.Join(told, "\n")
}

// live follows the firehose from now on, and reports whether it begins there.
func (s *side) live(t *testing.T, query string) string {
	t.Helper()
	s.until(s.feed, s.marks) // all that was written is sent
	before := s.marks
	f := s.subscribe(t, query)
	seen := make(chan string, 1)
	go func() {
		frame, end := f.next()
		seen <- fmt.Sprintf("begins with a new event: %v %s", markOf(frame) > before, end)
	}()
	for {
		s.mark(t)
		select {
		case text := <-seen:
			return text
		case <-time.After(200 * time.Millisecond):
		}
	}
}
