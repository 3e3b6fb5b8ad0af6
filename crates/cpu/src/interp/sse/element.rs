//! Single elements to and from XMM registers.
//!
//! **Spec:** SDM 2 "PINSRB/PINSRD/PINSRQ", "PINSRW", "PEXTRB/PEXTRD/PEXTRQ", "PEXTRW",
//! "INSERTPS", "EXTRACTPS".

use super::Done;
use super::lanes::Lane;
use super::operand::{ByForm, Encoding, Form, by_encoding, by_form, by_general};
use crate::core::Core;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic as M, OpKind};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        M::Pinsrb | M::Vpinsrb => by_general::<Insert<u8>>(instr),
        M::Pinsrw | M::Vpinsrw => by_general::<Insert<u16>>(instr),
        M::Pinsrd | M::Vpinsrd => by_general::<Insert<u32>>(instr),
        M::Pinsrq | M::Vpinsrq => by_general::<Insert<u64>>(instr),
        M::Insertps | M::Vinsertps => by_form::<InsertSingle>(instr),
        M::Pextrb | M::Vpextrb => extract_of::<u8>(instr),
        M::Pextrw | M::Vpextrw => extract_of::<u16>(instr),
        M::Pextrd | M::Vpextrd | M::Extractps | M::Vextractps => extract_of::<u32>(instr),
        M::Pextrq | M::Vpextrq => extract_of::<u64>(instr),
        _ => None,
    }
}

/// Bit position of the element of width `W` an immediate names.
fn position<W: Word>(imm: u64) -> u32 {
    (imm as u32 % (128 / <W as Word>::BITS)) * <W as Word>::BITS
}

struct Insert<W>(PhantomData<W>);

impl<W: Word> ByForm for Insert<W> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let at = position::<W>(op.imm);
        let element = u128::from(S::low::<W>(c, op)?.zx()) << at;
        let hole = u128::from(W::low(u64::MAX).zx()) << at;
        let rest = S::first(c, op)[0] & !hole;
        S::put_128(c, op, rest | element);
        Ok(())
    }
}

/// INSERTPS: bits 7:6 choose the source's element (memory has one), 5:4 the place, 3:0 zeros.
struct InsertSingle;

impl ByForm for InsertSingle {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let imm = (op.imm & 0xff) as usize;
        let single = S::single(c, op, imm >> 6)?;
        let mut row = u32::split(S::first(c, op)[0]);
        row[(imm >> 4) & 3] = single;
        for (i, element) in row.iter_mut().enumerate() {
            if imm >> i & 1 != 0 {
                *element = 0;
            }
        }
        S::put_128(c, op, u32::join(row));
        Ok(())
    }
}

fn extract_of<W: Word>(instr: &Instruction) -> Option<Exec> {
    if instr.op0_kind() == OpKind::Register {
        by_encoding!(instr, extract::<W>)
    } else {
        by_encoding!(instr, extract_to_memory::<W>)
    }
}

fn taken<W: Word>(c: &Core<'_>, op: &Op) -> W {
    W::low((c.xmm(op, 1) >> position::<W>(op.imm)) as u64)
}

/// The whole register is written, whatever its named width.
fn extract<W: Word, E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    c.cpu.regs[usize::from(op.r[0])] = taken::<W>(c, op).zx();
    Ok(())
}

fn extract_to_memory<W: Word, E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    c.store(op, taken::<W>(c, op))
}
