//! The registers of one port: offsets inside its 80h-byte block, and their bits.
//!
//! Beside [`hba`](crate::hba), which says where the block lies.
//!
//! **Spec:** AHCI 1.3.1 section 3.3 "Port Registers".

use bitflags::bitflags;

/// The registers of a port by name; the value is the offset in the port's block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum PortReg {
    /// 00h, RW: command list base address, 1 KiB aligned: bits 9:0 are RO 0.
    Clb = 0x00,
    /// 04h, RW: command list base address, bits 63:32.
    Clbu = 0x04,
    /// 08h, RW: FIS base address, 256-byte aligned: bits 7:0 are RO 0.
    Fb = 0x08,
    /// 0Ch, RW: FIS base address, bits 63:32.
    Fbu = 0x0c,
    /// 10h, RW1C or RO by bit: interrupt status, a [`PxIs`].
    Is = 0x10,
    /// 14h, RW: interrupt enable, a [`PxIs`].
    Ie = 0x14,
    /// 18h: command and status, a [`PxCmd`].
    Cmd = 0x18,
    /// 20h, RO: task file data: status in bits 7:0, error in bits 15:8.
    Tfd = 0x20,
    /// 24h, RO: signature of the device.
    Sig = 0x24,
    /// 28h, RO: Serial ATA status (SCR0).
    Ssts = 0x28,
    /// 2Ch, RW: Serial ATA control (SCR2).
    Sctl = 0x2c,
    /// 30h, RW1C: Serial ATA error (SCR1), a [`PxSerr`].
    Serr = 0x30,
    /// 34h, RW1S: Serial ATA active (SCR3), one bit per queued command.
    Sact = 0x34,
    /// 38h, RW1S: command issue, one bit per slot; the HBA clears a bit when its command is done.
    Ci = 0x38,
    /// 3Ch, RW1C: Serial ATA notification (SCR4).
    Sntf = 0x3c,
    /// 40h: FIS-based switching control.
    Fbs = 0x40,
    /// 44h: device sleep.
    Devslp = 0x44,
}

impl PortReg {
    /// The register at byte `offset` of the block, or `None` if it is reserved or vendor specific.
    #[must_use]
    pub const fn at(offset: u64) -> Option<Self> {
        Some(match offset {
            0x00 => Self::Clb,
            0x04 => Self::Clbu,
            0x08 => Self::Fb,
            0x0c => Self::Fbu,
            0x10 => Self::Is,
            0x14 => Self::Ie,
            0x18 => Self::Cmd,
            0x20 => Self::Tfd,
            0x24 => Self::Sig,
            0x28 => Self::Ssts,
            0x2c => Self::Sctl,
            0x30 => Self::Serr,
            0x34 => Self::Sact,
            0x38 => Self::Ci,
            0x3c => Self::Sntf,
            0x40 => Self::Fbs,
            0x44 => Self::Devslp,
            _ => return None,
        })
    }

    /// Offset of the register in the port's block.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self as u64
    }
}

bitflags! {
    /// PxIS, offset 10h — Port x Interrupt Status (section 3.3.5), and PxIE (3.3.6), where all bits are RW.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PxIs: u32 {
        /// RW1C: a D2H Register FIS with its I bit set was received.
        const DHRS = 1 << 0;
        /// RW1C: a PIO Setup FIS with its I bit set was received and its data transferred.
        const PSS = 1 << 1;
        /// RW1C: a DMA Setup FIS with its I bit set was received.
        const DSS = 1 << 2;
        /// RW1C: a Set Device Bits FIS with its I bit set was received.
        const SDBS = 1 << 3;
        /// RO: an unknown FIS was received; cleared through PxSERR.DIAG.F.
        const UFS = 1 << 4;
        /// RW1C: a PRDT entry with its I bit set was transferred.
        const DPS = 1 << 5;
        /// RO: the port's connection changed; cleared through PxSERR.DIAG.X.
        const PCS = 1 << 6;
        /// RW1C: mechanical presence switch changed.
        const DMPS = 1 << 7;
        /// RO: PhyRdy changed; cleared through PxSERR.DIAG.N.
        const PRCS = 1 << 22;
        /// RW1C: incorrect port multiplier.
        const IPMS = 1 << 23;
        /// RW1C: the device sent more data than the PRDT has room for.
        const OFS = 1 << 24;
        /// RW1C: interface error, not fatal.
        const INFS = 1 << 26;
        /// RW1C: interface error, fatal: the command list stops.
        const IFS = 1 << 27;
        /// RW1C: host bus data error (parity).
        const HBDS = 1 << 28;
        /// RW1C: host bus fatal error: the HBA could not reach memory.
        const HBFS = 1 << 29;
        /// RW1C: the device's status register was updated with ERR set.
        const TFES = 1 << 30;
        /// RW1C: cold presence changed.
        const CPDS = 1 << 31;
    }
}

impl PxIs {
    /// Causes that stop the command list until software restarts it (section 6.2.2).
    pub const FATAL: Self = Self::IFS
        .union(Self::HBDS)
        .union(Self::HBFS)
        .union(Self::TFES);
}

bitflags! {
    /// PxCMD, offset 18h — Port x Command and Status (section 3.3.7). CCS and ICC are fields: see the methods.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PxCmd: u32 {
        /// RW: process the command list.
        const ST = 1 << 0;
        /// RW (RO 1 without staggered spin-up): spin up the device.
        const SUD = 1 << 1;
        /// RW (RO 1 without cold presence detection): power on the device.
        const POD = 1 << 2;
        /// RW1S, cleared by the HBA: clear BSY and DRQ in PxTFD.
        const CLO = 1 << 3;
        /// RW: post received FISes to PxFB.
        const FRE = 1 << 4;
        /// RO: state of the mechanical presence switch.
        const MPSS = 1 << 13;
        /// RO: the FIS receive engine runs.
        const FR = 1 << 14;
        /// RO: the command list engine runs.
        const CR = 1 << 15;
        /// RO: cold presence state.
        const CPS = 1 << 16;
        /// RW: a port multiplier is attached.
        const PMA = 1 << 17;
        /// RO: hot plug capable port.
        const HPCP = 1 << 18;
        /// RO: mechanical presence switch attached.
        const MPSP = 1 << 19;
        /// RO: cold presence detection.
        const CPD = 1 << 20;
        /// RO: external SATA port.
        const ESP = 1 << 21;
        /// RO: FIS-based switching capable.
        const FBSCP = 1 << 22;
        /// RW: automatic partial to slumber transitions enabled.
        const APSTE = 1 << 23;
        /// RW: the device is ATAPI (for the activity LED).
        const ATAPI = 1 << 24;
        /// RW: drive the activity LED for ATAPI too.
        const DLAE = 1 << 25;
        /// RW: aggressive link power management enabled.
        const ALPE = 1 << 26;
        /// RW: aggressive transitions go to slumber, not partial.
        const ASP = 1 << 27;
        // CCS (12:8) and ICC (31:28), which are numbers and not flags.
        const _ = !0;
    }
}

impl PxCmd {
    /// CCS, bits 12:8, RO: the slot whose command is being issued.
    #[must_use]
    pub const fn current_slot(self) -> u32 {
        self.bits() >> 8 & 0x1f
    }

    /// ICC, bits 31:28, RW, reads 0 once taken: requested interface power state.
    #[must_use]
    pub const fn icc(self) -> u32 {
        self.bits() >> 28
    }
}

/// PxTFD, offset 20h, RO — Port x Task File Data (section 3.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PxTfd(pub u32);

impl PxTfd {
    /// STS, bits 7:0: a copy of the device's status register, an [`AtaStatus`](crate::ata::AtaStatus).
    #[must_use]
    pub const fn status(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// ERR, bits 15:8: a copy of the device's error register, an [`AtaError`](crate::ata::AtaError).
    #[must_use]
    pub const fn error(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// The register with this status and error.
    #[must_use]
    pub const fn new(status: u8, error: u8) -> Self {
        Self(u32::from_le_bytes([status, error, 0, 0]))
    }
}

/// Values of PxSIG, offset 24h, RO — Port x Signature (section 3.3.9).
pub mod sig {
    /// An ATA disk.
    pub const ATA: u32 = 0x0000_0101;
    /// An ATAPI device.
    pub const ATAPI: u32 = 0xeb14_0101;
    /// A port multiplier.
    pub const PORT_MULTIPLIER: u32 = 0x9669_0101;
    /// No signature received yet.
    pub const NONE: u32 = 0xffff_ffff;
}

/// Fields of PxSSTS, offset 28h, RO — Port x Serial ATA Status (section 3.3.10).
pub mod ssts {
    /// DET, bits 3:0.
    pub const DET_MASK: u32 = 0xf;
    /// DET: no device, no communication.
    pub const DET_NONE: u32 = 0;
    /// DET: device present, communication not established.
    pub const DET_PRESENT: u32 = 1;
    /// DET: device present, communication established.
    pub const DET_ESTABLISHED: u32 = 3;
    /// DET: the Phy is offline (PxSCTL.DET = 4).
    pub const DET_OFFLINE: u32 = 4;
    /// SPD, bits 7:4: 3 is 6 Gbit/s.
    pub const SPD_GEN3: u32 = 3 << 4;
    /// IPM, bits 11:8.
    pub const IPM_MASK: u32 = 0xf << 8;
    /// IPM: the interface is active.
    pub const IPM_ACTIVE: u32 = 1 << 8;
}

/// Fields of PxSCTL, offset 2Ch, RW — Port x Serial ATA Control (section 3.3.11).
pub mod sctl {
    /// DET, bits 3:0.
    pub const DET_MASK: u32 = 0xf;
    /// DET: no action; the end of a COMRESET.
    pub const DET_NONE: u32 = 0;
    /// DET: perform COMRESET for as long as it stands.
    pub const DET_COMRESET: u32 = 1;
    /// DET: disable the interface, Phy offline.
    pub const DET_DISABLE: u32 = 4;
    /// DET, SPD and IPM, bits 11:0: the fields software may write.
    pub const WRITABLE: u32 = 0xfff;
}

bitflags! {
    /// PxSERR, offset 30h — Port x Serial ATA Error (section 3.3.12): ERR in bits 15:0, DIAG in bits 31:16.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PxSerr: u32 {
        /// RW1C, ERR.I: recovered data integrity error.
        const ERR_I = 1 << 0;
        /// RW1C, ERR.M: recovered communications error.
        const ERR_M = 1 << 1;
        /// RW1C, ERR.T: transient data integrity error.
        const ERR_T = 1 << 8;
        /// RW1C, ERR.C: persistent communication or data integrity error.
        const ERR_C = 1 << 9;
        /// RW1C, ERR.P: protocol error.
        const ERR_P = 1 << 10;
        /// RW1C, ERR.E: internal error of the host bus adapter.
        const ERR_E = 1 << 11;
        /// RW1C, DIAG.N: PhyRdy changed.
        const DIAG_N = 1 << 16;
        /// RW1C, DIAG.I: Phy internal error.
        const DIAG_I = 1 << 17;
        /// RW1C, DIAG.W: comm wake seen.
        const DIAG_W = 1 << 18;
        /// RW1C, DIAG.B: 10b to 8b decode error.
        const DIAG_B = 1 << 19;
        /// RW1C, DIAG.D: disparity error (not used by AHCI).
        const DIAG_D = 1 << 20;
        /// RW1C, DIAG.C: CRC error.
        const DIAG_C = 1 << 21;
        /// RW1C, DIAG.H: handshake error: the device refused a frame (R_ERR).
        const DIAG_H = 1 << 22;
        /// RW1C, DIAG.S: link sequence error.
        const DIAG_S = 1 << 23;
        /// RW1C, DIAG.T: transport state transition error.
        const DIAG_T = 1 << 24;
        /// RW1C, DIAG.F: unknown FIS type.
        const DIAG_F = 1 << 25;
        /// RW1C, DIAG.X: COMINIT received: the connection changed.
        const DIAG_X = 1 << 26;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_names_the_register_that_has_it() {
        for offset in 0..crate::hba::PORT_BYTES {
            let listed = offset % 4 == 0 && offset <= 0x44 && offset != 0x1c;
            assert_eq!(
                PortReg::at(offset).map(PortReg::offset),
                listed.then_some(offset)
            );
        }
    }

    #[test]
    fn status_and_error_share_the_task_file_register() {
        let tfd = PxTfd::new(0x51, 0x04);
        assert_eq!((tfd.0, tfd.status(), tfd.error()), (0x0451, 0x51, 0x04));
    }
}
