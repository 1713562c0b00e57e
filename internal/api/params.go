package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

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

// nsidsOf checks the collections that a parameter names, and returns each once.
func nsidsOf(name string, values []string) ([]string, error) {
	if len(values) > maxCollections {
		return nil, badRequest("%s: given %d times, at most %d", name, len(values), maxCollections)
	}
	for _, v := range values {
		if _, err := atproto.ParseNSID(v); err != nil {
			return nil, badRequest("%s %q: not an NSID", name, atproto.Clip(v))
		}
	}
	nsids := slices.Clone(values)
	slices.Sort(nsids)
	return slices.Compact(nsids), nil
}
