//! The generic host control registers, offsets 00h–2Bh of the HBA's window (ABAR).
//!
//! Beside [`port`](crate::port), whose blocks follow at [`port_base`].
//!
//! **Spec:** AHCI 1.3.1 section 3.1 "Generic Host Control".

use bitflags::bitflags;

/// Ports an HBA can have at most.
pub const MAX_PORTS: u32 = 32;
/// Command slots a port can have at most.
pub const MAX_SLOTS: u32 = 32;
/// Offset of port 0's register block.
pub const PORT0_BASE: u64 = 0x100;
/// Length of one port's register block in bytes.
pub const PORT_BYTES: u64 = 0x80;
/// VS of an HBA made after AHCI 1.3.1.
pub const VERSION_1_3_1: u32 = 0x0001_0301;

/// Offset of the register block of port `port`.
#[must_use]
pub const fn port_base(port: u32) -> u64 {
    PORT0_BASE + PORT_BYTES * port as u64
}

/// The global registers by name; the value is the offset in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum HbaReg {
    /// 00h, RO: HBA capabilities, a [`Cap`].
    Cap = 0x00,
    /// 04h: global HBA control, a [`Ghc`].
    Ghc = 0x04,
    /// 08h, RW1C: interrupt status, one bit per port.
    Is = 0x08,
    /// 0Ch, RO: ports implemented, one bit per port.
    Pi = 0x0c,
    /// 10h, RO: AHCI version.
    Vs = 0x10,
    /// 14h: command completion coalescing control.
    CccCtl = 0x14,
    /// 18h: command completion coalescing ports.
    CccPorts = 0x18,
    /// 1Ch, RO: enclosure management location.
    EmLoc = 0x1c,
    /// 20h: enclosure management control.
    EmCtl = 0x20,
    /// 24h, RO: HBA capabilities extended, a [`Cap2`].
    Cap2 = 0x24,
    /// 28h: BIOS/OS handoff control and status, a [`Bohc`].
    Bohc = 0x28,
}

impl HbaReg {
    /// The register at byte `offset` of the window, or `None` if there is none.
    #[must_use]
    pub const fn at(offset: u64) -> Option<Self> {
        Some(match offset {
            0x00 => Self::Cap,
            0x04 => Self::Ghc,
            0x08 => Self::Is,
            0x0c => Self::Pi,
            0x10 => Self::Vs,
            0x14 => Self::CccCtl,
            0x18 => Self::CccPorts,
            0x1c => Self::EmLoc,
            0x20 => Self::EmCtl,
            0x24 => Self::Cap2,
            0x28 => Self::Bohc,
            _ => return None,
        })
    }

    /// Offset of the register in the window.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self as u64
    }
}

bitflags! {
    /// CAP, offset 00h — HBA Capabilities (section 3.1.1). NP, NCS and ISS are fields: see the methods.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cap: u32 {
        /// RO: supports external SATA.
        const SXS = 1 << 5;
        /// RO: enclosure management supported.
        const EMS = 1 << 6;
        /// RO: command completion coalescing supported.
        const CCCS = 1 << 7;
        /// RO: partial state capable.
        const PSC = 1 << 13;
        /// RO: slumber state capable.
        const SSC = 1 << 14;
        /// RO: multiple DRQ blocks per PIO command.
        const PMD = 1 << 15;
        /// RO: FIS-based switching supported.
        const FBSS = 1 << 16;
        /// RO: port multiplier supported.
        const SPM = 1 << 17;
        /// RO: the HBA has no legacy (IDE) interface; GHC.AE is read only and 1.
        const SAM = 1 << 18;
        /// RO: command list override (PxCMD.CLO) supported.
        const SCLO = 1 << 24;
        /// RO: activity LED supported.
        const SAL = 1 << 25;
        /// RO: aggressive link power management supported.
        const SALP = 1 << 26;
        /// RO: staggered spin-up supported.
        const SSS = 1 << 27;
        /// RO: mechanical presence switch supported.
        const SMPS = 1 << 28;
        /// RO: PxSNTF supported.
        const SSNTF = 1 << 29;
        /// RO: native command queuing supported.
        const SNCQ = 1 << 30;
        /// RO: 64-bit addressing: the upper halves of base addresses are RW.
        const S64A = 1 << 31;
        // NP, NCS and ISS, which are numbers and not flags.
        const _ = !0;
    }
}

impl Cap {
    /// Fields for `ports` ports (1..=32), `slots` command slots (1..=32) and interface speed `iss`.
    #[must_use]
    pub const fn fields(ports: u32, slots: u32, iss: u32) -> Self {
        Self::from_bits_retain(((ports - 1) & 0x1f) | ((slots - 1) & 0x1f) << 8 | (iss & 0xf) << 20)
    }

    /// NP, bits 4:0, RO: number of ports (decoded, 1..=32).
    #[must_use]
    pub const fn ports(self) -> u32 {
        (self.bits() & 0x1f) + 1
    }

    /// NCS, bits 12:8, RO: number of command slots per port (decoded, 1..=32).
    #[must_use]
    pub const fn slots(self) -> u32 {
        (self.bits() >> 8 & 0x1f) + 1
    }

    /// ISS, bits 23:20, RO: greatest interface speed: 1, 2, 3 for 1.5, 3, 6 Gbit/s.
    #[must_use]
    pub const fn interface_speed(self) -> u32 {
        self.bits() >> 20 & 0xf
    }
}

bitflags! {
    /// GHC, offset 04h — Global HBA Control (section 3.1.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ghc: u32 {
        /// RW1S, cleared by the HBA when done: reset of the whole HBA.
        const HR = 1 << 0;
        /// RW: interrupts of the HBA are enabled.
        const IE = 1 << 1;
        /// RO: several MSI vectors were asked for and one was given.
        const MRSM = 1 << 2;
        /// RW (RO 1 if CAP.SAM): software talks AHCI to the HBA.
        const AE = 1 << 31;
    }
}

bitflags! {
    /// CAP2, offset 24h — HBA Capabilities Extended (section 3.1.10).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cap2: u32 {
        /// RO: BIOS/OS handoff (BOHC) supported.
        const BOH = 1 << 0;
        /// RO: NVMHCI present.
        const NVMP = 1 << 1;
        /// RO: automatic partial to slumber transitions.
        const APST = 1 << 2;
        /// RO: device sleep supported.
        const SDS = 1 << 3;
        /// RO: aggressive device sleep management supported.
        const SADM = 1 << 4;
        /// RO: device sleep only from slumber.
        const DESO = 1 << 5;
    }
}

bitflags! {
    /// BOHC, offset 28h — BIOS/OS Handoff Control and Status (section 3.1.11).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Bohc: u32 {
        /// RW: firmware owns the HBA.
        const BOS = 1 << 0;
        /// RW: the operating system owns the HBA.
        const OOS = 1 << 1;
        /// RW: SMI on a change of ownership.
        const SOOE = 1 << 2;
        /// RW1C: the operating system asked for ownership.
        const OOC = 1 << 3;
        /// RW: firmware is busy cleaning up.
        const BB = 1 << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_names_the_register_that_has_it() {
        for offset in 0..PORT0_BASE {
            if let Some(reg) = HbaReg::at(offset) {
                assert_eq!(reg.offset(), offset);
            } else {
                assert!(offset > 0x28 || offset % 4 != 0, "{offset:#x}");
            }
        }
    }

    #[test]
    fn the_fields_of_cap_are_zero_based() {
        let cap = Cap::fields(6, 32, 3) | Cap::S64A;
        assert_eq!(cap.bits(), 0x8030_1f05);
        assert_eq!(
            (cap.ports(), cap.slots(), cap.interface_speed()),
            (6, 32, 3)
        );
    }
}
