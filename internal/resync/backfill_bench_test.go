package resync_test

import (
	"os"
	"strconv"
	"testing"

	"railyard/internal/establish"
	"railyard/internal/repostate"
)

// backfillSize returns the repos and hosts of the benchmarks: RAILYARD_BACKFILL of
// the former, 20,000 if it is not set, at a thousand hosts.
func backfillSize(b *testing.B) (repos, hosts int) {
	b.Helper()
	repos, hosts = 20_000, 1000
	if text := os.Getenv("RAILYARD_BACKFILL"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 5_000_000 {
			b.Fatalf("RAILYARD_BACKFILL=%q: no number of repos", text)
		}
		repos = n
	}
	return repos, min(hosts, repos)
}

// BenchmarkBackfill makes an index of new repos, whose identities are known, at
// hosts that answer at once: over real connections, with the file, the dispatcher
// and the proofs of the service. The hosts are a process of their own on the same
// machine. At the end the file has to equal what they hold.
func BenchmarkBackfill(b *testing.B) {
	repos, hosts := backfillSize(b)
	for _, method := range []establish.Method{establish.Describe, establish.WholeRepo, establish.Auto} {
		b.Run(string(method), func(b *testing.B) {
			for b.Loop() {
				run(b, scene{method: method, hosts: hosts, repos: repos}).report(b)
			}
		})
	}
}

// A small backfill by each method comes to what the hosts hold, also beside hosts
// that misbehave.
func TestBackfillEqualsTheLoadHosts(t *testing.T) {
	for _, name := range establish.Methods() {
		t.Run(name, func(t *testing.T) {
			r := run(t, scene{method: establish.Method(name), hosts: 20, repos: 300, attackers: 8})
			if n := r.proofs[repostate.ProofTree] + r.proofs[repostate.ProofProbe] + r.proofs[repostate.ProofClaim]; n != r.repos {
				t.Errorf("%d of %d repos are proven or described: %v", n, r.repos, r.proofs)
			}
		})
	}
}

// BenchmarkBackfillLimits makes an index at the pace that hosts are owed. No host
// may see more requests in any second than the rate, the quarter of a second that
// may be made up for, and one that the network has delayed until it met the next.
func BenchmarkBackfillLimits(b *testing.B) {
	const rate = 8
	for b.Loop() {
		r := run(b, scene{method: establish.Describe, hosts: 50, repos: 1000, rate: rate})
		r.report(b)
		b.ReportMetric(float64(r.loadHosts.Busiest), "most-requests-in-a-second")
		if most := rate + rate/4 + 1; r.loadHosts.Busiest > most {
			b.Errorf("a host had %d requests in a second, and %d are its rate", r.loadHosts.Busiest, most)
		}
	}
}

// BenchmarkBackfillAttacked makes the same index alone, beside a hundred hosts that
// do what they can to keep others waiting, and alone again, and compares: other
// work of the machine is in all three.
func BenchmarkBackfillAttacked(b *testing.B) {
	repos, hosts := backfillSize(b)
	healthy := scene{method: establish.Auto, hosts: hosts, repos: repos}
	attacked := healthy
	attacked.attackers = 100
	for b.Loop() {
		before, during, after := run(b, healthy), run(b, attacked), run(b, healthy)
		during.report(b)
		alone := (before.perSecond() + after.perSecond()) / 2
		b.ReportMetric(during.perSecond()/alone, "of-the-healthy-speed")
		b.ReportMetric(before.perSecond(), "resyncs/s-before")
		b.ReportMetric(after.perSecond(), "resyncs/s-after")
	}
}
