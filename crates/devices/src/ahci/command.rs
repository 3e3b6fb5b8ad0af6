//! Fetching a command: its header from the command list, its FIS and scatter list from the command table.
//!
//! Beside [`ata`](super::ata), which says what the FIS asks for. After the fetch
//! the command's addresses are fixed: nothing of it is read from memory again.
//!
//! **Spec:** AHCI 1.3.1 sections 4.2.2 "Command List Structure", 4.2.3 "Command Table",
//! 5.3 "HBA Port State Machine" (P:FetchCmd).

use super::prdt::ScatterList;
use ahci_spec::command::{COMMAND_TABLE_ALIGN, PRDT_OFFSET};
use ahci_spec::{CommandHeader, FisType, RegH2d};
use memory::{Dma, DmaError};
use zerocopy::{FromZeros, IntoBytes};

/// Why there is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchError {
    /// Header or table lie where memory cannot be reached: PxIS.HBFS.
    Dma(DmaError),
    /// The device refused the frame: no H2D Register FIS, or one of an impossible length.
    Refused,
}

impl From<DmaError> for FetchError {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}

/// A command header, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetched {
    at: u64,
    header: CommandHeader,
    pub(super) fis: RegH2d,
}

impl Fetched {
    /// Fetches header and FIS of `slot` of the command list at `list`.
    pub(super) fn fetch(dma: &Dma<'_>, list: u64, slot: u32) -> Result<Self, FetchError> {
        let at = list.wrapping_add(CommandHeader::BYTES * u64::from(slot));
        let mut header = CommandHeader::new_zeroed();
        dma.read(at, header.as_mut_bytes())?;
        let mut fetched = Self {
            at,
            header,
            fis: RegH2d::new_zeroed(),
        };
        dma.read(fetched.table(), fetched.fis.as_mut_bytes())?;
        let len = u32::from(header.flags().fis_dwords());
        if !(RegH2d::DWORDS..=16).contains(&len) || fetched.fis.fis_type != FisType::RegH2d as u8 {
            return Err(FetchError::Refused);
        }
        Ok(fetched)
    }

    /// The command table. Bits 6:0 of CTBA are reserved and not decoded.
    const fn table(&self) -> u64 {
        self.header.ctba.get() & !(COMMAND_TABLE_ALIGN - 1)
    }

    /// Fetches as much of the scatter list as `bytes` bytes need.
    pub(super) fn scatter_list(&self, dma: &Dma<'_>, bytes: u64) -> Result<ScatterList, DmaError> {
        let prdt = self.table().wrapping_add(PRDT_OFFSET);
        ScatterList::fetch(dma, prdt, self.header.prdtl.get(), bytes)
    }

    /// Whether BSY is cleared as soon as the device took the FIS (C in the header).
    pub(super) const fn clears_busy(&self) -> bool {
        self.header.flags().contains(ahci_spec::CommandFlags::C)
    }

    /// Writes PRDBC: bytes moved so far.
    pub(super) fn store_count(&self, dma: &Dma<'_>, bytes: u32) -> Result<(), DmaError> {
        dma.write(
            self.at.wrapping_add(CommandHeader::PRDBC),
            &bytes.to_le_bytes(),
        )
    }
}
