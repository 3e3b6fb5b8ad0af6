//! Moving data: MOV, MOVZX, LEA, PUSH, POP, XCHG, CMOVcc, BSWAP, MOVBE, LAHF, SAHF, XLAT, flags on the stack.

use super::operand::{Binary, Imm, Mem, Reg, Source, Target, binary, operand_bytes};
use crate::core::Core;
use crate::exception::Exception;
use crate::flags;
use crate::op::{Exec, Op};
use crate::segment::SegReg;
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::Rflags;
use x86::descriptor::Selector;

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    if instr.condition_code() != iced_x86::ConditionCode::None
        && matches!(instr.op0_kind(), OpKind::Register)
        && operand_bytes(instr, 0) > 1
    {
        return cmov(instr);
    }
    match instr.mnemonic() {
        Mnemonic::Mov => mov(instr),
        Mnemonic::Movzx => extend(instr, false),
        Mnemonic::Movsx | Mnemonic::Movsxd => extend(instr, true),
        Mnemonic::Lea => lea(instr),
        Mnemonic::Push => push(instr),
        Mnemonic::Pop => pop(instr),
        Mnemonic::Pusha => Some(pusha::<u16>),
        Mnemonic::Pushad => Some(pusha::<u32>),
        Mnemonic::Popa => Some(popa::<u16>),
        Mnemonic::Popad => Some(popa::<u32>),
        Mnemonic::Xchg => binary::<Xchg>(instr),
        Mnemonic::Bswap => Some(if operand_bytes(instr, 0) == 8 {
            bswap64
        } else {
            bswap32
        }),
        Mnemonic::Movbe => binary::<Movbe>(instr),
        Mnemonic::Pushf => Some(pushf::<u16>),
        Mnemonic::Pushfd => Some(pushf::<u32>),
        Mnemonic::Pushfq => Some(pushf::<u64>),
        Mnemonic::Popf => Some(popf::<u16>),
        Mnemonic::Popfd => Some(popf::<u32>),
        Mnemonic::Popfq => Some(popf::<u64>),
        Mnemonic::Lahf => Some(lahf),
        Mnemonic::Sahf => Some(sahf),
        Mnemonic::Xlatb => Some(xlat),
        _ => None,
    }
}

struct Mov;
impl Binary for Mov {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = S::get::<W>(c, op)?;
        D::set(c, op, value)
    }
}

fn mov(instr: &Instruction) -> Option<Exec> {
    let (to, from) = (instr.op0_register(), instr.op1_register());
    if to.is_segment_register() {
        return Some(match instr.op1_kind() {
            OpKind::Register => mov_to_segment::<Reg<1>>,
            _ => mov_to_segment::<Mem>,
        });
    }
    if from.is_segment_register() {
        return Some(match (instr.op0_kind(), to.size()) {
            (OpKind::Memory, _) => mov_from_segment::<u16, Mem>,
            (_, 2) => mov_from_segment::<u16, Reg<0>>,
            (_, 4) => mov_from_segment::<u32, Reg<0>>,
            _ => mov_from_segment::<u64, Reg<0>>,
        });
    }
    // Control and debug registers belong to `system`.
    if [to, from]
        .into_iter()
        .any(|r| r.is_cr() || r.is_dr() || r.is_tr())
    {
        return None;
    }
    binary::<Mov>(instr)
}

fn mov_to_segment<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    let which = SegReg::from_number(op.r[0])
        .filter(|r| *r != SegReg::Cs)
        .ok_or(Exception::Ud)?;
    let selector = S::get::<u16>(c, op)?;
    c.load_data_segment(which, Selector(selector))?;
    if which == SegReg::Ss {
        c.cpu.shadow_stack_load();
    }
    Ok(())
}

fn mov_from_segment<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
    let which = SegReg::from_number(op.r[1]).ok_or(Exception::Ud)?;
    let selector = c.cpu.seg(which).selector.0;
    D::set(c, op, W::low(u64::from(selector)))
}

fn extend(instr: &Instruction, signed: bool) -> Option<Exec> {
    Some(match (operand_bytes(instr, 0), signed) {
        (2, false) => extend_from::<u16, Zero>(instr)?,
        (4, false) => extend_from::<u32, Zero>(instr)?,
        (_, false) => extend_from::<u64, Zero>(instr)?,
        (2, true) => extend_from::<u16, Sign>(instr)?,
        (4, true) => extend_from::<u32, Sign>(instr)?,
        (_, true) => extend_from::<u64, Sign>(instr)?,
    })
}

fn extend_from<W: Word, E: Extension>(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op1_kind(), operand_bytes(instr, 1)) {
        (OpKind::Register, 1) => extended::<W, u8, Reg<1>, E>,
        (OpKind::Register, 2) => extended::<W, u16, Reg<1>, E>,
        (OpKind::Register, 4) => extended::<W, u32, Reg<1>, E>,
        (OpKind::Memory, 1) => extended::<W, u8, Mem, E>,
        (OpKind::Memory, 2) => extended::<W, u16, Mem, E>,
        (OpKind::Memory, 4) => extended::<W, u32, Mem, E>,
        _ => return None,
    })
}

trait Extension {
    fn extend<N: Word>(value: N) -> u64;
}

struct Zero;
impl Extension for Zero {
    fn extend<N: Word>(value: N) -> u64 {
        value.zx()
    }
}

struct Sign;
impl Extension for Sign {
    fn extend<N: Word>(value: N) -> u64 {
        value.sx()
    }
}

fn extended<W: Word, N: Word, S: Source, E: Extension>(c: &mut Core<'_>, op: &Op) -> Done {
    let value = S::get::<N>(c, op)?;
    Reg::<0>::set(c, op, W::low(E::extend(value)))
}

fn lea(instr: &Instruction) -> Option<Exec> {
    fn exec<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        let ea = c.ea(op);
        Reg::<0>::set(c, op, W::low(ea))
    }
    Some(match operand_bytes(instr, 0) {
        2 => exec::<u16>,
        4 => exec::<u32>,
        _ => exec::<u64>,
    })
}

fn push_of<W: Word, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    let value = S::get::<W>(c, op)?;
    c.push(value)
}

fn push_segment<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let which = SegReg::from_number(op.r[0]).ok_or(Exception::Ud)?;
    let selector = c.cpu.seg(which).selector.0;
    c.push(W::low(u64::from(selector)))
}

/// Bytes PUSH and POP move RSP by.
fn stack_bytes(instr: &Instruction) -> i32 {
    instr.stack_pointer_increment().abs()
}

fn push(instr: &Instruction) -> Option<Exec> {
    let segment = instr.op0_register().is_segment_register();
    Some(match (instr.op0_kind(), segment, stack_bytes(instr)) {
        (_, true, 2) => push_segment::<u16>,
        (_, true, 4) => push_segment::<u32>,
        (_, true, _) => push_segment::<u64>,
        (OpKind::Register, _, 2) => push_of::<u16, Reg<0>>,
        (OpKind::Register, _, 4) => push_of::<u32, Reg<0>>,
        (OpKind::Register, ..) => push_of::<u64, Reg<0>>,
        (OpKind::Memory, _, 2) => push_of::<u16, Mem>,
        (OpKind::Memory, _, 4) => push_of::<u32, Mem>,
        (OpKind::Memory, ..) => push_of::<u64, Mem>,
        (_, _, 2) => push_of::<u16, Imm>,
        (_, _, 4) => push_of::<u32, Imm>,
        _ => push_of::<u64, Imm>,
    })
}

fn pop_reg<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let value = c.pop::<W>()?;
    Reg::<0>::set(c, op, value)
}

/// POP to memory: RSP moves before the address is computed, and back if the write faults.
fn pop_mem<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let old = c.cpu.regs[reg::RSP];
    let value = c.pop::<W>()?;
    let result = c.store(op, value);
    if result.is_err() {
        c.cpu.regs[reg::RSP] = old;
    }
    result
}

fn pop_segment<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let which = SegReg::from_number(op.r[0])
        .filter(|r| *r != SegReg::Cs)
        .ok_or(Exception::Ud)?;
    let old = c.cpu.regs[reg::RSP];
    let selector = (c.pop::<W>()?.zx() & 0xffff) as u16;
    let result = c.load_data_segment(which, Selector(selector));
    if result.is_err() {
        c.cpu.regs[reg::RSP] = old;
    } else if which == SegReg::Ss {
        c.cpu.shadow_stack_load();
    }
    result
}

fn pop(instr: &Instruction) -> Option<Exec> {
    let segment = instr.op0_register().is_segment_register();
    Some(match (instr.op0_kind(), segment, stack_bytes(instr)) {
        (_, true, 2) => pop_segment::<u16>,
        (_, true, 4) => pop_segment::<u32>,
        (_, true, _) => pop_segment::<u64>,
        (OpKind::Register, _, 2) => pop_reg::<u16>,
        (OpKind::Register, _, 4) => pop_reg::<u32>,
        (OpKind::Register, ..) => pop_reg::<u64>,
        (_, _, 2) => pop_mem::<u16>,
        (_, _, 4) => pop_mem::<u32>,
        _ => pop_mem::<u64>,
    })
}

fn pusha<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    let old = c.cpu.regs[reg::RSP];
    for number in 0..8 {
        let value = if number == reg::RSP {
            old
        } else {
            c.cpu.regs[number]
        };
        if let Err(e) = c.push(W::low(value)) {
            c.cpu.regs[reg::RSP] = old;
            return Err(e);
        }
    }
    Ok(())
}

fn popa<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    let old = c.cpu.regs[reg::RSP];
    let mut values = [W::low(0); 8];
    for value in values.iter_mut().rev() {
        *value = c.pop().inspect_err(|_| c.cpu.regs[reg::RSP] = old)?;
    }
    for (number, value) in (0..)
        .zip(values)
        .filter(|(n, _)| usize::from(*n) != reg::RSP)
    {
        W::set_reg(&mut c.cpu.regs, number, value);
    }
    Ok(())
}

struct Xchg;
impl Binary for Xchg {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        // The register is operand 1 in every encoding but `XCHG r, m`, which iced-x86 spells `XCHG m, r`.
        let b = S::get::<W>(c, op)?;
        D::update::<W>(c, op, |c, a| {
            W::set_reg(&mut c.cpu.regs, op.r[1], a);
            b
        })
    }
}

fn bswap32(c: &mut Core<'_>, op: &Op) -> Done {
    Reg::<0>::update::<u32>(c, op, |_, v| v.swap_bytes())
}

fn bswap64(c: &mut Core<'_>, op: &Op) -> Done {
    Reg::<0>::update::<u64>(c, op, |_, v| v.swap_bytes())
}

struct Movbe;
impl Binary for Movbe {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = S::get::<W>(c, op)?;
        D::set(c, op, W::low(value.zx().swap_bytes() >> (64 - W::BITS)))
    }
}

/// CMOVcc: the source is read in any case, and a 32-bit target is zero-extended in any case.
fn cmov(instr: &Instruction) -> Option<Exec> {
    let code = condition_number(instr)?;
    macro_rules! by_condition {
        ($($n:literal)*) => { match code { $($n => binary::<Cmov<$n>>(instr),)* _ => None } };
    }
    if !matches!(instr.mnemonic(), m if is_cmov(m)) {
        return None;
    }
    by_condition!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
}

const fn is_cmov(m: Mnemonic) -> bool {
    matches!(
        m,
        Mnemonic::Cmovo
            | Mnemonic::Cmovno
            | Mnemonic::Cmovb
            | Mnemonic::Cmovae
            | Mnemonic::Cmove
            | Mnemonic::Cmovne
            | Mnemonic::Cmovbe
            | Mnemonic::Cmova
            | Mnemonic::Cmovs
            | Mnemonic::Cmovns
            | Mnemonic::Cmovp
            | Mnemonic::Cmovnp
            | Mnemonic::Cmovl
            | Mnemonic::Cmovge
            | Mnemonic::Cmovle
            | Mnemonic::Cmovg
    )
}

/// The condition in the encoding's order: iced-x86 numbers them alike, from 1.
pub(super) fn condition_number(instr: &Instruction) -> Option<u8> {
    (instr.condition_code() as u8).checked_sub(1)
}

struct Cmov<const CODE: u8>;
impl<const CODE: u8> Binary for Cmov<CODE> {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = S::get::<W>(c, op)?;
        let old = D::get::<W>(c, op)?;
        let taken = flags::condition(c.cpu.flags, CODE);
        D::set(c, op, if taken { value } else { old })
    }
}

/// PUSHF and POPF in virtual-8086 mode need IOPL 3, so that its monitor can keep IF.
fn check_vm86(c: &Core<'_>) -> Done {
    if c.cpu.is_vm86() && c.cpu.iopl() < 3 {
        Err(Exception::Gp(0))
    } else {
        Ok(())
    }
}

fn pushf<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    check_vm86(c)?;
    let image = c.cpu.flags & !(Rflags::RF | Rflags::VM).bits();
    c.push(W::low(image))
}

/// POPF: IOPL only at CPL 0, IF only at CPL ≤ IOPL, VM and VIP/VIF never.
fn popf<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    check_vm86(c)?;
    let image = c.pop::<W>()?.zx();
    c.load_flags(image, W::BITS);
    Ok(())
}

impl Core<'_> {
    /// Replaces the flags that POPF and IRET may change at this privilege; 16-bit
    /// images leave the upper half.
    ///
    /// RF is left to [`Core::load_resume_flag`]: POPF clears it.
    pub(crate) fn load_flags(&mut self, image: u64, bits: u32) {
        let mut writable =
            Rflags::STATUS | Rflags::TF | Rflags::DF | Rflags::NT | Rflags::AC | Rflags::ID;
        if self.cpu.cpl == 0 {
            writable |= Rflags::IOPL_LOW | Rflags::IOPL_HIGH;
        }
        if self.cpu.cpl <= self.cpu.iopl() {
            writable |= Rflags::IF;
        }
        let mut mask = writable.bits();
        if bits == 16 {
            mask &= 0xffff;
        }
        self.cpu.flags = (self.cpu.flags & !mask) | (image & mask) | Rflags::ALWAYS_1.bits();
    }

    /// RF, which IRET alone sets: the next instruction meets no instruction breakpoint.
    pub(crate) fn load_resume_flag(&mut self, image: u64, bits: u32) {
        if bits != 16 {
            flags::put(
                &mut self.cpu.flags,
                Rflags::RF.bits(),
                image & Rflags::RF.bits() != 0,
            );
        }
    }
}

fn lahf(c: &mut Core<'_>, _: &Op) -> Done {
    let image = (c.cpu.flags & 0xd5) | 2;
    u8::set_reg(&mut c.cpu.regs, 16, u8::low(image));
    Ok(())
}

fn sahf(c: &mut Core<'_>, _: &Op) -> Done {
    let image = u8::reg(&c.cpu.regs, 16).zx() & 0xd5;
    c.cpu.flags = (c.cpu.flags & !0xd5) | image;
    Ok(())
}

fn xlat(c: &mut Core<'_>, op: &Op) -> Done {
    let index = c.cpu.regs[reg::RAX] & 0xff;
    let offset = c.cpu.regs[reg::RBX].wrapping_add(index) & op.addr_mask;
    let value = c.load_at::<u8>(op.seg, offset)?;
    u8::set_reg(&mut c.cpu.regs, reg::RAX as u8, value);
    Ok(())
}
