package mst

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalid is wrapped when a present node breaks a rule of the tree.
	ErrInvalid = errors.New("not a valid tree")
	// ErrHidden is wrapped when an operation touches a gap.
	ErrHidden = errors.New("a needed node is absent")
	// ErrMissing is wrapped when a tree that must be whole lacks a node.
	ErrMissing = errors.New("the tree is not whole")
	// ErrKey is wrapped when the key of an operation is not as the operation
	// says: already there on Insert, not there on Set and Remove.
	ErrKey = errors.New("key is not as the operation says")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
