package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"railyard/internal/atproto"
	"railyard/internal/listing"
	"railyard/internal/store"
)

// maxBuckets bounds the buckets whose repos are asked for at once.
const maxBuckets = 1000

type sumAnswer struct {
	Collection string `json:"collection" doc:"Its NSID; empty: all listed repos."`
	Members    int64  `json:"members" doc:"How many repos it has."`
	Digest     string `json:"digest" doc:"The sum of XXH64 >> 2 of their DIDs, modulo 2^62, in 16 hexadecimal digits."`

	Buckets *bucketsAnswer `json:"buckets,omitempty" doc:"Of one collection, where bits is given."`
}

type bucketsAnswer struct {
	Members []int64  `json:"members" doc:"How many repos each bucket has."`
	Digests []string `json:"digests" doc:"The digest of each bucket's repos, likewise."`
}

type sumsAnswer struct {
	Collections []sumAnswer `json:"collections" doc:"In the order of their names; those without members may be among them."`
	Cursor      string      `json:"cursor,omitempty" doc:"Of the next page; none at the end."`
}

// digestRoutes are the routes by which two indexes are compared.
func (s *server) digestRoutes() []route {
	one := param{name: "collection", about: "The NSID of a collection; none: all listed repos.", schema: ofNSID}
	bits := param{
		name: "bits", about: "The collection is divided into 2 to that power buckets: by the leading bits of 62, XXH64 >> 2 of a DID.",
		schema: object{"type": "integer", "minimum": 1, "maximum": store.MaxBucketBits},
	}
	return []route{
		{
			method: http.MethodGet, path: "/v1/digest",
			summary: "How many repos a collection has, and a digest of the set of their DIDs; with bits also those of its buckets.",
			detail: "Equal sets have equal digests in every index. Different ones have equal digests by accident once in 2^62, of a bucket " +
				"once in 2^(62-bits). It is no proof against somebody who makes up DIDs for the purpose: such sums can be forged.",
			params: []param{one, bits},
			output: sumAnswer{}, rows: scanRows, handle: s.digest,
		},
		{
			method: http.MethodGet, path: "/v1/digest/collections",
			summary: "The digests of all collections, in the order of their names.",
			params:  []param{limitParam(defaultLimit, maxLimit), cursorParam},
			output:  sumsAnswer{}, rows: pageRows, handle: s.digests,
		},
		{
			method: http.MethodGet, path: "/v1/digest/repos",
			summary: "The repos in some buckets of a collection.",
			detail:  "Pages are those of listReposByCollection, with such cursors.",
			params: []param{
				one, required(bits),
				{name: "bucket", about: "Its number, from 0 to 2^bits - 1.", schema: object{"type": "integer", "minimum": 0}, required: true, most: maxBuckets},
				limitParam(defaultLimit, maxLimit), cursorParam,
			},
			output: listingAnswer{}, rows: scanRows, handle: s.bucketRepos,
		},
	}
}

// digest answers /v1/digest.
func (s *server) digest(r *http.Request) (any, error) {
	nsid, bits, _, err := bucketsAsked(r)
	if err != nil {
		return nil, err
	}
	var sum store.Sum
	var buckets []store.Sum
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		if sum, err = rx.Sum(nsid); err == nil && bits > 0 {
			buckets, err = rx.Buckets(nsid, bits)
		}
		return err
	})
	out := sumOf(sum)
	if buckets != nil {
		out.Buckets = &bucketsAnswer{make([]int64, len(buckets)), make([]string, len(buckets))}
		for i, b := range buckets {
			out.Buckets.Members[i], out.Buckets.Digests[i] = b.Members, hex(b.Digest)
		}
	}
	return out, err
}

// digests answers /v1/digest/collections.
func (s *server) digests(r *http.Request) (any, error) {
	params, err := paramsOf(r)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	after, err := single(params, "cursor")
	if err != nil {
		return nil, err
	}
	if after != "" && !atproto.IsNSID(after) {
		return nil, badRequest("cursor %q: not one of this service", atproto.Clip(after))
	}
	var sums []store.Sum
	err = s.Store.View(r.Context(), func(rx *store.Rx) (err error) {
		sums, err = rx.Sums(after, limit)
		return err
	})
	out := sumsAnswer{Collections: make([]sumAnswer, len(sums))}
	for i, sum := range sums {
		out.Collections[i] = sumOf(sum)
	}
	if len(sums) == limit {
		out.Cursor = sums[limit-1].NSID
	}
	return out, err
}

// bucketRepos answers /v1/digest/repos.
func (s *server) bucketRepos(r *http.Request) (any, error) {
	nsid, bits, params, err := bucketsAsked(r)
	if err != nil {
		return nil, err
	}
	if bits == 0 {
		return nil, badRequest("bits: missing")
	}
	buckets, err := bucketsOf(params["bucket"], bits)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, err
	}
	cursor, err := single(params, "cursor")
	if err != nil {
		return nil, err
	}
	after, foreign, err := parseCursor(s.Store.IndexID(), cursor)
	if err != nil {
		return nil, err
	}
	if foreign {
		s.Metrics.ForeignCursor()
	}
	return s.page(r, func(rx *store.Rx, page *store.Page) error {
		return rx.ListBuckets(page, nsid, bits, buckets, after, limit)
	})
}

// scanRows: buckets cost a reading of the whole collection, which is heavy.
func scanRows(params url.Values) int {
	if !params.Has("bits") {
		return unitRows
	}
	return maxCollections * unitRows
}

// bucketsAsked reads the collection, empty for all listed repos, and into how many buckets
// it is divided; 0 bits: not given.
func bucketsAsked(r *http.Request) (nsid string, bits int, params url.Values, err error) {
	if params, err = paramsOf(r); err != nil {
		return "", 0, nil, err
	}
	if nsid, err = single(params, "collection"); err != nil {
		return "", 0, nil, err
	}
	if params.Has("collection") && !atproto.IsNSID(nsid) {
		return "", 0, nil, badRequest("collection %q: not an NSID", atproto.Clip(nsid))
	}
	text, err := single(params, "bits")
	if err != nil || text == "" {
		return nsid, 0, params, err
	}
	if bits, err = strconv.Atoi(text); err != nil || bits < 1 || bits > store.MaxBucketBits {
		return "", 0, nil, badRequest("bits %q: not a whole number from 1 to %d", atproto.Clip(text), store.MaxBucketBits)
	}
	return nsid, bits, params, nil
}

func bucketsOf(values []string, bits int) ([]int, error) {
	switch {
	case len(values) == 0:
		return nil, badRequest("bucket: missing")
	case len(values) > maxBuckets:
		return nil, badRequest("bucket: given %d times, at most %d", len(values), maxBuckets)
	}
	buckets := make([]int, len(values))
	for i, v := range values {
		b, err := strconv.Atoi(v)
		if err != nil || b < 0 || b >= 1<<bits {
			return nil, badRequest("bucket %q: not a whole number from 0 to %d", atproto.Clip(v), 1<<bits-1)
		}
		buckets[i] = b
	}
	return buckets, nil
}

func sumOf(sum store.Sum) sumAnswer {
	return sumAnswer{Collection: sum.NSID, Members: sum.Members, Digest: hex(sum.Digest)}
}

func hex(d listing.Digest) string { return fmt.Sprintf("%016x", uint64(d)) }
