//! Threads: `clone` with a stack of its own, `futex` to wait for the end.
//!
//! ```text
//!  low                          stack pages                             high
//!  ┌──────────────────────────────────────┬──────────┬──────────┬──────────┐
//!  │            ← stack grows down        │  entry   │ &Control │ Control  │
//!  └──────────────────────────────────────┴──────────┴──────────┴──────────┘
//!                                  RSP of the new thread ↑
//! ```
//!
//! The new thread pops its entry and its argument, so nothing depends on which registers
//! the kernel hands over. Its last three steps (say that it is done, wake, exit) use no
//! stack: as soon as it is done, whoever joins may unmap the pages it ran on.
//!
//! Not modelled: `CLONE_CHILD_CLEARTID`, guard pages, thread-local storage; a panic ends
//! the whole process.
//!
//! **Spec:** Linux man-pages, clone(2), futex(2).

// UNSAFETY: a stack is laid out by hand, and a result passes between threads.
#![expect(unsafe_code)]

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_abi::syscall::{CLONE_THREAD_FLAGS, FUTEX_WAKE, nr};

use crate::errno::Errno;
use crate::pages::{self, PAGE_BYTES, Pages};
use crate::sys;

const STACK_PAGES: usize = 16;
const STACK_ALIGN: usize = 16;

/// The half of [`Control`] that the joining thread knows.
#[repr(C)]
struct Outcome<T> {
    /// 0, then 1 when `value` is there and the thread needs its stack no longer.
    done: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// What lies at the top of a thread's stack.
#[repr(C)]
struct Control<F, T> {
    outcome: Outcome<T>,
    body: ManuallyDrop<F>,
}

/// A running thread. Dropped without [`join`](Thread::join), it runs on and keeps its stack.
pub struct Thread<T> {
    outcome: NonNull<Outcome<T>>,
    stack: ManuallyDrop<Pages>,
}

/// Runs `body` in a new thread.
///
/// # Errors
///
/// What `mmap` or `clone` returns; `body` is dropped unused.
pub fn spawn<F, T>(body: F) -> Result<Thread<T>, Errno>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let stack = Pages::private(STACK_PAGES)?;
    let control = place_control::<F, T>(&stack);
    let outcome = Outcome {
        done: AtomicU32::new(0),
        value: UnsafeCell::new(MaybeUninit::uninit()),
    };
    // SAFETY: `place_control` chose room inside the fresh pages, aligned for it.
    unsafe {
        control.write(Control {
            outcome,
            body: ManuallyDrop::new(body),
        })
    };
    // SAFETY: `control` was just written, and the words below it are free.
    match unsafe { clone_onto(control) } {
        Ok(()) => Ok(Thread {
            outcome: control.cast(),
            stack: ManuallyDrop::new(stack),
        }),
        Err(errno) => {
            // SAFETY: no thread was made, so nobody else takes `body`.
            drop(unsafe { take_body(control.as_ptr()) });
            Err(errno)
        }
    }
}

/// Room for a [`Control`] at the upper end of the stack.
fn place_control<F, T>(stack: &Pages) -> NonNull<Control<F, T>> {
    const {
        assert!(
            size_of::<Control<F, T>>() <= PAGE_BYTES / 2,
            "closure or result too large"
        )
    };
    const {
        assert!(
            align_of::<Control<F, T>>() <= PAGE_BYTES,
            "alignment above a page"
        )
    };
    let align = align_of::<Control<F, T>>().max(STACK_ALIGN);
    let offset = (stack.bytes().len() - size_of::<Control<F, T>>()) & !(align - 1);
    let room = pages::address(&stack.bytes()[offset..]);
    let room = usize::try_from(room).expect("usize has 64 bits here");
    NonNull::new(core::ptr::with_exposed_provenance_mut(room)).expect("mmap never chooses page 0")
}

/// Makes a thread that runs [`run`] on the stack below `control`.
///
/// # Safety
///
/// `control` is initialised, 16-aligned, and has free stack below it; nobody but the
/// new thread and, after `done`, the joining one uses it.
unsafe fn clone_onto<F, T>(control: NonNull<Control<F, T>>) -> Result<(), Errno>
where
    F: FnOnce() -> T,
{
    let top = control.as_ptr().cast::<u64>();
    // SAFETY: two free words lie below `control`.
    let stack = unsafe { top.sub(2) };
    let entry: unsafe extern "C" fn(*mut Control<F, T>) -> *const AtomicU32 = run::<F, T>;
    // SAFETY: the lower of the two.
    unsafe { stack.write(entry as usize as u64) };
    // SAFETY: as above.
    let argument = unsafe { top.sub(1) };
    // SAFETY: the upper of the two.
    unsafe { argument.write(top.expose_provenance() as u64) };
    let result: i64;
    // SAFETY:
    // 1. In the calling thread, `syscall` changes RAX, RCX and R11 only.
    // 2. The new thread leaves by the first branch and never comes back to Rust code
    //    that it did not call; its stack is 16-aligned at the call, as the ABI asks.
    // 3. MOV is a release store on this architecture: who sees `done` sees `value`.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "pop rax",
            "pop rdi",
            "call rax",
            "mov dword ptr [rax], 1", // done: from here on the stack may be gone
            "mov rdi, rax",
            "mov esi, {wake}",
            "mov edx, 1",
            "mov eax, {futex}",
            "syscall",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            wake = const FUTEX_WAKE,
            futex = const nr::FUTEX,
            exit = const nr::EXIT,
            inlateout("rax") nr::CLONE => result,
            in("rdi") CLONE_THREAD_FLAGS,
            in("rsi") stack,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    Errno::split(result).map(drop)
}

/// The new thread's Rust code; returns where to say that it is done.
///
/// # Safety
///
/// `control` is initialised, and this is the only call with it.
unsafe extern "C" fn run<F, T>(control: *mut Control<F, T>) -> *const AtomicU32
where
    F: FnOnce() -> T,
{
    // SAFETY: initialised, and this thread is the only one that takes it.
    let body = unsafe { take_body(control) };
    let value = body();
    // SAFETY: initialised; the joining thread holds a shared reference at most.
    let outcome = unsafe { &(*control).outcome };
    // SAFETY: the joining thread reads `value` only after `done`.
    unsafe { outcome.value.get().cast::<T>().write(value) };
    &raw const outcome.done
}

/// Moves the closure out.
///
/// # Safety
///
/// `control` is initialised, nobody else uses its `body`, and it is moved out once.
unsafe fn take_body<F, T>(control: *mut Control<F, T>) -> F {
    // SAFETY: initialised, and nobody else uses it.
    let body = unsafe { &mut (*control).body };
    // SAFETY: moved out once.
    unsafe { ManuallyDrop::take(body) }
}

impl<T> Thread<T> {
    /// Whether the thread has its result.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.done().load(Ordering::Acquire) != 0
    }

    /// Waits for the thread's result.
    pub fn join(self) -> T {
        while !self.is_finished() {
            // Returns early when `done` has changed meanwhile: the loop looks again.
            let _ = sys::futex_wait(self.done(), 0);
        }
        // SAFETY: the stack is mapped until the next statement, and the thread is done with it.
        let outcome = unsafe { self.outcome.as_ref() };
        // SAFETY: `done` says that `value` is there; `self` is consumed, so it is taken once.
        let value = unsafe { outcome.value.get().cast::<T>().read() };
        drop(ManuallyDrop::into_inner(self.stack));
        value
    }

    fn done(&self) -> &AtomicU32 {
        // SAFETY: the stack is mapped for as long as `self` lives.
        &unsafe { self.outcome.as_ref() }.done
    }
}

/// Gives the CPU to another thread that is ready.
pub fn yield_now() {
    sys::sched_yield();
}

/// Number of the calling thread.
#[must_use]
pub fn current_id() -> u64 {
    sys::gettid()
}

/// Sleeps while `word` holds `value`; may return early.
pub fn wait_while(word: &AtomicU32, value: u32) {
    // An early return is the caller's to notice: it looks at the word again.
    let _ = sys::futex_wait(word, value);
}

/// Wakes up to `sleepers` threads that wait for `word`; how many there were.
///
/// # Errors
///
/// What `futex` returns.
pub fn wake(word: &AtomicU32, sleepers: u32) -> Result<u64, Errno> {
    sys::futex_wake(word, sleepers)
}
