package establish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"railyard/internal/outbound"
	"railyard/internal/pds"
)

// remote asks a PDS over HTTP.
type remote struct {
	client    *pds.Client
	base, did string
}

func (r remote) GetRecord(ctx context.Context, collection, rkey string) ([]byte, error) {
	return r.client.GetRecord(ctx, r.base, r.did, collection, rkey)
}

func (r remote) DescribeRepo(ctx context.Context) ([]string, error) {
	d, err := r.client.DescribeRepo(ctx, r.base, r.did)
	return d.Collections, err
}

// serve gives the host a server; refuse may end a request by an error's name.
func serve(t *testing.T, h *host, refuse func(q question) string) remote {
	mux := http.NewServeMux()
	mux.HandleFunc("/xrpc/com.atproto.sync.getRecord", func(w http.ResponseWriter, r *http.Request) {
		q := question{r.URL.Query().Get("collection"), r.URL.Query().Get("rkey")}
		if name := refuse(q); name != "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":%q,"message":"%s %s not found"}`, name, q.collection, q.rkey)
			return
		}
		car, err := h.GetRecord(r.Context(), q.collection, q.rkey)
		if err != nil {
			t.Error(err)
		}
		w.Write(car)
	})
	mux.HandleFunc("/xrpc/com.atproto.repo.describeRepo", func(w http.ResponseWriter, r *http.Request) {
		list, _ := h.DescribeRepo(r.Context())
		json.NewEncoder(w).Encode(map[string]any{"did": h.did, "handle": "a.example.com", "collections": list})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	out := outbound.New(outbound.Config{AllowPrivate: true})
	t.Cleanup(out.Close)
	return remote{pds.New(out), server.URL, testDID}
}

func TestAPDSIsProbedOverHTTP(t *testing.T) {
	h := ordinary(t)
	r := serve(t, h, func(question) string { return "" })
	cfg := h.config()
	cfg.source = r
	proven, err := newProber(cfg).collections(t.Context())
	if err != nil || !slices.Equal(proven.collections, truth(h.keys)) {
		t.Errorf("got %+v, %v", proven, err)
	}
	claimed, err := newProber(cfg).describe(t.Context(), r)
	if err != nil || !slices.Equal(claimed.collections, truth(h.keys)) || claimed.commit.CID != proven.commit.CID {
		t.Errorf("got %+v, %v", claimed, err)
	}
}

func TestAnswersOfServersKeepTheirMeaning(t *testing.T) {
	for name, noProof := range map[string]bool{"InvalidRequest": true, "RecordNotFound": true, "RepoDeactivated": false, "RateLimitExceeded": false} {
		h := ordinary(t)
		cfg := h.config()
		cfg.source = serve(t, h, func(question) string { return name })
		_, err := newProber(cfg).collections(t.Context())
		if e, ok := errors.AsType[*pds.Error](err); !ok || e.Name != name || errors.Is(err, errNoAbsenceProof) != noProof {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
