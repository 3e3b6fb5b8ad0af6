//! Decimal adjustment: AAA, AAS, AAM, AAD, DAA, DAS, and SALC.
//!
//! None of them exists in 64-bit mode, where iced-x86 knows their bytes as no instruction.
//! Flags the manual leaves undefined are clear.
//!
//! **Spec:** SDM 1 "Decimal Arithmetic Instructions"; SDM 2, the instructions by name.

use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{self, AF, CF};
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic};

type Done = Result<(), Exception>;

/// Number of AH among the byte registers.
const AH: u8 = 16;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Aaa => |c, _| adjust_unpacked(c, 0x106),
        Mnemonic::Aas => |c, _| adjust_unpacked(c, 0x106_u16.wrapping_neg()),
        Mnemonic::Aam => aam,
        Mnemonic::Aad => aad,
        Mnemonic::Daa => |c, _| adjust_packed(c, u8::wrapping_add),
        Mnemonic::Das => |c, _| adjust_packed(c, u8::wrapping_sub),
        Mnemonic::Salc => salc,
        _ => return None,
    })
}

fn al(c: &Core<'_>) -> u8 {
    u8::low(c.cpu.regs[reg::RAX])
}

fn set_al(c: &mut Core<'_>, value: u8) {
    u8::set_reg(&mut c.cpu.regs, reg::RAX as u8, value);
}

/// AAA and AAS: AX moves by `step` if the low digit overflowed, and AL keeps that digit.
fn adjust_unpacked(c: &mut Core<'_>, step: u16) -> Done {
    let carried = al(c) & 0xf > 9 || c.cpu.flags & AF != 0;
    if carried {
        let ax = u16::low(c.cpu.regs[reg::RAX]).wrapping_add(step);
        u16::set_reg(&mut c.cpu.regs, reg::RAX as u8, ax);
    }
    let digit = al(c) & 0xf;
    set_al(c, digit);
    let status = flags::szp(digit) | if carried { AF | CF } else { 0 };
    flags::set_status(&mut c.cpu.flags, status);
    Ok(())
}

/// DAA and DAS: `by` adds or subtracts 6 in each digit that overflowed.
fn adjust_packed(c: &mut Core<'_>, by: fn(u8, u8) -> u8) -> Done {
    let old = al(c);
    let low = old & 0xf > 9 || c.cpu.flags & AF != 0;
    let high = old > 0x99 || c.cpu.flags & CF != 0;
    let mut new = if low { by(old, 6) } else { old };
    // DAS alone can borrow in the low digit without one in the high digit.
    let borrowed = low && by(1, 1) == 0 && old < 6;
    if high {
        new = by(new, 0x60);
    }
    set_al(c, new);
    let mut status = flags::szp(new);
    status |= if low { AF } else { 0 };
    status |= if high || borrowed { CF } else { 0 };
    flags::set_status(&mut c.cpu.flags, status);
    Ok(())
}

fn aam(c: &mut Core<'_>, op: &Op) -> Done {
    let base = u8::low(op.imm);
    let (Some(tens), Some(ones)) = (al(c).checked_div(base), al(c).checked_rem(base)) else {
        return Err(Exception::De);
    };
    u8::set_reg(&mut c.cpu.regs, AH, tens);
    set_al(c, ones);
    flags::set_status(&mut c.cpu.flags, flags::szp(ones));
    Ok(())
}

fn aad(c: &mut Core<'_>, op: &Op) -> Done {
    let high = u8::reg(&c.cpu.regs, AH).wrapping_mul(u8::low(op.imm));
    let value = al(c).wrapping_add(high);
    u16::set_reg(&mut c.cpu.regs, reg::RAX as u8, u16::from(value));
    flags::set_status(&mut c.cpu.flags, flags::szp(value));
    Ok(())
}

/// SALC: AL becomes all ones or zero by CF.
fn salc(c: &mut Core<'_>, _: &Op) -> Done {
    let value = if c.cpu.flags & CF != 0 { 0xff } else { 0 };
    set_al(c, value);
    Ok(())
}
