//! System calls: Linux's numbers and conventions where Linux has the call.
//!
//! `SYSCALL` with the number in RAX and arguments in RDI, RSI, RDX, R10, R8, R9;
//! the result comes back in RAX, `-errno` in −4095..−1. RCX and R11 are lost.

/// System call numbers.
pub mod nr {
    /// `read(fd, buf, count)`.
    pub const READ: u64 = 0;
    /// `write(fd, buf, count)`.
    pub const WRITE: u64 = 1;
    /// `open(path, flags)`: names are those of the archive, a leading `/` is ignored.
    pub const OPEN: u64 = 2;
    /// `close(fd)`.
    pub const CLOSE: u64 = 3;
    /// `mmap(addr, len, prot, flags, -1, 0)`: anonymous only.
    pub const MMAP: u64 = 9;
    /// `munmap(addr, len)`.
    pub const MUNMAP: u64 = 11;
    /// `pread64(fd, buf, count, offset)`.
    pub const PREAD64: u64 = 17;
    /// `pwrite64(fd, buf, count, offset)`.
    pub const PWRITE64: u64 = 18;
    /// `sched_yield()`.
    pub const SCHED_YIELD: u64 = 24;
    /// `madvise(addr, len, advice)`.
    pub const MADVISE: u64 = 28;
    /// `nanosleep(&Timespec, NULL)`.
    pub const NANOSLEEP: u64 = 35;
    /// `getpid()`.
    pub const GETPID: u64 = 39;
    /// `clone(flags, stack)`: only [`CLONE_THREAD_FLAGS`](super::CLONE_THREAD_FLAGS), a
    /// thread in the same address space. The child thread returns 0 on the new stack.
    pub const CLONE: u64 = 56;
    /// `fork()`.
    pub const FORK: u64 = 57;
    /// `execve(path, argv, envp)`; `envp` is ignored.
    pub const EXECVE: u64 = 59;
    /// `exit(status)`: ends the calling thread.
    pub const EXIT: u64 = 60;
    /// `wait4(pid, &status, options, NULL)`: `pid` −1 is any child; status as in Linux.
    pub const WAIT4: u64 = 61;
    /// `kill(pid, sig)`: only SIGKILL.
    pub const KILL: u64 = 62;
    /// `getdents64`-like listing of the archive: see [`DirEntry`](super::DirEntry).
    /// `listdir(index, &DirEntry)`: 1 when there is an entry `index`, else 0.
    pub const LISTDIR: u64 = 1000;
    /// `reboot()`-like: `poweroff(status)` ends the machine with this status.
    pub const POWEROFF: u64 = 1001;
    /// `sysinfo(&SysInfo)`.
    pub const SYSINFO: u64 = 1002;
    /// `procinfo(index, &ProcInfo)`: 1 when there is a process `index`, else 0.
    pub const PROCINFO: u64 = 1003;
    /// `probe(mark, argument)`: announces a mark on the measuring port.
    pub const PROBE: u64 = 1004;
    /// `pagemap(addr, &PageInfo)`: what the kernel knows of one page of the caller.
    pub const PAGEMAP: u64 = 1005;
    /// `gettid()`.
    pub const GETTID: u64 = 186;
    /// `futex(addr, FUTEX_WAIT or FUTEX_WAKE, value)`.
    pub const FUTEX: u64 = 202;
    /// `io_setup(nr_events, &ctx)`.
    pub const IO_SETUP: u64 = 206;
    /// `io_destroy(ctx)`.
    pub const IO_DESTROY: u64 = 207;
    /// `io_getevents(ctx, min_nr, nr, events, NULL)`.
    pub const IO_GETEVENTS: u64 = 208;
    /// `io_submit(ctx, nr, iocbpp)`.
    pub const IO_SUBMIT: u64 = 209;
    /// `exit_group(status)`: ends the process with all its threads.
    pub const EXIT_GROUP: u64 = 231;
}

/// `errno` values the kernel returns (negated).
pub mod errno {
    /// Operation not permitted.
    pub const EPERM: i64 = 1;
    /// No such file.
    pub const ENOENT: i64 = 2;
    /// No such process.
    pub const ESRCH: i64 = 3;
    /// Input/output error.
    pub const EIO: i64 = 5;
    /// Argument list too long.
    pub const E2BIG: i64 = 7;
    /// Not an executable this kernel loads.
    pub const ENOEXEC: i64 = 8;
    /// Bad file descriptor.
    pub const EBADF: i64 = 9;
    /// No child.
    pub const ECHILD: i64 = 10;
    /// Try again.
    pub const EAGAIN: i64 = 11;
    /// Out of memory.
    pub const ENOMEM: i64 = 12;
    /// Bad address.
    pub const EFAULT: i64 = 14;
    /// Invalid argument.
    pub const EINVAL: i64 = 22;
    /// Too many open files.
    pub const EMFILE: i64 = 24;
    /// No room: a file cannot grow.
    pub const ENOSPC: i64 = 28;
    /// No such system call.
    pub const ENOSYS: i64 = 38;
}

/// `open`: read only.
pub const O_RDONLY: u64 = 0;
/// `open`: write only.
pub const O_WRONLY: u64 = 1;
/// `open`: read and write.
pub const O_RDWR: u64 = 2;
/// `open`: transfers go between the device and the caller's own frames.
pub const O_DIRECT: u64 = 0o40000;

/// `mmap`: pages may be read.
pub const PROT_READ: u64 = 1;
/// `mmap`: pages may be written.
pub const PROT_WRITE: u64 = 2;
/// `mmap`: pages may be executed.
pub const PROT_EXEC: u64 = 4;
/// `mmap`: changes stay visible to processes forked later.
pub const MAP_SHARED: u64 = 1;
/// `mmap`: changes are the process's own.
pub const MAP_PRIVATE: u64 = 2;
/// `mmap`: not backed by a file; required.
pub const MAP_ANONYMOUS: u64 = 0x20;

/// `madvise`: children do not get this range.
pub const MADV_DONTFORK: u64 = 10;
/// `madvise`: undoes [`MADV_DONTFORK`].
pub const MADV_DOFORK: u64 = 11;

/// `clone` flags of a thread: VM, FS, FILES, SIGHAND, THREAD.
pub const CLONE_THREAD_FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000;

/// `futex`: sleep while the word holds the value.
pub const FUTEX_WAIT: u64 = 0;
/// `futex`: wake up to this many sleepers.
pub const FUTEX_WAKE: u64 = 1;

/// `wait4` option: do not block.
pub const WNOHANG: u64 = 1;

/// Signal numbers that appear in wait statuses.
pub mod signal {
    /// Illegal instruction.
    pub const SIGILL: i32 = 4;
    /// Breakpoint or single step.
    pub const SIGTRAP: i32 = 5;
    /// Arithmetic error.
    pub const SIGFPE: i32 = 8;
    /// Killed.
    pub const SIGKILL: i32 = 9;
    /// Bad memory access.
    pub const SIGSEGV: i32 = 11;
}

/// Seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Timespec {
    /// Whole seconds.
    pub sec: i64,
    /// Nanoseconds, below 10^9.
    pub nsec: i64,
}

/// `struct iocb`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Iocb {
    /// Comes back in [`IoEvent::data`].
    pub data: u64,
    /// The kernel's.
    pub key: u32,
    /// 0.
    pub rw_flags: u32,
    /// [`IOCB_CMD_PREAD`] or [`IOCB_CMD_PWRITE`].
    pub opcode: u16,
    /// 0.
    pub reqprio: i16,
    /// File descriptor, opened with [`O_DIRECT`].
    pub fildes: u32,
    /// Linear address of the buffer, a multiple of 512.
    pub buf: u64,
    /// Length in bytes, a multiple of 512.
    pub nbytes: u64,
    /// Offset in the file in bytes, a multiple of 512.
    pub offset: i64,
    /// 0.
    pub reserved2: u64,
    /// 0.
    pub flags: u32,
    /// 0.
    pub resfd: u32,
}

/// [`Iocb::opcode`]: read.
pub const IOCB_CMD_PREAD: u16 = 0;
/// [`Iocb::opcode`]: write.
pub const IOCB_CMD_PWRITE: u16 = 1;

/// `struct io_event`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct IoEvent {
    /// From [`Iocb::data`].
    pub data: u64,
    /// Address of the iocb.
    pub obj: u64,
    /// Bytes transferred, or `-errno`.
    pub res: i64,
    /// 0.
    pub res2: i64,
}

/// One file of the archive, as `listdir` gives it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DirEntry {
    /// Length in bytes.
    pub size_bytes: u64,
    /// Length of the name in bytes.
    pub name_len: u64,
    /// The name, UTF-8.
    pub name: [u8; 112],
}

/// What `free` and `uname` would say.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SysInfo {
    /// Frames the kernel manages.
    pub total_frames: u64,
    /// Frames on the free list.
    pub free_frames: u64,
    /// CPUs that run.
    pub cpus: u64,
    /// Nanoseconds since boot, as the kernel counts them.
    pub uptime_ns: u64,
    /// Frames that GUP holds references on, now.
    pub pinned_frames: u64,
    /// Pages copied by write faults since boot.
    pub cow_copies: u64,
    /// Pages copied at fork since boot.
    pub fork_copies: u64,
}

/// One line of `ps`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ProcInfo {
    /// Process.
    pub pid: u64,
    /// Its parent.
    pub ppid: u64,
    /// Threads.
    pub threads: u64,
    /// Resident pages.
    pub resident_pages: u64,
    /// Value of CR3 while it runs.
    pub cr3: u64,
    /// State: `R`, `S`, `Z`.
    pub state: u8,
    /// Length of the name.
    pub name_len: u8,
    /// The name.
    pub name: [u8; 30],
}

/// What the kernel knows of one page.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct PageInfo {
    /// The raw page-table entry, 0 if there is none.
    pub pte: u64,
    /// References on the frame.
    pub refcount: u64,
    /// Entries that map the frame.
    pub mapcount: u64,
}
