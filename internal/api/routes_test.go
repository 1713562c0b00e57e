package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/health"
	"railyard/internal/repostate"
	"railyard/internal/store"
	"railyard/internal/test/testrepo"
)

// table returns the routes of an index that takes wishes for crawls.
func (x *index) table() []route {
	s := &server{Config: Config{Store: x.store, Version: "1.2.3", RequestCrawl: (&desk{}).crawls}}
	return s.routes()
}

// paths returns the paths of all routes that are asked with GET, but for streams, which
// do not end.
func (x *index) paths() (paths []string) {
	for _, e := range x.table() {
		if e.method == http.MethodGet && e.kind != eventStream {
			paths = append(paths, e.path)
		}
	}
	return paths
}

// description is /openapi.json as a client reads it.
type description struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string
		Parameters  []struct {
			Name, In, Description string
			Schema                map[string]any
			Required              bool
		}
		RequestBody struct {
			Content map[string]struct{ Schema map[string]any }
		} `json:"requestBody"`
		Responses map[string]struct {
			Description string
			Content     map[string]struct{ Schema map[string]any }
			Headers     map[string]struct{ Schema map[string]any }
		}
	}
	Components struct{ Schemas map[string]map[string]any }
}

func (x *index) description() (d description) {
	x.Helper()
	w := x.ask("GET", "/openapi.json")
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 200 {
		x.Fatalf("status %d: %v", w.Code, err)
	}
	return d
}

func TestEveryRouteIsDescribed(t *testing.T) {
	d := newDesk(t)
	d.index.handler = d.handler
	desc := d.description()
	if desc.OpenAPI != "3.1.0" {
		t.Errorf("openapi %q", desc.OpenAPI)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	llms := d.get("/llms.txt").Body.String()
	ids := make(map[string]bool)
	for _, e := range d.table() {
		op, ok := desc.Paths[e.path][strings.ToLower(e.method)]
		if !ok || op.Summary == "" || ids[op.OperationID] {
			t.Errorf("%s %s: described as %+v", e.method, e.path, op)
		}
		ids[op.OperationID] = true
		if !strings.Contains(llms, "- "+e.method+" "+e.path) {
			t.Errorf("/llms.txt lacks %s", e.path)
		}
		if !strings.Contains(string(readme), e.path+"`") && !strings.Contains(string(readme), e.path+"?") {
			t.Errorf("the README lacks %s", e.path)
		}
		if len(op.Parameters) != len(e.params) {
			t.Errorf("%s: %d parameters are described of %d", e.path, len(op.Parameters), len(e.params))
		}
		for _, p := range op.Parameters {
			if p.Name == "" || p.In != "query" || p.Description == "" || p.Schema["type"] == nil {
				t.Errorf("%s: parameter %+v", e.path, p)
			}
		}
		if e.output == nil && e.kind == "" || (e.handle == nil) == (e.serve == nil) || (e.method == http.MethodPost) != (e.input != nil) {
			t.Errorf("%s: the entry has output %v, kind %q, input %v", e.path, e.output, e.kind, e.input)
		}
	}
	if len(desc.Paths) != len(d.table()) {
		t.Errorf("%d paths, %d routes", len(desc.Paths), len(d.table()))
	}
	for name, schema := range desc.Components.Schemas {
		properties, _ := schema["properties"].(map[string]any)
		for field, p := range properties {
			if p.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s has no doc tag", name, field)
			}
		}
	}
}

// What is charged for is described with the headers that come with each answer.
func TestBudgetsAreDescribed(t *testing.T) {
	x := newIndex(t)
	desc := x.description()
	for _, e := range x.table() {
		if e.handle == nil || e.method != http.MethodGet {
			continue
		}
		told := x.get(e.path).Header()
		responses := desc.Paths[e.path]["get"].Responses
		for name := range budgetHeaders {
			_, described := responses["200"].Headers[name]
			if charged := e.rows != nil; described != charged || (told.Get(name) != "") != charged {
				t.Errorf("%s: %s is told: %q, described: %t", e.path, name, told.Get(name), described)
			}
		}
		for _, status := range []string{"429", "503"} {
			if _, described := responses[status].Headers["Retry-After"]; described != (e.rows != nil) {
				t.Errorf("%s: Retry-After of %s is described: %t", e.path, status, described)
			}
		}
	}
}

// Each parameter of the table is read by its handler, which refuses a value that is of no
// use by the parameter's name, and one that comes too often.
func TestEveryParameterIsReadAndNamedWhenItIsWrong(t *testing.T) {
	x := newIndex(t)
	for _, e := range x.table() {
		for _, p := range e.params {
			if e.method != http.MethodGet {
				continue
			}
			good := make([]string, 0, 3)
			for _, other := range e.params {
				if other.required && other.name != p.name {
					good = append(good, other.name+"="+goodValue(t, other))
				}
			}
			for _, bad := range []string{
				p.name + "=%3F%20%00", p.name + "=" + strings.Repeat("x", 5000), p.name + "=%zz",
				strings.Repeat(p.name+"="+goodValue(t, p)+"&", max(p.most, 1)+1),
			} {
				message := x.refused(x.ask("GET", e.path+"?"+strings.Join(append(good, bad), "&")), 400, "InvalidRequest")
				if !strings.Contains(message, p.name) && !strings.Contains(message, "query") || len(message) > 400 {
					t.Errorf("%s?%.60s: message %q", e.path, bad, message)
				}
			}
			if p.required {
				x.refused(x.ask("GET", e.path+"?"+strings.Join(good, "&")), 400, "InvalidRequest")
			}
		}
		if e.method == http.MethodGet && e.handle != nil && len(e.params) > 0 && !slices.ContainsFunc(e.params, func(p param) bool { return p.required }) {
			if w := x.ask("GET", e.path+"?nobody=reads&this"); w.Code != 200 {
				t.Errorf("%s: with a parameter that it does not have: %d %s", e.path, w.Code, w.Body)
			}
		}
	}
}

// goodValue returns a value of a parameter that is accepted.
func goodValue(t *testing.T, p param) string {
	t.Helper()
	switch p.schema["format"] {
	case "did":
		return didOf(1)
	case "nsid":
		return posts
	case "date-time":
		return "2026-01-02T03:04:05Z"
	}
	for _, key := range []string{"default", "minimum"} {
		if n, ok := p.schema[key]; ok {
			return fmt.Sprint(n)
		}
	}
	for _, key := range []string{"enum", "examples"} {
		if words, ok := p.schema[key].([]string); ok {
			return words[0]
		}
	}
	if p.schema["type"] == "boolean" {
		return "true"
	}
	return map[string]string{"hostname": "pds.example.com"}[p.name] // of a cursor the empty one
}

func TestHandlersSeeTheParametersOfTheirRouteAlone(t *testing.T) {
	params := []param{limitParam(1, 2), collectionParam}
	for raw, want := range map[string]string{
		"":                                "",
		"limit=1&collection=a&limit=2":    "limit=1&collection=a&limit=2",
		"limit=1&other=2&collection=a":    "limit=1&collection=a",
		"limits=1&Limit=2&imit=3&&=&a":    "",
		"%6cimit=1":                       "%6cimit=1",
		"other=%zz&limit=1":               "other=%zz&limit=1", // to be refused
		"other=1;limit=2":                 "other=1;limit=2",
		"collection":                      "collection",
		"limit=1&xlimit=2&limitx=3&coll=": "limit=1",
	} {
		if got := declared(raw, params); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// Of any query a handler sees just the parameters of its route, with all their values in
// their order, and what cannot be read stays unreadable.
func FuzzDeclared(f *testing.F) {
	for _, seed := range []string{"", "limit=1&x=2", "%6cimit=1&li%6Dit=2", "limit=%zz", "a;limit=1", "&&=&limit", "limit+=1", "collection=a&collection=b"} {
		f.Add(seed)
	}
	params := []param{limitParam(1, 2), collectionParam}
	f.Fuzz(func(t *testing.T, raw string) {
		want, wantErr := url.ParseQuery(raw)
		got, gotErr := url.ParseQuery(declared(raw, params))
		if (wantErr != nil) != (gotErr != nil) {
			t.Fatalf("%q: %v, before %v", raw, gotErr, wantErr)
		}
		maps.DeleteFunc(want, func(name string, _ []string) bool { return name != "limit" && name != "collection" })
		if wantErr == nil && !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	})
}

// What every route really answers keeps to the schema that is published of it.
func TestAnswersKeepToTheirSchemas(t *testing.T) {
	d := newDesk(t)
	x := d.index
	x.handler = d.handler
	desc := x.description()
	up := x.upstream("https://relay.example.com")
	x.populate()
	live := Live{InFlight: 1, Connected: map[int64]bool{up.ID: true}, Troubles: []health.Trouble{
		{Kind: health.Behind, Upstream: "https://relay.example.com", Why: "old events", Since: time.Now()},
		{Kind: health.Pinned, Why: "a reader", Since: time.Now()},
	}}
	quiet := x.handler
	alive := Handler(Config{Store: x.store, Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Live: func() Live { return live }})
	asked := make(map[string]bool)
	check := func(method, target string, w *recorded) {
		t.Helper()
		path, _, _ := strings.Cut(target, "?")
		op, ok := desc.Paths[path][strings.ToLower(method)]
		if !ok {
			t.Fatalf("%s is not described", path)
		}
		response, ok := op.Responses[fmt.Sprint(w.code)]
		if !ok {
			t.Errorf("%s: status %d is not described", target, w.code)
			return
		}
		media, _, _ := strings.Cut(w.kind, ";")
		content, ok := response.Content[media]
		if !ok {
			t.Errorf("%s: %s is not described", target, media)
			return
		}
		if asked[path] = asked[path] || w.code == 200; media != jsonKind {
			return
		}
		var v any
		if err := json.Unmarshal(w.body, &v); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		for _, fault := range faultsOf(v, content.Schema, desc.Components.Schemas, "") {
			t.Errorf("%s: %s in %s", target, fault, w.body)
		}
		if w.code >= 400 {
			name := v.(map[string]any)["error"].(string)
			if !strings.Contains(response.Description, name) {
				t.Errorf("%s: the error %s is not described", target, name)
			}
		}
	}
	for _, x.handler = range []http.Handler{quiet, alive} {
		for _, path := range x.paths() {
			targets := []string{path, path + "?limit=1", path + "?collection=" + posts, path + "?c=" + posts, path + "?limit=0", path + "?did=x", path + "?cursor=%20", path + "?bits=3&bucket=1"}
			for n := range 12 {
				targets = append(targets, path+"?did="+didOf(n))
			}
			for _, host := range []string{"pds.example.com", "listed.example.com", "nowhere.example.com", "x"} {
				targets = append(targets, path+"?hostname="+host)
			}
			for _, target := range targets {
				w := x.get(target)
				check("GET", target, &recorded{w.Code, w.Header().Get("Content-Type"), w.Body.Bytes()})
			}
		}
	}
	for _, body := range []string{`{"hostname":"new.example.com"}`, `{}`} {
		w := d.post("192.0.2.1:5", kind, body)
		check("POST", crawlPath, &recorded{w.Code, w.Header().Get("Content-Type"), w.Body.Bytes()})
	}
	for _, e := range x.table() {
		if !asked[e.path] && e.kind != eventStream {
			t.Errorf("%s has never answered", e.path)
		}
	}
}

type recorded struct {
	code int
	kind string
	body []byte
}

// populate fills the index with a repo in each state: 1 and 2 synchronized, 3
// deactivated, 4 taken down, 5 suspended, 6 for a reason of its own, 7 deleted, 8 lost
// by its host, 9 desynchronized, 10 a candidate.
func (x *index) populate() {
	x.Helper()
	for n := 1; n < 10; n++ {
		x.change(didOf(n), func(tx *store.Tx, r *repostate.Repo) error {
			_, err := testrepo.SetIdentity(tx, r, "\xe7\x01\x02"+strings.Repeat("k", 32), "pds.example.com", false)
			return err
		})
		x.establish(didOf(n), posts, likes)
	}
	for n, word := range map[int]string{3: "deactivated", 4: "takendown", 5: "suspended", 6: "on holiday", 7: "deleted"} {
		x.change(didOf(n), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.Leave(tx, r, word) })
	}
	x.change(didOf(8), func(tx *store.Tx, r *repostate.Repo) error { return testrepo.SetState(tx, r, repostate.NotFound) })
	x.change(didOf(9), func(tx *store.Tx, r *repostate.Repo) error {
		return testrepo.Desynchronize(tx, r, repostate.Discontinuity)
	})
	x.change(didOf(10), func(tx *store.Tx, r *repostate.Repo) error {
		_, err := tx.ListHost("listed.example.com", false, "idle")
		return err
	})
}

// faultsOf compares a value with a schema, more strictly than JSON Schema does: what is
// not described must not be there.
func faultsOf(v any, schema map[string]any, named map[string]map[string]any, at string) (faults []string) {
	if ref, ok := schema["$ref"].(string); ok {
		return faultsOf(v, named[strings.TrimPrefix(ref, "#/components/schemas/")], named, at)
	}
	if forms, ok := schema["anyOf"].([]any); ok {
		for _, s := range forms {
			if len(faultsOf(v, s.(map[string]any), named, at)) == 0 {
				return nil
			}
		}
		return []string{at + ": none of its forms"}
	}
	kinds, _ := schema["type"].([]any)
	if one, ok := schema["type"].(string); ok {
		kinds = []any{one}
	}
	if kinds == nil {
		return nil
	}
	kind := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Map: "object",
		reflect.Float64: "number", reflect.Invalid: "null"}[reflect.ValueOf(v).Kind()]
	if n, ok := v.(float64); ok && n == float64(int64(n)) && !slices.Contains(kinds, any("number")) {
		kind = "integer"
	}
	if !slices.Contains(kinds, any(kind)) {
		return []string{fmt.Sprintf("%s: %s, not %v", at, kind, kinds)}
	}
	switch v := v.(type) {
	case string:
		if err := formats[fmt.Sprint(schema["format"])]; err != nil && err(v) != nil {
			return []string{fmt.Sprintf("%s: %q: %v", at, v, err(v))}
		}
	case []any:
		items := schema["items"].(map[string]any)
		for i, item := range v {
			faults = append(faults, faultsOf(item, items, named, fmt.Sprint(at, "/", i))...)
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		others, open := schema["additionalProperties"].(map[string]any)
		for name := range maps.Keys(v) {
			switch property, ok := properties[name].(map[string]any); {
			case ok:
				faults = append(faults, faultsOf(v[name], property, named, at+"/"+name)...)
			case open:
				faults = append(faults, faultsOf(v[name], others, named, at+"/"+name)...)
			default:
				faults = append(faults, at+"/"+name+": not described")
			}
		}
		needed, _ := schema["required"].([]any)
		for _, name := range needed {
			if _, ok := v[name.(string)]; !ok {
				faults = append(faults, fmt.Sprintf("%s/%s: missing", at, name))
			}
		}
	}
	return faults
}

var formats = map[string]func(string) error{
	"did":  func(s string) error { _, err := atproto.ParseDID(s); return err },
	"nsid": func(s string) error { _, err := atproto.ParseNSID(s); return err },
	"tid":  func(s string) error { _, err := atproto.ParseTID(s); return err },
	"cid": func(s string) error {
		if len(s) != 59 || !strings.HasPrefix(s, "bafyrei") {
			return fmt.Errorf("not a CID")
		}
		return nil
	},
	"date-time": func(s string) error { _, err := time.Parse(time.RFC3339, s); return err },
}

// The calls that /llms.txt proposes are answered, and what it says of limits is so.
func TestTheTextForAssistantsIsTrue(t *testing.T) {
	x := newIndex(t)
	x.establish("did:plc:ewvi7nxzyoun6zhxrhs64oiz", posts)
	w := x.send("GET", "http://yard.example.com:2526/llms.txt")
	text := w.Body.String()
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || strings.ContainsAny(text, "\x00\r") || len(text) > 6000 {
		t.Errorf("status %d, %s, %d bytes", w.Code, w.Header().Get("Content-Type"), len(text))
	}
	calls := 0
	for line := range strings.Lines(text) {
		target, ok := strings.CutPrefix(strings.TrimSpace(line), "curl 'http://yard.example.com:2526")
		if !ok {
			continue
		}
		calls++
		if w := x.ask("GET", strings.TrimSuffix(target, "'")); w.Code != 200 {
			t.Errorf("%s: status %d: %s", target, w.Code, w.Body)
		}
	}
	if calls != 5 {
		t.Errorf("%d calls", calls)
	}
	for _, want := range []string{"1 to 10000, 500 without it", "take 1 to 1000.", "At most 100 collections", "may take 10s", "http://yard.example.com:2526/openapi.json"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if strings.Contains(text, "{base}") || strings.Contains(strings.ReplaceAll(text, `{"error"`, ""), "{c") {
		t.Errorf("a place was not filled: %s", text)
	}
	if hostile := x.send("GET", "/llms.txt", "X-Forwarded-Proto", "https"); !strings.Contains(hostile.Body.String(), "curl 'https://") {
		t.Error("behind a proxy that speaks https the calls are http")
	}
}
