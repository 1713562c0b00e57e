package simnet

import "slices"

// ActionKind is what was done.
type ActionKind string

// The kinds. Each names the verb of Network that does it; a life does it by itself.
const (
	Made           ActionKind = "made"              // CreateAccount
	Wrote          ActionKind = "wrote"             // Apply, Create, Update, Delete
	Deactivated    ActionKind = "deactivated"       // Deactivate
	Activated      ActionKind = "activated"         // Activate
	TakenDown      ActionKind = "taken down"        // Takedown
	Restored       ActionKind = "restored"          // Untakedown
	Suspended      ActionKind = "suspended"         // Suspend
	Unsuspended    ActionKind = "unsuspended"       // Unsuspend
	Deleted        ActionKind = "deleted"           // DeleteAccount
	Returned       ActionKind = "returned"          // Return
	Renamed        ActionKind = "renamed"           // ChangeHandle
	Rotated        ActionKind = "rotated"           // RotateKey, Rotate
	Announced      ActionKind = "announced"         // AnnounceKey
	Tombstoned     ActionKind = "tombstoned"        // Tombstone
	Moved          ActionKind = "moved"             // Migrate
	LeftOldHost    ActionKind = "left old host"     // LeaveOldHost, and Migrate without OldStays
	WroteOnOldHost ActionKind = "wrote on old host" // WriteOnOldHost
)

// AccountAction is one change of what is true of an account. That an event is sent once more
// (EmitSync, EmitAccount, EmitIdentity) is none.
type AccountAction struct {
	Kind    ActionKind
	Account int // its number, in order of creation; see DIDs
	// PDS, counted from 0, is where it happened: where a new account is, where one
	// moved to, which host it left.
	PDS    int
	Handle string  // the account's after the action
	Writes []Write // of the commit, with their records; not to be changed
}

// report calls Config.Watch with an action that is done.
func (n *Network) report(a *account, kind ActionKind, writes ...Write) {
	if n.cfg.Watch != nil {
		n.cfg.Watch(AccountAction{Kind: kind, Account: a.number, PDS: slices.Index(n.pdses, a.pds), Handle: a.handle, Writes: writes})
	}
}
