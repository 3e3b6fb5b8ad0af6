//! What a kernel meets on the board: interrupts by each of their ways, the power ports, processors' APICs.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    reason = "a kernel that cannot be assembled is a failed test; constants are bit patterns"
)]

mod common;

use common::{exit_with_eax, run_flat};
use iced_x86::code_asm::{
    CodeAssembler, al, ax, byte_ptr, dword_ptr, dx, eax, ebx, ecx, edi, edx, esp, ptr,
};
use machine::Stopped;

const IDT: i32 = 0x8000;
const APIC: i32 = 0xfee0_0000_u32 as i32;
const IOAPIC: i32 = 0xfec0_0000_u32 as i32;
/// The vector every test uses.
const VECTOR: i32 = 0x20;

fn out(a: &mut CodeAssembler, port: i32, value: i32) {
    a.mov(dx, port).unwrap();
    a.mov(al, value).unwrap();
    a.out(dx, al).unwrap();
}

fn write_apic(a: &mut CodeAssembler, offset: i32, value: i32) {
    a.mov(dword_ptr(i64::from(APIC as u32) + i64::from(offset)), value)
        .unwrap();
}

fn write_ioapic(a: &mut CodeAssembler, index: i32, value: i32) {
    a.mov(edi, IOAPIC).unwrap();
    a.mov(dword_ptr(edi), index).unwrap();
    a.mov(dword_ptr(edi + 0x10), value).unwrap();
}

/// A stack, a GDT with code at 8, and a gate for [`VECTOR`] to the handler that `handler` writes.
fn set_up(a: &mut CodeAssembler, handler: impl FnOnce(&mut CodeAssembler)) {
    let mut after = a.create_label();
    a.mov(esp, 0x9_0000).unwrap();
    // The return address is the handler's.
    a.call(after).unwrap();
    handler(a);
    a.set_label(&mut after).unwrap();
    // GDT at 7000h: null, flat code, flat data.
    for (at, low, high) in [(0x7008, 0xffff, 0x00cf_9b00), (0x7010, 0xffff, 0x00cf_9300)] {
        a.mov(dword_ptr(at), low).unwrap();
        a.mov(dword_ptr(at + 4), high).unwrap();
    }
    for (at, limit, base) in [(0x7100, 0x17, 0x7000), (0x7110, 0x7ff, IDT)] {
        a.mov(iced_x86::code_asm::word_ptr(at), limit).unwrap();
        a.mov(dword_ptr(at + 2), base).unwrap();
    }
    a.lgdt(ptr(0x7100)).unwrap();
    a.lidt(ptr(0x7110)).unwrap();
    a.pop(eax).unwrap();
    a.mov(ebx, eax).unwrap();
    a.and(ebx, 0xffff).unwrap();
    a.or(ebx, 0x8_0000).unwrap();
    a.mov(dword_ptr(IDT + 8 * VECTOR), ebx).unwrap();
    a.mov(ax, 0x8e00).unwrap();
    a.mov(dword_ptr(IDT + 8 * VECTOR + 4), eax).unwrap();
}

/// The 8259 pair with vectors 20h and 28h and these lines of the master open.
fn set_up_pic(a: &mut CodeAssembler, mask: i32) {
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0x21, mask),
    ] {
        out(a, port, value);
    }
    for (port, value) in [
        (0xa0, 0x11),
        (0xa1, 0x28),
        (0xa1, 2),
        (0xa1, 1),
        (0xa1, 0xff),
    ] {
        out(a, port, value);
    }
}

/// 8254 channel 0, mode 2, about 1 ms.
fn start_pit(a: &mut CodeAssembler) {
    for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
        out(a, port, value);
    }
}

/// Waits with HLT until the handler counted three interrupts in ECX, then ends with ECX.
fn wait_for_three(a: &mut CodeAssembler) {
    let mut wait = a.create_label();
    a.xor(ecx, ecx).unwrap();
    a.sti().unwrap();
    a.set_label(&mut wait).unwrap();
    a.hlt().unwrap();
    a.cmp(ecx, 3).unwrap();
    a.jb(wait).unwrap();
    a.mov(eax, ecx).unwrap();
    exit_with_eax(a);
}

/// A kernel that sets something going and counts interrupts, whose handler ends each with `eoi`.
fn count_interrupts(
    start: impl FnOnce(&mut CodeAssembler),
    eoi: impl FnOnce(&mut CodeAssembler),
) -> Stopped {
    run_flat(|a| {
        set_up(a, |a| {
            a.inc(ecx).unwrap();
            a.push(eax).unwrap();
            a.push(edx).unwrap();
            eoi(a);
            a.pop(edx).unwrap();
            a.pop(eax).unwrap();
            a.iretd().unwrap();
        });
        start(a);
        wait_for_three(a);
    })
    .1
}

#[test]
fn a_kernel_that_knows_no_apic_gets_its_timer_through_the_8259() {
    let stopped = count_interrupts(
        |a| {
            set_up_pic(a, 0xfe);
            start_pit(a);
        },
        |a| out(a, 0x20, 0x20),
    );
    assert_eq!(stopped, Stopped::Exit(3));
}

#[test]
fn the_8254_reaches_the_processor_through_line_2_of_the_i_o_apic() {
    let stopped = count_interrupts(
        |a| {
            write_apic(a, 0xf0, 0x1ff);
            write_ioapic(a, 0x15, 0);
            write_ioapic(a, 0x14, VECTOR);
            start_pit(a);
        },
        |a| write_apic(a, 0xb0, 0),
    );
    assert_eq!(stopped, Stopped::Exit(3));
}

#[test]
fn the_clock_s_periodic_interrupt_comes_as_long_as_register_c_is_read() {
    let stopped = count_interrupts(
        |a| {
            write_apic(a, 0xf0, 0x1ff);
            write_ioapic(a, 0x10 + 16, VECTOR);
            for (index, value) in [(0x0a, 0x26), (0x0b, 0x42)] {
                out(a, 0x70, index);
                out(a, 0x71, value);
            }
        },
        |a| {
            out(a, 0x70, 0x0c);
            a.mov(dx, 0x71).unwrap();
            a.in_(al, dx).unwrap();
            write_apic(a, 0xb0, 0);
        },
    );
    assert_eq!(stopped, Stopped::Exit(3));
}

#[test]
fn the_uart_s_interrupt_comes_by_line_4() {
    // Enabling the empty interrupt raises it; writing a byte raises it again.
    let (console, stopped) = run_flat(|a| {
        set_up(a, |a| {
            a.inc(ecx).unwrap();
            a.mov(dx, 0x3fa).unwrap();
            a.in_(al, dx).unwrap();
            let mut enough = a.create_label();
            a.cmp(ecx, 3).unwrap();
            a.je(enough).unwrap();
            out(a, 0x3f8, i32::from(b'x'));
            a.set_label(&mut enough).unwrap();
            write_apic(a, 0xb0, 0);
            a.iretd().unwrap();
        });
        write_apic(a, 0xf0, 0x1ff);
        write_ioapic(a, 0x18, VECTOR);
        out(a, 0x3fc, 8);
        out(a, 0x3f9, 2);
        wait_for_three(a);
    });
    assert_eq!((console.as_str(), stopped), ("xx", Stopped::Exit(3)));
}

fn wrmsr(a: &mut CodeAssembler, number: i32, low: i32) {
    a.mov(ecx, number).unwrap();
    a.xor(edx, edx).unwrap();
    a.mov(eax, low).unwrap();
    a.wrmsr().unwrap();
}

#[test]
fn in_x2apic_mode_the_tsc_deadline_timer_fires_at_its_time() {
    let (_, stopped) = run_flat(|a| {
        set_up(a, |a| {
            // How late, and what the deadline reads now: 0.
            a.rdtsc().unwrap();
            a.sub(eax, ebx).unwrap();
            a.shr(eax, 12).unwrap();
            a.mov(ebx, eax).unwrap();
            a.mov(ecx, 0x6e0).unwrap();
            a.rdmsr().unwrap();
            a.or(eax, ebx).unwrap();
            exit_with_eax(a);
        });
        wrmsr(a, 0x1b, 0xfee0_0d00_u32 as i32);
        wrmsr(a, 0x80f, 0x1ff);
        wrmsr(a, 0x832, 1 << 18 | VECTOR);
        a.rdtsc().unwrap();
        a.add(eax, 100_000).unwrap();
        a.adc(edx, 0).unwrap();
        a.mov(ebx, eax).unwrap();
        a.mov(ecx, 0x6e0).unwrap();
        a.wrmsr().unwrap();
        a.sti().unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(stopped, Stopped::Exit(0), "less than 4096 cycles late");
}

#[test]
fn cpuid_has_no_apic_while_it_is_globally_disabled() {
    let (_, stopped) = run_flat(|a| {
        wrmsr(a, 0x1b, 0xfee0_0100_u32 as i32);
        a.mov(eax, 1).unwrap();
        a.cpuid().unwrap();
        a.shr(edx, 9).unwrap();
        a.and(edx, 1).unwrap();
        // The page is gone too: ones.
        a.mov(eax, dword_ptr(i64::from(APIC as u32) + 0x30))
            .unwrap();
        a.inc(eax).unwrap();
        a.or(eax, edx).unwrap();
        exit_with_eax(a);
    });
    assert_eq!(stopped, Stopped::Exit(0));
}

#[test]
fn each_power_port_ends_the_machine() {
    let ports: [(i32, i32, Stopped); 3] = [
        (0xcf9, 6, Stopped::Reset),
        (0x92, 1, Stopped::Reset),
        (0x64, 0xfe, Stopped::Reset),
    ];
    for (port, value, expected) in ports {
        assert_eq!(run_flat(|a| out(a, port, value)).1, expected, "{port:#x}");
    }
    let off = run_flat(|a| {
        a.mov(dx, 0x604).unwrap();
        a.mov(ax, 0x2000).unwrap();
        a.out(dx, ax).unwrap();
    });
    assert_eq!(off.1, Stopped::PowerOff);
    let off = run_flat(|a| {
        b"Shutdown"
            .iter()
            .for_each(|letter| out(a, 0x8900, i32::from(*letter)));
    });
    assert_eq!(off.1, Stopped::PowerOff);
}

#[test]
fn debug_port_and_echo_ports_do_what_test_kernels_expect() {
    let (console, stopped) = run_flat(|a| {
        out(a, 0xe9, i32::from(b'!'));
        a.mov(dx, 0xe0).unwrap();
        a.mov(eax, 0x1234_5678).unwrap();
        a.out(dx, eax).unwrap();
        a.xor(eax, eax).unwrap();
        a.mov(dx, 0xe1).unwrap();
        a.in_(al, dx).unwrap();
        a.mov(byte_ptr(0x6000), al).unwrap();
        exit_with_eax(a);
    });
    assert_eq!((console.as_str(), stopped), ("!", Stopped::Exit(0x56)));
}
