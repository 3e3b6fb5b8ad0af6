//! 32-bit protected mode with rings, without paging: what the bench adds for it.
//!
//! GDT, IDT and TSS lie where the 64-bit bench has them; every gate leads to a HLT of its vector.

use super::{Asm, Bench, assemble, at};
use cpu::{Activity, TableRegister};
use iced_x86::code_asm::{CodeAssembler, ax, ds, es, fs, gs, ss};

/// Selectors of the GDT here.
pub(crate) mod sel {
    pub(crate) const CODE: u16 = 0x08;
    pub(crate) const DATA: u16 = 0x10;
    pub(crate) const USER_CODE: u16 = 0x18 | 3;
    pub(crate) const USER_DATA: u16 = 0x20 | 3;
    pub(crate) const TSS: u16 = 0x28;
    pub(crate) const CONFORMING: u16 = 0x30;
    /// Filled in by tests.
    pub(crate) const FREE: u16 = 0x38;
    pub(crate) const FREE2: u16 = 0x40;
    pub(crate) const CODE16: u16 = 0x48;
}

const GDT: [u64; 10] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x0000_8900_3000_0000 | 0x88,
    0x00cf_9f00_0000_ffff,
    0,
    0,
    0x0000_9b00_0000_ffff,
];

pub(crate) const USER: u64 = 0x30_0000;
pub(crate) const USER_STACK: u64 = 0x31_0000;
pub(crate) const TASK: u64 = 0x32_0000;

/// A descriptor of 8 bytes for a gate of protected mode; `kind` has P and DPL above the type.
pub(crate) const fn gate(kind: u8, selector: u16, offset: u64, parameters: u64) -> u64 {
    (offset & 0xffff)
        | (selector as u64) << 16
        | parameters << 32
        | (kind as u64) << 40
        | (offset >> 16) << 48
}

/// A descriptor of a system segment; `kind` as for [`gate`].
pub(crate) const fn system(kind: u8, base: u64, limit: u64) -> u64 {
    limit | (base & 0xff_ffff) << 16 | (kind as u64) << 40 | (base >> 24) << 56
}

/// The bench in 32-bit protected mode at CPL 0 with TR loaded.
pub(crate) fn protected() -> Bench {
    let mut bench = Bench::protected();
    for (i, entry) in (0..).zip(GDT) {
        bench.poke(at::GDT + 8 * i, entry);
    }
    for vector in 0..=255 {
        bench.poke(handler(vector), 0xf4_u8);
        set_gate(&bench, vector, gate(0x8e, sel::CODE, handler(vector), 0));
    }
    bench.poke(at::TSS + 4, at::RSP0 as u32);
    bench.poke(at::TSS + 8, u32::from(sel::DATA));
    bench.poke(at::TSS + 102, 0x68_u16);
    bench.load(at::TSS + 0x68, &[0xff; 33]);
    bench.cpu.gdtr = TableRegister {
        base: at::GDT,
        limit: 8 * GDT.len() as u16 - 1,
    };
    bench.cpu.idtr = TableRegister {
        base: at::IDT,
        limit: 0x7ff,
    };
    bench.exec(|a| {
        a.mov(ax, i32::from(sel::DATA))?;
        a.mov(ds, ax)?;
        a.mov(es, ax)?;
        a.mov(fs, ax)?;
        a.mov(gs, ax)?;
        a.mov(ss, ax)?;
        a.mov(ax, i32::from(sel::TSS))?;
        a.ltr(ax)
    });
    bench
}

pub(crate) const fn handler(vector: u8) -> u64 {
    at::HANDLERS + 16 * vector as u64
}

pub(crate) fn set_gate(bench: &Bench, vector: u8, gate: u64) {
    bench.poke(at::IDT + 8 * u64::from(vector), gate);
}

pub(crate) fn set_descriptor(bench: &Bench, selector: u16, descriptor: u64) {
    bench.poke(at::GDT + u64::from(selector & !7), descriptor);
}

/// Runs `f` at CPL 3 by IRETD with `flags`.
pub(crate) fn user(
    bench: &mut Bench,
    flags: u32,
    f: impl FnOnce(&mut CodeAssembler) -> Asm,
) -> &mut Bench {
    bench.load(USER, &assemble(32, USER, f));
    bench.code(|a| {
        a.push(u32::from(sel::USER_DATA))?;
        a.push(USER_STACK as u32)?;
        a.push(flags | 2)?;
        a.push(u32::from(sel::USER_CODE))?;
        a.push(USER as u32)?;
        a.iretd()
    });
    bench.cpu.activity = Activity::Running;
    bench.run()
}

/// The vector in whose handler the processor halted.
pub(crate) fn vector(bench: &Bench) -> u64 {
    let at = bench.cpu.rip().wrapping_sub(at::HANDLERS + 1);
    assert!(
        at < 4096 && at.is_multiple_of(16),
        "halted at {:#x}",
        bench.cpu.rip()
    );
    at / 16
}

/// `N` doublewords from ESP on.
pub(crate) fn stack<const N: usize>(bench: &Bench) -> [u32; N] {
    let esp = bench.cpu.regs[cpu::reg::RSP];
    std::array::from_fn(|i| bench.peek(esp + 4 * i as u64))
}
