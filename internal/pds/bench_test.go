package pds

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A full page of a listing, over loopback.
func BenchmarkListRepos(b *testing.B) {
	entries := make([]string, maxListLimit)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"did":"did:plc:%s","head":"bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454","rev":"3migo7fijwi2k","active":true}`,
			strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d").Replace(fmt.Sprintf("%024d", i)))
	}
	body := `{"cursor":"5","repos":[` + strings.Join(entries, ",") + `]}`
	c, base := host(b, answer(http.StatusOK, body))
	for b.Loop() {
		page, err := c.ListRepos(b.Context(), base, "", maxListLimit)
		if err != nil || len(page.Repos) != maxListLimit {
			b.Fatal(len(page.Repos), err)
		}
	}
	b.ReportMetric(float64(b.N)*maxListLimit/b.Elapsed().Seconds(), "entries/s")
}
