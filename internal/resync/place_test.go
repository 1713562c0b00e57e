package resync

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"railyard/internal/identity"
)

// settled is a directory in which nothing changes: every account of a testHosts is at one
// host, under its one key.
type settled struct{ host string }

func (d settled) Resolve(_ context.Context, did string) (identity.Identity, error) {
	const key = "\xe7\x01\x02\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b\xfc\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98"
	return identity.Identity{DID: did, Key: key, Host: d.host, Insecure: true}, nil
}

func (settled) EarlierKeys(context.Context, string) ([]identity.EarlierKey, error) { return nil, nil }

// A relay doubts more accounts of one host than the host may be asked about while a
// document is new. Each answer needs a new document, and gets it: the queue of the
// host comes to its end, with two questions for each account at most.
func TestManyQuestionsToOneHostComeToAnEnd(t *testing.T) {
	const accounts, perSecond = 400, 0.5 // the last of them waits for 800 seconds
	for name, answer := range map[string]string{
		"active":   `{"did":%q,"active":true}`,
		"inactive": `{"did":%q,"active":false,"status":"deactivated"}`,
	} {
		t.Run(name, func(t *testing.T) {
			withTestHosts(t, Config{Resolver: settled{"h1.sim.test"}, Workers: 16, HostQPS: perSecond}, func(w *testHosts) {
				w.host(1, true, func(rw http.ResponseWriter, r *http.Request) {
					_, _ = fmt.Fprintf(rw, answer, r.URL.Query().Get("did"))
				})
				w.accounts(1, accounts, 2)
				w.rows.WriteString("UPDATE identity SET stale = 1, fetched_at = 1; UPDATE resync_queue SET host_id = 0;")
				w.run()
				time.Sleep(2 * accounts / perSecond * time.Second)
				if n := w.waiting(1) + w.waiting(0); n != 0 {
					t.Errorf("%d of %d accounts wait", n, accounts)
				}
				if n := len(w.times("h1")); n < accounts || n > 2*accounts {
					t.Errorf("%d questions about %d accounts", n, accounts)
				}
			})
		})
	}
}
