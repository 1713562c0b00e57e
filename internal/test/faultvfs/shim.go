package faultvfs

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite is translated from C: its structs lie in memory of its own and its
// function pointers are those of Go functions. (modernc.org/sqlite/vfs does the same)

// head is what SQLite takes for a file of ours. The file of the operating system's
// VFS lies behind it.
type head struct {
	methods uintptr
	handle  uintptr // of the file in opens
}

// headSize keeps the real file aligned.
const headSize = 16

// file is an open file.
type file struct {
	disk *Disk
	path string
	kind File
	real uintptr
}

// registration is what SQLite knows of a disk.
type registration struct {
	tls    *libc.TLS
	base   uintptr // the VFS of the operating system
	vfs    uintptr
	name   uintptr
	handle uintptr
}

var (
	handles atomic.Uintptr
	disks   sync.Map // *Disk by handle
	opens   sync.Map // *file by handle
)

func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// function makes a Go function of a C function pointer, pointer the other way round.
func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }

func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

type (
	fileCall  = func(tls *libc.TLS, f uintptr) int32
	fileInt   = func(tls *libc.TLS, f uintptr, n int32) int32
	fileLong  = func(tls *libc.TLS, f uintptr, n sqlite3.Tsqlite3_int64) int32
	filePtr   = func(tls *libc.TLS, f, p uintptr) int32
	fileIO    = func(tls *libc.TLS, f, buf uintptr, n int32, at sqlite3.Tsqlite3_int64) int32
	fileCtl   = func(tls *libc.TLS, f uintptr, op int32, arg uintptr) int32
	fileMap   = func(tls *libc.TLS, f uintptr, region, size, extend int32, out uintptr) int32
	fileShm   = func(tls *libc.TLS, f uintptr, from, n, flags int32) int32
	vfsOpen   = func(tls *libc.TLS, vfs, name, f uintptr, flags int32, out uintptr) int32
	vfsDelete = func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
)

// methods is version 2: without memory mapping, everything is read with Read.
var methods = sqlite3.Tsqlite3_io_methods{
	FiVersion: 2,
	FxClose:   pointer(fileCall(shimClose)), FxRead: pointer(fileIO(shimRead)), FxWrite: pointer(fileIO(shimWrite)),
	FxTruncate: pointer(fileLong(shimTruncate)), FxSync: pointer(fileInt(shimSync)), FxFileSize: pointer(filePtr(shimSize)),
	FxLock: pointer(fileInt(shimLock)), FxUnlock: pointer(fileInt(shimUnlock)),
	FxCheckReservedLock: pointer(filePtr(shimReserved)), FxFileControl: pointer(fileCtl(shimControl)),
	FxSectorSize: pointer(fileCall(shimSector)), FxDeviceCharacteristics: pointer(fileCall(shimDevice)),
	FxShmMap: pointer(fileMap(shimShmMap)), FxShmLock: pointer(fileShm(shimShmLock)),
	FxShmBarrier: pointer(shimShmBarrier), FxShmUnmap: pointer(fileInt(shimShmUnmap)),
}

// register makes the VFS: that of the operating system, but for its name, the size of
// its files, and how files are opened and deleted.
func (d *Disk) register() error {
	r := &registration{tls: libc.NewTLS(), handle: handles.Add(1)}
	r.base = sqlite3.Xsqlite3_vfs_find(r.tls, 0)
	r.vfs = sqlite3.Xsqlite3_malloc(r.tls, int32(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	d.name = fmt.Sprintf("faultfile%d", r.handle)
	name, err := libc.CString(d.name)
	if err != nil || r.base == 0 || r.vfs == 0 {
		return errors.Join(errors.New("no VFS to stand on"), err)
	}
	r.name = name
	v := at[sqlite3.Tsqlite3_vfs](r.vfs)
	*v = *at[sqlite3.Tsqlite3_vfs](r.base)
	v.FszOsFile += headSize
	v.FpNext, v.FzName, v.FpAppData = 0, r.name, r.handle
	v.FxOpen, v.FxDelete = pointer(vfsOpen(shimOpen)), pointer(vfsDelete(shimDelete))
	disks.Store(r.handle, d)
	d.vfs = r
	return r.result(false)
}

func (r *registration) result(standard bool) error {
	if rc := sqlite3.Xsqlite3_vfs_register(r.tls, r.vfs, libc.Bool32(standard)); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("register a VFS: code %d", rc)
	}
	return nil
}

// MakeDefault makes the disk that of every connection of this process that names no VFS,
// until the test ends.
func (d *Disk) MakeDefault() error { return d.vfs.result(true) }

func (d *Disk) unregister() error {
	d.mu.Lock()
	open := d.open
	d.mu.Unlock()
	if open > 0 {
		return fmt.Errorf("%d files of %s are still open", open, d.name)
	}
	r := d.vfs
	rc := sqlite3.Xsqlite3_vfs_unregister(r.tls, r.vfs)
	disks.Delete(r.handle)
	sqlite3.Xsqlite3_free(r.tls, r.vfs)
	libc.Xfree(r.tls, r.name)
	r.tls.Close()
	if rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("unregister a VFS: code %d", rc)
	}
	return nil
}

func diskOf(vfs uintptr) *Disk {
	d, _ := disks.Load(at[sqlite3.Tsqlite3_vfs](vfs).FpAppData)
	return d.(*Disk)
}

func fileOf(f uintptr) *file {
	x, _ := opens.Load(at[head](f).handle)
	return x.(*file)
}

// io returns the methods of the operating system's file.
func (x *file) io() *sqlite3.Tsqlite3_io_methods {
	return at[sqlite3.Tsqlite3_io_methods](at[head](x.real).methods)
}

func shimOpen(tls *libc.TLS, vfs, name, f uintptr, flags int32, out uintptr) int32 {
	h := at[head](f)
	*h = head{} // no methods: SQLite does not close what was not opened
	d := diskOf(vfs)
	x := &file{disk: d, kind: Other, real: f + headSize}
	if name != 0 {
		x.path = libc.GoString(name)
		x.kind = kindOf(x.path, flags)
	}
	if rc := d.check(Open, x.kind); rc != sqlite3.SQLITE_OK {
		return rc
	}
	// Before the file is opened: closing another descriptor later drops its locks.
	if err := d.opened(x.path); err != nil {
		d.closed(x.path)
		return sqlite3.SQLITE_CANTOPEN
	}
	base := at[sqlite3.Tsqlite3_vfs](d.vfs.base)
	if rc := function[vfsOpen](base.FxOpen)(tls, d.vfs.base, name, x.real, flags, out); rc != sqlite3.SQLITE_OK {
		d.closed(x.path)
		return rc
	}
	h.handle = handles.Add(1)
	opens.Store(h.handle, x)
	h.methods = uintptr(unsafe.Pointer(&methods))
	return sqlite3.SQLITE_OK
}

func shimDelete(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32 {
	d := diskOf(vfs)
	d.mu.Lock()
	defer d.mu.Unlock()
	path := libc.GoString(name)
	if x := d.fault(Delete, kindOf(path, 0)); x != nil {
		return x.Code
	}
	delete(d.images, path)
	return function[vfsDelete](at[sqlite3.Tsqlite3_vfs](d.vfs.base).FxDelete)(tls, d.vfs.base, name, syncDir)
}

func shimClose(tls *libc.TLS, f uintptr) int32 {
	x := fileOf(f)
	rc := function[fileCall](x.io().FxClose)(tls, x.real)
	opens.Delete(at[head](f).handle)
	x.disk.closed(x.path)
	return rc
}

func shimRead(tls *libc.TLS, f, buf uintptr, n int32, from sqlite3.Tsqlite3_int64) int32 {
	x := fileOf(f)
	switch rc := x.disk.check(Read, x.kind); rc {
	case sqlite3.SQLITE_OK:
		return function[fileIO](x.io().FxRead)(tls, x.real, buf, n, from)
	case sqlite3.SQLITE_IOERR_SHORT_READ: // it promises zeros
		clear(unsafe.Slice(at[byte](buf), n))
		return rc
	default:
		return rc
	}
}

func shimWrite(tls *libc.TLS, f, buf uintptr, n int32, to sqlite3.Tsqlite3_int64) int32 {
	x := fileOf(f)
	d := x.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	cut := d.dead
	fault := d.fault(Write, x.kind)
	if cut || (fault != nil && !fault.Short && !fault.Cut) {
		return fault.Code
	}
	if fault != nil && fault.Short {
		n /= 2
	}
	// A write during which the power is cut may land, or some of it.
	if im := d.images[x.path]; im != nil {
		im.pending = append(im.pending, change{to, append([]byte{}, unsafe.Slice(at[byte](buf), n)...)})
	}
	if fault != nil && fault.Cut {
		return fault.Code
	}
	rc := function[fileIO](x.io().FxWrite)(tls, x.real, buf, n, to)
	if fault != nil {
		return fault.Code
	}
	return rc
}

func shimTruncate(tls *libc.TLS, f uintptr, size sqlite3.Tsqlite3_int64) int32 {
	x := fileOf(f)
	d := x.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if fault := d.fault(Truncate, x.kind); fault != nil {
		return fault.Code
	}
	if im := d.images[x.path]; im != nil {
		im.pending = append(im.pending, change{at: size})
	}
	return function[fileLong](x.io().FxTruncate)(tls, x.real, size)
}

// shimSync leaves out the sync itself: what it is for is simulated.
func shimSync(_ *libc.TLS, f uintptr, _ int32) int32 {
	x := fileOf(f)
	d := x.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if fault := d.fault(Sync, x.kind); fault != nil {
		return fault.Code
	}
	if im := d.images[x.path]; im != nil {
		im.sync()
	}
	return sqlite3.SQLITE_OK
}

func shimSize(tls *libc.TLS, f, out uintptr) int32 {
	x := fileOf(f)
	if rc := x.disk.check(Size, x.kind); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return function[filePtr](x.io().FxFileSize)(tls, x.real, out)
}

func shimLock(tls *libc.TLS, f uintptr, level int32) int32 {
	x := fileOf(f)
	if rc := x.disk.check(Lock, x.kind); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return function[fileInt](x.io().FxLock)(tls, x.real, level)
}

func shimUnlock(tls *libc.TLS, f uintptr, level int32) int32 {
	x := fileOf(f)
	return function[fileInt](x.io().FxUnlock)(tls, x.real, level)
}

func shimReserved(tls *libc.TLS, f, out uintptr) int32 {
	x := fileOf(f)
	return function[filePtr](x.io().FxCheckReservedLock)(tls, x.real, out)
}

func shimControl(tls *libc.TLS, f uintptr, op int32, arg uintptr) int32 {
	x := fileOf(f)
	return function[fileCtl](x.io().FxFileControl)(tls, x.real, op, arg)
}

func shimSector(tls *libc.TLS, f uintptr) int32 {
	x := fileOf(f)
	return function[fileCall](x.io().FxSectorSize)(tls, x.real)
}

func shimDevice(tls *libc.TLS, f uintptr) int32 {
	x := fileOf(f)
	return function[fileCall](x.io().FxDeviceCharacteristics)(tls, x.real)
}

func shimShmMap(tls *libc.TLS, f uintptr, region, size, extend int32, out uintptr) int32 {
	x := fileOf(f)
	if rc := x.disk.check(ShmMap, x.kind); rc != sqlite3.SQLITE_OK {
		*at[uintptr](out) = 0
		return rc
	}
	return function[fileMap](x.io().FxShmMap)(tls, x.real, region, size, extend, out)
}

func shimShmLock(tls *libc.TLS, f uintptr, from, n, flags int32) int32 {
	x := fileOf(f)
	return function[fileShm](x.io().FxShmLock)(tls, x.real, from, n, flags)
}

func shimShmBarrier(tls *libc.TLS, f uintptr) {
	x := fileOf(f)
	function[func(*libc.TLS, uintptr)](x.io().FxShmBarrier)(tls, x.real)
}

func shimShmUnmap(tls *libc.TLS, f uintptr, remove int32) int32 {
	x := fileOf(f)
	return function[fileInt](x.io().FxShmUnmap)(tls, x.real, remove)
}
