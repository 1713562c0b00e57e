package eventlog

import (
	"strings"
	"time"

	"railyard/internal/cli/archive"
	"railyard/internal/event"
	"railyard/internal/firehose"
	"railyard/internal/refusal"
)

// Line is one event. Fields that an event does not have are left out.
type Line struct {
	Seq  int64     `json:"seq,omitempty"`
	Time time.Time `json:"time,omitzero"` // as the upstream says
	// Type is that of the frame without its #: commit, sync, identity, account,
	// info, error, or what an outsider made up.
	Type string `json:"type"`
	DID  string `json:"did,omitempty"`

	// Of commits; rev and blocks of syncs too. Without since and prevData the
	// message has none.
	Rev      string `json:"rev,omitempty"`
	Since    string `json:"since,omitempty"`
	Commit   string `json:"commit,omitempty"`
	PrevData string `json:"prevData,omitempty"`
	Ops      []Op   `json:"ops,omitzero"`
	Blocks   int    `json:"blocks,omitempty"` // bytes of the CAR

	Active *bool  `json:"active,omitempty"` // of accounts
	Status string `json:"status,omitempty"`

	Name    string `json:"name,omitempty"` // of infos and errors
	Message string `json:"message,omitempty"`

	// Notice is what happened to the stream: reset, gap, future, skipped. Missed
	// counts the numbers between the cursor and the first event.
	Notice string `json:"notice,omitempty"`
	Missed int64  `json:"missed,omitempty"`

	// Refused says why the event is no good; without verification only what the
	// frame shows by itself.
	Refused *Refused `json:"refused,omitempty"`

	// Verified is there for commits and syncs if verification was asked for, and
	// Undecided in its place where no key could be had.
	Verified  *bool  `json:"verified,omitempty"`
	Undecided string `json:"undecided,omitempty"`

	// What a verified commit proves of the collections that it touches: they have
	// a record now, have none left, had none before; or had perhaps none before.
	Present      []string `json:"present,omitzero"`
	Died         []string `json:"died,omitzero"`
	Born         []string `json:"born,omitzero"`
	BirthUnknown []string `json:"birthUnknown,omitzero"`
}

// Op is one op of a commit, with the CIDs of the record after and before it.
type Op struct {
	Action string `json:"action"`
	Path   string `json:"path"`
	CID    string `json:"cid,omitempty"`
	Prev   string `json:"prev,omitempty"`
}

// Refused is a refusal with its reason from the closed list.
type Refused struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

func refused(e *refusal.Error) *Refused { return &Refused{string(e.Reason), e.Detail} }

// newLine describes what the stream brought.
func newLine(it firehose.Item) Line {
	f := it.Frame
	l := Line{Seq: f.Seq, Time: f.Time, Type: strings.TrimPrefix(f.Type, "#"), DID: f.DID, Missed: it.Missed}
	if it.Notice != firehose.None {
		l.Notice = it.Notice.String()
	}
	if f.Refusal != nil {
		l.Refused = refused(f.Refusal)
	}
	switch e := f.Event.(type) {
	case *event.Commit:
		l.commit(e)
	case *event.Sync:
		l.Rev, l.Blocks = e.Rev.String(), len(e.Blocks)
	case *event.Account:
		l.Active, l.Status = &e.Active, e.Status
	case *event.Info:
		l.Name, l.Message = e.Name, e.Message
	case *event.StreamError:
		l.Name, l.Message = e.Name, e.Message
	}
	return l
}

func (l *Line) commit(c *event.Commit) {
	l.Rev, l.Commit, l.Blocks = c.Rev.String(), c.CID.String(), len(c.Blocks)
	if c.Since != nil {
		l.Since = c.Since.String()
	}
	if c.PrevData != nil {
		l.PrevData = c.PrevData.String()
	}
	l.Ops = make([]Op, len(c.Ops))
	for i, op := range c.Ops {
		l.Ops[i] = Op{Action: actionText(op.Action), Path: op.Path}
		if op.CID != nil {
			l.Ops[i].CID = archive.CIDText(op.CID)
		}
		if op.Prev != nil {
			l.Ops[i].Prev = archive.CIDText(op.Prev)
		}
	}
}

func actionText(a event.Action) string {
	switch a {
	case event.Create:
		return "create"
	case event.Update:
		return "update"
	}
	return "delete"
}
