//! A walk that leaves no trace: for debuggers, viewers and tests.
//!
//! Asks no TLB and no paging-structure cache, sets no A or D, checks no rights.
//!
//! Not modelled: a step for the PDPTE of PAE paging, which is in a register and not in a table.
//!
//! **Spec:** SDM 3A "32-Bit Paging", "PAE Paging", "4-Level Paging and 5-Level Paging".

use crate::regs::{PagingRegs, identity};
use crate::tlb::TlbEntry;
use crate::walk::Descent;
use memory::Ram;
use x86::control::{Cr0, Cr4, Efer};
use x86::paging::Format;
use x86::{Entry, Level, PhysAddr, VirtAddr};

/// One entry a walk would read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeekStep {
    /// The table it is in.
    pub level: Level,
    /// Where it lies.
    pub at: PhysAddr,
    /// Its value, 4 bytes in 32-bit paging and else 8; all ones if there is no RAM.
    pub raw: u64,
    /// What the value means there.
    pub entry: Entry,
}

/// What a walk would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekResult {
    /// Entries read, top down; the last is the leaf, or what stopped the walk. None with paging off.
    pub steps: Vec<PeekStep>,
    /// The page, if the walk reached one.
    pub leaf: Option<TlbEntry>,
    /// The physical address, if there is one; with paging off the linear address.
    pub pa: Option<PhysAddr>,
}

/// Walks for `va` under `regs`.
pub(crate) fn peek(ram: &Ram, regs: &PagingRegs, va: VirtAddr) -> PeekResult {
    match regs.format() {
        None => PeekResult {
            steps: Vec::new(),
            leaf: None,
            pa: Some(identity(va)),
        },
        Some(format) => peek_tables(ram, regs, format, va),
    }
}

/// Walks for `va` from the table `cr3` points at, as a processor would that has NXE on and 52-bit addresses.
#[must_use]
pub fn peek_cr3(ram: &Ram, cr3: u64, va: VirtAddr) -> PeekResult {
    let regs = PagingRegs {
        cr0: Cr0::PE | Cr0::PG | Cr0::WP,
        cr3,
        cr4: Cr4::PAE | Cr4::PGE,
        efer: Efer::LME | Efer::LMA | Efer::NXE,
        ..PagingRegs::after_reset(x86::addr::PHYS_BITS)
    };
    peek_tables(ram, &regs, Format::FourLevel, va)
}

fn peek_tables(ram: &Ram, regs: &PagingRegs, format: Format, va: VirtAddr) -> PeekResult {
    let descent = Descent::new(ram, regs, format, regs.root(format, va), va);
    let leaf = descent.leaf(regs);
    let steps = descent.steps().iter().map(|step| PeekStep {
        level: step.from.level,
        at: step.at,
        raw: step.raw,
        entry: format.decode(step.raw, step.from.level, regs.reserved_bits()),
    });
    PeekResult {
        steps: steps.collect(),
        leaf,
        pa: leaf.map(|page| page.translate(va)),
    }
}
