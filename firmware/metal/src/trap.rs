//! What a trap saves and what it returns to.
//!
//! `trap.s` builds a [`TrapFrame`] at the top of the kernel stack, whichever way
//! ring 3 was left, and restores it on the way back. It includes the fxsave image:
//! the precompiled `core` uses xmm registers. The kernel does no floating-point
//! arithmetic, so it may run with whatever MXCSR the program left.
//!
//! **Spec:** SDM 3A "64-Bit Mode Stack Frame"; SDM 2 "FXSAVE", "SYSRET", "IRET".

use crate::KERNEL_HOOKS;
use crate::tables::{USER_CODE, USER_DATA};
use core::arch::global_asm;
use x86::{Rflags, VirtAddr};

global_asm!(include_str!("trap.s"), ".text", options(att_syntax));

// SAFETY: trap.s defines these symbols; only their addresses are used.
unsafe extern "C" {
    static trap_stubs: u8;
    static syscall_entry: u8;
}

pub(crate) fn stubs_base() -> u64 {
    (&raw const trap_stubs).addr() as u64
}

pub(crate) fn syscall_entry_address() -> u64 {
    (&raw const syscall_entry).addr() as u64
}

/// The 512 bytes of FXSAVE.
#[derive(Clone)]
#[repr(C, align(16))]
struct FxImage([u8; 512]);

impl FxImage {
    /// The state after FNINIT with MXCSR at its reset value.
    fn initial() -> Self {
        let mut image = [0; 512];
        image[..2].copy_from_slice(&0x037f_u16.to_le_bytes());
        image[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        Self(image)
    }
}

/// Every register of interrupted code, in the order of the stack.
#[derive(Clone)]
#[repr(C)]
pub struct TrapFrame {
    fx: FxImage,
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

const _: () = assert!(size_of::<TrapFrame>() == 512 + 22 * 8);

impl TrapFrame {
    /// A program about to start at `entry`.
    #[must_use]
    pub fn starting_at(entry: VirtAddr, stack: VirtAddr) -> Self {
        Self {
            fx: FxImage::initial(),
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: Self::INITIAL_RFLAGS,
            r10: 0,
            r9: 0,
            r8: 0,
            rbp: 0,
            rdi: 0,
            rsi: 0,
            rdx: 0,
            rcx: entry.get(),
            rbx: 0,
            rax: 0,
            vector: 0,
            error: 0,
            rip: entry.get(),
            cs: u64::from(USER_CODE.0),
            rflags: Self::INITIAL_RFLAGS,
            rsp: stack.get(),
            ss: u64::from(USER_DATA.0),
        }
    }

    const INITIAL_RFLAGS: u64 = Rflags::IF.union(Rflags::ALWAYS_1).bits();

    /// The vector that was raised; meaningless for a system call.
    #[must_use]
    pub const fn vector(&self) -> u64 {
        self.vector
    }

    /// The error code the processor pushed, or 0.
    #[must_use]
    pub const fn error_code(&self) -> u64 {
        self.error
    }

    /// Address of the interrupted instruction.
    #[must_use]
    pub const fn rip(&self) -> u64 {
        self.rip
    }

    /// Whether ring 3 was interrupted.
    #[must_use]
    pub const fn is_from_user(&self) -> bool {
        self.cs & 3 == 3
    }

    /// System call number: RAX.
    #[must_use]
    pub const fn syscall_number(&self) -> u64 {
        self.rax
    }

    /// System call arguments: RDI, RSI, RDX, R10, R8, R9.
    #[must_use]
    pub const fn syscall_arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Sets what the system call returns: RAX.
    pub const fn set_result(&mut self, value: i64) {
        self.rax = value.cast_unsigned();
    }

    /// Sets the stack pointer it will return with.
    pub const fn set_stack(&mut self, rsp: u64) {
        self.rsp = rsp;
    }
}

/// Called by `trap.s` for every vector.
#[unsafe(no_mangle)]
extern "C" fn metal_trap(frame: &mut TrapFrame) {
    (KERNEL_HOOKS.trap)(frame);
}

/// Called by `trap.s` for SYSCALL.
#[unsafe(no_mangle)]
extern "C" fn metal_syscall(frame: &mut TrapFrame) {
    (KERNEL_HOOKS.syscall)(frame);
}

/// Called by `trap.s` on the stack of a new thread.
#[unsafe(no_mangle)]
extern "C" fn metal_thread_begins(frame: &mut TrapFrame) {
    crate::task::finish_switch();
    (KERNEL_HOOKS.thread_begins)(frame);
}
