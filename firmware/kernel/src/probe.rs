//! Announcements on the measuring port.
//!
//! Three writes that nothing answers; interrupts are off in the kernel, so argument
//! and event go out together on one CPU.

use guest_abi::probe::{self, Mark};
use metal::port;

/// Announces `mark` with `argument`.
pub(crate) fn announce(mark: Mark, argument: u64) {
    let bytes = argument.to_le_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    port::write32(
        probe::BASE + probe::ARG_LOW,
        u32::from_le_bytes([a, b, c, d]),
    );
    port::write32(
        probe::BASE + probe::ARG_HIGH,
        u32::from_le_bytes([e, f, g, h]),
    );
    port::write32(probe::BASE + probe::EVENT, mark as u32);
}
