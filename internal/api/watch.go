package api

import (
	"context"
	"sync"
	"time"
)

// watchEvery is how often the file is asked whether it has changed while there are
// streams: it may be another process that writes to it.
const watchEvery = 250 * time.Millisecond

// watch tells streams that the file has changed. It asks the file once for all of them,
// and not at all while there are none.
type watch struct {
	mu      sync.Mutex
	streams int
	moved   chan struct{} // closed at the next change
	stop    context.CancelFunc
	stopped chan struct{}
}

// join adds a stream. last returns the last number that was given.
func (w *watch) join(last func(context.Context) (int64, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams++; w.streams > 1 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	w.moved, w.stop, w.stopped = make(chan struct{}), stop, stopped
	go func() {
		defer close(stopped)
		w.ask(ctx, last)
	}()
}

// leave takes a stream away. When it returns for the last one, the file is asked no more.
func (w *watch) leave() {
	w.mu.Lock()
	w.streams--
	none, stop, stopped := w.streams == 0, w.stop, w.stopped
	w.mu.Unlock()
	if none {
		stop()
		<-stopped
	}
}

// next returns what is closed at the next change.
func (w *watch) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moved
}

// ask asks until ctx ends. An error is left to the streams, which ask for themselves with
// every heartbeat.
func (w *watch) ask(ctx context.Context, last func(context.Context) (int64, error)) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for seen := int64(-1); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := last(ctx)
		if err != nil || now == seen {
			continue
		}
		seen = now
		w.mu.Lock()
		close(w.moved)
		w.moved = make(chan struct{})
		w.mu.Unlock()
	}
}
