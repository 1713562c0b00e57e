// Package faultvfs is a disk for SQLite files that fails when a test says so.
//
// A Disk is a VFS of SQLite that passes every call on to the one of the operating
// system, unless a Fault of the test names it: then the call fails, a write lands by
// half, or the power is cut. It keeps what was written and not synced, so that
// Reboot can leave of that what a real disk might: all, nothing, or any part, down to
// the sector. A Fault counts how often it acted, so that a test can prove that it did.
//
// What it leaves out: files are made and deleted at once, and a sync that fails loses
// nothing by itself.
//
// It is for tests alone. A crash of the test leaves the files as they were written.
package faultvfs
