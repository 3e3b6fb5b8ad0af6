//! Ports: IN, OUT and the I/O permission map, which string input and output ask, too.
//!
//! **Spec:** SDM 1 "I/O Permission Bit Map"; SDM 2 "IN", "OUT".

use super::Done;
use crate::core::Core;
use crate::exception::Exception;
use crate::interp::operand::operand_bytes;
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use cost::Category;
use iced_x86::{Instruction, Mnemonic, OpKind};
use memory::Width;
use x86::descriptor;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::In => port_in(instr),
        Mnemonic::Out => port_out(instr),
        _ => return None,
    })
}

impl Core<'_> {
    /// I/O permission: CPL ≤ IOPL, or the TSS's bitmap; in virtual-8086 mode the bitmap alone.
    ///
    /// **Spec:** SDM 1 "I/O Permission Bit Map".
    pub(crate) fn check_port(&mut self, port: u16, bytes: u64) -> Done {
        let privileged = self.cpu.cpl <= self.cpu.iopl() && !self.cpu.is_vm86();
        if !self.cpu.is_protected() || privileged {
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
        self.watch_port(port, width.bytes());
        self.bus
            .port_read(self.cpu.id, port, width, self.cpu.ledger.now())
    }

    /// Writes a port; the permission was checked.
    pub(crate) fn port_out(&mut self, port: u16, width: Width, value: u32) {
        self.charge(Category::MmioIrq, self.profile.mmio);
        self.leave = true;
        self.watch_port(port, width.bytes());
        let cr3 = self.cpu.mmu.regs().cr3;
        self.bus
            .port_write(self.cpu.id, port, width, value, cr3, self.cpu.ledger.now());
    }
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
