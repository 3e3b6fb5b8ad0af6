//! Arguments, and how they are read.

use clap::{Args, Parser, Subcommand, ValueEnum};
use explore::race::{Policy, Race};
use std::path::PathBuf;

const EXIT_CODES: &str = "Exit codes: 0 all as expected · 1 a verdict differs, or the guest ended with a status of its own · \
2 usage · 3 bad input file · 4 guest panic or triple fault · 5 limit reached";

/// An x86-64 machine in software on which O_DIRECT and fork lose a sector.
///
/// Without a command: `halfpage race`.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the races against the policies and print what became of the sector.
    Race(RaceArgs),
    /// Boot a kernel, with the serial console on this terminal (Ctrl-A x ends).
    Boot(BootArgs),
    /// Write the kernel and the boot disk to files, for other machines.
    Image(ImageArgs),
}

#[derive(Debug, Default, Args)]
pub(crate) struct RaceArgs {
    /// Only this race.
    #[arg(value_name = "RACE", default_value = "all")]
    pub(crate) race: Choice<RaceName>,
    /// Only against this policy.
    #[arg(long, value_name = "POLICY", default_value = "all")]
    pub(crate) policy: Choice<PolicyName>,
    /// Decides how processors interleave; the same seed gives the same run.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Submit the transfer and wait, instead of a blocking call in a thread.
    #[arg(long)]
    pub(crate) queued: bool,
    /// One JSON object per run.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write all events of the run to a file; needs one race and one policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

/// One of several, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice<T> {
    /// All of them.
    #[default]
    All,
    /// This one.
    One(T),
}

impl<T: ValueEnum> std::str::FromStr for Choice<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let names = || {
            let all = T::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value);
            all.map(|v| v.get_name().to_owned())
                .collect::<Vec<_>>()
                .join(", ")
        };
        T::from_str(text, false)
            .map(Self::One)
            .map_err(|_| format!("expected all, {}", names()))
    }
}

/// A race's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RaceName(pub(crate) Race);

impl ValueEnum for RaceName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [RaceName; Race::ALL.len()] = [
            RaceName(Race::ALL[0]),
            RaceName(Race::ALL[1]),
            RaceName(Race::ALL[2]),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.0.name().into())
    }
}

/// A policy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PolicyName(pub(crate) Policy);

impl ValueEnum for PolicyName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [PolicyName; Policy::ALL.len()] = [
            PolicyName(Policy::ALL[0]),
            PolicyName(Policy::ALL[1]),
            PolicyName(Policy::ALL[2]),
            PolicyName(Policy::ALL[3]),
            PolicyName(Policy::ALL[4]),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.0.name().into())
    }
}

#[derive(Debug, Args)]
pub(crate) struct BootArgs {
    /// An ELF kernel (PVH or Multiboot) or a Linux bzImage; without it, the one built with this program.
    #[arg(value_name = "KERNEL")]
    pub(crate) kernel: Option<PathBuf>,
    /// Boot protocol of the kernel.
    #[arg(long, value_enum, default_value_t = FormatName::Auto, requires = "kernel")]
    pub(crate) format: FormatName,
    /// Where a flat binary is loaded and entered.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address, requires = "kernel")]
    pub(crate) load_at: Option<u32>,
    /// Initial RAM disk: the first module for PVH and Multiboot.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub(crate) initrd: Option<PathBuf>,
    /// A module for the kernel, with its arguments after a comma; may be repeated.
    #[arg(long = "module", value_name = "FILE[,ARGS]", requires = "kernel")]
    pub(crate) modules: Vec<String>,
    /// Kernel command line.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) append: String,
    /// Disk image, written in place, or `none`; without it, a copy of the boot disk in memory.
    #[arg(long, value_name = "FILE")]
    pub(crate) disk: Option<PathBuf>,
    /// RAM, with suffix M or G.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_size)]
    pub(crate) memory: u64,
    /// Processors.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) cpus: u8,
    /// Decides how processors interleave; the same seed and input give the same run.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Stop after this many cycles of virtual time (exit code 5).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_cycles: Option<u64>,
    /// Print the result as a JSON object; the console goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write all events to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

/// A boot protocol, as `--format` spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// By what the file's headers say.
    Auto,
    /// ELF with a PVH note.
    Pvh,
    /// Multiboot 1.
    Multiboot,
    /// Linux, 64-bit boot protocol.
    Bzimage,
    /// The bytes as they are, entered at the first in 32-bit mode; needs --load-at.
    Flat,
}

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Folder to write `kernel.elf` and `boot-disk.img` to; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Reads `256M`, `1G` or plain bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of bytes, or one with suffix K, M or G".to_owned();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(split);
    let shift = match suffix {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err(expected()),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(1 << shift).ok_or_else(expected)
}

/// Reads an address, hexadecimal after `0x`.
fn parse_address(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected an address below 4 GiB, such as 0x100000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_take_suffixes_and_nothing_else() {
        assert_eq!(parse_size("256M"), Ok(256 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in [
            "",
            "M",
            "1T",
            "-1M",
            "99999999999999999999G",
            "18446744073709551615K",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
    #[test]
    fn addresses_are_decimal_or_hexadecimal() {
        assert_eq!(parse_address("0x100000"), Ok(1 << 20));
        assert_eq!(parse_address("31744"), Ok(0x7c00));
        for bad in ["", "0x", "100000h", "0x100000000", "-1"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
