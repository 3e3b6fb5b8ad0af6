//! Looking at a stopped machine: memory through any page tables, disk, clocks, ledgers.
//!
//! Nothing here changes what the guest sees: no A bit, no TLB entry, no cycle.

use crate::board::MissingInstruction;
use crate::build::Machine;
use cost::{Ledger, Ticks};
use cpu::Cpu;
use devices::ahci::{DiskImage, Transfer};
use memory::Ram;
use mmu::{PeekResult, peek_cr3};
use x86::VirtAddr;
use x86::addr::{PAGE_BYTES, PAGE_LEN};

/// Memory that a set of page tables does not map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("linear address {at:#x} is not mapped by the page tables at {cr3:#x}")]
pub struct GuestMemoryError {
    /// CR3 of the tables.
    pub cr3: u64,
    /// First address that has no translation.
    pub at: u64,
}

impl Machine {
    /// RAM.
    #[must_use]
    pub const fn ram(&self) -> &Ram {
        &self.ram
    }

    /// The processors.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// The disk on port 0.
    #[must_use]
    pub fn disk(&self) -> Option<&dyn DiskImage> {
        self.board.hba.disk(0)
    }

    /// Disk transfers whose addresses are fixed and that are not done.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        self.board.hba.in_flight()
    }

    /// The walk for `va` in the tables at `cr3`, entry by entry.
    #[must_use]
    pub fn peek(&self, cr3: u64, va: VirtAddr) -> PeekResult {
        peek_cr3(&self.ram, cr3, va)
    }

    /// Reads memory as the tables at `cr3` map it.
    ///
    /// # Errors
    ///
    /// [`GuestMemoryError`] with the first address that is not mapped to RAM.
    pub fn read_guest(
        &self,
        cr3: u64,
        va: VirtAddr,
        out: &mut [u8],
    ) -> Result<(), GuestMemoryError> {
        let mut done = 0;
        while done < out.len() {
            let at = va.get().wrapping_add(done as u64);
            let unmapped = GuestMemoryError { cr3, at };
            let here = VirtAddr::new(at).map_err(|_| unmapped)?;
            let room = PAGE_LEN - usize::from(in_page(here));
            let n = room.min(out.len() - done);
            let pa = self.peek(cr3, here).pa.ok_or(unmapped)?;
            if !self.ram.read_bytes(pa, &mut out[done..done + n]) {
                return Err(unmapped);
            }
            done += n;
        }
        Ok(())
    }

    /// The machine's time: how far the processor that is furthest ahead has come.
    #[must_use]
    pub fn now(&self) -> Ticks {
        self.cpus
            .iter()
            .map(|c| c.ledger.now())
            .max()
            .unwrap_or_default()
    }

    /// Ledgers of all processors.
    #[must_use]
    pub fn ledgers(&self) -> Vec<&Ledger> {
        self.cpus.iter().map(|c| &c.ledger).collect()
    }

    /// Instructions completed, over all processors.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.cpus.iter().map(Cpu::retired).sum()
    }

    /// Instructions the guest executed and this machine does not have (the first few).
    #[must_use]
    pub fn missing_instructions(&self) -> &[MissingInstruction] {
        &self.board.missing
    }

    /// What the guest has sent to the serial port since the last call.
    pub fn take_console_output(&mut self) -> Vec<u8> {
        self.board.chipset.take_output()
    }

    /// Types on the serial console.
    pub fn push_console_input(&mut self, bytes: &[u8]) {
        self.board.chipset.uart.push_input(bytes);
    }
}

/// Offset in its 4 KiB page.
fn in_page(va: VirtAddr) -> u16 {
    u16::try_from(va.offset_in(PAGE_BYTES)).expect("below 4096")
}
