//! Small kernels assembled here, run on a whole machine, judged by console and exit code.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![expect(
    clippy::unwrap_used,
    reason = "a kernel that cannot be assembled is a failed test"
)]

use cost::{Profile, Ticks};
use iced_x86::code_asm::{CodeAssembler, dx, eax};
use machine::{Config, Format, Image, Machine, Pause, Stopped, Timing};
use trace::Tracer;

/// Where test kernels lie.
pub(crate) const AT: u64 = 0x10_0000;
/// No test kernel needs a tenth of this.
const PATIENCE: Ticks = Ticks::from_cycles(200_000_000);

/// Assembles for `bits`-bit mode at `at`.
pub(crate) fn assemble(bits: u32, at: u64, write: impl FnOnce(&mut CodeAssembler)) -> Vec<u8> {
    let mut a = CodeAssembler::new(bits).unwrap();
    write(&mut a);
    a.assemble(at).unwrap()
}

/// Ends the machine with the value in EAX.
pub(crate) fn exit_with_eax(a: &mut CodeAssembler) {
    a.mov(dx, 0xf4).unwrap();
    a.out(dx, eax).unwrap();
}

/// A machine with 16 MiB of RAM and no disk.
pub(crate) fn config(cpus: u8) -> Config {
    Config {
        memory_bytes: 16 << 20,
        cpus,
        seed: 0,
        profile: Profile::flat(),
        disk: None,
        timing: Timing {
            service_ticks: 1,
            sector_ticks: 1,
        },
        tracer: Tracer::default(),
    }
}

/// Runs to the end: what came on the console, and how it ended.
pub(crate) fn run(image: &Image<'_>) -> (String, Stopped) {
    let mut machine = Machine::boot_image(config(1), image).unwrap();
    let stopped = loop {
        match machine.run(PATIENCE) {
            Pause::Stopped(stopped) => break stopped,
            Pause::Limit | Pause::Idle => panic!(
                "no end: {:?}",
                String::from_utf8_lossy(&machine.take_console_output())
            ),
            Pause::Mark(_) | Pause::Disk(..) => {}
        }
    };
    let console = machine.take_console_output();
    (String::from_utf8_lossy(&console).into_owned(), stopped)
}

/// Runs a flat binary assembled for 32-bit mode at [`AT`].
pub(crate) fn run_flat(write: impl FnOnce(&mut CodeAssembler)) -> (String, Stopped) {
    let code = assemble(32, AT, |a| {
        write(a);
        // What falls through ends in a halt nobody wakes.
        a.cli().unwrap();
        a.hlt().unwrap();
    });
    let load_at = u32::try_from(AT).unwrap();
    run(&Image {
        format: Format::Flat { load_at },
        ..Image::new("flat", &code, "")
    })
}
