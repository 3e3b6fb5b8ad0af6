//! Code that changes while it is kept decoded: by stores, through other mappings, by DMA, by new tables.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the bench's addresses are small"
)]

mod common;

use common::{Bench, at, sel};
use cpu::{Activity, reg};
use iced_x86::code_asm::*;
use x86::addr::PAGE_BYTES;
use x86::{Bits, VirtAddr};

/// A page of code of its own, and two frames it can lie in.
const PAGE: u64 = 0x6000_0000;
const FRAME_A: u64 = at::FRAMES + 0x8000;
const FRAME_B: u64 = at::FRAMES + 0xa000;

/// MOV EAX, `value`: five bytes, the value from the second on.
fn mov_eax(value: u32) -> [u8; 5] {
    let [a, b, c, d] = value.to_le_bytes();
    [0xb8, a, b, c, d]
}

/// Runs from `va` to the next HLT and gives RAX.
fn run_at(bench: &mut Bench, va: u64) -> u64 {
    bench.cpu.set_rip(va);
    bench.cpu.activity = Activity::Running;
    bench.run();
    bench.cpu.regs[reg::RAX]
}

/// `mov_eax(value)` and a HLT.
fn returns(value: u32) -> Vec<u8> {
    [&mov_eax(value)[..], &[0xf4]].concat()
}

#[test]
fn a_store_to_the_next_instruction_of_the_same_block_takes_effect_at_once() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        a.mov(byte_ptr(at::CODE + 9), 7)?;
        a.db(&mov_eax(1))
    });
    assert_eq!(bench.cpu.regs[reg::RAX], 7);
}

#[test]
fn a_loop_that_patches_itself_executes_each_version() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RCX] = 5;
    bench.exec(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.db(&mov_eax(1))?;
        a.add(rbx, rax)?;
        a.inc(byte_ptr(at::CODE + 1))?;
        a.dec(rcx)?;
        a.jne(again)
    });
    assert_eq!(bench.cpu.regs[reg::RBX], 1 + 2 + 3 + 4 + 5);
}

#[test]
fn a_store_through_another_mapping_of_the_page_is_seen() {
    let mut bench = Bench::long();
    bench.map(PAGE, at::CODE, Bits::RW);
    bench.exec(|a| {
        a.mov(byte_ptr(PAGE + 9), 7)?;
        a.db(&mov_eax(1))
    });
    assert_eq!(bench.cpu.regs[reg::RAX], 7);
}

#[test]
fn a_string_store_over_the_code_that_follows_it_is_seen() {
    let mut bench = Bench::long();
    bench.load(at::DATA, &returns(7));
    bench.cpu.regs[reg::RCX] = 6;
    bench.cpu.regs[reg::RSI] = at::DATA;
    bench.cpu.regs[reg::RDI] = at::CODE + 2;
    bench.exec(|a| {
        a.rep().movsb()?;
        a.db(&mov_eax(1))
    });
    assert_eq!(bench.cpu.regs[reg::RAX], 7);
}

#[test]
fn a_write_from_outside_the_processor_is_seen_without_a_flush() {
    let mut bench = Bench::long();
    bench.load(at::CODE, &returns(1));
    assert_eq!(run_at(&mut bench, at::CODE), 1);
    bench.load(at::CODE, &returns(2));
    assert_eq!(run_at(&mut bench, at::CODE), 2);
    bench.load(at::DATA, &returns(3));
    let (from, to) = (x86::PhysAddr::new(at::DATA), x86::PhysAddr::new(at::CODE));
    assert!(bench.ram.copy(from, to, 6));
    assert_eq!(run_at(&mut bench, at::CODE), 3);
}

#[test]
fn an_instruction_across_two_pages_follows_writes_to_either() {
    for cut in 1..5 {
        let mut bench = across(cut);
        assert_eq!(run_at(&mut bench, PAGE + PAGE_BYTES - cut), 0x0403_0201);
        if cut > 1 {
            bench.poke(FRAME_A + PAGE_BYTES - cut + 1, 0x11_u8);
        } else {
            bench.poke(FRAME_B, 0x11_u8);
        }
        assert_eq!(
            run_at(&mut bench, PAGE + PAGE_BYTES - cut),
            0x0403_0211,
            "cut after {cut}"
        );
        bench.poke(FRAME_B + 4 - cut, 0x44_u8);
        assert_eq!(
            run_at(&mut bench, PAGE + PAGE_BYTES - cut),
            0x4403_0211,
            "cut after {cut}"
        );
    }
}

/// A bench with MOV EAX, 04030201h of which `cut` bytes lie in the first of two pages.
fn across(cut: u64) -> Bench {
    let mut bench = Bench::long();
    bench.map(PAGE, FRAME_A, Bits::RW);
    bench.map(PAGE + PAGE_BYTES, FRAME_B, Bits::RW);
    let code = returns(0x0403_0201);
    let (head, tail) = code.split_at(cut as usize);
    bench.load(FRAME_A + PAGE_BYTES - cut, head);
    bench.load(FRAME_B, tail);
    bench
}

#[test]
fn an_instruction_across_two_pages_follows_the_mapping_of_the_second() {
    let mut bench = across(2);
    let start = PAGE + PAGE_BYTES - 2;
    assert_eq!(run_at(&mut bench, start), 0x0403_0201);
    let other = at::FRAMES + 0xc000;
    bench.load(other, &[0x22, 0x33, 0x44, 0xf4]);
    bench.map(PAGE + PAGE_BYTES, other, Bits::RW);
    bench
        .cpu
        .mmu
        .invlpg(VirtAddr::new(PAGE + PAGE_BYTES).unwrap());
    assert_eq!(run_at(&mut bench, start), 0x4433_2201);
    bench.map(PAGE + PAGE_BYTES, FRAME_B, Bits::RW);
    bench
        .cpu
        .mmu
        .invlpg(VirtAddr::new(PAGE + PAGE_BYTES).unwrap());
    assert_eq!(run_at(&mut bench, start), 0x0403_0201);
    bench.unmap(PAGE + PAGE_BYTES);
    bench
        .cpu
        .mmu
        .invlpg(VirtAddr::new(PAGE + PAGE_BYTES).unwrap());
    run_at(&mut bench, start);
    assert_eq!(
        (bench.caught().vector, bench.caught().rip, bench.cpu.cr2),
        (14, start, PAGE + PAGE_BYTES)
    );
}

#[test]
fn remapped_code_is_the_old_code_until_invlpg() {
    let mut bench = Bench::long();
    bench.map(PAGE, FRAME_A, Bits::RW);
    bench.load(FRAME_A, &returns(1));
    bench.load(FRAME_B, &returns(2));
    assert_eq!(run_at(&mut bench, PAGE), 1);
    bench.map(PAGE, FRAME_B, Bits::RW);
    assert_eq!(
        run_at(&mut bench, PAGE),
        1,
        "the TLB still has the old frame"
    );
    bench.exec(|a| {
        a.mov(rbx, PAGE)?;
        a.invlpg(ptr(rbx))?;
        a.jmp(rbx)
    });
    assert_eq!(bench.cpu.regs[reg::RAX], 2);
}

#[test]
fn one_frame_of_code_serves_each_mapping_with_its_own_rip() {
    let mut bench = Bench::long();
    // LEA RAX, [RIP + 0]: the address of the HLT.
    bench.load(FRAME_A, &[0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xf4]);
    for page in [PAGE, PAGE + 0x10_0000, PAGE] {
        bench.map(page, FRAME_A, Bits::empty());
        assert_eq!(run_at(&mut bench, page), page + 7);
    }
}

#[test]
fn one_frame_of_code_is_decoded_for_each_code_size() {
    let mut bench = Bench::long();
    // 64 bits: INC RAX. 32 bits: DEC EAX, INC EAX.
    bench.load(FRAME_A, &[0x48, 0xff, 0xc0, 0xf4]);
    bench.map(PAGE, FRAME_A, Bits::empty());
    assert_eq!(run_at(&mut bench, PAGE), 1);
    bench.exec(|a| {
        a.push(i32::from(sel::CODE32))?;
        a.push(PAGE as i32)?;
        a.db(&[0x48, 0xcb]) // RETF with a 64-bit operand
    });
    assert_eq!((bench.cpu.rip(), bench.cpu.regs[reg::RAX]), (PAGE + 4, 1));
}

#[test]
fn stores_beside_the_code_of_a_page_decode_nothing_again() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RCX] = 100;
    bench.exec(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.mov(qword_ptr(at::CODE + 0x800), rcx)?;
        a.dec(rcx)?;
        a.jne(again)
    });
    // The boot code, the loop, what follows it.
    assert!(
        bench.cache.blocks_decoded() < 20,
        "{} blocks",
        bench.cache.blocks_decoded()
    );
}
