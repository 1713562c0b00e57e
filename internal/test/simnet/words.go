package simnet

import (
	"fmt"
	"net/http"
	"strings"
)

// Words are an answer as other software gives it. In the body DID stands for the account
// that was asked about.
type Words struct {
	Name   string // for people
	Status int
	Body   string
}

func (w *Words) Error() string { return w.Name }

// about returns the words about an account.
func (w *Words) about(did string) *Words {
	return &Words{w.Name, w.Status, strings.ReplaceAll(w.Body, "DID", did)}
}

func (w *Words) write(rw http.ResponseWriter) {
	kind := "text/plain; charset=utf-8"
	switch {
	case strings.HasPrefix(w.Body, "{"):
		kind = "application/json"
	case strings.HasPrefix(w.Body, "<"):
		kind = "text/html"
	}
	rw.Header().Set("Content-Type", kind)
	rw.WriteHeader(w.Status)
	_, _ = fmt.Fprint(rw, w.Body)
}

// GoneWords are those in which hosts say that they have no such repo.
func GoneWords() []Words {
	return []Words{
		{"a text", 404, "did not found"},
		{"a page", 404, "<html><body>404 page not found</body></html>"},
		{"nothing", 404, ""},
		{"gone", 410, `{"error":"Gone","message":"this account has left"}`},
		{"a bad request", 400, `{"error":"InvalidRequest","message":"Repo None not found"}`},
		{"a name of its own", 400, `{"error":"AccountNotFound","message":"no account for DID"}`},
		{"an error of the server", 500, `{"error":"InternalServerError","message":"Internal Server Error"}`},
		{"forbidden", 403, `{"error":"Forbidden","message":"DID"}`},
		{"an error within an answer", 200, `{"error":"NotFound"}`},
		{"an empty answer", 200, ""},
		{"a list of errors", 422, `{"detail":[{"msg":"unknown did"}]}`},
	}
}

// StatusWords are answers to getRepoStatus, whatever the account, of hosts that do not
// have it or do not say what the lexicon demands.
func StatusWords() []Words {
	return []Words{
		{"not implemented", 501, `{"error":"MethodNotImplemented","message":"Method Not Implemented"}`},
		{"no such path", 404, "404 page not found"},
		{"a page", 200, "<html><body>Welcome</body></html>"},
		{"no active", 200, `{"did":"DID","status":null,"rev":"3aaaaaaaaaaaa"}`},
		{"active in words", 200, `{"did":"DID","active":"true"}`},
		{"login", 401, `{"error":"AuthMissing","message":"Authentication Required"}`},
		{"no method", 405, ""},
		{"an error of the server", 500, "panic"},
	}
}
