package exactjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"railyard/internal/exactjson"
)

type inner struct {
	URL    string `json:"url"`
	Cursor *int64 `json:"cursor"`
}

type outer struct {
	ID      string                     `json:"id"`
	Active  *bool                      `json:"active"`
	Service []json.RawMessage          `json:"service"`
	Raw     json.RawMessage            `json:"raw"`
	Methods map[string]json.RawMessage `json:"methods"`
	Counts  map[string]int64           `json:"counts"`
	Nested  []inner                    `json:"nested"`
	At      time.Time                  `json:"at"`
	Lag     *float64                   `json:"lag,omitempty"`
}

func raws(texts ...string) []json.RawMessage {
	list := make([]json.RawMessage, len(texts))
	for i, text := range texts {
		list[i] = json.RawMessage(text)
	}
	return list
}

func TestMembersCountByTheirExactNames(t *testing.T) {
	yes, five, half := true, int64(5), 0.5
	for _, c := range []struct {
		name, data string
		want       outer
		wrong      string // empty: nothing
	}{
		{"another case behind it", `{"id":"a","ID":"b","Id":"c","Service":[],"service":[1]}`, outer{ID: "a", Service: raws("1")}, ""},
		{"another case alone", `{"ID":"b","ACTIVE":true}`, outer{}, ""},
		{"a letter that folds into another", `{"ſervice":[1],"id":"a"}`, outer{ID: "a"}, ""},
		{"an escaped name", `{"\u0069d":"a"}`, outer{ID: "a"}, ""},
		{"an escaped name of another case", `{"\u0049d":"a"}`, outer{}, ""},
		{"a name twice: the last counts", `{"id":"a","id":"b"}`, outer{ID: "b"}, ""},
		{"a name twice, then null", `{"id":"a","id":null}`, outer{}, ""},
		{"a name twice, then another type", `{"id":"a","id":5}`, outer{}, "id is a number"},
		{"a map twice is not merged", `{"methods":{"a":1},"methods":{"b":2}}`, outer{Methods: map[string]json.RawMessage{"b": raws("2")[0]}}, ""},
		{"null is as absent", `{"id":null,"active":null,"service":null,"nested":null,"at":null,"counts":null}`, outer{}, ""},
		{"but null as it stands", `{"raw":null}`, outer{Raw: raws("null")[0]}, ""},
		{"all null", `null`, outer{}, ""},
		{"wrong types cost themselves", `{"id":5,"active":"yes","service":{},"methods":[],"counts":1,"raw":[ 1 ]}`, outer{Raw: raws("[ 1 ]")[0]},
			"id is a number, active is a string, service is an object, methods is a list, counts is a number"},
		{"of another shape", `["id"]`, outer{}, "it is a list"},
		{"a number that does not fit", `{"nested":[{"url":"u","cursor":99999999999999999999}]}`, outer{Nested: []inner{{URL: "u"}}}, "nested.cursor is another number"},
		{"deep inside", `{"nested":[{"url":"u","URL":"w","cursor":5},{"Url":"w"},7],"counts":{"a":5,"A":6}}`,
			outer{Nested: []inner{{URL: "u", Cursor: &five}, {}, {}}, Counts: map[string]int64{"a": 5, "A": 6}}, "nested is a number"},
		{"blanks and braces in texts", " { \"id\" : \"}]\\\"{[\" , \"raw\" : { \"a\" : [ \"]\" , { } ] } , \"active\" : true } ",
			outer{ID: `}]"{[`, Raw: raws(`{ "a" : [ "]" , { } ] }`)[0], Active: &yes}, ""},
		{"time and fraction", `{"at":"2026-07-04T14:38:07Z","lag":0.5}`, outer{At: time.Date(2026, 7, 4, 14, 38, 7, 0, time.UTC), Lag: &half}, ""},
		{"no time", `{"at":"yesterday","id":"a"}`, outer{ID: "a"}, "at is a string"},
		{"bytes that are no UTF-8", "{\"id\":\"a\xff\"}", outer{ID: "a\ufffd"}, ""},
	} {
		var got outer
		err := exactjson.Unmarshal([]byte(c.data), &got)
		wrong := ""
		if e, ok := errors.AsType[*exactjson.TypeError](err); ok {
			wrong = e.Error()
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !reflect.DeepEqual(got.normal(), c.want.normal()) || wrong != c.wrong {
			t.Errorf("%s: %+v, %q, want %+v, %q", c.name, got, wrong, c.want, c.wrong)
		}
	}
}

// normal makes values of one meaning equal.
func (o outer) normal() outer {
	if len(o.Service) == 0 {
		o.Service = nil
	}
	return o
}

func TestWhatIsNoJSONIsRefusedWhole(t *testing.T) {
	for _, data := range []string{
		``, ` `, `{`, `{"id":"a"`, `{"id":"a"} x`, `{"id":"a",}`, `[1`, `{"id" "a"}`, `<html>`, "\ufeff{}", `{'id':1}`,
		strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
	} {
		var got outer
		err := exactjson.Unmarshal([]byte(data), &got)
		if _, ok := errors.AsType[*json.SyntaxError](err); !ok {
			t.Errorf("%.20q: %v", data, err)
		}
		if !reflect.DeepEqual(got, outer{}) {
			t.Errorf("%.20q: %+v was decoded", data, got)
		}
	}
}

func TestATypeErrorIsBounded(t *testing.T) {
	var list []string
	err := exactjson.Unmarshal([]byte("["+strings.Repeat("1,", 10_000)+"1]"), &list)
	if e, ok := errors.AsType[*exactjson.TypeError](err); !ok || len(e.Faults) != 8 || len(list) != 10_001 {
		t.Errorf("%d elements, %v", len(list), err)
	}
	if e := (*exactjson.TypeError)(nil); e.Of("id") != "" {
		t.Error("no error has a fault")
	}
}

// FuzzUnmarshal compares with the standard library's own map of exact names.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","ID":"b"}`, `{"\u0069d":"\ud800","active":true,"raw":{"a":[1,"]"]}}`, ` { "service" : [ 1 , null ] } `, `[]`, `null`, `"x"`, `1e5`,
		`{"id":1,"active":[],"service":{},"methods":{"a":1,"a":2}}`, `{"at":"2026-07-04T14:38:07Z","lag":-0.5e1,"nested":[{"cursor":3}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got outer
		err := exactjson.Unmarshal(data, &got)
		wrong, isType := errors.AsType[*exactjson.TypeError](err)
		if valid := json.Valid(data); valid != (err == nil || isType) {
			t.Fatalf("valid %v, and %v", valid, err)
		} else if !valid {
			return
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			if wrong.Of("") == "" {
				t.Fatalf("no object, and %v", err)
			}
			return
		}
		var id string
		if err := json.Unmarshal(object["id"], &id); err != nil {
			id = ""
		}
		var active *bool
		if json.Unmarshal(object["active"], &active) != nil {
			active = nil
		}
		var service []json.RawMessage
		if json.Unmarshal(object["service"], &service) != nil {
			service = nil
		}
		if id != got.ID || !reflect.DeepEqual(active, got.Active) || string(object["raw"]) != string(got.Raw) || len(service) != len(got.Service) {
			t.Fatalf("%+v, want %q %v %q %q", got, id, active, object["raw"], service)
		}
		for i, raw := range service {
			if string(raw) != string(got.Service[i]) {
				t.Fatalf("element %d is %q, want %q", i, got.Service[i], raw)
			}
		}
	})
}
