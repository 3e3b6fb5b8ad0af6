//! Which accesses a translation allows: the one table of rights.
//!
//! [`allowed`] states the rules for one access. [`AccessMatrix`] is the same rules tabulated
//! for the registers as they stand, so that a TLB hit is decided by one shift and mask;
//! the front door rebuilds it when a register changes. TLB entries keep R/W, U/S, XD and D
//! apart and are judged by the registers of *now*: WP, SMEP, SMAP and NXE act on
//! cached translations at once.
//!
//! Not modelled: protection keys, shadow stacks.
//!
//! **Spec:** SDM 3A "Determination of Access Rights".

use crate::regs::{Accessor, AlignmentCheck, PagingRegs};
use bitflags::bitflags;
use x86::control::{Cr0, Cr4, Efer};
use x86::fault::{Access, Privilege};
use x86::paging::Bits;

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

/// Whether `rights` let `who` make `access` under `regs`. D plays no part.
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

/// Accesses (3) times privileges (2) times AC (2).
const KINDS: usize = 12;

/// [`allowed`] for every access, accessor and set of rights, under one set of registers.
///
/// `bits[kind]` has a bit for each of the 16 values of [`Rights`], set where an access
/// of that kind needs nothing more: it is allowed and, if a write, D is set.
#[derive(Clone, Copy, Debug)]
pub struct AccessMatrix {
    bits: [u16; KINDS],
}

impl AccessMatrix {
    /// Tabulates the rules for `regs`.
    #[must_use]
    pub fn new(regs: &PagingRegs) -> Self {
        let mut bits = [0; KINDS];
        for access in [Access::Read, Access::Write, Access::Fetch] {
            for privilege in [Privilege::Supervisor, Privilege::User] {
                for ac in [AlignmentCheck::Clear, AlignmentCheck::Set] {
                    let who = Accessor { privilege, ac };
                    bits[kind(access, who)] = column(regs, access, who);
                }
            }
        }
        Self { bits }
    }

    /// Whether a cached translation with `rights` can serve the access without a walk.
    #[inline]
    #[must_use]
    pub const fn serves(&self, rights: Rights, access: Access, who: Accessor) -> bool {
        self.bits[kind(access, who)] >> rights.bits() & 1 != 0
    }
}

/// Number of a combination of access and accessor, below [`KINDS`].
#[inline]
const fn kind(access: Access, who: Accessor) -> usize {
    access as usize * 4 + who.privilege as usize * 2 + who.ac as usize
}

/// One column of the matrix: the sets of rights that serve this kind of access.
fn column(regs: &PagingRegs, access: Access, who: Accessor) -> u16 {
    (0..16_u8)
        .map(Rights::from_bits_retain)
        .filter(|&r| allowed(r, regs, access, who))
        .filter(|r| access != Access::Write || r.contains(Rights::D))
        .fold(0, |bits, r| bits | 1 << r.bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{all_regs, kinds};

    #[test]
    fn the_matrix_says_what_the_rules_say_and_wants_d_for_writes() {
        for regs in all_regs() {
            let matrix = AccessMatrix::new(&regs);
            for ((access, who), bits) in kinds().flat_map(|kind| (0..16).map(move |b| (kind, b))) {
                let rights = Rights::from_bits_truncate(bits);
                let dirty_enough = access != Access::Write || rights.contains(Rights::D);
                let want = dirty_enough && allowed(rights, &regs, access, who);
                assert_eq!(
                    matrix.serves(rights, access, who),
                    want,
                    "{rights:?} {access:?} {who:?}"
                );
            }
        }
    }
}
