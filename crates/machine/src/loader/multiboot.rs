//! Multiboot 1: a header in the file's first 8 KiB, ELF or raw segments, an information structure.
//!
//! Modelled: the address fields of the header (the "a.out kludge"), ELF of both
//! classes, modules, memory map, command line, loader name. Not modelled: video
//! modes, symbol and drive tables, APM; their flags are clear in the information.
//!
//! **Spec:** Multiboot Specification 0.6.96, "OS image format", "Boot information format".

use super::elf::Elf;
use super::error::{CMDLINE_MAX, LoadError, c_string, slice};
use super::plan::{FOUR_GIB, HIGH_MEMORY, MapEntry, Plan, Prefer, memory_map};
use super::{Entry, Image};
use memory::Ram;
use x86::addr::PAGE_BYTES;
use x86::pvh::E820_RAM;

/// Header magic.
const MAGIC: u32 = 0x1bad_b002;
/// The whole header lies in this many bytes.
const SEARCH_BYTES: usize = 8192;

/// Header flags: what the kernel asks for.
mod flag {
    /// Modules on page boundaries; all are.
    pub(super) const ALIGN_MODULES: u32 = 1 << 0;
    /// Memory information; it is always given.
    pub(super) const MEMORY_INFO: u32 = 1 << 1;
    /// Video mode information.
    // DEPARTS: the specification has a loader refuse what it cannot fulfil; test
    // kernels set this one and live without, as flag 11 of the information is clear.
    pub(super) const VIDEO: u32 = 1 << 2;
    /// Flags a loader must understand or refuse the file.
    pub(super) const REQUIRED: u32 = 0xffff;
    /// The header's address fields say what to load.
    pub(super) const ADDRESSES: u32 = 1 << 16;
}

/// Information flags: which fields are there.
mod info {
    pub(super) const MEMORY: u32 = 1 << 0;
    pub(super) const CMDLINE: u32 = 1 << 2;
    pub(super) const MODULES: u32 = 1 << 3;
    pub(super) const MMAP: u32 = 1 << 6;
    pub(super) const LOADER_NAME: u32 = 1 << 9;
    /// Size of the structure as far as any field of it is known.
    pub(super) const BYTES: usize = 116;
    /// Size of one memory map entry, its own size field not counted.
    pub(super) const MMAP_ENTRY_BYTES: u32 = 20;
}

/// The header, found in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    offset: u64,
    flags: u32,
}

impl Header {
    /// Looks for it: magic, flags and checksum that add up to 0, 4-byte aligned.
    pub(super) fn find(file: &[u8]) -> Option<Self> {
        let head = &file[..file.len().min(SEARCH_BYTES)];
        (0..head.len()).step_by(4).find_map(|at| {
            let [magic, flags, checksum] =
                [word(head, at)?, word(head, at + 4)?, word(head, at + 8)?];
            let adds_up = magic.wrapping_add(flags).wrapping_add(checksum) == 0;
            (magic == MAGIC && adds_up).then_some(Self {
                offset: at as u64,
                flags,
            })
        })
    }

    fn check_flags(self) -> Result<(), LoadError> {
        let unknown =
            self.flags & flag::REQUIRED & !(flag::ALIGN_MODULES | flag::MEMORY_INFO | flag::VIDEO);
        if unknown == 0 {
            return Ok(());
        }
        let found = format!("flags {:#x}", self.flags);
        Err(LoadError::Header {
            offset: self.offset + 4,
            found,
            expected: "flags 15:3 clear (unknown requirements)",
        })
    }

    /// Claims what the address fields say; the entry point.
    fn claim_by_addresses<'f>(self, file: &'f [u8], plan: &mut Plan<'f>) -> Result<u32, LoadError> {
        let fields = slice(file, self.offset + 12, 20, "Multiboot address fields")?;
        let field = |i: usize| word(fields, 4 * i).map_or(0, u64::from);
        let [header, load, load_end, bss_end, entry] = [0, 1, 2, 3, 4].map(field);
        let refuse = |index: u64, found: u64, expected| {
            let (offset, found) = (self.offset + 12 + 4 * index, format!("address {found:#x}"));
            Err(LoadError::Header {
                offset,
                found,
                expected,
            })
        };
        let Some(skip) = header
            .checked_sub(load)
            .and_then(|before| self.offset.checked_sub(before))
        else {
            return refuse(1, load, "a load address that leads to a byte of the file");
        };
        let len = match load_end {
            0 => file.len() as u64 - skip,
            end if end > load => end - load,
            end => return refuse(2, end, "0 or an address above the load address"),
        };
        let memory = match bss_end {
            0 => len,
            end if end >= load + len => end - load,
            end => return refuse(3, end, "0 or an address not below the end of the data"),
        };
        plan.claim(
            "kernel image",
            load,
            slice(file, skip, len, "kernel image")?,
            memory,
        )?;
        let inside = (load..load + memory).contains(&entry);
        u32::try_from(entry)
            .ok()
            .filter(|_| inside)
            .ok_or(LoadError::BadEntry(entry))
    }
}

pub(super) fn load(ram: &Ram, image: &Image<'_>) -> Result<Entry, LoadError> {
    let header = Header::find(image.file).ok_or(LoadError::NoMultibootHeader)?;
    header.check_flags()?;
    let mut plan = Plan::new(ram);
    let eip = if header.flags & flag::ADDRESSES == 0 {
        let elf = Elf::parse(image.file)?;
        elf.claim(&mut plan)?;
        elf.physical_entry()?
    } else {
        header.claim_by_addresses(image.file, &mut plan)?
    };
    let info = place_boot_data(&mut plan, ram, image)?;
    plan.carry_out();
    Ok(Entry::Multiboot { eip, info })
}

/// Modules follow the kernel, where a kernel that maps little can reach them; the rest lies low.
fn place_boot_data<'f>(
    plan: &mut Plan<'f>,
    ram: &Ram,
    image: &Image<'f>,
) -> Result<u32, LoadError> {
    let mut list = Vec::new();
    for module in &image.modules {
        let after_kernel = plan.end()..FOUR_GIB;
        let at = plan.place(
            &module.cmdline,
            module.file,
            PAGE_BYTES,
            after_kernel,
            Prefer::Low,
        )?;
        let line = plan.place_low(
            "module command line",
            c_string(&module.cmdline, CMDLINE_MAX)?,
            1,
        )?;
        for word in [at, at + module.file.len() as u64, line.into(), 0] {
            list.extend(low_word(word).to_le_bytes());
        }
    }
    let map = memory_map(ram);
    let map_bytes = map_bytes(&map);
    // As other loaders do, the first word is the kernel's name.
    let line = format!("{} {}", image.name, image.cmdline);
    let cmdline = plan.place_low("command line", c_string(line.trim_end(), CMDLINE_MAX)?, 16)?;
    let loader = plan.place_low("loader name", c_string("halfpage", CMDLINE_MAX)?, 16)?;
    let (map_len, modules_len) = (map_bytes.len() as u64, image.modules.len() as u64);
    let modules = plan.place_low("module list", list, 16)?;
    let mmap = plan.place_low("memory map", map_bytes, 16)?;

    let mut fields = vec![0; info::BYTES];
    let mut set = |at: usize, value: u32| fields[at..at + 4].copy_from_slice(&value.to_le_bytes());
    set(
        0,
        info::MEMORY | info::CMDLINE | info::MODULES | info::MMAP | info::LOADER_NAME,
    );
    set(4, low_word(kib_at(&map, 0)));
    set(8, low_word(kib_at(&map, HIGH_MEMORY)));
    set(16, cmdline);
    set(20, low_word(modules_len));
    set(24, modules);
    set(44, low_word(map_len));
    set(48, mmap);
    set(64, loader);
    plan.place_low("Multiboot information", fields, 16)
}

fn map_bytes(map: &[MapEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in map {
        bytes.extend(info::MMAP_ENTRY_BYTES.to_le_bytes());
        bytes.extend(entry.base.to_le_bytes());
        bytes.extend(entry.len.to_le_bytes());
        bytes.extend(entry.kind.to_le_bytes());
    }
    bytes
}

/// Length in KiB of the RAM that begins at `base`.
fn kib_at(map: &[MapEntry], base: u64) -> u64 {
    map.iter()
        .find(|e| e.base == base && e.kind == E820_RAM)
        .map_or(0, |e| e.len / 1024)
}

/// A value in a 32-bit field: addresses are below 4 GiB, sizes smaller still.
fn low_word(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
