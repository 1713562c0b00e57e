package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// dial opens a firehose; query is what stands behind the question mark.
func (p *plugged) dial(t testing.TB, base, query string) *websocket.Conn {
	t.Helper()
	conn, _, err := p.open(base, query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (p *plugged) open(base, query string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{NetDialContext: p.pipes.Dial}
	return d.Dial("ws"+strings.TrimPrefix(base, "http")+"/xrpc/com.atproto.sync.subscribeRepos?"+query, nil)
}

// follower reads a firehose, each message in a few words.
type follower struct {
	t    testing.TB
	conn *websocket.Conn
	got  []string // read it through text
	done chan struct{}
}

func (p *plugged) follow(t testing.TB, base, query string) *follower {
	t.Helper()
	f := &follower{t: t, conn: p.dial(t, base, query), done: make(chan struct{})}
	f.run()
	return f
}

func (f *follower) run() {
	go func() {
		defer close(f.done)
		for f.read() {
		}
	}()
	f.t.Cleanup(func() {
		_ = f.conn.Close()
		<-f.done
	})
}

func (f *follower) read() bool {
	kind, frame, err := f.conn.ReadMessage()
	if err != nil {
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			f.got = append(f.got, fmt.Sprintf("closed %d", closed.Code))
		}
		return false
	}
	if kind != websocket.BinaryMessage {
		f.t.Error("a text message")
	}
	name, op, body := decodeFrame(f.t, frame)
	switch {
	case op == -1:
		f.got = append(f.got, fmt.Sprint("error ", body["error"]))
	case name == "#info":
		f.got = append(f.got, fmt.Sprint("info ", body["name"]))
	default:
		f.got = append(f.got, fmt.Sprint(body["seq"]))
	}
	return true
}

// text returns what came, once everything in the bubble is idle.
func (f *follower) text() string {
	synctest.Wait()
	return strings.Join(f.got, " ")
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func TestCursorsMeanWhatTheyMeanOnRealServers(t *testing.T) {
	rows := []struct {
		name, query, pds, relay string
	}{
		{"no cursor", "", "21 22", "21 22"},
		{"empty cursor", "cursor=", "21 22", "21 22"},
		{"inside the window", "cursor=17", "18 19 20 21 22", "18 19 20 21 22"},
		{"the last event", "cursor=20", "21 22", "21 22"},
		{"the oldest event that is left, less one", "cursor=12", "13 14 15 16 17 18 19 20 21 22", "13 14 15 16 17 18 19 20 21 22"},
		{"the newest event that is lost, less one", "cursor=11", "info OutdatedCursor 13 14 15 16 17 18 19 20 21 22", "13 14 15 16 17 18 19 20 21 22"},
		{"before the window", "cursor=5", "info OutdatedCursor 13 14 15 16 17 18 19 20 21 22", "13 14 15 16 17 18 19 20 21 22"},
		{"negative", "cursor=-5", "info OutdatedCursor 13 14 15 16 17 18 19 20 21 22", "13 14 15 16 17 18 19 20 21 22"},
		{"zero", "cursor=0", "info OutdatedCursor 13 14 15 16 17 18 19 20 21 22", "13 14 15 16 17 18 19 20 21 22"},
		{"in the future", "cursor=21", "error FutureCursor closed 1008", "21 22"},
		{"no number", "cursor=x", "error InvalidRequest closed 1008", "refused"},
	}
	for _, row := range rows {
		for _, side := range []string{"PDS", "relay"} {
			t.Run(side+", "+row.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := plug(t, Config{Seed: 1, Relay: true, ReplayWindow: 8})
					did := p.mustCreate(t, 0)
					for range 16 {
						do(t, p.EmitIdentity(did))
					}
					base, want := p.PDS(0), row.pds
					if side == "relay" {
						base, want = p.Relay(), row.relay
					}
					if want == "refused" {
						_, resp, err := p.open(base, row.query)
						if err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
							t.Errorf("%v, want a refusal before the upgrade", err)
						}
						return
					}
					f := p.follow(t, base, row.query)
					synctest.Wait()
					do(t, p.EmitIdentity(did), p.EmitIdentity(did))
					if got := f.text(); got != want {
						t.Errorf("%q, want %q", got, want)
					}
				})
			})
		}
	}
}

func TestDeletedAccountsLeaveAGapOnThePDSOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, Relay: true})
		gone := p.mustCreate(t, 0)
		p.mustCreate(t, 0)
		do(t, p.DeleteAccount(gone))
		for _, cursor := range []string{"cursor=0", "cursor=-5"} {
			if got := p.follow(t, p.PDS(0), cursor).text(); got != "5 6 7 8 9" {
				t.Errorf("PDS, %s: %s", cursor, got)
			}
		}
		if got := p.follow(t, p.Relay(), "cursor=0").text(); got != "1 2 3 4 5 6 7 8 9" {
			t.Errorf("relay: %s", got)
		}
	})
}

func TestRelayMergesEveryPDSUnderItsOwnSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, PDS: 3, Relay: true, Accounts: 9, Records: 8})
		f := p.follow(t, p.Relay(), "cursor=0")
		live(t, p.Network, 50)
		got := strings.Fields(f.text())
		last := p.LastSeq("relay")
		if int64(len(got)) != last || got[len(got)-1] != fmt.Sprint(last) {
			t.Errorf("%d events, last %s, want %d", len(got), got[len(got)-1], last)
		}
		if sum := p.LastSeq("pds1") + p.LastSeq("pds2") + p.LastSeq("pds3"); sum != last {
			t.Errorf("the PDSes sent %d events, the relay %d", sum, last)
		}
	})
}

func TestSlowConsumerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, ReplayWindow: 100})
		did := p.mustCreate(t, 0)
		conn := p.dial(t, p.PDS(0), "")
		synctest.Wait()
		for range 500 {
			do(t, p.EmitIdentity(did))
			synctest.Wait()
		}
		f := &follower{t: t, conn: conn, done: make(chan struct{})}
		f.run()
		if got := f.text(); got != "5 error ConsumerTooSlow closed 1008" {
			t.Errorf("the stream is %s", got)
		}
	})
}

func TestDisconnectCutsAndDownRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1})
		did := p.mustCreate(t, 0)
		f := p.follow(t, p.PDS(0), "cursor=3")
		synctest.Wait()
		p.Disconnect("pds1")
		if got := f.text(); got != "4 closed 1006" {
			t.Errorf("after Disconnect: %s", got)
		}
		f = p.follow(t, p.PDS(0), "")
		synctest.Wait()
		p.SetDown("pds1", true)
		if got := f.text(); got != "closed 1006" {
			t.Errorf("after SetDown: %q", got)
		}
		if _, err := p.client.Get(p.PDS(0) + "/xrpc/_health"); err == nil {
			t.Error("a host that is down answers")
		}
		if _, _, err := p.open(p.PDS(0), ""); err == nil {
			t.Error("a host that is down takes subscribers")
		}
		do(t, p.EmitIdentity(did))
		p.SetDown("pds1", false)
		if got := p.follow(t, p.PDS(0), "cursor=4").text(); got != "5" {
			t.Errorf("after the return: %s", got)
		}
	})
}

// The bubble would not end with a goroutine of the network left in it.
func TestCloseEndsConnectionsAndServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, PDS: 2, Relay: true, Accounts: 3, Records: 8})
		followers := []*follower{p.follow(t, p.PDS(0), ""), p.follow(t, p.PDS(1), "cursor=0"), p.follow(t, p.Relay(), "")}
		stuck := p.dial(t, p.Relay(), "cursor=0") // whose client never reads
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for i, f := range followers {
			if got := f.text(); !strings.HasSuffix(got, "closed 1006") {
				t.Errorf("follower %d: %s", i, got)
			}
		}
		_ = stuck.Close()
		if _, _, err := p.open(p.Relay(), ""); err == nil {
			t.Error("a closed network takes subscribers")
		}
	})
}

func TestCloseWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1})
		var ended atomic.Bool
		p.SetHook("pds1", Hook{HTTP: func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			time.Sleep(time.Minute) // of the bubble's time: an answer that is slow to end
			ended.Store(true)
			return true
		}})
		asked := make(chan error, 1)
		go func() {
			resp, err := p.client.Get(p.PDS(0) + "/xrpc/_health")
			if err == nil {
				_ = resp.Body.Close()
			}
			asked <- err
		}()
		synctest.Wait()
		if err := p.Close(); err != nil || !ended.Load() {
			t.Errorf("Close returned before the handler (%v)", err)
		}
		if err := <-asked; err == nil {
			t.Error("a closed host answered")
		}
	})
}

func TestFaultsAlterAnswersAndFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1})
		p.mustCreate(t, 0)
		seen := 0
		p.SetHook("pds1", Hook{
			HTTP: func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "getRepo") {
					w.WriteHeader(http.StatusTooManyRequests)
					return true
				}
				return false
			},
			Frame: func(frame []byte) [][]byte {
				seen++
				switch seen {
				case 1:
					return nil
				case 2:
					return [][]byte{frame, frame}
				}
				return [][]byte{frame}
			},
		})
		if got := p.get(t, p.PDS(0), "/xrpc/com.atproto.sync.getRepo?did=x").status; got != http.StatusTooManyRequests {
			t.Errorf("status %d", got)
		}
		if got := p.get(t, p.PDS(0), "/xrpc/_health").status; got != http.StatusOK {
			t.Errorf("status %d where the fault does nothing", got)
		}
		if got := p.follow(t, p.PDS(0), "cursor=0").text(); got != "2 2 3 4" {
			t.Errorf("frames %s", got)
		}
		p.SetHook("pds1", Hook{})
		if got := p.follow(t, p.PDS(0), "cursor=0").text(); got != "1 2 3 4" {
			t.Errorf("frames %s after the fault", got)
		}
	})
}

func TestServerPingsSilentConnectionsAndAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1, Relay: true})
		conn := p.dial(t, p.Relay(), "")
		pings, pongs := 0, 0
		answer := conn.PingHandler()
		conn.SetPingHandler(func(text string) error {
			pings++
			return answer(text)
		})
		conn.SetPongHandler(func(string) error {
			pongs++
			return nil
		})
		sent := make(chan error, 1)
		go func() { sent <- conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) }()
		_ = conn.SetReadDeadline(time.Now().Add(65 * time.Second))
		if _, _, err := conn.ReadMessage(); !isTimeout(err) {
			t.Errorf("read: %v", err)
		}
		if err := <-sent; err != nil || pings != 2 || pongs != 1 {
			t.Errorf("%d pings and %d pongs in 65 seconds (%v)", pings, pongs, err)
		}
	})
}

// Who comes first is a matter of luck: one moment in twenty or so was bad for both.
func TestTwoSidesThatPingAtOneMomentStayConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plug(t, Config{Seed: 1})
		f := p.follow(t, p.PDS(0), "")
		synctest.Wait()
		for i := range 500 {
			time.Sleep(pingInterval)
			err := f.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second))
			if got := f.text(); err != nil || got != "" {
				t.Fatalf("ping %d: %v, the stream is %s", i, err, got)
			}
		}
	})
}

func TestPipesRefuseUnknownHostsAndFindKnownOnes(t *testing.T) {
	p := NewPipes()
	l, err := p.Listen("pds1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Listen("pds1"); err == nil {
		t.Error("one name listens twice")
	}
	accepted := make(chan error, 8)
	go func() {
		for {
			conn, err := l.Accept()
			accepted <- err
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	addrs, err := p.Lookup(t.Context(), "PDS1.sim.test")
	if err != nil || len(addrs) != 1 {
		t.Fatalf("lookup: %v, %v", addrs, err)
	}
	for _, address := range []string{"pds1.sim.test:80", "PDS1.sim.test:80", addrs[0].String() + ":80"} {
		conn, err := p.Dial(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		if err := <-accepted; err != nil || conn.RemoteAddr().String() != "pds1.sim.test:80" {
			t.Errorf("%s: remote %s (%v)", address, conn.RemoteAddr(), err)
		}
		_ = conn.Close()
	}
	if _, err := p.Dial(t.Context(), "tcp", "pds1.sim.test:81"); err == nil {
		t.Error("port 81 connects")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	for _, address := range []string{"pds1.sim.test:80", "pds2.sim.test:80", "10.0.0.1:80", "nonsense"} {
		if _, err := p.Dial(t.Context(), "tcp", address); err == nil {
			t.Errorf("%s: connected", address)
		}
	}
	if _, err := p.Lookup(t.Context(), "pds1.sim.test"); err == nil {
		t.Error("a host that is gone has an address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Listen("deaf"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Dial(ctx, "tcp", "deaf.sim.test:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("dial with a cancelled context: %v", err)
	}
}

func TestLoopbackServesTheSameNetwork(t *testing.T) {
	n := quiet(t, Config{Seed: 1, Accounts: 3, Relay: true, Records: 8, Listen: func(string) (net.Listener, error) {
		return net.Listen("tcp", "127.0.0.1:0")
	}})
	p := &plugged{Network: n, client: http.DefaultClient}
	var d document
	p.get(t, n.PLC(), "/"+n.DIDs()[0]).json(t, &d)
	if d.Services[0].Endpoint != n.PDS(0) || !strings.HasPrefix(n.PDS(0), "http://127.0.0.1:") {
		t.Errorf("endpoint %s, PDS %s", d.Services[0].Endpoint, n.PDS(0))
	}
	var page repoPage
	p.get(t, n.Relay(), "/xrpc/com.atproto.sync.listRepos").json(t, &page)
	if len(page.Repos) != 3 {
		t.Errorf("%d repos", len(page.Repos))
	}
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(n.Relay(), "http")+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := int64(1); i <= n.LastSeq("relay"); i++ {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, body := decodeFrame(t, frame); body["seq"] != i {
			t.Fatalf("seq %v, want %d", body["seq"], i)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
