//! Questions about descriptors, answered in ZF: LAR, LSL, VERR, VERW, and ARPL.
//!
//! A selector that names nothing this privilege may see is an answer, not an exception.
//!
//! **Spec:** SDM 3A "Pointer Validation"; SDM 2 "LAR", "LSL", "VERR/VERW", "ARPL".

use super::Done;
use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{ZF, put};
use crate::interp::operand::{Mem, Reg, Source, Target, operand_bytes};
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::descriptor::{Descriptor, Selector, system_type};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    let register = |i| instr.op_kind(i) == OpKind::Register;
    Some(match instr.mnemonic() {
        Mnemonic::Lar => ask::<AccessRights>(instr),
        Mnemonic::Lsl => ask::<Limit>(instr),
        Mnemonic::Verr if register(0) => verify::<Reg<0>, Readable>,
        Mnemonic::Verr => verify::<Mem, Readable>,
        Mnemonic::Verw if register(0) => verify::<Reg<0>, Writable>,
        Mnemonic::Verw => verify::<Mem, Writable>,
        Mnemonic::Arpl if register(0) => arpl::<Reg<0>>,
        Mnemonic::Arpl => arpl::<Mem>,
        _ => return None,
    })
}

impl Core<'_> {
    /// The descriptor `selector` names, if it names one and CPL and RPL may see it.
    fn visible_descriptor(&mut self, selector: Selector) -> Result<Option<Descriptor>, Exception> {
        if selector.is_null() || self.descriptor_address(selector, 8).is_err() {
            return Ok(None);
        }
        let desc = self.read_descriptor(selector)?;
        let reachable = desc.dpl() >= self.cpu.cpl && desc.dpl() >= selector.rpl();
        Ok((desc.is_conforming_code() || reachable).then_some(desc))
    }
}

/// What LAR and LSL read from a descriptor.
trait Question {
    /// System descriptors it is answered for.
    fn answers(kind: u8, ia32e: bool) -> bool;
    fn answer(desc: Descriptor) -> u32;
}

struct AccessRights;
impl Question for AccessRights {
    fn answers(kind: u8, ia32e: bool) -> bool {
        Limit::answers(kind, ia32e)
            || kind == system_type::CALL_GATE
            || !ia32e && matches!(kind, system_type::CALL_GATE16 | system_type::TASK_GATE)
    }

    fn answer(desc: Descriptor) -> u32 {
        u32::low(desc.0 >> 32) & 0x00f0_ff00
    }
}

struct Limit;
impl Question for Limit {
    fn answers(kind: u8, ia32e: bool) -> bool {
        use system_type as t;
        matches!(kind, t::LDT | t::TSS_AVAILABLE | t::TSS_BUSY)
            || !ia32e && matches!(kind, t::TSS16_AVAILABLE | t::TSS16_BUSY)
    }

    fn answer(desc: Descriptor) -> u32 {
        desc.limit_bytes()
    }
}

fn ask<Q: Question>(instr: &Instruction) -> Exec {
    fn exec<W: Word, S: Source, Q: Question>(c: &mut Core<'_>, op: &Op) -> Done {
        c.need_protected_mode()?;
        let selector = Selector(S::get::<u16>(c, op)?);
        let ia32e = c.cpu.is_ia32e();
        let known = c
            .visible_descriptor(selector)?
            .filter(|d| d.is_code_or_data() || Q::answers(d.kind(), ia32e));
        put(&mut c.cpu.flags, ZF, known.is_some());
        if let Some(desc) = known {
            let answer = W::low(u64::from(Q::answer(desc)));
            W::set_reg(&mut c.cpu.regs, op.r[0], answer);
        }
        Ok(())
    }
    match (operand_bytes(instr, 0), instr.op1_kind()) {
        (2, OpKind::Register) => exec::<u16, Reg<1>, Q>,
        (4, OpKind::Register) => exec::<u32, Reg<1>, Q>,
        (_, OpKind::Register) => exec::<u64, Reg<1>, Q>,
        (2, _) => exec::<u16, Mem, Q>,
        (4, _) => exec::<u32, Mem, Q>,
        _ => exec::<u64, Mem, Q>,
    }
}

/// What VERR and VERW ask.
trait Permission {
    fn holds(desc: Descriptor) -> bool;
}

struct Readable;
impl Permission for Readable {
    fn holds(desc: Descriptor) -> bool {
        desc.is_readable()
    }
}

struct Writable;
impl Permission for Writable {
    fn holds(desc: Descriptor) -> bool {
        desc.is_writable_data()
    }
}

fn verify<S: Source, P: Permission>(c: &mut Core<'_>, op: &Op) -> Done {
    c.need_protected_mode()?;
    let selector = Selector(S::get::<u16>(c, op)?);
    let allowed = c.visible_descriptor(selector)?.is_some_and(P::holds);
    put(&mut c.cpu.flags, ZF, allowed);
    Ok(())
}

/// ARPL raises the RPL of operand 0 to that of operand 1, if it is lower.
fn arpl<D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
    c.need_protected_mode()?;
    let least = u16::reg(&c.cpu.regs, op.r[1]) & 3;
    D::update::<u16>(c, op, |c, old| {
        let raised = old & 3 < least;
        put(&mut c.cpu.flags, ZF, raised);
        if raised { old & !3 | least } else { old }
    })
}
