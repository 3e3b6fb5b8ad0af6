//! The end of the machine.
//!
//! The status goes to the debug-exit port; QEMU's device turns `v` into its own
//! exit status `v << 1 | 1`. On a machine without that port the CPU stops instead.

use crate::block;
use metal::{cpu, port};

/// The debug-exit port.
const EXIT_PORT: u16 = 0xf4;

/// Status after a kernel panic; QEMU then exits with 127.
pub(crate) const PANIC_STATUS: u32 = 0x3f;

/// Ends the machine with `status`, now.
pub(crate) fn off(status: u32) -> ! {
    port::write32(EXIT_PORT, status);
    cpu::halt()
}

/// Ends the machine with `status` after the disk has written its cache.
pub(crate) fn off_after_flush(status: u32) -> ! {
    // A disk that cannot flush is no reason to stay on.
    let _ = block::flush();
    off(status)
}
