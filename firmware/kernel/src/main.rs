//! The kernel: processes, system calls, scheduling, the block driver.
//!
//! [`metal`] beneath does what needs unsafe code, [`vm`] decides about memory, and
//! everything else is here. Reading order: [`boot`] · [`trap`] · [`sched`] ·
//! [`process`] · [`memory`] · [`syscall`] · [`direct`] · [`block`].
//!
//! # Locks
//!
//! The kernel runs with interrupts off and never gives up the CPU except in
//! [`sched`]. Nothing is held across a sleep. A lock may be taken while holding those
//! to its left:
//!
//! ```text
//! a process's files · aio table · FUTEXES → its space → MEMORY → DISK → a completion →
//! an aio context · console input · PROCESSES → SCHEDULER → a process's address or
//! name · shootdown · console output · heap
//! ```
//!
//! Interrupt handlers take the same locks; they run only where none is held, in ring 3
//! and in the idle loop.
//!
//! Not modelled: signals but SIGKILL, users, directories, a page cache, swap,
//! priorities, kernel preemption.

#![no_std]
#![no_main]

extern crate alloc;

mod aio;
mod archive;
mod block;
mod boot;
mod cmdline;
mod console;
mod direct;
mod errno;
mod exec;
mod file;
mod memory;
mod power;
mod probe;
mod process;
mod sched;
mod smp;
mod syscall;
mod time;
mod trap;
mod user;

metal::kernel_hooks!(metal::Hooks {
    first_cpu: boot::first_cpu,
    started_cpu: boot::started_cpu,
    trap: trap::trap,
    syscall: syscall::syscall,
    thread_begins: trap::thread_begins,
});

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    console::print_without_lock(format_args!("KERNEL PANIC: {info}\n"));
    power::off(power::PANIC_STATUS)
}
