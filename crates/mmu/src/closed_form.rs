//! What a walk must do, stated a second time and in another way, for the tests.
//!
//! Works on numbers and bit positions as the manual's tables print them, and uses none of this
//! crate's decisions: an agreement of the two is worth something only if they can disagree.
//!
//! **Spec:** SDM 3A tables "Format of a … Entry", "Determination of Access Rights",
//! "Page-Fault Exceptions", "Accessed and Dirty Flags", "Protection Keys".

use crate::{Accessor, AlignmentCheck, PagingRegs};
use x86::control::{Cr0, Cr4, Efer};
use x86::fault::{Access, Privilege};

/// What must come of an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The error code of the #PF, if there is one.
    pub(crate) fault: Option<u32>,
    /// How many entries are read.
    pub(crate) read: usize,
    /// The entries afterwards.
    pub(crate) entries: Vec<u64>,
}

/// Judges an access that uses `entries`, the topmost first, the last mapping the page.
pub(crate) fn expected(
    entries: &[u64],
    regs: &PagingRegs,
    access: Access,
    who: Accessor,
) -> Expected {
    let request = request(regs, access, who);
    let stopped = |code, read| Expected {
        fault: Some(code),
        read,
        entries: entries.to_vec(),
    };
    for (depth, entry) in entries.iter().enumerate() {
        if entry & 1 == 0 {
            return stopped(request, depth + 1);
        }
        if (0..64).any(|bit| entry >> bit & 1 == 1 && is_reserved(bit, depth, *entry, regs)) {
            return stopped(request | 1 | 8, depth + 1);
        }
    }
    let all = entries.iter().fold(!0, |sum, entry| sum & entry);
    let any = entries.iter().fold(0, |sum, entry| sum | entry);
    let by_key = refused_by_key(all, *entries.last().unwrap(), regs, access, who);
    if by_key || forbidden(all, any, regs, access, who) {
        let pk = if by_key { 0x20 } else { 0 };
        return stopped(request | 1 | pk, entries.len());
    }
    let mut after: Vec<u64> = entries.iter().map(|entry| entry | 0x20).collect();
    if access == Access::Write {
        *after.last_mut().unwrap() |= 0x40;
    }
    Expected {
        fault: None,
        read: entries.len(),
        entries: after,
    }
}

/// The bits of the error code that say what was tried.
fn request(regs: &PagingRegs, access: Access, who: Accessor) -> u32 {
    let user = if who.privilege == Privilege::User {
        4
    } else {
        0
    };
    let how = match access {
        Access::Read => 0,
        Access::Write => 2,
        Access::Fetch => 16,
    };
    let by_nxe = on(regs.efer.bits(), Efer::NXE.bits()) && on(regs.cr4.bits(), Cr4::PAE.bits());
    let tells_fetches = by_nxe || on(regs.cr4.bits(), Cr4::SMEP.bits());
    user | if how == 16 && !tells_fetches { 0 } else { how }
}

/// Whether `bit` must be 0 in `entry`, read from the table `depth` steps below the topmost one.
fn is_reserved(bit: u32, depth: usize, entry: u64, regs: &PagingRegs) -> bool {
    let large = entry & 0x80 != 0;
    let long = on(regs.efer.bits(), Efer::LMA.bits());
    if !long && !on(regs.cr4.bits(), Cr4::PAE.bits()) {
        let maps_4m = depth == 0 && large && on(regs.cr4.bits(), Cr4::PSE.bits());
        return maps_4m && (bit == 21 || (13..21).contains(&bit) && bit + 19 >= regs.maxphyaddr);
    }
    // The first table read in PAE paging is the third of 4-level paging.
    let table = if long { depth } else { depth + 2 };
    match (bit, table) {
        (63, _) => !on(regs.efer.bits(), Efer::NXE.bits()),
        (52..=62, _) => !long,
        (b, _) if b >= regs.maxphyaddr && b <= 51 => true,
        (7, 0) => true,
        (13..=29, 1) | (13..=20, 2) => large,
        _ => false,
    }
}

/// The paragraphs of "Determination of Access Rights", each said as what it refuses.
fn forbidden(all: u64, any: u64, regs: &PagingRegs, access: Access, who: Accessor) -> bool {
    let (read_only, supervisor_page) = (all & 2 == 0, all & 4 == 0);
    let no_execute = any >> 63 == 1 && on(regs.efer.bits(), Efer::NXE.bits());
    if who.privilege == Privilege::User {
        return supervisor_page
            || access == Access::Write && read_only
            || access == Access::Fetch && no_execute;
    }
    if access == Access::Fetch {
        return no_execute || !supervisor_page && on(regs.cr4.bits(), Cr4::SMEP.bits());
    }
    let guarded = on(regs.cr4.bits(), Cr4::SMAP.bits()) && who.ac == AlignmentCheck::Clear;
    guarded && !supervisor_page
        || access == Access::Write && read_only && on(regs.cr0.bits(), Cr0::WP.bits())
}

/// Conditions (1) to (5) of the error code's bit 5.
fn refused_by_key(all: u64, leaf: u64, regs: &PagingRegs, access: Access, who: Accessor) -> bool {
    let (lma, pke) = (
        on(regs.efer.bits(), Efer::LMA.bits()),
        on(regs.cr4.bits(), Cr4::PKE.bits()),
    );
    let i = leaf << 1 >> 60;
    let (ad, wd) = (
        regs.pkru.0 >> (2 * i) & 1 == 1,
        regs.pkru.0 >> (2 * i + 1) & 1 == 1,
    );
    let wd_counts = access == Access::Write
        && (on(regs.cr0.bits(), Cr0::WP.bits()) || who.privilege == Privilege::User);
    lma && pke && access != Access::Fetch && all & 4 != 0 && (ad || wd && wd_counts)
}

fn on(register: u64, bit: u64) -> bool {
    register & bit != 0
}
