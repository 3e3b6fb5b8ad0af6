//! Accesses that leave the processor: devices in memory, ports, the local APIC's priority.

mod common;

use common::{Asked, Bench, at};
use cpu::{Stop, reg};
use iced_x86::code_asm::*;
use memory::Width;
use x86::Bits;

/// Mapped to [`at::MMIO`]; the page before it is RAM.
const DEVICE: u64 = 0x6000_0000;

fn with_device() -> Bench {
    let mut bench = Bench::long();
    bench.map(DEVICE - 4096, at::FRAMES + 0x8000, Bits::RW);
    bench.map(DEVICE, at::MMIO, Bits::RW);
    bench
}

#[test]
fn a_device_sees_each_access_once_at_its_width() {
    let mut bench = with_device();
    bench.bus.reads = 0x8877_6655_4433_2211;
    bench.cpu.regs[reg::RCX] = 0x1122_3344_5566_7788;
    bench.exec(|a| {
        a.mov(al, byte_ptr(DEVICE))?;
        a.movzx(ebx, word_ptr(DEVICE + 2))?;
        a.mov(edx, dword_ptr(DEVICE + 4))?;
        a.mov(rsi, qword_ptr(DEVICE + 8))?;
        a.mov(byte_ptr(DEVICE), cl)?;
        a.mov(word_ptr(DEVICE), cx)?;
        a.mov(dword_ptr(DEVICE), ecx)?;
        a.mov(qword_ptr(DEVICE), rcx)
    });
    let regs = &bench.cpu.regs;
    let read = [
        regs[reg::RAX],
        regs[reg::RBX],
        regs[reg::RDX],
        regs[reg::RSI],
    ];
    assert_eq!(read, [0x11, 0x2211, 0x4433_2211, 0x8877_6655_4433_2211]);
    let m = at::MMIO;
    let want = [
        Asked::MmioRead(m, Width::Byte),
        Asked::MmioRead(m + 2, Width::Word),
        Asked::MmioRead(m + 4, Width::Dword),
        Asked::MmioRead(m + 8, Width::Qword),
        Asked::MmioWrite(m, Width::Byte, 0x88),
        Asked::MmioWrite(m, Width::Word, 0x7788),
        Asked::MmioWrite(m, Width::Dword, 0x5566_7788),
        Asked::MmioWrite(m, Width::Qword, 0x1122_3344_5566_7788),
    ];
    assert_eq!(bench.bus.asked, want);
}

#[test]
fn a_read_modify_write_of_a_device_is_a_read_and_a_write() {
    let mut bench = with_device();
    bench.bus.reads = 1;
    bench.exec(|a| a.or(dword_ptr(DEVICE), 6));
    let want = [
        Asked::MmioRead(at::MMIO, Width::Dword),
        Asked::MmioWrite(at::MMIO, Width::Dword, 7),
    ];
    assert_eq!(bench.bus.asked, want);
}

#[test]
fn the_bytes_of_an_access_that_lie_in_ram_do_not_reach_the_device() {
    let mut bench = with_device();
    bench.cpu.regs[reg::RAX] = 0x4433_2211;
    bench.exec(|a| a.mov(dword_ptr(DEVICE - 2), eax));
    assert_eq!(bench.peek::<u16>(at::FRAMES + 0x8ffe), 0x2211);
    let want = [
        Asked::MmioWrite(at::MMIO, Width::Byte, 0x33),
        Asked::MmioWrite(at::MMIO + 1, Width::Byte, 0x44),
    ];
    assert_eq!(bench.bus.asked, want);
}

#[test]
fn the_processor_returns_to_the_board_after_each_instruction_that_met_a_device() {
    let mut bench = with_device();
    bench.code(|a| {
        a.nop()?;
        a.mov(bl, byte_ptr(DEVICE))?;
        a.nop()?;
        a.out(0x80, al)?;
        a.hlt()
    });
    assert_eq!((bench.block(), bench.bus.asked.len()), (Stop::Device, 1));
    assert_eq!(bench.cpu.rip(), at::CODE + 8);
    assert_eq!((bench.block(), bench.bus.asked.len()), (Stop::Device, 2));
    assert_eq!(bench.block(), Stop::Idle);
}

#[test]
fn repeated_port_instructions_move_one_element_at_a_time() {
    let mut bench = Bench::long();
    bench.bus.reads = 0x44;
    bench.load(at::DATA, b"abc");
    bench.cpu.regs[reg::RCX] = 3;
    bench.cpu.regs[reg::RDX] = 0x3f8;
    bench.cpu.regs[reg::RSI] = at::DATA;
    bench.cpu.regs[reg::RDI] = at::DATA + 0x10;
    bench.code(|a| {
        a.rep().outsb()?;
        a.mov(ecx, 2)?;
        a.rep().insw()?;
        a.hlt()
    });
    bench.block();
    assert_eq!((bench.cpu.rip(), bench.cpu.regs[reg::RCX]), (at::CODE, 2));
    bench.run();
    let port = 0x3f8;
    let want = [
        Asked::PortWrite(port, Width::Byte, 0x61),
        Asked::PortWrite(port, Width::Byte, 0x62),
        Asked::PortWrite(port, Width::Byte, 0x63),
        Asked::PortRead(port, Width::Word),
        Asked::PortRead(port, Width::Word),
    ];
    assert_eq!(bench.bus.asked, want);
    assert_eq!(bench.peek::<u32>(at::DATA + 0x10), 0x0044_0044);
}

#[test]
fn a_port_read_that_cannot_be_stored_is_not_made() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RDI] = DEVICE;
    bench.exec(|a| a.insb());
    assert_eq!((bench.caught().vector, bench.bus.asked.len()), (14, 0));
}

#[test]
fn cr8_is_the_task_priority_of_the_local_apic() {
    let mut bench = Bench::long();
    bench.cpu.regs[reg::RAX] = 9;
    bench.exec(|a| {
        a.mov(cr8, rax)?;
        a.mov(rbx, cr8)
    });
    assert_eq!((bench.bus.task_priority, bench.cpu.regs[reg::RBX]), (9, 9));
}
