//! The PVH boot protocol: what a loader leaves in memory for a kernel entered in 32-bit mode.
//!
//! The kernel's ELF file carries a note (name `Xen`, type 18) with the physical
//! entry point. On entry: protected mode, flat segments, paging off, interrupts
//! off, EBX = physical address of [`StartInfo`].
//!
//! **Spec:** Xen "x86/HVM direct boot ABI", `start_info.h`.

/// Note type of XEN_ELFNOTE_PHYS32_ENTRY.
pub const NOTE_PHYS32_ENTRY: u32 = 18;
/// Note name, with its terminator.
pub const NOTE_NAME: &[u8] = b"Xen\0";
/// [`StartInfo::magic`].
pub const MAGIC: u32 = 0x336e_c578;

/// `struct hvm_start_info`, version 1.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StartInfo {
    /// [`MAGIC`].
    pub magic: u32,
    /// 1: the memory map fields are there.
    pub version: u32,
    /// SIF_xxx flags, 0.
    pub flags: u32,
    /// Number of modules.
    pub nr_modules: u32,
    /// Physical address of an array of modules.
    pub modlist_paddr: u64,
    /// Physical address of the command line, NUL-terminated.
    pub cmdline_paddr: u64,
    /// Physical address of the ACPI RSDP, or 0.
    pub rsdp_paddr: u64,
    /// Physical address of an array of [`MemmapEntry`].
    pub memmap_paddr: u64,
    /// Entries in that array.
    pub memmap_entries: u32,
    /// 0.
    pub reserved: u32,
}

/// `struct hvm_memmap_table_entry`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MemmapEntry {
    /// First byte.
    pub addr: u64,
    /// Length in bytes.
    pub size: u64,
    /// E820 type: 1 is usable RAM.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

/// E820 type of usable RAM.
pub const E820_RAM: u32 = 1;
/// E820 type of memory that is in use.
pub const E820_RESERVED: u32 = 2;

const _: () = assert!(size_of::<StartInfo>() == 56);
const _: () = assert!(size_of::<MemmapEntry>() == 24);
