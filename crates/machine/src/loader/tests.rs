//! Kernels that load, and one kernel per way of being refused.

use super::*;

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

fn refusal(elf: &[u8]) -> LoadError {
    let ram = ram();
    let error = load_pvh(&ram, elf, "").unwrap_err();
    assert_eq!(
        ram.read::<u32>(PhysAddr::new(u64::from(START_INFO))),
        Some(0),
        "a refused kernel leaves RAM untouched"
    );
    assert_eq!(ram.read::<u32>(PhysAddr::new(0x10_0000)), Some(0));
    error
}

#[test]
fn segments_lie_at_their_physical_addresses_and_the_rest_is_zero() {
    let ram = ram();
    assert!(ram.write(PhysAddr::new(0x10_0008), u64::MAX));
    let entry = load_pvh(&ram, &good(), "a=b").unwrap();
    assert_eq!(entry.eip, 0x10_0000);
    let mut bytes = [0; 16];
    assert!(ram.read_bytes(PhysAddr::new(0x10_0000), &mut bytes));
    assert_eq!(&bytes, b"code\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn the_start_information_leads_to_command_line_and_memory_map() {
    let ram = ram();
    let entry = load_pvh(&ram, &good(), "policy=baseline").unwrap();
    let info = PhysAddr::new(u64::from(entry.start_info));
    assert_eq!(ram.read::<u32>(info), Some(MAGIC));
    let cmdline = PhysAddr::new(ram.read::<u64>(info.add(24)).unwrap());
    let mut text = [0; 16];
    assert!(ram.read_bytes(cmdline, &mut text));
    assert_eq!(&text, b"policy=baseline\0");
    let memmap = PhysAddr::new(ram.read::<u64>(info.add(40)).unwrap());
    assert_eq!(ram.read::<u32>(info.add(48)), Some(2));
    assert_eq!(ram.read::<u64>(memmap.add(8)), Some(0xa_0000));
    assert_eq!(ram.read::<u64>(memmap.add(24)), Some(0xc_0000));
}

#[test]
fn a_file_that_is_no_elf_is_refused_with_its_first_bytes() {
    assert_eq!(
        refusal(b"#!/bin/sh\n").to_string(),
        "offset 0: [23, 21, 2f, 62], expected the ELF magic 7f 45 4c 46"
    );
    assert!(matches!(refusal(b""), LoadError::NotElf { .. }));
}

#[test]
fn an_elf_for_another_machine_is_refused_with_the_field() {
    for (offset, value) in [(4, 1), (5, 2), (16, 3), (18, 3)] {
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
            first: 0,
            second: 1,
            at: 0x10_1000
        }
    );
}

#[test]
fn a_segment_outside_ram_is_refused() {
    for at in [0x7fff, 0x9_fff0, 0x3f_fff8, u64::MAX - 4] {
        let elf = kernel(&[(at, b"a", 0x20)], Some(&ENTRY));
        assert!(
            matches!(refusal(&elf), LoadError::OutsideRam { index: 0, .. }),
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
            index: 0,
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
            len: CMDLINE_MAX + 1
        })
    );
}
