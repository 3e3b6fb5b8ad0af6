//! Fetch, decode, execute: the loop, and what it borrows from the machine.
//!
//! **Spec:** SDM 3A "Priority Among Concurrent Events"; SDM 2 "Instruction Format".

use crate::block::{Block, CodeCache};
use crate::exception::Exception;
use crate::fetch::Fetched;
use crate::op::Op;
use crate::state::{Activity, Cpu};
use cost::{Category, Profile, Ticks};
use memory::{Ram, Width};
use trace::Tracer;
use x86::addr::PAGE_BYTES;
use x86::fault::Vector;
use x86::{PhysAddr, Rflags};

/// What lies outside the processor and RAM.
///
/// `cpu` is the number of the asking processor, because each has a local APIC of
/// its own at the same address. `now` is that processor's clock.
pub trait Bus {
    /// Reads a device register in memory; all ones where nobody answers.
    fn mmio_read(&mut self, cpu: u8, at: PhysAddr, width: Width, now: Ticks) -> u64;
    /// Writes a device register in memory.
    fn mmio_write(&mut self, cpu: u8, at: PhysAddr, width: Width, value: u64, now: Ticks);
    /// Reads a port; all ones where nobody answers.
    fn port_read(&mut self, cpu: u8, port: u16, width: Width, now: Ticks) -> u32;
    /// Writes a port. `cr3` is for the measuring port's benefit.
    fn port_write(&mut self, cpu: u8, port: u16, width: Width, value: u32, cr3: u64, now: Ticks);
    /// Takes the interrupt the local APIC holds ready, if it still does.
    fn acknowledge(&mut self, cpu: u8) -> Option<u8>;
    /// The local APIC's task priority class, as CR8 shows it.
    fn task_priority(&mut self, cpu: u8) -> u8;
    /// MOV to CR8.
    fn set_task_priority(&mut self, cpu: u8, class: u8);
    /// Reads an MSR that belongs to the local APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE (in core
    /// cycles since power-on, 0 if not armed) or a register of x2APIC mode. `None` is #GP(0).
    fn apic_msr_read(&mut self, cpu: u8, number: u32, now: Ticks) -> Option<u64>;
    /// Writes such an MSR; `false` is #GP(0), and nothing has changed.
    fn apic_msr_write(&mut self, cpu: u8, number: u32, value: u64, now: Ticks) -> bool;
    /// Whether there is a local APIC that is not globally disabled, as CPUID says.
    fn has_apic(&mut self, cpu: u8) -> bool;
    /// An instruction this machine does not have was met.
    fn missing_instruction(&mut self, cpu: u8, rip: u64, bytes: &[u8], text: &str);
}

/// Why [`Core::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The clock reached the limit.
    Limit,
    /// A device was accessed: events and interrupts may have changed.
    Device,
    /// The processor is not running any more; see [`Cpu::activity`].
    Idle,
}

/// A processor at work: its state and all it borrows.
pub struct Core<'m> {
    /// The processor.
    pub cpu: &'m mut Cpu,
    /// Memory.
    pub ram: &'m Ram,
    /// Everything else.
    pub bus: &'m mut dyn Bus,
    /// Prices.
    pub profile: &'m Profile,
    /// Where events go.
    pub tracer: &'m mut Tracer,
    /// Set by device accesses: [`Core::run`] returns after this instruction.
    pub(crate) leave: bool,
    /// TF was set when this instruction began: #DB follows it. Delivery through the
    /// IDT drops this, as it clears TF: INT n is not followed by a #DB.
    pub(crate) single_step: bool,
    /// Instructions executed but not charged yet.
    uncharged: u64,
}

impl std::fmt::Debug for Core<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("cpu", &self.cpu)
            .finish_non_exhaustive()
    }
}

impl<'m> Core<'m> {
    /// Lends a processor its surroundings.
    pub fn new(
        cpu: &'m mut Cpu,
        ram: &'m Ram,
        bus: &'m mut dyn Bus,
        profile: &'m Profile,
        tracer: &'m mut Tracer,
    ) -> Self {
        Self {
            cpu,
            ram,
            bus,
            profile,
            tracer,
            leave: false,
            single_step: false,
            uncharged: 0,
        }
    }

    /// Executes until the clock reaches `until`, a device is accessed, or the processor goes idle.
    pub fn run(&mut self, cache: &mut CodeCache, until: Ticks) -> Stop {
        self.leave = false;
        loop {
            self.take_interrupt();
            if self.cpu.activity != Activity::Running {
                return Stop::Idle;
            }
            if self.leave {
                return Stop::Device;
            }
            if self.cpu.ledger.now() >= until {
                return Stop::Limit;
            }
            self.run_block(cache, until);
        }
    }

    fn take_interrupt(&mut self) {
        if self.cpu.nmi_ready() {
            self.take_nmi();
        }
        let open = self.cpu.flags & Rflags::IF.bits() != 0 && !self.cpu.interrupt_shadow;
        let listening = matches!(self.cpu.activity, Activity::Running | Activity::Halted);
        if !(self.cpu.interrupt_request && open && listening) {
            return;
        }
        self.cpu.interrupt_request = false;
        if let Some(vector) = self.bus.acknowledge(self.cpu.id) {
            self.interrupt(vector);
            self.leave = true;
        }
    }

    /// NMI asks neither IF nor the local APIC; only MOV SS holds it off.
    #[cold]
    fn take_nmi(&mut self) {
        let listening = matches!(self.cpu.activity, Activity::Running | Activity::Halted);
        if listening && !self.cpu.debug.stack_shadow {
            self.cpu.nmi_pending = false;
            self.cpu.nmi_blocked = true;
            self.interrupt(Vector::Nmi as u8);
        }
    }

    /// Moves this processor's time on.
    #[inline]
    pub(crate) fn charge(&mut self, category: Category, ticks: Ticks) {
        self.settle();
        self.cpu.ledger.charge(category, ticks);
    }

    /// Charges the instructions executed since the last time.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.uncharged != 0 {
            let category = if self.cpu.cpl == 3 {
                Category::UserInstr
            } else {
                Category::KernelInstr
            };
            self.cpu
                .ledger
                .charge(category, self.profile.instruction * self.uncharged);
            self.cpu.retired += self.uncharged;
            self.uncharged = 0;
        }
    }

    fn run_block(&mut self, cache: &mut CodeCache, until: Ticks) {
        if self.cpu.needs_care() {
            return self.run_carefully(cache, until);
        }
        self.single_step = false;
        if let Err(e) = self.run_cached(cache, Pace::Until(until)) {
            self.raise(e);
        }
    }

    /// Executes what is at CS:RIP.
    pub(crate) fn run_cached(
        &mut self,
        cache: &mut CodeCache,
        pace: Pace,
    ) -> Result<(), Exception> {
        let result = match self.fetch(cache) {
            Ok(Fetched::Cached(key)) => match (cache.find(key, self.ram), pace) {
                (Some(block), Pace::One) => self.execute(&block.ops[..1]),
                (Some(block), Pace::Until(until)) => self.run_chain(cache, block, until),
                (None, _) => unreachable!("fetch has just found or made this block"),
            },
            Ok(Fetched::Single(op)) => self.step(&op),
            Err(e) => Err(e),
        };
        self.settle();
        result
    }

    /// Runs a block, and then those that follow it in the same page, as long as nothing
    /// happens between them that [`Core::run`] would have to look at.
    fn run_chain<'c>(
        &mut self,
        cache: &'c CodeCache,
        mut block: &'c Block,
        until: Ticks,
    ) -> Result<(), Exception> {
        let page = page_of(self.cpu.rip());
        let epoch = self.ram.code().epoch();
        loop {
            self.execute(&block.ops)?;
            let undisturbed = block.chains
                && !self.leave
                && self.ram.code().epoch() == epoch
                && self.cpu.is_64bit()
                && page_of(self.cpu.rip()) == page
                && !self.is_due(until);
            if !undisturbed {
                return Ok(());
            }
            let key = block.key.in_same_page(self.cpu.rip());
            match cache.find(key, self.ram) {
                Some(next) if next.tail.is_none() => block = next,
                _ => return Ok(()),
            }
        }
    }

    /// Whether the clock, with what is not charged yet, has reached `until`.
    #[inline]
    fn is_due(&self, until: Ticks) -> bool {
        self.cpu.ledger.now() + self.profile.instruction * self.uncharged >= until
    }

    #[inline]
    fn execute(&mut self, ops: &[Op]) -> Result<(), Exception> {
        let epoch = self.ram.code().epoch();
        for op in ops {
            self.step(op)?;
            if !op.quiet && (self.leave || self.ram.code().epoch() != epoch) {
                break;
            }
        }
        Ok(())
    }

    /// Executes one instruction; on an exception RIP is back at its start.
    #[inline]
    fn step(&mut self, op: &Op) -> Result<(), Exception> {
        let start = self.cpu.rip();
        let mask = if self.cpu.is_64bit() {
            u64::MAX
        } else {
            0xffff_ffff
        };
        self.cpu
            .set_rip(start.wrapping_add(u64::from(op.len)) & mask);
        self.uncharged += 1;
        let result = (op.exec)(self, op);
        if result.is_err() {
            self.abandon(start);
        }
        result
    }

    /// After a fault: the instruction took its time, but was not completed.
    #[cold]
    fn abandon(&mut self, start: u64) {
        self.cpu.set_rip(start);
        self.settle();
        self.cpu.retired -= 1;
    }
}

/// The 4 KiB page of an address.
const fn page_of(address: u64) -> u64 {
    address / PAGE_BYTES
}

/// How far to run before looking around.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// One instruction.
    One,
    /// A block, and those that follow undisturbed, until the clock is there.
    Until(Ticks),
}
