//! The images as others see them: `tar`, an ELF reader, a disassembler.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, SectionKind, elf};

use super::{BOOT_DISK, KERNEL_ELF};

const SECTOR_BYTES: usize = 512;
const MIB: usize = 1024 * 1024;
const PAGE_BYTES: u64 = 4096;

/// The partition, found as a stranger would: by the partition table.
fn partition() -> &'static [u8] {
    let entry = &BOOT_DISK[446..462];
    let field = |at: usize| {
        let bytes = entry[at..at + 4].try_into().unwrap();
        usize::try_from(u32::from_le_bytes(bytes)).unwrap() * SECTOR_BYTES
    };
    &BOOT_DISK[field(8)..][..field(12)]
}

fn archive() -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(partition());
    let read = |mut entry: tar::Entry<'_, &[u8]>| {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    archive
        .entries()
        .unwrap()
        .map(|entry| read(entry.unwrap()))
        .collect()
}

fn programs() -> impl Iterator<Item = (String, Vec<u8>)> {
    archive()
        .into_iter()
        .filter(|(name, _)| name.starts_with("bin/"))
}

#[test]
fn the_disk_is_whole_mebibytes_and_its_only_partition_begins_at_sector_2048() {
    assert_eq!(BOOT_DISK.len() % MIB, 0);
    assert_eq!(BOOT_DISK[510..512], [0x55, 0xaa]);
    assert_eq!(BOOT_DISK[462..510], [0; 48], "three empty entries");
    assert_eq!(BOOT_DISK.len() - partition().len(), 2048 * SECTOR_BYTES);
}

#[test]
fn the_archive_holds_what_the_recipe_lists() {
    let names: Vec<_> = archive().into_keys().collect();
    let expected = [
        "bin/backward",
        "bin/child-sees-dma",
        "bin/diotest",
        "bin/forktest",
        "bin/forward",
        "bin/hello",
        "bin/loop",
        "bin/sh",
        "data/pattern.bin",
        "data/scratch.bin",
    ];
    assert_eq!(names, expected);
}

#[test]
fn headers_tell_nothing_of_who_built_the_disk_and_when() {
    for entry in tar::Archive::new(partition()).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        let told = (
            header.mtime().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
        );
        assert_eq!(told, (0, 0, 0));
        assert_eq!(header.username().unwrap(), Some(""));
    }
}

#[test]
fn file_data_begins_at_a_sector() {
    for entry in tar::Archive::new(partition()).entries().unwrap() {
        assert_eq!(entry.unwrap().raw_file_position() % SECTOR_BYTES as u64, 0);
    }
}

#[test]
fn no_two_sectors_of_the_pattern_are_equal() {
    let pattern = &archive()["data/pattern.bin"];
    assert_eq!(pattern.len(), 64 * 1024);
    let sectors: BTreeSet<_> = pattern.chunks(SECTOR_BYTES).collect();
    assert_eq!(sectors.len(), 128);
}

#[test]
fn the_pattern_holds_no_byte_that_programs_fill_memory_with() {
    let pattern = &archive()["data/pattern.bin"];
    for byte in [0x00, 0x2a, 0x55, 0x5a, 0xff] {
        assert!(!pattern.contains(&byte), "{byte:#x}");
    }
}

#[test]
fn no_shift_by_a_power_of_two_maps_a_sector_of_the_pattern_to_itself() {
    let pattern = &archive()["data/pattern.bin"];
    for sector in pattern.chunks(SECTOR_BYTES) {
        for shift in (0..9).map(|bit| 1 << bit) {
            assert_ne!(
                sector[shift..],
                sector[..SECTOR_BYTES - shift],
                "shift {shift}"
            );
        }
    }
}

#[test]
fn the_scratch_file_holds_one_byte_everywhere() {
    assert_eq!(archive()["data/scratch.bin"], vec![0x5a; 64 * 1024]);
}

#[test]
fn programs_are_static_and_no_page_holds_two_segments() {
    for (name, bytes) in programs() {
        let file = ElfFile64::<Endianness>::parse(&*bytes).unwrap();
        let endian = file.endian();
        assert_eq!(file.elf_header().e_type(endian), elf::ET_EXEC, "{name}");
        let mut pages = BTreeSet::new();
        for segment in file.elf_program_headers() {
            assert_ne!(segment.p_type(endian), elf::PT_INTERP, "{name}");
            if segment.p_type(endian) == elf::PT_LOAD {
                let start = segment.p_vaddr(endian) / PAGE_BYTES;
                let end = (segment.p_vaddr(endian) + segment.p_memsz(endian)).div_ceil(PAGE_BYTES);
                assert!((start..end).all(|page| pages.insert(page)), "{name}");
            }
        }
    }
}

/// Xen "x86/HVM direct boot ABI": the note XEN_ELFNOTE_PHYS32_ENTRY.
#[test]
fn the_kernel_names_a_pvh_entry_inside_what_is_loaded() {
    const XEN_ELFNOTE_PHYS32_ENTRY: elf::NoteType = elf::NoteType(18);
    let file = ElfFile64::<Endianness>::parse(KERNEL_ELF).unwrap();
    let endian = file.endian();
    let headers = file.elf_program_headers();
    let notes = headers
        .iter()
        .filter_map(|h| h.notes(endian, KERNEL_ELF).unwrap());
    let entry = notes
        .flat_map(|notes| notes.map(|note| note.unwrap()))
        .find(|note| note.name() == b"Xen" && note.n_type(endian) == XEN_ELFNOTE_PHYS32_ENTRY)
        .expect("a Xen note of type 18");
    let entry = u64::from(u32::from_le_bytes(entry.desc()[..4].try_into().unwrap()));
    let loaded = headers.iter().filter(|h| h.p_type(endian) == elf::PT_LOAD);
    let mut ranges = loaded.map(|h| h.p_paddr(endian)..h.p_paddr(endian) + h.p_filesz(endian));
    assert!(ranges.any(|range| range.contains(&entry)), "{entry:#x}");
}

/// Whether an instruction uses the red zone: memory below RSP, by a constant offset.
fn uses_red_zone(instruction: &Instruction) -> bool {
    instruction.op_kinds().any(|kind| kind == OpKind::Memory)
        && !matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop)
        && instruction.memory_base() == Register::RSP
        && instruction.memory_index() == Register::None
        && instruction.memory_displacement64().cast_signed() < 0
}

/// Where the code of an executable uses the red zone.
fn red_zone_uses(elf_bytes: &[u8]) -> Vec<String> {
    let file = ElfFile64::<Endianness>::parse(elf_bytes).unwrap();
    let mut decoded = 0;
    let mut uses = Vec::new();
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let code = section.data().unwrap();
        for instruction in Decoder::with_ip(64, code, section.address(), DecoderOptions::NONE) {
            decoded += 1;
            if uses_red_zone(&instruction) {
                uses.push(format!("{:#x}: {:?}", instruction.ip(), instruction.code()));
            }
        }
    }
    assert!(decoded > 100, "this is no program: {decoded} instructions");
    uses
}

#[test]
fn only_a_memory_operand_at_a_constant_below_rsp_counts_as_red_zone() {
    let cases: [(&[u8], bool); 5] = [
        (&[0x48, 0x89, 0x7c, 0x24, 0xf8], true), // mov [rsp-8], rdi
        (&[0xf3, 0x0f, 0x7f, 0x44, 0x24, 0x80], true), // movdqu [rsp-128], xmm0
        (&[0x48, 0x89, 0x7c, 0x24, 0x08], false), // mov [rsp+8], rdi
        (&[0x48, 0x8d, 0x64, 0x24, 0xf8], false), // lea rsp, [rsp-8]
        (&[0x48, 0x89, 0x7d, 0xf8], false),      // mov [rbp-8], rdi
    ];
    for (code, expected) in cases {
        let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
        assert_eq!(uses_red_zone(&instruction), expected, "{code:x?}");
    }
}

/// An interrupt in ring 0 pushes onto the stack it finds: a red zone would be overwritten.
#[test]
fn nothing_in_the_kernel_uses_a_red_zone() {
    assert_eq!(red_zone_uses(KERNEL_ELF), [""; 0]);
}

/// Programs are compiled by the same rule, and share code with the kernel.
#[test]
fn nothing_in_a_program_uses_a_red_zone() {
    for (name, bytes) in programs() {
        assert_eq!(red_zone_uses(&bytes), [""; 0], "{name}");
    }
}

#[test]
fn no_path_of_the_building_machine_is_in_the_images() {
    let root = env!("CARGO_MANIFEST_DIR")
        .trim_end_matches("/crates/images")
        .as_bytes();
    for image in [KERNEL_ELF, BOOT_DISK] {
        assert!(!image.windows(root.len()).any(|window| window == root));
    }
}
