package outbound

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"

	"railyard/internal/refusal"
)

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func TestAPublicHostIsAskedOverHTTPSAtItsCheckedAddress(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.UserAgent(), " ", r.Header.Get("Accept"), " ", r.Host)
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	c := n.client(t, Config{UserAgent: "railyard/1"})
	status, body, err := get(t, c, Request{URL: "https://pds.example.com/x", Accept: "text/x"})
	if err != nil || status != 200 || body != "railyard/1 text/x pds.example.com" {
		t.Errorf("got %d %q %v", status, body, err)
	}
	if got := n.dials(); !slices.Equal(got, []string{"8.8.8.8:443"}) {
		t.Errorf("dialled %v", got)
	}
}

func TestTheGuardStopsURLsThatAreNotPublicHTTPSOnPort443(t *testing.T) {
	urls := []string{
		"http://pds.example.com/", "http://pds.example.com:443/", "https://pds.example.com:80/", "https://pds.example.com:8443/",
		"https://pds.example.com:0443/", "https://user:secret@pds.example.com/", "ftp://pds.example.com/", "file:///etc/passwd",
		"gopher://pds.example.com/", "https:///x", "https:opaque", "https://pds.example.com:x/", "://", "",
		"https://127.0.0.1/", "https://10.1.2.3/", "https://169.254.169.254/latest/meta-data",
		"https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "https://[fd00::1]/",
		"https://[64:ff9b::7f00:1]/", "https://[::]/", "https://0.0.0.0/",
		"https://localhost/", "https://loop.example.com/", "https://meta.example.com/",
		"https://ula.example.com/", "https://mapped.example.com/", "https://cgnat.example.com/",
		"https://LOOP.example.com./",
	}
	n := newNetwork(t, say("reached"))
	n.at("pds.example.com", []string{"8.8.8.8"})
	n.at("localhost", []string{"127.0.0.1", "::1"})
	n.at("loop.example.com", []string{"127.0.0.1"})
	n.at("meta.example.com", []string{"169.254.169.254"})
	n.at("ula.example.com", []string{"fd00::1"})
	n.at("mapped.example.com", []string{"::ffff:10.0.0.1"})
	n.at("cgnat.example.com", []string{"100.64.0.1"})
	c := n.client(t, Config{})
	for _, url := range urls {
		_, _, err := get(t, c, Request{URL: url})
		if reason, _ := refusal.ReasonOf(err); reason != refusal.ForbiddenAddress {
			t.Errorf("%q: got %v", url, err)
		}
	}
	if got := n.dials(); got != nil {
		t.Errorf("dialled %v", got)
	}
}

func TestOfPublicAndPrivateAddressesOnlyThePublicOnesAreDialled(t *testing.T) {
	n := newNetwork(t, say("reached"))
	n.at("pds.example.com", []string{"10.0.0.1", "8.8.8.8", "::1", "1.1.1.1", "127.0.0.1"})
	n.down["8.8.8.8:443"] = true
	_, body, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/"})
	if err != nil || body != "reached" {
		t.Errorf("got %q %v", body, err)
	}
	if got := n.dials(); !slices.Equal(got, []string{"8.8.8.8:443", "1.1.1.1:443"}) {
		t.Errorf("dialled %v", got)
	}
}

func TestANameThatTurnsPrivateIsNotDialledAgain(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
	n.at("pds.example.com", []string{"8.8.8.8"}, []string{"192.168.0.1"})
	c := n.client(t, Config{})
	if _, _, err := get(t, c, Request{URL: "https://pds.example.com/"}); err != nil {
		t.Fatal(err)
	}
	_, _, err := get(t, c, Request{URL: "https://pds.example.com/"})
	wantReason(t, err, refusal.ForbiddenAddress)
	if got := n.dials(); !slices.Equal(got, []string{"8.8.8.8:443"}) {
		t.Errorf("dialled %v", got)
	}
}

func TestAnswersOfTheResolverAreTriedOnlyInBoundedNumber(t *testing.T) {
	n := newNetwork(t, say(""))
	var many []string
	for i := range 200 {
		addr := fmt.Sprintf("8.8.4.%d", i)
		many = append(many, addr)
		n.down[addr+":443"] = true
	}
	n.at("pds.example.com", many)
	_, _, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/"})
	if _, refused := refusal.ReasonOf(err); err == nil || refused {
		t.Errorf("got %v, want a plain failure", err)
	}
	if got := len(n.dials()); got != maxAddresses {
		t.Errorf("dialled %d addresses", got)
	}
}

func TestANameWithoutAddressIsAFailureAndNoRefusal(t *testing.T) {
	n := newNetwork(t, say(""))
	_, _, err := get(t, n.client(t, Config{}), Request{URL: "https://nobody.example.com/"})
	if _, refused := refusal.ReasonOf(err); err == nil || refused {
		t.Errorf("got %v", err)
	}
}

func TestRedirectsAreCheckedAgain(t *testing.T) {
	cases := []struct {
		name, to string
		want     refusal.Reason // empty: reached
	}{
		{"to another public host", "https://other.example.com/end", ""},
		{"to a path", "/end", ""},
		{"to http", "http://other.example.com/end", refusal.ForbiddenAddress},
		{"to http on port 443", "http://other.example.com:443/end", refusal.ForbiddenAddress},
		{"to another port", "https://other.example.com:8443/end", refusal.ForbiddenAddress},
		{"to a loopback address", "https://127.0.0.1/end", refusal.ForbiddenAddress},
		{"to the metadata service", "https://169.254.169.254/end", refusal.ForbiddenAddress},
		{"to a private name", "https://private.example.com/end", refusal.ForbiddenAddress},
		{"to a file", "file:///etc/passwd", refusal.ForbiddenAddress},
		{"with credentials", "https://user@other.example.com/end", refusal.ForbiddenAddress},
		{"to a host of the operator", "https://plc.example.com/end", refusal.ForbiddenAddress},
		{"to a host of the operator over http", "http://plc.example.com:2582/end", refusal.ForbiddenAddress},
		{"in a loop", "/start", refusal.AnswerInvalid},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/start" {
					w.Header().Set("Location", tc.to)
					w.WriteHeader(http.StatusFound)
					return
				}
				fmt.Fprint(w, "end")
			})
			n.at("pds.example.com", []string{"8.8.8.8"})
			n.at("other.example.com", []string{"1.1.1.1"})
			n.at("private.example.com", []string{"10.0.0.1"})
			n.at("plc.example.com", []string{"10.0.0.2"})
			c := n.client(t, Config{Exempt: []string{"plc.example.com:443", "plc.example.com:2582"}})
			_, body, err := get(t, c, Request{URL: "https://pds.example.com/start"})
			if tc.want == "" {
				if err != nil || body != "end" {
					t.Errorf("got %q %v", body, err)
				}
				return
			}
			wantReason(t, err, tc.want)
			for _, addr := range n.dials() {
				if addr != "8.8.8.8:443" {
					t.Errorf("dialled %s", addr)
				}
			}
		})
	}
}

func TestThreeRedirectsAreFollowedAndNotFour(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		if left, _ := strconv.Atoi(r.URL.Path[1:]); left > 0 {
			http.Redirect(w, r, fmt.Sprintf("/%d", left-1), http.StatusFound)
			return
		}
		fmt.Fprint(w, "end")
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	c := n.client(t, Config{})
	for hops, want := range map[int]refusal.Reason{3: "", 4: refusal.AnswerInvalid} {
		_, _, err := get(t, c, Request{URL: fmt.Sprintf("https://pds.example.com/%d", hops)})
		if reason, _ := refusal.ReasonOf(err); reason != want || (want == "" && err != nil) {
			t.Errorf("%d hops: %v", hops, err)
		}
	}
}

func TestTheWordOfTheOperatorHoldsForExactlyThatHostAndPort(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "https://pds.example.com/", http.StatusFound)
			return
		}
		fmt.Fprint(w, "reached")
	})
	n.at("plc.example.com", []string{"10.0.0.1"})
	n.at("pds.example.com", []string{"8.8.8.8"})
	c := n.client(t, Config{Exempt: []string{"PLC.example.com:2582"}})
	for url, want := range map[string]bool{
		"http://plc.example.com:2582/":      true,
		"http://Plc.Example.com:2582/":      true,
		"http://plc.example.com:2582/away":  true, // the operator's host may send us anywhere
		"http://plc.example.com:2583/":      false,
		"https://plc.example.com/":          false,
		"http://plc.example.com/":           false,
		"http://10.0.0.1:2582/":             false,
		"http://plc.example.com.evil:2582/": false,
	} {
		_, body, err := get(t, c, Request{URL: url})
		if reached := body == "reached"; reached != want {
			t.Errorf("%s: reached %v, %v", url, reached, err)
		}
		if !want {
			wantReason(t, err, refusal.ForbiddenAddress)
		}
	}
}

func TestDevelopmentLiftsTheGuardButNotTheDowngrade(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, "http://pds.test:2583/", http.StatusFound)
			return
		}
		fmt.Fprint(w, "reached")
	})
	n.at("pds.test", []string{"127.0.0.1"})
	n.at("pds.example.com", []string{"127.0.0.1"})
	c := n.client(t, Config{AllowPrivate: true})
	if _, body, err := get(t, c, Request{URL: "http://pds.test:2583/"}); err != nil || body != "reached" {
		t.Errorf("got %q %v", body, err)
	}
	_, _, err := get(t, c, Request{URL: "https://pds.example.com/down"})
	wantReason(t, err, refusal.ForbiddenAddress)
}

func TestTheProxyOfTheEnvironmentIsNotAsked(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	n := newNetwork(t, say("reached"))
	if c := n.client(t, Config{}); c.transport.Proxy != nil {
		t.Error("the transport has a proxy")
	}
}

func TestCookiesAreNotKept(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" {
			t.Error("a cookie came back")
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		if r.URL.Path == "/1" {
			http.Redirect(w, r, "/2", http.StatusFound)
		}
	})
	n.at("pds.example.com", []string{"8.8.8.8"})
	if _, _, err := get(t, n.client(t, Config{}), Request{URL: "https://pds.example.com/1"}); err != nil {
		t.Error(err)
	}
}

// Backfill asks about a thousand hosts in turns.
func TestAThousandHostsKeepTheirConnections(t *testing.T) {
	n := newNetwork(t, func(http.ResponseWriter, *http.Request) {})
	c := n.client(t, Config{AllowPrivate: true})
	for range 2 {
		for i := range 1000 {
			name := fmt.Sprintf("h%d.example.com", i)
			n.at(name, []string{"8.8.8.8"})
			if _, _, err := get(t, c, Request{URL: "http://" + name}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if dials := len(n.dials()); dials != 1000 {
		t.Errorf("%d connections for a thousand hosts", dials)
	}
}

func TestAURLGivesItsHostAndPort(t *testing.T) {
	for url, want := range map[string]string{
		"https://plc.directory":     "plc.directory:443",
		"wss://Relay.example.com/x": "relay.example.com:443",
		"ws://localhost":            "localhost:80",
		"http://127.0.0.1:2582/":    "127.0.0.1:2582",
		"https://[::1]:8443":        "[::1]:8443",
	} {
		if got, err := HostPort(url); err != nil || got != want {
			t.Errorf("%s: got %q %v", url, got, err)
		}
	}
	for _, url := range []string{"", "plc.directory", "https://", "http://%zz"} {
		if got, err := HostPort(url); err == nil {
			t.Errorf("%q: got %q", url, got)
		}
	}
}
