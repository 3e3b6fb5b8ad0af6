//! Sign extension of the accumulator: CBW to CQO.

use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Cbw => widen::<u8, u16>,
        Mnemonic::Cwde => widen::<u16, u32>,
        Mnemonic::Cdqe => widen::<u32, u64>,
        Mnemonic::Cwd => spread::<u16>,
        Mnemonic::Cdq => spread::<u32>,
        Mnemonic::Cqo => spread::<u64>,
        _ => return None,
    })
}

/// Sign-extends the accumulator from `N` to `W`.
fn widen<N: Word, W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    let value = N::low(c.cpu.regs[reg::RAX]).sx();
    W::set_reg(&mut c.cpu.regs, reg::RAX as u8, W::low(value));
    Ok(())
}

/// Fills DX, EDX or RDX with the accumulator's sign.
fn spread<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    let sign = if W::low(c.cpu.regs[reg::RAX]).sign() {
        u64::MAX
    } else {
        0
    };
    W::set_reg(&mut c.cpu.regs, reg::RDX as u8, W::low(sign));
    Ok(())
}
