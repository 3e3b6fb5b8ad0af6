//! Puts a machine together: a list of what it is made of.

use crate::acpi;
use crate::board::Board;
use crate::loader::{self, Entry, Image, LoadError};
use crate::schedule::Schedule;
use cost::Profile;
use cpu::{CodeCache, Cpu};
use devices::ahci::{DiskImage, Hba, Timing};
use memory::{Ram, RamError};
use std::collections::VecDeque;
use trace::Tracer;

/// What a machine is made of.
pub struct Config {
    /// RAM in bytes, a multiple of 1 MiB.
    pub memory_bytes: u64,
    /// Processors, 1..=8.
    pub cpus: u8,
    /// Decides how processors interleave; the same seed gives the same run.
    pub seed: u64,
    /// Prices.
    pub profile: Profile,
    /// The disk on port 0, if any.
    pub disk: Option<Box<dyn DiskImage>>,
    /// How long the disk takes.
    pub timing: Timing,
    /// Where events go.
    pub tracer: Tracer,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("memory_bytes", &self.memory_bytes)
            .field("cpus", &self.cpus)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Why a machine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// RAM could not be made.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// Too many or too few processors.
    #[error("{0} processors: expected 1 to {MAX_CPUS}")]
    Cpus(u8),
    /// The kernel was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Most processors a machine can have.
pub(crate) const MAX_CPUS: u8 = 8;

/// A machine: processors, RAM, devices, one clock.
#[derive(Debug)]
pub struct Machine {
    pub(crate) ram: Ram,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) board: Board,
    pub(crate) cache: CodeCache,
    pub(crate) profile: Profile,
    pub(crate) tracer: Tracer,
    pub(crate) schedule: Schedule,
    pub(crate) pauses: VecDeque<crate::Pause>,
}

impl Machine {
    /// A machine that will start `kernel`, whose format it finds out, with `cmdline`.
    ///
    /// # Errors
    ///
    /// [`BuildError`], naming what does not fit.
    pub fn boot(config: Config, kernel: &[u8], cmdline: &str) -> Result<Self, BuildError> {
        Self::boot_image(config, &Image::new("kernel", kernel, cmdline))
    }

    /// A machine that will start `image`.
    ///
    /// # Errors
    ///
    /// [`BuildError`], naming what does not fit.
    pub fn boot_image(config: Config, image: &Image<'_>) -> Result<Self, BuildError> {
        let cpus = config.cpus;
        let mut machine = Self::new(config)?;
        acpi::write(&machine.ram, cpus);
        machine.board.apics[0].set_virtual_wire();
        let cpu = &mut machine.cpus[0];
        match loader::load(&machine.ram, image, acpi::RSDP)? {
            Entry::Pvh { eip, start_info } => cpu.enter_pvh(eip, start_info),
            Entry::Multiboot { eip, info } => cpu.enter_multiboot(eip, info),
            Entry::Linux64 {
                rip,
                zero_page,
                cr3,
                gdt,
            } => cpu.enter_linux64(rip, zero_page, cr3, gdt),
            Entry::Flat { eip } => cpu.enter_flat32(eip),
        }
        Ok(machine)
    }

    /// A machine whose bootstrap processor is at the reset vector, with nothing in memory.
    ///
    /// # Errors
    ///
    /// [`BuildError`], naming what does not fit.
    pub fn new(config: Config) -> Result<Self, BuildError> {
        if !(1..=MAX_CPUS).contains(&config.cpus) {
            return Err(BuildError::Cpus(config.cpus));
        }
        let mut hba = Hba::new(1, config.timing);
        if let Some(disk) = config.disk {
            hba.attach(0, disk);
        }
        Ok(Self {
            ram: Ram::new(config.memory_bytes)?,
            cpus: (0..config.cpus).map(Cpu::new).collect(),
            board: Board::new(config.cpus, hba, config.memory_bytes, &config.profile),
            cache: CodeCache::default(),
            profile: config.profile,
            tracer: config.tracer,
            schedule: Schedule::new(config.seed),
            pauses: VecDeque::new(),
        })
    }
}
