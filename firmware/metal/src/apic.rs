//! The local APIC: interrupts between CPUs, the timer, end of interrupt.
//!
//! Memory-mapped (xAPIC) at the architectural address. The timer is taken to count
//! at 1 GHz with divide-by-1, as that of QEMU does; on a processor with another bus
//! clock every duration of this kernel is off by one factor, and nothing else.
//!
//! Not modelled: x2APIC, logical destinations, LINT pins (masked), error interrupts.
//!
//! **Spec:** SDM 3A "Advanced Programmable Interrupt Controller (APIC)".

use crate::{CpuIndex, MAX_CPUS, mmio::Registers, port};
use core::sync::atomic::{AtomicU32, Ordering};
use x86::apic::{self, reg};

/// Counts per microsecond of the timer.
pub const TIMER_COUNTS_PER_US: u32 = 1000;

/// Vector of the timer.
pub const VECTOR_TIMER: u8 = 0x40;
/// Vector the disk's message interrupt carries.
pub const VECTOR_DISK: u8 = 0x41;
/// Vector that makes a CPU look at its run queue.
pub const VECTOR_RESCHEDULE: u8 = 0x42;
/// Vector of a TLB shootdown.
pub const VECTOR_SHOOTDOWN: u8 = 0x43;
/// Vector of spurious interrupts; gets no end-of-interrupt.
pub const VECTOR_SPURIOUS: u8 = 0xff;

/// Divide configuration: by 1.
const DIVIDE_BY_1: u32 = 0b1011;

const REGISTERS: Registers = Registers::at(apic::DEFAULT_BASE);

/// APIC ID of each CPU that runs.
static IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// Turns on the local APIC of this CPU, every local source masked.
pub fn init() {
    let id = REGISTERS.read32(reg::ID) >> 24;
    IDS[CpuIndex::current().get()].store(id, Ordering::Relaxed);
    for lvt in [
        reg::LVT_TIMER,
        reg::LVT_LINT0,
        reg::LVT_LINT1,
        reg::LVT_ERROR,
    ] {
        REGISTERS.write32(lvt, apic::LVT_MASKED);
    }
    REGISTERS.write32(reg::TPR, 0);
    REGISTERS.write32(reg::SVR, apic::SVR_ENABLE | u32::from(VECTOR_SPURIOUS));
    REGISTERS.write32(reg::TIMER_DIVIDE, DIVIDE_BY_1);
}

/// Masks the two 8259s a PC has, whose vectors would fall among the exceptions.
pub fn mask_legacy_controllers() {
    port::write8(0x21, 0xff);
    port::write8(0xa1, 0xff);
}

/// APIC ID of `cpu`, for devices that address it.
#[must_use]
pub fn id_of(cpu: CpuIndex) -> u32 {
    IDS[cpu.get()].load(Ordering::Relaxed)
}

/// Makes the timer interrupt this CPU every `us` microseconds.
pub fn start_timer(us: u32) {
    REGISTERS.write32(
        reg::LVT_TIMER,
        u32::from(VECTOR_TIMER) | apic::LVT_TIMER_PERIODIC,
    );
    REGISTERS.write32(reg::TIMER_INITIAL, us * TIMER_COUNTS_PER_US);
}

/// Says that the interrupt in service has been dealt with.
pub fn end_of_interrupt() {
    REGISTERS.write32(reg::EOI, 0);
}

/// Sends `vector` to another CPU.
pub fn send(cpu: CpuIndex, vector: u8) {
    command(
        id_of(cpu) << 24,
        apic::delivery::FIXED << 8 | u32::from(vector),
    );
}

/// Sends INIT to every CPU but this one.
pub fn send_init_to_others() {
    command(0, OTHERS | apic::delivery::INIT << 8);
}

/// Sends STARTUP to every CPU but this one: they begin in real mode at `page` << 12.
pub fn send_startup_to_others(page: u8) {
    command(0, OTHERS | apic::delivery::STARTUP << 8 | u32::from(page));
}

const OTHERS: u32 = apic::shorthand::OTHERS << 18;

/// Writes the interrupt command register and waits until the command is accepted.
fn command(high: u32, low: u32) {
    REGISTERS.write32(reg::ICR_HIGH, high);
    REGISTERS.write32(reg::ICR_LOW, low | apic::ICR_ASSERT);
    while REGISTERS.read32(reg::ICR_LOW) & apic::ICR_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// A bounded wait, measured with the timer before it is made periodic.
pub struct Deadline {
    counts: u32,
}

impl Deadline {
    /// Starts the timer, without interrupts, for `us` microseconds.
    #[must_use]
    pub fn in_us(us: u32) -> Self {
        REGISTERS.write32(reg::LVT_TIMER, apic::LVT_MASKED);
        REGISTERS.write32(reg::TIMER_INITIAL, u32::MAX);
        Self {
            counts: u32::MAX - us * TIMER_COUNTS_PER_US,
        }
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        REGISTERS.read32(reg::TIMER_CURRENT) <= self.counts
    }

    /// Spins until the time is over.
    pub fn wait(&self) {
        while !self.is_over() {
            core::hint::spin_loop();
        }
    }
}
