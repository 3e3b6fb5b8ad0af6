//! The run loop: one clock for processors and devices.
//!
//! Each processor has its own clock; the machine's *frontier* is the clock of the
//! runnable processor that is furthest behind. An event of a device happens when
//! the frontier reaches its time. A halted processor stands still and is charged
//! its idle time when something wakes it.

use crate::build::Machine;
use cost::{Category, Ticks};
use cpu::{Activity, Core, Stop};
use devices::ahci::{AhciEvent, Direction, NewTransfers};
use devices::apic::ipi::{Delivery, Ipi, Trigger};
use devices::power::PowerRequest;
use guest_abi::probe::Mark;
use memory::Dma;
use trace::{Event, Source};
use x86::Rflags;

/// Sender of a message that comes from a device: no APIC has this ID.
const DEVICE: u8 = 0xff;

/// A mark a guest announced through the measuring port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkEvent {
    /// Processor that announced it.
    pub cpu: u8,
    /// What.
    pub mark: Mark,
    /// Its argument.
    pub argument: u64,
    /// CR3 of that processor then.
    pub cr3: u64,
    /// Its clock then.
    pub at: Ticks,
}

/// Why the machine will not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The guest wrote this value to port F4h.
    Exit(u32),
    /// The guest switched the machine off.
    PowerOff,
    /// The guest asked for a reset; there is no firmware that would boot again.
    Reset,
    /// A processor met an exception while delivering #DF.
    TripleFault {
        /// Which.
        cpu: u8,
        /// RIP.
        rip: u64,
    },
    /// No processor can ever run again: all are halted with interrupts off, or wait for a start-up IPI.
    Dead,
}

/// Why [`Machine::run`] gave control back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The frontier reached the limit.
    Limit,
    /// Nothing will happen until somebody types: all processors are halted and no event is due.
    Idle,
    /// A guest announced something. The processor stands after the announcing instruction.
    Mark(MarkEvent),
    /// The disk did something, at this time.
    Disk(Ticks, AhciEvent),
    /// The machine will not go on; every further run gives the same.
    Stopped(Stopped),
}

impl Machine {
    /// Lets time go on until the frontier reaches `until` or something happens that a driver may want to see.
    pub fn run(&mut self, until: Ticks) -> Pause {
        loop {
            if let Some(pause) = self.pauses.pop_front() {
                return pause;
            }
            if let Some(stopped) = self.stopped() {
                self.settle_idle();
                self.check_ledgers();
                return Pause::Stopped(stopped);
            }
            let runnable = self.next_runnable();
            let frontier = match (runnable, self.next_event()) {
                (Some(cpu), _) => self.clock(cpu),
                (None, Some(event)) => event.max(self.earliest_clock()),
                (None, None) => return self.nothing_due(until),
            };
            if frontier >= until {
                return Pause::Limit;
            }
            if self.next_event().is_some_and(|at| at <= frontier) {
                self.fire(frontier);
            } else if let Some(cpu) = runnable {
                self.run_cpu(cpu, until);
            }
        }
    }

    /// Holds every read and write the guest issues from now on: fetched, addresses fixed, not moved.
    pub fn hold_transfers(&mut self) {
        self.board.hba.set_new_transfers(NewTransfers::Hold);
    }

    /// Lets held transfers go, and new ones run by their timing again.
    pub fn release_transfers(&mut self) {
        self.board.hba.set_new_transfers(NewTransfers::Run);
        let now = self.now();
        self.board.hba.release(now.0);
    }

    fn clock(&self, cpu: usize) -> Ticks {
        self.cpus[cpu].ledger.now()
    }

    fn stopped(&self) -> Option<Stopped> {
        if let Some(value) = self.board.exit {
            return Some(Stopped::Exit(value));
        }
        if let Some(request) = self.board.chipset.power_request {
            return Some(match request {
                PowerRequest::PowerOff => Stopped::PowerOff,
                PowerRequest::Reset => Stopped::Reset,
            });
        }
        if let Some(cpu) = self.cpus.iter().find(|c| c.activity == Activity::Shutdown) {
            return Some(Stopped::TripleFault {
                cpu: cpu.id,
                rip: cpu.rip(),
            });
        }
        let hopeless = self.cpus.iter().all(|c| match c.activity {
            Activity::Running | Activity::Shutdown => false,
            Activity::Halted => c.flags & Rflags::IF.bits() == 0,
            Activity::WaitForSipi => true,
        });
        hopeless.then_some(Stopped::Dead)
    }

    fn nothing_due(&mut self, until: Ticks) -> Pause {
        if until != Ticks::MAX {
            for cpu in &mut self.cpus {
                idle_until(cpu, until);
            }
        }
        Pause::Idle
    }

    /// The runnable processor that is furthest behind; the lower number on a tie.
    fn next_runnable(&self) -> Option<usize> {
        let runnable = |cpu: &&cpu::Cpu| cpu.activity == Activity::Running;
        let first = self
            .cpus
            .iter()
            .filter(runnable)
            .min_by_key(|c| (c.ledger.now(), c.id))?;
        Some(usize::from(first.id))
    }

    /// When the first device event is due.
    fn next_event(&self) -> Option<Ticks> {
        let timers = self.board.apics.iter().filter_map(|a| a.next_event());
        timers
            .chain(self.board.hba.next_event())
            .chain(self.board.chipset.next_event())
            .min()
            .map(Ticks)
    }

    /// A machine of which no processor runs still cannot go back in time.
    fn earliest_clock(&self) -> Ticks {
        self.cpus
            .iter()
            .map(|c| c.ledger.now())
            .min()
            .unwrap_or_default()
    }

    /// Does all device events due at `now`, and what follows from them.
    fn fire(&mut self, now: Ticks) {
        for apic in &mut self.board.apics {
            apic.advance(now.0);
        }
        self.board.chipset.advance(now.0);
        self.step_disk(now);
        self.update_interrupts(now);
    }

    fn step_disk(&mut self, now: Ticks) {
        if self.board.hba.next_event().is_none_or(|at| at > now.0) {
            return;
        }
        let dma = Dma::new(&self.ram, self.board.pci.ahci_bus_master());
        let mut events = Vec::new();
        self.board.hba.step(now.0, &dma, &mut events);
        for event in events {
            if let Some(event) = traced(&event) {
                self.tracer.emit(now.cycles(), Source::Disk, event);
            }
            self.pauses.push_back(Pause::Disk(now, event));
        }
        self.send_disk_interrupt(now);
    }

    fn send_disk_interrupt(&mut self, now: Ticks) {
        while let Some(message) = self.board.hba.interrupt(&self.board.pci) {
            if let Some(ipi) = Ipi::from_message(message.address, message.data) {
                self.route(ipi, DEVICE, now);
            }
        }
    }

    /// Brings interrupt lines to the controllers and tells each processor whether it is asked
    /// for an interrupt; wakes those that halt for one.
    fn update_interrupts(&mut self, now: Ticks) {
        let ahci = self.board.hba.intx(&self.board.pci);
        self.board.chipset.update_lines(ahci);
        while let Some(message) = self.board.chipset.take_message() {
            self.route(message, DEVICE, now);
        }
        for cpu in &mut self.cpus {
            cpu.interrupt_request = self.board.asks_interrupt(cpu.id);
            let open = cpu.flags & Rflags::IF.bits() != 0;
            if cpu.activity == Activity::Halted && cpu.interrupt_request && open {
                idle_until(cpu, now);
                cpu.activity = Activity::Running;
            }
        }
    }

    fn run_cpu(&mut self, index: usize, until: Ticks) {
        let now = self.clock(index);
        let slice = now + self.schedule.slice();
        let due = self.next_event().unwrap_or(Ticks::MAX);
        let limit = slice.min(due).min(until);
        let mut core = Core::new(
            &mut self.cpus[index],
            &self.ram,
            &mut self.board,
            &self.profile,
            &mut self.tracer,
        );
        if core.run(&mut self.cache, limit) == Stop::Device {
            self.after_device_access(index);
        }
        debug_assert!(
            self.cpus[index].ledger.adds_up(),
            "a charge went past the ledger"
        );
    }

    fn after_device_access(&mut self, index: usize) {
        for mark in std::mem::take(&mut self.board.marks) {
            let event = Event::Mark {
                mark: mark.mark as u32,
                argument: mark.argument,
                cr3: mark.cr3,
            };
            self.tracer
                .emit(mark.at.cycles(), Source::Cpu(mark.cpu), event);
            self.pauses.push_back(Pause::Mark(mark));
        }
        for sent in std::mem::take(&mut self.board.ipis) {
            self.cpus[index]
                .ledger
                .charge(Category::Ipi, self.profile.ipi);
            let now = self.clock(index);
            self.route(sent.ipi, sent.from, now);
        }
        let now = self.clock(index);
        self.send_disk_interrupt(now);
        self.update_interrupts(now);
    }

    /// Brings a message to all APICs it is for; the lowest-numbered one if one is enough.
    fn route(&mut self, ipi: Ipi, from: u8, now: Ticks) {
        for target in 0..self.cpus.len() {
            if !self.board.apics[target].is_addressed(ipi.destination, from) {
                continue;
            }
            self.deliver(ipi.delivery, ipi.trigger, target, now);
            if matches!(ipi.delivery, Delivery::LowestPriority(_)) {
                return;
            }
        }
    }

    fn deliver(&mut self, what: Delivery, trigger: Trigger, target: usize, now: Ticks) {
        let (cpu, apic) = (&mut self.cpus[target], &mut self.board.apics[target]);
        match what {
            Delivery::Fixed(vector) | Delivery::LowestPriority(vector) => {
                apic.deliver(vector, trigger)
            }
            Delivery::Init => {
                idle_until(cpu, now);
                cpu.init();
                apic.reset();
            }
            Delivery::Startup(vector) => {
                idle_until(cpu, now);
                if cpu.startup(vector) {
                    self.tracer
                        .emit(now.cycles(), cpu.source(), Event::Startup { vector });
                }
            }
            Delivery::Nmi => {
                cpu.nmi();
                if cpu.activity == Activity::Halted && cpu.nmi_ready() {
                    idle_until(cpu, now);
                    cpu.activity = Activity::Running;
                }
            }
        }
    }

    /// The accounting identity, in every build: a figure of a machine whose ledger does not add up is worth nothing.
    fn check_ledgers(&self) {
        for cpu in &self.cpus {
            assert!(
                cpu.ledger.adds_up(),
                "cpu{}: the clock is not the sum of its categories: {:?}",
                cpu.id,
                cpu.ledger
            );
        }
    }

    /// Charges every idle processor up to the machine's time, so that ledgers can be compared.
    fn settle_idle(&mut self) {
        let now = self.now();
        for cpu in self
            .cpus
            .iter_mut()
            .filter(|c| c.activity != Activity::Running)
        {
            idle_until(cpu, now);
        }
    }
}

fn idle_until(cpu: &mut cpu::Cpu, time: Ticks) {
    let idle = time.since(cpu.ledger.now());
    cpu.ledger.charge(Category::Idle, idle);
}

/// How a trace spells what the disk did.
fn traced(event: &AhciEvent) -> Option<Event> {
    Some(match event {
        AhciEvent::CommandIssued {
            slot,
            command,
            lba,
            sectors,
            ..
        } => Event::Command {
            slot: *slot,
            command: *command,
            lba: *lba,
            sectors: *sectors,
        },
        AhciEvent::Sector {
            lba,
            direction,
            pieces,
            ..
        } => Event::Sector {
            direction: match direction {
                Direction::ToMemory => trace::Direction::Read,
                Direction::ToDisk => trace::Direction::Write,
            },
            lba: *lba,
            at: pieces.first()?.at,
        },
        AhciEvent::Completed { slot, status, .. } => Event::Completed {
            slot: *slot,
            status: status.bits(),
        },
        _ => return None,
    })
}
