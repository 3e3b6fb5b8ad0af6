//! The port that ends the machine, as test harnesses of other machines know it.
//!
//! A write of `v` ends the machine with exit code `(v << 1) | 1`, which is never
//! 0, so an end by this port cannot be taken for any other kind of success.

/// I/O port of the device.
pub const PORT: u16 = 0xf4;

/// Exit code of the machine after `value` was written to [`PORT`] at any width.
#[must_use]
pub const fn exit_code(value: u32) -> u32 {
    value << 1 | 1
}

#[cfg(test)]
mod tests {
    use super::exit_code;

    #[test]
    fn every_exit_code_is_odd_and_tells_the_value() {
        for (value, code) in [(0, 1), (1, 3), (0x10, 0x21), (u32::MAX, u32::MAX)] {
            assert_eq!(exit_code(value), code);
        }
    }
}
