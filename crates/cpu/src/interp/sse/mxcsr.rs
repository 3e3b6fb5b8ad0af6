//! MXCSR: how SSE arithmetic rounds, and what it reports.
//!
//! An instruction computes all its elements in one [`Env`], which collects their
//! exceptions; [`Core::commit`] then updates the sticky flags and raises #XM. The
//! destination must be written after that.
//!
//! **Spec:** SDM 1 "MXCSR Control and Status Register", "SSE and SSE2 SIMD
//! Floating-Point Exceptions".

use crate::core::Core;
use crate::exception::Exception;
use bitflags::bitflags;
use x86::Cr4;

bitflags! {
    /// MXCSR. The mask of each exception is [`MASK_SHIFT`] bits above its flag.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::interp) struct Mxcsr: u32 {
        /// Invalid operation.
        const IE = 1 << 0;
        /// Denormal operand.
        const DE = 1 << 1;
        /// Division by zero.
        const ZE = 1 << 2;
        /// Overflow.
        const OE = 1 << 3;
        /// Underflow.
        const UE = 1 << 4;
        /// Precision: the result is not exact.
        const PE = 1 << 5;
        /// Denormal operands count as zeros.
        const DAZ = 1 << 6;
        /// All six masks.
        const MASKS = 0x3f << MASK_SHIFT;
        /// Rounding control.
        const RC = 3 << 13;
        /// Tiny results become zeros, while underflow is masked.
        const FTZ = 1 << 15;
    }
}

const MASK_SHIFT: u32 = 7;

/// Bits of MXCSR that exist: what FXSAVE gives as MXCSR_MASK. Setting others raises #GP.
pub(super) const MXCSR_MASK: u32 = Mxcsr::all().bits();

impl Mxcsr {
    /// Exceptions found in the operands, before anything is computed.
    const BEFORE: Self = Self::IE.union(Self::DE).union(Self::ZE);
}

/// Which neighbour an inexact result becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::interp) enum Rounding {
    /// The nearest, or the even one of two equally near.
    Nearest,
    /// Toward −∞.
    Down,
    /// Toward +∞.
    Up,
    /// Toward zero.
    Zero,
}

impl Rounding {
    /// By the two bits of MXCSR.RC, and of the immediates that take its place.
    pub(super) const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// The control bits one instruction runs under, and the exceptions it meets.
#[derive(Debug)]
pub(in crate::interp) struct Env {
    control: Mxcsr,
    raised: Mxcsr,
}

impl Env {
    pub(super) const fn new(mxcsr: u32) -> Self {
        Self {
            control: Mxcsr::from_bits_truncate(mxcsr),
            raised: Mxcsr::empty(),
        }
    }

    /// For instructions without exceptions, which know no denormals.
    pub(super) const fn quiet() -> Self {
        Self::new(Mxcsr::MASKS.union(Mxcsr::DAZ).union(Mxcsr::FTZ).bits())
    }

    pub(super) fn raise(&mut self, which: Mxcsr) {
        self.raised |= which;
    }

    pub(super) const fn is_masked(&self, which: Mxcsr) -> bool {
        self.control.bits() & (which.bits() << MASK_SHIFT) != 0
    }

    pub(super) const fn denormals_are_zeros(&self) -> bool {
        self.control.contains(Mxcsr::DAZ)
    }

    /// Flush-to-zero works only while underflow is masked.
    pub(super) const fn flushes_to_zero(&self) -> bool {
        self.control.contains(Mxcsr::FTZ) && self.is_masked(Mxcsr::UE)
    }

    pub(super) const fn rounding(&self) -> Rounding {
        Rounding::from_bits(self.control.intersection(Mxcsr::RC).bits() >> 13)
    }

    /// Whether an unmasked exception was raised.
    pub(super) fn traps(&self) -> bool {
        self.raised.iter().any(|e| !self.is_masked(e))
    }

    /// The same control bits with nothing raised.
    pub(super) const fn without_flags(&self) -> Self {
        Self {
            control: self.control,
            raised: Mxcsr::empty(),
        }
    }

    /// What was raised.
    pub(super) const fn raised(&self) -> Mxcsr {
        self.raised
    }

    /// Whether host arithmetic gives all there is to know about an operation on
    /// normal numbers with a normal result: the default modes are set, and PE,
    /// which the host does not tell, is sticky already.
    pub(super) fn is_like_host(&self) -> bool {
        let modes = Mxcsr::MASKS | Mxcsr::DAZ | Mxcsr::FTZ | Mxcsr::RC | Mxcsr::PE;
        self.control.intersection(modes) == Mxcsr::MASKS | Mxcsr::PE
    }
}

impl Core<'_> {
    /// The environment of one instruction.
    pub(in crate::interp) const fn env(&self) -> Env {
        Env::new(self.cpu.sse.mxcsr)
    }

    /// Sets the flags of what was raised; an unmasked exception is #XM, or #UD
    /// while the operating system does not handle it.
    ///
    /// Exceptions of the operands, if unmasked, hide those of the results.
    pub(in crate::interp) fn commit(&mut self, env: &Env) -> Result<(), Exception> {
        let unmasked = |raised: Mxcsr| raised.iter().any(|e| !env.is_masked(e));
        let before = env.raised & Mxcsr::BEFORE;
        let reported = if unmasked(before) { before } else { env.raised };
        self.cpu.sse.mxcsr |= reported.bits();
        if !unmasked(reported) {
            Ok(())
        } else if self.cpu.cr4().contains(Cr4::OSXMMEXCPT) {
            Err(Exception::Xm)
        } else {
            Err(Exception::Ud)
        }
    }
}
