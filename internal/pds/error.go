package pds

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/exactjson"
	"railyard/internal/outbound"
)

// Outcome is what a failed request means for a repo and its host.
type Outcome string

// The closed list of outcomes.
const (
	RateLimited     Outcome = "rate-limited"     // leave the host alone for a while
	NotFound        Outcome = "not-found"        // the host does not have the repo
	Takendown       Outcome = "takendown"        // account status
	Suspended       Outcome = "suspended"        // account status
	Deactivated     Outcome = "deactivated"      // account status
	Deleted         Outcome = "deleted"          // account status
	NotSynchronized Outcome = "not-synchronized" // a relay has not fetched the repo yet
	Unsupported     Outcome = "unsupported"      // nobody there answers this method
	NoRecord        Outcome = "no-record"        // getRecord: no answer for absent keys, where a proof is due
	Transient       Outcome = "transient"        // network, timeout, 5xx, unexpected answer
)

// Gone reports whether the host says that the account is not public. Such an
// answer ends the retries until an event says otherwise.
func (o Outcome) Gone() bool {
	switch o {
	case Takendown, Suspended, Deactivated, Deleted:
		return true
	}
	return false
}

// Error is a request that a server refused or that did not reach it.
type Error struct {
	Method     string        // NSID of the endpoint
	Host       string        // host[:port] that was asked
	Status     int           // HTTP status; 0 without an answer
	Name       string        // error name of the body; empty if it had none
	Message    string        // for people; bounded
	RetryAfter time.Duration // as the server asked, at most an hour; 0 if it did not
	Outcome    Outcome
	Err        error // failure of the network, or nil
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s at %s: %s", e.Method, e.Host, e.Outcome)
	if e.Status != 0 {
		text += fmt.Sprintf(": status %d", e.Status)
	}
	if e.Name != "" {
		text += fmt.Sprintf(": %s: %s", e.Name, e.Message)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unclear reports whether the server has answered and its answer has no meaning for what
// was asked: it may concern the method, the account, or all that the server does. A
// gateway in front of it is no answer, nor is a word when to come back.
func (e *Error) Unclear() bool {
	switch {
	case e.Outcome != Unsupported && e.Outcome != Transient && e.Outcome != NoRecord && e.Outcome != NotSynchronized:
		return false
	case e.RetryAfter > 0, e.Status == http.StatusRequestTimeout, e.Status > http.StatusNotImplemented && e.Status != http.StatusHTTPVersionNotSupported:
		return false
	}
	return e.Status != 0
}

// Unwrap returns the failure of the network.
func (e *Error) Unwrap() error { return e.Err }

const (
	maxName    = 64
	maxMessage = 200
)

// refusedBy reads the answer of a server that refuses. Proxies answer with HTML or
// nothing: then there is no name, and the status decides.
func refusedBy(method, host string, resp *outbound.Response, body []byte) *Error {
	var said struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	_ = exactjson.Unmarshal(body, &said) // what is not there, or no text, is empty
	return &Error{
		Method:     method,
		Host:       host,
		Status:     resp.Status,
		Name:       atproto.ClipTo(said.Error, maxName),
		Message:    atproto.ClipTo(said.Message, maxMessage),
		RetryAfter: resp.RetryAfter(time.Now()),
		Outcome:    outcome(resp.Status, said.Error, said.Message),
	}
}

// outcome decides by the error name first and by the status second: the same
// refusal comes as 400 from a PDS and as 403 or 404 from a relay.
//
// A 404 or 410 without a name that we know is not the word of an atproto server
// about a repo, but that of a proxy or of another server at that name: it must
// not make a repo disappear.
func outcome(status int, name, message string) Outcome {
	switch name {
	case "RateLimitExceeded":
		return RateLimited
	case "RepoNotFound":
		return NotFound
	case "NotFound":
		if strings.EqualFold(message, "Repo not found") {
			return NotFound
		}
	case "RepoTakendown":
		return Takendown
	case "RepoSuspended":
		return Suspended
	case "RepoDeactivated":
		return Deactivated
	case "RepoDeleted":
		return Deleted
	case "RepoNotSynchronized":
		return NotSynchronized
	case "RecordNotFound":
		return NoRecord
	case "NotImplemented", "MethodNotImplemented":
		return Unsupported
	}
	switch status {
	case http.StatusTooManyRequests:
		return RateLimited
	case http.StatusNotFound, http.StatusGone, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return Unsupported
	}
	return Transient
}
