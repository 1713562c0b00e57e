package firehose

import (
	"net/http"
	"testing"
)

func TestARedirectIsToldWithItsTarget(t *testing.T) {
	for _, c := range []struct {
		e    answerError
		want string
	}{
		{answerError{status: http.StatusBadGateway}, "the upstream answered 502 Bad Gateway"},
		{answerError{status: http.StatusMovedPermanently, location: "https://relay.example.com/\x1b"},
			`the upstream answered 301 Moved Permanently to "https://relay.example.com/\x1b", which is not followed`},
	} {
		if got := c.e.Error(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestAnUpstreamWithoutASchemeIsCalledThat(t *testing.T) {
	for _, base := range []string{"relay.example.com", "relay.example.com:8080", "127.0.0.1:2470"} {
		if _, err := New(Config{URL: base}); err == nil || err.Error() != `firehose "`+base+`": no scheme: wants ws, wss, http or https, as in wss://HOST` {
			t.Errorf("%s: %v", base, err)
		}
	}
}
