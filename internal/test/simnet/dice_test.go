package simnet

import "testing"

func TestDiceDependOnSeedFaultHostAndOccasion(t *testing.T) {
	n := &Network{cfg: Config{Seed: 1}}
	draw := func(n *Network, fault FaultName, host string, occasion uint64) float64 {
		return n.dice(fault, host, occasion).Float64()
	}
	first := draw(n, Drop, "pds1", 1)
	for what, other := range map[string]float64{
		"seed": draw(&Network{cfg: Config{Seed: 2}}, Drop, "pds1", 1), "fault": draw(n, Repeat, "pds1", 1),
		"host": draw(n, Drop, "pds2", 1), "occasion": draw(n, Drop, "pds1", 2),
	} {
		if other == first {
			t.Errorf("the draw does not depend on the %s", what)
		}
	}
	low := 0
	for i := range uint64(10_000) {
		if draw(n, Drop, "pds1", i) < 0.1 {
			low++
		}
	}
	if low < 850 || low > 1150 || draw(n, Drop, "pds1", 1) != first {
		t.Errorf("%d of 10000 draws are below 0.1", low)
	}
}
