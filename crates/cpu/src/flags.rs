//! Status flags of integer results.
//!
//! Computed eagerly, one formula per family, so that a reader can hold each
//! against the manual's "Flags Affected" paragraph.
//!
//! **Spec:** SDM 1 "Status Flags"; SDM 2, the paragraphs "Flags Affected".

use crate::word::Word;
use x86::Rflags;

pub(crate) const CF: u64 = Rflags::CF.bits();
pub(crate) const PF: u64 = Rflags::PF.bits();
pub(crate) const AF: u64 = Rflags::AF.bits();
pub(crate) const ZF: u64 = Rflags::ZF.bits();
pub(crate) const SF: u64 = Rflags::SF.bits();
pub(crate) const OF: u64 = Rflags::OF.bits();
pub(crate) const DF: u64 = Rflags::DF.bits();
const STATUS: u64 = Rflags::STATUS.bits();

/// PF of each byte value.
const PARITY: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        if byte.count_ones().is_multiple_of(2) {
            table[byte as usize] = PF as u8;
        }
        byte += 1;
    }
    table
};

/// SF, ZF and PF of a result.
#[inline]
pub(crate) fn szp<W: Word>(result: W) -> u64 {
    let raw = result.zx();
    let sign = (raw >> (W::BITS - 1)) << 7;
    let zero = u64::from(raw == 0) << 6;
    sign | zero | u64::from(PARITY[(raw & 0xff) as usize])
}

/// Replaces all six status flags.
#[inline]
pub(crate) fn set_status(flags: &mut u64, status: u64) {
    *flags = (*flags & !STATUS) | status;
}

/// `a + b + carry`, and its six flags.
#[inline]
pub(crate) fn add<W: Word>(a: W, b: W, carry: u64, flags: &mut u64) -> W {
    let wide = u128::from(a.zx()) + u128::from(b.zx()) + u128::from(carry);
    let result = W::low(wide as u64);
    let cf = ((wide >> W::BITS) & 1) as u64;
    let of = u64::from(((a ^ result) & (b ^ result)).sign()) << 11;
    let af = (a ^ b ^ result).zx() & AF;
    set_status(flags, cf | of | af | szp(result));
    result
}

/// `a - b - borrow`, and its six flags.
#[inline]
pub(crate) fn sub<W: Word>(a: W, b: W, borrow: u64, flags: &mut u64) -> W {
    let result = W::low(a.zx().wrapping_sub(b.zx()).wrapping_sub(borrow));
    let cf = u64::from(u128::from(a.zx()) < u128::from(b.zx()) + u128::from(borrow));
    let of = u64::from(((a ^ b) & (a ^ result)).sign()) << 11;
    let af = (a ^ b ^ result).zx() & AF;
    set_status(flags, cf | of | af | szp(result));
    result
}

/// Flags of AND, OR, XOR, TEST: CF and OF clear; AF, which is undefined, clear as on silicon.
#[inline]
pub(crate) fn logic<W: Word>(result: W, flags: &mut u64) -> W {
    set_status(flags, szp(result));
    result
}

/// Sets or clears one flag.
#[inline]
pub(crate) fn put(flags: &mut u64, flag: u64, on: bool) {
    *flags = if on { *flags | flag } else { *flags & !flag };
}

/// Condition codes, in the order of their encoding; odd codes negate even ones.
///
/// **Spec:** SDM 1 "EFLAGS Condition Codes".
#[inline]
pub(crate) fn condition(flags: u64, code: u8) -> bool {
    let less = (flags & SF != 0) != (flags & OF != 0);
    let holds = match code >> 1 {
        0 => flags & OF != 0,
        1 => flags & CF != 0,
        2 => flags & ZF != 0,
        3 => flags & (CF | ZF) != 0,
        4 => flags & SF != 0,
        5 => flags & PF != 0,
        6 => less,
        _ => less || flags & ZF != 0,
    };
    holds != (code & 1 != 0)
}
