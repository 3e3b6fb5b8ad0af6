//! Suspended computations: a kernel stack and where on it to go on.
//!
//! A [`Task`] is running on one CPU or suspended; the saved stack pointer says which
//! (0: running), and taking it is what gives a CPU the right to run the task. It is
//! published by `switch_stacks` only after the old stack has been left.
//!
//! Stacks lie in their own part of linear memory with a guard page below each, so an
//! overflow is a double fault and not a neighbour's data. They are never unmapped:
//! a free stack waits for the next task, and no TLB holds anything stale.
//!
//! **Spec:** SDM 3A "Stack Switching in IA-32e Mode".

use crate::paging::{self, kernel_root};
use crate::sync::{FREE, Guard};
use crate::{CpuIndex, MAX_CPUS, SpinLock, TrapFrame, heap, tables};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use x86::addr::PAGE_BYTES;
use x86::{Bits, Level, PhysAddr, VirtAddr};

const STACKS_BASE: u64 = 0xffff_ffff_c000_0000;
/// Linear bytes per stack, the guard page included.
const SLOT_BYTES: u64 = 8 * PAGE_BYTES;
const STACK_PAGES: usize = 7;
/// Tasks at most.
pub const MAX_TASKS: usize = 256;

/// Saved by a task that runs.
const RUNNING: u64 = 0;

// SAFETY: trap.s defines both; `switch_stacks` has this signature.
unsafe extern "C" {
    fn switch_stacks(save: *mut u64, next: u64);
    static thread_start: u8;
}

/// Stacks nobody uses, and how many were ever mapped.
struct Pool {
    free: Vec<usize>,
    mapped: usize,
}

static POOL: SpinLock<Pool> = SpinLock::new(Pool {
    free: Vec::new(),
    mapped: 0,
});

/// Makes the page tables of all stacks, so that every address space shares them.
pub(crate) fn reserve_stack_tables(root: PhysAddr) {
    for slot in (0..MAX_TASKS).step_by(64) {
        let at = VirtAddr::new(slot_base(slot)).expect("kernel addresses are canonical");
        paging::reserve(root, at);
    }
}

const fn slot_base(slot: usize) -> u64 {
    STACKS_BASE + slot as u64 * SLOT_BYTES
}

/// One kernel stack.
struct Stack {
    slot: usize,
}

impl Stack {
    /// A stack, unless all [`MAX_TASKS`] are in use or the heap is.
    fn take() -> Option<Self> {
        let mut pool = POOL.lock();
        if let Some(slot) = pool.free.pop() {
            return Some(Self { slot });
        }
        let slot = pool.mapped;
        if slot == MAX_TASKS {
            return None;
        }
        let memory = heap::try_leak_pages(STACK_PAGES)?;
        pool.mapped += 1;
        drop(pool);
        for offset in (0..SLOT_BYTES - PAGE_BYTES).step_by(4096) {
            let linear = slot_base(slot) + PAGE_BYTES + offset;
            let bits = Bits::P | Bits::RW | Bits::G | Bits::XD;
            paging::map(kernel_root(), linear, memory.add(offset), Level::Pt, bits);
        }
        Some(Self { slot })
    }

    const fn top(&self) -> u64 {
        slot_base(self.slot) + SLOT_BYTES
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        POOL.lock().free.push(self.slot);
    }
}

/// A computation in the kernel that can be suspended and resumed.
pub struct Task {
    saved_rsp: AtomicU64,
    /// `None` for a CPU's idle loop, which runs on its boot stack.
    stack: Option<Stack>,
}

/// What a new stack holds for `switch_stacks`, below the frame: six callee-saved
/// registers and the address to return to.
const SWITCH_FRAME_QUADS: usize = 7;

impl Task {
    /// A task that will call [`crate::Hooks::thread_begins`] and then return to
    /// `frame`, or `None` when there is no stack left.
    #[must_use]
    pub fn new(frame: TrapFrame) -> Option<Self> {
        let stack = Stack::take()?;
        let at = stack.top() - size_of::<TrapFrame>() as u64;
        // SAFETY: inside the stack, which is mapped and nobody else's; `top` is
        // page-aligned and the size a multiple of 16, so `at` is aligned.
        unsafe { pointer::<TrapFrame>(at).write(frame) };
        let mut switch_frame = [0; SWITCH_FRAME_QUADS];
        switch_frame[SWITCH_FRAME_QUADS - 1] = (&raw const thread_start).addr() as u64;
        let saved_rsp = at - size_of_val(&switch_frame) as u64;
        // SAFETY: right below the frame, inside the stack.
        unsafe { pointer::<[u64; SWITCH_FRAME_QUADS]>(saved_rsp).write(switch_frame) };
        Some(Self {
            saved_rsp: AtomicU64::new(saved_rsp),
            stack: Some(stack),
        })
    }

    /// The computation that is running now, on a boot stack: a CPU's idle loop.
    #[must_use]
    pub const fn running_on_boot_stack() -> Self {
        Self {
            saved_rsp: AtomicU64::new(RUNNING),
            stack: None,
        }
    }
}

/// What a CPU must do once it has left a stack.
struct Left {
    task: Option<Arc<Task>>,
    held: Option<&'static AtomicUsize>,
}

/// One per CPU.
static LEFT: [SpinLock<Left>; MAX_CPUS] = [const {
    SpinLock::new(Left {
        task: None,
        held: None,
    })
}; MAX_CPUS];

/// Suspends the running task and resumes `next`; returns when somebody resumes the
/// former, maybe on another CPU.
///
/// `held` is let go, and this reference to `running` dropped, by this CPU, once it has
/// left the stack: nobody who needs the lock sees the switch half done, and a task
/// whose last reference this was is gone with its stack.
///
/// # Panics
///
/// If `next` is running, or `running` is not.
pub fn switch<T>(running: Arc<Task>, next: Arc<Task>, held: Guard<'static, T>) {
    assert!(
        running.saved_rsp.load(Ordering::Relaxed) == RUNNING,
        "a suspended task cannot switch"
    );
    let rsp = next.saved_rsp.swap(RUNNING, Ordering::Acquire);
    assert!(rsp != RUNNING, "a task runs on one CPU at a time");
    if let Some(stack) = &next.stack {
        tables::set_kernel_stack(stack.top());
    }
    // Its thread, or its CPU if it is an idle loop, holds another reference.
    drop(next);
    let save = running.saved_rsp.as_ptr();
    *LEFT[CpuIndex::current().get()].lock() = Left {
        task: Some(running),
        held: Some(held.hand_over()),
    };
    // SAFETY:
    // 1. `rsp` was saved by `switch_stacks` or laid out by `new`, and the swap gave it
    //    to this CPU alone.
    // 2. `save` is in the task that `LEFT` keeps until `finish_switch`, and is written
    //    after this stack is left.
    unsafe { switch_stacks(save, rsp) };
    finish_switch();
}

/// Second half of [`switch`], on the new stack.
pub(crate) fn finish_switch() {
    let left = core::mem::replace(
        &mut *LEFT[CpuIndex::current().get()].lock(),
        Left {
            task: None,
            held: None,
        },
    );
    if let Some(held) = left.held {
        held.store(FREE, Ordering::Release);
    }
    drop(left.task);
}

impl Drop for Task {
    fn drop(&mut self) {
        assert!(
            *self.saved_rsp.get_mut() != RUNNING,
            "a running task is dropped with the stack it runs on"
        );
    }
}

fn pointer<T>(linear: u64) -> *mut T {
    core::ptr::with_exposed_provenance_mut(usize::try_from(linear).expect("64-bit addresses"))
}
