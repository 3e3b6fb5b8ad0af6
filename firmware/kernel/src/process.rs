//! Processes: what threads share, the family tree, ending and waiting.
//!
//! A process ends in three steps. Someone says so ([`Process::end`]: `exit_group`,
//! SIGKILL, a fault); each thread finds out before it returns to ring 3 and ends; the
//! last one gives back memory and leaves a zombie for the parent's `wait4`.
//!
//! Orphans go to process 1; when that one ends, the machine does.
//!
//! **Spec:** Linux man-pages `exit_group(2)`, `wait4(2)`.

use crate::aio::Contexts;
use crate::errno::Errno;
use crate::file::Files;
use crate::memory::{self, Machine};
use crate::sched::{self, Channel, Thread};
use crate::{power, smp};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use metal::{SpinLock, TrapFrame};
use vm::{AddressSpace, Memory, SpaceId};
use x86::PhysAddr;

/// The first process, which inherits orphans.
pub(crate) const INIT: u64 = 1;

/// How a process ended, as `wait4` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitStatus(pub(crate) i32);

impl WaitStatus {
    /// By `exit` with this status, of which eight bits count.
    pub(crate) const fn exited(status: u64) -> Self {
        Self((status.to_le_bytes()[0] as i32) << 8)
    }

    /// By a signal.
    pub(crate) const fn killed(signal: i32) -> Self {
        Self(signal & 0x7f)
    }

    /// As a shell would report it: the exit status, or 128 and the signal.
    fn machine_status(self) -> u32 {
        let bits = self.0.cast_unsigned();
        match bits & 0x7f {
            0 => bits >> 8 & 0xff,
            signal => 128 + signal,
        }
    }
}

/// The process is ending: whatever its threads do, they must not go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending;

impl From<Ending> for Errno {
    /// Nobody sees it: the thread does not return to its program.
    fn from(Ending: Ending) -> Self {
        Self::EAGAIN
    }
}

/// In [`Process::ending`]: it is not.
const RUNNING: i64 = -1;

/// What the threads of a process share.
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: u64,
    /// Name of its program.
    pub(crate) name: SpinLock<String>,
    /// Its open files.
    pub(crate) files: SpinLock<Files>,
    /// Its aio contexts.
    pub(crate) aio: SpinLock<Contexts>,
    /// Its memory, until its last thread ends.
    space: SpinLock<Option<AddressSpace>>,
    /// What a CPU needs to enter the space.
    address: SpinLock<Option<(SpaceId, PhysAddr)>>,
    /// A [`WaitStatus`] once it is ending, or [`RUNNING`].
    ending: AtomicI64,
}

impl Process {
    fn new(pid: u64, name: String, files: Files, space: AddressSpace) -> Self {
        Self {
            pid,
            name: SpinLock::new(name),
            files: SpinLock::new(files),
            aio: SpinLock::new(Contexts::default()),
            address: SpinLock::new(Some((space.id(), space.cr3()))),
            space: SpinLock::new(Some(space)),
            ending: AtomicI64::new(RUNNING),
        }
    }

    /// Name and root of its space, while it has one.
    pub(crate) fn address(&self) -> Option<(SpaceId, PhysAddr)> {
        *self.address.lock()
    }

    /// Runs `f` on its space.
    ///
    /// # Errors
    ///
    /// EFAULT when the space is gone, which only others can find.
    pub(crate) fn with_space<R>(
        &self,
        f: impl FnOnce(&mut AddressSpace, &mut Memory<Machine>) -> R,
    ) -> Result<R, Errno> {
        let mut space = self.space.lock();
        let space = space.as_mut().ok_or(Errno::EFAULT)?;
        Ok(memory::with(|mem| f(space, mem)))
    }

    /// Puts the running process, which has one thread, into a new space.
    pub(crate) fn replace_space(&self, new: AddressSpace) {
        let address = (new.id(), new.cr3());
        let old = self.space.lock().replace(new);
        *self.address.lock() = Some(address);
        smp::enter_space(self);
        release(old);
    }

    /// Fails if the process is ending.
    pub(crate) fn check_ending(&self) -> Result<(), Ending> {
        match self.ending.load(Ordering::SeqCst) {
            RUNNING => Ok(()),
            _ => Err(Ending),
        }
    }

    /// Makes every thread of the process end; the first status given counts.
    pub(crate) fn end(&self, status: WaitStatus) {
        if self.settle(status) {
            sched::wake_ending(self.pid);
        }
    }

    /// Sets the status unless it is set; returns whether it was not.
    fn settle(&self, status: WaitStatus) -> bool {
        let status = i64::from(status.0);
        self.ending
            .compare_exchange(RUNNING, status, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn wait_status(&self) -> WaitStatus {
        let status = self.ending.load(Ordering::SeqCst);
        WaitStatus(i32::try_from(status).unwrap_or(0))
    }
}

fn release(space: Option<AddressSpace>) {
    if let Some(space) = space {
        memory::with(|mem| space.release(mem));
    }
}

/// A process in the tree.
struct Entry {
    process: Arc<Process>,
    parent: u64,
    threads: usize,
    /// It has ended and its status waits for the parent.
    is_zombie: bool,
}

static PROCESSES: SpinLock<BTreeMap<u64, Entry>> = SpinLock::new(BTreeMap::new());
static NEXT_ID: AtomicU64 = AtomicU64::new(INIT);

/// A number for a process or thread, never used twice.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// Makes a process with one thread that will return to `frame`, and starts it.
///
/// # Errors
///
/// EAGAIN when there is no kernel stack; `space` has been given back.
pub(crate) fn spawn(
    parent: u64,
    name: String,
    files: Files,
    space: AddressSpace,
    frame: TrapFrame,
) -> Result<u64, Errno> {
    let pid = next_id();
    let process = Arc::new(Process::new(pid, name, files, space));
    let Some(thread) = Thread::new(pid, process.clone(), frame) else {
        let space = process.space.lock().take();
        release(space);
        return Err(Errno::EAGAIN);
    };
    let entry = Entry {
        process,
        parent,
        threads: 1,
        is_zombie: false,
    };
    PROCESSES.lock().insert(pid, entry);
    sched::start(thread);
    Ok(pid)
}

/// Adds a thread to the running process.
///
/// # Errors
///
/// EAGAIN when there is no kernel stack.
pub(crate) fn add_thread(process: &Arc<Process>, frame: TrapFrame) -> Result<u64, Errno> {
    let tid = next_id();
    let thread = Thread::new(tid, process.clone(), frame).ok_or(Errno::EAGAIN)?;
    if let Some(entry) = PROCESSES.lock().get_mut(&process.pid) {
        entry.threads += 1;
    }
    sched::start(thread);
    Ok(tid)
}

/// Threads of a process that have not ended.
pub(crate) fn thread_count(pid: u64) -> usize {
    PROCESSES.lock().get(&pid).map_or(0, |entry| entry.threads)
}

/// The process numbered `pid`, ended or not.
pub(crate) fn find(pid: u64) -> Option<Arc<Process>> {
    let processes = PROCESSES.lock();
    processes.get(&pid).map(|entry| entry.process.clone())
}

/// One process of the tree, as `procinfo` shows it.
pub(crate) struct Listed {
    /// Itself.
    pub(crate) process: Arc<Process>,
    /// Its parent.
    pub(crate) parent: u64,
    /// Threads that have not ended.
    pub(crate) threads: usize,
    /// It has ended.
    pub(crate) is_zombie: bool,
}

/// Process `index` in order of number.
pub(crate) fn nth(index: usize) -> Option<Listed> {
    let processes = PROCESSES.lock();
    let entry = processes.values().nth(index)?;
    Some(Listed {
        process: entry.process.clone(),
        parent: entry.parent,
        threads: entry.threads,
        is_zombie: entry.is_zombie,
    })
}

/// Ends the running thread now, and with the last one the process. Must be called with
/// nothing on the stack that wants to be dropped.
pub(crate) fn finish_thread() -> ! {
    let thread = sched::current();
    if is_last_thread(thread.process.pid) {
        // If nobody ended the process, its last thread's status is the process's.
        thread
            .process
            .settle(thread.exit_status().unwrap_or(WaitStatus::exited(0)));
        finish_process(&thread.process);
    }
    drop(thread);
    sched::exit_thread()
}

fn is_last_thread(pid: u64) -> bool {
    let mut processes = PROCESSES.lock();
    processes.get_mut(&pid).is_none_or(|entry| {
        entry.threads -= 1;
        entry.threads == 0
    })
}

/// Gives back what the process had, and leaves a zombie. Transfers in flight keep
/// their frames until the device is done with them.
fn finish_process(process: &Process) {
    if process.pid == INIT {
        power::off_after_flush(process.wait_status().machine_status());
    }
    smp::leave_space();
    *process.address.lock() = None;
    let space = process.space.lock().take();
    release(space);
    let files = core::mem::take(&mut *process.files.lock());
    drop(files);
    let contexts = core::mem::take(&mut *process.aio.lock());
    drop(contexts);
    let mut processes = PROCESSES.lock();
    for entry in processes.values_mut() {
        if entry.parent == process.pid {
            entry.parent = INIT;
        }
    }
    let parent = processes.get_mut(&process.pid).map_or(INIT, |entry| {
        entry.is_zombie = true;
        entry.parent
    });
    drop(processes);
    sched::wake_all(Channel::Child { of: parent });
    sched::wake_all(Channel::Child { of: INIT });
}

/// Which children a `wait4` is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Children {
    /// Any.
    Any,
    /// The one with this number.
    One(u64),
}

/// Whether to sleep while there is no zombie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Sleep.
    Yes,
    /// WNOHANG.
    No,
}

/// Takes a zombie child of `parent`; `None` if there is none yet and `block` says no.
///
/// # Errors
///
/// ECHILD if no child will ever fit.
pub(crate) fn wait(
    parent: u64,
    which: Children,
    block: Block,
) -> Result<Option<(u64, WaitStatus)>, Errno> {
    loop {
        let mut processes = PROCESSES.lock();
        if let Some((pid, status)) = find_zombie(&processes, parent, which)? {
            let entry = processes.remove(&pid);
            drop(processes);
            drop(entry);
            return Ok(Some((pid, status)));
        }
        if block == Block::No {
            return Ok(None);
        }
        sched::sleep(Channel::Child { of: parent }, processes)?;
    }
}

/// A zombie among the children that fit; ECHILD if none fits at all.
fn find_zombie(
    processes: &BTreeMap<u64, Entry>,
    parent: u64,
    which: Children,
) -> Result<Option<(u64, WaitStatus)>, Errno> {
    let is_wanted = |pid: u64| match which {
        Children::Any => true,
        Children::One(wanted) => pid == wanted,
    };
    let mut fits = processes
        .iter()
        .filter(|(pid, entry)| entry.parent == parent && is_wanted(**pid))
        .peekable();
    fits.peek().ok_or(Errno::ECHILD)?;
    let zombie = fits.find(|(_, entry)| entry.is_zombie);
    Ok(zombie.map(|(pid, entry)| (*pid, entry.process.wait_status())))
}
