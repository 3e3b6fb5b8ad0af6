//! Exceptions and interrupts: when they come, what they push, what they leave untouched.

mod common;

use common::{Asked, Asm, Bench, Caught, assemble, at, sel, wrmsr};
use cpu::{Activity, SegReg, reg};
use iced_x86::code_asm::*;
use memory::Width;
use trace::Event;
use x86::addr::PAGE_BYTES;
use x86::descriptor::{Gate64, Selector};
use x86::{Bits, Cr4, Rflags, msr};

const UD: u8 = 6;
const DF: u8 = 8;
const NP: u8 = 11;
const SS: u8 = 12;
const GP: u8 = 13;
const PF: u8 = 14;
/// Mapped nowhere.
const HOLE: u64 = 0x6000_0000;
const KERNEL_CS: u64 = sel::CODE64 as u64;
const USER_CS: u64 = sel::USER_CODE64 as u64;

const IF: u64 = Rflags::IF.bits();
const TF: u64 = Rflags::TF.bits();
const RF: u64 = Rflags::RF.bits();

/// A bench that takes stack and page faults on a stack of their own.
fn guarded() -> Bench {
    let mut bench = Bench::long();
    bench.use_ist1(&[0, 6, 8, 11, 12, 13, 14]);
    bench
}

/// Runs `f` and returns vector and error code of the exception at its first instruction.
fn first_faults(bench: &mut Bench, f: impl FnOnce(&mut CodeAssembler) -> Asm) -> (u8, Option<u64>) {
    bench.exec(f);
    let caught = bench.caught();
    assert_eq!(
        caught.rip,
        at::CODE,
        "{caught:x?} is not of the first instruction"
    );
    (caught.vector, caught.code)
}

/// Runs `f` at CPL 3 and returns the exception at its first instruction.
fn user_faults(bench: &mut Bench, f: impl FnOnce(&mut CodeAssembler) -> Asm) -> (u8, Option<u64>) {
    bench.user(f).run();
    let caught = bench.caught();
    assert_eq!(
        (caught.rip, caught.cs),
        (at::USER_CODE, USER_CS),
        "{caught:x?}"
    );
    (caught.vector, caught.code)
}

// Page faults.

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

// #GP, #SS, #UD, #DE.

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
    assert_eq!(
        first_faults(&mut bench, |a| a.aesenc(xmm0, xmm1)),
        (UD, None)
    );
    let (rip, bytes, text) = &bench.bus.missing[0];
    assert_eq!(
        (*rip, &bytes[..]),
        (at::CODE, &[0x66, 0x0f, 0x38, 0xdc, 0xc1][..])
    );
    assert!(text.contains("aesenc"), "{text}");
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

// The IDT: privilege, stacks, nesting.

#[test]
fn int_n_needs_a_gate_whose_dpl_admits_it() {
    for (vector, code) in [(0x80, 0x402), (3, 0x1a)] {
        let mut bench = Bench::long();
        let int = move |a: &mut CodeAssembler| if vector == 3 { a.int3() } else { a.int(0x80) };
        assert_eq!(
            user_faults(&mut bench, int),
            (GP, Some(code)),
            "DPL 0 from CPL 3"
        );
        bench.set_gate(
            vector,
            Gate64::interrupt(bench.gate(vector).offset(), Selector(sel::CODE64), 0, 3),
        );
        bench.user(int).run();
        let caught = bench.caught();
        let next = at::USER_CODE + if vector == 3 { 1 } else { 2 };
        assert_eq!(
            (caught.vector, caught.rip, caught.code),
            (vector, next, None),
            "DPL 3 from CPL 3"
        );
    }
}

#[test]
fn exceptions_and_interrupts_come_in_whatever_the_dpl_of_the_gate() {
    let mut bench = Bench::long();
    assert_eq!(user_faults(&mut bench, |a| a.ud2()), (UD, None));
}

#[test]
fn an_exception_at_cpl_3_is_delivered_on_rsp0_with_a_null_stack_segment() {
    let mut bench = Bench::long();
    bench.user(|a| a.ud2()).run();
    let caught = bench.caught();
    let want = Caught {
        vector: UD,
        code: None,
        rip: at::USER_CODE,
        cs: USER_CS,
        flags: 0x2 | RF,
        rsp: at::USER_STACK,
        ss: u64::from(sel::USER_DATA),
    };
    assert_eq!(caught, want);
    assert_eq!(bench.cpu.regs[reg::RSP], at::RSP0 - 40);
    assert_eq!(
        (bench.cpu.cpl, bench.cpu.seg(SegReg::Ss).selector),
        (0, Selector(0))
    );
}

#[test]
fn delivery_aligns_the_stack_to_16_bytes_and_ist_replaces_it() {
    for misalign in 0..16 {
        let mut bench = Bench::long();
        bench.cpu.regs[reg::RSP] = at::STACK - misalign;
        bench.exec(|a| a.ud2());
        assert_eq!(bench.caught().rsp, at::STACK - misalign);
        assert_eq!(
            bench.cpu.regs[reg::RSP],
            ((at::STACK - misalign) & !15) - 40
        );
    }
    let mut bench = guarded();
    bench.exec(|a| a.ud2());
    assert_eq!(bench.caught().rsp, at::STACK);
    assert_eq!(bench.cpu.regs[reg::RSP], at::IST1 - 40);
    let same_level = bench.cpu.seg(SegReg::Ss).selector;
    assert_eq!(
        same_level,
        Selector(sel::DATA),
        "SS changes only with the privilege level"
    );
}

#[test]
fn an_interrupt_gate_clears_if_and_a_trap_gate_does_not() {
    for (kind, left) in [(0xe_u64, 0), (0xf, IF)] {
        let mut bench = Bench::long();
        let gate = bench.gate(0x40);
        bench.set_gate(
            0x40,
            Gate64 {
                low: gate.low & !(0xf << 40) | kind << 40,
                ..gate
            },
        );
        bench.cpu.flags |= IF;
        bench.exec(|a| a.int(0x40));
        assert_eq!(bench.cpu.flags & IF, left);
        assert_eq!(bench.caught().flags & IF, IF);
    }
}

#[test]
fn iretq_returns_from_a_handler_to_ring_3() {
    let mut bench = Bench::long();
    bench.set_gate(
        0x80,
        Gate64::interrupt(at::HANDLERS + 0x800, Selector(sel::CODE64), 0, 3),
    );
    bench.load(
        at::HANDLERS + 0x800,
        &assemble(64, 0, |a| {
            a.mov(ebx, cs)?;
            a.iretq()
        }),
    );
    bench.user(|a| {
        a.stc()?;
        a.int(0x80)?;
        a.mov(eax, cs)?;
        a.ud2()
    });
    bench.run();
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.cs, caught.rsp),
        (UD, USER_CS, at::USER_STACK)
    );
    assert_eq!(
        (bench.cpu.regs[reg::RAX], bench.cpu.regs[reg::RBX]),
        (USER_CS, KERNEL_CS)
    );
    assert_eq!(caught.flags & Rflags::CF.bits(), 1, "flags came back");
}

#[test]
fn iretq_checks_what_it_pops() {
    let frame = |rip: u64, cs_value: u64, ss_value: u64| [rip, cs_value, 2, at::STACK, ss_value];
    let user_ss = u64::from(sel::USER_DATA);
    let kernel_ss = u64::from(sel::DATA);
    for (name, values, error) in [
        ("a null code segment", frame(at::CODE, 0, kernel_ss), 0),
        (
            "data as code",
            frame(at::CODE, kernel_ss, kernel_ss),
            kernel_ss,
        ),
        (
            "RPL 3 of a DPL 0 segment",
            frame(at::CODE, KERNEL_CS | 3, user_ss),
            KERNEL_CS,
        ),
        (
            "a stack of another level",
            frame(at::CODE, USER_CS, kernel_ss),
            kernel_ss,
        ),
        ("a null stack at CPL 3", frame(at::CODE, USER_CS, 3), 0),
        (
            "a non-canonical RIP",
            frame(1 << 47, KERNEL_CS, kernel_ss),
            0,
        ),
    ] {
        let mut bench = guarded();
        for (i, value) in (0..).zip(values) {
            bench.poke(at::STACK - 0x80 + 8 * i, value);
        }
        bench.cpu.regs[reg::RSP] = at::STACK - 0x80;
        assert_eq!(
            first_faults(&mut bench, |a| a.iretq()),
            (GP, Some(error)),
            "{name}"
        );
        assert_eq!(bench.caught().rsp, at::STACK - 0x80, "{name}");
    }
}

#[test]
fn user_code_cannot_give_itself_if_or_iopl() {
    let mut bench = Bench::long();
    bench.user(|a| {
        a.push(0x3202)?;
        a.popfq()?;
        a.ud2()
    });
    bench.run();
    assert_eq!(bench.caught().flags & 0x3200, 0);
}

/// Makes the gate of `vector` not present.
fn take_away(bench: &Bench, vector: u8) {
    let gate = bench.gate(vector);
    bench.set_gate(
        vector,
        Gate64 {
            low: gate.low & !(1 << 47),
            ..gate
        },
    );
}

#[test]
fn a_second_fault_during_delivery_is_a_double_fault_only_for_the_pairs_of_the_table() {
    let divide: fn(&mut CodeAssembler) -> Asm = |a| a.div(rbp);
    let protection: fn(&mut CodeAssembler) -> Asm = |a| a.db(&[0x0f, 0x22, 0xe0]); // MOV CR4, RAX
    let page: fn(&mut CodeAssembler) -> Asm = |a| a.mov(al, byte_ptr(HOLE));
    let undefined: fn(&mut CodeAssembler) -> Asm = |a| a.ud2();
    // The first exception, its vector, and what a missing gate (#NP) makes of it.
    for (name, first, vector, want) in [
        ("#DE then #NP", divide, 0, (DF, Some(0))),
        ("#GP then #NP", protection, GP, (DF, Some(0))),
        ("#PF then #NP", page, PF, (DF, Some(0))),
        (
            "#UD then #NP",
            undefined,
            UD,
            (NP, Some(u64::from(UD) << 3 | 3)),
        ),
    ] {
        let mut bench = Bench::long();
        bench.cpu.regs[reg::RAX] = u64::MAX;
        take_away(&bench, vector);
        assert_eq!(first_faults(&mut bench, first), want, "{name}");
    }
}

#[test]
fn a_page_fault_on_the_stack_of_a_page_fault_is_a_double_fault_and_cr2_names_the_later_one() {
    let mut bench = Bench::long();
    bench.use_ist1(&[DF]);
    bench.cpu.regs[reg::RSP] = HOLE + 0x1000;
    bench.exec(|a| a.mov(al, byte_ptr(HOLE + 0x5000)));
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.code, caught.rip),
        (DF, Some(0), at::CODE)
    );
    assert_eq!(bench.cpu.cr2, HOLE + 0xff8);
}

#[test]
fn a_contributory_fault_then_a_page_fault_is_handled_as_the_page_fault() {
    let mut bench = Bench::long();
    bench.use_ist1(&[PF]);
    bench.cpu.regs[reg::RSP] = HOLE + 0x1000;
    bench.exec(|a| a.div(rbp));
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.code, bench.cpu.cr2),
        (PF, Some(2), HOLE + 0xff8)
    );
}

#[test]
fn a_fault_while_delivering_a_double_fault_shuts_the_processor_down() {
    let mut bench = Bench::long();
    for vector in [GP, DF] {
        take_away(&bench, vector);
    }
    bench.cpu.regs[reg::RAX] = u64::MAX;
    bench.exec(|a| a.mov(cr4, rax));
    assert_eq!(bench.cpu.activity, Activity::Shutdown);
    bench.bus.interrupts.push_back(0x40);
    bench.cpu.flags |= IF;
    bench.run();
    assert_eq!(
        bench.cpu.activity,
        Activity::Shutdown,
        "interrupts do not wake it"
    );
    bench.cpu.init();
    assert_ne!(bench.cpu.activity, Activity::Shutdown, "INIT does");
}

#[test]
fn without_an_idt_the_first_exception_shuts_the_processor_down() {
    let mut bench = Bench::long();
    bench.cpu.idtr.limit = 0;
    bench.exec(|a| a.ud2());
    assert_eq!(bench.cpu.activity, Activity::Shutdown);
}

#[test]
fn real_mode_goes_through_the_vector_table_with_three_words() {
    let mut bench = Bench::real(9);
    bench.poke(4 * 0x21, 0x0050_0123_u32);
    bench.poke(0x623, 0xf4_u8);
    bench.cpu.regs[reg::RSP] = 0x8000;
    bench.cpu.flags |= IF;
    bench.load(0x9000, &[0xcd, 0x21]);
    bench.run();
    assert_eq!(
        (bench.cpu.seg(SegReg::Cs).selector, bench.cpu.rip()),
        (Selector(0x50), 0x124)
    );
    assert_eq!(bench.cpu.flags & IF, 0);
    let words = [0x7ffa, 0x7ffc, 0x7ffe].map(|pa| bench.peek::<u16>(pa));
    assert_eq!(words, [2, 0x900, 0x202], "IP, CS, FLAGS");
}

// External interrupts, HLT, single step.

#[test]
fn an_interrupt_waits_for_if() {
    let mut bench = Bench::long();
    bench.bus.interrupts.push_back(0x40);
    bench.exec(|a| a.nop());
    assert_eq!(
        (bench.cpu.rip(), bench.bus.interrupts.len()),
        (at::CODE + 2, 1)
    );
    bench.cpu.flags |= IF;
    bench.exec(|a| a.nop());
    assert_eq!(
        (
            bench.caught().vector,
            bench.caught().rip,
            bench.caught().code
        ),
        (0x40, at::CODE, None)
    );
    assert!(bench.bus.interrupts.is_empty());
}

#[test]
fn sti_holds_interrupts_off_for_one_more_instruction() {
    let taken_at = |flags: u64, f: fn(&mut CodeAssembler) -> Asm| {
        let mut bench = Bench::long();
        bench.cpu.flags |= flags;
        bench.bus.interrupts.push_back(0x40);
        bench.exec(f);
        bench.caught().rip - at::CODE
    };
    assert_eq!(
        taken_at(0, |a| {
            a.sti()?;
            a.nop()?;
            a.nop()
        }),
        2
    );
    assert_eq!(
        taken_at(0, |a| a.sti()),
        2,
        "STI, HLT: the HLT is executed, then left"
    );
    assert_eq!(
        taken_at(IF, |a| {
            a.sti()?;
            a.nop()?;
            a.nop()
        }),
        0,
        "already open"
    );
    assert_eq!(
        taken_at(0, |a| {
            a.sti()?;
            a.sti()?;
            a.nop()
        }),
        2,
        "the second STI holds nothing"
    );
    assert_eq!(
        taken_at(0, |a| {
            a.push(0x202)?;
            a.popfq()?;
            a.nop()
        }),
        6,
        "POPF has no shadow"
    );
}

#[test]
fn mov_to_ss_holds_interrupts_off_for_one_more_instruction() {
    let mut bench = Bench::long();
    bench.code(|a| {
        a.mov(eax, u32::from(sel::DATA))?;
        a.mov(ss, eax)?;
        a.nop()?;
        a.nop()
    });
    bench.block();
    assert_eq!(bench.cpu.rip(), at::CODE + 7, "the block ends after MOV SS");
    bench.cpu.flags |= IF;
    bench.bus.interrupts.push_back(0x40);
    bench.run();
    assert_eq!(bench.caught().rip, at::CODE + 8);
}

#[test]
fn cli_after_sti_lets_no_interrupt_in() {
    let mut bench = Bench::long();
    bench.bus.interrupts.push_back(0x40);
    bench.exec(|a| {
        a.sti()?;
        a.cli()?;
        a.nop()
    });
    assert_eq!(bench.bus.interrupts.len(), 1);
}

#[test]
fn an_interrupt_wakes_a_halted_processor_past_the_hlt() {
    let mut bench = Bench::long();
    bench.exec(|a| a.sti());
    assert_eq!(bench.cpu.activity, Activity::Halted);
    bench.bus.interrupts.push_back(0x40);
    bench.run();
    assert_eq!(
        (bench.caught().vector, bench.caught().rip),
        (0x40, at::CODE + 2)
    );
}

#[test]
fn a_spurious_request_delivers_nothing() {
    let mut bench = Bench::long();
    bench.cpu.flags |= IF;
    bench.cpu.interrupt_request = true;
    bench.exec(|a| a.nop());
    assert_eq!(bench.cpu.rip(), at::CODE + 2);
}

#[test]
fn tf_traps_after_the_instruction_that_began_with_it() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        a.push(0x100)?;
        a.popfq()?;
        a.inc(rax)?;
        a.inc(rax)
    });
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.code, caught.rip),
        (1, None, at::CODE + 9)
    );
    assert_eq!(bench.cpu.regs[reg::RAX], 1);
    assert_eq!((caught.flags & TF, bench.cpu.flags & TF), (TF, 0));
    bench.exec(|a| a.mov(rax, dr6));
    assert_ne!(bench.cpu.regs[reg::RAX] & 1 << 14, 0, "DR6.BS");
}

#[test]
fn the_popf_that_clears_tf_is_still_trapped() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    bench.poke(at::STACK - 8, 2_u64);
    bench.cpu.regs[reg::RSP] = at::STACK - 8;
    bench.exec(|a| a.popfq());
    assert_eq!(
        (
            bench.caught().vector,
            bench.caught().rip,
            bench.caught().flags & TF
        ),
        (1, at::CODE + 1, 0)
    );
}

#[test]
fn int_n_under_tf_enters_its_handler_without_a_trap() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    bench.exec(|a| a.int(0x40));
    assert_eq!(
        (bench.caught().vector, bench.caught().flags & TF),
        (0x40, TF)
    );
}

#[test]
fn a_fault_under_tf_is_delivered_without_a_trap() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    assert_eq!(first_faults(&mut bench, |a| a.ud2()), (UD, None));
    assert_eq!(bench.cpu.rip(), at::HANDLERS + 16 * u64::from(UD) + 1);
}

#[test]
fn a_single_step_of_a_repeated_instruction_is_one_element() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    bench.cpu.regs[reg::RCX] = 5;
    bench.cpu.regs[reg::RDI] = at::DATA;
    bench.exec(|a| a.rep().stosb());
    assert_eq!(
        (bench.caught().vector, bench.caught().rip),
        (1, at::CODE),
        "RIP is still at the instruction"
    );
    assert_eq!(
        (bench.cpu.regs[reg::RCX], bench.cpu.regs[reg::RDI]),
        (4, at::DATA + 1)
    );
}

// SYSCALL, SWAPGS, MSRs, control registers.

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
    const SUPPORTED_CR4: u64 = 0x0030_0ffc & !0x1_0000 & !(1 << 12);
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

// Privilege.

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

// Corners of delivery and of single instructions.

/// A 32-bit protected-mode bench with one 8-byte gate, of type `kind`, for `vector`.
fn with_gate32(vector: u64, kind: u64) -> Bench {
    let mut bench = Bench::protected();
    bench.lay_tables();
    bench.cpu.gdtr = cpu::TableRegister {
        base: at::GDT,
        limit: 0x4f,
    };
    bench.cpu.idtr = cpu::TableRegister {
        base: at::IDT,
        limit: 0x7ff,
    };
    let offset = at::HANDLERS + 16 * vector;
    let high = if kind & 8 == 0 { 0x7777 } else { offset >> 16 };
    let gate = offset & 0xffff | u64::from(sel::CODE32) << 16 | kind << 40 | 1 << 47 | high << 48;
    bench.poke(at::IDT + 8 * vector, gate);
    bench
}

#[test]
fn protected_mode_delivers_through_gates_of_32_and_16_bits() {
    for (kind, if_left) in [(0xe, 0), (0xf, IF), (6, 0), (7, IF)] {
        let mut bench = with_gate32(13, kind);
        bench.cpu.flags |= IF;
        bench.exec(|a| {
            a.mov(eax, 0x200)?;
            a.mov(ds, eax)
        });
        assert_eq!(
            bench.cpu.rip(),
            at::HANDLERS + 16 * 13 + 1,
            "gate type {kind}"
        );
        assert_eq!(bench.cpu.flags & IF, if_left, "gate type {kind}");
        let rsp_value = bench.cpu.regs[reg::RSP];
        let frame: [u64; 4] = if kind & 8 == 0 {
            std::array::from_fn(|i| u64::from(bench.peek::<u16>(rsp_value + 2 * i as u64)))
        } else {
            std::array::from_fn(|i| u64::from(bench.peek::<u32>(rsp_value + 4 * i as u64)))
        };
        let mask = if kind & 8 == 0 { 0xffff } else { 0xffff_ffff };
        assert_eq!(
            frame,
            [0x200, (at::CODE + 5) & mask, 8, (IF | RF | 2) & mask],
            "gate type {kind}"
        );
    }
}

#[test]
fn a_gate_to_code_that_is_not_64_bit_is_gp_with_its_selector_and_ext() {
    for (attributes, name) in [
        (0x00ef_9b00_0000_ffff_u64, "L and D"),
        (0x00cf_9b00_0000_ffff, "D"),
    ] {
        let mut bench = Bench::long();
        bench.poke(at::GDT + u64::from(sel::CODE16), attributes);
        let gate = bench.gate(UD);
        bench.set_gate(
            UD,
            Gate64::interrupt(gate.offset(), Selector(sel::CODE16), 0, 0),
        );
        assert_eq!(
            first_faults(&mut bench, |a| a.ud2()),
            (GP, Some(u64::from(sel::CODE16) | 1)),
            "{name}"
        );
    }
}

#[test]
fn loading_a_code_segment_through_a_gate_sets_its_accessed_bit() {
    let mut bench = Bench::long();
    bench.poke(
        at::GDT + u64::from(sel::CODE64),
        common::GDT[1] & !(1 << 40),
    );
    bench.exec(|a| a.ud2());
    assert_eq!(
        bench.peek::<u64>(at::GDT + u64::from(sel::CODE64)),
        common::GDT[1]
    );
}

#[test]
fn a_gate_that_stays_at_cpl_3_pushes_with_the_rights_of_user_code() {
    let mut bench = Bench::long();
    let gate = Gate64::interrupt(at::USER_CODE + 0x100, Selector(sel::USER_CODE64), 0, 3);
    bench.set_gate(0x80, gate);
    bench.user(|a| {
        a.mov(rsp, at::DATA + 0x800)?;
        a.int(0x80)
    });
    bench.run();
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.code, bench.cpu.cr2),
        (PF, Some(7), at::DATA + 0x7f8)
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
