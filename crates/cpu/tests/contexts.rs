//! Paging as instructions set it up: 32-bit and PAE tables, PCIDs, INVPCID, protection keys.
//!
//! What the MMU makes of them is tested in its own crate; here it is that the processor hands it
//! the right values, and refuses the wrong ones before anything has changed.

#![expect(
    clippy::cast_possible_truncation,
    reason = "addresses and register values of 32-bit code"
)]

mod common;

use common::{Asm, Bench, GDT, at, first_faults, guarded, sel, user_faults};
use cpu::reg;
use iced_x86::code_asm::*;
use x86::{Bits, Cr0, Cr4, PfErrorCode};

const GP: u8 = 13;
const UD: u8 = 6;
const PF: u8 = 14;
/// A page no other use is made of.
const PAGE: u64 = 0x6000_0000;
const RW: u32 = 3;
const PS: u32 = 1 << 7;

/// 32-bit protected mode with paging off and an IDT whose handlers halt.
fn protected() -> Bench {
    let mut bench = Bench::protected();
    for (i, entry) in (0..).zip(GDT) {
        bench.poke(at::GDT + 8 * i, entry);
    }
    for vector in 0..32 {
        let handler = at::HANDLERS + 16 * vector;
        bench.poke(handler, 0xf4_u8);
        bench.poke(
            at::IDT + 8 * vector,
            handler as u32 | u32::from(sel::CODE32) << 16,
        );
        bench.poke(at::IDT + 8 * vector + 4, 0x8e00_u32);
    }
    bench.poke(at::DATA, 8 * GDT.len() as u16 - 1);
    bench.poke(at::DATA + 2, at::GDT as u32);
    bench.poke(at::DATA + 16, 8 * 32 - 1_u16);
    bench.poke(at::DATA + 18, at::IDT as u32);
    bench.exec(|a| {
        a.lgdt(ptr(at::DATA))?;
        a.lidt(ptr(at::DATA + 16))
    });
    bench
}

/// Sets CR4 to `value` and CR3 to [`at::FRAMES`], then CR0.PG.
fn turn_on_paging(a: &mut CodeAssembler, value: Cr4) -> Asm {
    a.mov(eax, value.bits() as u32)?;
    a.mov(cr4, eax)?;
    a.mov(eax, at::FRAMES as u32)?;
    a.mov(cr3, eax)?;
    a.mov(eax, cr0)?;
    a.or(eax, Cr0::PG.bits() as u32)?;
    a.mov(cr0, eax)
}

/// Vector and error code of the #GP or #PF a 32-bit bench halted for.
fn caught(bench: &Bench) -> (u64, u32) {
    let vector = (bench.cpu.rip() - at::HANDLERS) / 16;
    (vector, bench.peek(bench.cpu.regs[reg::RSP]))
}

#[test]
fn tables_of_32_bit_paging_map_4_kib_and_4_mib() {
    let mut bench = protected();
    let (directory, table) = (at::FRAMES, at::FRAMES + 0x1000);
    bench.poke(directory, PS | RW);
    bench.poke(directory + 4 * 0x180, table as u32 | RW);
    bench.poke(directory + 4 * 0x181, 0x40_0000 | PS | RW);
    bench.poke(table + 4 * 5, (at::FRAMES as u32 + 0x2000) | RW);
    bench.poke(at::FRAMES + 0x2010, 0x1111_u32);
    bench.poke(0x41_2340, 0x2222_u32);
    bench.exec(|a| {
        turn_on_paging(a, Cr4::PSE)?;
        a.mov(ebx, dword_ptr(0x6000_5010))?;
        a.mov(ecx, dword_ptr(0x6041_2340))?;
        a.mov(dword_ptr(0x6041_2344), ecx)
    });
    let regs = &bench.cpu.regs;
    assert_eq!((regs[reg::RBX], regs[reg::RCX]), (0x1111, 0x2222));
    let entries = [directory + 4 * 0x180, directory + 4 * 0x181, table + 4 * 5];
    let ad = entries.map(|entry| bench.peek::<u32>(entry) & 0x60);
    assert_eq!(ad, [0x20, 0x60, 0x20]);
    bench.exec(|a| a.mov(ebx, dword_ptr(0x6000_6010)));
    assert_eq!((caught(&bench), bench.cpu.cr2), ((14, 0), 0x6000_6010));
}

/// PAE tables: 4 MiB one to one, and [`PAGE`] (in the second GiB) at `frame` by way of `directory`.
fn lay_pae(bench: &Bench, directory: u64, frame: u64) {
    bench.poke(at::FRAMES, (at::FRAMES + 0x1000) | 1);
    bench.poke(at::FRAMES + 0x1000, u64::from(PS | RW));
    bench.poke(at::FRAMES + 0x1008, 0x20_0000 | u64::from(PS | RW));
    bench.poke(at::FRAMES + 8, directory | 1);
    bench.poke(directory + 8 * 0x100, (directory + 0x1000) | u64::from(RW));
    bench.poke(directory + 0x1000, frame | u64::from(RW));
    bench.poke(frame, frame);
}

const DIRECTORY: u64 = at::FRAMES + 0x4000;
const OTHER: u64 = at::FRAMES + 0x8000;

#[test]
fn pdptes_are_read_by_mov_to_cr3_and_not_by_invlpg() {
    let mut bench = protected();
    lay_pae(&bench, DIRECTORY, 0x40_0000);
    bench.exec(|a| {
        turn_on_paging(a, Cr4::PAE)?;
        a.mov(ebx, dword_ptr(PAGE))
    });
    assert_eq!(bench.cpu.regs[reg::RBX], 0x40_0000);
    lay_pae(&bench, OTHER, 0x50_0000);
    bench.exec(|a| {
        a.invlpg(ptr(PAGE))?;
        a.mov(ebx, dword_ptr(PAGE))?;
        a.mov(eax, cr3)?;
        a.mov(cr3, eax)?;
        a.mov(ecx, dword_ptr(PAGE))
    });
    let regs = &bench.cpu.regs;
    assert_eq!((regs[reg::RBX], regs[reg::RCX]), (0x40_0000, 0x50_0000));
}

#[test]
fn pdptes_are_read_by_mov_to_cr4_that_changes_pge_and_by_no_other() {
    for (bit, reread) in [
        (Cr4::PGE, true),
        (Cr4::SMEP, true),
        (Cr4::PSE, true),
        (Cr4::OSFXSR, false),
    ] {
        let mut bench = protected();
        lay_pae(&bench, DIRECTORY, 0x40_0000);
        bench.exec(|a| turn_on_paging(a, Cr4::PAE));
        lay_pae(&bench, OTHER, 0x50_0000);
        bench.exec(|a| {
            a.mov(eax, (Cr4::PAE | bit).bits() as u32)?;
            a.mov(cr4, eax)?;
            a.invlpg(ptr(PAGE))?;
            a.mov(ebx, dword_ptr(PAGE))
        });
        let want = if reread { 0x50_0000 } else { 0x40_0000 };
        assert_eq!(bench.cpu.regs[reg::RBX], want, "{bit:?}");
    }
}

#[test]
fn a_reserved_bit_in_a_pdpte_is_gp_and_the_mov_changes_nothing() {
    let mut bench = protected();
    lay_pae(&bench, DIRECTORY, 0x40_0000);
    bench.poke(at::FRAMES + 24, 0x1_u64 | 1 << 1);
    bench.exec(|a| turn_on_paging(a, Cr4::PAE));
    assert_eq!(caught(&bench), (13, 0), "MOV to CR0");
    assert!(!bench.cpu.mmu.regs().cr0.contains(Cr0::PG));

    bench.poke(at::FRAMES + 24, 0_u64);
    bench.cpu.regs[reg::RSP] = at::STACK;
    bench.exec(|a| {
        turn_on_paging(a, Cr4::PAE)?;
        a.mov(ebx, dword_ptr(PAGE))?;
        a.mov(eax, at::FRAMES as u32 + 0x20)?; // Its first PDPTE is the fifth of the old table.
        a.mov(cr3, eax)
    });
    assert_eq!(
        bench.cpu.mmu.regs().cr3,
        at::FRAMES + 0x20,
        "all four absent is no fault"
    );

    let mut bench = protected();
    lay_pae(&bench, DIRECTORY, 0x40_0000);
    bench.poke(at::FRAMES + 0x20, (at::FRAMES + 0x1000) | 1);
    bench.poke(at::FRAMES + 0x38, 1_u64 << 40 | 1);
    bench.exec(|a| {
        turn_on_paging(a, Cr4::PAE)?;
        a.mov(eax, at::FRAMES as u32 + 0x20)?;
        a.mov(cr3, eax)
    });
    assert_eq!(caught(&bench), (13, 0), "MOV to CR3");
    assert_eq!(bench.cpu.mmu.regs().cr3, at::FRAMES);
    bench.exec(|a| a.mov(ebx, dword_ptr(PAGE)));
    assert_eq!(bench.cpu.regs[reg::RBX], 0x40_0000, "by the old PDPTE");
}

fn set_cr4(bench: &mut Bench, bits: Cr4) {
    bench.exec(|a| {
        a.mov(rax, cr4)?;
        a.or(rax, bits.bits() as i32)?;
        a.mov(cr4, rax)
    });
    assert!(bench.cpu.mmu.regs().cr4.contains(bits));
}

#[test]
fn pcide_wants_ia_32e_mode_and_pcid_0_and_keeps_paging_on() {
    let mut bench = protected();
    bench.exec(|a| {
        a.mov(eax, Cr4::PCIDE.bits() as u32)?;
        a.mov(cr4, eax)
    });
    assert_eq!(caught(&bench), (13, 0), "outside IA-32e mode");

    let mut bench = guarded();
    bench.cpu.regs[reg::RAX] = at::TABLES | 8;
    bench.exec(|a| a.mov(cr3, rax));
    bench.cpu.regs[reg::RAX] = (bench.cpu.mmu.regs().cr4 | Cr4::PCIDE).bits();
    assert_eq!(
        first_faults(&mut bench, |a| a.mov(cr4, rax)),
        (GP, Some(0)),
        "PCID 8 in CR3"
    );

    let mut bench = guarded();
    set_cr4(&mut bench, Cr4::PCIDE);
    bench.cpu.regs[reg::RAX] = (bench.cpu.mmu.regs().cr0 - Cr0::PG).bits();
    assert_eq!(
        first_faults(&mut bench, |a| a.mov(cr0, rax)),
        (GP, Some(0)),
        "PG cleared"
    );
}

#[test]
fn bit_63_of_cr3_is_a_request_under_pcide_and_reserved_without() {
    let mut bench = guarded();
    bench.cpu.regs[reg::RBX] = 1 << 63 | at::TABLES | 5;
    assert_eq!(first_faults(&mut bench, |a| a.mov(cr3, rbx)), (GP, Some(0)));

    let mut bench = guarded();
    set_cr4(&mut bench, Cr4::PCIDE);
    bench.map(PAGE, at::FRAMES, Bits::RW);
    let other = at::FRAMES + 0x1000;
    bench.poke(other, 0x5555_u32);
    bench.cpu.regs[reg::RBX] = 1 << 63 | at::TABLES | 5;
    bench.exec(|a| {
        a.mov(cr3, rbx)?;
        a.mov(rdx, cr3)?;
        a.mov(eax, dword_ptr(PAGE))
    });
    assert_eq!(bench.cpu.regs[reg::RDX], at::TABLES | 5);
    bench.map(PAGE, other, Bits::RW);
    let look = |bench: &mut Bench, value: u64| {
        bench.cpu.regs[reg::RBX] = value;
        bench.exec(|a| {
            a.mov(cr3, rbx)?;
            a.mov(eax, dword_ptr(PAGE))
        });
        bench.cpu.regs[reg::RAX]
    };
    assert_eq!(
        look(&mut bench, 1 << 63 | at::TABLES | 6),
        0x5555,
        "PCID 6 had nothing"
    );
    assert_eq!(
        look(&mut bench, 1 << 63 | at::TABLES | 5),
        0,
        "PCID 5 kept its entry"
    );
    assert_eq!(look(&mut bench, at::TABLES | 5), 0x5555);
}

/// INVPCID of type RBX with the descriptor `low`, `high`; the exception, if there is one.
fn invpcid(bench: &mut Bench, kind: u64, low: u64, high: u64) -> Option<(u8, Option<u64>)> {
    bench.poke(at::DATA, low);
    bench.poke(at::DATA + 8, high);
    bench.cpu.regs[reg::RBX] = kind;
    bench.exec(|a| a.invpcid(rbx, xmmword_ptr(at::DATA)));
    (bench.cpu.rip() < at::CODE).then(|| (bench.caught().vector, bench.caught().code))
}

#[test]
fn invpcid_refuses_unknown_types_reserved_bits_and_pcids_without_pcide() {
    let gp = Some((GP, Some(0)));
    for (pcide, kind, low, high, want) in [
        (true, 4, 0, 0, gp),
        (true, 1 << 32, 0, 0, gp),
        (true, 3, 1 << 12, 0, gp),
        (true, 1, 1 << 63, 0, gp),
        (true, 0, 0, 1 << 47, gp),
        (true, 1, 0, 1 << 47, None),
        (true, 0, 0xfff, PAGE, None),
        (true, 3, 0xfff, 0, None),
        (false, 0, 1, 0, gp),
        (false, 1, 1, 0, gp),
        (false, 2, 1, 0, None),
        (false, 0, 0, PAGE, None),
    ] {
        let mut bench = guarded();
        if pcide {
            set_cr4(&mut bench, Cr4::PCIDE);
        }
        let got = invpcid(&mut bench, kind, low, high);
        assert_eq!(got, want, "PCIDE {pcide}: type {kind:x}, {low:x} {high:x}");
    }
    let at_cpl_3 = |a: &mut CodeAssembler| a.invpcid(rbx, xmmword_ptr(at::USER_CODE));
    assert_eq!(user_faults(&mut guarded(), at_cpl_3), (GP, Some(0)));
}

#[test]
fn invpcid_of_the_current_pcid_ends_the_use_of_a_stale_entry() {
    for (kind, high) in [(0, PAGE), (1, 0), (2, 0), (3, 0)] {
        let mut bench = guarded();
        set_cr4(&mut bench, Cr4::PCIDE);
        bench.map(PAGE, at::FRAMES, Bits::RW);
        bench.poke(at::FRAMES + 0x1000, 0x5555_u32);
        let read = |a: &mut CodeAssembler| a.mov(eax, dword_ptr(PAGE));
        bench.exec(read);
        bench.map(PAGE, at::FRAMES + 0x1000, Bits::RW);
        assert_eq!(bench.exec(read).cpu.regs[reg::RAX], 0, "stale");
        assert_eq!(invpcid(&mut bench, kind, 0, high), None);
        assert_eq!(bench.exec(read).cpu.regs[reg::RAX], 0x5555, "type {kind}");
    }
}

#[test]
fn rdpkru_and_wrpkru_want_pke_and_zeros() {
    for f in [
        |a: &mut CodeAssembler| a.rdpkru(),
        |a: &mut CodeAssembler| a.wrpkru(),
    ] {
        assert_eq!(
            first_faults(&mut guarded(), f),
            (UD, None),
            "without CR4.PKE"
        );
        let mut bench = guarded();
        set_cr4(&mut bench, Cr4::PKE);
        bench.cpu.regs[reg::RCX] = 1;
        assert_eq!(first_faults(&mut bench, f), (GP, Some(0)), "ECX is not 0");
    }
    let mut bench = guarded();
    set_cr4(&mut bench, Cr4::PKE);
    bench.cpu.regs[reg::RDX] = 1;
    assert_eq!(first_faults(&mut bench, |a| a.wrpkru()), (GP, Some(0)));

    let mut bench = guarded();
    set_cr4(&mut bench, Cr4::PKE);
    bench.cpu.regs[reg::RAX] = 0xffff_ffff_8765_4321;
    bench.cpu.regs[reg::RCX] = 1 << 32;
    bench.cpu.regs[reg::RDX] = 1 << 32;
    bench.exec(|a| {
        a.wrpkru()?;
        a.mov(rdx, -1_i64)?;
        a.rdpkru()
    });
    let regs = &bench.cpu.regs;
    assert_eq!((regs[reg::RAX], regs[reg::RDX]), (0x8765_4321, 0));
}

#[test]
fn a_key_that_forbids_is_a_page_fault_with_pk_for_user_and_kernel() {
    let mut bench = guarded();
    set_cr4(&mut bench, Cr4::PKE);
    bench.map(PAGE, at::FRAMES, Bits::RW | Bits::US);
    let pte = bench.pte(PAGE);
    bench.poke(pte, bench.peek::<u64>(pte) | 5 << 59);
    let write = |a: &mut CodeAssembler| a.mov(dword_ptr(PAGE), eax);
    bench.exec(write);
    bench.cpu.regs[reg::RAX] = 2 << 10; // WD of key 5
    bench.exec(|a| {
        a.xor(ecx, ecx)?;
        a.xor(edx, edx)?;
        a.wrpkru()?;
        a.mov(ebx, dword_ptr(PAGE))
    });
    let code = PfErrorCode::P | PfErrorCode::WR | PfErrorCode::PK;
    assert_eq!(
        first_faults(&mut bench, write),
        (PF, Some(u64::from(code.bits())))
    );
    let code = code | PfErrorCode::US;
    assert_eq!(
        user_faults(&mut bench, write),
        (PF, Some(u64::from(code.bits())))
    );
}

#[test]
fn cpuid_tells_ospke_as_cr4_pke_is_and_what_is_implemented_here() {
    let leaf = |bench: &mut Bench, number: u64| {
        bench.cpu.regs[reg::RAX] = number;
        bench.cpu.regs[reg::RCX] = 0;
        bench.exec(|a| a.cpuid());
        [reg::RBX, reg::RCX, reg::RDX].map(|register| bench.cpu.regs[register])
    };
    let mut bench = guarded();
    let [b, c, _] = leaf(&mut bench, 7);
    assert_eq!((b >> 10 & 1, c >> 3 & 3), (1, 1), "INVPCID, PKU, no OSPKE");
    let [_, c, d] = leaf(&mut bench, 1);
    assert_eq!(
        (c >> 17 & 1, d >> 3 & 1, d >> 17 & 1),
        (1, 1, 1),
        "PCID, PSE, PSE-36"
    );
    set_cr4(&mut bench, Cr4::PKE);
    assert_eq!(leaf(&mut bench, 7)[1] >> 3 & 3, 3, "OSPKE");
}
