//! Everything the kernel cannot do in safe Rust.
//!
//! Boot and the way to long mode ([`boot`]), descriptor tables ([`tables`]), entry
//! and return ([`trap`]), suspended computations ([`task`]), control registers
//! ([`cpu`]), ports and device registers ([`port`], [`mmio`]), the local APIC
//! ([`apic`]), linear memory ([`paging`], [`frames`], [`heap`], [`dma`]), locks
//! ([`sync`]) and TLB shootdown ([`tlb`]). The interface is safe; what each part
//! relies on stands at its head. `vm` decides about memory, `kernel` about all else;
//! what they supply to this crate comes in through [`Hooks`].
//!
//! Two rules hold everywhere. The kernel runs with interrupts off; the only
//! exception is [`cpu::wait_for_interrupt`], which the idle loop calls holding
//! nothing. And a CPU that spins serves TLB shootdowns meanwhile.
//!
//! Not modelled: 5-level paging, x2APIC, NMI sources, CPU hot-plug, more than
//! [`MAX_CPUS`] CPUs.
//!
//! **Spec:** SDM 3A, "Processor Management and Initialization".

#![no_std]
// UNSAFETY: this crate owns every operation the compiler cannot check for the
// guest: privileged instructions, page tables, raw memory, entry from assembly.
#![expect(unsafe_code, reason = "the layer under the safe kernel")]

extern crate alloc;

pub mod apic;
pub mod boot;
pub mod cpu;
pub mod dma;
pub mod frames;
pub mod heap;
mod mem;
pub mod mmio;
pub mod paging;
pub mod plain;
pub mod port;
pub mod sync;
pub mod tables;
pub mod task;
pub mod tlb;
pub mod trap;

pub use boot::BootInfo;
pub use sync::SpinLock;
pub use trap::TrapFrame;

/// CPUs this kernel uses at most.
pub const MAX_CPUS: usize = 8;

/// Index of a CPU: 0 is the one that booted, the others in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuIndex(usize);

impl CpuIndex {
    /// The CPU that booted.
    pub const FIRST: Self = Self(0);

    /// The CPU this code runs on.
    #[must_use]
    pub fn current() -> Self {
        Self(tables::current_index())
    }

    /// Position in per-CPU arrays, below [`MAX_CPUS`].
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }

    /// All positions.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_CPUS).map(Self)
    }
}

/// What the kernel supplies; set with [`kernel_hooks!`].
pub struct Hooks {
    /// The kernel, on the CPU that booted.
    pub first_cpu: fn(&'static BootInfo) -> !,
    /// The kernel, on every other CPU, once it has its tables.
    pub started_cpu: fn() -> !,
    /// An exception or interrupt; the frame is what it returns to.
    pub trap: fn(&mut TrapFrame),
    /// A `SYSCALL`.
    pub syscall: fn(&mut TrapFrame),
    /// First thing a new thread does, on its own stack; it then drops to ring 3.
    pub thread_begins: fn(&mut TrapFrame),
}

/// Defines the [`Hooks`] this crate calls; once, in the kernel.
#[macro_export]
macro_rules! kernel_hooks {
    ($hooks:expr) => {
        #[unsafe(no_mangle)]
        static KERNEL_HOOKS: $crate::Hooks = $hooks;
    };
}

// SAFETY: `kernel_hooks!` defines this symbol with this type; a kernel without it
// does not link.
unsafe extern "Rust" {
    pub(crate) safe static KERNEL_HOOKS: Hooks;
}
