package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answer asks for what must be there, and reads it.
func (x *index) answer(target string, into any) {
	x.Helper()
	w := x.ask(http.MethodGet, target)
	if w.Code != http.StatusOK {
		x.Fatalf("%s: status %d: %s", target, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		x.Fatal(err)
	}
}

func TestCountSaysWhatEachHasAndHowManyTogether(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts, likes)
	x.establish(didOf(2), posts)
	x.establish(didOf(3), lists)
	var got countAnswer
	x.answer("/v1/count?distinct=true&collection=app.bsky.feed.*&collection="+lists+"&collection="+lists+"&collection=com.example.never", &got)
	want := []countOf{{"app.bsky.feed.*", 3, 2}, {lists, 1, 1}, {"com.example.never", 0, 0}}
	if len(got.Counts) != len(want) || got.Distinct == nil || *got.Distinct != 3 {
		t.Fatalf("answer %+v", got)
	}
	for i := range want {
		if got.Counts[i] != want[i] {
			t.Errorf("%+v, want %+v", got.Counts[i], want[i])
		}
	}
	if got.Coverage != (coverage{Listed: 3, Synchronized: 3}) {
		t.Errorf("coverage %+v", got.Coverage)
	}
	if body := x.ask("GET", "/v1/count?distinct=false&collection="+posts).Body.String(); strings.Contains(body, "distinct") {
		t.Errorf("distinct was not asked for: %s", body)
	}
}

func TestTimeseriesEndsWithWhatThereIs(t *testing.T) {
	x := newIndex(t)
	x.establish(didOf(1), posts, likes)
	x.establish(didOf(2), posts)
	x.kill(didOf(2), posts)
	for _, c := range []struct {
		query                   string
		members, births, deaths int64
	}{
		{"collection=" + posts, 1, 2, 1},
		{"collection=" + likes + "&step=day", 1, 1, 0},
		{"", 2, 2, 0},
		{"to=9999-12-31T23:59:59Z&from=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), 2, 2, 0},
	} {
		var got timeseriesAnswer
		x.answer("/v1/timeseries?"+c.query, &got)
		n := len(got.Steps)
		if n == 0 || n > 2 || got.Since == nil || *got.Since != got.Steps[0].Start { // 2: the hour has changed meanwhile
			t.Fatalf("%s: %+v", c.query, got)
		}
		var births, deaths int64
		for _, s := range got.Steps {
			births, deaths = births+s.Births, deaths+s.Deaths
		}
		if got.Steps[n-1].Members != c.members || births != c.births || deaths != c.deaths {
			t.Errorf("%s: %+v", c.query, got.Steps)
		}
	}
	if body := x.ask("GET", "/v1/timeseries?collection=com.example.never").Body.String(); !strings.Contains(body, `"since":null,"steps":[]`) {
		t.Errorf("unknown: %s", body)
	}
}

func TestCountsAndTimeseriesRefuse(t *testing.T) {
	x := newIndex(t)
	for _, c := range []struct{ query, says string }{
		{"count", "collection: missing"},
		{"count?collection=", `collection ""`},
		{"count?collection=*", `collection "*"`},
		{"count?collection=app.*", `collection "app.*"`},
		{"count?" + strings.Repeat("collection="+posts+"&", 101), "collection: given 101 times"},
		{"count?collection=" + posts + "&distinct=1", `distinct "1"`},
		{"count?collection=" + posts + "&distinct=true&distinct=true", "distinct: given 2 times"},
		{"count?collection=%zz", "query"},
		{"timeseries?collection=", `collection ""`},
		{"timeseries?collection=app.bsky.*", `collection "app.bsky.*"`},
		{"timeseries?collection=" + posts + "&collection=" + posts, "collection: given 2 times"},
		{"timeseries?step=week", `step "week"`},
		{"timeseries?step=hour&step=hour", "step: given 2 times"},
		{"timeseries?from=yesterday", `from "yesterday"`},
		{"timeseries?from=2026-01-01", `from "2026-01-01"`},
		{"timeseries?to=" + strings.Repeat("2", 9000), `to "2222`},
		{"timeseries?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z", "more than 2000 steps"},
		{"timeseries?from=0001-01-01T00:00:00Z&step=day", "more than 2000 steps"},
		{"timeseries?from=2021-01-01T00:00:00Z&to=2020-01-01T00:00:00Z", "after to"},
		{"timeseries?from=9999-01-01T00:00:00Z", "after to"},
		{"timeseries?from=2026-13-01T00:00:00Z", "from"},
	} {
		message := x.refused(x.ask("GET", "/v1/"+c.query), 400, "InvalidRequest")
		if !strings.Contains(message, c.says) || len(message) > 300 {
			t.Errorf("%.60q: message %q", c.query, message)
		}
	}
}
