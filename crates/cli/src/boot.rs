//! `halfpage boot`: a machine on this terminal.

use crate::args::{BootArgs, FormatName};
use crate::console::{Console, Typed};
use crate::failure::Failure;
use crate::trace_file::TraceFile;
use crate::{Outcome, exit, output};
use cost::{Category, Profile, Ticks};
use machine::{
    Config, DiskImage, FileDisk, Format, Image, Machine, MemDisk, Module, Pause, Stopped, Timing,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use trace::Tracer;

/// A SATA SSD, roughly: time from issue to data, and per sector.
const SERVICE_NS: u64 = 70_000;
const SECTOR_NS: u64 = 1_000;
/// Virtual time between two looks at the keyboard.
const SLICE_CYCLES: u64 = 2_000_000;
/// What a kernel of ours writes to the exit port when it panics.
const PANIC_STATUS: u32 = 0x3f;

/// How a boot ended, as `--json` prints it.
#[derive(Debug, Serialize)]
struct BootReport {
    schema: &'static str,
    stopped: &'static str,
    /// Value written to the exit port, if that ended it.
    status: Option<u32>,
    seed: u64,
    cpus: u8,
    instructions: u64,
    cycles_total: u64,
    /// Cycles by category, over all processors.
    ledger: BTreeMap<&'static str, u64>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped(Stopped),
    Limit,
    Quit,
}

pub(crate) fn run(args: &BootArgs) -> Outcome {
    let file = args.trace.as_deref().map(TraceFile::create).transpose()?;
    let tracer = file
        .as_ref()
        .map_or_else(Tracer::default, TraceFile::tracer);
    let mut machine = build(args, tracer)?;
    let console = Console::open(args.json)?;
    let end = drive(&mut machine, &console, args.max_cycles)?;
    drop(console);
    say(end);
    if args.json {
        output::json(&report(&machine, end, args))?;
    }
    drop(machine);
    let code = exit_code(end);
    file.map_or(Ok(code), |f| f.finish(code))
}

fn build(args: &BootArgs, tracer: Tracer) -> Result<Machine, Failure> {
    let files = Files::read(args)?;
    let profile = Profile::flat();
    let timing = Timing {
        service_ticks: profile.ns(SERVICE_NS).0,
        sector_ticks: profile.ns(SECTOR_NS).0,
    };
    let config = Config {
        memory_bytes: args.memory,
        cpus: args.cpus,
        seed: args.seed,
        profile,
        disk: disk(args.disk.as_deref())?,
        timing,
        tracer,
    };
    let cmdline = if args.kernel.is_none() && !args.append.contains("cpus=") {
        format!("cpus={} {}", args.cpus, args.append)
    } else {
        args.append.clone()
    };
    let image = files.image(format(args)?, cmdline.trim());
    Machine::boot_image(config, &image).map_err(|source| Failure::Kernel {
        name: files.name.clone(),
        source,
    })
}

/// The kernel and what goes with it, read.
#[derive(Debug)]
struct Files {
    name: String,
    kernel: Vec<u8>,
    /// Each with its command line, which begins with the file's name.
    modules: Vec<(Vec<u8>, String)>,
}

impl Files {
    fn read(args: &BootArgs) -> Result<Self, Failure> {
        let (name, kernel) = match &args.kernel {
            Some(path) => (path.display().to_string(), read(path)?),
            None => ("built-in kernel".to_owned(), images::KERNEL_ELF.to_vec()),
        };
        let initrd = args
            .initrd
            .iter()
            .map(|path| Ok((read(path)?, path.display().to_string())));
        let modules = args.modules.iter().map(|module| {
            let (path, arguments) = module.split_once(',').unwrap_or((module, ""));
            let line = format!("{path} {arguments}").trim_end().to_owned();
            Ok((read(Path::new(path))?, line))
        });
        Ok(Self {
            name,
            kernel,
            modules: initrd.chain(modules).collect::<Result<_, Failure>>()?,
        })
    }

    fn image<'f>(&'f self, format: Format, cmdline: &'f str) -> Image<'f> {
        let modules = self.modules.iter().map(|(file, line)| Module {
            file,
            cmdline: line.clone(),
        });
        Image {
            name: &self.name,
            file: &self.kernel,
            format,
            cmdline,
            modules: modules.collect(),
        }
    }
}

/// The format asked for; a flat binary and its address go together.
fn format(args: &BootArgs) -> Result<Format, Failure> {
    Ok(match (args.format, args.load_at) {
        (FormatName::Flat, Some(load_at)) => Format::Flat { load_at },
        (FormatName::Flat, None) => {
            let text = "--format flat: expected --load-at with the address of its first byte";
            return Err(Failure::Usage(text.to_owned()));
        }
        (_, Some(_)) => {
            let text = "--load-at: expected only with --format flat";
            return Err(Failure::Usage(text.to_owned()));
        }
        (FormatName::Auto, None) => Format::Auto,
        (FormatName::Pvh, None) => Format::Pvh,
        (FormatName::Multiboot, None) => Format::Multiboot,
        (FormatName::Bzimage, None) => Format::Bzimage,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })
}

fn disk(path: Option<&Path>) -> Result<Option<Box<dyn DiskImage>>, Failure> {
    Ok(match path {
        None => Some(Box::new(MemDisk::new(images::BOOT_DISK.to_vec()))),
        Some(path) if path == Path::new("none") => None,
        Some(path) => {
            let disk = FileDisk::open(path)?;
            check_partitions(path, &disk)?;
            Some(Box::new(disk))
        }
    })
}

/// Refuses an image that ends before its partitions do: somebody cut it off.
///
/// **Spec:** UEFI "Legacy Master Boot Record": four 16-byte entries at offset 446,
/// first sector and count at 8 and 12 of each.
fn check_partitions(path: &Path, disk: &FileDisk) -> Result<(), Failure> {
    let mut mbr = [0; 512];
    let is_mbr = disk.read(0, &mut mbr).is_ok() && mbr.ends_with(&[0x55, 0xaa]);
    if !is_mbr {
        return Ok(());
    }
    for (number, entry) in (1..).zip(mbr[446..510].chunks_exact(16)) {
        let field = |at: usize| {
            u64::from(u32::from_le_bytes([
                entry[at],
                entry[at + 1],
                entry[at + 2],
                entry[at + 3],
            ]))
        };
        let end = field(8) + field(12);
        if entry[4] != 0 && end > disk.sectors() {
            return Err(Failure::DiskTooSmall {
                path: path.to_owned(),
                partition: number,
                end,
                sectors: disk.sectors(),
            });
        }
    }
    Ok(())
}

/// Runs the machine, slice by slice, and moves bytes between it and the terminal.
fn drive(
    machine: &mut Machine,
    console: &Console,
    max_cycles: Option<u64>,
) -> Result<End, Failure> {
    let limit = max_cycles.map_or(Ticks::MAX, Ticks::from_cycles);
    let mut slice_end = Ticks::ZERO;
    let mut told = 0;
    loop {
        let before = machine.instructions();
        slice_end = slice_end + Ticks::from_cycles(SLICE_CYCLES);
        let end = run_slice(machine, slice_end.min(limit));
        console.print(&machine.take_console_output())?;
        told = report_missing(machine, console, told);
        match end {
            Some(stopped) => return Ok(End::Stopped(stopped)),
            None if slice_end >= limit => return Ok(End::Limit),
            None => {}
        }
        for typed in console.typed().chain(idle_wait(machine, console, before)) {
            match typed {
                Typed::Bytes(bytes) => machine.push_console_input(&bytes),
                Typed::Quit => return Ok(End::Quit),
            }
        }
    }
}

/// A guest that only answers its timer is waiting for a key: so do we, without burning the host.
fn idle_wait(machine: &Machine, console: &Console, before: u64) -> Option<Typed> {
    let is_idle = machine.instructions() - before < SLICE_CYCLES / 20;
    if is_idle { console.wait() } else { None }
}

fn run_slice(machine: &mut Machine, until: Ticks) -> Option<Stopped> {
    loop {
        match machine.run(until) {
            Pause::Limit | Pause::Idle => return None,
            Pause::Mark(_) | Pause::Disk(..) => {}
            Pause::Stopped(stopped) => return Some(stopped),
        }
    }
}

/// Says which instructions the machine does not have were met since the first `told`;
/// how many have been told of now.
fn report_missing(machine: &Machine, console: &Console, told: usize) -> usize {
    let met = machine.missing_instructions();
    for m in &met[told..] {
        console.warn(&format!(
            "halfpage: cpu{} at {:#x}: missing instruction `{}`, bytes {:02x?}: #UD\n",
            m.cpu, m.rip, m.text, m.bytes
        ));
    }
    met.len()
}

fn say(end: End) {
    match end {
        End::Stopped(Stopped::TripleFault { cpu, rip }) => {
            eprintln!("halfpage: cpu{cpu}: triple fault at {rip:#x}")
        }
        End::Stopped(Stopped::Dead) => {
            eprintln!("halfpage: all processors are halted with interrupts off")
        }
        End::Stopped(Stopped::Exit(PANIC_STATUS)) => eprintln!("halfpage: the kernel panicked"),
        End::Limit => eprintln!("halfpage: cycle limit reached"),
        End::Stopped(Stopped::Reset) => eprintln!("halfpage: the guest asked for a reset"),
        End::Stopped(Stopped::Exit(_) | Stopped::PowerOff) | End::Quit => {}
    }
}

const fn exit_code(end: End) -> u8 {
    match end {
        End::Stopped(Stopped::Exit(0) | Stopped::PowerOff | Stopped::Reset) | End::Quit => exit::OK,
        End::Stopped(Stopped::Exit(PANIC_STATUS) | Stopped::TripleFault { .. } | Stopped::Dead) => {
            exit::GUEST_CRASH
        }
        End::Stopped(Stopped::Exit(_)) => exit::DIFFERS,
        End::Limit => exit::LIMIT,
    }
}

fn report(machine: &Machine, end: End, args: &BootArgs) -> BootReport {
    let ledgers = machine.ledgers();
    let sum = |category: Category| ledgers.iter().map(|l| l.spent(category).cycles()).sum();
    BootReport {
        schema: "boot/1",
        stopped: match end {
            End::Stopped(Stopped::Exit(_)) => "exit",
            End::Stopped(Stopped::PowerOff) => "power-off",
            End::Stopped(Stopped::Reset) => "reset",
            End::Stopped(Stopped::TripleFault { .. }) => "triple-fault",
            End::Stopped(Stopped::Dead) => "dead",
            End::Limit => "limit",
            End::Quit => "quit",
        },
        status: match end {
            End::Stopped(Stopped::Exit(status)) => Some(status),
            _ => None,
        },
        seed: args.seed,
        cpus: args.cpus,
        instructions: machine.instructions(),
        cycles_total: ledgers.iter().map(|l| l.now().cycles()).sum(),
        ledger: Category::ALL
            .into_iter()
            .map(|c| (c.name(), sum(c)))
            .collect(),
    }
}
