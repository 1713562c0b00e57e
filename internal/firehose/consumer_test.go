package firehose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/event"
	"railyard/internal/firehose"
	"railyard/internal/refusal"

	"github.com/gorilla/websocket"
)

// streams are what upstreams do, and what must come of it. Each runs for ten
// minutes of the bubble's time, which is room for about twenty connections.
var streams = []struct {
	name     string
	cursor   int64
	scripts  []script
	requests []string
	items    []item
	counts   map[refusal.Reason]int
}{
	{
		name:     "a first start is live, and every connection after it goes on where the last one was",
		scripts:  []script{send(identity(5), identity(6)), send(identity(7)), send()},
		requests: []string{"", "6", "7", "7"},
		items:    []item{at(5), at(6), at(7)},
	},
	{
		name:     "the event of the cursor itself is dropped, and no other",
		cursor:   5,
		scripts:  []script{send(identity(5), identity(6)), send(identity(6), identity(7))},
		requests: []string{"5", "6", "7"},
		items:    []item{at(6), at(7)},
	},
	{
		name:     "numbers left out are legal and reported as a hint",
		cursor:   5,
		scripts:  []script{send(identity(6), identity(9)), send(identity(100))},
		requests: []string{"5", "9", "100"},
		items:    []item{at(6), at(9), {seq: 100, cursor: 100, missed: 90}},
	},
	{
		name:     "a connection that begins below the cursor is a reset upstream, and is adopted",
		cursor:   1000,
		scripts:  []script{send(identity(3), identity(4))},
		requests: []string{"1000", "4"},
		items:    []item{{seq: 3, notice: firehose.Reset, cursor: 3, reset: true}, at(4)},
		counts:   map[refusal.Reason]int{refusal.SequenceReset: 1},
	},
	{
		name:     "a number that repeats inside a connection is delivered and moves nothing",
		cursor:   5,
		scripts:  []script{send(identity(8), identity(8), identity(6), identity(9))},
		requests: []string{"5", "9"},
		items:    []item{{seq: 8, cursor: 8, missed: 2}, {seq: 8}, {seq: 6}, at(9)},
		counts:   map[refusal.Reason]int{refusal.SequenceRepeated: 2},
	},
	{
		name:     "an outdated cursor is a gap, and the stream is read on",
		cursor:   5,
		scripts:  []script{send(info("OutdatedCursor"), identity(50))},
		requests: []string{"5", "50"},
		items:    []item{{notice: firehose.Gap}, {seq: 50, cursor: 50, missed: 44}},
		counts:   map[refusal.Reason]int{refusal.SequenceGap: 1},
	},
	{
		name:     "an unknown info is ignored",
		cursor:   5,
		scripts:  []script{send(info("SomethingNew"), identity(6))},
		requests: []string{"5", "6"},
		items:    []item{at(6)},
	},
	{
		name:     "a future cursor is given up for the live position",
		cursor:   1000,
		scripts:  []script{send(failure("FutureCursor")), send(), send(identity(7))},
		requests: []string{"1000", "", "", "7"},
		items:    []item{{notice: firehose.Future, reset: true}, at(7)},
		counts:   map[refusal.Reason]int{refusal.SequenceFuture: 1},
	},
	{
		name:     "a future cursor is nonsense where none was sent or events have come",
		scripts:  []script{send(failure("FutureCursor")), send(identity(7), failure("FutureCursor"))},
		requests: []string{"", "", "7"},
		items:    []item{at(7)},
		counts:   map[refusal.Reason]int{refusal.FrameError: 2},
	},
	{
		name:     "a consumer that is too slow comes back at the position reached",
		cursor:   5,
		scripts:  []script{send(identity(6), failure("ConsumerTooSlow"), identity(7)), send(identity(7))},
		requests: []string{"5", "6", "7"},
		items:    []item{at(6), at(7)},
		counts:   map[refusal.Reason]int{refusal.FrameError: 1},
	},
	{
		name:     "an unknown error ends the stream like any other",
		cursor:   5,
		scripts:  []script{send(failure("InternalServerError"), identity(6))},
		requests: []string{"5", "5"},
		counts:   map[refusal.Reason]int{refusal.FrameError: 1},
	},
	{
		name:     "a message that breaks the lexicon is delivered with its refusal and moves the cursor",
		cursor:   5,
		scripts:  []script{send(append(header("#tombstone"), 0xa1, 0x63, 's', 'e', 'q', 6), identity(7))},
		requests: []string{"5", "7"},
		items:    []item{at(6), at(7)},
	},
	{
		name:     "an event without a readable number moves nothing",
		cursor:   5,
		scripts:  []script{send(append(header("#tombstone"), 0xa0), identity(6))},
		requests: []string{"5", "6"},
		items:    []item{{}, at(6)},
	},
	{
		name:     "a malformed frame breaks the connection, and is gone at the second try",
		cursor:   5,
		scripts:  []script{send(malformed(), identity(7)), send(identity(6), identity(7))},
		requests: []string{"5", "5", "7"},
		items:    []item{at(6), at(7)},
		counts:   map[refusal.Reason]int{refusal.FrameMalformed: 1},
	},
	{
		name:   "a malformed frame is stepped over when it comes for the third time",
		cursor: 5,
		scripts: []script{
			send(identity(6), malformed(), identity(9)), send(malformed(), identity(9)), send(malformed(), identity(9)),
		},
		requests: []string{"5", "6", "6", "9"},
		items:    []item{at(6), {notice: firehose.Skipped, cursor: 7}, at(9)},
		counts:   map[refusal.Reason]int{refusal.FrameMalformed: 2},
	},
	{
		name:   "the event of the cursor, sent again, is no progress",
		cursor: 5,
		scripts: []script{
			send(identity(5), malformed()), send(identity(5), malformed()), send(identity(5), malformed(), identity(7)),
		},
		requests: []string{"5", "5", "5", "7"},
		items:    []item{{notice: firehose.Skipped, cursor: 6}, at(7)},
		counts:   map[refusal.Reason]int{refusal.FrameMalformed: 2},
	},
	{
		name:    "an event between two malformed frames makes them two, each with its own tries",
		cursor:  5,
		scripts: []script{send(malformed()), send(malformed()), send(identity(6), malformed()), send(malformed()), send(identity(8))},
		requests: []string{
			"5", "5", "5", "6", "6", "8",
		},
		items:  []item{at(6), {seq: 8, cursor: 8, missed: 1}},
		counts: map[refusal.Reason]int{refusal.FrameMalformed: 4},
	},
	{
		name:     "two malformed frames in a row are stepped over together",
		cursor:   5,
		scripts:  []script{send(malformed()), send(malformed()), send(malformed(), malformed(), identity(9))},
		requests: []string{"5", "5", "5", "9"},
		items: []item{
			{notice: firehose.Skipped, cursor: 6}, {cursor: 7}, at(9),
		},
		counts: map[refusal.Reason]int{refusal.FrameMalformed: 2},
	},
	{
		name:     "a live stream of malformed frames makes no cursor out of nothing",
		scripts:  []script{send(malformed(), malformed(), identity(9), malformed(), identity(11))},
		requests: []string{"", "11"},
		items:    []item{{notice: firehose.Skipped}, {}, at(9), {cursor: 10}, at(11)},
	},
	{
		name:     "messages without a number that are stepped over take no event away",
		cursor:   5,
		scripts:  []script{send(malformed()), send(malformed()), send(malformed(), identity(6), malformed(), identity(7)), send(malformed(), identity(8))},
		requests: []string{"5", "5", "5", "7", "8"},
		items:    []item{{notice: firehose.Skipped, cursor: 6}, at(6), {cursor: 7}, at(7), {cursor: 8}, at(8)},
		counts:   map[refusal.Reason]int{refusal.FrameMalformed: 2},
	},
	{
		name:   "several in a row without a number take no event away either",
		cursor: 5,
		scripts: []script{
			send(malformed()), send(malformed()), send(malformed(), malformed(), malformed(), identity(6), identity(7)),
			send(malformed(), malformed(), identity(8), malformed(), malformed(), identity(9)),
		},
		requests: []string{"5", "5", "5", "7", "9"},
		items: []item{
			{notice: firehose.Skipped, cursor: 6}, {cursor: 7}, {cursor: 8}, at(6), at(7),
			{cursor: 8}, {cursor: 9}, at(8), {cursor: 9}, {cursor: 10}, at(9),
		},
		counts: map[refusal.Reason]int{refusal.FrameMalformed: 2},
	},
	{
		name:     "a text message breaks the connection",
		cursor:   5,
		scripts:  []script{sendText("hello", identity(6)), send(identity(6))},
		requests: []string{"5", "5", "6"},
		items:    []item{at(6)},
		counts:   map[refusal.Reason]int{refusal.FrameNotBinary: 1},
	},
	{
		name:     "a message over five million bytes breaks the connection, and is stepped over at the third time",
		cursor:   5,
		scripts:  []script{send(oversize()), send(oversize()), send(oversize(), identity(7))},
		requests: []string{"5", "5", "5", "7"},
		items:    []item{{notice: firehose.Skipped, cursor: 6}, at(7)},
		counts:   map[refusal.Reason]int{refusal.FrameTooBig: 2},
	},
	{
		name:     "a message too big to read past ends even the connection that may step over it",
		cursor:   5,
		scripts:  []script{claim(1 << 40), claim(1 << 40), claim(1 << 40), send(identity(7))},
		requests: []string{"5", "5", "5", "6", "7"},
		items:    []item{{notice: firehose.Skipped, cursor: 6}, at(7)},
		counts:   map[refusal.Reason]int{refusal.FrameTooBig: 2},
	},
	{
		name:     "an answer that is no websocket is tried again, and a redirect is not followed",
		cursor:   5,
		scripts:  []script{answer(500), answer(404), answer(302, "Location", "/elsewhere"), answer(200), send(identity(6))},
		requests: []string{"5", "5", "5", "5", "5", "6"},
		items:    []item{at(6)},
	},
	{
		name:     "an extension that was not asked for is refused",
		cursor:   5,
		scripts:  []script{forceCompression, send(identity(6))},
		requests: []string{"5", "5", "6"},
		items:    []item{at(6)},
	},
}

func oversize() []byte { return append(identity(6), make([]byte, event.MaxFrame)...) }

func sendText(text string, then []byte) script {
	return func(w http.ResponseWriter, r *http.Request) {
		ws := upgrade(w, r)
		defer ws.Close()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(text))
		_ = ws.WriteMessage(websocket.BinaryMessage, then)
		drain(ws)
	}
}

// claim begins a message that says to be n bytes long.
func claim(n uint64) script {
	return func(w http.ResponseWriter, r *http.Request) {
		ws := upgrade(w, r)
		defer ws.Close()
		head := []byte{0x82, 127}
		for shift := 56; shift >= 0; shift -= 8 {
			head = append(head, byte(n>>shift))
		}
		_, _ = ws.NetConn().Write(head)
		drain(ws)
	}
}

// forceCompression claims that compression was agreed upon.
func forceCompression(w http.ResponseWriter, r *http.Request) {
	h := http.Header{"Sec-Websocket-Extensions": {"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}}
	r.Header.Del("Sec-Websocket-Extensions")
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set("Sec-Websocket-Accept", acceptKey(r.Header.Get("Sec-Websocket-Key")))
	_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(buf)
	_, _ = buf.WriteString("\r\n")
	_, _ = buf.Write(append([]byte{0x82, byte(len(identity(6)))}, identity(6)...))
	_ = buf.Flush()
	_, _ = io.Copy(io.Discard, conn)
}

func TestStreams(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, firehose.Config{Cursor: c.cursor}, c.scripts...)
				items := r.after(20 * time.Minute)
				wantItems(t, items, c.items...)
				r.wantRequests(c.requests...)
				for _, e := range refusal.All() {
					if got := r.count(e.Reason); got != c.counts[e.Reason] {
						t.Errorf("counted %s %d times, want %d", e.Reason, got, c.counts[e.Reason])
					}
				}
				if !r.consumer.Connected() {
					t.Error("not connected in the end")
				}
			})
		})
	}
}

// What an upstream makes malformed again and again costs the events between it nothing, but
// for the first one in an hour, which may be an accident of the connection.
func TestMalformedMessagesDelayNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const others = 100
		var frames [][]byte
		for i := range int64(others) {
			frames = append(frames, malformed(), identity(7+2*i))
		}
		again := func(w http.ResponseWriter, r *http.Request) { // two hours later
			ws := upgrade(w, r)
			defer ws.Close()
			var reader sync.WaitGroup
			reader.Go(func() { drain(ws) })
			time.Sleep(2 * time.Hour)
			_ = ws.WriteMessage(websocket.BinaryMessage, malformed())
			reader.Wait()
		}
		r := start(t, firehose.Config{Cursor: 5}, send(frames...), send(frames...), send(frames...), again)
		items := r.after(10 * time.Second)
		if len(items) != 2*others || items[len(items)-1].Frame.Seq != 5+2*others {
			t.Fatalf("%d items after ten seconds", len(items))
		}
		notices := 0
		for _, it := range items {
			if it.Notice == firehose.Skipped {
				notices++
			}
		}
		if r.after(3 * time.Hour); notices != 1 || r.count(refusal.FrameMalformed) != 3 {
			t.Errorf("%d notices, %d connections broken", notices, r.count(refusal.FrameMalformed))
		}
	})
}

// What was stepped over silently is told of when the hour is over.
func TestSilentSkipsAreNoticedAfterAnHour(t *testing.T) {
	for name, c := range map[string]struct {
		silent  bool
		notices []int64 // numbers of the events that have one
	}{
		"none":  {false, nil},
		"a few": {true, []int64{20}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, firehose.Config{}, func(w http.ResponseWriter, r *http.Request) {
					ws := upgrade(w, r)
					defer ws.Close()
					var reader sync.WaitGroup
					reader.Go(func() { drain(ws) })
					write := func(frames ...[]byte) {
						for _, f := range frames {
							_ = ws.WriteMessage(websocket.BinaryMessage, f)
						}
					}
					write(malformed(), identity(6))
					if c.silent {
						write(malformed(), identity(8), malformed(), identity(10))
					}
					time.Sleep(59 * time.Minute)
					write(identity(11))
					time.Sleep(2 * time.Minute)
					write(identity(20), identity(21))
					time.Sleep(2 * time.Hour)
					write(identity(22))
					reader.Wait()
				})
				items := r.after(4 * time.Hour)
				var notices []int64
				for _, it := range items[1:] {
					if it.Notice == firehose.Skipped {
						notices = append(notices, it.Frame.Seq)
					}
				}
				if items[0].Notice != firehose.Skipped || !slices.Equal(notices, c.notices) || r.count(refusal.FrameMalformed) != 0 {
					t.Errorf("notices at %v, want %v", notices, c.notices)
				}
			})
		})
	}
}

func TestASkippedItemNamesWhatWasSteppedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, firehose.Config{Cursor: 5}, send(malformed()), send(malformed()), send(malformed()))
		items := r.after(20 * time.Minute)
		if len(items) != 1 {
			t.Fatalf("%d items", len(items))
		}
		f := items[0].Frame
		if f.Refusal == nil || f.Refusal.Reason != refusal.FrameSkipped || !strings.Contains(f.Refusal.Detail, "ends early") {
			t.Errorf("%+v", f)
		}
	})
}

func TestDeliveryHoldsBackTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sent := 0
		progress := func() int {
			mu.Lock()
			defer mu.Unlock()
			return sent
		}
		u := &upstream{t: t, listener: newPipeListener()}
		u.scripts = []script{func(w http.ResponseWriter, r *http.Request) {
			ws := upgrade(w, r)
			defer ws.Close()
			var reader sync.WaitGroup
			reader.Go(func() { drain(ws) })
			for i := range 1000 {
				frame := append(header("#x"), 0xa1, 0x61, 'p', 0x59, 0x27, 0x10)
				if ws.WriteMessage(websocket.BinaryMessage, append(frame, make([]byte, 10_000)...)) != nil {
					break
				}
				mu.Lock()
				sent = i + 1
				mu.Unlock()
			}
			reader.Wait()
		}}
		server := &http.Server{Handler: u}
		go func() { _ = server.Serve(u.listener) }()
		defer server.Close()
		c, err := firehose.New(firehose.Config{URL: "ws://relay.test/", Dial: u.listener.dial})
		if err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		delivered := 0
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			result <- c.Run(ctx, func(ctx context.Context, it firehose.Item) error {
				delivered++
				select {
				case <-gate:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}()
		// Longer than the silence after which an upstream counts as dead.
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := progress(); n == 0 || n > 20 {
			t.Errorf("%d messages sent while the first was being delivered", n)
		}
		close(gate)
		time.Sleep(time.Second)
		synctest.Wait()
		if progress() != 1000 || delivered != 1000 {
			t.Errorf("%d sent and %d delivered once the gate was open, want 1000", progress(), delivered)
		}
		cancel()
		if err := <-result; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAReceiverThatGivesUpWithTheContextIsNoFailure(t *testing.T) {
	full := errors.New("the disk is full")
	for name, c := range map[string]struct {
		answer func(ctx context.Context) error
		want   error
	}{
		"the context's error": {func(ctx context.Context) error { return fmt.Errorf("storing: %w", ctx.Err()) }, nil},
		"the context's cause": {context.Cause, nil},
		"an error of its own": {func(context.Context) error { return full }, full},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{t: t, listener: newPipeListener(), scripts: []script{send(identity(1))}}
				server := &http.Server{Handler: u}
				go func() { _ = server.Serve(u.listener) }()
				defer server.Close()
				consumer, err := firehose.New(firehose.Config{URL: "http://relay.test", Dial: u.listener.dial})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Minute, func() { cancel(errors.New("the service stops")) })
				err = consumer.Run(ctx, func(ctx context.Context, _ firehose.Item) error {
					<-ctx.Done()
					return c.answer(ctx)
				})
				if !errors.Is(err, c.want) {
					t.Errorf("Run: %v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestAnEventKeepsItsBytesWhenTheNextOneIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, firehose.Config{}, send(blocks(1, 'a'), blocks(2, 'b')))
		items := r.after(10 * time.Minute)
		wantItems(t, items, at(1), at(2))
		for i, want := range []byte{'a', 'b'} {
			if e := items[i].Frame.Event.(*event.Sync); !bytes.Equal(e.Blocks, bytes.Repeat([]byte{want}, 100)) {
				t.Errorf("event %d holds %q", i+1, e.Blocks)
			}
		}
	})
}

func TestAnErrorOfTheReceiverEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{t: t, listener: newPipeListener(), scripts: []script{send(identity(1), identity(2))}}
		server := &http.Server{Handler: u}
		go func() { _ = server.Serve(u.listener) }()
		defer server.Close()
		c, err := firehose.New(firehose.Config{URL: "http://relay.test", Dial: u.listener.dial})
		if err != nil {
			t.Fatal(err)
		}
		full := errors.New("the disk is full")
		n := 0
		err = c.Run(t.Context(), func(context.Context, firehose.Item) error {
			n++
			return full
		})
		if !errors.Is(err, full) || n != 1 || c.Connected() {
			t.Errorf("Run: %v after %d items, connected %t", err, n, c.Connected())
		}
	})
}

func TestTheEndOfTheContextEndsEverythingAtOnce(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	deaf := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		context.AfterFunc(ctx, func() { theirs.Close() })
		return ours, nil
	}
	unreachable := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	cases := map[string]struct {
		cfg    firehose.Config
		script script
	}{
		"while reading":            {firehose.Config{}, quiet},
		"while shaking hands":      {firehose.Config{}, hang},
		"while nobody listens":     {firehose.Config{Dial: deaf}, quiet},
		"while dialing":            {firehose.Config{Dial: unreachable}, quiet},
		"while waiting to go back": {firehose.Config{}, answer(429, "Retry-After", "600")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, c.cfg, c.script)
				r.after(2 * time.Second)
				began := time.Now()
				r.cancel()
				if err := <-r.result; err != nil {
					t.Errorf("Run: %v", err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %v", took)
				}
				if r.consumer.Connected() {
					t.Error("still connected")
				}
			})
		})
	}
}

func TestTheUpstreamIsToldWhyWeLeave(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		code  int
	}{
		"the end":           {identity(1), websocket.CloseNormalClosure},
		"a malformed frame": {malformed(), websocket.CloseProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				code := make(chan int, 1)
				r := start(t, firehose.Config{Cursor: 1}, func(w http.ResponseWriter, r *http.Request) {
					ws := upgrade(w, r)
					defer ws.Close()
					_ = ws.WriteMessage(websocket.BinaryMessage, c.frame)
					_, _, err := ws.ReadMessage()
					if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
						code <- closed.Code
					}
				})
				r.after(time.Second)
				r.cancel()
				if got := <-code; got != c.code {
					t.Errorf("close code %d, want %d", got, c.code)
				}
			})
		})
	}
}

func TestOnConnectRunsBeforeTheFirstFrameAndMaySendUsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *run
		var before []int // what was delivered when OnConnect had taken its time
		ready := make(chan struct{})
		r = start(t, firehose.Config{OnConnect: func(context.Context) error {
			<-ready
			time.Sleep(10 * time.Second)
			r.mu.Lock()
			defer r.mu.Unlock()
			before = append(before, len(r.items))
			if !r.consumer.Connected() {
				t.Error("not connected")
			}
			if len(before) == 1 {
				return errors.New("not yet")
			}
			return nil
		}}, send(identity(1)), send(identity(2)))
		close(ready)
		wantItems(t, r.after(10*time.Minute), at(2))
		if !slices.Equal(before, []int{0, 0, 1}) {
			t.Errorf("delivered before each OnConnect: %v", before)
		}
	})
}

func TestAConfigThatMakesNoSenseIsRefused(t *testing.T) {
	for _, base := range []string{
		"", "relay.test", "ftp://relay.test", "https://", "https://user:secret@relay.test", "https://relay.test/path",
		"https://relay.test?cursor=5", "https://relay.test#a", "https://relay.test:x", "https://a:secret@relay.test:x",
		"ftp://a:secret@relay.test",
	} {
		_, err := firehose.New(firehose.Config{URL: base})
		if err == nil {
			t.Errorf("%q was accepted", base)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	for _, cursor := range []int64{-1, event.MaxSeq + 1} {
		if _, err := firehose.New(firehose.Config{URL: "wss://relay.test", Cursor: cursor}); err == nil {
			t.Errorf("cursor %d was accepted", cursor)
		}
	}
}
