//! Debug registers, single step, alignment checks and NMI: what comes in, when, and what it leaves in DR6 and RF.

mod common;

use common::{Asm, Bench, at, sel};
use cpu::{Activity, Stop, reg};
use iced_x86::code_asm::*;
use x86::{Cr0, Cr4, Rflags};

const DB: u64 = 1;
const AC: u64 = 17;
const RF: u64 = Rflags::RF.bits();
const TF: u64 = Rflags::TF.bits();
/// DR7 with breakpoint 0 enabled globally: its R/W and LEN fields lie at bit 16.
const G0: u32 = 2;
const EXECUTE: u32 = 0;
const WRITE: u32 = 1;
const IO: u32 = 2;
const READ_WRITE: u32 = 3;
const WATCHED: u64 = at::DATA + 0x108;

const fn dr7_of(condition: u32, bytes: u64) -> u32 {
    let len = match bytes {
        1 => 0,
        2 => 1,
        4 => 3,
        _ => 2,
    };
    G0 | condition << 16 | len << 18
}

/// Loads DR0 and DR7.
fn arm(a: &mut CodeAssembler, at: u64, control: u32) -> Asm {
    a.mov(rax, at)?;
    a.mov(dr0, rax)?;
    a.mov(eax, control)?;
    a.mov(dr7, rax)
}

/// The vector in whose handler the processor halted, if in one.
fn vector(bench: &Bench) -> Option<u64> {
    let at = bench.cpu.rip().wrapping_sub(at::HANDLERS + 1);
    (at < 4096).then_some(at / 16)
}

/// DR6, read by the guest.
fn status(bench: &mut Bench) -> u64 {
    bench.cpu.flags &= !(TF | RF);
    bench.exec(|a| {
        a.xor(eax, eax)?;
        a.mov(dr7, rax)?;
        a.mov(rbx, dr6)
    });
    bench.cpu.regs[reg::RBX] & 0xe00f
}

/// A handler for vector 1 that counts in R15 and resumes with RF set.
fn resume_after_debug(bench: &Bench) {
    bench.load(
        at::HANDLERS + 16,
        &[
            0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0x49, 0xff, 0xc7, 0x48, 0xcf,
        ],
    );
}

fn access(a: &mut CodeAssembler, bytes: u64, address: u64, writes: bool) -> Asm {
    a.mov(rbx, address)?;
    match (bytes, writes) {
        (1, false) => a.mov(cl, byte_ptr(rbx)),
        (2, false) => a.mov(cx, word_ptr(rbx)),
        (4, false) => a.mov(ecx, dword_ptr(rbx)),
        (_, false) => a.mov(rcx, qword_ptr(rbx)),
        (1, true) => a.mov(byte_ptr(rbx), cl),
        (2, true) => a.mov(word_ptr(rbx), cx),
        (4, true) => a.mov(dword_ptr(rbx), ecx),
        (_, true) => a.mov(qword_ptr(rbx), rcx),
    }
}

#[test]
fn a_data_breakpoint_traps_exactly_the_accesses_that_touch_its_bytes() {
    let mut bench = Bench::long();
    for length in [1, 2, 4, 8] {
        for condition in [WRITE, READ_WRITE] {
            for (bytes, writes) in [(1, false), (2, true), (4, false), (8, true), (4, true)] {
                for address in WATCHED - 9..=WATCHED + 9 {
                    bench.exec(|a| {
                        arm(a, WATCHED, dr7_of(condition, length))?;
                        access(a, bytes, address, writes)?;
                        a.mov(ebp, 1)
                    });
                    let touched = (address..address + bytes)
                        .any(|byte| (WATCHED..WATCHED + length).contains(&byte));
                    let want = touched && (writes || condition == READ_WRITE);
                    assert_eq!(
                        vector(&bench) == Some(DB),
                        want,
                        "{length} bytes watched, {bytes} at {address:#x}, writes: {writes}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_trap_comes_after_the_access_and_dr6_names_the_breakpoint() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RCX] = 0x55;
    bench.exec(|a| {
        arm(a, WATCHED, dr7_of(WRITE, 1))?;
        access(a, 1, WATCHED, true)?;
        a.ud2()
    });
    let caught = bench.caught();
    assert_eq!((u64::from(caught.vector), caught.flags & RF), (DB, 0));
    assert_eq!(bench.peek::<u8>(WATCHED), 0x55);
    assert_eq!(
        bench.peek::<u16>(bench.physical(caught.rip)),
        0x0b0f,
        "at the UD2"
    );
    assert_eq!(status(&mut bench), 1);
}

#[test]
fn an_instruction_breakpoint_faults_before_its_instruction_until_rf_lets_it_pass() {
    let there = at::CODE + 0x40;
    let mut bench = Bench::long();
    bench.load(there, &[0xff, 0xc5, 0xf4]); // INC EBP; HLT
    bench.exec(|a| {
        arm(a, there, dr7_of(EXECUTE, 1))?;
        a.jmp(there)
    });
    let caught = bench.caught();
    assert_eq!((caught.rip, caught.flags & RF), (there, 0));
    assert_eq!(bench.cpu.regs[reg::RBP], 0, "not executed");
    assert_eq!(status(&mut bench), 1);

    let mut bench = Bench::long();
    resume_after_debug(&bench);
    bench.load(there, &[0xff, 0xc5, 0xeb, 0xfc]); // INC EBP; JMP back
    bench.code(|a| {
        arm(a, there, dr7_of(EXECUTE, 1))?;
        a.jmp(there)
    });
    for _ in 0..20 {
        bench.block();
    }
    let (met, done) = (bench.cpu.regs[15], bench.cpu.regs[reg::RBP]);
    assert!(met >= 2, "each round meets it again");
    assert!(met - done <= 1, "and each executes once: {met} {done}");
}

#[test]
fn a_page_fault_pushes_rf_so_that_its_instruction_breakpoint_is_not_met_twice() {
    let mut bench = Bench::long();
    bench.exec(|a| a.mov(al, byte_ptr(0x6000_0000)));
    assert_eq!(bench.caught().flags & RF, RF);
}

#[test]
fn general_detect_guards_the_debug_registers_once() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        a.mov(eax, 0x2000)?;
        a.mov(dr7, rax)?;
        a.mov(rbx, dr0)
    });
    let caught = bench.caught();
    assert_eq!((u64::from(caught.vector), caught.flags & RF), (DB, RF));
    assert_eq!(
        status(&mut bench),
        0x2000,
        "BD; GD itself is clear, or this read had faulted"
    );
}

#[test]
fn one_debug_exception_tells_of_single_step_and_breakpoint_together() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        arm(a, WATCHED, dr7_of(READ_WRITE, 8))?;
        a.mov(rdi, WATCHED)?;
        a.pushfq()?;
        a.or(word_ptr(rsp), 0x100)?;
        a.popfq()?;
        a.mov(rcx, qword_ptr(rdi))
    });
    assert_eq!(u64::from(bench.caught().vector), DB);
    assert_eq!(status(&mut bench), 0x4001);
}

#[test]
fn mov_ss_holds_off_its_own_breakpoint_and_the_single_step_until_the_next_instruction_is_done() {
    let mut bench = Bench::long();
    bench.poke(WATCHED, sel::DATA);
    bench.exec(|a| {
        arm(a, WATCHED, dr7_of(READ_WRITE, 2))?;
        a.mov(rdi, WATCHED)?;
        a.mov(ss, word_ptr(rdi))?;
        a.mov(ebp, 7)?;
        a.ud2()
    });
    let caught = bench.caught();
    assert_eq!(
        (u64::from(caught.vector), bench.cpu.regs[reg::RBP]),
        (DB, 7)
    );
    assert_eq!(
        bench.peek::<u16>(bench.physical(caught.rip)),
        0x0b0f,
        "at the UD2"
    );
}

#[test]
fn a_breakpoint_pending_behind_mov_ss_comes_at_the_first_instruction_of_an_int_handler() {
    let mut bench = Bench::long();
    bench.poke(WATCHED, sel::DATA);
    bench.exec(|a| {
        arm(a, WATCHED, dr7_of(READ_WRITE, 2))?;
        a.mov(rdi, WATCHED)?;
        a.mov(ss, word_ptr(rdi))?;
        a.int(0x40)
    });
    let caught = bench.caught();
    assert_eq!(
        (u64::from(caught.vector), caught.rip),
        (DB, at::HANDLERS + 0x400)
    );
}

#[test]
fn an_io_breakpoint_needs_the_debugging_extensions() {
    for (extensions, want) in [(Cr4::empty(), None), (Cr4::DE, Some(DB))] {
        let mut bench = Bench::long();
        let old = bench.cpu.mmu.regs().cr4;
        bench.cpu.mmu.write_cr4(old | extensions);
        bench.exec(|a| {
            arm(a, 0x62, dr7_of(IO, 2))?;
            a.in_(al, 0x63)
        });
        assert_eq!(vector(&bench), want);
    }
}

#[test]
fn a_repeated_string_instruction_traps_after_the_element_that_met_the_breakpoint() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        arm(a, WATCHED, dr7_of(WRITE, 1))?;
        a.mov(rdi, WATCHED - 4)?;
        a.mov(ecx, 10)?;
        a.rep().stosb()
    });
    let caught = bench.caught();
    assert_eq!(u64::from(caught.vector), DB);
    assert_eq!(
        (bench.cpu.regs[reg::RCX], bench.cpu.regs[reg::RDI]),
        (5, WATCHED + 1)
    );
    assert_eq!(caught.flags & RF, RF, "not the last iteration");
}

#[test]
fn int1_is_a_debug_exception_that_leaves_dr6_and_asks_no_dpl() {
    let mut bench = Bench::long();
    bench.user(|a| a.db(&[0xf1])).run();
    let caught = bench.caught();
    assert_eq!(
        (u64::from(caught.vector), caught.rip),
        (DB, at::USER_CODE + 1)
    );
    assert_eq!(bench.cpu.cpl, 0);
}

#[test]
fn misaligned_accesses_fault_at_cpl_3_under_am_and_ac_only() {
    let flag = Rflags::AC.bits();
    for bytes in [1, 2, 4, 8] {
        for offset in 0..8 {
            let mut bench = Bench::long();
            let old = bench.cpu.mmu.regs().cr0;
            bench.cpu.mmu.write_cr0(old | Cr0::AM);
            bench.cpu.flags |= flag;
            let address = at::USER_STACK - 64 + offset;
            bench.user(|a| {
                access(a, bytes, address, true)?;
                a.ud2()
            });
            bench.run();
            let want = if offset % bytes == 0 { 6 } else { AC };
            assert_eq!(vector(&bench), Some(want), "{bytes} bytes at +{offset}");
            if want == AC {
                assert_eq!(bench.caught().code, Some(0));
            }
        }
    }
    for (mask, ac) in [(Cr0::AM, 0), (Cr0::empty(), flag)] {
        let mut bench = Bench::long();
        let old = bench.cpu.mmu.regs().cr0;
        bench.cpu.mmu.write_cr0(old | mask);
        bench.cpu.flags |= ac;
        bench.user(|a| {
            access(a, 4, at::USER_STACK - 63, true)?;
            a.ud2()
        });
        bench.run();
        assert_eq!(vector(&bench), Some(6));
    }
}

#[test]
fn an_nmi_comes_in_whatever_if_says_and_wakes_a_halted_processor() {
    let mut bench = Bench::long();
    bench.exec(|a| a.nop());
    assert_eq!(bench.cpu.activity, Activity::Halted);
    bench.cpu.nmi();
    bench.run();
    assert_eq!(bench.caught().vector, 2);
}

#[test]
fn a_second_nmi_waits_for_iret() {
    let mut bench = Bench::long();
    // INC R15; HLT; IRETQ
    bench.load(at::HANDLERS + 32, &[0x49, 0xff, 0xc7, 0xf4, 0x48, 0xcf]);
    bench.code(|a| {
        a.nop()?;
        a.hlt()
    });
    bench.cpu.nmi();
    bench.run();
    assert_eq!(bench.cpu.regs[15], 1);
    bench.cpu.nmi();
    assert!(!bench.cpu.nmi_ready());
    assert_eq!(bench.block(), Stop::Idle, "blocked inside the handler");
    bench.cpu.activity = Activity::Running;
    bench.run();
    assert_eq!(bench.cpu.regs[15], 2, "taken once IRET is done");
}
