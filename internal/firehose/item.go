package firehose

import "railyard/internal/event"

// Notice says what happened to the stream, beside the frame.
type Notice byte

const (
	// None: nothing.
	None Notice = iota
	// Reset: the connection began below our cursor. The upstream has lost its
	// sequence; its new one is adopted.
	Reset
	// Gap: the upstream says that it no longer holds what followed our cursor.
	// Events are lost (#info OutdatedCursor).
	Gap
	// Future: our cursor is ahead of the upstream's newest event (error
	// FutureCursor). The stream goes on without a cursor; events are lost.
	Future
	// Skipped: a message that had broken the connection twice was stepped over when it
	// came for the third time, or one without a cursor to return to at once. Its event is
	// lost. For an hour others are stepped over at once and without a Notice; if there were
	// any, the first item after it has theirs.
	Skipped
)

func (n Notice) String() string {
	return [...]string{"none", "reset", "gap", "future", "skipped"}[n]
}

// Item is one thing that the stream brought.
type Item struct {
	// Frame is the frame as decoded, perhaps with a Refusal. That of a message that was
	// stepped over is refusal.FrameSkipped and says why.
	Frame event.Frame
	// Notice is rarely anything but None.
	Notice Notice
	// Cursor is to be stored once everything up to this item is applied; 0:
	// leave it as it is, unless ResetCursor says otherwise.
	Cursor int64
	// ResetCursor: store Cursor although it is lower than the stored one. With a
	// Cursor of 0 there is none any more.
	ResetCursor bool
	// Missed is how many sequence numbers lie between our cursor and the first
	// event of a connection. It is a hint: gaps are legal, but a relay that says
	// nothing when a cursor is too old for it shows only this way.
	Missed int64
}
