package simnet

import "slices"

// DeedKind is what was done.
type DeedKind string

// The kinds. Each names the verb of Network that does it; a life does it by itself.
const (
	Made           DeedKind = "made"              // CreateAccount
	Wrote          DeedKind = "wrote"             // Apply, Create, Update, Delete
	Deactivated    DeedKind = "deactivated"       // Deactivate
	Activated      DeedKind = "activated"         // Activate
	TakenDown      DeedKind = "taken down"        // Takedown
	Restored       DeedKind = "restored"          // Untakedown
	Suspended      DeedKind = "suspended"         // Suspend
	Unsuspended    DeedKind = "unsuspended"       // Unsuspend
	Deleted        DeedKind = "deleted"           // DeleteAccount
	Returned       DeedKind = "returned"          // Return
	Renamed        DeedKind = "renamed"           // ChangeHandle
	Rotated        DeedKind = "rotated"           // RotateKey, Rotate
	Announced      DeedKind = "announced"         // AnnounceKey
	Tombstoned     DeedKind = "tombstoned"        // Tombstone
	Moved          DeedKind = "moved"             // Migrate
	LeftOldHost    DeedKind = "left old host"     // LeaveOldHost, and Migrate without OldStays
	WroteOnOldHost DeedKind = "wrote on old host" // WriteOnOldHost
)

// Deed is one change of what is true of an account. That an event is told once more
// (EmitSync, EmitAccount, EmitIdentity) is none.
type Deed struct {
	Kind    DeedKind
	Account int // its number, in order of creation; see DIDs
	// PDS, counted from 0, is where it happened: where a new account is, where one
	// moved to, which host it left.
	PDS    int
	Handle string  // the account's after the deed
	Writes []Write // of the commit, with their records; not to be changed
}

// report tells Config.Watch of a deed that is done.
func (n *Network) report(a *account, kind DeedKind, writes ...Write) {
	if n.cfg.Watch != nil {
		n.cfg.Watch(Deed{Kind: kind, Account: a.number, PDS: slices.Index(n.pdses, a.pds), Handle: a.handle, Writes: writes})
	}
}
