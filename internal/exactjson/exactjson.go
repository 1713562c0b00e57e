// Package exactjson decodes the JSON of strangers by the exact names of its members.
//
// The standard library takes "ID" for "id", so that a member of another name can
// override the right one. Here
//
//   - names are compared byte for byte;
//   - of several members of one name the last counts, as it does for JSON.parse and so
//     for most of the network: two readers of one document must not see two;
//   - null is as absent, but for a json.RawMessage, which gets the text null;
//   - a member of a wrong type is as absent, too, and named by the error. All others are
//     decoded, so that the caller decides what is at stake.
//
// What is decoded is bounded by the length of the data, which is the caller's to bound.
package exactjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"
)

// maxFaults bounds the members that a TypeError names.
const maxFaults = 8

// Fault is a member of a wrong type.
type Fault struct {
	Member string // with the names of those it stands in: "upstreams.cursor"; empty for the whole value
	Is     string // what it is instead: "a number"
}

func (f Fault) String() string {
	if f.Member == "" {
		return "it is " + f.Is
	}
	return f.Member + " is " + f.Is
}

// TypeError names the members of a wrong type, at most 8. All others were decoded.
type TypeError struct{ Faults []Fault }

func (e *TypeError) Error() string {
	texts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		texts[i] = f.String()
	}
	return strings.Join(texts, ", ")
}

// Of returns what is wrong with a member, empty if that has the right type or is absent.
func (e *TypeError) Of(member string) string {
	if e != nil {
		for _, f := range e.Faults {
			if f.Member == member {
				return f.String()
			}
		}
	}
	return ""
}

// Unmarshal decodes data into what v points to. A struct takes the members that the json
// tags of its fields name. A json.RawMessage shares memory with data, which must not change
// afterwards. The error is a *TypeError, or says that data is no JSON, in which case
// nothing was decoded.
func Unmarshal(data []byte, v any) error {
	if !json.Valid(data) {
		return json.Unmarshal(data, new(json.RawMessage))
	}
	var d decoder
	d.value("", trim(data), reflect.ValueOf(v).Elem())
	if len(d.faults) > 0 {
		return &TypeError{d.faults}
	}
	return nil
}

// Elements yields the values of a list without decoding them. ok is false if data is no
// list. They share memory with data, which must not change afterwards.
func Elements(data []byte) (values iter.Seq[json.RawMessage], ok bool) {
	if data = trim(data); len(data) == 0 || data[0] != '[' || !json.Valid(data) {
		return nil, false
	}
	return elements(data), true
}

// decoder decodes values that are known to be valid JSON.
type decoder struct{ faults []Fault }

func (d *decoder) fault(path, is string) bool {
	if len(d.faults) < maxFaults {
		d.faults = append(d.faults, Fault{path, is})
	}
	return false
}

var (
	rawMessage  = reflect.TypeFor[json.RawMessage]()
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// value decodes raw into v. It reports whether the value itself, whatever it contains, has
// the right type; if not, v is as it was.
func (d *decoder) value(path string, raw []byte, v reflect.Value) bool {
	if v.Type() == rawMessage {
		v.SetBytes(raw)
		return true
	}
	if raw[0] == 'n' {
		return true
	}
	want := byte(0)
	switch k := v.Kind(); {
	case k == reflect.Pointer:
		to := reflect.New(v.Type().Elem())
		if !d.value(path, raw, to.Elem()) {
			return false
		}
		v.Set(to)
		return true
	case reflect.PointerTo(v.Type()).Implements(unmarshaler):
		return d.leaf(path, raw, v)
	case k == reflect.Struct, k == reflect.Map:
		want = '{'
	case k == reflect.Slice:
		want = '['
	case k == reflect.String:
		want = '"'
	}
	if want != 0 && raw[0] != want {
		return d.fault(path, kindOf(raw))
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(path, raw, v)
	case reflect.Map:
		d.mapping(path, raw, v)
	case reflect.Slice:
		d.list(path, raw, v)
	case reflect.String:
		v.SetString(text(raw))
	default:
		return d.leaf(path, raw, v)
	}
	return true
}

// leaf leaves a value without members of ours to the standard library.
func (d *decoder) leaf(path string, raw []byte, v reflect.Value) bool {
	into := reflect.New(v.Type())
	if json.Unmarshal(raw, into.Interface()) == nil {
		v.Set(into.Elem())
		return true
	}
	is := kindOf(raw)
	if is == "a number" && v.CanInt() {
		is = "another number"
	}
	return d.fault(path, is)
}

// object decodes the last member of each name.
func (d *decoder) object(path string, raw []byte, v reflect.Value) {
	fields := fieldsOf(v.Type())
	last := make([][]byte, len(fields))
	for name, value := range members(raw) {
		for i, field := range fields {
			if isName(name, field) {
				last[i] = value
			}
		}
	}
	for i, value := range last {
		if value != nil {
			d.value(join(path, fields[i]), value, v.Field(i))
		}
	}
}

func (d *decoder) mapping(path string, raw []byte, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for name, value := range members(raw) {
		key, elem := text(name), reflect.New(v.Type().Elem()).Elem()
		d.value(join(path, "…"), value, elem)
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
	}
}

func (d *decoder) list(path string, raw []byte, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for value := range elements(raw) {
		n := v.Len()
		if n == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(n + 1)
		v.Index(n).SetZero()
		d.value(path, value, v.Index(n))
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// fields holds the names of a struct's fields by its type.
var fields sync.Map

func fieldsOf(t reflect.Type) []string {
	if names, ok := fields.Load(t); ok {
		return names.([]string)
	}
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if names[i] == "" || !t.Field(i).IsExported() {
			panic(fmt.Sprintf("exactjson: %s.%s has no name", t, t.Field(i).Name))
		}
	}
	fields.Store(t, names)
	return names
}

// isName compares the quoted name of a member.
func isName(quoted []byte, name string) bool {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == name
	}
	return text(quoted) == name
}

// text returns the text of a quoted one.
func text(quoted []byte) (s string) {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' || c >= 0x80 {
			_ = json.Unmarshal(quoted, &s) // it is valid
			return s
		}
	}
	return string(inner)
}

func kindOf(raw []byte) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}

// members yields the quoted names and the values of an object.
func members(raw []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := trim(raw[1:]); rest[0] != '}'; {
			name := rest[:end(rest)]
			rest = trim(trim(rest[len(name):])[1:]) // the colon
			n := end(rest)
			value := rest[:n:n]
			if !yield(name, value) {
				return
			}
			if rest = trim(rest[n:]); rest[0] == ',' {
				rest = trim(rest[1:])
			}
		}
	}
}

// elements yields the values of a list.
func elements(raw []byte) iter.Seq[json.RawMessage] {
	return func(yield func(value json.RawMessage) bool) {
		for rest := trim(raw[1:]); rest[0] != ']'; {
			n := end(rest)
			value := rest[:n:n]
			if !yield(value) {
				return
			}
			if rest = trim(rest[n:]); rest[0] == ',' {
				rest = trim(rest[1:])
			}
		}
	}
}

// trim takes the blanks of JSON off the beginning.
func trim(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// end returns the length of the value that b begins with.
func end(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			if i += endOfText(b[i:]) - 1; depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // behind a number or a word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// endOfText returns the length of the quoted text that b begins with.
func endOfText(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}
