//! Gets a kernel into memory, by the boot protocol its file asks for.
//!
//! | module | file | protocol |
//! |---|---|---|
//! | [`pvh`] | ELF with a PVH note | PVH |
//! | [`multiboot`] | a Multiboot header in the first 8 KiB | Multiboot 1 |
//! | [`bzimage`] | "HdrS" at 202h | Linux, 64-bit |
//! | [`flat`] | anything, when asked | none |
//!
//! Everything is checked, and its place in memory claimed ([`plan`]), before the
//! first byte is written: a refused kernel leaves RAM untouched.

mod bzimage;
mod elf;
mod error;
mod flat;
mod multiboot;
mod plan;
mod pvh;

pub use error::{CMDLINE_MAX, LoadError};

pub(crate) use plan::FIRMWARE;

use memory::Ram;

/// How to take a kernel file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A Multiboot header wins, then the bzImage header; else it has to be ELF with a PVH note.
    #[default]
    Auto,
    /// ELF with a PVH note.
    Pvh,
    /// Multiboot 1.
    Multiboot,
    /// Linux bzImage.
    Bzimage,
    /// The bytes as they are.
    Flat {
        /// Physical address of the first byte, which is also the entry point.
        load_at: u32,
    },
}

/// A file handed to the kernel.
#[derive(Clone, Debug)]
pub struct Module<'f> {
    /// Its bytes.
    pub file: &'f [u8],
    /// The text that goes with it, where the protocol has one.
    pub cmdline: String,
}

/// A kernel and what goes with it.
#[derive(Clone, Debug)]
pub struct Image<'f> {
    /// Name of the file; Multiboot kernels see it as the first word of their command line.
    pub name: &'f str,
    /// The file.
    pub file: &'f [u8],
    /// How to take it.
    pub format: Format,
    /// Command line.
    pub cmdline: &'f str,
    /// Modules; for Linux, the initrd.
    pub modules: Vec<Module<'f>>,
}

impl<'f> Image<'f> {
    /// A kernel of a format to be found out, without modules.
    #[must_use]
    pub const fn new(name: &'f str, file: &'f [u8], cmdline: &'f str) -> Self {
        Self {
            name,
            file,
            format: Format::Auto,
            cmdline,
            modules: Vec::new(),
        }
    }
}

/// How a processor has to be set up to start what was loaded. Addresses are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// 32-bit mode, EBX = start information.
    Pvh {
        /// Entry point.
        eip: u32,
        /// Start information.
        start_info: u32,
    },
    /// 32-bit mode, EAX = loader magic, EBX = information.
    Multiboot {
        /// Entry point.
        eip: u32,
        /// Multiboot information.
        info: u32,
    },
    /// 64-bit mode, RSI = zero page.
    Linux64 {
        /// Entry point.
        rip: u64,
        /// Zero page.
        zero_page: u32,
        /// Page tables that map the first 4 GiB to themselves.
        cr3: u64,
        /// Descriptor table with code at 10h and data at 18h.
        gdt: u32,
    },
    /// 32-bit mode.
    Flat {
        /// Entry point.
        eip: u32,
    },
}

/// Checks `image` and puts it into RAM with its boot data, which names the RSDP at `rsdp` (0: none).
///
/// # Errors
///
/// [`LoadError`]; RAM is unchanged.
pub fn load(ram: &Ram, image: &Image<'_>, rsdp: u64) -> Result<Entry, LoadError> {
    match detect(image) {
        Format::Multiboot => multiboot::load(ram, image),
        Format::Bzimage => bzimage::load(ram, image, rsdp),
        Format::Flat { load_at } => flat::load(ram, image, load_at),
        Format::Auto | Format::Pvh => pvh::load(ram, image, rsdp),
    }
}

/// The format the file shows, if none was asked for.
fn detect(image: &Image<'_>) -> Format {
    if image.format != Format::Auto {
        image.format
    } else if multiboot::Header::find(image.file).is_some() {
        Format::Multiboot
    } else if bzimage::is_bzimage(image.file) {
        Format::Bzimage
    } else {
        Format::Pvh
    }
}

#[cfg(test)]
mod tests;
