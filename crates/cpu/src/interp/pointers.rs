//! Far pointers and bounds: LSS, LDS, LES, LFS, LGS, BOUND.
//!
//! **Spec:** SDM 2 "LDS/LES/LFS/LGS/LSS", "BOUND".

use super::operand::operand_bytes;
use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::segment::SegReg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic};
use x86::descriptor::Selector;

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    macro_rules! by_size {
        ($f:ident::<$which:literal>) => {
            match operand_bytes(instr, 0) {
                2 => $f::<u16, $which>,
                4 => $f::<u32, $which>,
                _ => $f::<u64, $which>,
            }
        };
    }
    Some(match instr.mnemonic() {
        Mnemonic::Les => by_size!(load_far::<0>),
        Mnemonic::Lss => by_size!(load_far::<2>),
        Mnemonic::Lds => by_size!(load_far::<3>),
        Mnemonic::Lfs => by_size!(load_far::<4>),
        Mnemonic::Lgs => by_size!(load_far::<5>),
        Mnemonic::Bound if operand_bytes(instr, 0) == 2 => bound::<u16>,
        Mnemonic::Bound => bound::<u32>,
        _ => return None,
    })
}

/// Loads segment register `SEG` and a general register; both or neither.
fn load_far<W: Word, const SEG: u8>(c: &mut Core<'_>, op: &Op) -> Done {
    let at = c.ea(op);
    let offset = c.load_at::<W>(op.seg, at)?;
    let selector = c.load_at::<u16>(op.seg, at.wrapping_add(W::BYTES) & op.addr_mask)?;
    let which = SegReg::from_number(SEG).ok_or(Exception::Ud)?;
    c.load_data_segment(which, Selector(selector))?;
    W::set_reg(&mut c.cpu.regs, op.r[0], offset);
    Ok(())
}

/// BOUND compares as signed numbers; both bounds are inside.
fn bound<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let at = c.ea(op);
    let signed = |value: W| value.sx().cast_signed();
    let lower = signed(c.load_at::<W>(op.seg, at)?);
    let upper = signed(c.load_at::<W>(op.seg, at.wrapping_add(W::BYTES) & op.addr_mask)?);
    let index = signed(W::reg(&c.cpu.regs, op.r[0]));
    if (lower..=upper).contains(&index) {
        Ok(())
    } else {
        Err(Exception::Br)
    }
}
