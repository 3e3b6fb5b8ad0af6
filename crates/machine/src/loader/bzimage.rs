//! Linux bzImage by the 64-bit boot protocol: zero page, identity map, entry at 200h.
//!
//! No real-mode code of the image runs; what it would find out is in the zero page.
//! Modelled: command line, one initrd, E820 map, ACPI RSDP. Not modelled: a screen, EDD,
//! EFI, kernels before protocol 2.12, images without a 64-bit entry.
//!
//! **Spec:** Linux `Documentation/arch/x86/boot.rst` "64-bit Boot Protocol", `zero-page.rst`.

use super::error::{CMDLINE_MAX, LoadError, c_string, slice};
use super::plan::{BOOT_DATA, FOUR_GIB, HIGH_MEMORY, Plan, Prefer, memory_map};
use super::{Entry, Image};
use memory::Ram;
use x86::addr::PAGE_BYTES;

/// Offsets in the setup header, which are the same in file and zero page.
mod field {
    pub(super) const SETUP_SECTS: usize = 0x1f1;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const TYPE_OF_LOADER: usize = 0x210;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    pub(super) const INITRD_ADDR_MAX: usize = 0x22c;
    pub(super) const KERNEL_ALIGNMENT: usize = 0x230;
    pub(super) const RELOCATABLE_KERNEL: usize = 0x234;
    pub(super) const XLOADFLAGS: usize = 0x236;
    pub(super) const CMDLINE_SIZE: usize = 0x238;
    pub(super) const PREF_ADDRESS: usize = 0x258;
    pub(super) const INIT_SIZE: usize = 0x260;
    /// First byte after the fields used here.
    pub(super) const END: usize = 0x264;
}

/// Offsets in the zero page only.
mod zero_page {
    pub(super) const ACPI_RSDP_ADDR: usize = 0x70;
    pub(super) const ALT_MEM_K: usize = 0x1e0;
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    pub(super) const E820_TABLE: usize = 0x2d0;
    pub(super) const BYTES: usize = 0x1000;
}

const MAGIC: &[u8; 4] = b"HdrS";
/// First protocol with xloadflags.
const MIN_VERSION: u16 = 0x020c;
/// XLF_KERNEL_64: there is a 64-bit entry at 200h.
const XLF_KERNEL_64: u16 = 1 << 0;
/// Offset of the 64-bit entry in the protected-mode part.
const ENTRY_64: u64 = 0x200;
/// Loader type "none assigned".
const LOADER_UNKNOWN: u8 = 0xff;
/// Segments of the protocol: 10h flat 64-bit code, 18h flat data.
const GDT: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
/// GiB that are mapped to themselves.
const MAPPED_GIB: u64 = 4;

/// Whether `file` has the setup header.
pub(super) fn is_bzimage(file: &[u8]) -> bool {
    file.get(field::MAGIC..field::MAGIC + 4) == Some(MAGIC)
}

/// The setup header, known to be whole.
#[derive(Clone, Copy, Debug)]
struct Setup<'f>(&'f [u8]);

impl<'f> Setup<'f> {
    fn parse(file: &'f [u8]) -> Result<Self, LoadError> {
        let refuse = |offset: usize, found, expected| {
            Err(LoadError::Header {
                offset: offset as u64,
                found,
                expected,
            })
        };
        let setup = Self(slice(file, 0, field::END as u64, "setup header")?);
        if !is_bzimage(file) {
            let found = format!("{:02x?}", &file[field::MAGIC..field::MAGIC + 4]);
            return refuse(field::MAGIC, found, "the bzImage magic 48 64 72 53");
        }
        let (version, flags) = (setup.half(field::VERSION), setup.half(field::XLOADFLAGS));
        if version < MIN_VERSION {
            return refuse(
                field::VERSION,
                format!("protocol {version:#x}"),
                "protocol 20ch (2.12) or newer",
            );
        }
        if flags & XLF_KERNEL_64 == 0 {
            return refuse(
                field::XLOADFLAGS,
                format!("xloadflags {flags:#x}"),
                "bit 0 (XLF_KERNEL_64)",
            );
        }
        let align = setup.word(field::KERNEL_ALIGNMENT);
        if !align.is_power_of_two() {
            return refuse(
                field::KERNEL_ALIGNMENT,
                format!("alignment {align:#x}"),
                "a power of two",
            );
        }
        Ok(setup)
    }

    fn half(self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn word(self, at: usize) -> u32 {
        u32::from(self.half(at)) | u32::from(self.half(at + 2)) << 16
    }

    fn quad(self, at: usize) -> u64 {
        u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32
    }

    /// Where the protected-mode part begins: after the boot sector and its setup sectors.
    fn kernel_offset(self) -> usize {
        match self.0[field::SETUP_SECTS] {
            0 => 5 * 512,
            n => (usize::from(n) + 1) * 512,
        }
    }

    /// Claims room to decompress in, at the preferred address or wherever there is some.
    fn claim_kernel(self, file: &'f [u8], plan: &mut Plan<'f>) -> Result<u64, LoadError> {
        let offset = self.kernel_offset();
        slice(file, offset as u64, ENTRY_64 + 1, "protected-mode kernel")?;
        let kernel = &file[offset..];
        let memory = u64::from(self.word(field::INIT_SIZE)).max(kernel.len() as u64);
        let preferred = self.quad(field::PREF_ADDRESS);
        let align = u64::from(self.word(field::KERNEL_ALIGNMENT)).max(PAGE_BYTES);
        if self.0[field::RELOCATABLE_KERNEL] == 0 || plan.is_free(preferred, memory) {
            plan.claim("kernel image", preferred, kernel, memory)?;
            return Ok(preferred);
        }
        let at = plan.room(
            "kernel image",
            memory,
            align,
            HIGH_MEMORY..FOUR_GIB,
            Prefer::Low,
        )?;
        plan.claim("kernel image", at, kernel, memory)?;
        Ok(at)
    }
}

pub(super) fn load(ram: &Ram, image: &Image<'_>, rsdp: u64) -> Result<Entry, LoadError> {
    if image.modules.len() > 1 {
        return Err(LoadError::Modules {
            protocol: "bzImage",
            given: image.modules.len(),
            most: 1,
        });
    }
    let setup = Setup::parse(image.file)?;
    let mut plan = Plan::new(ram);
    let kernel = setup.claim_kernel(image.file, &mut plan)?;
    let mut page = vec![0; zero_page::BYTES];
    copy_setup_header(setup, image.file, &mut page);
    place_initrd(setup, image, &mut plan, &mut page)?;
    let most = usize::try_from(setup.word(field::CMDLINE_SIZE))
        .unwrap_or(CMDLINE_MAX)
        .min(CMDLINE_MAX);
    let cmdline = plan.place_low("command line", c_string(image.cmdline, most)?, 16)?;
    put(&mut page, field::CMD_LINE_PTR, &cmdline.to_le_bytes());
    put(&mut page, zero_page::ACPI_RSDP_ADDR, &rsdp.to_le_bytes());
    put_memory_map(ram, &mut page);
    let tables = place_identity_map(&mut plan)?;
    let gdt = plan.place_low("GDT", GDT.iter().flat_map(|d| d.to_le_bytes()).collect(), 8)?;
    let zero_page = plan.place_low("zero page", page, PAGE_BYTES)?;
    plan.carry_out();
    Ok(Entry::Linux64 {
        rip: kernel + ENTRY_64,
        zero_page,
        cr3: tables,
        gdt,
    })
}

/// The header goes into the zero page as far as its length byte says.
fn copy_setup_header(setup: Setup<'_>, file: &[u8], page: &mut [u8]) {
    let end = (field::MAGIC + usize::from(setup.0[0x201]))
        .clamp(field::END, zero_page::E820_TABLE)
        .min(file.len());
    page[field::SETUP_SECTS..end].copy_from_slice(&file[field::SETUP_SECTS..end]);
    page[field::TYPE_OF_LOADER] = LOADER_UNKNOWN;
}

/// The initrd as high as the kernel allows.
fn place_initrd<'f>(
    setup: Setup<'f>,
    image: &Image<'f>,
    plan: &mut Plan<'f>,
    page: &mut [u8],
) -> Result<(), LoadError> {
    let Some(initrd) = image.modules.first() else {
        return Ok(());
    };
    let end = u64::from(setup.word(field::INITRD_ADDR_MAX)) + 1;
    let at = plan.place(
        "initrd",
        initrd.file,
        PAGE_BYTES,
        HIGH_MEMORY..end,
        Prefer::High,
    )?;
    let word = |value: u64| {
        u32::try_from(value)
            .expect("below INITRD_ADDR_MAX")
            .to_le_bytes()
    };
    put(page, field::RAMDISK_IMAGE, &word(at));
    put(page, field::RAMDISK_SIZE, &word(initrd.file.len() as u64));
    Ok(())
}

fn put_memory_map(ram: &Ram, page: &mut [u8]) {
    let map = memory_map(ram);
    page[zero_page::E820_ENTRIES] = u8::try_from(map.len()).expect("a handful of ranges");
    for (i, entry) in map.iter().enumerate() {
        let at = zero_page::E820_TABLE + 20 * i;
        put(page, at, &entry.base.to_le_bytes());
        put(page, at + 8, &entry.len.to_le_bytes());
        put(page, at + 16, &entry.kind.to_le_bytes());
    }
    let upper = map
        .iter()
        .find(|e| e.base == HIGH_MEMORY)
        .map_or(0, |e| e.len / 1024);
    put(
        page,
        zero_page::ALT_MEM_K,
        &u32::try_from(upper).unwrap_or(u32::MAX).to_le_bytes(),
    );
}

/// Page tables that map the first 4 GiB to themselves by 2 MiB pages: PML4, PDPT, four PDs.
fn place_identity_map(plan: &mut Plan<'_>) -> Result<u64, LoadError> {
    const TABLE: u64 = 0b11;
    const LARGE_PAGE: u64 = 1 << 7 | TABLE;
    let len = (2 + MAPPED_GIB) * PAGE_BYTES;
    let base = plan.room("page tables", len, PAGE_BYTES, BOOT_DATA, Prefer::Low)?;
    let mut quads = vec![0; 1024];
    quads[0] = (base + PAGE_BYTES) | TABLE;
    for (entry, gib) in quads[512..].iter_mut().zip(0..MAPPED_GIB) {
        *entry = (base + (2 + gib) * PAGE_BYTES) | TABLE;
    }
    quads.extend((0..512 * MAPPED_GIB).map(|page| page << 21 | LARGE_PAGE));
    let bytes: Vec<u8> = quads.into_iter().flat_map(u64::to_le_bytes).collect();
    plan.claim("page tables", base, bytes, len)?;
    Ok(base)
}

fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}
