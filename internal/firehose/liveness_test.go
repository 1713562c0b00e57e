package firehose_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"railyard/internal/firehose"

	"github.com/gorilla/websocket"
)

// acceptKey is the server's answer to the key of a handshake (RFC 6455, section
// 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestAQuietUpstreamThatAnswersPingsIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, firehose.Config{Cursor: 5}, quiet)
		r.after(24 * time.Hour)
		r.wantRequests("5")
		if !r.consumer.Connected() {
			t.Error("not connected")
		}
	})
}

func TestAnUpstreamThatPingsAndNeverAnswersOursIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pongs := 0
		r := start(t, firehose.Config{Cursor: 5}, func(w http.ResponseWriter, r *http.Request) {
			ws := upgrade(w, r)
			defer ws.Close()
			ws.SetPingHandler(func(string) error { return nil })
			ws.SetPongHandler(func(data string) error {
				if data == "are you there" {
					pongs++
				}
				return nil
			})
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(50 * time.Second):
						_ = ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second))
					}
				}
			}()
			drain(ws)
		})
		r.after(time.Hour)
		r.wantRequests("5")
		if pongs < 70 {
			t.Errorf("%d pongs in an hour", pongs)
		}
	})
}

func TestAnUpstreamThatIsSilentAndAnswersNoPingIsLeft(t *testing.T) {
	deaf := func(w http.ResponseWriter, r *http.Request) {
		ws := upgrade(w, r)
		defer ws.Close()
		ws.SetPingHandler(func(string) error { return nil })
		drain(ws)
	}
	dripping := func(w http.ResponseWriter, r *http.Request) {
		ws := upgrade(w, r)
		defer ws.Close()
		_, _ = ws.NetConn().Write([]byte{0x82, 10, 0xa1})
		ws.SetPingHandler(func(string) error { return nil })
		drain(ws)
	}
	for name, play := range map[string]script{"no pong": deaf, "half a message": dripping} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, firehose.Config{Cursor: 5}, play)
				r.after(30 * time.Second)
				r.wantRequests("5")
				r.after(80 * time.Second)
				r.wantRequests("5", "5")
			})
		})
	}
}

func TestAnUpstreamThatReadsNothingIsLeftThoughItSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, firehose.Config{Cursor: 5}, func(w http.ResponseWriter, r *http.Request) {
			ws := upgrade(w, r)
			defer ws.Close()
			for seq := int64(6); seq < 66; seq++ {
				_ = ws.WriteMessage(websocket.BinaryMessage, identity(seq))
				time.Sleep(time.Second)
			}
		})
		r.after(39 * time.Second)
		r.wantRequests("5")
		r.after(5 * time.Second)
		if got := r.seen(); len(got) != 2 {
			t.Errorf("requests %v", got)
		}
	})
}

func TestAnEncryptedUpstreamMustProveItsName(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate, which nobody trusts
	defer certified.Close()
	var name, addr string
	failed := make(chan error, 1)
	c, err := firehose.New(firehose.Config{URL: "https://relay.test", Dial: func(_ context.Context, _, to string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		addr = to
		go func() {
			server := tls.Server(theirs, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				name = hello.ServerName
				return certified.TLS, nil
			}})
			err := server.Handshake()
			server.Close()
			select {
			case failed <- err:
			default:
			}
		}()
		return ours, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.Run(ctx, func(context.Context, firehose.Item) error { return nil }) }()
	err = <-failed
	cancel()
	<-result
	if err == nil || name != "relay.test" || addr != "relay.test:443" {
		t.Errorf("handshake of %q at %q: %v", name, addr, err)
	}
}

func TestAnEventPutsOffTheDeathOfAnUpstreamWithoutPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, firehose.Config{Cursor: 5}, func(w http.ResponseWriter, r *http.Request) {
			ws := upgrade(w, r)
			defer ws.Close()
			ws.SetPingHandler(func(string) error { return nil })
			go drain(ws)
			for seq := int64(6); seq < 20; seq++ {
				time.Sleep(70 * time.Second)
				_ = ws.WriteMessage(websocket.BinaryMessage, identity(seq))
			}
		})
		if items := r.after(15 * time.Minute); len(items) != 12 {
			t.Errorf("%d items", len(items))
		}
		r.wantRequests("5")
	})
}

func TestRetryAfterIsHonouredWithinTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().Add(3 * time.Minute).UTC().Format(http.TimeFormat)
		r := start(t, firehose.Config{},
			answer(429, "Retry-After", "120"), answer(503, "Retry-After", date), answer(503, "Retry-After", "9223372036854775807"),
			answer(429, "Retry-After", "soon"), answer(429, "Retry-After", "-5"), quiet)
		r.after(time.Hour)
		if len(r.times) != 6 {
			t.Fatalf("%d requests", len(r.times))
		}
		for i, want := range []struct{ least, most time.Duration }{
			{120 * time.Second, 120 * time.Second}, {59 * time.Second, 60 * time.Second},
			{10 * time.Minute, 10 * time.Minute}, {0, time.Minute}, {0, time.Minute},
		} {
			if gap := r.times[i+1].Sub(r.times[i]); gap < want.least || gap > want.most {
				t.Errorf("pause %d: %v, want %v to %v", i, gap, want.least, want.most)
			}
		}
	})
}

// failing dials in vain and notes when.
type failing struct{ times []time.Time }

func (f *failing) dial(context.Context, string, string) (net.Conn, error) {
	f.times = append(f.times, time.Now())
	return nil, errors.New("refused")
}

func TestPausesDoubleUpToAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(failing)
		r := start(t, firehose.Config{Dial: f.dial})
		r.after(2 * time.Hour)
		r.cancel()
		<-r.result
		least, most := time.Minute, time.Duration(0) // once the ceiling is reached
		for i := 1; i < len(f.times); i++ {
			gap := f.times[i].Sub(f.times[i-1])
			ceiling := min(time.Second<<min(i-1, 20), time.Minute)
			if gap < ceiling/2 || gap > ceiling {
				t.Errorf("pause %d: %v, want a half to all of %v", i, gap, ceiling)
			}
			if ceiling == time.Minute {
				least, most = min(least, gap), max(most, gap)
			}
		}
		if most-least < 15*time.Second {
			t.Errorf("all pauses between %v and %v: not drawn at random", least, most)
		}
	})
}

func TestAStableMinuteForgivesEarlierFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// lasting stays open for longer than a minute, then closes.
		lasting := func(w http.ResponseWriter, r *http.Request) {
			ws := upgrade(w, r)
			defer ws.Close()
			go drain(ws)
			time.Sleep(61 * time.Second)
		}
		var scripts []script
		for range 50 {
			scripts = append(scripts, answer(500), answer(500), answer(500), answer(500), answer(500), answer(500), lasting)
		}
		r := start(t, firehose.Config{}, scripts...)
		r.after(6 * time.Hour)
		if len(r.times) != 351 {
			t.Fatalf("%d requests", len(r.times))
		}
		for i := 7; i < 350; i += 7 {
			if pause := r.times[i].Sub(r.times[i-1]) - 61*time.Second; pause < 0 || pause > 2*time.Second {
				t.Errorf("%v after a stable connection", pause)
			}
		}
	})
}

func TestAHandshakeIsBoundedInTimeAndBytes(t *testing.T) {
	t.Run("time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, firehose.Config{Cursor: 5}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			r.after(29 * time.Second)
			r.wantRequests("5")
			r.after(3 * time.Second)
			r.wantRequests("5", "5")
		})
	})
	t.Run("bytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			written := 0
			r := start(t, firehose.Config{Cursor: 5}, func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n"))
				line := append(bytes.Repeat([]byte("X-Filler: y\r\n"), 80), "X-End: y\r\n"...)
				for {
					n, err := conn.Write(line)
					written += n
					if err != nil || written > 64<<20 {
						return
					}
				}
			})
			r.after(3 * time.Second)
			if written > 2<<20 {
				t.Errorf("%s bytes of headers were read", strconv.Itoa(written))
			}
			r.wantRequests("5", "5")
		})
	})
}
