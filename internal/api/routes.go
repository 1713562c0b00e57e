package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// route is a public route: how it is answered, and what is said of it. The server,
// /openapi.json and /llms.txt are made of the same table, so that nothing can be
// asked that is not documented.
type route struct {
	method  string // GET, which HEAD goes with, or POST
	path    string
	summary string // a line
	detail  string // what a line cannot say
	params  []param
	input   any                  // a value of the type of the JSON body of a POST; its fields have doc tags
	output  any                  // a value of the type of its JSON answer, likewise; nil = it has none
	kind    string               // a media type beside JSON, or in its place
	errors  []*Error             // what it answers besides InvalidRequest; their messages say when
	rows    func(url.Values) int // how many rows a request reads at most (admission.go); nil = none, and it is answered always
	handle  func(*http.Request) (any, error)
	serve   http.Handler // in the place of handle: checks the method and writes the answer by itself
}

// param is a parameter of the query of a route. A handler sees no other ones.
type param struct {
	name     string
	about    string
	schema   object // of one value
	required bool
	most     int // how often it may come; 0 = once
}

// ready is an answer that is written as it is.
type ready struct {
	kind string // its media type
	body []byte
	done func() // called when the body is not needed any more; nil = nobody wants to know
}

const jsonKind = "application/json"

// routes is the table.
func (s *server) routes() []route {
	unknownRepo := fail(http.StatusNotFound, "RepoNotFound", "The index has never heard of the DID.")
	table := []route{
		{
			method: http.MethodGet, path: "/xrpc/com.atproto.sync.listReposByCollection",
			summary: "The repos with records in any of some collections, each once; without a collection, all repos.",
			detail: "In the order in which they became visible. A page that is not empty carries a cursor; an empty page is the end " +
				"for now and carries none. Keep the last cursor: asked with it later, only repos come that became visible since. " +
				"A cursor of another index, of collectiondir or of lightrail begins at the first page again. Only repos of active accounts are listed.",
			params: []param{collectionParam, limitParam(defaultLimit, maxLimit), cursorParam},
			output: listingAnswer{}, rows: listingRows, handle: s.listReposByCollection,
		},
		{
			method: http.MethodGet, path: "/v1/listCollections",
			summary: "The collections and how many repos have records in each.",
			detail: "In the order of their names; the cursor is the last name, and empty at the end. A page may be short or empty before the end. " +
				"With c, the counts of these collections alone.",
			params: []param{
				{name: "c", about: "A collection whose count is wanted; limit and cursor mean nothing then.", schema: ofNSID, most: maxCollections},
				limitParam(defaultLimit, maxLimit), cursorParam,
			},
			output: collectionsAnswer{}, rows: pageRows, handle: s.listCollections,
		},
		{
			method: http.MethodGet, path: "/v1/getDidsForCollection",
			summary: "listReposByCollection under the name that collectiondir has for it; a collection is required.",
			params:  []param{required(collectionParam), limitParam(defaultLimit, maxLimit), cursorParam},
			output:  listingAnswer{}, rows: listingRows, handle: s.getDidsForCollection,
		},
		{
			method: http.MethodGet, path: "/v1/count",
			summary: "How many repos have records in each of some collections, and in any of them.",
			detail: "The counts are those of the last commit, and of visible repos only. distinct is refused where the collections have more " +
				"than two million members together.",
			params: []param{
				required(collectionParam),
				{name: "distinct", about: "Whether to count the repos that have records in any of the collections, each once.", schema: object{"type": "boolean", "default": false}},
			},
			output: countAnswer{}, rows: countRows, handle: s.count,
		},
		{
			method: http.MethodGet, path: "/v1/timeseries",
			summary: "How many repos had records in a collection at the end of each hour or day.",
			detail: "Steps are whole hours or days of UTC, from the one that from lies in up to the one that to lies in; the one that is under " +
				"way has what there is by now. Steps before since are left out: the index did not have the collection. " +
				"Of a collection that the index does not have, since is null.",
			params: []param{
				{name: "collection", about: "The NSID of a collection; without it, all listed repos.", schema: ofNSID},
				{name: "from", about: "By default seven days before to, or 90 if the steps are days.", schema: ofTime},
				{name: "to", about: "By default now, and now at the latest.", schema: ofTime},
				{name: "step", about: "The length of a step.", schema: object{"type": "string", "enum": []string{"hour", "day"}, "default": "hour"}},
			},
			output: timeseriesAnswer{}, rows: seriesRows, handle: s.timeseries,
		},
		{
			method: http.MethodGet, path: "/v1/repo",
			summary: "What one repo has, since when, and how that was proven.",
			detail: "Of an inactive account neither the head nor collections are shown. A full page of collections carries a cursor; " +
				"each page is sorted by name, and pages come in the order in which the index met the collections.",
			params: []param{didParam, limitParam(defaultLimit, maxLimit), cursorParam},
			output: repoAnswer{}, errors: []*Error{unknownRepo}, rows: pageRows, handle: s.repo,
		},
		{
			method: http.MethodGet, path: "/v1/stats",
			summary: "Figures of the index, its upstreams and its queue.",
			detail:  "The index is complete once resync_queue is near 0.",
			output:  statsAnswer{}, rows: fewRows, handle: s.stats,
		},
	}
	table = append(table, s.digestRoutes()...)
	table = append(table, s.syncRoutes()...)
	table = append(table, s.changeRoutes()...)
	for _, path := range []string{"/xrpc/_health", "/_health"} {
		table = append(table, route{
			method: http.MethodGet, path: path,
			summary: "Whether the service is well.",
			output:  healthAnswer{}, handle: s.health,
			errors: []*Error{
				fail(http.StatusServiceUnavailable, "WriterStopped", "The index is no longer written."),
				fail(http.StatusServiceUnavailable, "StandsStill", "The index does not move; the message says why and since when."),
			},
		})
	}
	if s.RequestCrawl != nil {
		table = append(table, route{
			method: http.MethodPost, path: "/xrpc/com.atproto.sync.requestCrawl",
			summary: "Asks for a crawl of a host's listRepos.",
			input:   crawlInput{}, output: struct{}{},
			errors: []*Error{fail(http.StatusTooManyRequests, "RateLimitExceeded",
				"The client has asked too often, or too many new hosts have come today.")},
			rows: fewRows, handle: s.requestCrawl,
		})
	}
	for i := range table {
		if table[i].rows != nil {
			table[i].errors = append(table[i].errors,
				fail(http.StatusTooManyRequests, "RateLimitExceeded", "The client has spent its budget; Retry-After says when to ask again."),
				fail(http.StatusServiceUnavailable, "NotEnoughResources", "Too many such requests at once; Retry-After says when to ask again."))
		}
	}
	description := sync.OnceValue(func() []byte { return openAPI(s.Version, table) })
	table = append(table,
		route{
			method: http.MethodGet, path: "/", kind: "text/html",
			summary: "Figures of the index and what to try, for people.", serve: newFrontPage(s),
		},
		route{
			method: http.MethodGet, path: "/openapi.json", output: object{},
			summary: "This description, as OpenAPI 3.1.",
			handle:  func(*http.Request) (any, error) { return ready{kind: jsonKind, body: description()}, nil },
		},
		route{
			method: http.MethodGet, path: "/llms.txt", kind: "text/plain",
			summary: "A short description for an assistant.",
			handle: func(r *http.Request) (any, error) {
				return ready{kind: "text/plain; charset=utf-8", body: llmsText(baseOf(r), table)}, nil
			},
		})
	return table
}

// listingAnswer is the shape of a page of repos.
type listingAnswer struct {
	Repos  []listedRepo `json:"repos" doc:"In the order in which they became visible."`
	Cursor string       `json:"cursor,omitempty" doc:"Of the next page, and of what comes later; none on an empty page."`
}

type listedRepo struct {
	DID string `json:"did" format:"did" doc:"Whose repo it is."`
}

var (
	ofText   = object{"type": "string"}
	ofNumber = object{"type": "integer"}
	ofNSID   = object{"type": "string", "format": "nsid"}
	// An NSID, or the beginning of some.
	ofPattern = object{"type": "string", "examples": []string{"app.bsky.feed.post", "app.bsky.feed.*"}}
	ofTime    = object{"type": "string", "format": "date-time"}
	ofDID     = object{"type": "string", "format": "did"}

	collectionParam = param{
		name: "collection", about: "The NSID of a collection, or app.example.* for all that begin with app.example.; several are a union.",
		schema: ofPattern, most: maxCollections,
	}
	cursorParam = param{name: "cursor", about: "From an earlier page of the same route.", schema: ofText}
	didParam    = param{name: "did", about: "A did:plc, or a did:web of a host.", schema: ofDID, required: true}
)

func limitParam(standard, most int) param {
	return param{name: "limit", about: "The length of a page.", schema: object{"type": "integer", "minimum": 1, "maximum": most, "default": standard}}
}

func required(p param) param {
	p.required = true
	return p
}

// register lets a route answer.
func (s *server) register(mux *http.ServeMux, e route) {
	pattern := e.path
	if pattern == "/" {
		pattern = "/{$}"
	}
	if e.serve != nil {
		mux.Handle(pattern, s.preflights(e.path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			e.serve.ServeHTTP(w, e.seenBy(r))
		})))
		return
	}
	s.answers(mux, pattern, e.path, e.rows, func(r *http.Request) (any, error) {
		if r.Method != e.method && (e.method != http.MethodGet || r.Method != http.MethodHead) {
			return nil, wrongMethod(r, e.method)
		}
		return e.handle(e.seenBy(r))
	})
}

// seenBy returns a request as the route's handler sees it: without parameters that are
// not in the table, so that none has an effect without being documented.
func (e route) seenBy(r *http.Request) *http.Request {
	r = r.WithContext(r.Context())
	u := *r.URL
	u.RawQuery = declared(u.RawQuery, e.params)
	r.URL = &u
	return r
}

// declared returns the parts of a query that name one of some parameters. What cannot be
// read stays, to be refused.
func declared(raw string, params []param) string {
	kept := make([]string, 0, 8)
	for part := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(part, "=")
		if slices.ContainsFunc(params, func(p param) bool { return p.name == name }) {
			kept = append(kept, part)
			continue
		}
		values, err := url.ParseQuery(part) // the name may be written with escapes
		if err != nil || slices.ContainsFunc(params, func(p param) bool { return values.Has(p.name) }) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

// errorAnswer is the shape of every error.
type errorAnswer struct {
	Error   string `json:"error" doc:"The name of the error."`
	Message string `json:"message" doc:"What is wrong, for people; of a parameter its name and value."`
}
