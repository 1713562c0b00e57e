package bench

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// job is what clients are to do: each asks on a connection of its own, one request
// after the other, until the time is over.
type job struct {
	Addr    string   // host and port
	Paths   []string // with the query; each request draws one
	Clients int
	For     time.Duration
}

// tally is what came of a job.
type tally struct {
	Pages     int     // answers with status 200
	PerSecond float64 // of those
	P50, P99  time.Duration
	Failed    int // other answers
	Error     string
}

// Client does the jobs that come from r, until its end, and writes a tally of each to w.
// It is the other side of Query: in a process of its own, so that the CPU time of the
// server is not that of its clients.
func Client(r io.Reader, w io.Writer) error {
	in, out := gob.NewDecoder(r), gob.NewEncoder(w)
	for {
		var j job
		switch err := in.Decode(&j); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a job: %w", err)
		}
		if err := out.Encode(j.run()); err != nil {
			return fmt.Errorf("write a tally: %w", err)
		}
	}
}

// run does the job.
func (j job) run() (t tally) {
	var (
		mu    sync.Mutex
		times []time.Duration
		wait  sync.WaitGroup
	)
	end := time.Now().Add(j.For)
	for n := range j.Clients {
		wait.Go(func() {
			began := time.Now()
			mine, failed, err := j.client(n, end)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			times = append(times, mine...)
			t.Failed += failed
			t.PerSecond += float64(len(mine)) / took.Seconds()
			if err != nil {
				t.Error = err.Error()
			}
		})
	}
	wait.Wait()
	t.Pages = len(times)
	if t.Pages > 0 {
		slices.Sort(times)
		t.P50, t.P99 = times[len(times)/2], times[len(times)*99/100]
	}
	return t
}

// client is one of the clients. It reads each answer to its end and returns how long
// those with a page took.
func (j job) client(n int, end time.Time) (times []time.Duration, failed int, err error) {
	conn, err := net.Dial("tcp", j.Addr)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = conn.Close() }()
	r, chance := bufio.NewReaderSize(conn, 64<<10), rand.New(rand.NewPCG(1, uint64(n)))
	var request []byte
	for first := true; first || time.Now().Before(end); first = false {
		request = fmt.Appendf(request[:0], "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", j.Paths[chance.IntN(len(j.Paths))], j.Addr)
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			return times, failed, err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return times, failed, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil {
			return times, failed, err
		}
		if resp.StatusCode != http.StatusOK {
			failed++
			continue
		}
		times = append(times, time.Since(began))
	}
	return times, failed, nil
}

// clients are the process of Client, or whatever runs it, as Query sees it.
type clients struct {
	in  *gob.Encoder
	out *gob.Decoder
}

func newClients(rw io.ReadWriter) *clients {
	return &clients{gob.NewEncoder(rw), gob.NewDecoder(rw)}
}

// do has a job done.
func (c *clients) do(j job) (t tally, err error) {
	if err := c.in.Encode(j); err != nil {
		return t, fmt.Errorf("the process of the clients: %w", err)
	}
	if err := c.out.Decode(&t); err != nil {
		return t, fmt.Errorf("the process of the clients: %w", err)
	}
	if t.Error != "" {
		return t, fmt.Errorf("ask the server: %s", t.Error)
	}
	return t, nil
}
