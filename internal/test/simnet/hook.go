package simnet

import "net/http"

// Hook lets a test alter what a host says, for what no Fault of the table does.
// Its functions are called on the host's own goroutines, many at a time; nil does
// nothing.
type Hook struct {
	// HTTP may answer a request instead of the host; it returns whether it did.
	HTTP func(w http.ResponseWriter, r *http.Request) bool
	// Frame returns the messages to send instead of one frame of the firehose,
	// none, one or several. It must not change its argument in place.
	Frame func(frame []byte) [][]byte
}

// SetHook sets the hook of a host, by its name; the zero Hook takes it away.
// It holds for requests and frames that begin after the call.
func (n *Network) SetHook(name string, hook Hook) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil {
		h.hook = hook
	}
}
