package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// writeJSON writes a value as one line of JSON in which characters that a
// terminal could act on are escaped.
func writeJSON(w io.Writer, v any) error {
	line, err := safeJSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

func safeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return escape(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// writeJSONList is writeJSON for an object that holds a list too long to be kept:
// the fields of head, the list under its name, the fields of what fill returns.
// Both are objects that are not empty. fill adds the items.
func writeJSONList(w io.Writer, head any, name string, fill func(add func(item any) error) (tail any, err error)) error {
	text, err := safeJSON(head)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,%q:[", bytes.TrimSuffix(text, []byte("}")), name); err != nil {
		return err
	}
	comma := ""
	tail, err := fill(func(item any) error {
		text, err := safeJSON(item)
		if err == nil {
			_, err = fmt.Fprintf(w, "%s%s", comma, text)
		}
		comma = ","
		return err
	})
	if err != nil {
		return err
	}
	if text, err = safeJSON(tail); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "],%s\n", bytes.TrimPrefix(text, []byte("{")))
	return err
}

// escape writes what is not printable in a JSON text as \uXXXX, which means the
// same. Outside of strings JSON is printable.
func escape(text []byte) []byte {
	if bytes.IndexFunc(text, unprintable) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for _, r := range string(text) {
		switch {
		case !unprintable(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// unlessLeft takes the error of writing to a reader that has left, like head, for a
// normal end.
func unlessLeft(err error) error {
	if errors.Is(err, errReaderLeft) {
		return nil
	}
	return err
}

var errReaderLeft = errors.New("nobody reads the output any more")

// output distinguishes a reader that has left from other failures. A broken pipe to
// somebody else, a host say, is not meant.
type output struct{ w io.Writer }

// newOutput also keeps the signal of a broken pipe from ending the process, so
// that connections are closed and the exit code is ours.
func newOutput(w io.Writer) output {
	if _, isFile := w.(*os.File); isFile {
		signal.Ignore(syscall.SIGPIPE)
	}
	return output{w}
}

func (o output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		err = errReaderLeft
	}
	return n, err
}

// count counts things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
