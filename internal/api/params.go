package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"railyard/internal/atproto"
)

const (
	defaultLimit   = 500
	maxLimit       = 10_000
	maxCollections = 100 // of one query
)

// paramsOf reads the query of a request. Without a part that cannot be read it
// would be another question.
func paramsOf(r *http.Request) (url.Values, error) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("query: %v", err)
	}
	return params, nil
}

// single returns the value of a parameter that may come once, "" if it is missing.
func single(params url.Values, name string) (string, error) {
	if n := len(params[name]); n > 1 {
		return "", badRequest("%s: given %d times", name, n)
	}
	return params.Get(name), nil
}

func limitOf(params url.Values) (int, error) { return limitWithin(params, defaultLimit, maxLimit) }

// limitWithin reads the length of a page: standard if none is given, most at most.
func limitWithin(params url.Values, standard, most int) (int, error) {
	text, err := single(params, "limit")
	if err != nil {
		return 0, err
	}
	if text == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badRequest("limit %q: not a whole number", atproto.Clip(text))
	}
	if n < 1 || n > most {
		return 0, badRequest("limit %d: not between 1 and %d", n, most)
	}
	return n, nil
}

// boolOf reads a parameter that is true or false, which it is if it is missing.
func boolOf(params url.Values, name string) (bool, error) {
	text, err := single(params, name)
	if err == nil && text != "" && text != "true" && text != "false" {
		err = badRequest("%s %q: neither true nor false", name, atproto.Clip(text))
	}
	return text == "true", err
}

// timeOf reads a time as of RFC 3339, standard if none is given.
func timeOf(params url.Values, name string, standard time.Time) (time.Time, error) {
	text, err := single(params, name)
	if err != nil || text == "" {
		return standard, err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, badRequest("%s %q: no time as of RFC 3339", name, atproto.Clip(text))
	}
	return t, nil
}

// nsidsOf checks the collections that a parameter names, and returns each once.
func nsidsOf(name string, values []string) ([]string, error) {
	return namesOf(name, values, func(v string) error {
		if !atproto.IsNSID(v) {
			return badRequest("%s %q: not an NSID", name, atproto.Clip(v))
		}
		return nil
	})
}

// patternsOf is nsidsOf where "app.example.*" may stand for the collections that begin
// so. The name before the star has two segments at least, as that of an authority has.
func patternsOf(name string, values []string) ([]string, error) {
	return namesOf(name, values, func(v string) error {
		switch prefix, pattern := strings.CutSuffix(v, ".*"); {
		case v == "*":
			return badRequest(`%s "*": all repos are listed where no %s is given`, name, name)
		case pattern && !atproto.IsNSID(prefix+".x"):
			return badRequest("%s %q: not an NSID, nor two segments or more of one with .* behind them", name, atproto.Clip(v))
		case !pattern && !atproto.IsNSID(v):
			return badRequest("%s %q: not an NSID", name, atproto.Clip(v))
		}
		return nil
	})
}

// namesOf checks what a parameter names, and returns each once.
func namesOf(name string, values []string, check func(string) error) ([]string, error) {
	if len(values) > maxCollections {
		return nil, badRequest("%s: given %d times, at most %d", name, len(values), maxCollections)
	}
	for _, v := range values {
		if err := check(v); err != nil {
			return nil, err
		}
	}
	names := slices.Clone(values)
	slices.Sort(names)
	return slices.Compact(names), nil
}
