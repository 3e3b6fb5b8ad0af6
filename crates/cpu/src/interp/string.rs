//! String instructions: MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS, and their repetition.
//!
//! A repeated instruction can be interrupted after every element: registers then
//! hold the state from which it goes on, and RIP still points at it. Moves and
//! stores within one page of RAM are done at once, with the same final state and
//! the same cycles as element by element.
//!
//! **Spec:** SDM 2 "REP/REPE/REPZ/REPNE/REPNZ"; SDM 1 "String Instructions".

use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{self, DF, ZF};
use crate::op::{Exec, FLAT, Op, Rep};
use crate::segment::SegReg;
use crate::state::reg;
use crate::word::Word;
use cost::{Category, Ticks};
use iced_x86::{Instruction, Mnemonic};
use memory::Width;
use x86::Rflags;
use x86::addr::PAGE_BYTES;
use x86::fault::Access;

type Done = Result<(), Exception>;

/// Elements done before a repeated instruction lets events in.
const SLICE: u64 = 4096;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    if !instr.is_string_instruction() {
        return None;
    }
    Some(match instr.mnemonic() {
        Mnemonic::Movsb => repeat::<u8, Movs>,
        Mnemonic::Movsw => repeat::<u16, Movs>,
        Mnemonic::Movsd => repeat::<u32, Movs>,
        Mnemonic::Movsq => repeat::<u64, Movs>,
        Mnemonic::Stosb => repeat::<u8, Stos>,
        Mnemonic::Stosw => repeat::<u16, Stos>,
        Mnemonic::Stosd => repeat::<u32, Stos>,
        Mnemonic::Stosq => repeat::<u64, Stos>,
        Mnemonic::Lodsb => repeat::<u8, Lods>,
        Mnemonic::Lodsw => repeat::<u16, Lods>,
        Mnemonic::Lodsd => repeat::<u32, Lods>,
        Mnemonic::Lodsq => repeat::<u64, Lods>,
        Mnemonic::Cmpsb => repeat::<u8, Cmps>,
        Mnemonic::Cmpsw => repeat::<u16, Cmps>,
        Mnemonic::Cmpsd => repeat::<u32, Cmps>,
        Mnemonic::Cmpsq => repeat::<u64, Cmps>,
        Mnemonic::Scasb => repeat::<u8, Scas>,
        Mnemonic::Scasw => repeat::<u16, Scas>,
        Mnemonic::Scasd => repeat::<u32, Scas>,
        Mnemonic::Scasq => repeat::<u64, Scas>,
        Mnemonic::Insb => repeat::<u8, Ins>,
        Mnemonic::Insw => repeat::<u16, Ins>,
        Mnemonic::Insd => repeat::<u32, Ins>,
        Mnemonic::Outsb => repeat::<u8, Outs>,
        Mnemonic::Outsw => repeat::<u16, Outs>,
        Mnemonic::Outsd => repeat::<u32, Outs>,
        _ => return None,
    })
}

/// One string instruction.
trait StringOp {
    /// REPE and REPNE end it by ZF.
    const COMPARES: bool = false;

    /// Does one element and moves the index registers; all or nothing.
    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done;

    /// Does up to `most` elements at once if that looks the same; how many it did.
    fn bulk<W: Word>(_: &mut Core<'_>, _: &Op, _most: u64) -> Result<u64, Exception> {
        Ok(0)
    }
}

fn repeat<W: Word, O: StringOp>(c: &mut Core<'_>, op: &Op) -> Done {
    if op.rep == Rep::None {
        return O::element::<W>(c, op);
    }
    let start = c.cpu.rip().wrapping_sub(u64::from(op.len));
    // A single step is one element, and a data breakpoint traps after the element it met.
    let mut budget = if c.single_step || c.cpu.debug.watching {
        1
    } else {
        SLICE
    };
    while count(c, op) != 0 {
        if budget == 0 || c.must_leave() {
            // Not finished: the same instruction goes on after whatever is due. RF tells that
            // its instruction breakpoint was met already.
            c.cpu.set_rip(start);
            c.cpu.flags |= Rflags::RF.bits();
            return Ok(());
        }
        let left = count(c, op);
        let done = match O::bulk::<W>(c, op, left.min(budget))? {
            0 => O::element::<W>(c, op).map(|()| 1)?,
            n => n,
        };
        set_count(c, op, left - done);
        budget -= done;
        if O::COMPARES && (c.cpu.flags & ZF != 0) != (op.rep == Rep::WhileEqual) {
            break;
        }
    }
    Ok(())
}

/// CX, ECX or RCX.
fn count(c: &Core<'_>, op: &Op) -> u64 {
    c.cpu.regs[reg::RCX] & op.addr_mask
}

fn set_count(c: &mut Core<'_>, op: &Op, value: u64) {
    set_index(c, op, reg::RCX, value);
}

/// Writes an index or count register at the address size.
fn set_index(c: &mut Core<'_>, op: &Op, number: usize, value: u64) {
    let number = number as u8;
    match op.addr_bytes {
        2 => u16::set_reg(&mut c.cpu.regs, number, u16::low(value)),
        4 => u32::set_reg(&mut c.cpu.regs, number, u32::low(value)),
        _ => u64::set_reg(&mut c.cpu.regs, number, value),
    }
}

fn index(c: &Core<'_>, op: &Op, number: usize) -> u64 {
    c.cpu.regs[number] & op.addr_mask
}

/// Moves an index register by `elements`, in the direction of DF.
fn advance<W: Word>(c: &mut Core<'_>, op: &Op, number: usize, elements: u64) {
    let bytes = W::BYTES * elements;
    let old = index(c, op, number);
    let new = if c.cpu.flags & DF == 0 {
        old.wrapping_add(bytes)
    } else {
        old.wrapping_sub(bytes)
    };
    set_index(c, op, number, new);
}

/// Segment of the destination: ES, without override.
fn es(c: &Core<'_>) -> u8 {
    if c.cpu.is_64bit() {
        FLAT
    } else {
        SegReg::Es as u8
    }
}

/// A string move or store: `bytes` cost what the profile says per page.
fn charge_bytes(c: &mut Core<'_>, category: Category, page_price: Ticks, bytes: u64) {
    c.charge(category, Ticks(page_price.0 * bytes / PAGE_BYTES));
}

/// How many whole elements fit from `offset` on in its page, at most `most`, when counting up.
fn in_page<W: Word>(offset: u64, most: u64) -> u64 {
    ((PAGE_BYTES - offset % PAGE_BYTES) / W::BYTES).min(most)
}

struct Movs;
impl StringOp for Movs {
    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = c.load_at::<W>(op.seg, index(c, op, reg::RSI))?;
        c.store_at(es(c), index(c, op, reg::RDI), value)?;
        advance::<W>(c, op, reg::RSI, 1);
        advance::<W>(c, op, reg::RDI, 1);
        charge_bytes(c, Category::Copy, c.profile.copy_page, W::BYTES);
        Ok(())
    }

    fn bulk<W: Word>(c: &mut Core<'_>, op: &Op, most: u64) -> Result<u64, Exception> {
        let (from, to) = (index(c, op, reg::RSI), index(c, op, reg::RDI));
        if !c.cpu.is_plain_64bit() || c.cpu.flags & DF != 0 {
            return Ok(0);
        }
        let source = c.linear(op.seg, from, 1, Access::Read)?;
        let target = c.linear(es(c), to, 1, Access::Write)?;
        let n = in_page::<W>(source.get(), in_page::<W>(target.get(), most));
        let bytes = n * W::BYTES;
        // A target that starts inside the source repeats a pattern: element by element.
        if n < 2 || target.get().wrapping_sub(source.get()) < bytes {
            return Ok(0);
        }
        let source = c.translate(source, Access::Read, c.explicit())?;
        let target = c.translate(target, Access::Write, c.explicit())?;
        // The same frames may be mapped twice: overlap counts where the bytes are.
        if target.get().wrapping_sub(source.get()) < bytes || !c.ram.copy(source, target, bytes) {
            return Ok(0);
        }
        advance::<W>(c, op, reg::RSI, n);
        advance::<W>(c, op, reg::RDI, n);
        charge_bytes(c, Category::Copy, c.profile.copy_page, bytes);
        Ok(n)
    }
}

struct Stos;
impl StringOp for Stos {
    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = W::low(c.cpu.regs[reg::RAX]);
        c.store_at(es(c), index(c, op, reg::RDI), value)?;
        advance::<W>(c, op, reg::RDI, 1);
        charge_bytes(c, Category::Zero, c.profile.zero_page, W::BYTES);
        Ok(())
    }

    fn bulk<W: Word>(c: &mut Core<'_>, op: &Op, most: u64) -> Result<u64, Exception> {
        if !c.cpu.is_plain_64bit() || c.cpu.flags & DF != 0 {
            return Ok(0);
        }
        let target = c.linear(es(c), index(c, op, reg::RDI), 1, Access::Write)?;
        let n = in_page::<W>(target.get(), most);
        if n < 2 {
            return Ok(0);
        }
        let target = c.translate(target, Access::Write, c.explicit())?;
        let pattern = c.cpu.regs[reg::RAX].to_le_bytes();
        let mut page = [0; PAGE_BYTES as usize];
        let bytes = (n * W::BYTES) as usize;
        for element in page[..bytes].chunks_exact_mut(W::BYTES as usize) {
            element.copy_from_slice(&pattern[..W::BYTES as usize]);
        }
        if !c.ram.write_bytes(target, &page[..bytes]) {
            return Ok(0);
        }
        advance::<W>(c, op, reg::RDI, n);
        charge_bytes(c, Category::Zero, c.profile.zero_page, n * W::BYTES);
        Ok(n)
    }
}

struct Lods;
impl StringOp for Lods {
    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = c.load_at::<W>(op.seg, index(c, op, reg::RSI))?;
        W::set_reg(&mut c.cpu.regs, reg::RAX as u8, value);
        advance::<W>(c, op, reg::RSI, 1);
        Ok(())
    }
}

struct Cmps;
impl StringOp for Cmps {
    const COMPARES: bool = true;

    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        let a = c.load_at::<W>(op.seg, index(c, op, reg::RSI))?;
        let b = c.load_at::<W>(es(c), index(c, op, reg::RDI))?;
        flags::sub(a, b, 0, &mut c.cpu.flags);
        advance::<W>(c, op, reg::RSI, 1);
        advance::<W>(c, op, reg::RDI, 1);
        Ok(())
    }
}

struct Scas;
impl StringOp for Scas {
    const COMPARES: bool = true;

    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        let b = c.load_at::<W>(es(c), index(c, op, reg::RDI))?;
        flags::sub(W::low(c.cpu.regs[reg::RAX]), b, 0, &mut c.cpu.flags);
        advance::<W>(c, op, reg::RDI, 1);
        Ok(())
    }
}

fn port(c: &Core<'_>) -> u16 {
    u16::low(c.cpu.regs[reg::RDX])
}

fn port_width<W: Word>() -> Width {
    match <W as Word>::BITS {
        8 => Width::Byte,
        16 => Width::Word,
        _ => Width::Dword,
    }
}

struct Ins;
impl StringOp for Ins {
    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        c.check_port(port(c), W::BYTES)?;
        // The target is checked first: a device read cannot be taken back.
        let place = c.place_rmw_at::<W>(es(c), index(c, op, reg::RDI))?;
        let value = c.port_in(port(c), port_width::<W>());
        c.put(place, W::low(u64::from(value)));
        advance::<W>(c, op, reg::RDI, 1);
        Ok(())
    }
}

struct Outs;
impl StringOp for Outs {
    fn element<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        c.check_port(port(c), W::BYTES)?;
        let value = c.load_at::<W>(op.seg, index(c, op, reg::RSI))?;
        c.port_out(port(c), port_width::<W>(), u32::low(value.zx()));
        advance::<W>(c, op, reg::RSI, 1);
        Ok(())
    }
}
