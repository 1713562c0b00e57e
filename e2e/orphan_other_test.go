//go:build e2e && !linux

package e2e

import "syscall"

// dieWithParent does nothing where the kernel offers no such thing.
func dieWithParent() *syscall.SysProcAttr { return nil }
