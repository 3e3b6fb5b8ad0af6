//! The page walk: linear address in, translation or #PF out.
//!
//! Three steps, in this order: descend through the tables without changing them
//! ([`Descent::new`]), judge the access by the rights of all levels, set A and D.
//! Where to begin is [`Start`]: the root, or what a paging-structure cache kept. TLB and caches
//! are neither asked nor filled here; that is [`translate`](crate::translate)'s.
//!
//! Modelled: 32-bit, PAE and 4-level tables, reserved bits, A and D as locked updates made only
//! where they change something, entries outside RAM (they read as all ones, and updates to them are lost).
//!
//! Not modelled: tables in a device's window (as outside RAM), walks ahead of need.
//!
//! **Spec:** SDM 3A "32-Bit Paging", "PAE Paging", "4-Level Paging and 5-Level Paging",
//! "Page-Fault Exceptions", "Accessed and Dirty Flags".

use crate::regs::{Accessor, PagingRegs};
use crate::rights::{self, Rights};
use crate::tlb::TlbEntry;
use memory::Ram;
use x86::control::{Cr4, Efer};
use x86::fault::{Access, Privilege};
use x86::paging::{Format, PatIndex, ProtectionKey};
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
    /// Entries read from memory: 0 on a hit. A walk reads 1 to 4, fewer if a paging-structure
    /// cache shortens it; one that so comes to a #PF is made again in full, and both count.
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

    /// The same with what an attempt before it read.
    #[must_use]
    pub(crate) const fn after(self, before: Self) -> Self {
        Self {
            steps: self.steps + before.steps,
            ..self
        }
    }
}

/// A #PF, and what was done before it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkFault {
    /// What the processor delivers.
    pub fault: PageFault,
    /// What the walk read; no entry has been changed.
    pub walk: Walked,
}

/// Where a walk begins or goes on: a table, and what the entries above it allow together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which table.
    pub level: Level,
    /// Its base.
    pub table: PhysAddr,
    /// What the entries that led there allow.
    pub rights: Rights,
}

/// One entry on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The table it was read from.
    pub from: Start,
    /// Where the entry lies.
    pub at: PhysAddr,
    /// Its value.
    pub raw: u64,
}

/// The way down through the tables: what was read, and where it ended. Changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    format: Format,
    steps: [Step; 4],
    depth: u8,
    /// What the entries read so far, and those before the start, allow together.
    pub rights: Rights,
    /// What the last entry read says; never [`Entry::Table`].
    pub end: Entry,
}

const NO_STEP: Step = Step {
    from: Start {
        level: Level::Pml4,
        table: PhysAddr::new(0),
        rights: Rights::empty(),
    },
    at: PhysAddr::new(0),
    raw: 0,
};

impl Descent {
    /// Reads entries for `va`, the first at `start`, until one maps a page or stops the walk.
    ///
    /// Without a start, as when a PDPTE register is not present, none is read.
    #[must_use]
    pub fn new(
        ram: &Ram,
        regs: &PagingRegs,
        format: Format,
        start: Option<Start>,
        va: VirtAddr,
    ) -> Self {
        let mut descent = Self {
            format,
            steps: [NO_STEP; 4],
            depth: 0,
            rights: start.map_or(Rights::WIDEST, |start| start.rights),
            end: Entry::NotPresent,
        };
        let mut next = start;
        while let Some(from) = next {
            next = descent.read(ram, regs, from, va);
        }
        descent
    }

    /// Reads the entry for `va` in the table `from`; returns the table it points at.
    fn read(&mut self, ram: &Ram, regs: &PagingRegs, from: Start, va: VirtAddr) -> Option<Start> {
        let at = self.format.entry_at(from.table, from.level, va);
        let raw = read_entry(ram, self.format, at);
        self.steps[usize::from(self.depth)] = Step { from, at, raw };
        self.depth += 1;
        self.rights = from.rights.narrowed_by(raw);
        self.end = self.format.decode(raw, from.level, regs.reserved_bits());
        match (self.end, from.level.next()) {
            (Entry::Table { next }, Some(level)) => Some(Start {
                level,
                table: next,
                rights: self.rights,
            }),
            _ => None,
        }
    }

    /// The entries read, top down.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps[..usize::from(self.depth)]
    }

    /// The page at the end, as the TLB would keep it.
    #[must_use]
    pub fn leaf(&self, regs: &PagingRegs) -> Option<TlbEntry> {
        let (Entry::Leaf { base, size }, Some(last)) = (self.end, self.steps().last()) else {
            return None;
        };
        let leaf = Bits::from_bits_truncate(last.raw);
        let mut rights = self.rights;
        rights.set(Rights::D, leaf.contains(Bits::D));
        Some(TlbEntry {
            base,
            size,
            rights,
            global: leaf.contains(Bits::G) && regs.cr4.contains(Cr4::PGE),
            key: ProtectionKey::of_entry(last.raw),
            pat: PatIndex::of_leaf(last.raw, size),
        })
    }

    /// Sets A in every entry used and, for a write, D in the leaf; returns how many entries that changed.
    fn set_accessed_dirty(&self, ram: &Ram, access: Access) -> u8 {
        let mut changed = 0;
        for (depth, step) in (1..).zip(self.steps()) {
            let wanted = match access {
                Access::Write if depth == self.depth => Bits::A | Bits::D,
                _ => Bits::A,
            };
            let lacks = step.raw & wanted.bits() != wanted.bits();
            changed += u8::from(lacks && set_bits(ram, self.format, step.at, wanted));
        }
        changed
    }
}

/// Reads the entry at `at`; where there is no RAM the bus gives all ones.
fn read_entry(ram: &Ram, format: Format, at: PhysAddr) -> u64 {
    if format.entry_bytes() == 4 {
        u64::from(ram.read(at).unwrap_or(u32::MAX))
    } else {
        ram.read(at).unwrap_or(u64::MAX)
    }
}

/// Sets `bits` in the entry at `at` as a locked read-modify-write; says whether that changed it.
///
/// The value is read again: a table that maps itself has one entry on the way down more than once.
fn set_bits(ram: &Ram, format: Format, at: PhysAddr, bits: Bits) -> bool {
    let raw = read_entry(ram, format, at);
    let new = raw | bits.bits();
    new != raw && write_entry(ram, format, at, new)
}

/// Writes the entry at `at`, of which `raw` has no more bits than it holds; says whether there is RAM.
fn write_entry(ram: &Ram, format: Format, at: PhysAddr, raw: u64) -> bool {
    match u32::try_from(raw) {
        Ok(raw) if format.entry_bytes() == 4 => ram.write(at, raw),
        _ => ram.write(at, raw),
    }
}

/// A walk that came to a page.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The page as the TLB may keep it.
    pub page: TlbEntry,
    /// The way there.
    pub descent: Descent,
    /// What the walk did.
    pub walk: Walked,
}

/// Translates `va` for one access from the tables alone, beginning at `start`.
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
    format: Format,
    start: Option<Start>,
    va: VirtAddr,
    access: Access,
    who: Accessor,
) -> Result<Found, WalkFault> {
    let descent = Descent::new(ram, regs, format, start, va);
    let mut walk = Walked {
        hit: TlbOutcome::Miss,
        steps: descent.depth,
        ad_updates: 0,
    };
    let judged = judge(&descent, regs, access, who).map_err(|cause| {
        let code = request_code(regs, access, who.privilege) | cause;
        WalkFault {
            fault: PageFault { linear: va, code },
            walk,
        }
    });
    let mut page = judged?;
    walk.ad_updates = descent.set_accessed_dirty(ram, access);
    if access == Access::Write {
        page.rights |= Rights::D;
    }
    Ok(Found {
        page,
        descent,
        walk,
    })
}

/// The page the descent came to, if it allows the access; else the cause, as the error code tells it.
fn judge(
    descent: &Descent,
    regs: &PagingRegs,
    access: Access,
    who: Accessor,
) -> Result<TlbEntry, PfErrorCode> {
    let Some(page) = descent.leaf(regs) else {
        return Err(match descent.end {
            Entry::Reserved => PfErrorCode::P | PfErrorCode::RSVD,
            _ => PfErrorCode::empty(),
        });
    };
    let mut cause = PfErrorCode::empty();
    if !rights::allowed(page.rights, regs, access, who) {
        cause |= PfErrorCode::P;
    }
    if rights::key_forbids(page.key, page.rights, regs, access, who) {
        cause |= PfErrorCode::P | PfErrorCode::PK;
    }
    if cause.is_empty() {
        Ok(page)
    } else {
        Err(cause)
    }
}

/// The bits of the error code that describe the request, whatever the cause.
pub(crate) fn request_code(regs: &PagingRegs, access: Access, privilege: Privilege) -> PfErrorCode {
    let execute_disable = regs.efer.contains(Efer::NXE) && regs.cr4.contains(Cr4::PAE);
    let reports_fetches = execute_disable || regs.cr4.contains(Cr4::SMEP);
    let mut code = PfErrorCode::empty();
    code.set(PfErrorCode::WR, access == Access::Write);
    code.set(PfErrorCode::US, privilege == Privilege::User);
    code.set(PfErrorCode::ID, access == Access::Fetch && reports_fetches);
    code
}

#[cfg(test)]
mod tests;
