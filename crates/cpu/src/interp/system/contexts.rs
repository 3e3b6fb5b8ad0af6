//! INVLPG, INVPCID, RDPKRU and WRPKRU: what a processor keeps for each address space, and rights by key.
//!
//! **Spec:** SDM 2 "INVLPG", "INVPCID", "RDPKRU", "WRPKRU"; SDM 3A "Process-Context Identifiers (PCIDs)".

use super::Done;
use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use cost::Category;
use iced_x86::{Instruction, Mnemonic};
use mmu::Invpcid;
use trace::Event;
use x86::fault::Access;
use x86::{Cr4, Pcid, Pkru, VirtAddr};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Invlpg => invlpg,
        Mnemonic::Invpcid => invpcid,
        Mnemonic::Rdpkru => rdpkru,
        Mnemonic::Wrpkru => wrpkru,
        _ => return None,
    })
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

/// INVPCID: type 0 costs what INVLPG costs, the others what MOV to CR3 does.
fn invpcid(c: &mut Core<'_>, op: &Op) -> Done {
    c.need_cpl0()?;
    let raw = c.cpu.regs[usize::from(op.r[0])];
    let kind = if c.cpu.is_64bit() {
        raw
    } else {
        raw & 0xffff_ffff
    };
    if kind > 3 {
        return Err(Exception::Gp(0));
    }
    let descriptor = c.load_128(op)?;
    let what = invpcid_operands(c, kind, descriptor)?;
    let cost = match what {
        Invpcid::Address(..) => c.profile.invlpg,
        _ => c.profile.mov_cr3,
    };
    c.charge(Category::Flush, cost);
    c.cpu.mmu.invpcid(what);
    Ok(())
}

/// Checks the descriptor: PCID in bits 11:0, 0 up to bit 63, linear address above.
fn invpcid_operands(c: &Core<'_>, kind: u64, descriptor: u128) -> Result<Invpcid, Exception> {
    let (low, linear) = (descriptor as u64, (descriptor >> 64) as u64);
    let pcid = Pcid::truncate(low);
    let only_zero = kind < 2 && !c.cpu.cr4().contains(Cr4::PCIDE);
    if low >> 12 != 0 || only_zero && pcid != Pcid::ZERO {
        return Err(Exception::Gp(0));
    }
    Ok(match kind {
        0 if c.cpu.is_64bit() => {
            let va = VirtAddr::new(linear).map_err(|_| Exception::Gp(0))?;
            Invpcid::Address(pcid, va)
        }
        0 => Invpcid::Address(pcid, VirtAddr::from_u32(u32::low(linear))),
        1 => Invpcid::SingleContext(pcid),
        2 => Invpcid::AllContextsAndGlobal,
        _ => Invpcid::AllContexts,
    })
}

/// #UD unless CR4.PKE; #GP(0) unless ECX is 0.
fn check_pkru(c: &Core<'_>) -> Done {
    if !c.cpu.cr4().contains(Cr4::PKE) {
        Err(Exception::Ud)
    } else if u32::low(c.cpu.regs[reg::RCX]) != 0 {
        Err(Exception::Gp(0))
    } else {
        Ok(())
    }
}

fn rdpkru(c: &mut Core<'_>, _: &Op) -> Done {
    check_pkru(c)?;
    c.cpu.regs[reg::RAX] = u64::from(c.cpu.mmu.regs().pkru.0);
    c.cpu.regs[reg::RDX] = 0;
    Ok(())
}

fn wrpkru(c: &mut Core<'_>, _: &Op) -> Done {
    check_pkru(c)?;
    if u32::low(c.cpu.regs[reg::RDX]) != 0 {
        return Err(Exception::Gp(0));
    }
    let value = Pkru(u32::low(c.cpu.regs[reg::RAX]));
    c.cpu.mmu.write_pkru(value);
    Ok(())
}
