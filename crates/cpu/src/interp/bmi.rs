//! Bit manipulation on general registers: BMI1, BMI2, ADX, LZCNT, CRC32.
//!
//! Flags the manual leaves undefined keep their value.
//!
//! **Spec:** SDM 1 "Bit Manipulation Instructions"; SDM 2 "ANDN", "BEXTR", "BLSI", "BZHI",
//! "PDEP", "PEXT", "MULX", "ADCX", "ADOX", "LZCNT", "TZCNT", "CRC32", "The VEX Prefix".

use super::operand::{Binary, Mem, Reg, Source, Target, binary, operand_bytes};
use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{CF, OF, SF, ZF, put};
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic as M, OpKind};
use x86::Rflags;

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        M::Tzcnt => binary::<Count<false>>(instr),
        M::Lzcnt => binary::<Count<true>>(instr),
        M::Adcx => binary::<AddWith<CF>>(instr),
        M::Adox => binary::<AddWith<OF>>(instr),
        M::Crc32 => crc32_of(instr),
        M::Andn => second::<Andn>(instr),
        M::Pdep => second::<Pdep>(instr),
        M::Pext => second::<Pext>(instr),
        M::Mulx => second::<Mulx>(instr),
        M::Bextr => first::<Bextr>(instr),
        M::Bzhi => first::<Bzhi>(instr),
        M::Sarx => first::<Sarx>(instr),
        M::Shlx => first::<Shlx>(instr),
        M::Shrx => first::<Shrx>(instr),
        M::Rorx => first::<Rorx>(instr),
        M::Blsi => first::<Blsi>(instr),
        M::Blsmsk => first::<Blsmsk>(instr),
        M::Blsr => first::<Blsr>(instr),
        _ => None,
    }
}

/// TZCNT and LZCNT: the width itself if nothing is set.
struct Count<const LEADING: bool>;
impl<const LEADING: bool> Binary for Count<LEADING> {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = S::get::<W>(c, op)?.zx();
        let count = if LEADING {
            value.leading_zeros() - (64 - W::BITS)
        } else {
            value.trailing_zeros().min(W::BITS)
        };
        put(&mut c.cpu.flags, CF, value == 0);
        put(&mut c.cpu.flags, ZF, count == 0);
        D::set(c, op, W::low(u64::from(count)))
    }
}

/// ADCX and ADOX: addition with the one flag that carries, in and out.
struct AddWith<const FLAG: u64>;
impl<const FLAG: u64> Binary for AddWith<FLAG> {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let (a, b) = (D::get::<W>(c, op)?, S::get::<W>(c, op)?);
        let carry = c.cpu.flags & FLAG != 0;
        let sum = u128::from(a.zx()) + u128::from(b.zx()) + u128::from(carry);
        put(&mut c.cpu.flags, FLAG, sum >> W::BITS != 0);
        D::set(c, op, W::low(sum as u64))
    }
}

fn crc32_of(instr: &Instruction) -> Option<Exec> {
    let memory = instr.op1_kind() == OpKind::Memory;
    Some(match (operand_bytes(instr, 1), memory) {
        (1, false) => crc32::<u8, Reg<1>>,
        (1, true) => crc32::<u8, Mem>,
        (2, false) => crc32::<u16, Reg<1>>,
        (2, true) => crc32::<u16, Mem>,
        (4, false) => crc32::<u32, Reg<1>>,
        (4, true) => crc32::<u32, Mem>,
        (_, false) => crc32::<u64, Reg<1>>,
        (_, true) => crc32::<u64, Mem>,
    })
}

/// CRC32: the CRC-32C of the operand's bits, lowest first; the upper half is cleared.
fn crc32<W: Word, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    /// 11EDC6F41h without its highest bit, bits in reverse.
    const POLYNOMIAL: u64 = 0x82f6_3b78;
    let data = S::get::<W>(c, op)?.zx();
    let start = u64::from(u32::reg(&c.cpu.regs, op.r[0]));
    // The register's 32 bits meet the data's lowest ones; wider data brings more steps.
    let crc = (0..W::BITS).fold(start, |crc, i| {
        let out = (crc ^ data >> i) & 1;
        crc >> 1 ^ if out != 0 { POLYNOMIAL } else { 0 }
    });
    c.cpu.regs[usize::from(op.r[0])] = crc;
    Ok(())
}

/// An operation on the operand that may be memory and the one that VEX.vvvv names.
trait Vex {
    fn apply<W: Word>(c: &mut Core<'_>, op: &Op, rm: W, other: W) -> W;
}

fn exec<O: Vex, W: Word, S: Source, const OTHER: usize>(c: &mut Core<'_>, op: &Op) -> Done {
    // VEX prefixes exist in protected mode only, outside virtual-8086 mode.
    if !c.cpu.is_protected() || c.cpu.flags & Rflags::VM.bits() != 0 {
        return Err(Exception::Ud);
    }
    let rm = S::get::<W>(c, op)?;
    let other = W::reg(&c.cpu.regs, op.r[OTHER]);
    let result = O::apply(c, op, rm, other);
    W::set_reg(&mut c.cpu.regs, op.r[0], result);
    Ok(())
}

/// The handler for instructions whose operand 1 may be memory.
fn first<O: Vex>(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op1_kind(), operand_bytes(instr, 0)) {
        (OpKind::Memory, 4) => exec::<O, u32, Mem, 2>,
        (OpKind::Memory, _) => exec::<O, u64, Mem, 2>,
        (_, 4) => exec::<O, u32, Reg<1>, 2>,
        _ => exec::<O, u64, Reg<1>, 2>,
    })
}

/// The handler for instructions whose operand 2 may be memory.
fn second<O: Vex>(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op2_kind(), operand_bytes(instr, 0)) {
        (OpKind::Memory, 4) => exec::<O, u32, Mem, 1>,
        (OpKind::Memory, _) => exec::<O, u64, Mem, 1>,
        (_, 4) => exec::<O, u32, Reg<2>, 1>,
        _ => exec::<O, u64, Reg<2>, 1>,
    })
}

/// Sets SF and ZF by the result, CF as given; clears OF.
fn set_flags<W: Word>(c: &mut Core<'_>, result: W, carry: bool) -> W {
    let flags = &mut c.cpu.flags;
    put(flags, SF, result.sign());
    put(flags, ZF, result.zx() == 0);
    put(flags, CF, carry);
    put(flags, OF, false);
    result
}

/// Defines operations on the processor, the instruction and both operands.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident<$w:ident> = |$c:ident, $op:ident, $rm:ident, $other:ident| $body:expr;)*) => { $(
        $(#[$doc])*
        struct $name;
        impl Vex for $name {
            fn apply<$w: Word>($c: &mut Core<'_>, $op: &Op, $rm: $w, $other: $w) -> $w { $body }
        }
    )* };
}

operations! {
    /// The low bits of the other operand go where the mask has bits.
    Pdep<W> = |_c, _op, mask, from| {
        let (mut out, mut left, from) = (0, mask.zx(), from.zx());
        for i in 0..left.count_ones() {
            out |= (from >> i & 1) << left.trailing_zeros();
            left &= left - 1;
        }
        W::low(out)
    };
    /// The bits where the mask has bits, side by side.
    Pext<W> = |_c, _op, mask, from| {
        let (mut out, mut left, from) = (0, mask.zx(), from.zx());
        for i in 0..left.count_ones() {
            out |= (from >> left.trailing_zeros() & 1) << i;
            left &= left - 1;
        }
        W::low(out)
    };
    Sarx<W> = |_c, _op, rm, count| {
        W::low((rm.sx().cast_signed() >> (count.zx() % u64::from(W::BITS))).cast_unsigned())
    };
    Shlx<W> = |_c, _op, rm, count| W::low(rm.zx() << (count.zx() % u64::from(W::BITS)));
    Shrx<W> = |_c, _op, rm, count| W::low(rm.zx() >> (count.zx() % u64::from(W::BITS)));
    Rorx<W> = |_c, op, rm, _other| {
        let count = op.imm as u32 % W::BITS;
        W::low(rm.zx() >> count | rm.zx().checked_shl(W::BITS - count).unwrap_or(0))
    };
    Andn<W> = |c, _op, rm, other| set_flags(c, !other & rm, false);
    /// The lowest bit that is set.
    Blsi<W> = |c, _op, rm, _other| {
        set_flags(c, W::low(rm.zx() & rm.zx().wrapping_neg()), rm.zx() != 0)
    };
    /// All bits up to the lowest that is set.
    Blsmsk<W> = |c, _op, rm, _other| {
        set_flags(c, W::low(rm.zx() ^ rm.zx().wrapping_sub(1)), rm.zx() == 0)
    };
    /// Without the lowest bit that is set.
    Blsr<W> = |c, _op, rm, _other| {
        set_flags(c, W::low(rm.zx() & rm.zx().wrapping_sub(1)), rm.zx() == 0)
    };
    /// From the bit in bits 7:0 of the control on, as many as bits 15:8 say.
    Bextr<W> = |c, _op, rm, control| {
        let (from, count) = (control.zx() as u32 & 0xff, (control.zx() >> 8) as u32 & 0xff);
        let result = W::low(low_bits(rm.zx().checked_shr(from).unwrap_or(0), count));
        put(&mut c.cpu.flags, ZF, result.zx() == 0);
        put(&mut c.cpu.flags, CF, false);
        put(&mut c.cpu.flags, OF, false);
        result
    };
    /// Without the bits from that in bits 7:0 of the index on.
    Bzhi<W> = |c, _op, rm, index| {
        let index = index.zx() as u32 & 0xff;
        set_flags(c, W::low(low_bits(rm.zx(), index)), index >= W::BITS)
    };
    /// RDX times the operand; the high half goes to operand 0, and wins if that is operand 1.
    Mulx<W> = |c, op, rm, _other| {
        let multiplier = W::reg(&c.cpu.regs, reg::RDX as u8).zx();
        let product = u128::from(rm.zx()) * u128::from(multiplier);
        W::set_reg(&mut c.cpu.regs, op.r[1], W::low(product as u64));
        W::low((product >> W::BITS) as u64)
    };
}

const fn low_bits(value: u64, count: u32) -> u64 {
    if count < 64 {
        value & ((1 << count) - 1)
    } else {
        value
    }
}
