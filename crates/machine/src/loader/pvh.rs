//! The PVH protocol: ELF segments to physical addresses, start information beside them.
//!
//! **Spec:** Xen "x86/HVM direct boot ABI", `start_info.h`.

use super::elf::Elf;
use super::error::{CMDLINE_MAX, LoadError, c_string};
use super::plan::{FOUR_GIB, HIGH_MEMORY, Plan, Prefer, memory_map};
use super::{Entry, Image};
use memory::Ram;
use x86::addr::PAGE_BYTES;
use x86::pvh::MAGIC;

/// Version of the start information: with a memory map.
const VERSION: u32 = 1;

pub(super) fn load(ram: &Ram, image: &Image<'_>, rsdp: u64) -> Result<Entry, LoadError> {
    let elf = Elf::parse(image.file)?;
    let mut plan = Plan::new(ram);
    elf.claim(&mut plan)?;
    let eip = elf.pvh_entry()?;
    let start_info = place_boot_data(&mut plan, ram, image, rsdp)?;
    plan.carry_out();
    Ok(Entry::Pvh { eip, start_info })
}

/// Modules as high as they go, so that a kernel may use what follows it; the rest low.
fn place_boot_data<'f>(
    plan: &mut Plan<'f>,
    ram: &Ram,
    image: &Image<'f>,
    rsdp: u64,
) -> Result<u32, LoadError> {
    let mut list = Vec::new();
    for module in &image.modules {
        let at = plan.place(
            &module.cmdline,
            module.file,
            PAGE_BYTES,
            HIGH_MEMORY..FOUR_GIB,
            Prefer::High,
        )?;
        let line = plan.place_low(
            "module command line",
            c_string(&module.cmdline, CMDLINE_MAX)?,
            1,
        )?;
        for quad in [at, module.file.len() as u64, line.into(), 0] {
            list.extend(quad.to_le_bytes());
        }
    }
    let map = memory_map(ram);
    let mut map_bytes = Vec::new();
    for entry in &map {
        map_bytes.extend(entry.base.to_le_bytes());
        map_bytes.extend(entry.len.to_le_bytes());
        map_bytes.extend(u64::from(entry.kind).to_le_bytes());
    }
    let cmdline = plan.place_low("command line", c_string(image.cmdline, CMDLINE_MAX)?, 16)?;
    let modules = plan.place_low("module list", list, 8)?;
    let memmap = plan.place_low("memory map", map_bytes, 8)?;
    let mut info = Vec::new();
    for word in [MAGIC, VERSION, 0, count(image.modules.len())] {
        info.extend(word.to_le_bytes());
    }
    for quad in [modules.into(), cmdline.into(), rsdp, memmap.into()] {
        info.extend(u64::to_le_bytes(quad));
    }
    for word in [count(map.len()), 0] {
        info.extend(word.to_le_bytes());
    }
    plan.place_low("start information", info, 8)
}

/// A count in a 32-bit field; there are a handful of modules and ranges.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
