//! One race, run once: the driver that holds the transfer and reads the verdict.

use super::evidence::{Difference, Mapping, SectorSeen, Space, read_pieces};
use super::{Outcome, Policy, Race, Seen, expected};
use cost::{Profile, Ticks};
use guest_abi::probe::{Mark, verdict};
use machine::{
    AhciEvent, BuildError, Config, Direction, Machine, MarkEvent, MemDisk, Pause, Stopped, Timing,
};
use serde::Serialize;
use trace::Tracer;
use x86::VirtAddr;

/// Bytes of the transfer every race is about: one sector.
const BUFFER_BYTES: usize = 512;
/// A race that is not over by then never will be: ten virtual seconds at 1 GHz.
const LIMIT_CYCLES: u64 = 10_000_000_000;
const MEMORY_BYTES: u64 = 64 << 20;
const CPUS: u8 = 2;
/// A fast disk: what is not held arrives soon.
const SERVICE_NS: u64 = 20_000;
const SECTOR_NS: u64 = 1_000;

/// How to run.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// Decides how processors interleave.
    pub seed: u64,
    /// Submit and wait instead of a blocking call in a thread.
    pub queued: bool,
    /// Where events go.
    pub tracer: Tracer,
}

/// Why a run has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RaceError {
    /// The machine could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The guest stopped in an unexpected way; its console output is with it.
    #[error("the guest stopped without a verdict ({stopped:?}); its console said:\n{console}")]
    Stopped {
        /// How.
        stopped: Stopped,
        /// All it printed.
        console: String,
    },
    /// The guest did not come to an end.
    #[error("no verdict after {LIMIT_CYCLES} cycles; the console said:\n{console}")]
    Limit {
        /// All it printed.
        console: String,
    },
    /// The guest program could not do what the scenario needs.
    #[error("the guest program gave up; the console said:\n{console}")]
    Invalid {
        /// All it printed.
        console: String,
    },
    /// A mark came out of order.
    #[error("the scenario's {0} never happened")]
    Missing(&'static str),
}

/// What one run showed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Always `"race/1"`.
    pub schema: &'static str,
    /// Which race.
    pub race: Race,
    /// Against what.
    pub policy: Policy,
    /// Seed of the run.
    pub seed: u64,
    /// Whether the program submitted and waited.
    pub queued: bool,
    /// What the machine read from memory and disk.
    #[serde(flatten)]
    pub seen: Seen,
    /// What the guest program itself saw.
    pub guest: Seen,
    /// What should happen.
    pub expected: Outcome,
    /// Whether it did, and machine and guest agree.
    pub agrees: bool,
    /// Cycles from entry to exit of `fork`, on the processor that ran it.
    pub fork_cycles: u64,
    /// Pages `fork` copied at once.
    pub pages_copied_at_fork: u64,
    /// Cycles of all processors, idle included, from power-on to power-off.
    pub cycles_total: u64,
    /// The sector, as it moved.
    pub sector: SectorSeen,
    /// Parent's mapping when the transfer was issued.
    pub parent_at_issue: Mapping,
    /// Parent's buffer (read) or the disk's sector (write) against the bytes that should be there.
    pub difference: Option<Difference>,
}

impl Report {
    /// How the race ended, by the machine's own reading.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.seen.outcome(self.race)
    }
}

/// Boots the kernel, runs `race` against `policy`, and reads the verdict.
///
/// # Errors
///
/// [`RaceError`] if the run came to no verdict.
pub fn run(race: Race, policy: Policy, options: RunOptions) -> Result<Report, RaceError> {
    let profile = Profile::flat();
    let timing = Timing {
        service_ticks: profile.ns(SERVICE_NS).0,
        sector_ticks: profile.ns(SECTOR_NS).0,
    };
    let config = Config {
        memory_bytes: MEMORY_BYTES,
        cpus: CPUS,
        seed: options.seed,
        profile,
        disk: Some(Box::new(MemDisk::new(images::BOOT_DISK.to_vec()))),
        timing,
        tracer: options.tracer,
    };
    let machine = Machine::boot(
        config,
        images::KERNEL_ELF,
        &command_line(race, policy, options.queued),
    )?;
    let mut driver = Driver::new(machine);
    driver.run()?;
    driver.report(race, policy, options.seed, options.queued)
}

fn command_line(race: Race, policy: Policy, queued: bool) -> String {
    let mut args = Vec::new();
    if policy == Policy::Dontfork {
        args.push("--dontfork");
    }
    if queued {
        args.push("--queued");
    }
    let args = args.join(",");
    format!(
        "cpus={CPUS} policy={} init=/bin/{} initargs={args}",
        policy.of_kernel(),
        race.name()
    )
}

/// The transfer the race is about, once it was fetched.
#[derive(Debug)]
struct Held {
    slot: u32,
    lba: u64,
    direction: Direction,
    /// For a write: the memory's bytes when it was issued, which the disk should get.
    issued: Vec<u8>,
    parent: Mapping,
}

/// Drives one run and keeps what it sees.
struct Driver {
    machine: Machine,
    console: Vec<u8>,
    parent: Option<Space>,
    child: Option<Space>,
    held: Option<Held>,
    sector: Option<SectorSeen>,
    /// Bytes that moved.
    moved: Vec<u8>,
    seen: Seen,
    difference: Option<Difference>,
    guest: Option<u64>,
    fork_entered: Option<Ticks>,
    fork_cycles: u64,
    pages_copied: u64,
}

impl Driver {
    fn new(machine: Machine) -> Self {
        Self {
            machine,
            console: Vec::new(),
            parent: None,
            child: None,
            held: None,
            sector: None,
            moved: Vec::new(),
            seen: Seen::default(),
            difference: None,
            guest: None,
            fork_entered: None,
            fork_cycles: 0,
            pages_copied: 0,
        }
    }

    fn run(&mut self) -> Result<(), RaceError> {
        loop {
            match self.machine.run(Ticks::from_cycles(LIMIT_CYCLES)) {
                Pause::Mark(mark) => self.mark(mark)?,
                Pause::Disk(at, event) => self.disk(at, &event),
                Pause::Stopped(Stopped::Exit(0)) if self.guest.is_some() => return Ok(()),
                Pause::Stopped(stopped) => {
                    return Err(RaceError::Stopped {
                        stopped,
                        console: self.console(),
                    });
                }
                Pause::Limit | Pause::Idle => {
                    return Err(RaceError::Limit {
                        console: self.console(),
                    });
                }
            }
        }
    }

    fn console(&mut self) -> String {
        self.console.extend(self.machine.take_console_output());
        String::from_utf8_lossy(&self.console).into_owned()
    }

    fn mark(&mut self, event: MarkEvent) -> Result<(), RaceError> {
        match event.mark {
            Mark::ForkEnter => self.fork_entered = Some(event.at),
            Mark::ForkExit => {
                let entered = self
                    .fork_entered
                    .take()
                    .ok_or(RaceError::Missing("entry of fork"))?;
                self.fork_cycles = event.at.since(entered).cycles();
                self.pages_copied = event.argument;
            }
            Mark::Parent => {
                self.parent = space(event);
                self.machine.hold_transfers();
            }
            Mark::Child => self.child = space(event),
            Mark::Release => self.machine.release_transfers(),
            Mark::ChildLooked => self.look_at_child(),
            Mark::ParentLooked => self.look_at_parent()?,
            Mark::Verdict if event.argument & verdict::INVALID != 0 => {
                return Err(RaceError::Invalid {
                    console: self.console(),
                });
            }
            Mark::Verdict => self.guest = Some(event.argument),
        }
        Ok(())
    }

    fn disk(&mut self, at: Ticks, event: &AhciEvent) {
        match event {
            AhciEvent::CommandIssued {
                slot, lba, pieces, ..
            } if self.held.is_none() => {
                let in_flight = self
                    .machine
                    .transfers()
                    .into_iter()
                    .find(|t| t.slot == *slot && t.held);
                if let (Some(transfer), Some(parent)) = (in_flight, self.parent) {
                    self.held = Some(Held {
                        slot: *slot,
                        lba: *lba,
                        direction: transfer.direction,
                        issued: read_pieces(&self.machine, pieces),
                        parent: parent.mapping(&self.machine),
                    });
                }
            }
            AhciEvent::Sector {
                slot, lba, pieces, ..
            } if self.is_held(*slot, *lba) => {
                self.moved = read_pieces(&self.machine, pieces);
                self.sector = Some(SectorSeen {
                    lba: *lba,
                    address: pieces.first().map_or(0, |p| p.at),
                    at_cycles: at.cycles(),
                    parent: self.parent.map(|s| s.mapping(&self.machine)),
                    child: self.child.map(|s| s.mapping(&self.machine)),
                });
            }
            _ => {}
        }
    }

    /// Whether this is the sector the race waits for, moving for the first time.
    fn is_held(&self, slot: u32, lba: u64) -> bool {
        self.sector.is_none()
            && self
                .held
                .as_ref()
                .is_some_and(|h| h.slot == slot && h.lba == lba)
    }

    /// The transfer is complete and the parent has looked: what does it have?
    fn look_at_parent(&mut self) -> Result<(), RaceError> {
        let held = self.held.as_ref().ok_or(RaceError::Missing("transfer"))?;
        let parent = self.parent.ok_or(RaceError::Missing("parent"))?;
        match held.direction {
            Direction::ToMemory => {
                let has = parent
                    .bytes(&self.machine, BUFFER_BYTES)
                    .ok_or(RaceError::Missing("parent's buffer"))?;
                self.difference = Difference::between(&self.moved, &has);
                self.seen.lost = self.difference.is_some();
            }
            Direction::ToDisk => {
                let mut sector = [0; BUFFER_BYTES];
                let on_disk = self
                    .machine
                    .disk()
                    .is_some_and(|d| d.read(held.lba, &mut sector).is_ok());
                if !on_disk {
                    return Err(RaceError::Missing("disk"));
                }
                self.difference = Difference::between(&held.issued, &sector);
                self.seen.lost = self.difference.is_some();
                let childs = self
                    .child
                    .and_then(|c| c.bytes(&self.machine, BUFFER_BYTES));
                self.seen.disk_has_child_bytes =
                    self.seen.lost && childs.is_some_and(|bytes| bytes == sector);
            }
        }
        Ok(())
    }

    /// The child has looked at its copy after the transfer.
    fn look_at_child(&mut self) {
        let reads = self
            .held
            .as_ref()
            .is_some_and(|h| h.direction == Direction::ToMemory);
        let bytes = self
            .child
            .and_then(|c| c.bytes(&self.machine, BUFFER_BYTES));
        self.seen.child_saw_dma = reads && bytes.is_some_and(|b| b == self.moved);
    }

    fn report(
        self,
        race: Race,
        policy: Policy,
        seed: u64,
        queued: bool,
    ) -> Result<Report, RaceError> {
        let bits = self.guest.ok_or(RaceError::Missing("verdict"))?;
        let guest = Seen {
            lost: bits & verdict::LOST != 0,
            child_saw_dma: bits & verdict::CHILD_SAW_DMA != 0,
            disk_has_child_bytes: bits & verdict::DISK_HAS_CHILD_BYTES != 0,
        };
        let expected = expected(race, policy);
        Ok(Report {
            schema: "race/1",
            race,
            policy,
            seed,
            queued,
            seen: self.seen,
            guest,
            expected,
            agrees: self.seen.outcome(race) == expected && self.seen == guest,
            fork_cycles: self.fork_cycles,
            pages_copied_at_fork: self.pages_copied,
            cycles_total: self
                .machine
                .ledgers()
                .iter()
                .map(|l| l.now().cycles())
                .sum(),
            sector: self.sector.ok_or(RaceError::Missing("sector"))?,
            parent_at_issue: self.held.ok_or(RaceError::Missing("transfer"))?.parent,
            difference: self.difference,
        })
    }
}

fn space(event: MarkEvent) -> Option<Space> {
    let buffer = VirtAddr::new(event.argument).ok()?;
    Some(Space {
        cr3: event.cr3,
        buffer,
    })
}
