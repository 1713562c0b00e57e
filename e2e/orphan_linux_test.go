//go:build e2e && linux

package e2e

import "syscall"

// dieWithParent makes the kernel kill a process whose test died without
// cleaning up.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
