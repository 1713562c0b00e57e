package daemon

import (
	"log/slog"
	"syscall"
)

const (
	// ownDescriptors are kept for the file, its readers, the log and the listeners,
	// beside one for each upstream.
	ownDescriptors = 64
	// privateConns are the connections of the metrics listener, among them.
	privateConns = 8
	// leastConns may be open whatever the limit is, mostConns whatever it allows.
	leastConns = 8
	mostConns  = 8192
	// fewDescriptors is the least that a service of the whole network should have.
	fewDescriptors = 1024
)

// bounds are how many connections may be open at once.
type bounds struct{ in, out int }

// descriptors returns how many the process may have. The Go runtime has raised the
// limit as far as it goes.
func descriptors() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fewDescriptors
	}
	return uint64(limit.Cur) // signed on FreeBSD
}

// connections divides the descriptors: what strangers open must leave enough for what
// we do, and neither may take those of the file.
func connections(limit uint64, upstreams int, log *slog.Logger) bounds {
	// Beyond this limit nothing changes, and up to it an int holds it: no limit at all is 1<<64-1.
	left := int(min(limit, 4*mostConns)) - ownDescriptors - upstreams
	n := min(max(left/2, leastConns), mostConns)
	if limit < fewDescriptors {
		log.Warn("the process may open few files and sockets; raise the limit (ulimit -n)", "limit", limit, "connections_in", n, "connections_out", n)
	}
	return bounds{in: n, out: n}
}
