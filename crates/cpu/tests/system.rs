//! System instructions: SYSCALL, SWAPGS, MSRs, control registers, ports, and what user code may not do.

mod common;

use common::{Asked, Asm, Bench, at, first_faults, guarded, sel, user_faults, wrmsr};
use cpu::{SegReg, reg};
use iced_x86::code_asm::*;
use memory::Width;
use x86::{Cr4, Rflags, msr};

const UD: u8 = 6;
const GP: u8 = 13;
const KERNEL_CS: u64 = sel::CODE64 as u64;
const USER_CS: u64 = sel::USER_CODE64 as u64;
const IF: u64 = Rflags::IF.bits();
const TF: u64 = Rflags::TF.bits();
const RF: u64 = Rflags::RF.bits();

fn with_syscall(mask: u64) -> Bench {
    let mut bench = Bench::long();
    bench.exec(|a| {
        wrmsr(
            a,
            msr::STAR,
            u64::from(sel::USER_CODE32) << 48 | u64::from(sel::CODE64) << 32,
        )?;
        wrmsr(a, msr::LSTAR, at::HANDLERS + 0xff0)?;
        wrmsr(a, msr::FMASK, mask)
    });
    bench
}

#[test]
fn syscall_saves_rip_and_flags_and_enters_the_kernel_on_the_users_stack() {
    let mut bench = with_syscall(IF | Rflags::DF.bits());
    bench.cpu.flags |= IF;
    bench.user(|a| {
        a.std()?;
        a.syscall()
    });
    bench.run();
    let cpu = &bench.cpu;
    assert_eq!(cpu.rip(), at::HANDLERS + 0xff1);
    assert_eq!(cpu.regs[reg::RCX], at::USER_CODE + 3);
    assert_eq!(cpu.regs[reg::R11], 2 | IF | Rflags::DF.bits());
    assert_eq!(
        (cpu.flags, cpu.cpl, cpu.regs[reg::RSP]),
        (2, 0, at::USER_STACK)
    );
    assert_eq!(
        (
            cpu.seg(SegReg::Cs).selector.0,
            cpu.seg(SegReg::Ss).selector.0
        ),
        (sel::CODE64, sel::DATA)
    );
}

#[test]
fn sysret_goes_back_to_ring_3_with_the_selectors_of_star() {
    let mut bench = with_syscall(0);
    bench.load(at::HANDLERS + 0xff0, &[0x48, 0x0f, 0x07]);
    bench.user(|a| {
        a.stc()?;
        a.syscall()?;
        a.ud2()
    });
    bench.run();
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.rip, caught.cs, caught.ss),
        (UD, at::USER_CODE + 3, USER_CS, u64::from(sel::USER_DATA))
    );
    assert_eq!(caught.flags, 3 | RF);
}

#[test]
fn sysret_to_a_non_canonical_address_is_gp_in_the_kernel() {
    let mut bench = with_syscall(0);
    bench.cpu.regs[reg::RCX] = 1 << 47;
    assert_eq!(first_faults(&mut bench, |a| a.sysretq()), (GP, Some(0)));
    assert_eq!(bench.caught().cs, KERNEL_CS);
}

#[test]
fn selectors_near_the_end_of_star_wrap() {
    let mut bench = with_syscall(0);
    bench.exec(|a| wrmsr(a, msr::STAR, u64::MAX));
    bench.user(|a| a.syscall()).run();
    assert_eq!(bench.cpu.seg(SegReg::Cs).selector.0, 0xfffc);
    assert_eq!(bench.cpu.seg(SegReg::Ss).selector.0, 7);
}

#[test]
fn syscall_without_efer_sce_is_ud() {
    let mut bench = Bench::long();
    bench.exec(|a| wrmsr(a, msr::EFER, 0xd00));
    assert_eq!(user_faults(&mut bench, |a| a.syscall()), (UD, None));
}

#[test]
fn a_tf_that_fmask_clears_does_not_trap_after_syscall() {
    let mut bench = with_syscall(TF);
    bench.cpu.flags |= TF;
    bench.code(|a| a.syscall()).run();
    assert_eq!(
        (bench.cpu.rip(), bench.cpu.regs[reg::R11] & TF),
        (at::HANDLERS + 0xff1, TF)
    );
}

#[test]
fn swapgs_exchanges_the_base_of_gs_with_its_msr() {
    let mut bench = Bench::long();
    bench.poke(at::DATA, 0x77_u8);
    bench.exec(|a| {
        wrmsr(a, msr::GS_BASE, 0x1234)?;
        wrmsr(a, msr::KERNEL_GS_BASE, at::DATA)?;
        a.swapgs()?;
        a.mov(bl, byte_ptr(0).gs())?;
        a.mov(ecx, msr::KERNEL_GS_BASE)?;
        a.rdmsr()
    });
    assert_eq!(
        (bench.cpu.regs[reg::RBX], bench.cpu.regs[reg::RAX]),
        (0x77, 0x1234)
    );
}

#[test]
fn unknown_msrs_and_values_an_msr_cannot_hold_are_gp() {
    let mut bench = guarded();
    bench.cpu.regs[reg::RCX] = 0x1_2345;
    assert_eq!(first_faults(&mut bench, |a| a.rdmsr()), (GP, Some(0)));
    assert_eq!(first_faults(&mut bench, |a| a.wrmsr()), (GP, Some(0)));
    for (number, value) in [
        (msr::LSTAR, 1 << 47),
        (msr::FS_BASE, 1 << 63),
        (msr::EFER, 1 << 1),
        (msr::EFER, 0x801), // LME cleared while paging
        (msr::PAT, 2),
        (msr::MTRRCAP, 0),
    ] {
        bench.cpu.regs[reg::RCX] = u64::from(number);
        bench.cpu.regs[reg::RAX] = value & 0xffff_ffff;
        bench.cpu.regs[reg::RDX] = value >> 32;
        assert_eq!(
            first_faults(&mut bench, |a| a.wrmsr()),
            (GP, Some(0)),
            "{number:#x} = {value:#x}"
        );
    }
}

#[test]
fn control_registers_refuse_what_this_processor_does_not_support() {
    const SUPPORTED_CR4: u64 = 0x0073_0ffc;
    for bit in 0..64 {
        let mut bench = guarded();
        let cr4_value = bench.cpu.mmu.regs().cr4.bits();
        bench.cpu.regs[reg::RAX] = cr4_value | 1 << bit;
        bench.exec(|a| a.mov(cr4, rax));
        let refused = bench.cpu.rip() < at::CODE;
        assert_eq!(refused, SUPPORTED_CR4 >> bit & 1 == 0, "CR4 bit {bit}");
    }
    let mut bench = guarded();
    let mut refuses = |value: u64, f: fn(&mut CodeAssembler) -> Asm| {
        bench.cpu.regs[reg::RAX] = value;
        assert_eq!(first_faults(&mut bench, f), (GP, Some(0)), "{value:#x}");
    };
    refuses(0x680, |a| a.mov(cr4, rax)); // PAE cleared in IA-32e mode
    refuses(0x8000_0010, |a| a.mov(cr0, rax)); // PG without PE
    refuses(0x2000_0011, |a| a.mov(cr0, rax)); // NW without CD
    refuses(0x0000_0011, |a| a.mov(cr0, rax)); // PG cleared in 64-bit mode
    refuses(1 << 32 | 0x8001_0011, |a| a.mov(cr0, rax));
    refuses(1 << 40, |a| a.mov(cr3, rax)); // above MAXPHYADDR
    refuses(16, |a| a.mov(cr8, rax));
}

#[test]
fn privileged_instructions_are_gp_at_cpl_3() {
    type Case = (&'static str, fn(&mut CodeAssembler) -> Asm);
    let cases: [Case; 24] = [
        ("hlt", |a| a.hlt()),
        ("cli", |a| a.cli()),
        ("sti", |a| a.sti()),
        ("in", |a| a.in_(al, 0x10)),
        ("out", |a| a.out(dx, eax)),
        ("insb", |a| a.insb()),
        ("outsb", |a| a.outsb()),
        ("lgdt", |a| a.lgdt(ptr(at::DATA))),
        ("lidt", |a| a.lidt(ptr(at::DATA))),
        ("lldt", |a| a.lldt(ax)),
        ("ltr", |a| a.ltr(ax)),
        ("mov to cr3", |a| a.mov(cr3, rax)),
        ("mov from cr0", |a| a.mov(rax, cr0)),
        ("mov to dr7", |a| a.mov(dr7, rax)),
        ("mov from dr0", |a| a.mov(rax, dr0)),
        ("clts", |a| a.clts()),
        ("lmsw", |a| a.lmsw(ax)),
        ("rdmsr", |a| a.rdmsr()),
        ("wrmsr", |a| a.wrmsr()),
        ("invlpg", |a| a.invlpg(ptr(at::DATA))),
        ("wbinvd", |a| a.wbinvd()),
        ("invd", |a| a.invd()),
        ("swapgs", |a| a.swapgs()),
        ("sysretq", |a| a.sysretq()),
    ];
    for (name, case) in cases {
        let mut bench = Bench::long();
        assert_eq!(user_faults(&mut bench, case), (GP, Some(0)), "{name}");
        assert!(bench.bus.asked.is_empty(), "{name}");
    }
    for case in [
        |a: &mut CodeAssembler| a.stac(),
        |a: &mut CodeAssembler| a.clac(),
    ] {
        assert_eq!(
            user_faults(&mut Bench::long(), case),
            (UD, None),
            "STAC and CLAC are #UD instead"
        );
    }
}

#[test]
fn umip_keeps_descriptor_tables_from_user_code() {
    type Case = (&'static str, fn(&mut CodeAssembler) -> Asm);
    let cases: [Case; 5] = [
        ("sgdt", |a| a.sgdt(ptr(rsp - 16))),
        ("sidt", |a| a.sidt(ptr(rsp - 16))),
        ("sldt", |a| a.sldt(eax)),
        ("str", |a| a.str(eax)),
        ("smsw", |a| a.smsw(eax)),
    ];
    for (name, case) in cases {
        let mut bench = Bench::long();
        bench.user(|a| {
            case(a)?;
            a.ud2()
        });
        bench.run();
        assert_eq!(bench.caught().vector, UD, "{name} without UMIP");
        bench
            .cpu
            .mmu
            .write_cr4(bench.cpu.mmu.regs().cr4 | Cr4::UMIP);
        assert_eq!(
            user_faults(&mut bench, case),
            (GP, Some(0)),
            "{name} with UMIP"
        );
    }
}

#[test]
fn the_tss_bitmap_opens_single_ports_to_user_code() {
    let mut bench = Bench::long();
    bench.bus.reads = 0x1122_3344;
    // Ports 10h to 13h open, 14h closed.
    bench.poke(at::TSS + 104 + 2, 0xf0_u8);
    bench.user(|a| {
        a.in_(eax, 0x10)?;
        a.ud2()
    });
    bench.run();
    assert_eq!(bench.caught().vector, UD);
    assert_eq!(bench.cpu.regs[reg::RAX], 0x1122_3344);
    assert_eq!(bench.bus.asked, [Asked::PortRead(0x10, Width::Dword)]);
    assert_eq!(
        user_faults(&mut bench, |a| a.in_(eax, 0x11)),
        (GP, Some(0)),
        "the last of four is closed"
    );
    assert_eq!(user_faults(&mut bench, |a| a.in_(al, 0x14)), (GP, Some(0)));
    bench.cpu.regs[reg::RDX] = 0x400;
    assert_eq!(
        user_faults(&mut bench, |a| a.in_(al, dx)),
        (GP, Some(0)),
        "beyond the map"
    );
    bench.cpu.flags |= 0x3000;
    bench.user(|a| {
        a.in_(al, 0x14)?;
        a.ud2()
    });
    bench.run();
    assert_eq!(bench.caught().vector, UD, "IOPL 3 opens all");
}

#[test]
fn rdtsc_is_privileged_under_tsd_only() {
    let mut bench = Bench::long();
    bench.user(|a| {
        a.rdtsc()?;
        a.ud2()
    });
    bench.run();
    assert_eq!(bench.caught().vector, UD);
    bench.cpu.mmu.write_cr4(bench.cpu.mmu.regs().cr4 | Cr4::TSD);
    assert_eq!(user_faults(&mut bench, |a| a.rdtsc()), (GP, Some(0)));
}

#[test]
fn a_far_jump_needs_an_rpl_no_weaker_than_the_level_it_runs_at() {
    let mut bench = guarded();
    for (selector, ok) in [
        (sel::CODE64, true),
        (sel::CODE64 | 3, false),
        (sel::USER_CODE64, false),
    ] {
        bench.poke(at::DATA, at::CODE + 0x100);
        bench.poke(at::DATA + 8, selector);
        bench.poke(at::CODE + 0x100, 0xf4_u8);
        bench.cpu.regs[reg::RSP] = at::STACK;
        // REX.W JMP m16:64.
        bench.exec(|a| a.db(&[0x48, 0xff, 0x2c, 0x25, 0x00, 0x00, 0x11, 0x00]));
        let jumped = bench.cpu.rip() == at::CODE + 0x101;
        assert_eq!(jumped, ok, "{selector:#x}");
    }
}

#[test]
fn a_tss_too_short_to_name_an_io_map_opens_no_port() {
    let mut bench = Bench::long();
    bench.poke(at::TSS + 104 + 2, 0_u8);
    bench.poke(at::GDT + u64::from(sel::TSS), 0x0000_8900_3000_0066_u64);
    bench.exec(|a| {
        a.mov(eax, u32::from(sel::TSS))?;
        a.ltr(ax)
    });
    assert_eq!(user_faults(&mut bench, |a| a.in_(al, 0x10)), (GP, Some(0)));
}
