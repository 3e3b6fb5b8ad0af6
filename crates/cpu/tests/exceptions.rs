//! Exceptions of instructions: which, with what code, and that nothing else has changed.

mod common;

use common::{Asm, Bench, at, first_faults, guarded, sel, user_faults, wrmsr};
use cpu::{Activity, reg};
use iced_x86::code_asm::*;
use trace::Event;
use x86::addr::PAGE_BYTES;
use x86::{Bits, Cr4, Rflags, msr};

const UD: u8 = 6;
const NP: u8 = 11;
const SS: u8 = 12;
const GP: u8 = 13;
const PF: u8 = 14;
/// Mapped nowhere.
const HOLE: u64 = 0x6000_0000;
const RF: u64 = Rflags::RF.bits();

#[test]
fn a_page_fault_tells_address_and_kind_of_the_access() {
    let code = |bits: u64| (PF, Some(bits));
    let mut bench = Bench::long();
    bench.map(HOLE, at::FRAMES + 0x8000, Bits::XD | Bits::A);
    bench.cpu.regs[reg::RBX] = HOLE + 0x1008;
    assert_eq!(
        first_faults(&mut bench, |a| a.mov(rax, qword_ptr(rbx))),
        code(0),
        "read, not present"
    );
    assert_eq!(bench.cpu.cr2, HOLE + 0x1008);
    assert_eq!(
        first_faults(&mut bench, |a| a.mov(qword_ptr(rbx), rax)),
        code(2),
        "write, not present"
    );
    assert_eq!(
        first_faults(&mut bench, |a| a.add(qword_ptr(rbx), rax)),
        code(2),
        "read-modify-write"
    );
    bench.cpu.regs[reg::RBX] = HOLE;
    assert_eq!(
        first_faults(&mut bench, |a| a.mov(qword_ptr(rbx), rax)),
        code(3),
        "write, read-only, CR0.WP"
    );
    bench.exec(|a| a.jmp(rbx));
    let caught = bench.caught();
    assert_eq!(
        (caught.code, caught.rip, bench.cpu.cr2),
        (Some(0x11), HOLE, HOLE),
        "fetch, execute-disable"
    );
    let user = |bench: &mut Bench, f: fn(&mut CodeAssembler) -> Asm| user_faults(bench, f);
    assert_eq!(
        user(&mut bench, |a| a.mov(al, byte_ptr(at::DATA))),
        code(5),
        "user read, supervisor page"
    );
    assert_eq!(
        user(&mut bench, |a| a.mov(byte_ptr(at::DATA), al)),
        code(7),
        "user write, supervisor page"
    );
    assert_eq!(
        user(&mut bench, |a| a.push(qword_ptr(HOLE + 0x1000))),
        code(4),
        "user read, not present"
    );
}

#[test]
fn a_faulting_instruction_changes_no_register_and_no_flag() {
    type Case = (&'static str, fn(&mut CodeAssembler) -> Asm);
    // RBX is unmapped, RSI and RDI and RBP mapped, RSP as each case wants it.
    let cases: [Case; 22] = [
        ("mov", |a| a.mov(rax, qword_ptr(rbx))),
        ("add to memory", |a| a.add(qword_ptr(rbx), rax)),
        ("adc from memory", |a| a.adc(rax, qword_ptr(rbx))),
        ("inc", |a| a.inc(dword_ptr(rbx))),
        ("neg", |a| a.neg(byte_ptr(rbx))),
        ("xchg", |a| a.xchg(qword_ptr(rbx), rax)),
        ("xadd", |a| a.xadd(qword_ptr(rbx), rax)),
        ("cmpxchg", |a| a.cmpxchg(qword_ptr(rbx), rcx)),
        ("cmpxchg16b", |a| a.cmpxchg16b(xmmword_ptr(rbx))),
        ("shl", |a| a.shl(dword_ptr(rbx), cl)),
        ("bts", |a| a.bts(qword_ptr(rbx), rcx)),
        ("imul", |a| a.imul_2(rax, qword_ptr(rbx))),
        ("push from memory", |a| a.push(qword_ptr(rbx))),
        ("pop to memory", |a| a.pop(qword_ptr(rbx))),
        ("call through memory", |a| a.call(qword_ptr(rbx))),
        ("cmov, not taken", |a| a.cmovo(rax, qword_ptr(rbx))),
        ("setcc", |a| a.sete(byte_ptr(rbx))),
        ("cmpsb, second operand", |a| {
            a.db(&[0x48, 0x87, 0xdf])?; // XCHG RDI, RBX
            a.cmpsb()
        }),
        ("stosq", |a| {
            a.db(&[0x48, 0x87, 0xdf])?;
            a.stosq()
        }),
        ("lodsq", |a| {
            a.db(&[0x48, 0x87, 0xde])?; // XCHG RSI, RBX
            a.lodsq()
        }),
        ("leave", |a| {
            a.db(&[0x48, 0x87, 0xdd])?; // XCHG RBP, RBX
            a.leave()
        }),
        ("movbe", |a| a.movbe(rax, qword_ptr(rbx))),
    ];
    for (name, case) in cases {
        let mut bench = guarded();
        set_registers(&mut bench);
        let before = bench.cpu.regs;
        bench.exec(case);
        let caught = bench.caught();
        assert_eq!((caught.vector, bench.cpu.cr2), (PF, HOLE), "{name}");
        let mut after = bench.cpu.regs;
        for swapped in [reg::RDI, reg::RSI, reg::RBP] {
            // What the XCHG before the instruction did.
            if caught.rip != at::CODE && after[swapped] == HOLE {
                after.swap(swapped, reg::RBX);
            }
        }
        after[reg::RSP] = caught.rsp;
        assert_eq!(after[..16], before[..16], "{name}");
        assert_eq!(caught.flags & !RF, before_flags(), "{name}");
        assert!(
            caught.rip == at::CODE || caught.rip == at::CODE + 3,
            "{name}"
        );
    }
}

fn before_flags() -> u64 {
    (Rflags::ALWAYS_1 | Rflags::CF | Rflags::AF | Rflags::SF).bits()
}

fn set_registers(bench: &mut Bench) {
    bench.cpu.regs[..16].copy_from_slice(&std::array::from_fn::<u64, 16, _>(|i| {
        0x1111_1111_1111_1111 * i as u64
    }));
    bench.cpu.regs[reg::RBX] = HOLE;
    bench.cpu.regs[reg::RCX] = 3;
    bench.cpu.regs[reg::RSP] = at::STACK;
    for pointer in [reg::RBP, reg::RSI, reg::RDI] {
        bench.cpu.regs[pointer] = at::DATA;
    }
    bench.cpu.flags = before_flags();
}

#[test]
fn an_instruction_whose_stack_access_faults_leaves_rsp_and_rip() {
    type Case = (&'static str, fn(&mut CodeAssembler) -> Asm, u64);
    let cases: [Case; 8] = [
        ("push", |a| a.push(rax), 2),
        ("push immediate", |a| a.push(1), 2),
        ("pushfq", |a| a.pushfq(), 2),
        ("call", |a| a.call(at::CODE + 0x100), 2),
        ("call register", |a| a.call(rsi), 2),
        ("enter", |a| a.enter(16, 0), 2),
        ("pop", |a| a.pop(rax), 0),
        ("ret", |a| a.ret(), 0),
    ];
    for (name, case, code) in cases {
        let mut bench = guarded();
        set_registers(&mut bench);
        bench.cpu.regs[reg::RSP] = HOLE + 0x800;
        let before = bench.cpu.regs;
        assert_eq!(first_faults(&mut bench, case), (PF, Some(code)), "{name}");
        assert_eq!(bench.caught().rsp, HOLE + 0x800, "{name}");
        assert_eq!(bench.cpu.regs[..4], before[..4], "{name}");
        assert_eq!(bench.cpu.regs[5..16], before[5..16], "{name}");
    }
}

#[test]
fn a_repeated_move_that_faults_stands_at_the_element_that_did() {
    for (df, first, last) in [
        (0, HOLE - 24, HOLE),
        (
            Rflags::DF.bits(),
            HOLE + PAGE_BYTES + 16,
            HOLE + PAGE_BYTES - 8,
        ),
    ] {
        let mut bench = guarded();
        for page in [HOLE - PAGE_BYTES, HOLE + PAGE_BYTES] {
            bench.map(page, at::FRAMES + 0x8000, Bits::RW);
        }
        bench.cpu.flags |= df;
        bench.cpu.regs[reg::RCX] = 8;
        bench.cpu.regs[reg::RSI] = at::DATA + 0x800;
        bench.cpu.regs[reg::RDI] = first;
        assert_eq!(first_faults(&mut bench, |a| a.rep().movsq()), (PF, Some(2)));
        let moved = last.wrapping_sub(first);
        assert_eq!(bench.cpu.regs[reg::RCX], 5, "three elements were moved");
        assert_eq!(bench.cpu.regs[reg::RDI], last);
        assert_eq!(
            bench.cpu.regs[reg::RSI],
            (at::DATA + 0x800).wrapping_add(moved)
        );
        assert_eq!(bench.cpu.cr2, last);
    }
}

#[test]
fn a_repeated_move_goes_on_where_it_faulted_once_the_page_is_there() {
    let mut bench = guarded();
    bench.map(HOLE - PAGE_BYTES, at::FRAMES + 0x8000, Bits::RW);
    bench.load(at::DATA, &(0..64).collect::<Vec<u8>>());
    bench.cpu.regs[reg::RCX] = 64;
    bench.cpu.regs[reg::RSI] = at::DATA;
    bench.cpu.regs[reg::RDI] = HOLE - 10;
    first_faults(&mut bench, |a| a.rep().movsb());
    bench.map(HOLE, at::FRAMES + 0x9000, Bits::RW);
    let rsp_value = bench.caught().rsp;
    bench.cpu.set_rip(at::CODE);
    bench.cpu.regs[reg::RSP] = rsp_value;
    bench.cpu.activity = Activity::Running;
    bench.run();
    assert_eq!(
        (bench.cpu.regs[reg::RCX], bench.cpu.regs[reg::RDI]),
        (0, HOLE + 54)
    );
    assert_eq!(bench.peek::<u8>(at::FRAMES + 0x8fff), 9);
    assert_eq!(bench.peek::<u8>(at::FRAMES + 0x9000), 10);
}

#[test]
fn a_store_across_pages_writes_nothing_if_the_second_page_faults() {
    for (second, code) in [(None, 2), (Some(Bits::A), 3)] {
        let mut bench = guarded();
        bench.map(HOLE - PAGE_BYTES, at::FRAMES + 0x8000, Bits::RW);
        if let Some(bits) = second {
            bench.map(HOLE, at::FRAMES + 0x9000, bits);
        }
        bench.cpu.regs[reg::RAX] = u64::MAX;
        assert_eq!(
            first_faults(&mut bench, |a| a.mov(qword_ptr(HOLE - 4), rax)),
            (PF, Some(code))
        );
        assert_eq!(bench.cpu.cr2, HOLE, "CR2 names the second page");
        assert_eq!(bench.peek::<u32>(at::FRAMES + 0x8ffc), 0);
    }
}

#[test]
fn smap_guards_user_pages_from_the_supervisor_unless_ac_is_set() {
    let mut bench = guarded();
    bench.map(HOLE, at::FRAMES + 0x8000, Bits::RW | Bits::US);
    bench
        .cpu
        .mmu
        .write_cr4(bench.cpu.mmu.regs().cr4 | Cr4::SMAP);
    assert_eq!(
        first_faults(&mut bench, |a| a.mov(al, byte_ptr(HOLE))),
        (PF, Some(1))
    );
    bench.cpu.regs[reg::RSP] = at::STACK;
    bench.exec(|a| {
        a.stac()?;
        a.mov(al, byte_ptr(HOLE))?;
        a.clac()?;
        a.mov(al, byte_ptr(HOLE))
    });
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.rip > at::CODE + 3),
        (PF, true),
        "only the second read faults"
    );
}

#[test]
fn a_non_canonical_address_is_gp_and_on_the_stack_ss() {
    const BAD: u64 = (1 << 47) + 0x1000;
    type Case = (&'static str, fn(&mut CodeAssembler) -> Asm, u8);
    let cases: [Case; 10] = [
        ("load", |a| a.mov(al, byte_ptr(rax)), GP),
        ("store", |a| a.mov(byte_ptr(rax), al), GP),
        ("jump", |a| a.jmp(rax), GP),
        ("call", |a| a.call(rax), GP),
        ("by RBP", |a| a.mov(al, byte_ptr(rbp)), SS),
        (
            "by RBP with a DS prefix, which is ignored",
            |a| a.db(&[0x3e, 0x8a, 0x45, 0x00]),
            SS,
        ),
        (
            "by RAX with an SS prefix, which is ignored",
            |a| a.db(&[0x36, 0x8a, 0x00]),
            GP,
        ),
        ("by RSP", |a| a.mov(al, byte_ptr(rsp)), SS),
        ("push", |a| a.push(rcx), SS),
        ("pop", |a| a.pop(rcx), SS),
    ];
    for (name, case, vector) in cases {
        let mut bench = guarded();
        bench.cpu.regs[..8].fill(BAD);
        if name == "call" {
            bench.cpu.regs[reg::RSP] = at::STACK;
        }
        assert_eq!(first_faults(&mut bench, case), (vector, Some(0)), "{name}");
    }
    // The first byte is canonical, the last is not.
    let edge: [Case; 3] = [
        ("load", |a| a.mov(rax, qword_ptr(rax)), GP),
        ("by RSP", |a| a.mov(rax, qword_ptr(rsp)), SS),
        ("pop", |a| a.pop(rcx), SS),
    ];
    for (name, case, vector) in edge {
        let mut bench = guarded();
        bench.cpu.regs[..8].fill((1 << 47) - 4);
        assert_eq!(
            first_faults(&mut bench, case),
            (vector, Some(0)),
            "{name} across the edge"
        );
    }
    let mut bench = guarded();
    bench.poke(at::STACK, BAD);
    assert_eq!(
        first_faults(&mut bench, |a| a.ret()),
        (GP, Some(0)),
        "return to a non-canonical address"
    );
    assert_eq!(bench.caught().rsp, at::STACK);
}

#[test]
fn a_divide_error_leaves_the_accumulator_and_points_at_the_division() {
    let mut bench = guarded();
    for (dividend, divisor) in [((0, 7), 0), ((3, 0), 3), ((3, 0), 2)] {
        (bench.cpu.regs[reg::RDX], bench.cpu.regs[reg::RAX]) = dividend;
        bench.cpu.regs[reg::RCX] = divisor;
        assert_eq!(first_faults(&mut bench, |a| a.div(rcx)), (0, None));
        assert_eq!(
            (bench.cpu.regs[reg::RDX], bench.cpu.regs[reg::RAX]),
            dividend
        );
    }
    (bench.cpu.regs[reg::RDX], bench.cpu.regs[reg::RAX]) = (u64::MAX, 1 << 63);
    bench.cpu.regs[reg::RCX] = u64::MAX;
    assert_eq!(
        first_faults(&mut bench, |a| a.idiv(rcx)),
        (0, None),
        "-2^63 / -1"
    );
}

#[test]
fn an_instruction_this_machine_lacks_is_ud_with_a_line_in_the_log() {
    let mut bench = guarded();
    assert_eq!(first_faults(&mut bench, |a| a.rdrand(eax)), (UD, None));
    let (rip, bytes, text) = &bench.bus.missing[0];
    assert_eq!((*rip, &bytes[..]), (at::CODE, &[0x0f, 0xc7, 0xf0][..]));
    assert!(text.contains("rdrand"), "{text}");
    assert!(
        bench
            .events()
            .iter()
            .any(|e| matches!(e, Event::Missing { rip, .. } if *rip == at::CODE))
    );
}

#[test]
fn an_encoding_that_is_no_instruction_is_ud_without_a_line() {
    let encodings: [&[u8]; 6] = [
        &[0x06],             // PUSH ES, not in 64-bit mode
        &[0x0f, 0x0b],       // UD2
        &[0xf0, 0x89, 0x03], // LOCK MOV [RBX], EAX
        &[0xf0, 0x01, 0xd8], // LOCK ADD EAX, EBX
        &[0x8e, 0xc8],       // MOV CS, EAX
        &[0x0f, 0x20, 0xc8], // MOV RAX, CR1
    ];
    for bytes in encodings {
        let mut bench = guarded();
        assert_eq!(
            first_faults(&mut bench, |a| a.db(bytes)),
            (UD, None),
            "{bytes:02x?}"
        );
        assert!(bench.bus.missing.is_empty(), "{bytes:02x?}");
    }
}

#[test]
fn an_instruction_of_more_than_15_bytes_is_gp() {
    let mut bench = guarded();
    assert_eq!(
        first_faults(&mut bench, |a| a.db(&[&[0x66; 15][..], &[0x90]].concat())),
        (GP, Some(0))
    );
    bench.cpu.regs[reg::RSP] = at::STACK;
    bench.exec(|a| a.db(&[&[0x66; 14][..], &[0x90]].concat()));
    assert_eq!(
        bench.cpu.rip(),
        at::CODE + 16,
        "15 bytes are an instruction"
    );
}

#[test]
fn a_fetch_faults_only_on_a_page_the_instruction_reaches() {
    for (bytes, vector, address) in [
        (&[0x0f, 0x0b][..], UD, 0),
        (&[0x0f][..], PF, HOLE),
        (&[0x48][..], PF, HOLE),
    ] {
        let mut bench = guarded();
        let start = HOLE - bytes.len() as u64;
        bench.map(HOLE - PAGE_BYTES, at::FRAMES + 0x8000, Bits::empty());
        bench.load(at::FRAMES + (start & 0xfff) + 0x8000, bytes);
        bench.exec(|a| {
            a.mov(rax, start)?;
            a.jmp(rax)
        });
        let caught = bench.caught();
        assert_eq!(
            (caught.vector, caught.rip, bench.cpu.cr2),
            (vector, start, address),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn a_fetch_from_outside_ram_is_ud() {
    let mut bench = guarded();
    // The last byte of a page: the next one is not mapped, and need not be.
    bench.map(HOLE, at::MMIO, Bits::empty());
    bench.cpu.regs[reg::RAX] = HOLE + PAGE_BYTES - 1;
    bench.exec(|a| a.jmp(rax));
    let caught = bench.caught();
    assert_eq!((caught.vector, caught.rip), (UD, HOLE + PAGE_BYTES - 1));
    assert!(bench.bus.asked.is_empty());
}

#[test]
fn faults_push_rf_and_traps_and_interrupts_do_not() {
    let mut bench = guarded();
    bench.exec(|a| a.ud2());
    assert_ne!(bench.caught().flags & RF, 0);
    let mut bench = Bench::long();
    bench.exec(|a| a.int(0x40));
    assert_eq!(bench.caught().flags & RF, 0);
    let mut bench = Bench::long();
    bench.exec(|a| a.int3());
    assert_eq!(
        (
            bench.caught().vector,
            bench.caught().rip,
            bench.caught().flags & RF
        ),
        (3, at::CODE + 1, 0)
    );
}

#[test]
fn loading_a_segment_register_checks_selector_and_descriptor() {
    let mut bench = guarded();
    let load = |bench: &mut Bench, selector: u16, ss_register: bool| {
        bench.cpu.regs[reg::RAX] = u64::from(selector);
        bench.cpu.regs[reg::RSP] = at::STACK;
        first_faults(bench, |a| {
            if ss_register {
                a.mov(ss, eax)
            } else {
                a.mov(ds, eax)
            }
        })
    };
    assert_eq!(
        load(&mut bench, 0x200, false),
        (GP, Some(0x200)),
        "outside the GDT"
    );
    assert_eq!(
        load(&mut bench, sel::TSS, false),
        (GP, Some(u64::from(sel::TSS))),
        "a system segment"
    );
    assert_eq!(
        load(&mut bench, sel::DATA | 3, false),
        (GP, Some(u64::from(sel::DATA))),
        "RPL above DPL"
    );
    assert_eq!(
        load(&mut bench, sel::CODE64, true),
        (GP, Some(u64::from(sel::CODE64))),
        "code as a stack"
    );
    assert_eq!(load(&mut bench, 3, true), (GP, Some(0)), "null with RPL 3");
    bench.poke(at::GDT + u64::from(sel::DATA), 0x00cf_1300_0000_ffff_u64);
    assert_eq!(
        load(&mut bench, sel::DATA, false),
        (NP, Some(u64::from(sel::DATA))),
        "not present"
    );
    assert_eq!(
        load(&mut bench, sel::DATA, true),
        (SS, Some(u64::from(sel::DATA))),
        "a stack not present"
    );
}

#[test]
fn sgdt_across_pages_writes_nothing_if_the_second_page_faults() {
    let mut bench = guarded();
    bench.map(HOLE - PAGE_BYTES, at::FRAMES + 0x8000, Bits::RW);
    assert_eq!(
        first_faults(&mut bench, |a| a.sgdt(ptr(HOLE - 4))),
        (PF, Some(2))
    );
    assert_eq!(
        (bench.peek::<u32>(at::FRAMES + 0x8ffc), bench.cpu.cr2),
        (0, HOLE)
    );
}

#[test]
fn cmpxchg16b_needs_a_linear_address_of_16() {
    let mut bench = guarded();
    assert_eq!(
        first_faults(&mut bench, |a| a.cmpxchg16b(xmmword_ptr(at::DATA + 8))),
        (GP, Some(0))
    );
    bench.cpu.regs[reg::RSP] = at::STACK;
    bench.exec(|a| {
        wrmsr(a, msr::FS_BASE, 8)?;
        a.cmpxchg16b(xmmword_ptr(at::DATA + 8).fs())
    });
    assert!(
        bench.cpu.rip() > at::CODE,
        "base and offset together are aligned"
    );
}

#[test]
fn ldt_and_task_register_instructions_are_ud_in_real_mode() {
    // LLDT AX, LTR AX, SLDT AX, STR AX.
    for modrm in [0xd0, 0xd8, 0xc0, 0xc8] {
        let mut bench = Bench::real(9);
        bench.poke(4 * 6, 0x0050_0123_u32);
        bench.poke(0x623, 0xf4_u8);
        bench.cpu.regs[reg::RSP] = 0x8000;
        bench.load(0x9000, &[0x0f, 0x00, modrm]);
        bench.run();
        assert_eq!(bench.cpu.rip(), 0x124, "{modrm:#x}");
    }
}

#[test]
fn a_repeat_count_of_0_touches_nothing() {
    let mut bench = guarded();
    (bench.cpu.regs[reg::RSI], bench.cpu.regs[reg::RDI]) = (HOLE, 1 << 47);
    bench.exec(|a| {
        a.rep().movsq()?;
        a.repe().cmpsb()?;
        a.rep().stosb()
    });
    assert!(bench.cpu.rip() > at::CODE, "no exception");
}
