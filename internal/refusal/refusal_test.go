package refusal

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestEveryReasonIsExplainedOnce(t *testing.T) {
	seen := make(map[Reason]bool)
	for _, e := range All() {
		if seen[e.Reason] || e.Meaning == "" || strings.ToLower(string(e.Reason)) != string(e.Reason) {
			t.Errorf("%q: %q", e.Reason, e.Meaning)
		}
		seen[e.Reason] = true
	}
	for _, r := range []Reason{BadTree, OpsMismatch, RecordMissing, InversionBlocked, InversionFailed, NoPrev} {
		if !r.AfterSignature() || !seen[r] {
			t.Errorf("%s", r)
		}
	}
	if BadSignature.AfterSignature() || BadCAR.AfterSignature() {
		t.Error("a reason from before the signature")
	}
}

func TestARefusalIsBoundedAndKeepsItsCause(t *testing.T) {
	e := New(BadCAR, "%s: %w", strings.Repeat("x", 10_000), io.ErrUnexpectedEOF)
	if len(e.Error()) > 400 || !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, cause %v", len(e.Error()), errors.Unwrap(e))
	}
	if r, ok := ReasonOf(fmt.Errorf("wrapped: %w", e)); r != BadCAR || !ok {
		t.Errorf("reason %s, %t", r, ok)
	}
	if _, ok := ReasonOf(io.EOF); ok {
		t.Error("a reason for what is no refusal")
	}
}
