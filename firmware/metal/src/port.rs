//! I/O ports.
//!
//! Safe to call: no port of a PC the kernel names changes memory by itself. (The
//! AHCI controller does, but through its memory-mapped registers.)
//!
//! **Spec:** SDM 1 "Input/Output".

use core::arch::asm;

/// Reads a byte; all ones where nothing answers.
#[must_use]
pub fn read8(port: u16) -> u8 {
    let value;
    // SAFETY: port reads touch no memory.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags));
    }
    value
}

/// Writes a byte.
pub fn write8(port: u16, value: u8) {
    // SAFETY: see the module head.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
    }
}

/// Reads a doubleword; all ones where nothing answers.
#[must_use]
pub fn read32(port: u16) -> u32 {
    let value;
    // SAFETY: port reads touch no memory.
    unsafe {
        asm!(
            "in eax, dx",
            in("dx") port,
            out("eax") value,
            options(nomem, nostack, preserves_flags)
        );
    }
    value
}

/// Writes a doubleword.
pub fn write32(port: u16, value: u32) {
    // SAFETY: see the module head.
    unsafe {
        asm!(
            "out dx, eax",
            in("dx") port,
            in("eax") value,
            options(nomem, nostack, preserves_flags)
        );
    }
}
