//! The measuring port: takes announcements from the guest and passes them on.
//!
//! [`guest_abi::probe`] is its reference. It answers no read and changes nothing
//! a guest can see, so a guest behaves the same where there is no such port.

use guest_abi::probe::{ARG_HIGH, ARG_LOW, BASE, EVENT, LEN, Mark};
use memory::Width;

/// The argument registers, one pair per CPU.
#[derive(Clone, Debug)]
pub struct ProbePort {
    arguments: Vec<u64>,
}

impl ProbePort {
    /// The port of a machine with `cpus` CPUs.
    #[must_use]
    pub fn new(cpus: usize) -> Self {
        Self {
            arguments: vec![0; cpus],
        }
    }

    /// Whether I/O port `port` is one of this device's.
    #[must_use]
    pub const fn claims(port: u16) -> bool {
        matches!(port.checked_sub(BASE), Some(offset) if offset < LEN)
    }

    /// Takes a write by CPU `cpu`: the announcement, if it is one that is known.
    ///
    /// Writes that are not a dword, to no register, or of no known mark are ignored.
    pub fn write(
        &mut self,
        cpu: usize,
        port: u16,
        width: Width,
        value: u32,
    ) -> Option<(Mark, u64)> {
        let argument = self.arguments.get_mut(cpu)?;
        let (high, low) = (*argument >> 32 << 32, *argument & u64::from(u32::MAX));
        match port.checked_sub(BASE).filter(|_| width == Width::Dword)? {
            EVENT => return Some((Mark::from_u32(value)?, *argument)),
            ARG_LOW => *argument = high | u64::from(value),
            ARG_HIGH => *argument = u64::from(value) << 32 | low,
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_announced_with_the_argument_of_the_cpu_that_writes_it() {
        let mut port = ProbePort::new(2);
        for (cpu, low, high) in [(0, 0x1111, 0x2222), (1, 0x3333, 0x4444)] {
            assert_eq!(port.write(cpu, BASE + ARG_LOW, Width::Dword, low), None);
            assert_eq!(port.write(cpu, BASE + ARG_HIGH, Width::Dword, high), None);
        }
        let release = Mark::Release as u32;
        let said = port.write(0, BASE + EVENT, Width::Dword, release);
        assert_eq!(said, Some((Mark::Release, 0x2222_0000_1111)));
        let said = port.write(1, BASE + EVENT, Width::Dword, release);
        assert_eq!(said, Some((Mark::Release, 0x4444_0000_3333)));
    }

    #[test]
    fn what_is_no_known_mark_is_ignored() {
        let mut port = ProbePort::new(1);
        assert_eq!(port.write(0, BASE + EVENT, Width::Dword, 0xffff), None);
        assert_eq!(
            port.write(0, BASE + EVENT, Width::Byte, Mark::Release as u32),
            None
        );
        assert_eq!(
            port.write(0, BASE + 12, Width::Dword, Mark::Release as u32),
            None
        );
        assert_eq!(
            port.write(7, BASE + EVENT, Width::Dword, Mark::Release as u32),
            None
        );
        assert!(ProbePort::claims(BASE + LEN - 1) && !ProbePort::claims(BASE + LEN));
        assert!(!ProbePort::claims(BASE - 1));
    }
}
