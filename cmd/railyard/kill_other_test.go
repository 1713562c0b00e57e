//go:build !linux

package main

import "syscall"

// dieWithTest does nothing where the kernel offers no such thing.
func dieWithTest() *syscall.SysProcAttr { return nil }
