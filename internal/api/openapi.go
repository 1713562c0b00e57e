package api

import (
	_ "embed" // the text for assistants
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// object is a JSON object. It is written with its names in order.
type object = map[string]any

// openAPI describes a table of routes (OpenAPI 3.1). The schemas of answers are those
// of their Go types, with the tags json, doc (what a field means) and format.
func openAPI(version string, routes []route) []byte {
	schemas := make(object)
	paths := make(object)
	for _, e := range routes {
		paths[e.path] = object{strings.ToLower(e.method): operationOf(e, schemas)}
	}
	text, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "railyard", "version": version,
			"summary": "Which repos of the AT Protocol have records in which collections.",
			"description": "Every GET may be HEAD. Any web page may ask (CORS). Bodies are compressed with gzip where the client takes it. " +
				"Cursors are opaque. A parameter that a route does not have means nothing.",
		},
		"paths":      paths,
		"components": object{"schemas": schemas},
	})
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	return text
}

func operationOf(e route, schemas object) object {
	op := object{"operationId": operationID(e.path), "summary": e.summary}
	if e.detail != "" {
		op["description"] = e.detail
	}
	if len(e.params) > 0 {
		list := make([]any, len(e.params))
		for i, p := range e.params {
			list[i] = parameterOf(p)
		}
		op["parameters"] = list
	}
	if e.input != nil {
		op["requestBody"] = object{"required": true, "content": object{jsonKind: object{"schema": schemaOf(reflect.TypeOf(e.input), schemas)}}}
	}
	op["responses"] = responsesOf(e, schemas)
	return op
}

// operationID is the path with dots, without what all methods of XRPC begin with.
func operationID(path string) string {
	if nsid, ok := strings.CutPrefix(path, "/xrpc/com."); ok {
		return "com." + nsid
	}
	if path == "/" {
		return "page"
	}
	return strings.ReplaceAll(path[1:], "/", ".")
}

func parameterOf(p param) object {
	schema := p.schema
	if p.most > 0 {
		schema = object{"type": "array", "items": p.schema, "maxItems": p.most}
	}
	out := object{"name": p.name, "in": "query", "description": p.about, "schema": schema}
	if p.required {
		out["required"] = true
	}
	return out
}

func responsesOf(e route, schemas object) object {
	content := make(object)
	if e.output != nil {
		content[jsonKind] = object{"schema": schemaOf(reflect.TypeOf(e.output), schemas)}
	}
	if e.kind != "" {
		content[e.kind] = object{"schema": ofText}
	}
	failed := func(about string) object {
		return object{"description": about, "content": object{jsonKind: object{"schema": schemaOf(reflect.TypeFor[errorAnswer](), schemas)}}}
	}
	byStatus := make(map[int][]string)
	for _, err := range e.errors {
		byStatus[err.Status] = append(byStatus[err.Status], err.Name+": "+err.Message)
	}
	if len(e.params) > 0 || e.input != nil {
		byStatus[http.StatusBadRequest] = append(byStatus[http.StatusBadRequest],
			"InvalidRequest: the message names what is wrong and its value.")
	}
	out := object{"200": object{"description": "The answer.", "content": content}}
	for status, lines := range byStatus {
		out[strconv.Itoa(status)] = failed(strings.Join(lines, "\n\n"))
	}
	if e.output != nil {
		out["default"] = failed("InternalServerError, Unavailable: the index could not be read, or not in time.")
	}
	if e.rows == nil {
		return out
	}
	for status, answer := range out {
		headers := maps.Clone(budgetHeaders)
		if status == "429" || status == "503" {
			headers["Retry-After"] = object{"schema": ofNumber, "description": "Seconds until the client may ask again."}
		}
		answer.(object)["headers"] = headers
	}
	return out
}

// budgetHeaders describes what rateHeaders tells. A client that comes through a trusted
// proxy without a name is told nothing.
var budgetHeaders = object{
	"RateLimit-Limit":     object{"schema": ofNumber, "description": "The client's budget, in units of 500 rows."},
	"RateLimit-Remaining": object{"schema": ofNumber, "description": "What is left of it."},
	"RateLimit-Reset":     object{"schema": ofNumber, "description": "When it is whole again, in Unix seconds."},
	"RateLimit-Policy":    object{"schema": ofText, "description": "The budget and the seconds in which it grows."},
}

// schemaOf returns the JSON Schema of a type. Structs with a name go to schemas.
func schemaOf(t reflect.Type, schemas object) object {
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Interface:
		return object{}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas)}
	case reflect.Pointer: // null is written, unless the field is left out
		schema := schemaOf(t.Elem(), schemas)
		if kind, ok := schema["type"]; ok {
			schema["type"] = []any{kind, "null"}
			return schema
		}
		return object{"anyOf": []any{schema, object{"type": "null"}}}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return object{"type": "string", "format": "date-time"}
		}
		if t.Name() == "" {
			return structOf(t, schemas)
		}
		name := string(unicode.ToUpper(rune(t.Name()[0]))) + t.Name()[1:]
		if schemas[name] == nil {
			schemas[name] = object{} // while it is made
			schemas[name] = structOf(t, schemas)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	panic(fmt.Sprintf("%s: no answer has that type", t))
}

// structOf describes the fields that are written.
func structOf(t reflect.Type, schemas object) object {
	properties, needed := make(object), []any{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		left := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if f.Type.Kind() == reflect.Pointer && left {
			f.Type = f.Type.Elem()
		}
		schema := schemaOf(f.Type, schemas)
		if about := f.Tag.Get("doc"); about != "" {
			schema["description"] = about
		}
		if format := f.Tag.Get("format"); format != "" {
			schema["format"] = format
		}
		if properties[name] = schema; !left {
			needed = append(needed, name)
		}
	}
	out := object{"type": "object", "properties": properties}
	if len(needed) > 0 {
		out["required"] = needed
	}
	return out
}

//go:embed llms.txt
var llms string

// llmsText describes the service to an assistant in plain text, by the address under
// which it was asked.
func llmsText(base string, routes []route) []byte {
	text := strings.NewReplacer("{base}", base, "{most}", strconv.Itoa(maxLimit), "{standard}", strconv.Itoa(defaultLimit),
		"{lexicon}", strconv.Itoa(lexiconMost), "{collections}", strconv.Itoa(maxCollections), "{timeout}", queryTimeout.String()).Replace(llms)
	out := []byte(text)
	for _, e := range routes {
		out = fmt.Appendf(out, "- %s %s", e.method, e.path)
		for i, p := range e.params {
			sep := "&"
			if i == 0 {
				sep = "?"
			}
			out = fmt.Appendf(out, "%s%s=", sep, p.name)
		}
		out = fmt.Appendf(out, ": %s\n", e.summary)
	}
	return out
}
