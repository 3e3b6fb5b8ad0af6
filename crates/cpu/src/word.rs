//! Operand widths: bytes, words, doublewords, quadwords as one trait.

use memory::ram::Scalar;
use std::fmt::Debug;
use std::ops::{BitAnd, BitOr, BitXor, Not};

/// An integer operand of an instruction.
pub(crate) trait Word:
    Scalar
    + Debug
    + PartialEq
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
{
    /// Width in bits.
    const BITS: u32;
    /// Width in bytes.
    const BYTES: u64 = Self::BITS as u64 / 8;

    /// The low bits of `raw`.
    fn low(raw: u64) -> Self;
    /// Zero-extended.
    fn zx(self) -> u64;
    /// Sign-extended.
    fn sx(self) -> u64;

    /// The general register `number`; for bytes, 16 + n is AH, CH, DH, BH.
    fn reg(regs: &[u64; 18], number: u8) -> Self;
    /// Writes it: doublewords clear the upper half, smaller widths keep the rest.
    fn set_reg(regs: &mut [u64; 18], number: u8, value: Self);

    /// The most significant bit.
    #[inline]
    fn sign(self) -> bool {
        (self.zx() >> (Self::BITS - 1)) & 1 != 0
    }
}

impl Word for u8 {
    const BITS: u32 = 8;
    #[inline]
    fn low(raw: u64) -> Self {
        (raw & 0xff) as Self
    }
    #[inline]
    fn zx(self) -> u64 {
        u64::from(self)
    }
    #[inline]
    fn sx(self) -> u64 {
        i64::from(self.cast_signed()).cast_unsigned()
    }
    #[inline]
    fn reg(regs: &[u64; 18], number: u8) -> Self {
        Self::low(regs[usize::from(number & 15)] >> high_shift(number))
    }
    #[inline]
    fn set_reg(regs: &mut [u64; 18], number: u8, value: Self) {
        let shift = high_shift(number);
        let r = &mut regs[usize::from(number & 15)];
        *r = (*r & !(0xff << shift)) | (value.zx() << shift);
    }
}

/// 8 for AH, CH, DH, BH (numbers 16–19), 0 for low bytes.
#[inline]
const fn high_shift(number: u8) -> u32 {
    ((number & 16) >> 1) as u32
}

impl Word for u16 {
    const BITS: u32 = 16;
    #[inline]
    fn low(raw: u64) -> Self {
        (raw & 0xffff) as Self
    }
    #[inline]
    fn zx(self) -> u64 {
        u64::from(self)
    }
    #[inline]
    fn sx(self) -> u64 {
        i64::from(self.cast_signed()).cast_unsigned()
    }
    #[inline]
    fn reg(regs: &[u64; 18], number: u8) -> Self {
        Self::low(regs[usize::from(number & 15)])
    }
    #[inline]
    fn set_reg(regs: &mut [u64; 18], number: u8, value: Self) {
        let r = &mut regs[usize::from(number & 15)];
        *r = (*r & !0xffff) | value.zx();
    }
}

impl Word for u32 {
    const BITS: u32 = 32;
    #[inline]
    fn low(raw: u64) -> Self {
        (raw & 0xffff_ffff) as Self
    }
    #[inline]
    fn zx(self) -> u64 {
        u64::from(self)
    }
    #[inline]
    fn sx(self) -> u64 {
        i64::from(self.cast_signed()).cast_unsigned()
    }
    #[inline]
    fn reg(regs: &[u64; 18], number: u8) -> Self {
        Self::low(regs[usize::from(number & 15)])
    }
    #[inline]
    fn set_reg(regs: &mut [u64; 18], number: u8, value: Self) {
        regs[usize::from(number & 15)] = value.zx();
    }
}

impl Word for u64 {
    const BITS: u32 = 64;
    #[inline]
    fn low(raw: u64) -> Self {
        raw
    }
    #[inline]
    fn zx(self) -> u64 {
        self
    }
    #[inline]
    fn sx(self) -> u64 {
        self
    }
    #[inline]
    fn reg(regs: &[u64; 18], number: u8) -> Self {
        regs[usize::from(number & 15)]
    }
    #[inline]
    fn set_reg(regs: &mut [u64; 18], number: u8, value: Self) {
        regs[usize::from(number & 15)] = value;
    }
}
