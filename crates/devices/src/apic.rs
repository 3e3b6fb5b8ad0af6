//! The local APIC of one processor: pending and in-service vectors, priorities, commands to others.
//!
//! A plain state machine: the board maps its page, routes the [`Ipi`]s it
//! returns, and asks [`LocalApic::pending`] before each instruction boundary
//! that can take an interrupt. Its timer is in [`timer`].
//!
//! Modelled: xAPIC mode and x2APIC mode ([`x2`], with IA32_APIC_BASE), fixed delivery by
//! edge and level, NMI, INIT, STARTUP, shorthands, physical, flat and cluster destinations,
//! timer one-shot, periodic and TSC-deadline, LINT0 as ExtINT. Not modelled: other
//! uses of the pins LINT0 and LINT1, thermal and performance interrupts (registers
//! only), focus and arbitration.
//!
//! **Spec:** SDM 3A "Advanced Programmable Interrupt Controller (APIC)".

pub mod ipi;
pub mod timer;
pub mod x2;

use ipi::{Destination, Ipi, Trigger};
use timer::Timer;
use x86::apic::{
    BASE_BSP, BASE_ENABLE, DEFAULT_BASE, LVT_MASKED, LVT_TIMER_PERIODIC, SVR_ENABLE, reg,
};

/// Version 14h, six LVT entries.
const VERSION: u32 = 0x0005_0014;
/// ESR bit 5: a message with a vector below 16 was to be sent.
const ESR_SEND_ILLEGAL: u32 = 1 << 5;
/// ESR bit 6: a message with a vector below 16 was received, or a local source has one.
const ESR_RECEIVE_ILLEGAL: u32 = 1 << 6;
/// Vectors below this are reserved for exceptions.
const FIRST_VECTOR: u8 = 16;

/// LVT timer bit 18: with bit 17 clear, TSC-deadline mode.
const LVT_TIMER_DEADLINE: u32 = 1 << 18;
/// LVT bits 10:8, delivery mode, and their value for ExtINT.
const LVT_DELIVERY: u32 = 7 << 8;
const LVT_EXTINT: u32 = 7 << 8;

/// A set of vectors: IRR, ISR or TMR.
#[derive(Clone, Copy, Debug, Default)]
struct Vectors([u32; 8]);

impl Vectors {
    const fn set(&mut self, vector: u8) {
        self.0[vector as usize / 32] |= 1 << (vector % 32);
    }

    const fn clear(&mut self, vector: u8) {
        self.0[vector as usize / 32] &= !(1 << (vector % 32));
    }

    fn highest(&self) -> Option<u8> {
        let word = self.0.iter().rposition(|&word| word != 0)?;
        u8::try_from(32 * word + self.0[word].ilog2() as usize).ok()
    }

    const fn contains(&self, vector: u8) -> bool {
        self.0[vector as usize / 32] >> (vector % 32) & 1 != 0
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }
}

/// The local vector table entries.
#[derive(Clone, Copy, Debug)]
struct Lvt {
    timer: u32,
    thermal: u32,
    pmc: u32,
    lint0: u32,
    lint1: u32,
    error: u32,
}

impl Lvt {
    const RESET: Self = Self {
        timer: LVT_MASKED,
        thermal: LVT_MASKED,
        pmc: LVT_MASKED,
        lint0: LVT_MASKED,
        lint1: LVT_MASKED,
        error: LVT_MASKED,
    };

    /// The entry at `offset` of the page and the bits of it software may write.
    const fn entry(&mut self, offset: u64) -> Option<(&mut u32, u32)> {
        Some(match offset {
            reg::LVT_TIMER => (&mut self.timer, 0x7_00ff),
            reg::LVT_THERMAL => (&mut self.thermal, 0x1_07ff),
            reg::LVT_PMC => (&mut self.pmc, 0x1_07ff),
            reg::LVT_LINT0 => (&mut self.lint0, 0x1_a7ff),
            reg::LVT_LINT1 => (&mut self.lint1, 0x1_a7ff),
            reg::LVT_ERROR => (&mut self.error, 0x1_00ff),
            _ => return None,
        })
    }

    const fn read(mut self, offset: u64) -> Option<u32> {
        match self.entry(offset) {
            Some((entry, _)) => Some(*entry),
            None => None,
        }
    }

    const fn mask_all(&mut self) {
        self.timer |= LVT_MASKED;
        self.thermal |= LVT_MASKED;
        self.pmc |= LVT_MASKED;
        self.lint0 |= LVT_MASKED;
        self.lint1 |= LVT_MASKED;
        self.error |= LVT_MASKED;
    }
}

/// A local APIC.
#[derive(Clone, Debug)]
pub struct LocalApic {
    id: u8,
    tpr: u8,
    ldr: u32,
    dfr: u32,
    svr: u32,
    irr: Vectors,
    isr: Vectors,
    /// Vectors in IRR or ISR that were accepted as level-triggered.
    tmr: Vectors,
    /// A level-triggered interrupt that was ended: the I/O APIC has to be told.
    ended: Option<u8>,
    esr: u32,
    /// Errors since ESR was last written.
    errors: u32,
    icr_low: u32,
    icr_high: u32,
    lvt: Lvt,
    timer: Timer,
    /// When the TSC-deadline timer fires, if armed.
    tsc_deadline: Option<u64>,
    /// IA32_APIC_BASE.
    base: u64,
}

impl LocalApic {
    /// The APIC of processor `id` after reset; its timer counts once per `ticks_per_count`
    /// ticks (0 counts as 1) at a divide of 1.
    #[must_use]
    pub const fn new(id: u8, ticks_per_count: u64) -> Self {
        Self {
            id,
            tpr: 0,
            ldr: 0,
            dfr: u32::MAX,
            svr: 0xff,
            irr: Vectors([0; 8]),
            isr: Vectors([0; 8]),
            tmr: Vectors([0; 8]),
            ended: None,
            esr: 0,
            errors: 0,
            icr_low: 0,
            icr_high: 0,
            lvt: Lvt::RESET,
            timer: Timer::new(ticks_per_count),
            tsc_deadline: None,
            base: DEFAULT_BASE | BASE_ENABLE | if id == 0 { BASE_BSP } else { 0 },
        }
    }

    /// Goes back to the state after reset, as INIT demands; ID and IA32_APIC_BASE stay.
    pub const fn reset(&mut self) {
        let base = self.base;
        *self = Self::new(self.id, self.timer.ticks_per_count());
        self.base = base;
    }

    /// What firmware leaves on the bootstrap processor: enabled, the 8259 through LINT0.
    pub const fn set_virtual_wire(&mut self) {
        self.svr |= SVR_ENABLE;
        self.lvt.lint0 = LVT_EXTINT;
    }

    /// Whether the 8259's output reaches the processor: LINT0 is an open ExtINT, or there is no APIC.
    #[must_use]
    pub const fn accepts_extint(&self) -> bool {
        let is_open = self.lvt.lint0 & (LVT_MASKED | LVT_DELIVERY) == LVT_EXTINT;
        self.base & BASE_ENABLE == 0 || self.is_enabled() && is_open
    }

    /// The APIC ID.
    #[must_use]
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// Reads the dword at `offset` of the page at time `now`. Nothing changes by it.
    #[must_use]
    pub fn read(&self, now: u64, offset: u64) -> u32 {
        match offset {
            reg::ID => u32::from(self.id) << 24,
            reg::VERSION => VERSION,
            reg::TPR => self.tpr.into(),
            reg::PPR => self.processor_priority().into(),
            reg::LDR => self.ldr,
            reg::DFR => self.dfr,
            reg::SVR => self.svr,
            reg::ESR => self.esr,
            reg::ICR_LOW => self.icr_low,
            reg::ICR_HIGH => self.icr_high,
            reg::TIMER_INITIAL => self.timer.initial(),
            reg::TIMER_CURRENT => self.timer.current(now, self.timer_mode()),
            reg::TIMER_DIVIDE => self.timer.divide(),
            0x100..0x180 if offset.is_multiple_of(16) => word(&self.isr, offset - reg::ISR0),
            0x180..0x200 if offset.is_multiple_of(16) => word(&self.tmr, offset - reg::TMR0),
            0x200..0x280 if offset.is_multiple_of(16) => word(&self.irr, offset - reg::IRR0),
            _ => self.lvt.read(offset).unwrap_or(0),
        }
    }

    /// Writes the dword at `offset` of the page at time `now`; what is to be sent, if anything.
    #[must_use = "an interprocessor interrupt has to be routed"]
    pub fn write(&mut self, now: u64, offset: u64, value: u32) -> Option<Ipi> {
        self.advance(now);
        match offset {
            reg::TPR => self.tpr = value.to_le_bytes()[0],
            reg::EOI => self.end_of_interrupt(),
            reg::LDR => self.ldr = value & 0xff00_0000,
            reg::DFR => self.dfr = value | 0x0fff_ffff,
            reg::SVR => self.write_svr(value),
            reg::ESR => self.esr = std::mem::take(&mut self.errors),
            reg::ICR_LOW => return self.send(value),
            reg::ICR_HIGH => self.icr_high = value & 0xff00_0000,
            reg::TIMER_INITIAL if self.is_deadline_mode() => {}
            reg::TIMER_INITIAL => self.timer.start(now, value),
            reg::TIMER_DIVIDE => self.timer.set_divide(now, value, self.timer_mode()),
            _ => self.write_lvt(now, offset, value),
        }
        None
    }

    const fn write_svr(&mut self, value: u32) {
        self.svr = value & 0x1ff;
        if !self.is_enabled() {
            self.lvt.mask_all();
        }
    }

    /// While the APIC is disabled in software, mask bits cannot be cleared.
    fn write_lvt(&mut self, now: u64, offset: u64, value: u32) {
        let forced = if self.is_enabled() { 0 } else { LVT_MASKED };
        let was_deadline = self.is_deadline_mode();
        if let Some((entry, writable)) = self.lvt.entry(offset) {
            *entry = value & writable | forced;
        }
        // A change into or out of TSC-deadline mode disarms the timer.
        if self.is_deadline_mode() != was_deadline {
            self.tsc_deadline = None;
            self.timer.start(now, 0);
        }
    }

    /// Sends what ICR now says.
    fn send(&mut self, value: u32) -> Option<Ipi> {
        self.icr_low = value & 0x000c_cfff;
        Ipi::from_icr(self.icr_low, self.icr_high).filter(|ipi| self.has_legal_vector(*ipi))
    }

    fn end_of_interrupt(&mut self) {
        let Some(vector) = self.isr.highest() else {
            return;
        };
        self.isr.clear(vector);
        if self.tmr.contains(vector) {
            self.ended = Some(vector);
        }
    }

    const fn is_enabled(&self) -> bool {
        self.svr & SVR_ENABLE != 0
    }

    fn error(&mut self, bit: u32) {
        self.errors |= bit;
        let vector = self.lvt.error.to_le_bytes()[0];
        if self.lvt.error & LVT_MASKED == 0 && vector >= FIRST_VECTOR {
            self.irr.set(vector);
        }
    }

    /// The vector of a level-triggered interrupt that was ended since the last call.
    pub const fn take_ended(&mut self) -> Option<u8> {
        self.ended.take()
    }

    /// Accepts a fixed interrupt with this vector, unless the APIC is disabled.
    pub fn deliver(&mut self, vector: u8, trigger: Trigger) {
        if !self.is_enabled() || self.base & BASE_ENABLE == 0 {
            return;
        }
        if vector < FIRST_VECTOR {
            self.error(ESR_RECEIVE_ILLEGAL);
            return;
        }
        self.irr.set(vector);
        match trigger {
            Trigger::Edge => self.tmr.clear(vector),
            Trigger::Level => self.tmr.set(vector),
        }
    }

    /// Whether a message from the APIC with ID `sender` to `destination` is for this one.
    #[must_use]
    pub const fn is_addressed(&self, destination: Destination, sender: u8) -> bool {
        match destination {
            Destination::Sender => self.id == sender,
            Destination::All => true,
            Destination::Others => self.id != sender,
            Destination::Physical(id) => id == self.id || id == u8::MAX,
            Destination::Logical(mda) if self.is_x2() => self.matches_x2_logical(mda as u32),
            Destination::Logical(mda) => self.matches_logical(mda),
            Destination::X2Logical(mda) => self.is_x2() && self.matches_x2_logical(mda),
        }
    }

    /// Flat: a bit in common. Cluster: same cluster, and a bit in common.
    const fn matches_logical(&self, mda: u8) -> bool {
        let logical_id = self.ldr.to_le_bytes()[3];
        if self.dfr >> 28 == 0xf {
            mda & logical_id != 0
        } else {
            let is_cluster = mda >> 4 == logical_id >> 4 || mda >> 4 == 0xf;
            is_cluster && mda & logical_id & 0xf != 0
        }
    }

    /// PPR: the task's priority or that of the interrupt in service, whichever class is higher.
    #[must_use]
    pub fn processor_priority(&self) -> u8 {
        let in_service = self.isr.highest().unwrap_or(0);
        if self.tpr >> 4 >= in_service >> 4 {
            self.tpr
        } else {
            in_service & 0xf0
        }
    }

    /// TPR bits 7:4, which CR8 mirrors.
    #[must_use]
    pub const fn task_priority_class(&self) -> u8 {
        self.tpr >> 4
    }

    /// Sets TPR from a value of CR8 (bits 3:0 count); bits 3:0 of TPR become 0.
    pub const fn set_task_priority_class(&mut self, class: u8) {
        self.tpr = class << 4;
    }

    /// The vector the processor is to take now, if one is above its priority.
    #[must_use]
    pub fn pending(&self) -> Option<u8> {
        if self.irr.is_empty() || !self.is_enabled() {
            return None;
        }
        self.irr
            .highest()
            .filter(|v| v >> 4 > self.processor_priority() >> 4)
    }

    /// The processor takes its interrupt: the vector moves from IRR to ISR.
    ///
    /// If none is pending any more, the spurious vector is given and ISR stays.
    pub fn acknowledge(&mut self) -> u8 {
        let Some(vector) = self.pending() else {
            return self.svr.to_le_bytes()[0];
        };
        self.irr.clear(vector);
        self.isr.set(vector);
        vector
    }

    /// When [`LocalApic::advance`] will deliver the timer's vector, if it will.
    #[must_use]
    pub const fn next_event(&self) -> Option<u64> {
        if self.lvt.timer & LVT_MASKED != 0 {
            None
        } else if self.is_deadline_mode() {
            self.tsc_deadline
        } else {
            self.timer.deadline()
        }
    }

    /// Lets the timer run up to `now`. Periods that passed unseen give one interrupt.
    pub fn advance(&mut self, now: u64) {
        let mode = self.timer_mode();
        let fires = if self.is_deadline_mode() {
            self.tsc_deadline.take_if(|at| *at <= now).is_some()
        } else {
            self.timer.advance(now, mode)
        };
        if fires && self.lvt.timer & LVT_MASKED == 0 {
            self.deliver(self.lvt.timer.to_le_bytes()[0], Trigger::Edge);
        }
    }

    /// LVT timer bits 18:17 are 10.
    const fn is_deadline_mode(&self) -> bool {
        self.lvt.timer & (LVT_TIMER_DEADLINE | LVT_TIMER_PERIODIC) == LVT_TIMER_DEADLINE
    }

    const fn timer_mode(&self) -> timer::Mode {
        if self.lvt.timer & LVT_TIMER_PERIODIC == 0 {
            timer::Mode::OneShot
        } else {
            timer::Mode::Periodic
        }
    }
}

/// 32 vectors of a set: the register at `offset` from the first of the eight.
fn word(vectors: &Vectors, offset: u64) -> u32 {
    usize::try_from(offset / 16)
        .ok()
        .and_then(|i| vectors.0.get(i))
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
