//! Control registers, MSRs, CPUID, and waiting.
//!
//! What only reads, or cannot break memory safety, is public; the rest is for
//! this crate.
//!
//! **Spec:** SDM 3A "Control Registers"; SDM 2 "CPUID", "HLT", "PAUSE".

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use x86::{Cr4, PhysAddr};

/// Value of CR2: the linear address of the last page fault.
#[must_use]
pub fn fault_address() -> u64 {
    let value;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Value of CR3: where the tables in use are.
#[must_use]
pub fn page_table_root() -> PhysAddr {
    let value: u64;
    // SAFETY: reading CR3 has no effect.
    unsafe {
        asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags));
    }
    PhysAddr::truncate(value).frame_base()
}

/// Loads CR3, which drops every non-global translation.
///
/// # Safety
///
/// `root` is a PML4 whose upper half is the kernel's, and stays so while loaded.
pub(crate) unsafe fn write_cr3(root: PhysAddr) {
    // SAFETY: code, stack and data stay mapped, as the caller promises.
    unsafe { asm!("mov cr3, {}", in(reg) root.get(), options(nostack, preserves_flags)) };
}

/// Sets bits of CR4.
///
/// # Safety
///
/// The feature behind each bit exists, and the kernel keeps its rules.
pub(crate) unsafe fn set_cr4(bits: Cr4) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "mov {t}, cr4",
            "or {t}, {b}",
            "mov cr4, {t}",
            t = out(reg) _,
            b = in(reg) bits.bits(),
            options(nostack)
        );
    }
}

/// Writes a model-specific register.
///
/// # Safety
///
/// The register exists, and `value` keeps what the kernel relies on.
pub(crate) unsafe fn write_msr(msr: u32, value: u64) {
    // SAFETY: the caller's promise. The truncation takes the low half.
    unsafe {
        asm!(
            "wrmsr",
            in("ecx") msr,
            in("rax") value & 0xffff_ffff,
            in("rdx") value >> 32,
            options(nostack, preserves_flags)
        );
    }
}

/// CPUID features the kernel asks about.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Leaf 7: supervisor code cannot be fetched from user pages.
    pub smep: bool,
    /// Leaf 7: supervisor data cannot be read from user pages.
    pub smap: bool,
    /// Leaf 80000001h: 1 GiB pages.
    pub page_1g: bool,
}

impl Features {
    /// Asks CPUID.
    #[must_use]
    pub fn read() -> Self {
        let leaf_7 = if __cpuid(0).eax >= 7 {
            __cpuid_count(7, 0).ebx
        } else {
            0
        };
        let extended = if __cpuid(0x8000_0000).eax > 0x8000_0000 {
            __cpuid(0x8000_0001).edx
        } else {
            0
        };
        Self {
            smep: leaf_7 & 1 << 7 != 0,
            smap: leaf_7 & 1 << 20 != 0,
            page_1g: extended & 1 << 26 != 0,
        }
    }
}

/// Stops until an interrupt has been handled. For an idle loop that holds no lock:
/// interrupts are on inside, and only here in the whole kernel.
pub fn wait_for_interrupt() {
    // SAFETY: `sti` takes effect after `hlt` begins, so no wake-up is missed; the
    // handlers return with every register as it was, and interrupts are off again.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Stops this CPU for good: interrupts off, `hlt`.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing runs after it.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
