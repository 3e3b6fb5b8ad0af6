//! Which accesses a translation allows: the one table of rights.
//!
//! [`allowed`] and [`key_forbids`] state the rules for one access. [`AccessMatrix`] is the same
//! rules tabulated for the registers as they stand: it says of a page which [`Kinds`] of access
//! it serves, so that a TLB hit is decided by one shift and mask. The front door rebuilds it when
//! a register changes. TLB entries keep R/W, U/S, XD, D and the key apart and are judged by the
//! registers of *now*: WP, SMEP, SMAP, NXE and PKRU act on cached translations at once.
//!
//! Not modelled: keys of supervisor pages, shadow stacks.
//!
//! **Spec:** SDM 3A "Determination of Access Rights", "Protection Keys".

use crate::regs::{Accessor, AlignmentCheck, PagingRegs};
use crate::tlb::TlbEntry;
use bitflags::bitflags;
use x86::control::{Cr0, Cr4, Efer};
use x86::fault::{Access, Privilege};
use x86::paging::{Bits, ProtectionKey};

bitflags! {
    /// What all entries of a walk together say of a page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// R/W is set at every level.
        const RW = 1 << 0;
        /// U/S is set at every level: a user-mode address.
        const US = 1 << 1;
        /// XD is set at some level.
        const XD = 1 << 2;
        /// D is set in the leaf. No right, but a write needs it as it needs one: without D it must walk.
        const D = 1 << 3;
    }
}

impl Rights {
    /// What no entry has narrowed yet.
    pub const WIDEST: Self = Self::RW.union(Self::US);

    /// What remains after the entry `raw` of one more level.
    #[must_use]
    pub const fn narrowed_by(self, raw: u64) -> Self {
        let mut rights = self;
        if raw & Bits::RW.bits() == 0 {
            rights = rights.difference(Self::RW);
        }
        if raw & Bits::US.bits() == 0 {
            rights = rights.difference(Self::US);
        }
        if raw & Bits::XD.bits() != 0 {
            rights = rights.union(Self::XD);
        }
        rights
    }
}

/// Whether `rights` let `who` make `access` under `regs`. D and the key play no part.
#[must_use]
pub const fn allowed(rights: Rights, regs: &PagingRegs, access: Access, who: Accessor) -> bool {
    let executable = !(rights.contains(Rights::XD) && regs.efer.contains(Efer::NXE));
    match who.privilege {
        Privilege::User => {
            let right = match access {
                Access::Read => true,
                Access::Write => rights.contains(Rights::RW),
                Access::Fetch => executable,
            };
            rights.contains(Rights::US) && right
        }
        Privilege::Supervisor => match access {
            Access::Read => smap_allows(rights, regs, who),
            Access::Write => {
                let writable = rights.contains(Rights::RW) || !regs.cr0.contains(Cr0::WP);
                writable && smap_allows(rights, regs, who)
            }
            Access::Fetch => {
                let smep_forbids = rights.contains(Rights::US) && regs.cr4.contains(Cr4::SMEP);
                executable && !smep_forbids
            }
        },
    }
}

/// Whether a supervisor may touch the data of the page: SMAP guards user pages unless AC lifts it.
const fn smap_allows(rights: Rights, regs: &PagingRegs, who: Accessor) -> bool {
    !rights.contains(Rights::US)
        || !regs.cr4.contains(Cr4::SMAP)
        || matches!(who.ac, AlignmentCheck::Set)
}

/// Whether the key of a page with `rights` forbids `who` the `access`: never a fetch, never on a supervisor page.
#[must_use]
pub const fn key_forbids(
    key: ProtectionKey,
    rights: Rights,
    regs: &PagingRegs,
    access: Access,
    who: Accessor,
) -> bool {
    let in_use = regs.efer.contains(Efer::LMA) && regs.cr4.contains(Cr4::PKE);
    if !in_use || !rights.contains(Rights::US) {
        return false;
    }
    let writes_honoured = matches!(who.privilege, Privilege::User) || regs.cr0.contains(Cr0::WP);
    match access {
        Access::Fetch => false,
        Access::Read => regs.pkru.disables_access(key),
        Access::Write => {
            regs.pkru.disables_access(key) || regs.pkru.disables_writes(key) && writes_honoured
        }
    }
}

/// A set of kinds of access: access (3) times privilege (2) times AC (2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// None of the twelve.
    pub const NONE: Self = Self(0);

    /// Whether this kind is one of them.
    #[inline]
    #[must_use]
    pub const fn contains(self, access: Access, who: Accessor) -> bool {
        self.0 >> kind(access, who) & 1 != 0
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The kinds of which `holds`.
    fn of(holds: impl Fn(Access, Accessor) -> bool) -> Self {
        let mut kinds = 0;
        for access in [Access::Read, Access::Write, Access::Fetch] {
            for privilege in [Privilege::Supervisor, Privilege::User] {
                for ac in [AlignmentCheck::Clear, AlignmentCheck::Set] {
                    let who = Accessor { privilege, ac };
                    kinds |= u16::from(holds(access, who)) << kind(access, who);
                }
            }
        }
        Self(kinds)
    }
}

/// Number of a kind of access, below 12.
#[inline]
const fn kind(access: Access, who: Accessor) -> u32 {
    access as u32 * 4 + who.privilege as u32 * 2 + who.ac as u32
}

/// [`allowed`] and [`key_forbids`] for every access, accessor, key and set of rights, under one set of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessMatrix {
    /// By [`Rights`]: what is allowed, the key aside, and does not want for D.
    by_rights: [Kinds; 16],
    /// By key: what it forbids on a user page.
    forbidden: [Kinds; ProtectionKey::COUNT as usize],
}

impl AccessMatrix {
    /// Tabulates the rules for `regs`.
    #[must_use]
    pub fn new(regs: &PagingRegs) -> Self {
        let mut by_rights = [Kinds::NONE; 16];
        for (rights, kinds) in (0..).map(Rights::from_bits_retain).zip(&mut by_rights) {
            *kinds = Kinds::of(|access, who| {
                let dirty_enough = access != Access::Write || rights.contains(Rights::D);
                dirty_enough && allowed(rights, regs, access, who)
            });
        }
        Self {
            by_rights,
            forbidden: forbidden(regs),
        }
    }

    /// Tabulates anew what PKRU decides.
    pub fn update_pkru(&mut self, regs: &PagingRegs) {
        self.forbidden = forbidden(regs);
    }

    /// The kinds of access the cached translation `page` can serve without a walk.
    #[must_use]
    pub const fn kinds(&self, page: &TlbEntry) -> Kinds {
        let kinds = self.by_rights[page.rights.bits() as usize];
        if page.rights.contains(Rights::US) {
            kinds.without(self.forbidden[page.key.get() as usize])
        } else {
            kinds
        }
    }
}

fn forbidden(regs: &PagingRegs) -> [Kinds; ProtectionKey::COUNT as usize] {
    let mut forbidden = [Kinds::NONE; ProtectionKey::COUNT as usize];
    for (key, kinds) in (0..ProtectionKey::COUNT)
        .map(ProtectionKey::new)
        .zip(&mut forbidden)
    {
        *kinds = Kinds::of(|access, who| key_forbids(key, Rights::US, regs, access, who));
    }
    forbidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{all_regs, kinds};
    use x86::paging::{PageSize, PatIndex};
    use x86::{PhysAddr, Pkru};

    #[test]
    fn the_matrix_says_what_the_rules_say_and_wants_d_for_writes() {
        for (mut regs, pkru) in all_regs().flat_map(|regs| [(regs, 0), (regs, 0xe4e4_1b1b)]) {
            regs.cr4.insert(Cr4::PKE);
            let mut matrix = AccessMatrix::new(&regs);
            regs.pkru = Pkru(pkru);
            matrix.update_pkru(&regs);
            assert_eq!(matrix, AccessMatrix::new(&regs));
            for (bits, key) in (0..16).flat_map(|b| (0..16).map(move |key| (b, key))) {
                let (rights, key) = (Rights::from_bits_retain(bits), ProtectionKey::new(key));
                let page = TlbEntry {
                    base: PhysAddr::new(0),
                    size: PageSize::Size4K,
                    rights,
                    global: false,
                    key,
                    pat: PatIndex::ZERO,
                };
                for (access, who) in kinds() {
                    let dirty_enough = access != Access::Write || rights.contains(Rights::D);
                    let want = dirty_enough
                        && allowed(rights, &regs, access, who)
                        && !key_forbids(key, rights, &regs, access, who);
                    let got = matrix.kinds(&page).contains(access, who);
                    assert_eq!(got, want, "{page:?} {access:?} {who:?}");
                }
            }
        }
    }
}
