//! Kernels that load, and one kernel per way of being refused.

use super::*;
use memory::Ram;
use x86::PhysAddr;
use x86::pvh::{MAGIC, NOTE_NAME, NOTE_PHYS32_ENTRY};

mod bzimage;
mod multiboot;

/// A kernel made of `(paddr, bytes, memory size)` segments, with a PVH note to `entry`.
fn kernel(segments: &[(u64, &[u8], u64)], entry: Option<&[u8]>) -> Vec<u8> {
    let notes = usize::from(entry.is_some());
    let mut note = Vec::new();
    if let Some(desc) = entry {
        note.extend(4_u32.to_le_bytes());
        note.extend(u32::try_from(desc.len()).unwrap().to_le_bytes());
        note.extend(NOTE_PHYS32_ENTRY.to_le_bytes());
        note.extend(NOTE_NAME);
        note.extend(desc);
    }
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [2_u16, 62] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for quad in [0_u64, 64, 0] {
        elf.extend(quad.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [
        64_u16,
        56,
        u16::try_from(segments.len() + notes).unwrap(),
        0,
        0,
        0,
    ] {
        elf.extend(half.to_le_bytes());
    }
    let mut offset = 64 + 56 * (segments.len() + notes) as u64;
    let mut body = Vec::new();
    let mut header = |elf: &mut Vec<u8>, kind: u32, at: u64, bytes: &[u8], memory: u64| {
        elf.extend(kind.to_le_bytes());
        elf.extend(7_u32.to_le_bytes());
        for quad in [offset, at, at, bytes.len() as u64, memory, 4] {
            elf.extend(quad.to_le_bytes());
        }
        offset += bytes.len() as u64;
        body.extend_from_slice(bytes);
    };
    for (at, bytes, memory) in segments {
        header(&mut elf, 1, *at, bytes, *memory);
    }
    if entry.is_some() {
        header(&mut elf, 4, 0, &note, note.len() as u64);
    }
    elf.extend(body);
    elf
}

const ENTRY: [u8; 8] = 0x10_0000_u64.to_le_bytes();

fn good() -> Vec<u8> {
    kernel(&[(0x10_0000, b"code", 16)], Some(&ENTRY))
}

fn ram() -> Ram {
    Ram::new(4 << 20).unwrap()
}

fn load_pvh(ram: &Ram, file: &[u8], cmdline: &str) -> Result<Entry, LoadError> {
    load(ram, &Image::new("kernel", file, cmdline), 0)
}

/// Why `image` is refused; a refused kernel leaves RAM untouched.
fn refusal_of(image: &Image<'_>) -> LoadError {
    let ram = ram();
    let error = load(&ram, image, 0).unwrap_err();
    let mut all = vec![0; 4 << 20];
    for (base, len) in ram.ranges() {
        let len = usize::try_from(len).unwrap();
        assert!(ram.read_bytes(base, &mut all[..len]));
        assert!(
            all[..len].iter().all(|byte| *byte == 0),
            "a refused kernel was written: {error}"
        );
    }
    error
}

fn refusal(elf: &[u8]) -> LoadError {
    refusal_of(&Image::new("kernel", elf, ""))
}

fn start_info(entry: Entry) -> PhysAddr {
    match entry {
        Entry::Pvh { start_info, .. } => PhysAddr::new(start_info.into()),
        other => panic!("not started by PVH: {other:?}"),
    }
}

fn quad(ram: &Ram, at: PhysAddr) -> u64 {
    ram.read(at).unwrap()
}

fn word(ram: &Ram, at: PhysAddr) -> u32 {
    ram.read(at).unwrap()
}

fn bytes<const N: usize>(ram: &Ram, at: u64) -> [u8; N] {
    let mut bytes = [0; N];
    assert!(ram.read_bytes(PhysAddr::new(at), &mut bytes));
    bytes
}

#[test]
fn segments_lie_at_their_physical_addresses_and_the_rest_is_zero() {
    let ram = ram();
    assert!(ram.write(PhysAddr::new(0x10_0008), u64::MAX));
    let entry = load_pvh(&ram, &good(), "a=b").unwrap();
    assert!(matches!(entry, Entry::Pvh { eip: 0x10_0000, .. }));
    assert_eq!(
        &bytes::<16>(&ram, 0x10_0000),
        b"code\0\0\0\0\0\0\0\0\0\0\0\0"
    );
}

#[test]
fn the_start_information_leads_to_command_line_memory_map_and_rsdp() {
    let ram = ram();
    let elf = good();
    let entry = load(
        &ram,
        &Image::new("kernel", &elf, "policy=baseline"),
        0xe_0000,
    )
    .unwrap();
    let info = start_info(entry);
    assert_eq!((word(&ram, info), word(&ram, info.add(4))), (MAGIC, 1));
    assert_eq!(
        &bytes::<16>(&ram, quad(&ram, info.add(24))),
        b"policy=baseline\0"
    );
    assert_eq!(quad(&ram, info.add(32)), 0xe_0000);
    let memmap = PhysAddr::new(quad(&ram, info.add(40)));
    let entries: Vec<[u64; 3]> = (0..u64::from(word(&ram, info.add(48))))
        .map(|i| [0, 8, 16].map(|field| quad(&ram, memmap.add(24 * i + field))))
        .collect();
    assert_eq!(
        entries,
        [
            [0, 0xa_0000, 1],
            [0xe_0000, 0x2_0000, 2],
            [0x10_0000, 0x30_0000, 1]
        ]
    );
}

#[test]
fn pvh_modules_are_listed_with_address_size_and_command_line() {
    let ram = ram();
    let elf = good();
    let mut image = Image::new("kernel", &elf, "");
    image.modules = vec![
        Module {
            file: b"first",
            cmdline: "initrd".into(),
        },
        Module {
            file: b"second!",
            cmdline: "two x=1".into(),
        },
    ];
    let info = start_info(load(&ram, &image, 0).unwrap());
    assert_eq!(word(&ram, info.add(12)), 2);
    let list = PhysAddr::new(quad(&ram, info.add(16)));
    let second = list.add(32);
    assert_eq!(&bytes::<5>(&ram, quad(&ram, list)), b"first");
    assert_eq!(
        (quad(&ram, second.add(8)), quad(&ram, second) % 4096),
        (7, 0)
    );
    assert_eq!(&bytes::<7>(&ram, quad(&ram, second)), b"second!");
    assert_eq!(&bytes::<8>(&ram, quad(&ram, second.add(16))), b"two x=1\0");
}

#[test]
fn modules_that_do_not_fit_are_refused() {
    let elf = good();
    let big = vec![1; 4 << 20];
    let mut image = Image::new("kernel", &elf, "");
    image.modules = vec![Module {
        file: &big,
        cmdline: "initrd".into(),
    }];
    assert!(matches!(
        refusal_of(&image),
        LoadError::NoRoom { len: 0x40_0000, .. }
    ));
}

#[test]
fn boot_data_keeps_out_of_the_way_of_a_kernel_in_low_memory() {
    let ram = ram();
    let elf = kernel(
        &[(0x1000, b"low", 0x8000), (0x10_0000, b"code", 16)],
        Some(&ENTRY),
    );
    let info = start_info(load_pvh(&ram, &elf, "x").unwrap());
    assert!(info.get() >= 0x9000 && quad(&ram, info.add(24)) >= 0x9000);
    assert_eq!(&bytes::<4>(&ram, 0x1000), b"low\0");
}

#[test]
fn a_file_that_is_no_elf_is_refused_with_its_first_bytes() {
    assert_eq!(
        refusal(b"#!/bin/sh\n").to_string(),
        "offset 0: [23, 21, 2f, 62], expected the ELF magic 7f 45 4c 46 (no Multiboot header and no bzImage either)"
    );
    assert!(matches!(refusal(b""), LoadError::NotElf { .. }));
}

#[test]
fn an_elf_for_another_machine_is_refused_with_the_field() {
    for (offset, value) in [(4, 3), (5, 2), (16, 3), (18, 40), (54, 32)] {
        let mut elf = good();
        elf[offset] = value;
        assert!(
            matches!(refusal(&elf), LoadError::Header { offset: o, .. } if o == offset as u64),
            "{offset}"
        );
    }
}

#[test]
fn every_shorter_file_is_refused() {
    let elf = good();
    for len in 0..elf.len() - 20 {
        refusal(&elf[..len]);
    }
}

#[test]
fn overlapping_segments_are_refused_with_both_numbers() {
    let elf = kernel(
        &[(0x10_0000, b"a", 0x1001), (0x10_1000, b"b", 1)],
        Some(&ENTRY),
    );
    assert_eq!(
        refusal(&elf),
        LoadError::Overlap {
            first: "program header 0".into(),
            second: "program header 1".into(),
            at: 0x10_1000
        }
    );
}

#[test]
fn a_segment_outside_ram_is_refused() {
    for at in [0x9_fff0, 0x3f_fff8, u64::MAX - 4] {
        let elf = kernel(&[(at, b"a", 0x20)], Some(&ENTRY));
        assert!(
            matches!(refusal(&elf), LoadError::OutsideRam { .. }),
            "{at:#x}"
        );
    }
}

#[test]
fn a_segment_on_vectors_or_firmware_is_refused() {
    for at in [0xfff, 0xd_fff0, 0xf_ffff] {
        let elf = kernel(&[(at, b"a", 0x20)], Some(&ENTRY));
        assert!(
            matches!(refusal(&elf), LoadError::Overlap { .. }),
            "{at:#x}"
        );
    }
}

#[test]
fn more_bytes_in_the_file_than_in_memory_are_refused() {
    let elf = kernel(&[(0x10_0000, b"abcd", 3)], Some(&ENTRY));
    assert_eq!(
        refusal(&elf),
        LoadError::FileLargerThanMemory {
            what: "program header 0".into(),
            file: 4,
            memory: 3
        }
    );
}

#[test]
fn a_kernel_without_a_pvh_note_is_refused() {
    assert_eq!(
        refusal(&kernel(&[(0x10_0000, b"a", 1)], None)),
        LoadError::NoPvhNote
    );
}

#[test]
fn a_pvh_entry_outside_the_kernel_is_refused() {
    for entry in [
        &0x20_0000_u64.to_le_bytes()[..],
        &[1, 2],
        &(1_u64 << 32).to_le_bytes(),
    ] {
        let elf = kernel(&[(0x10_0000, b"a", 1)], Some(entry));
        assert!(
            matches!(refusal(&elf), LoadError::BadPvhNote(_)),
            "{entry:?}"
        );
    }
}

#[test]
fn a_kernel_with_nothing_to_load_is_refused() {
    assert_eq!(refusal(&kernel(&[], Some(&ENTRY))), LoadError::Empty);
}

#[test]
fn a_command_line_too_long_is_refused() {
    let ram = ram();
    let long = "x".repeat(CMDLINE_MAX + 1);
    assert_eq!(
        load_pvh(&ram, &good(), &long),
        Err(LoadError::CommandLine {
            len: CMDLINE_MAX + 1,
            most: CMDLINE_MAX
        })
    );
}

#[test]
fn a_flat_binary_is_loaded_only_where_and_when_asked() {
    let ram = ram();
    let flat = |load_at, file| Image {
        format: Format::Flat { load_at },
        ..Image::new("flat", file, "")
    };
    let entry = load(&ram, &flat(0x7c00, b"any bytes"), 0);
    assert_eq!(entry, Ok(Entry::Flat { eip: 0x7c00 }));
    assert_eq!(&bytes::<9>(&ram, 0x7c00), b"any bytes");
    assert!(matches!(refusal(b"any bytes"), LoadError::NotElf { .. }));
    assert!(matches!(
        refusal_of(&flat(0x7c00, b"")),
        LoadError::Truncated { .. }
    ));
    assert!(matches!(
        refusal_of(&flat(0x3f_ffff, b"ab")),
        LoadError::OutsideRam { .. }
    ));
    let with_line = Image {
        cmdline: "x",
        ..flat(0x7c00, b"a")
    };
    assert!(matches!(
        refusal_of(&with_line),
        LoadError::CommandLine { most: 0, .. }
    ));
}
