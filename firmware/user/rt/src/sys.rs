//! The system calls, one typed function each: the only place that executes SYSCALL
//! with a number, [`crate::thread`]'s `clone` apart.
//!
//! Neighbours: the other modules of this crate give these functions the shapes that
//! programs use; nothing outside the crate sees them. Numbers and structures are
//! `guest_abi`'s.
//!
//! Buffers of positioned and queued transfers are slices of atomics: a device fills or
//! reads them while other threads of the program may touch the same bytes, and that is
//! what the programs are about.
//!
//! Not modelled: signals, so no call is ever interrupted and none is restarted.
//!
//! **Spec:** SDM 2B "SYSCALL—Fast System Call"; System V ABI AMD64 "Linux Kernel
//! Conventions".

// UNSAFETY: system calls hand addresses to the kernel, which the compiler cannot check.
#![expect(unsafe_code)]

use core::arch::asm;
use core::ffi::CStr;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32};

use guest_abi::probe::Mark;
use guest_abi::syscall::{
    DirEntry, FUTEX_WAIT, FUTEX_WAKE, IoEvent, Iocb, MAP_ANONYMOUS, PageInfo, ProcInfo, SysInfo,
    Timespec, nr,
};

use crate::errno::Errno;

/// Executes SYSCALL.
///
/// # Safety
///
/// What the call does to the memory that `args` point at must be allowed: pointers are
/// valid for what the call reads and writes, until it has finished with them.
unsafe fn call(number: u64, args: [u64; 6]) -> Result<u64, Errno> {
    let result: i64;
    // SAFETY:
    // 1. RCX and R11 are named as clobbered; SYSCALL changes no other register but RAX.
    // 2. The memory effects are the caller's promise; `nomem` is not given, so the
    //    compiler assumes that all memory it has let out may have changed.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    Errno::split(result)
}

/// Calls with arguments that are numbers, for the numbers listed at its callers.
fn call_by_value(number: u64, args: [u64; 3]) -> Result<u64, Errno> {
    // SAFETY: every caller below names a call that takes no pointer.
    unsafe { call(number, [args[0], args[1], args[2], 0, 0, 0]) }
}

fn address<T: ?Sized>(pointer: *const T) -> u64 {
    pointer.cast::<()>().expose_provenance() as u64
}

/// `read`.
pub(crate) fn read(fd: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    let args = [fd, address(buf.as_mut_ptr()), buf.len() as u64, 0, 0, 0];
    // SAFETY: the kernel writes at most `len` bytes at the start of `buf`, which is ours.
    unsafe { call(nr::READ, args) }.map(to_usize)
}

/// `write`.
pub(crate) fn write(fd: u64, buf: &[u8]) -> Result<usize, Errno> {
    let args = [fd, address(buf.as_ptr()), buf.len() as u64, 0, 0, 0];
    // SAFETY: the kernel only reads `buf`.
    unsafe { call(nr::WRITE, args) }.map(to_usize)
}

/// `open`.
pub(crate) fn open(path: &CStr, flags: u64) -> Result<u64, Errno> {
    // SAFETY: the kernel reads up to the NUL.
    unsafe { call(nr::OPEN, [address(path.as_ptr()), flags, 0, 0, 0, 0]) }
}

/// `close`.
pub(crate) fn close(fd: u64) -> Result<(), Errno> {
    call_by_value(nr::CLOSE, [fd, 0, 0]).map(drop)
}

/// `pread64`.
pub(crate) fn pread(fd: u64, buf: &[AtomicU8], offset: u64) -> Result<usize, Errno> {
    let args = [fd, address(buf.as_ptr()), buf.len() as u64, offset, 0, 0];
    // SAFETY: the kernel and its device write inside `buf`, whose bytes may be changed
    // by others at any time: they are atomics.
    unsafe { call(nr::PREAD64, args) }.map(to_usize)
}

/// `pwrite64`.
pub(crate) fn pwrite(fd: u64, buf: &[AtomicU8], offset: u64) -> Result<usize, Errno> {
    let args = [fd, address(buf.as_ptr()), buf.len() as u64, offset, 0, 0];
    // SAFETY: the kernel and its device only read inside `buf`.
    unsafe { call(nr::PWRITE64, args) }.map(to_usize)
}

/// An address that is in no mapping of any program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Nowhere {
    /// The first page: this crate never asks for it, and `mmap` does not choose it.
    Null = 0x0,
    /// The first page of the upper half, which belongs to the kernel.
    UpperHalf = 0xffff_8000_0000_0000,
    /// Not canonical: bits 63:47 differ.
    NonCanonical = 0x0000_8000_0000_0000,
}

/// `pread64` into [`Nowhere`].
pub(crate) fn pread_nowhere(fd: u64, at: Nowhere, len: u64, offset: u64) -> Result<usize, Errno> {
    // SAFETY: there is no memory of the program's at any of these addresses.
    unsafe { call(nr::PREAD64, [fd, at as u64, len, offset, 0, 0]) }.map(to_usize)
}

/// `mmap`, anonymous, wherever the kernel finds room.
pub(crate) fn mmap(len: usize, prot: u64, sharing: u64) -> Result<NonNull<AtomicU8>, Errno> {
    let no_file = u64::MAX;
    let args = [0, len as u64, prot, sharing | MAP_ANONYMOUS, no_file, 0];
    // SAFETY: without a wished address the kernel chooses a range nothing else is in.
    let start = unsafe { call(nr::MMAP, args) }?;
    let start = core::ptr::with_exposed_provenance_mut(to_usize(start));
    Ok(NonNull::new(start).expect("mmap never chooses page 0"))
}

/// `munmap`.
///
/// # Safety
///
/// `bytes` is a whole mapping, and nothing uses it any more.
pub(crate) unsafe fn munmap(bytes: &'static [AtomicU8]) -> Result<(), Errno> {
    let args = [address(bytes.as_ptr()), bytes.len() as u64, 0, 0, 0, 0];
    // SAFETY: the caller's promise.
    unsafe { call(nr::MUNMAP, args) }.map(drop)
}

/// `madvise`: only advice about what children get, so nothing of the caller's changes.
pub(crate) fn madvise(bytes: &[AtomicU8], advice: u64) -> Result<(), Errno> {
    let args = [address(bytes.as_ptr()), bytes.len() as u64, advice];
    call_by_value(nr::MADVISE, args).map(drop)
}

/// `sched_yield`.
pub(crate) fn sched_yield() {
    call_by_value(nr::SCHED_YIELD, [0; 3]).expect("sched_yield cannot fail");
}

/// `nanosleep`.
pub(crate) fn nanosleep(time: &Timespec) -> Result<(), Errno> {
    // SAFETY: the kernel only reads `time`.
    unsafe { call(nr::NANOSLEEP, [address(time), 0, 0, 0, 0, 0]) }.map(drop)
}

/// `getpid`.
pub(crate) fn getpid() -> u64 {
    call_by_value(nr::GETPID, [0; 3]).expect("getpid cannot fail")
}

/// `gettid`.
pub(crate) fn gettid() -> u64 {
    call_by_value(nr::GETTID, [0; 3]).expect("gettid cannot fail")
}

/// `fork`: 0 in the child.
pub(crate) fn fork() -> Result<u64, Errno> {
    call_by_value(nr::FORK, [0; 3])
}

/// `execve`: returns only on failure. `argv` holds pointers and ends with a null one.
///
/// # Safety
///
/// Each pointer of `argv` before the null one points at a string that ends with NUL.
pub(crate) unsafe fn execve(path: &CStr, argv: &[*const u8]) -> Errno {
    assert!(
        argv.last().is_some_and(|last| last.is_null()),
        "argv ends with null"
    );
    let args = [address(path.as_ptr()), address(argv.as_ptr()), 0, 0, 0, 0];
    // SAFETY: the kernel only reads, up to the NULs and the null pointer.
    match unsafe { call(nr::EXECVE, args) } {
        Err(errno) => errno,
        Ok(_) => unreachable!("execve returned without an error"),
    }
}

/// `exit_group`.
pub(crate) fn exit_group(status: i32) -> ! {
    let _ = call_by_value(nr::EXIT_GROUP, [u64::from(status.cast_unsigned()), 0, 0]);
    unreachable!("exit_group returned")
}

/// `wait4`: the pid and the status word, pid 0 if no child has ended (WNOHANG).
pub(crate) fn wait4(pid: i64, options: u64) -> Result<(u64, i32), Errno> {
    let mut status = 0_i32;
    let args = [
        pid.cast_unsigned(),
        address(&raw mut status),
        options,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes one word, `status`.
    let pid = unsafe { call(nr::WAIT4, args) }?;
    Ok((pid, status))
}

/// `kill`.
pub(crate) fn kill(pid: u64, signal: i32) -> Result<(), Errno> {
    call_by_value(nr::KILL, [pid, u64::from(signal.cast_unsigned()), 0]).map(drop)
}

/// `futex(FUTEX_WAIT)`: sleeps while `word` holds `value`, or returns early.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32) -> Result<(), Errno> {
    let args = [
        address(word.as_ptr()),
        FUTEX_WAIT,
        u64::from(value),
        0,
        0,
        0,
    ];
    // SAFETY: the kernel only reads `word`.
    unsafe { call(nr::FUTEX, args) }.map(drop)
}

/// `futex(FUTEX_WAKE)`: the number of sleepers woken.
pub(crate) fn futex_wake(word: &AtomicU32, sleepers: u32) -> Result<u64, Errno> {
    let args = [
        address(word.as_ptr()),
        FUTEX_WAKE,
        u64::from(sleepers),
        0,
        0,
        0,
    ];
    // SAFETY: the kernel uses `word` as a name only.
    unsafe { call(nr::FUTEX, args) }
}

/// `io_setup`.
pub(crate) fn io_setup(nr_events: u64) -> Result<u64, Errno> {
    let mut context = 0_u64;
    let args = [nr_events, address(&raw mut context), 0, 0, 0, 0];
    // SAFETY: the kernel writes one word, `context`.
    unsafe { call(nr::IO_SETUP, args) }?;
    Ok(context)
}

/// `io_destroy`.
pub(crate) fn io_destroy(context: u64) -> Result<(), Errno> {
    call_by_value(nr::IO_DESTROY, [context, 0, 0]).map(drop)
}

/// The part of an iocb that its user chooses.
pub(crate) struct Request {
    pub(crate) opcode: u16,
    pub(crate) fd: u64,
    pub(crate) buf: &'static [AtomicU8],
    pub(crate) offset: u64,
    pub(crate) tag: u64,
}

/// `io_submit` of one request.
pub(crate) fn io_submit(context: u64, request: &Request) -> Result<(), Errno> {
    let iocb = Iocb {
        data: request.tag,
        opcode: request.opcode,
        fildes: u32::try_from(request.fd).expect("descriptors are small"),
        buf: address(request.buf.as_ptr()),
        nbytes: request.buf.len() as u64,
        offset: request.offset.cast_signed(),
        ..Iocb::default()
    };
    let list = [&raw const iocb];
    // SAFETY:
    // 1. The kernel copies the list and the iocb before it returns.
    // 2. The device uses `buf` later: it is atomics and lives for ever.
    unsafe { call(nr::IO_SUBMIT, [context, 1, address(list.as_ptr()), 0, 0, 0]) }.map(drop)
}

/// `io_getevents`: the number of events stored at the start of `events`.
pub(crate) fn io_getevents(
    context: u64,
    min: usize,
    events: &mut [IoEvent],
) -> Result<usize, Errno> {
    let at = address(events.as_mut_ptr());
    let args = [context, min as u64, events.len() as u64, at, 0, 0];
    // SAFETY: the kernel writes at most `events.len()` events there.
    unsafe { call(nr::IO_GETEVENTS, args) }.map(to_usize)
}

/// `listdir`.
pub(crate) fn listdir(index: u64) -> Result<Option<DirEntry>, Errno> {
    let mut entry = DirEntry {
        size_bytes: 0,
        name_len: 0,
        name: [0; 112],
    };
    // SAFETY: the kernel writes one `DirEntry`.
    let found = unsafe { call(nr::LISTDIR, [index, address(&raw mut entry), 0, 0, 0, 0]) }?;
    Ok((found == 1).then_some(entry))
}

/// `procinfo`.
pub(crate) fn procinfo(index: u64) -> Result<Option<ProcInfo>, Errno> {
    let mut info = ProcInfo::default();
    // SAFETY: the kernel writes one `ProcInfo`.
    let found = unsafe { call(nr::PROCINFO, [index, address(&raw mut info), 0, 0, 0, 0]) }?;
    Ok((found == 1).then_some(info))
}

/// `sysinfo`.
pub(crate) fn sysinfo() -> Result<SysInfo, Errno> {
    let mut info = SysInfo::default();
    // SAFETY: the kernel writes one `SysInfo`.
    unsafe { call(nr::SYSINFO, [address(&raw mut info), 0, 0, 0, 0, 0]) }?;
    Ok(info)
}

/// `pagemap`.
pub(crate) fn pagemap(byte: &AtomicU8) -> Result<PageInfo, Errno> {
    let mut info = PageInfo::default();
    let args = [address(byte.as_ptr()), address(&raw mut info), 0, 0, 0, 0];
    // SAFETY: the kernel writes one `PageInfo`; of `byte` only the address matters.
    unsafe { call(nr::PAGEMAP, args) }?;
    Ok(info)
}

/// `poweroff`: returns only on failure.
pub(crate) fn poweroff(status: i32) -> Errno {
    match call_by_value(nr::POWEROFF, [u64::from(status.cast_unsigned()), 0, 0]) {
        Err(errno) => errno,
        Ok(_) => unreachable!("poweroff returned without an error"),
    }
}

/// `probe`.
pub(crate) fn probe(mark: Mark, argument: u64) -> Result<(), Errno> {
    call_by_value(nr::PROBE, [mark as u64, argument, 0]).map(drop)
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("usize has 64 bits here")
}
