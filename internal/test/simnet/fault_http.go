package simnet

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Faults of whole answers.
const (
	HostVanishes    FaultName = "host vanishes"
	Latency         FaultName = "latency"
	RateLimited     FaultName = "rate limited"
	BareRateLimit   FaultName = "bare rate limit"
	ServerError     FaultName = "server error"
	UnknownError    FaultName = "unknown error"
	NoAnswer        FaultName = "no answer"
	HTMLPage        FaultName = "html page"
	PrivateRedirect FaultName = "private redirect"
	RedirectLoop    FaultName = "redirect loop"
	EmptyBody       FaultName = "empty body"
	Drip            FaultName = "drip"
	CutBody         FaultName = "cut body"
	HalfBody        FaultName = "half body"
	WrongLength     FaultName = "wrong length"
	EndlessBody     FaultName = "endless body"
	LateAnswer      FaultName = "late answer"
)

func httpFaults() []Fault {
	instead := func(name FaultName, act func(*match, http.ResponseWriter, *http.Request) bool, doc string) Fault {
		return Fault{Name: name, Where: OnHTTP, Doc: doc, instead: act}
	}
	around := func(name FaultName, act func(*match, http.ResponseWriter, *http.Request, *answered), doc string) Fault {
		return Fault{Name: name, Where: OnHTTP, Doc: doc, around: act}
	}
	return []Fault{
		instead(HostVanishes, hostVanishes, "The host is gone for one to ten minutes, its firehose too, and then returns."),
		instead(Latency, latency, "The answer comes after one to thirty seconds."),
		instead(RateLimited, rateLimited, "429 with RateLimit-* and a Retry-After of up to two minutes."),
		instead(BareRateLimit, bareRateLimit, "429 with an HTML page and no header that says when to return."),
		instead(ServerError, serverError, "500, 502, 503 or 504, with a body of some kind."),
		instead(UnknownError, unknownError, "400 with an error name that no lexicon has."),
		instead(NoAnswer, noAnswer, "No answer, until the client gives up."),
		instead(HTMLPage, htmlPage, "200 with an HTML page."),
		instead(PrivateRedirect, privateRedirect, "A redirect to an address that is not public."),
		instead(RedirectLoop, redirectLoop, "A redirect that leads to itself."),
		instead(EmptyBody, emptyBody, "200 with an empty body."),
		around(Drip, drip, "The body comes one byte a second."),
		around(CutBody, cutBody, "The connection ends after half of the body."),
		around(HalfBody, halfBody, "Half of the body comes as though it were all."),
		around(WrongLength, wrongLength, "The Content-Length is above what comes."),
		around(EndlessBody, endlessBody, "The body does not end: more blocks in an archive, blanks after JSON."),
		around(LateAnswer, lateAnswer, "The answer is that of the moment of the request, and comes one to twenty seconds later."),
	}
}

func hostVanishes(one *match, _ http.ResponseWriter, _ *http.Request) bool {
	h := one.host
	h.net.mu.Lock()
	h.returns = time.Now().Add(time.Duration(1+one.dice.IntN(10)) * time.Minute)
	h.net.mu.Unlock()
	h.disconnect()
	panic(http.ErrAbortHandler)
}

func latency(one *match, _ http.ResponseWriter, r *http.Request) bool {
	wait(r, time.Duration(1+one.dice.IntN(30))*time.Second)
	return false
}

// wait returns after a time, or as soon as the client is gone.
func wait(r *http.Request, d time.Duration) (goOn bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func rateLimited(one *match, w http.ResponseWriter, _ *http.Request) bool {
	refuseRate(w, 3000, 5*time.Minute, time.Duration(1+one.dice.IntN(120))*time.Second)
	return true
}

// refuseRate is the 429 of the reference PDS.
func refuseRate(w http.ResponseWriter, limit int, window, after time.Duration) {
	setRateHeaders(w, limit, 0, window, after)
	w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
	refuse(w, &xrpcError{http.StatusTooManyRequests, "RateLimitExceeded", "Rate Limit Exceeded"})
}

// setRateHeaders sets the headers of the reference PDS: how many requests are left, and
// when the count begins anew, in unix seconds.
func setRateHeaders(w http.ResponseWriter, limit, left int, window, after time.Duration) {
	h := w.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(left))
	h.Set("RateLimit-Reset", strconv.FormatInt(time.Now().Add(after).Unix(), 10))
	h.Set("RateLimit-Policy", fmt.Sprintf("%d;w=%d", limit, int(window.Seconds())))
}

func bareRateLimit(_ *match, w http.ResponseWriter, _ *http.Request) bool {
	writePage(w, http.StatusTooManyRequests)
	return true
}

// writePage is what a load balancer says.
func writePage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html><head><title>%d %s</title></head><body><h1>%[2]s</h1></body></html>\n", status, http.StatusText(status))
}

func serverError(one *match, w http.ResponseWriter, _ *http.Request) bool {
	status := 500 + []int{0, 2, 3, 4}[one.dice.IntN(4)]
	switch one.dice.IntN(3) {
	case 0:
		writePage(w, status)
	case 1:
		w.WriteHeader(status)
	default:
		refuse(w, &xrpcError{status, "InternalServerError", "Internal Server Error"})
	}
	return true
}

func unknownError(_ *match, w http.ResponseWriter, _ *http.Request) bool {
	refuse(w, &xrpcError{http.StatusBadRequest, "MoonPhaseMismatch", "not while the moon is full"})
	return true
}

func noAnswer(_ *match, _ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func htmlPage(_ *match, w http.ResponseWriter, _ *http.Request) bool {
	writePage(w, http.StatusOK)
	return true
}

func privateRedirect(one *match, w http.ResponseWriter, r *http.Request) bool {
	address := oneOf(one.dice, []string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.0.1", "[::1]", "[fd00::1]", "100.64.0.1"})
	http.Redirect(w, r, "http://"+address+r.URL.RequestURI(), http.StatusFound)
	return true
}

// loopPath is where every request is sent to itself.
const loopPath = "/loop"

func redirectLoop(_ *match, w http.ResponseWriter, r *http.Request) bool {
	http.Redirect(w, r, loopPath, http.StatusFound)
	return true
}

func emptyBody(_ *match, w http.ResponseWriter, _ *http.Request) bool {
	w.WriteHeader(http.StatusOK)
	return true
}
