//! Delivery through the IDT: privilege, stacks, gates, and faults on the way.

mod common;

use common::{Asm, Bench, Caught, assemble, at, first_faults, guarded, sel, user_faults};
use cpu::{Activity, SegReg, reg};
use iced_x86::code_asm::*;
use x86::Rflags;
use x86::descriptor::{Gate64, Selector};

const UD: u8 = 6;
const DF: u8 = 8;
const NP: u8 = 11;
const GP: u8 = 13;
const PF: u8 = 14;
/// Mapped nowhere.
const HOLE: u64 = 0x6000_0000;
const KERNEL_CS: u64 = sel::CODE64 as u64;
const USER_CS: u64 = sel::USER_CODE64 as u64;
const IF: u64 = Rflags::IF.bits();
const RF: u64 = Rflags::RF.bits();

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
