//! Descriptor tables and the segments of the system: LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR.
//!
//! **Spec:** SDM 3A "Memory-Management Registers"; SDM 2 "LGDT/LIDT", "LLDT", "LTR".

use super::Done;
use crate::core::Core;
use crate::exception::Exception;
use crate::interp::operand::{Mem, Reg, Source, Target, operand_bytes};
use crate::op::{Exec, Op};
use crate::segment::{Segment, TableRegister};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::VirtAddr;
use x86::descriptor::{Selector, system_type};
use x86::fault::Access;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Lgdt => |c, op| load_table(c, op).map(|t| c.cpu.gdtr = t),
        Mnemonic::Lidt => |c, op| load_table(c, op).map(|t| c.cpu.idtr = t),
        Mnemonic::Sgdt => |c, op| store_table(c, op, c.cpu.gdtr),
        Mnemonic::Sidt => |c, op| store_table(c, op, c.cpu.idtr),
        Mnemonic::Lldt => {
            if instr.op0_kind() == OpKind::Register {
                lldt::<Reg<0>>
            } else {
                lldt::<Mem>
            }
        }
        Mnemonic::Ltr => {
            if instr.op0_kind() == OpKind::Register {
                ltr::<Reg<0>>
            } else {
                ltr::<Mem>
            }
        }
        Mnemonic::Sldt => store_selector::<Ldt>(instr),
        Mnemonic::Str => store_selector::<Task>(instr),
        _ => return None,
    })
}

/// LGDT and LIDT: 24 bits of base with 16-bit operands, 64 in 64-bit mode.
fn load_table(c: &mut Core<'_>, op: &Op) -> Result<TableRegister, Exception> {
    c.need_cpl0()?;
    let at = c.ea(op);
    let limit = c.load_at::<u16>(op.seg, at)?;
    let from = at.wrapping_add(2) & op.addr_mask;
    let base = if c.cpu.is_64bit() {
        VirtAddr::new(c.load_at::<u64>(op.seg, from)?)
            .map_err(|_| Exception::Gp(0))?
            .get()
    } else {
        let raw = u64::from(c.load_at::<u32>(op.seg, from)?);
        if op.operand_16 {
            raw & 0x00ff_ffff
        } else {
            raw
        }
    };
    Ok(TableRegister { base, limit })
}

fn store_table(c: &mut Core<'_>, op: &Op, table: TableRegister) -> Done {
    c.check_umip()?;
    let at = c.ea(op);
    let len = if c.cpu.is_64bit() { 10 } else { 6 };
    let va = c.linear(op.seg, at, len, Access::Write)?;
    c.place(va, len, Access::Write, c.explicit())?;
    c.store_at(op.seg, at, table.limit)?;
    let to = at.wrapping_add(2) & op.addr_mask;
    if c.cpu.is_64bit() {
        c.store_at(op.seg, to, table.base)
    } else {
        c.store_at(op.seg, to, u32::low(table.base))
    }
}

/// Reads a system descriptor, 16 bytes of it in IA-32e mode.
fn system_segment(
    c: &mut Core<'_>,
    selector: Selector,
    kinds: &[u8],
) -> Result<Segment, Exception> {
    let error = selector.error_code();
    if selector.is_local() {
        return Err(Exception::Gp(error));
    }
    let wide = c.cpu.is_ia32e();
    let at = c.descriptor_address(selector, if wide { 16 } else { 8 })?;
    let desc = c.read_descriptor(selector)?;
    if desc.is_code_or_data() || !kinds.contains(&desc.kind()) {
        return Err(Exception::Gp(error));
    }
    if !desc.is_present() {
        return Err(Exception::Np(error));
    }
    let mut segment = Segment::from_descriptor(selector, desc);
    if wide {
        let high = c.read_system::<u64>(at.wrapping_add(8))?;
        segment.base |= high << 32;
        VirtAddr::new(segment.base).map_err(|_| Exception::Gp(error))?;
    }
    Ok(segment)
}

fn lldt<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    c.need_protected_mode()?;
    c.need_cpl0()?;
    let selector = Selector(S::get::<u16>(c, op)?);
    c.cpu.ldtr = if selector.is_null() {
        Segment::null(selector)
    } else {
        system_segment(c, selector, &[system_type::LDT])?
    };
    Ok(())
}

/// LTR marks the descriptor busy.
fn ltr<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    const BUSY: u64 = 1 << 41;
    c.need_protected_mode()?;
    c.need_cpl0()?;
    let selector = Selector(S::get::<u16>(c, op)?);
    if selector.is_null() {
        return Err(Exception::Gp(0));
    }
    let kinds: &[u8] = if c.cpu.is_ia32e() {
        &[system_type::TSS_AVAILABLE]
    } else {
        &[1, system_type::TSS_AVAILABLE]
    };
    let segment = system_segment(c, selector, kinds)?;
    let at = c.descriptor_address(selector, 8)?;
    c.write_system(at, segment.desc.0 | BUSY)?;
    c.cpu.tr = segment;
    Ok(())
}

/// Which selector SLDT and STR store.
trait SystemSelector {
    fn get(c: &Core<'_>) -> Selector;
}

struct Ldt;
impl SystemSelector for Ldt {
    fn get(c: &Core<'_>) -> Selector {
        c.cpu.ldtr.selector
    }
}

struct Task;
impl SystemSelector for Task {
    fn get(c: &Core<'_>) -> Selector {
        c.cpu.tr.selector
    }
}

fn store_selector<T: SystemSelector>(instr: &Instruction) -> Exec {
    fn exec<W: Word, D: Target, T: SystemSelector>(c: &mut Core<'_>, op: &Op) -> Done {
        c.need_protected_mode()?;
        c.check_umip()?;
        D::set(c, op, W::low(u64::from(T::get(c).0)))
    }
    match (instr.op0_kind(), operand_bytes(instr, 0)) {
        (OpKind::Memory, _) => exec::<u16, Mem, T>,
        (_, 2) => exec::<u16, Reg<0>, T>,
        (_, 4) => exec::<u32, Reg<0>, T>,
        _ => exec::<u64, Reg<0>, T>,
    }
}
