//! Comparison of strings in XMM registers: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
//!
//! **Spec:** SDM 2 "Imm8 Control Byte Operation for PCMPESTRI / PCMPESTRM / PCMPISTRI / PCMPISTRM".

use super::Done;
use super::lanes::Lane;
use super::operand::{Encoding, by_encoding};
use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{CF, OF, SF, ZF, set_status};
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic as M, OpKind};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    let memory = instr.op1_kind() == OpKind::Memory;
    macro_rules! at {
        ($lengths:ty, $output:ty) => {
            if memory {
                by_encoding!(instr, from_memory::<($lengths, $output)>)
            } else {
                by_encoding!(instr, from_register::<($lengths, $output)>)
            }
        };
    }
    match instr.mnemonic() {
        M::Pcmpestri | M::Vpcmpestri => at!(Explicit<u32>, Index),
        M::Pcmpestri64 | M::Vpcmpestri64 => at!(Explicit<u64>, Index),
        M::Pcmpestrm | M::Vpcmpestrm => at!(Explicit<u32>, Mask),
        M::Pcmpestrm64 | M::Vpcmpestrm64 => at!(Explicit<u64>, Mask),
        M::Pcmpistri | M::Vpcmpistri => at!(Implicit, Index),
        M::Pcmpistrm | M::Vpcmpistrm => at!(Implicit, Mask),
        _ => None,
    }
}

/// Where an instruction takes the lengths from, and where the result goes.
trait Kind {
    /// How many elements of `row`, whose length would be in `register`, are valid.
    fn valid(c: &Core<'_>, row: &[i32], register: usize) -> usize;
    fn output<E: Encoding>(c: &mut Core<'_>, control: Control, result: u32);
}

impl<L: Lengths, O: Output> Kind for (L, O) {
    fn valid(c: &Core<'_>, row: &[i32], register: usize) -> usize {
        L::valid(c, row, register)
    }
    fn output<E: Encoding>(c: &mut Core<'_>, control: Control, result: u32) {
        O::put::<E>(c, control, result);
    }
}

trait Lengths {
    fn valid(c: &Core<'_>, row: &[i32], register: usize) -> usize;
}

/// In RAX and RDX, or their halves: the absolute value, at most all.
struct Explicit<W>(W);
impl<W: Word> Lengths for Explicit<W> {
    fn valid(c: &Core<'_>, row: &[i32], register: usize) -> usize {
        let length = W::reg(&c.cpu.regs, register as u8).sx().cast_signed();
        length.unsigned_abs().min(row.len() as u64) as usize
    }
}

/// Up to the first zero.
struct Implicit;
impl Lengths for Implicit {
    fn valid(_: &Core<'_>, row: &[i32], _: usize) -> usize {
        row.iter().position(|x| *x == 0).unwrap_or(row.len())
    }
}

trait Output {
    fn put<E: Encoding>(c: &mut Core<'_>, control: Control, result: u32);
}

/// ECX: position of the lowest or highest bit; the number of elements if there is none.
struct Index;
impl Output for Index {
    fn put<E: Encoding>(c: &mut Core<'_>, control: Control, result: u32) {
        let index = if result == 0 {
            control.count() as u32
        } else if control.0 & 0x40 != 0 {
            31 - result.leading_zeros()
        } else {
            result.trailing_zeros()
        };
        c.cpu.regs[reg::RCX] = u64::from(index);
    }
}

/// XMM0: the bits, or elements of ones for them.
struct Mask;
impl Output for Mask {
    fn put<E: Encoding>(c: &mut Core<'_>, control: Control, result: u32) {
        let set = |i: usize| result >> i & 1 != 0;
        let mask = if control.0 & 0x40 == 0 {
            u128::from(result)
        } else if control.count() == 16 {
            u8::join(std::array::from_fn(|i| if set(i) { u8::MAX } else { 0 }))
        } else {
            u16::join(std::array::from_fn(|i| if set(i) { u16::MAX } else { 0 }))
        };
        E::put_in(c, 0, [mask, 0]);
    }
}

/// The immediate.
#[derive(Clone, Copy)]
struct Control(u8);

impl Control {
    /// Elements of a string.
    const fn count(self) -> usize {
        if self.0 & 1 != 0 { 8 } else { 16 }
    }

    /// The elements of a register as numbers, by bits 1:0.
    fn row(self, value: u128) -> Vec<i32> {
        match self.0 & 3 {
            0 => u8::split(value).map(i32::from).to_vec(),
            1 => u16::split(value).map(i32::from).to_vec(),
            2 => i8::split(value).map(i32::from).to_vec(),
            _ => i16::split(value).map(i32::from).to_vec(),
        }
    }

    /// IntRes1, by bits 3:2; `a` and `b` are the valid elements.
    fn aggregate(self, a: &[i32], b: &[i32]) -> u32 {
        let matches = |j: usize| match self.0 >> 2 & 3 {
            0 => j < b.len() && a.contains(&b[j]),
            1 => j < b.len() && a.chunks_exact(2).any(|r| (r[0]..=r[1]).contains(&b[j])),
            2 => a.get(j) == b.get(j),
            // What would lie beyond the register is not compared.
            _ => a
                .iter()
                .take(self.count() - j)
                .enumerate()
                .all(|(i, x)| b.get(j + i) == Some(x)),
        };
        (0..self.count()).fold(0, |bits, j| bits | u32::from(matches(j)) << j)
    }

    /// IntRes2: bits 5:4 negate all of IntRes1, or where the second string is valid.
    const fn polarise(self, bits: u32, valid: usize) -> u32 {
        match self.0 >> 4 & 3 {
            1 => bits ^ ((1 << self.count()) - 1),
            3 => bits ^ ((1 << valid) - 1),
            _ => bits,
        }
    }
}

fn from_register<K: Kind, E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    let b = c.xmm(op, 1);
    compare::<K, E>(c, op, b);
    Ok(())
}

/// Memory at any alignment.
fn from_memory<K: Kind, E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<(), Exception> {
    E::require(c)?;
    let b = c.load_128(op)?;
    compare::<K, E>(c, op, b);
    Ok(())
}

fn compare<K: Kind, E: Encoding>(c: &mut Core<'_>, op: &Op, b: u128) {
    let control = Control((op.imm & 0xff) as u8);
    let (a, b) = (control.row(c.xmm(op, 0)), control.row(b));
    let a = &a[..K::valid(c, &a, reg::RAX)];
    let b = &b[..K::valid(c, &b, reg::RDX)];
    let result = control.polarise(control.aggregate(a, b), b.len());
    let flag = |bit, holds| if holds { bit } else { 0 };
    let status = flag(CF, result != 0)
        | flag(ZF, b.len() < control.count())
        | flag(SF, a.len() < control.count())
        | flag(OF, result & 1 != 0);
    K::output::<E>(c, control, result);
    set_status(&mut c.cpu.flags, status);
}
