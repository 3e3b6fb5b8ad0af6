//! The page walk: linear address in, translation or #PF out.
//!
//! Three steps, in this order: descend through the tables without changing them
//! ([`Descent::new`]), judge the access by the rights of all levels, set A and D.
//! The TLB is not asked and not filled here; that is [`translate`](crate::translate)'s.
//!
//! Modelled: reserved bits, A and D as locked updates made only where they change
//! something, entries outside RAM (they read as all ones, and updates to them are lost).
//!
//! Not modelled: tables in a device's window (as outside RAM), paging-structure caches,
//! walks ahead of need.
//!
//! **Spec:** SDM 3A "4-Level Paging and 5-Level Paging", "Page-Fault Exceptions",
//! "Accessed and Dirty Flags".

use crate::regs::{Accessor, PagingRegs};
use crate::rights::{self, Rights};
use crate::tlb::TlbEntry;
use memory::Ram;
use x86::control::{Cr4, Efer};
use x86::fault::{Access, Privilege};
use x86::paging::PageSize;
use x86::{Bits, Entry, Level, PageFault, PfErrorCode, PhysAddr, VirtAddr};

/// Whether the TLB served a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlbOutcome {
    /// No walk was needed: an entry served it, or paging is off.
    Hit,
    /// No entry would do, so the tables were walked: there was none, or it did not allow
    /// the access, or it had D clear and the access is a write.
    Miss,
}

/// What a translation did on its way: what the caller charges for and traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Walked {
    /// Whether the TLB served it.
    pub hit: TlbOutcome,
    /// Entries read from memory: 0 on a hit, else 1 to 4.
    pub steps: u8,
    /// Entries in which A or D was set; an entry that gets both counts once.
    pub ad_updates: u8,
}

impl Walked {
    /// Nothing was read and nothing written.
    pub const HIT: Self = Self {
        hit: TlbOutcome::Hit,
        steps: 0,
        ad_updates: 0,
    };
}

/// A #PF, and what was done before it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkFault {
    /// What the processor delivers.
    pub fault: PageFault,
    /// What the walk read; no entry has been changed.
    pub walk: Walked,
}

/// One entry on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the entry lies.
    pub at: PhysAddr,
    /// Its value.
    pub raw: u64,
}

/// The way down through the tables: what was read, and where it ended. Changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    steps: [Step; 4],
    depth: u8,
    /// What the entries read so far allow together.
    pub rights: Rights,
    /// What the last entry read says; never [`Entry::Table`].
    pub end: Entry,
}

impl Descent {
    /// Reads entries for `va` until one maps a page or stops the walk.
    #[must_use]
    pub fn new(ram: &Ram, regs: &PagingRegs, va: VirtAddr) -> Self {
        let mut descent = Self {
            steps: [Step {
                at: PhysAddr::new(0),
                raw: 0,
            }; 4],
            depth: 0,
            rights: Rights::WIDEST,
            end: Entry::Table { next: regs.pml4() },
        };
        for level in Level::TOP_DOWN {
            let Entry::Table { next } = descent.end else {
                break;
            };
            let step = Step::read(ram, next.add(8 * va.index(level)));
            descent.steps[usize::from(descent.depth)] = step;
            descent.depth += 1;
            descent.rights = descent.rights.narrowed_by(step.raw);
            descent.end = Entry::decode(step.raw, level, regs.reserved_bits());
        }
        descent
    }

    /// The entries read, top down.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps[..usize::from(self.depth)]
    }

    /// The last entry read.
    #[must_use]
    pub fn last(&self) -> Step {
        self.steps[usize::from(self.depth) - 1]
    }

    /// The page at the end, as the TLB would keep it.
    #[must_use]
    pub fn leaf(&self, regs: &PagingRegs) -> Option<TlbEntry> {
        let Entry::Leaf { base, size } = self.end else {
            return None;
        };
        Some(self.page(regs, base, size))
    }

    fn page(&self, regs: &PagingRegs, base: PhysAddr, size: PageSize) -> TlbEntry {
        let leaf = Bits::from_bits_truncate(self.last().raw);
        let mut rights = self.rights;
        rights.set(Rights::D, leaf.contains(Bits::D));
        let global = leaf.contains(Bits::G) && regs.cr4.contains(Cr4::PGE);
        TlbEntry {
            base,
            size,
            rights,
            global,
        }
    }

    /// Sets A in every entry used and, for a write, D in the leaf; returns how many entries that changed.
    fn set_accessed_dirty(&self, ram: &Ram, access: Access) -> u8 {
        let leaf = self.steps().len() - 1;
        let updates = self.steps().iter().enumerate().filter(|&(depth, step)| {
            let wanted = match access {
                Access::Write if depth == leaf => Bits::A | Bits::D,
                _ => Bits::A,
            };
            step.raw & wanted.bits() != wanted.bits() && set_bits(ram, step.at, wanted)
        });
        u8::try_from(updates.count()).expect("a walk has four entries at most")
    }
}

impl Step {
    /// Reads the entry at `at`; where there is no RAM the bus gives all ones.
    fn read(ram: &Ram, at: PhysAddr) -> Self {
        Self {
            at,
            raw: ram.read(at).unwrap_or(u64::MAX),
        }
    }
}

/// Sets `bits` in the entry at `at` as a locked read-modify-write; says whether that changed it.
///
/// The value is read again: a table that maps itself has one entry on the way down more than once.
fn set_bits(ram: &Ram, at: PhysAddr, bits: Bits) -> bool {
    let Some(raw) = ram.read::<u64>(at) else {
        return false;
    };
    raw & bits.bits() != bits.bits() && ram.write(at, raw | bits.bits())
}

/// Translates `va` for one access from the tables alone; returns the page as the TLB may keep it.
///
/// A and D are set only once the access is known to be allowed: the manual also lets a
/// processor set A in the entries it used before a fault, and set A or D ahead of an
/// access that is then not made; we use neither freedom.
///
/// # Errors
///
/// [`WalkFault`] with the code the processor pushes; no entry has been changed.
///
/// **Spec:** SDM 3A "Accessed and Dirty Flags".
pub fn walk(
    ram: &Ram,
    regs: &PagingRegs,
    va: VirtAddr,
    access: Access,
    who: Accessor,
) -> Result<(TlbEntry, Walked), WalkFault> {
    let descent = Descent::new(ram, regs, va);
    let mut walk = Walked {
        hit: TlbOutcome::Miss,
        steps: descent.depth,
        ad_updates: 0,
    };
    let fault = |cause| {
        let code = request_code(regs, access, who.privilege) | cause;
        WalkFault {
            fault: PageFault { linear: va, code },
            walk,
        }
    };
    match descent.end {
        Entry::NotPresent => Err(fault(PfErrorCode::empty())),
        Entry::Reserved => Err(fault(PfErrorCode::P | PfErrorCode::RSVD)),
        Entry::Leaf { base, size } => {
            let mut page = descent.page(regs, base, size);
            if !rights::allowed(page.rights, regs, access, who) {
                return Err(fault(PfErrorCode::P));
            }
            walk.ad_updates = descent.set_accessed_dirty(ram, access);
            if access == Access::Write {
                page.rights |= Rights::D;
            }
            Ok((page, walk))
        }
        Entry::Table { .. } => unreachable!("an entry of a page table never points at a table"),
    }
}

/// The bits of the error code that describe the request, whatever the cause.
pub(crate) fn request_code(regs: &PagingRegs, access: Access, privilege: Privilege) -> PfErrorCode {
    let reports_fetches = regs.efer.contains(Efer::NXE) || regs.cr4.contains(Cr4::SMEP);
    let mut code = PfErrorCode::empty();
    code.set(PfErrorCode::WR, access == Access::Write);
    code.set(PfErrorCode::US, privilege == Privilege::User);
    code.set(PfErrorCode::ID, access == Access::Fetch && reports_fetches);
    code
}

#[cfg(test)]
mod tests;
