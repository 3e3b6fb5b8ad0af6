//! System instructions: control and debug registers, descriptor tables, MSRs, CPUID, HLT, ports, TLB, FXSAVE.
//!
//! **Spec:** SDM 3A "System Instruction Summary", "Control Registers".

use super::operand::{Mem, Reg, Source, Target, operand_bytes};
use crate::core::Core;
use crate::cpuid::CR4_SUPPORTED;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::segment::{SegReg, Segment, TableRegister};
use crate::state::{Activity, reg};
use crate::word::Word;
use cost::Category;
use iced_x86::{Instruction, Mnemonic, OpKind};
use memory::Width;
use trace::Event;
use x86::descriptor::{self, Selector, system_type};
use x86::fault::Access;
use x86::{Cr0, Cr4, Efer, Rflags, VirtAddr};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Mov if instr.op0_register().is_cr() => mov_to_cr,
        Mnemonic::Mov if instr.op1_register().is_cr() => mov_from_cr,
        Mnemonic::Mov if instr.op0_register().is_dr() => mov_to_dr,
        Mnemonic::Mov if instr.op1_register().is_dr() => mov_from_dr,
        Mnemonic::Clts => clts,
        Mnemonic::Smsw => smsw(instr),
        Mnemonic::Lmsw => {
            if instr.op0_kind() == OpKind::Register {
                lmsw::<Reg<0>>
            } else {
                lmsw::<Mem>
            }
        }
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
        Mnemonic::Invlpg => invlpg,
        Mnemonic::Wbinvd | Mnemonic::Invd => |c, _| c.need_cpl0(),
        Mnemonic::Rdmsr => rdmsr,
        Mnemonic::Wrmsr => wrmsr,
        Mnemonic::Rdtsc => rdtsc,
        Mnemonic::Rdtscp => rdtscp,
        Mnemonic::Cpuid => |c, _| {
            c.cpuid();
            Ok(())
        },
        Mnemonic::Hlt => hlt,
        Mnemonic::Swapgs => swapgs,
        Mnemonic::Cli => cli,
        Mnemonic::Sti => sti,
        Mnemonic::Clac => |c, _| set_ac(c, false),
        Mnemonic::Stac => |c, _| set_ac(c, true),
        Mnemonic::In => port_in(instr),
        Mnemonic::Out => port_out(instr),
        _ => return None,
    })
}

impl Core<'_> {
    /// #GP(0) unless CPL is 0.
    fn need_cpl0(&self) -> Done {
        if self.cpu.cpl == 0 {
            Ok(())
        } else {
            Err(Exception::Gp(0))
        }
    }

    /// #UD in real mode: LLDT, LTR, SLDT, STR.
    fn need_protected_mode(&self) -> Done {
        if self.cpu.is_protected() {
            Ok(())
        } else {
            Err(Exception::Ud)
        }
    }

    /// SGDT, SIDT, SLDT, STR and SMSW at CPL 3 under CR4.UMIP.
    fn check_umip(&self) -> Done {
        let prevented = self.cpu.cpl > 0 && self.cpu.cr4().contains(Cr4::UMIP);
        if prevented {
            Err(Exception::Gp(0))
        } else {
            Ok(())
        }
    }

    /// Whether a device was accessed: events must be looked at before the next instruction.
    pub(crate) const fn must_leave(&self) -> bool {
        self.leave
    }

    /// I/O permission: CPL ≤ IOPL, or the TSS's bitmap.
    ///
    /// **Spec:** SDM 1 "I/O Permission Bit Map".
    pub(crate) fn check_port(&mut self, port: u16, bytes: u64) -> Done {
        if !self.cpu.is_protected() || self.cpu.cpl <= self.cpu.iopl() {
            return Ok(());
        }
        let limit = u64::from(self.cpu.tr.limit);
        if self.iomap_offset() + 1 > limit {
            return Err(Exception::Gp(0));
        }
        let map = self.read_system::<u16>(self.cpu.tr.base.wrapping_add(self.iomap_offset()))?;
        let at = u64::from(map) + u64::from(port) / 8;
        if at + 1 > limit {
            return Err(Exception::Gp(0));
        }
        let bits = self.read_system::<u16>(self.cpu.tr.base.wrapping_add(at))? >> (port % 8);
        if u64::from(bits) & ((1 << bytes) - 1) == 0 {
            Ok(())
        } else {
            Err(Exception::Gp(0))
        }
    }

    /// Where the TSS holds its I/O map base: the same in both formats.
    const fn iomap_offset(&self) -> u64 {
        descriptor::TSS64_IOMAP_BASE
    }

    /// Reads a port; the permission was checked.
    pub(crate) fn port_in(&mut self, port: u16, width: Width) -> u32 {
        self.charge(Category::MmioIrq, self.profile.mmio);
        self.leave = true;
        self.bus
            .port_read(self.cpu.id, port, width, self.cpu.ledger.now())
    }

    /// Writes a port; the permission was checked.
    pub(crate) fn port_out(&mut self, port: u16, width: Width, value: u32) {
        self.charge(Category::MmioIrq, self.profile.mmio);
        self.leave = true;
        let cr3 = self.cpu.mmu.regs().cr3;
        self.bus
            .port_write(self.cpu.id, port, width, value, cr3, self.cpu.ledger.now());
    }

    /// MOV to CR0 and LMSW.
    ///
    /// **Spec:** SDM 3A "Control Registers"; SDM 3A "Initializing IA-32e Mode".
    fn write_cr0(&mut self, raw: u64) -> Done {
        if raw >> 32 != 0 {
            return Err(Exception::Gp(0));
        }
        let new = Cr0::from_bits_truncate(raw) | Cr0::ET;
        let old = self.cpu.cr0();
        let contradiction = new.contains(Cr0::PG) && !new.contains(Cr0::PE)
            || new.contains(Cr0::NW) && !new.contains(Cr0::CD);
        if contradiction {
            return Err(Exception::Gp(0));
        }
        let efer = self.cpu.efer();
        if new.contains(Cr0::PG) && !old.contains(Cr0::PG) {
            if efer.contains(Efer::LME) {
                if !self.cpu.cr4().contains(Cr4::PAE) || self.cpu.seg(SegReg::Cs).desc.is_long() {
                    return Err(Exception::Gp(0));
                }
                self.cpu.mmu.write_efer(efer | Efer::LMA);
            }
        } else if old.contains(Cr0::PG) && !new.contains(Cr0::PG) {
            if self.cpu.is_64bit() {
                return Err(Exception::Gp(0));
            }
            self.cpu.mmu.write_efer(efer - Efer::LMA);
        }
        self.cpu.mmu.write_cr0(new);
        self.cpu.update_code_size();
        Ok(())
    }

    fn write_cr3(&mut self, value: u64) -> Done {
        if self.cpu.is_ia32e() && value >> crate::MAXPHYADDR != 0 {
            return Err(Exception::Gp(0));
        }
        self.charge(Category::Flush, self.profile.mov_cr3);
        self.cpu.mmu.write_cr3(value);
        let event = Event::Cr3 { value };
        self.tracer
            .emit(self.cpu.ledger.now().cycles(), self.cpu.source(), event);
        Ok(())
    }

    fn write_cr4(&mut self, raw: u64) -> Done {
        let new = Cr4::from_bits(raw)
            .filter(|v| CR4_SUPPORTED.contains(*v))
            .ok_or(Exception::Gp(0))?;
        if self.cpu.is_ia32e() && !new.contains(Cr4::PAE) {
            return Err(Exception::Gp(0));
        }
        self.cpu.mmu.write_cr4(new);
        Ok(())
    }
}

/// Operand width of control-register moves: 64 bits in 64-bit mode, else 32.
fn cr_operand(c: &Core<'_>, value: u64) -> u64 {
    if c.cpu.is_64bit() {
        value
    } else {
        value & 0xffff_ffff
    }
}

/// #UD, at any privilege, for numbers that name no register.
fn check_control_register(number: u8) -> Done {
    if matches!(number, 0 | 2 | 3 | 4 | 8) {
        Ok(())
    } else {
        Err(Exception::Ud)
    }
}

fn mov_to_cr(c: &mut Core<'_>, op: &Op) -> Done {
    check_control_register(op.r[0])?;
    c.need_cpl0()?;
    let value = cr_operand(c, c.cpu.regs[usize::from(op.r[1])]);
    match op.r[0] {
        0 => c.write_cr0(value),
        2 => {
            c.cpu.cr2 = value;
            Ok(())
        }
        3 => c.write_cr3(value),
        4 => c.write_cr4(value),
        8 if value <= 15 => {
            c.bus.set_task_priority(c.cpu.id, value as u8);
            c.leave = true;
            Ok(())
        }
        8 => Err(Exception::Gp(0)),
        _ => Err(Exception::Ud),
    }
}

fn mov_from_cr(c: &mut Core<'_>, op: &Op) -> Done {
    check_control_register(op.r[1])?;
    c.need_cpl0()?;
    let value = match op.r[1] {
        0 => c.cpu.cr0().bits(),
        2 => c.cpu.cr2,
        3 => c.cpu.mmu.regs().cr3,
        4 => c.cpu.cr4().bits(),
        8 => u64::from(c.bus.task_priority(c.cpu.id)),
        _ => return Err(Exception::Ud),
    };
    c.cpu.regs[usize::from(op.r[0])] = cr_operand(c, value);
    Ok(())
}

/// DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them #UD.
fn debug_register(c: &Core<'_>, number: u8) -> Result<usize, Exception> {
    match number {
        4 | 5 if c.cpu.cr4().contains(Cr4::DE) => Err(Exception::Ud),
        4 | 5 => Ok(usize::from(number) + 2),
        n if n < 8 => Ok(usize::from(n)),
        _ => Err(Exception::Ud),
    }
}

// DEPARTS: debug registers hold values, but no breakpoint of DR7 fires yet.
fn mov_to_dr(c: &mut Core<'_>, op: &Op) -> Done {
    let number = debug_register(c, op.r[0])?;
    c.need_cpl0()?;
    let value = cr_operand(c, c.cpu.regs[usize::from(op.r[1])]);
    if number >= 6 && value >> 32 != 0 {
        return Err(Exception::Gp(0));
    }
    c.cpu.dr[number] = match number {
        6 => value & 0xe00f | 0xffff_0ff0,
        7 => value & 0xffff_23ff | 0x400,
        _ => value,
    };
    Ok(())
}

fn mov_from_dr(c: &mut Core<'_>, op: &Op) -> Done {
    let number = debug_register(c, op.r[1])?;
    c.need_cpl0()?;
    c.cpu.regs[usize::from(op.r[0])] = cr_operand(c, c.cpu.dr[number]);
    Ok(())
}

fn clts(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    let cr0 = c.cpu.cr0() - Cr0::TS;
    c.cpu.mmu.write_cr0(cr0);
    Ok(())
}

fn smsw(instr: &Instruction) -> Exec {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        c.check_umip()?;
        D::set(c, op, W::low(c.cpu.cr0().bits()))
    }
    match (instr.op0_kind(), operand_bytes(instr, 0)) {
        (OpKind::Memory, _) => exec::<u16, Mem>,
        (_, 2) => exec::<u16, Reg<0>>,
        (_, 4) => exec::<u32, Reg<0>>,
        _ => exec::<u64, Reg<0>>,
    }
}

/// LMSW changes PE, MP, EM and TS, and cannot clear PE.
fn lmsw<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    c.need_cpl0()?;
    let value = u64::from(S::get::<u16>(c, op)?) & 0xf;
    let old = c.cpu.cr0().bits();
    c.write_cr0(old & !0xe | value)
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

/// INVLPG of a non-canonical address does nothing.
fn invlpg(c: &mut Core<'_>, op: &Op) -> Done {
    c.need_cpl0()?;
    c.charge(Category::Flush, c.profile.invlpg);
    let offset = c.ea(op);
    let Ok(va) = c.linear(op.seg, offset, 1, Access::Read) else {
        return Ok(());
    };
    c.cpu.mmu.invlpg(va);
    c.tracer.emit(
        c.cpu.ledger.now().cycles(),
        c.cpu.source(),
        Event::Invlpg { va },
    );
    Ok(())
}

fn set_pair(c: &mut Core<'_>, value: u64) {
    c.cpu.regs[reg::RAX] = value & 0xffff_ffff;
    c.cpu.regs[reg::RDX] = value >> 32;
}

fn rdmsr(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    let number = u32::low(c.cpu.regs[reg::RCX]);
    let value = c.read_msr(number)?;
    set_pair(c, value);
    Ok(())
}

fn wrmsr(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    let value = c.cpu.regs[reg::RDX] << 32 | c.cpu.regs[reg::RAX] & 0xffff_ffff;
    c.write_msr(u32::low(c.cpu.regs[reg::RCX]), value)
}

fn check_tsd(c: &Core<'_>) -> Done {
    let refused = c.cpu.cr4().contains(Cr4::TSD) && c.cpu.cpl > 0;
    if refused {
        Err(Exception::Gp(0))
    } else {
        Ok(())
    }
}

fn rdtsc(c: &mut Core<'_>, _: &Op) -> Done {
    check_tsd(c)?;
    let value = c.tsc();
    set_pair(c, value);
    Ok(())
}

fn rdtscp(c: &mut Core<'_>, op: &Op) -> Done {
    rdtsc(c, op)?;
    c.cpu.regs[reg::RCX] = c.cpu.msr.tsc_aux & 0xffff_ffff;
    Ok(())
}

fn hlt(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    c.cpu.activity = Activity::Halted;
    c.settle();
    c.tracer
        .emit(c.cpu.ledger.now().cycles(), c.cpu.source(), Event::Halt);
    Ok(())
}

fn swapgs(c: &mut Core<'_>, _: &Op) -> Done {
    if !c.cpu.is_64bit() {
        return Err(Exception::Ud);
    }
    c.need_cpl0()?;
    let old = c.cpu.seg(SegReg::Gs).base;
    let new = std::mem::replace(&mut c.cpu.msr.kernel_gs_base, old);
    c.cpu.set_segment_base(SegReg::Gs, new);
    Ok(())
}

/// CLI and STI need CPL ≤ IOPL in protected mode.
fn check_iopl(c: &Core<'_>) -> Done {
    if c.cpu.is_protected() && c.cpu.cpl > c.cpu.iopl() {
        Err(Exception::Gp(0))
    } else {
        Ok(())
    }
}

fn cli(c: &mut Core<'_>, _: &Op) -> Done {
    check_iopl(c)?;
    c.cpu.flags &= !Rflags::IF.bits();
    Ok(())
}

/// STI holds interrupts off until after the next instruction, if IF was clear.
fn sti(c: &mut Core<'_>, _: &Op) -> Done {
    check_iopl(c)?;
    c.cpu.interrupt_shadow = c.cpu.flags & Rflags::IF.bits() == 0;
    c.cpu.flags |= Rflags::IF.bits();
    Ok(())
}

fn set_ac(c: &mut Core<'_>, on: bool) -> Done {
    if c.cpu.cpl != 0 {
        return Err(Exception::Ud);
    }
    crate::flags::put(&mut c.cpu.flags, Rflags::AC.bits(), on);
    Ok(())
}

fn port_width(bytes: usize) -> Width {
    match bytes {
        1 => Width::Byte,
        2 => Width::Word,
        _ => Width::Dword,
    }
}

/// The port: DX, or the immediate byte.
fn port_number<const BY_DX: bool>(c: &Core<'_>, op: &Op) -> u16 {
    if BY_DX {
        u16::low(c.cpu.regs[reg::RDX])
    } else {
        u16::low(op.imm & 0xff)
    }
}

fn input<W: Word, const BY_DX: bool>(c: &mut Core<'_>, op: &Op) -> Done {
    let port = port_number::<BY_DX>(c, op);
    c.check_port(port, W::BYTES)?;
    let value = c.port_in(port, port_width(W::BYTES as usize));
    W::set_reg(&mut c.cpu.regs, reg::RAX as u8, W::low(u64::from(value)));
    Ok(())
}

fn port_in(instr: &Instruction) -> Exec {
    match (operand_bytes(instr, 0), instr.op1_kind()) {
        (1, OpKind::Register) => input::<u8, true>,
        (2, OpKind::Register) => input::<u16, true>,
        (_, OpKind::Register) => input::<u32, true>,
        (1, _) => input::<u8, false>,
        (2, _) => input::<u16, false>,
        _ => input::<u32, false>,
    }
}

fn output<W: Word, const BY_DX: bool>(c: &mut Core<'_>, op: &Op) -> Done {
    let port = port_number::<BY_DX>(c, op);
    c.check_port(port, W::BYTES)?;
    let value = W::low(c.cpu.regs[reg::RAX]).zx();
    c.port_out(port, port_width(W::BYTES as usize), u32::low(value));
    Ok(())
}

fn port_out(instr: &Instruction) -> Exec {
    match (operand_bytes(instr, 1), instr.op0_kind()) {
        (1, OpKind::Register) => output::<u8, true>,
        (2, OpKind::Register) => output::<u16, true>,
        (_, OpKind::Register) => output::<u32, true>,
        (1, _) => output::<u8, false>,
        (2, _) => output::<u16, false>,
        _ => output::<u32, false>,
    }
}
