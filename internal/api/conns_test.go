package api

import (
	"net"
	"net/http"
	"testing"
)

// One connection too many costs the one that has been idle for longest, and is not
// served if none is.
func TestConnectionsAreBounded(t *testing.T) {
	c := newConns(2)
	made := make([]net.Conn, 5)
	for i := range made {
		made[i], _ = net.Pipe()
	}
	for i, step := range []struct {
		conn   int
		state  http.ConnState
		closed int // -1: none
	}{
		{0, http.StateNew, -1},
		{1, http.StateNew, -1},
		{0, http.StateActive, -1},
		{0, http.StateIdle, -1},
		{2, http.StateNew, 1},
		{1, http.StateClosed, -1},
		{0, http.StateActive, -1},
		{2, http.StateActive, -1},
		{3, http.StateNew, 3},
		{3, http.StateClosed, -1},
		{2, http.StateHijacked, -1},
		{4, http.StateNew, -1},
		{0, http.StateClosed, -1},
		{4, http.StateClosed, -1},
	} {
		closed := c.follow(made[step.conn], step.state)
		if step.closed < 0 && closed != nil || step.closed >= 0 && closed != made[step.closed] {
			t.Errorf("step %d: %v is closed", i, closed)
		}
	}
	if len(c.open) != 0 || c.idle.Len() != 0 {
		t.Errorf("%d are open, %d idle", len(c.open), c.idle.Len())
	}
}
