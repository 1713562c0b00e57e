package api

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// conns bounds the connections of a server.
type conns struct {
	most int

	mu   sync.Mutex
	open map[net.Conn]*list.Element // its place in idle; nil: a request is under way
	idle *list.List                 // those on which no request is under way, the oldest first
}

func newConns(most int) *conns {
	return &conns{most: most, open: make(map[net.Conn]*list.Element), idle: list.New()}
}

// changed is http.Server.ConnState.
func (c *conns) changed(conn net.Conn, state http.ConnState) {
	if oldest := c.follow(conn, state); oldest != nil {
		_ = oldest.Close() // its server reports that, too
	}
}

// follow notes the state of a connection and returns one that must be closed.
func (c *conns) follow(conn net.Conn, state http.ConnState) (tooMany net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.open[conn]; place != nil {
		c.idle.Remove(place)
	}
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
		return nil
	case http.StateActive:
		c.open[conn] = nil
		return nil
	}
	if state == http.StateNew && len(c.open) >= c.most {
		tooMany = conn
		if first := c.idle.Front(); first != nil {
			tooMany, _ = c.idle.Remove(first).(net.Conn)
		}
		delete(c.open, tooMany)
		if tooMany == conn {
			return conn
		}
	}
	c.open[conn] = c.idle.PushBack(conn)
	return tooMany
}
