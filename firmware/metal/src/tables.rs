//! GDT, TSS and IDT of each CPU, and the per-CPU data GS points at.
//!
//! Every trap from ring 3 lands on the kernel stack of the running thread (RSP0).
//! Ring 0 is interrupted only in the idle loop, whose `hlt` owns no red zone, so no
//! IST is needed for interrupts; #DF, NMI and #MC have stacks of their own because
//! they must work when the current one does not.
//!
//! **Spec:** SDM 3A "Segment Descriptor Tables in IA-32e Mode", "Interrupt Stack
//! Table", "SYSCALL and SYSRET"; SDM 2 "SWAPGS".

use crate::{MAX_CPUS, cpu, trap};
use core::arch::asm;
use core::cell::UnsafeCell;
use x86::descriptor::{Gate64, Selector, Tss64};
use x86::{Cr4, Rflags, msr};

/// Code segment of the kernel.
pub(crate) const KERNEL_CODE: Selector = Selector(0x08);
/// Data segment of programs, RPL 3.
pub(crate) const USER_DATA: Selector = Selector(0x1b);
/// Code segment of programs, RPL 3: where SYSRET goes, 16 above STAR's base.
pub(crate) const USER_CODE: Selector = Selector(0x23);
const KERNEL_DATA: Selector = Selector(0x10);
const TSS: Selector = Selector(0x28);

const GDT: [u64; 7] = [
    0,
    0x00af_9b00_0000_ffff, // code, 64-bit, DPL 0
    0x00cf_9300_0000_ffff, // data, DPL 0
    0x00cf_f300_0000_ffff, // data, DPL 3
    0x00af_fb00_0000_ffff, // code, 64-bit, DPL 3
    0,                     // TSS, two entries, filled in per CPU
    0,
];

const IST_STACK_BYTES: usize = 8 << 10;

/// A stack for an exception that must not use the current one.
#[repr(C, align(16))]
struct IstStack([u8; IST_STACK_BYTES]);

/// What one CPU owns. `trap.s` knows the offsets of the first two fields.
#[repr(C)]
struct PerCpu {
    /// Offset 0: stack of the running thread, for SYSCALL.
    kernel_rsp: u64,
    /// Offset 8: RSP of the program during SYSCALL entry.
    user_rsp: u64,
    /// Offset 16: index of this CPU.
    index: usize,
    tss: Tss64,
    gdt: [u64; 7],
    ist: [IstStack; 2],
}

struct PerCpus([UnsafeCell<PerCpu>; MAX_CPUS]);

// SAFETY: each CPU touches its own element only.
unsafe impl Sync for PerCpus {}

static PER_CPU: PerCpus = PerCpus(
    [const {
        UnsafeCell::new(PerCpu {
            kernel_rsp: 0,
            user_rsp: 0,
            index: 0,
            tss: Tss64 {
                reserved0: 0,
                rsp: [0; 3],
                reserved1: 0,
                ist: [0; 7],
                reserved2: 0,
                reserved3: 0,
                iomap_base: 104,
            },
            gdt: GDT,
            ist: [const { IstStack([0; IST_STACK_BYTES]) }; 2],
        })
    }; MAX_CPUS],
);

struct Idt(UnsafeCell<[Gate64; 256]>);

// SAFETY: the first CPU fills it before it or any other loads it.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([Gate64 { low: 0, high: 0 }; 256]));

/// Operand of LGDT and LIDT.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Points GS at the data of CPU `index`.
///
/// # Safety
///
/// This CPU has no index yet, and no other CPU has this one.
pub(crate) unsafe fn set_current(index: usize) {
    let block = PER_CPU.0[index].get();
    // SAFETY: the element is this CPU's alone, by the caller's promise.
    unsafe { (*block).index = index };
    // SAFETY: the MSR exists in long mode; GS is used by this crate only.
    unsafe { cpu::write_msr(msr::GS_BASE, block.addr() as u64) };
    // SAFETY: likewise; programs begin with a GS base of 0.
    unsafe { cpu::write_msr(msr::KERNEL_GS_BASE, 0) };
}

/// Index of the CPU this runs on.
pub(crate) fn current_index() -> usize {
    let index;
    // SAFETY: GS points at a `PerCpu` since `set_current`; its index is at offset 16.
    unsafe { asm!("mov {}, gs:[16]", out(reg) index, options(nostack, preserves_flags, readonly)) };
    index
}

/// Sets where traps from ring 3 and SYSCALL put their frame.
pub(crate) fn set_kernel_stack(top: u64) {
    let block = PER_CPU.0[current_index()].get();
    // SAFETY: this CPU's own element; interrupts are off, so the processor does not
    // read it now, and no other reference to it is alive.
    let block = unsafe { &mut *block };
    block.kernel_rsp = top;
    block.tss.rsp[0] = top;
}

/// Loads descriptor tables and system-call MSRs, and turns on what CPUID offers.
pub(crate) fn load() {
    let index = current_index();
    if index == 0 {
        fill_idt();
    }
    // SAFETY: this CPU's own element, which it loads only below; the reference ends
    // before.
    let gdt = prepare_tables(unsafe { &mut *PER_CPU.0[index].get() });
    // SAFETY: the GDT is in that element, for good; its code and data segments are
    // those in use, at the same selectors.
    unsafe { load_gdt(gdt) };
    load_idt();
    program_syscall();
    enable_features();
}

/// Fills in the TSS and its descriptor; returns the address of the GDT.
fn prepare_tables(block: &mut PerCpu) -> u64 {
    for i in 0..block.ist.len() {
        let base = (&raw const block.ist[i]).addr() as u64;
        block.tss.ist[i] = base + IST_STACK_BYTES as u64;
    }
    let base = (&raw const block.tss).addr() as u64;
    block.gdt[5] = 0x0000_8900_0000_0067 | (base & 0xff_ffff) << 16 | (base >> 24 & 0xff) << 56;
    block.gdt[6] = base >> 32;
    (&raw const block.gdt).addr() as u64
}

/// # Safety
///
/// A GDT of seven entries laid out as [`GDT`] lies at `base`, for good.
unsafe fn load_gdt(base: u64) {
    let pointer = TablePointer { limit: 55, base };
    // SAFETY: the caller's promise. GS is not reloaded: that would clear its base.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {t}, [rip + 2f]",
            "push {t}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "ltr {tss:x}",
            pointer = in(reg) &raw const pointer,
            code = in(reg) u64::from(KERNEL_CODE.0),
            t = out(reg) _,
            data = in(reg) u64::from(KERNEL_DATA.0),
            tss = in(reg) u64::from(TSS.0),
        );
    }
}

fn fill_idt() {
    /// Vectors with a stack of their own: #DF, NMI, #MC.
    const fn ist_of(vector: u64) -> u8 {
        match vector {
            8 => 1,
            2 | 18 => 2,
            _ => 0,
        }
    }
    for vector in 0..256 {
        // INT3 is the one vector programs may raise with an instruction.
        let dpl = if vector == 3 { 3 } else { 0 };
        let stub = trap::stubs_base() + vector * 16;
        let gate = Gate64::interrupt(stub, KERNEL_CODE, ist_of(vector), dpl);
        let slot = usize::try_from(vector).expect("below 256");
        // SAFETY: only the first CPU is here, and no IDT is loaded yet.
        unsafe { (*IDT.0.get())[slot] = gate };
    }
}

fn load_idt() {
    let pointer = TablePointer {
        limit: 4095,
        base: IDT.0.get().addr() as u64,
    };
    // SAFETY: the table is static and its gates lead to the stubs of trap.s.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack, preserves_flags)) };
}

fn program_syscall() {
    // SYSRET takes SS from base + 8 and CS from base + 16.
    let star = u64::from(USER_DATA.0 - 8) << 48 | u64::from(KERNEL_CODE.0) << 32;
    let mask = Rflags::TF
        | Rflags::IF
        | Rflags::DF
        | Rflags::NT
        | Rflags::AC
        | Rflags::IOPL_LOW
        | Rflags::IOPL_HIGH;
    for (register, value) in [
        (msr::STAR, star),
        (msr::LSTAR, trap::syscall_entry_address()),
        (msr::FMASK, mask.bits()),
    ] {
        // SAFETY: the MSRs exist where EFER.SCE does; the entry point is trap.s's.
        unsafe { cpu::write_msr(register, value) };
    }
}

/// SMEP and SMAP cost nothing here: the kernel reaches user memory through the
/// direct map only, never at user addresses.
fn enable_features() {
    let features = cpu::Features::read();
    let mut bits = Cr4::empty();
    bits.set(Cr4::SMEP, features.smep);
    bits.set(Cr4::SMAP, features.smap);
    // SAFETY: CPUID says that they exist.
    unsafe { cpu::set_cr4(bits) };
}
