package main

import "syscall"

// dieWithTest makes the kernel kill a process whose test died without cleaning up.
func dieWithTest() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
