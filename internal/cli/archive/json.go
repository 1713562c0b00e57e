package archive

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
)

// AppendJSON writes a DAG-CBOR block as JSON, links as {"$link": CID} and bytes
// as {"$bytes": base64} (spec: data model). Keys keep their order. A block that
// is not strict DAG-CBOR is an error that wraps dagcbor.ErrMalformed.
func AppendJSON(b, block []byte) ([]byte, error) {
	w := jsonWriter{r: dagcbor.NewReader(block), b: b}
	w.value(0)
	if err := w.r.End(); err != nil {
		return b, err
	}
	return w.b, nil
}

type jsonWriter struct {
	r dagcbor.Reader
	b []byte
}

func (w *jsonWriter) value(depth int) {
	if depth > dagcbor.MaxDepth {
		w.r.TooDeep()
	}
	if w.r.Err() != nil {
		return
	}
	switch w.r.Peek() {
	case dagcbor.Int:
		w.b = strconv.AppendInt(w.b, w.r.Int(), 10)
	case dagcbor.Text:
		w.b = appendText(w.b, w.r.Text())
	case dagcbor.Bytes:
		w.b = append(w.b, `{"$bytes":"`...)
		w.b = base64.RawStdEncoding.AppendEncode(w.b, w.r.Bytes())
		w.b = append(w.b, `"}`...)
	case dagcbor.CID:
		w.b = append(w.b, `{"$link":"`...)
		w.b = append(w.b, CIDText(w.r.CID())...)
		w.b = append(w.b, `"}`...)
	case dagcbor.Bool:
		w.b = strconv.AppendBool(w.b, w.r.Bool())
	case dagcbor.Null:
		w.r.Null()
		w.b = append(w.b, "null"...)
	case dagcbor.Array:
		w.array(depth)
	case dagcbor.Map:
		w.object(depth)
	default:
		w.r.Skip() // fails with what stands there
	}
}

func (w *jsonWriter) array(depth int) {
	w.b = append(w.b, '[')
	for i, n := 0, w.r.Array(); i < n && w.r.Err() == nil; i++ {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.value(depth + 1)
	}
	w.b = append(w.b, ']')
}

func (w *jsonWriter) object(depth int) {
	w.b = append(w.b, '{')
	var keys dagcbor.Keys
	for i, n := 0, w.r.Map(); i < n && w.r.Err() == nil; i++ {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(appendText(w.b, w.r.Key(&keys)), ':')
		w.value(depth + 1)
	}
	w.b = append(w.b, '}')
}

// appendText writes a text, which the reader has found to be UTF-8, as a JSON
// string.
func appendText(b, text []byte) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range string(text) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return append(b, '"')
}

// CIDText is the text of a binary CID of any kind; in hexadecimal digits if it is
// none.
func CIDText(binary []byte) string {
	if d, err := atproto.DigestFromCID(binary); err == nil {
		return d.String()
	}
	if c, err := cid.Cast(binary); err == nil {
		return c.String()
	}
	return hex.EncodeToString(binary)
}
