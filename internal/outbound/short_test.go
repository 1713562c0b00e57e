package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever runs out of descriptors or memory, the request says so.
func TestShort(t *testing.T) {
	socket := func(e syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", e)}
	}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"descriptors of the process": {socket(syscall.EMFILE), true},
		"descriptors of the machine": {socket(syscall.ENFILE), true},
		"memory":                     {socket(syscall.ENOMEM), true},
		"buffers":                    {fmt.Errorf("a: %w", errors.Join(io.EOF, socket(syscall.ENOBUFS))), true},
		"the resolver":               {&net.DNSError{Err: "dial udp 10.0.0.1:53: socket: too many open files", Name: "a.example.com"}, true},
		"our own bound":              {errNoSlot, true},
		"refused":                    {socket(syscall.ECONNREFUSED), false},
		"no such host":               {&net.DNSError{Err: "no such host", Name: "too many open files.example.com"}, false},
		"a host's words":             {errors.New("too many open files"), false},
	} {
		if got := Short(c.err); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A client whose dials fail for lack of descriptors says so, in its errors and for a
// while after them.
func TestAClientSaysWhatItLacks(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	c := New(Config{AllowPrivate: true, Dial: dial, MaxConns: 1})
	defer c.Close()
	if why := c.Short(); why != "" {
		t.Errorf("before: %q", why)
	}
	for range 3 { // and no slot is lost
		if _, err := c.Get(t.Context(), Request{URL: "http://a.test/"}); !Short(err) || errors.Is(err, errNoSlot) {
			t.Errorf("%v", err)
		}
	}
	if why := c.Short(); !strings.Contains(why, "too many open files") {
		t.Errorf("after: %q", why)
	}
}

// A request that was not sent for lack of a connection says so, whichever bound of its time
// ends first; the host was not asked.
func TestAWaitForAConnectionIsNoSlowAnswer(t *testing.T) {
	for name, r := range map[string]Request{
		"of the wait":     {},
		"of the exchange": {Timeout: slotWait / 2},
		"of the headers":  {HeaderTimeout: slotWait / 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := New(Config{AllowPrivate: true, MaxConns: 1})
				c.slots.free <- struct{}{} // another connection
				r.URL = "http://a.test/"
				if _, err := c.Get(t.Context(), r); !Short(err) {
					t.Errorf("%v", err)
				}
				if c.Short() == "" {
					t.Error("the client does not say it")
				}
				ctx, cancel := context.WithTimeout(t.Context(), slotWait/4)
				defer cancel()
				if _, err := c.Get(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the end of the caller's context: %v", err)
				}
				time.Sleep(slotWait) // dials go on without their requests
			})
		})
	}
}

// As many connections as are allowed are open; one more waits until another one is
// closed, and an idle one is.
func TestConnectionsAreBounded(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "yes") })
	n.names["a.example.com"] = [][]string{{"93.184.216.34"}}
	n.names["b.example.com"] = [][]string{{"93.184.216.35"}}
	c := n.client(t, Config{MaxConns: 1})
	get := func(host string) (*Response, error) {
		return c.Get(t.Context(), Request{URL: "https://" + host + "/"})
	}
	first, err := get("a.example.com")
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		resp, err := get("b.example.com")
		if err == nil {
			_, err = resp.ReadAll()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	_ = first.Body.Close() // not read to its end: the connection ends
	if err := <-second; err != nil {
		t.Error(err)
	}
	resp, err := get("a.example.com") // the other one is idle
	if err != nil {
		t.Fatal(err)
	}
	_, _ = resp.ReadAll()
}
