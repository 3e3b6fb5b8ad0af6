//! The modes of the processor: how each is entered, and what it does to operands, addresses and the stack.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the bench's addresses are small"
)]

mod common;

use common::{Bench, assemble, at, sel};
use cpu::{Activity, Cpu, SegReg, reg};
use iced_x86::code_asm::*;
use x86::descriptor::Selector;
use x86::{Cr0, Rflags, msr};

const AP_PAGE: u8 = 9;
const AP: u64 = 0x9000;

#[test]
fn after_reset_the_bootstrap_processor_runs_and_the_others_wait() {
    for id in 0..3 {
        let mut cpu = Cpu::new(id);
        let want = if id == 0 {
            Activity::Running
        } else {
            Activity::WaitForSipi
        };
        assert_eq!(cpu.activity, want, "processor {id}");
        assert_eq!((cpu.rip(), cpu.seg(SegReg::Cs).base), (0xfff0, 0xffff_0000));
        cpu.activity = Activity::Shutdown;
        cpu.init();
        assert_eq!(cpu.activity, want, "processor {id} after INIT");
    }
}

#[test]
fn a_startup_ipi_begins_real_mode_at_its_page_once() {
    let mut bench = Bench::real(AP_PAGE);
    bench.load(
        AP,
        &assemble(16, 0, |a| {
            a.mov(ax, cs)?;
            a.mov(bl, byte_ptr(0x0f).cs())?;
            a.hlt()
        }),
    );
    bench.poke(AP + 0x0f, 0x5a_u8);
    bench.run();
    assert_eq!(bench.cpu.regs[reg::RAX] & 0xffff, 0x900);
    assert_eq!(bench.cpu.regs[reg::RBX] & 0xff, 0x5a);
    assert!(!bench.cpu.startup(0x20), "a running processor ignores SIPI");
}

#[test]
fn the_path_from_sipi_leads_through_protected_to_64_bit_mode() {
    let mut bench = Bench::real(AP_PAGE);
    bench.lay_tables();
    bench.poke(AP + 0x80, (8 * common::GDT.len() - 1) as u16);
    bench.poke(AP + 0x82, at::GDT as u32);
    let far = |code: &mut CodeAssembler, prefix: &[u8], offset: u64, selector: u16| {
        code.db(prefix)?;
        code.db(&[0xea])?;
        code.db(&(offset as u32).to_le_bytes())?;
        code.db(&selector.to_le_bytes())
    };
    bench.load(
        AP,
        &assemble(16, 0, |a| {
            a.cli()?;
            a.mov(ax, cs)?;
            a.mov(ds, ax)?;
            a.lgdt(ptr(0x80))?;
            a.mov(eax, cr0)?;
            a.or(eax, 1)?;
            a.mov(cr0, eax)?;
            far(a, &[0x66], AP + 0x100, sel::CODE32)
        }),
    );
    bench.load(
        AP + 0x100,
        &assemble(32, AP + 0x100, |a| {
            a.mov(eax, u32::from(sel::DATA))?;
            a.mov(ds, eax)?;
            a.mov(ss, eax)?;
            a.mov(eax, 0x20)?; // CR4.PAE
            a.mov(cr4, eax)?;
            a.mov(eax, at::TABLES as u32)?;
            a.mov(cr3, eax)?;
            common::wrmsr(a, msr::EFER, 0x100)?; // LME
            a.mov(eax, cr0)?;
            a.or(eax, 0x8000_0000_u32)?;
            a.mov(cr0, eax)?;
            far(a, &[], AP + 0x200, sel::CODE64)
        }),
    );
    bench.load(
        AP + 0x200,
        &assemble(64, AP + 0x200, |a| {
            a.mov(rax, 0x1122_3344_5566_7788_u64)?;
            a.mov(ecx, msr::EFER)?;
            a.mov(rbx, rax)?;
            a.rdmsr()?;
            a.hlt()
        }),
    );
    bench.run();
    assert_eq!(bench.cpu.regs[reg::RBX], 0x1122_3344_5566_7788);
    assert_eq!(bench.cpu.regs[reg::RAX], 0x500, "LME and LMA");
}

#[test]
fn the_pvh_entry_state_is_flat_32_bit_protected_mode_without_paging() {
    let mut cpu = Cpu::new(0);
    cpu.enter_pvh(0x10_0000, 0x7000);
    assert_eq!(
        (cpu.rip(), cpu.regs[reg::RBX], cpu.flags, cpu.cpl),
        (0x10_0000, 0x7000, 2, 0)
    );
    let cr0_value = cpu.mmu.regs().cr0;
    assert!(cr0_value.contains(Cr0::PE) && !cr0_value.contains(Cr0::PG));
    for which in [SegReg::Cs, SegReg::Ds, SegReg::Es, SegReg::Ss] {
        assert_eq!(
            (cpu.seg(which).base, cpu.seg(which).limit),
            (0, u32::MAX),
            "{which:?}"
        );
    }
    let mut bench = Bench::protected();
    bench.exec(|a| {
        a.mov(eax, 0x1234_5678)?;
        a.mov(dword_ptr(0x7f_fff0), eax)
    });
    assert_eq!(bench.peek::<u32>(0x7f_fff0), 0x1234_5678);
}

#[test]
fn lgdt_and_lidt_take_24_bits_of_base_with_16_bit_operands_and_32_with_the_prefix() {
    let table = [0xff, 0x0f, 0x56, 0x34, 0x12, 0xee];
    for (prefix, base) in [(&[][..], 0x12_3456), (&[0x66][..], 0xee12_3456)] {
        let mut bench = Bench::real(AP_PAGE);
        bench.load(0x600, &table);
        bench.load(
            AP,
            &assemble(16, 0, |a| {
                a.db(prefix)?;
                a.db(&[0x0f, 0x01, 0x16, 0x00, 0x06])?;
                a.db(prefix)?;
                a.db(&[0x0f, 0x01, 0x1e, 0x00, 0x06])?;
                a.hlt()
            }),
        );
        bench.run();
        let (gdtr, idtr) = (bench.cpu.gdtr, bench.cpu.idtr);
        assert_eq!(
            (gdtr.base, gdtr.limit, idtr.base, idtr.limit),
            (base, 0xfff, base, 0xfff)
        );
    }
}

#[test]
fn in_64_bit_mode_lgdt_takes_64_bits_of_base() {
    let mut bench = Bench::long();
    bench.poke(at::DATA, 0x7f_u16);
    bench.poke(at::DATA + 2, 0xffff_8000_0000_1000_u64);
    bench.exec(|a| a.lgdt(ptr(at::DATA)));
    assert_eq!(
        (bench.cpu.gdtr.base, bench.cpu.gdtr.limit),
        (0xffff_8000_0000_1000, 0x7f)
    );
}

#[test]
fn the_operand_size_prefix_exchanges_16_and_32_bits() {
    // B8: MOV to the accumulator, with as many bytes of immediate as the operand has.
    let code = [0xb8, 0x11, 0x22, 0x33, 0x44];
    let mut real = Bench::real(AP_PAGE);
    real.load(
        AP,
        &[0x66, 0xb8, 0x11, 0x22, 0x33, 0x44, 0xb8, 0x55, 0x66, 0xf4],
    );
    real.run();
    assert_eq!(real.cpu.regs[reg::RAX], 0x4433_6655);
    let mut protected = Bench::protected();
    protected.exec(|a| {
        a.db(&code)?;
        a.db(&[0x66, 0xb8, 0x55, 0x66])
    });
    assert_eq!(protected.cpu.regs[reg::RAX], 0x4433_6655);
}

#[test]
fn writing_a_doubleword_register_clears_its_upper_half_and_narrower_writes_do_not() {
    let mut bench = Bench::long();
    bench.cpu.regs[..4].fill(u64::MAX);
    bench.exec(|a| {
        a.mov(eax, 1)?;
        a.mov(cx, 1)?;
        a.mov(dl, 1)?;
        a.mov(bh, 1)
    });
    assert_eq!(
        bench.cpu.regs[..4],
        [
            1,
            0xffff_ffff_ffff_0001,
            0xffff_ffff_ffff_ff01,
            0xffff_ffff_ffff_01ff
        ]
    );
}

#[test]
fn the_byte_registers_4_to_7_are_high_bytes_without_rex_and_low_bytes_with_it() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        a.mov(ah, 1)?;
        a.mov(ch, 2)?;
        a.mov(dh, 3)?;
        a.mov(bh, 4)?;
        a.mov(bpl, 5)?;
        a.mov(sil, 6)?;
        a.mov(dil, 7)?;
        a.mov(r8b, 8)?;
        a.mov(r15b, 15)?;
        a.mov(spl, 0xf0)
    });
    let regs = &bench.cpu.regs;
    assert_eq!(
        regs[..8],
        [0x100, 0x200, 0x300, 0x400, at::STACK | 0xf0, 5, 6, 7]
    );
    assert_eq!((regs[8], regs[15]), (8, 15));
}

#[test]
fn the_address_size_prefix_truncates_effective_addresses() {
    let mut bench = Bench::long();
    bench.poke(at::DATA, 0x55_u32);
    bench.cpu.regs[reg::RBX] = 0xffff_ffff_0000_0000 | at::DATA;
    bench.cpu.regs[reg::RCX] = u64::MAX;
    bench.exec(|a| {
        a.mov(eax, dword_ptr(ebx))?;
        a.lea(rdx, ptr(ebx + ecx * 4))?;
        // LOOP with the prefix counts ECX.
        a.db(&[0x67, 0xe2, 0x00])
    });
    assert_eq!(bench.cpu.regs[reg::RAX], 0x55);
    assert_eq!(bench.cpu.regs[reg::RDX], at::DATA - 4);
    assert_eq!(bench.cpu.regs[reg::RCX], 0xffff_fffe);
}

#[test]
fn addresses_of_16_bits_wrap_at_64_kib() {
    let mut bench = Bench::real(AP_PAGE);
    bench.poke(0x1234, 0xab_u8);
    bench.cpu.regs[reg::RBX] = 0xf234;
    bench.cpu.regs[reg::RSI] = 0x2000;
    bench.load(
        AP,
        &assemble(16, 0, |a| {
            a.mov(al, byte_ptr(bx + si))?;
            a.hlt()
        }),
    );
    bench.run();
    assert_eq!(bench.cpu.regs[reg::RAX], 0xab);
}

#[test]
fn rip_relative_operands_count_from_the_next_instruction() {
    let mut bench = Bench::long();
    bench.poke(at::CODE + 0x800, 0x1122_3344_u32);
    bench.exec(|a| {
        // 83 /7: CMP dword [rip + disp], imm8: the immediate lies after the displacement.
        a.db(&[0x83, 0x3d])?;
        a.db(&(0x800_u32 - 7).to_le_bytes())?;
        a.db(&[0x44])?;
        // 67: the sum is cut to 32 bits.
        a.db(&[0x67, 0x8b, 0x05])?;
        a.db(&(0x800_u32 - 14).to_le_bytes())
    });
    assert_eq!(bench.cpu.regs[reg::RAX], 0x1122_3344);
    assert_eq!(bench.cpu.flags & Rflags::ZF.bits(), 0);
}

#[test]
fn a_push_moves_sp_esp_or_rsp_by_the_operand_size() {
    let mut real = Bench::real(AP_PAGE);
    real.cpu.regs[reg::RSP] = 0xabcd_0002;
    real.load(
        AP,
        &assemble(16, 0, |a| {
            a.push(ax)?;
            a.push(eax)?;
            a.hlt()
        }),
    );
    real.run();
    assert_eq!(
        real.cpu.regs[reg::RSP],
        0xabcd_fffc,
        "SP wraps and the rest of ESP stays"
    );

    let mut protected = Bench::protected();
    protected.exec(|a| {
        a.push(eax)?;
        a.push(ax)?;
        a.push(cs)
    });
    assert_eq!(protected.cpu.regs[reg::RSP], at::STACK - 10);

    let mut long = Bench::long();
    long.exec(|a| {
        a.push(rax)?;
        a.push(ax)?;
        a.push(fs)?;
        a.push(-2)
    });
    assert_eq!(long.cpu.regs[reg::RSP], at::STACK - 26);
    assert_eq!(
        long.peek::<u64>(at::STACK - 26),
        u64::MAX - 1,
        "immediates are sign-extended"
    );
}

#[test]
fn push_rsp_stores_the_old_value_and_pop_rsp_keeps_the_popped_one() {
    let mut bench = Bench::long();
    bench.poke(at::DATA, 0x1_2345_6789_u64);
    bench.exec(|a| {
        a.push(rsp)?;
        a.mov(rax, qword_ptr(rsp))?;
        // POP to memory: the address is computed with RSP already moved.
        a.push(rax)?;
        a.pop(qword_ptr(rsp))?;
        a.mov(rbx, qword_ptr(rsp))?;
        a.mov(rsp, at::DATA)?;
        a.pop(rsp)
    });
    assert_eq!(bench.cpu.regs[reg::RAX], at::STACK);
    assert_eq!(bench.cpu.regs[reg::RBX], at::STACK);
    assert_eq!(bench.cpu.regs[reg::RSP], 0x1_2345_6789);
}

#[test]
fn pusha_stores_the_old_esp_and_popa_skips_it() {
    let mut bench = Bench::protected();
    for (i, r) in bench.cpu.regs[..8]
        .iter_mut()
        .enumerate()
        .filter(|(i, _)| *i != reg::RSP)
    {
        *r = 0x100 + i as u64;
    }
    let before = bench.cpu.regs;
    bench.exec(|a| {
        a.pushad()?;
        a.mov(eax, dword_ptr(esp + 12))?;
        a.mov(dword_ptr(at::DATA), eax)?;
        a.popad()
    });
    assert_eq!(bench.cpu.regs[..8], before[..8]);
    assert_eq!(u64::from(bench.peek::<u32>(at::DATA)), at::STACK);
}

#[test]
fn enter_and_leave_are_inverse_and_enter_copies_the_display() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RBP] = at::DATA + 0x100;
    bench.poke(at::DATA + 0xf8, 0x77_u64);
    bench.exec(|a| {
        a.enter(0x20, 2)?;
        a.mov(rax, rsp)?;
        a.mov(rbx, rbp)?;
        a.mov(rcx, qword_ptr(rbp - 8))?;
        a.mov(rdx, qword_ptr(rbp - 16))?;
        a.leave()
    });
    let frame = at::STACK - 8;
    assert_eq!(bench.cpu.regs[..4], [frame - 0x30, 0x77, frame, frame]);
    assert_eq!(
        (bench.cpu.regs[reg::RSP], bench.cpu.regs[reg::RBP]),
        (at::STACK, at::DATA + 0x100)
    );
}

#[test]
fn tzcnt_and_lzcnt_count_where_bsf_and_bsr_would_find_and_say_so_for_zero() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RSI] = 0x0010_0000;
    bench.exec(|a| {
        a.tzcnt(rcx, rsi)?;
        a.lzcnt(rbx, rsi)?;
        a.xor(esi, esi)?;
        a.tzcnt(rax, rsi)
    });
    let counts = [reg::RCX, reg::RBX, reg::RAX].map(|r| bench.cpu.regs[r]);
    assert_eq!(counts, [20, 43, 64]);
    assert_ne!(bench.cpu.flags & Rflags::CF.bits(), 0);
}

#[test]
fn encodings_reserved_as_nop_change_nothing() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RAX] = 0x77;
    bench.exec(|a| {
        a.endbr64()?;
        a.rdsspq(rax)?;
        a.db(&[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0])?;
        a.db(&[0x0f, 0x1d, 0xc0])?;
        a.pause()
    });
    assert!(bench.cpu.rip() > at::CODE, "no exception");
    assert_eq!(bench.cpu.regs[reg::RAX], 0x77);
}

#[test]
fn a_far_return_reaches_compatibility_mode_and_exceptions_come_back_in_64_bit_mode() {
    let mut bench = Bench::long();
    let inside = at::CODE + 0x400;
    bench.load(
        inside,
        &assemble(32, inside, |a| {
            // 40 is INC EAX here and a REX prefix in 64-bit mode.
            a.db(&[0x40])?;
            a.ud2()
        }),
    );
    bench.exec(|a| {
        a.push(i32::from(sel::CODE32))?;
        a.push(inside as i32)?;
        a.db(&[0x48, 0xcb]) // RETF with a 64-bit operand
    });
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.rip, caught.cs),
        (6, inside + 1, u64::from(sel::CODE32))
    );
    assert_eq!(bench.cpu.regs[reg::RAX], 1);
    assert_eq!(bench.cpu.seg(SegReg::Cs).selector, Selector(sel::CODE64));
}

#[test]
fn in_64_bit_mode_segment_bases_count_for_fs_and_gs_only() {
    let mut bench = Bench::long();
    bench.poke(at::DATA, 0x11_u64);
    bench.poke(at::DATA + 0x100, 0x22_u64);
    bench.exec(|a| {
        common::wrmsr(a, msr::FS_BASE, 0x100)?;
        a.mov(rbx, at::DATA)?;
        a.mov(rax, qword_ptr(rbx).fs())?;
        a.mov(rdx, qword_ptr(rbx).es())
    });
    assert_eq!(
        (bench.cpu.regs[reg::RAX], bench.cpu.regs[reg::RDX]),
        (0x22, 0x11)
    );
}

#[test]
fn moving_all_ones_to_a_debug_register_leaves_the_reserved_bits() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        a.mov(eax, -1)?;
        a.mov(dr6, rax)?;
        // All but GD, which would guard what follows.
        a.mov(eax, 0xffff_dfff_u32)?;
        a.mov(dr7, rax)?;
        a.mov(rbx, dr7)?;
        a.mov(rdx, dr6)
    });
    assert_eq!(
        (bench.cpu.regs[reg::RBX], bench.cpu.regs[reg::RDX]),
        (0xffff_07ff, 0xffff_efff)
    );
}
