//! Threads on CPUs: round robin, sleeping and waking.
//!
//! One lock guards who is ready and who sleeps. It is held across the switch itself and
//! let go by the CPU once it is on the new stack (`metal::task::switch`), so a
//! thread is never ready before it has left its CPU.
//!
//! A sleeper gives up the lock that guards what it waits for *after* it has taken the
//! scheduler's, and whoever changes that thing wakes it under the scheduler's: no
//! wake-up is lost.
//!
//! Not modelled: priorities, affinity, run queues per CPU.

use crate::process::{Ending, Process, WaitStatus};
use crate::smp;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use metal::sync::Guard;
use metal::task::{self, Task};
use metal::tlb::CpuSet;
use metal::{CpuIndex, MAX_CPUS, SpinLock, TrapFrame, apic, cpu};
use vm::SpaceId;
use x86::PhysAddr;

/// A thread of a process.
pub(crate) struct Thread {
    /// Its number; that of the first thread is the process's.
    pub(crate) tid: u64,
    /// Whose it is.
    pub(crate) process: Arc<Process>,
    /// Its kernel stack and where it stopped.
    pub(crate) task: Arc<Task>,
    /// What it called `exit` with, as a wait status, or [`NOT_EXITING`].
    exit_status: AtomicI32,
}

/// In [`Thread::exit_status`]; no wait status is negative.
const NOT_EXITING: i32 = -1;

impl Thread {
    /// A thread of `process` that will return to `frame`, or `None` without a stack for it.
    pub(crate) fn new(tid: u64, process: Arc<Process>, frame: TrapFrame) -> Option<Arc<Self>> {
        let task = Arc::new(Task::new(frame)?);
        Some(Arc::new(Self {
            tid,
            process,
            task,
            exit_status: AtomicI32::new(NOT_EXITING),
        }))
    }

    /// Makes the thread end before it would return to ring 3. For itself only.
    pub(crate) fn exit(&self, status: WaitStatus) {
        self.exit_status.store(status.0, Ordering::Relaxed);
    }

    /// What it called `exit` with, if it did.
    pub(crate) fn exit_status(&self) -> Option<WaitStatus> {
        let status = self.exit_status.load(Ordering::Relaxed);
        (status != NOT_EXITING).then_some(WaitStatus(status))
    }

    /// Whether it must not return to ring 3.
    pub(crate) fn is_exiting(&self) -> bool {
        self.exit_status().is_some() || self.process.check_ending().is_err()
    }
}

/// What a sleeper waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// A transfer of the disk, by number. Not interruptible: the device would go on.
    Transfer(u64),
    /// A line on the console.
    Console,
    /// The end of a child of this process.
    Child {
        /// The parent.
        of: u64,
    },
    /// A completion in this aio context.
    Aio(u64),
    /// A futex in private memory.
    FutexPrivate(SpaceId, u64),
    /// A futex in shared memory.
    FutexShared(PhysAddr),
    /// Nothing but time.
    Clock,
}

impl Channel {
    /// Whether the end of the process ends the wait.
    fn is_interruptible(self) -> bool {
        !matches!(self, Self::Transfer(_))
    }
}

struct Sleeper {
    thread: Arc<Thread>,
    channel: Channel,
    until_ns: Option<u64>,
}

struct Scheduler {
    ready: VecDeque<Arc<Thread>>,
    sleepers: Vec<Sleeper>,
    /// CPUs in `hlt`, or about to be.
    idle: CpuSet,
}

static SCHEDULER: SpinLock<Scheduler> = SpinLock::new(Scheduler {
    ready: VecDeque::new(),
    sleepers: Vec::new(),
    idle: CpuSet(0),
});

/// What each CPU runs; `None` in the idle loop. Each CPU uses its own.
static CURRENT: [SpinLock<Option<Arc<Thread>>>; MAX_CPUS] =
    [const { SpinLock::new(None) }; MAX_CPUS];

/// The idle loop of each CPU.
static IDLE: [SpinLock<Option<Arc<Task>>>; MAX_CPUS] = [const { SpinLock::new(None) }; MAX_CPUS];

impl Scheduler {
    /// Puts a thread in line; returns an idle CPU that should come for it.
    fn make_ready(&mut self, thread: Arc<Thread>) -> Option<CpuIndex> {
        self.ready.push_back(thread);
        let cpu = CpuIndex::all().find(|cpu| self.idle.contains(*cpu))?;
        self.idle = self.idle.without(cpu);
        (cpu != CpuIndex::current()).then_some(cpu)
    }

    /// Makes ready up to `max` sleepers that `which` picks, oldest first; returns how many.
    fn wake(&mut self, max: usize, which: impl Fn(&Sleeper) -> bool) -> usize {
        let mut woken = 0;
        let mut i = 0;
        while i < self.sleepers.len() && woken < max {
            if which(&self.sleepers[i]) {
                let sleeper = self.sleepers.remove(i);
                if let Some(cpu) = self.make_ready(sleeper.thread) {
                    apic::send(cpu, apic::VECTOR_RESCHEDULE);
                }
                woken += 1;
            } else {
                i += 1;
            }
        }
        woken
    }
}

/// The thread this CPU runs, if it is not idle.
pub(crate) fn try_current() -> Option<Arc<Thread>> {
    CURRENT[CpuIndex::current().get()].lock().clone()
}

/// The thread this CPU runs.
///
/// # Panics
///
/// In the idle loop.
pub(crate) fn current() -> Arc<Thread> {
    try_current().expect("system calls and user faults come from threads")
}

/// Puts a new thread in line.
pub(crate) fn start(thread: Arc<Thread>) {
    let idle = SCHEDULER.lock().make_ready(thread);
    if let Some(cpu) = idle {
        apic::send(cpu, apic::VECTOR_RESCHEDULE);
    }
}

/// Lets the next ready thread run, if there is one.
pub(crate) fn yield_now() {
    let mut scheduler = SCHEDULER.lock();
    if let (Some(next), Some(me)) = (scheduler.ready.pop_front(), try_current()) {
        let task = me.task.clone();
        scheduler.ready.push_back(me);
        switch(scheduler, task, Some(next));
    }
}

/// Sleeps until woken on `channel`, giving up `held`. The caller looks again then: the
/// reason may be gone, or another thread's.
///
/// # Errors
///
/// [`Ending`] if the process is ending; not for [`Channel::Transfer`].
pub(crate) fn sleep<T>(channel: Channel, held: Guard<'_, T>) -> Result<(), Ending> {
    sleep_until(channel, None, held)
}

/// [`sleep`], at most until `until_ns`.
pub(crate) fn sleep_until<T>(
    channel: Channel,
    until_ns: Option<u64>,
    held: Guard<'_, T>,
) -> Result<(), Ending> {
    let thread = current();
    let mut scheduler = SCHEDULER.lock();
    drop(held);
    if channel.is_interruptible() {
        // Whoever ends the process says so first and wakes its sleepers then.
        thread.process.check_ending()?;
    }
    let task = thread.task.clone();
    scheduler.sleepers.push(Sleeper {
        thread,
        channel,
        until_ns,
    });
    let next = scheduler.ready.pop_front();
    switch(scheduler, task, next);
    match try_current() {
        Some(thread) if channel.is_interruptible() => thread.process.check_ending(),
        _ => Ok(()),
    }
}

/// Wakes everyone on `channel`.
pub(crate) fn wake_all(channel: Channel) {
    wake(channel, usize::MAX);
}

/// Wakes up to `max` sleepers on `channel`; returns how many.
pub(crate) fn wake(channel: Channel, max: usize) -> usize {
    SCHEDULER
        .lock()
        .wake(max, |sleeper| sleeper.channel == channel)
}

/// Wakes whoever wanted to sleep until `now_ns` at most.
pub(crate) fn wake_expired(now_ns: u64) {
    SCHEDULER.lock().wake(usize::MAX, |sleeper| {
        sleeper.until_ns.is_some_and(|until| until <= now_ns)
    });
}

/// Wakes the threads of a process that is ending, as far as they may be.
pub(crate) fn wake_ending(pid: u64) {
    SCHEDULER.lock().wake(usize::MAX, |sleeper| {
        sleeper.thread.process.pid == pid && sleeper.channel.is_interruptible()
    });
    smp::kick_others();
}

/// Threads of a process that sleep.
pub(crate) fn sleeping_threads(pid: u64) -> usize {
    let scheduler = SCHEDULER.lock();
    let mine = |sleeper: &&Sleeper| sleeper.thread.process.pid == pid;
    scheduler.sleepers.iter().filter(mine).count()
}

/// Something a device will say once: set by whoever completes it, waited for by a thread.
pub(crate) struct Outcome<T> {
    channel: Channel,
    value: SpinLock<Option<T>>,
}

/// Numbers the outcomes, which is what their channels are told apart by.
static NEXT_OUTCOME: AtomicU64 = AtomicU64::new(0);

impl<T: Copy> Outcome<T> {
    /// One that is not there yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            channel: Channel::Transfer(NEXT_OUTCOME.fetch_add(1, Ordering::Relaxed)),
            value: SpinLock::new(None),
        })
    }

    /// Says it, and wakes who waits.
    pub(crate) fn set(&self, value: T) {
        *self.value.lock() = Some(value);
        wake_all(self.channel);
    }

    /// What was said, if it was.
    pub(crate) fn get(&self) -> Option<T> {
        *self.value.lock()
    }

    /// Sleeps until it is said. For threads.
    pub(crate) fn wait(&self) -> T {
        loop {
            let value = self.value.lock();
            if let Some(value) = *value {
                return value;
            }
            // Not an interruptible channel, so never refused.
            let _ = sleep(self.channel, value);
        }
    }
}

/// Ends the running thread; its process has been told.
pub(crate) fn exit_thread() -> ! {
    let thread = CURRENT[CpuIndex::current().get()].lock().take();
    let task = thread.expect("a thread ends itself").task.clone();
    let mut scheduler = SCHEDULER.lock();
    let next = scheduler.ready.pop_front();
    switch(scheduler, task, next);
    unreachable!("a thread that ended was resumed")
}

/// Leaves `running`, which is where it belongs or gone, for `next` or the idle loop.
fn switch(scheduler: Guard<'static, Scheduler>, running: Arc<Task>, next: Option<Arc<Thread>>) {
    let me = CpuIndex::current().get();
    let task = if let Some(thread) = &next {
        smp::enter_space(&thread.process);
        thread.task.clone()
    } else {
        smp::leave_space();
        IDLE[me].lock().clone().expect("every CPU began idle")
    };
    *CURRENT[me].lock() = next;
    task::switch(running, task, scheduler);
}

/// What a CPU does for the rest of its life: runs threads, and waits for some.
pub(crate) fn idle_loop() -> ! {
    let me = CpuIndex::current();
    let idle = Arc::new(Task::running_on_boot_stack());
    *IDLE[me.get()].lock() = Some(idle.clone());
    loop {
        let mut scheduler = SCHEDULER.lock();
        scheduler.idle = scheduler.idle.without(me);
        if let Some(next) = scheduler.ready.pop_front() {
            switch(scheduler, idle.clone(), Some(next));
            continue;
        }
        scheduler.idle = CpuSet(scheduler.idle.0 | CpuSet::one(me).0);
        drop(scheduler);
        cpu::wait_for_interrupt();
    }
}
