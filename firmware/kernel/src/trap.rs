//! Exceptions and interrupts.
//!
//! An exception in ring 3 is settled or ends the process as the signal Linux would
//! send; one in ring 0 is a bug of the kernel. Before ring 3 is entered again, a thread
//! whose process is ending ends.
//!
//! **Spec:** SDM 3A "Exception and Interrupt Reference".

use crate::process::{self, WaitStatus};
use crate::{block, console, sched, time};
use guest_abi::syscall::signal;
use metal::{CpuIndex, TrapFrame, apic, cpu, tlb};
use vm::FaultError;
use x86::fault::Vector;
use x86::{PfErrorCode, VirtAddr};

/// Vectors below this are exceptions.
const FIRST_INTERRUPT: u64 = 32;
const PAGE_FAULT: u64 = Vector::Pf as u64;

/// An exception or interrupt.
pub(crate) fn trap(frame: &mut TrapFrame) {
    match frame.vector() {
        vector if vector >= FIRST_INTERRUPT => interrupt(vector, frame),
        _ if !frame.is_from_user() => panic!(
            "vector {} in the kernel: error code {:#x}, rip {:#x}, cr2 {:#x}",
            frame.vector(),
            frame.error_code(),
            frame.rip(),
            cpu::fault_address()
        ),
        PAGE_FAULT => page_fault(frame),
        vector => end_by(signal_of(vector), frame),
    }
    if frame.is_from_user() {
        before_user();
    }
}

/// First thing a new thread does.
pub(crate) fn thread_begins(_frame: &mut TrapFrame) {
    before_user();
}

/// Ends the thread if it must not see ring 3 again. Called with nothing else on the
/// stack.
pub(crate) fn before_user() {
    if sched::current().is_exiting() {
        process::finish_thread();
    }
}

fn interrupt(vector: u64, frame: &TrapFrame) {
    const TIMER: u64 = apic::VECTOR_TIMER as u64;
    const DISK: u64 = apic::VECTOR_DISK as u64;
    const RESCHEDULE: u64 = apic::VECTOR_RESCHEDULE as u64;
    const SHOOTDOWN: u64 = apic::VECTOR_SHOOTDOWN as u64;
    const SPURIOUS: u64 = apic::VECTOR_SPURIOUS as u64;
    match vector {
        TIMER => timer(),
        DISK => block::interrupt(),
        SHOOTDOWN => tlb::serve(),
        RESCHEDULE => {}
        // No end of interrupt for a spurious one: nothing is in service.
        SPURIOUS => return,
        _ => panic!("interrupt {vector:#x}, which nobody sends"),
    }
    apic::end_of_interrupt();
    if vector == TIMER && frame.is_from_user() {
        sched::yield_now();
    }
}

fn timer() {
    if CpuIndex::current() == CpuIndex::FIRST {
        time::tick();
        console::poll();
    }
}

fn page_fault(frame: &TrapFrame) {
    let code = u32::try_from(frame.error_code()).map_or(PfErrorCode::empty(), |code| {
        PfErrorCode::from_bits_truncate(code)
    });
    let linear = VirtAddr::new(cpu::fault_address()).expect("#PF reports canonical addresses");
    let process = sched::current().process.clone();
    match process.with_space(|space, mem| space.handle_fault(mem, linear, code)) {
        Ok(Ok(_)) => {}
        Ok(Err(FaultError::OutOfMemory)) => {
            console::println!(
                "{}[{}]: out of memory",
                process.name.lock().as_str(),
                process.pid
            );
            process.end(WaitStatus::killed(signal::SIGKILL));
        }
        Ok(Err(FaultError::Sigsegv)) | Err(_) => end_by(signal::SIGSEGV, frame),
    }
}

/// The signal Linux sends for an exception.
const fn signal_of(vector: u64) -> i32 {
    match vector {
        0 | 16 | 19 => signal::SIGFPE,
        1 | 3 => signal::SIGTRAP,
        6 => signal::SIGILL,
        _ => signal::SIGSEGV,
    }
}

fn end_by(signal: i32, frame: &TrapFrame) {
    let process = sched::current().process.clone();
    let at = if frame.vector() == PAGE_FAULT {
        cpu::fault_address()
    } else {
        0
    };
    console::println!(
        "{}[{}]: signal {signal}, vector {} at rip {:#x}, address {at:#x}",
        process.name.lock().as_str(),
        process.pid,
        frame.vector(),
        frame.rip()
    );
    process.end(WaitStatus::killed(signal));
}
