//! Multiboot: both ways of loading, what the information says, and one file per refusal.

use super::*;

const HEADER_MAGIC: u32 = 0x1bad_b002;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// A header with these flags and whatever fields follow.
fn header(flags: u32, fields: &[u32]) -> Vec<u8> {
    let checksum = 0_u32.wrapping_sub(HEADER_MAGIC).wrapping_sub(flags);
    [words(&[HEADER_MAGIC, flags, checksum]), words(fields)].concat()
}

/// 16 bytes of something, a header by address fields, code: loaded at 1 MiB from the header on.
fn raw(fields: [u32; 5]) -> Vec<u8> {
    [vec![0xcc; 16], header(1 << 16, &fields), b"code".to_vec()].concat()
}

/// A 32-bit ELF of one segment with a header in it, linked at C0000000h, loaded at 1 MiB.
fn elf32(entry: u32) -> Vec<u8> {
    let body = [header(3, &[]), b"code".to_vec()].concat();
    let len = u32::try_from(body.len()).unwrap();
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    elf.extend(words(&[entry, 52, 0, 0]));
    for half in [52_u16, 32, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(words(&[1, 84, 0xc000_0000, 0x10_0000, len, 0x2000, 7, 4]));
    [elf, body].concat()
}

fn start(ram: &Ram, image: &Image<'_>) -> (u32, PhysAddr) {
    match load(ram, image, 0).unwrap() {
        Entry::Multiboot { eip, info } => (eip, PhysAddr::new(info.into())),
        other => panic!("not started by Multiboot: {other:?}"),
    }
}

#[test]
fn address_fields_say_what_part_of_the_file_goes_where() {
    let ram = ram();
    assert!(ram.write(PhysAddr::new(0x10_0028), u64::MAX));
    let file = raw([0x10_0000, 0x10_0000, 0x10_0022, 0x10_0030, 0x10_0020]);
    let (eip, _) = start(&ram, &Image::new("k", &file, ""));
    assert_eq!(eip, 0x10_0020);
    assert_eq!(word(&ram, PhysAddr::new(0x10_0000)), HEADER_MAGIC);
    assert_eq!(
        &bytes::<4>(&ram, 0x10_0020),
        b"co\0\0",
        "load_end_addr cuts, bss_end_addr clears"
    );
    assert_eq!(word(&ram, PhysAddr::new(0x10_0028)), 0);
}

#[test]
fn without_a_load_end_the_whole_file_is_loaded() {
    let ram = ram();
    let file = raw([0x10_0010, 0x10_0000, 0, 0, 0x10_0030]);
    start(&ram, &Image::new("k", &file, ""));
    assert_eq!(&bytes::<4>(&ram, 0x10_0030), b"code");
    assert_eq!(bytes::<4>(&ram, 0x10_0000), [0xcc; 4]);
}

#[test]
fn an_elf_entry_is_translated_to_its_physical_address() {
    for entry in [0xc000_000c, 0x10_000c] {
        let (eip, _) = start(&ram(), &Image::new("k", &elf32(entry), ""));
        assert_eq!(eip, 0x10_000c);
    }
    assert_eq!(refusal(&elf32(0x1234)), LoadError::BadEntry(0x1234));
}

#[test]
fn an_elf_of_64_bits_is_loaded_like_one_of_32() {
    let body = [header(0, &[]), b"code".to_vec()].concat();
    let mut elf = kernel(&[(0x10_0000, &body, 0x100)], None);
    elf[24..32].copy_from_slice(&0x10_000c_u64.to_le_bytes());
    assert_eq!(start(&ram(), &Image::new("k", &elf, "")).0, 0x10_000c);
}

#[test]
fn the_information_has_memory_command_line_modules_map_and_loader_name() {
    let ram = ram();
    let file = elf32(0x10_000c);
    let mut image = Image::new("k.elf", &file, "a b");
    image.modules = vec![Module {
        file: b"module",
        cmdline: "m x".into(),
    }];
    let (_, info) = start(&ram, &image);
    let field = |at| word(&ram, info.add(at));
    assert_eq!(field(0), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    assert_eq!((field(4), field(8)), (640, 3 * 1024));
    assert_eq!(&bytes::<10>(&ram, field(16).into()), b"k.elf a b\0");
    assert_eq!(field(20), 1);
    let module = PhysAddr::new(field(24).into());
    let (from, to) = (word(&ram, module), word(&ram, module.add(4)));
    assert_eq!((from % 4096, to - from), (0, 6));
    assert!(from >= 0x10_2000, "modules lie after the kernel");
    assert_eq!(&bytes::<6>(&ram, from.into()), b"module");
    assert_eq!(
        &bytes::<4>(&ram, word(&ram, module.add(8)).into()),
        b"m x\0"
    );
    assert_eq!(&bytes::<9>(&ram, field(64).into()), b"halfpage\0");
}

#[test]
fn memory_map_entries_say_their_own_size() {
    let ram = ram();
    let (_, info) = start(&ram, &Image::new("k", &elf32(0x10_000c), ""));
    let map = PhysAddr::new(word(&ram, info.add(48)).into());
    assert_eq!(word(&ram, info.add(44)), 3 * 24);
    let entries: Vec<(u32, u64, u64, u32)> = (0..3)
        .map(|i| map.add(24 * i))
        .map(|at| {
            (
                word(&ram, at),
                quad(&ram, at.add(4)),
                quad(&ram, at.add(12)),
                word(&ram, at.add(20)),
            )
        })
        .collect();
    assert_eq!(
        entries,
        [
            (20, 0, 0xa_0000, 1),
            (20, 0xe_0000, 0x2_0000, 2),
            (20, 0x10_0000, 0x30_0000, 1)
        ]
    );
}

#[test]
fn a_header_beyond_8_kib_misaligned_or_with_a_wrong_checksum_is_none() {
    let whole = header(0, &[]);
    for (before, file) in [
        (8192 - 8, whole.clone()),
        (2, whole.clone()),
        (0, header(0, &[])[..8].to_vec()),
    ] {
        let file = [vec![0; before], file].concat();
        assert!(
            matches!(refusal(&file), LoadError::NotElf { .. }),
            "{before}"
        );
        let image = Image {
            format: Format::Multiboot,
            ..Image::new("k", &file, "")
        };
        assert_eq!(refusal_of(&image), LoadError::NoMultibootHeader);
    }
    let mut wrong = whole;
    wrong[8] ^= 1;
    assert!(matches!(refusal(&wrong), LoadError::NotElf { .. }));
}

#[test]
fn a_requirement_nobody_knows_is_refused_with_its_place() {
    let file = [vec![0; 4], header(1 << 3, &[])].concat();
    assert!(matches!(
        refusal(&file),
        LoadError::Header { offset: 8, .. }
    ));
}

#[test]
fn address_fields_that_contradict_each_other_are_refused_with_the_field() {
    for (fields, offset) in [
        ([0x10_0000, 0x10_0004, 0, 0, 0x10_0000], 32),
        ([0x10_0000, 0x0f_ffef, 0, 0, 0x10_0000], 32),
        ([0x10_0000, 0x10_0000, 0x10_0000, 0, 0x10_0000], 36),
        ([0x10_0000, 0x10_0000, 0, 0x10_0001, 0x10_0000], 40),
    ] {
        assert!(
            matches!(refusal(&raw(fields)), LoadError::Header { offset: o, .. } if o == offset),
            "{fields:x?}"
        );
    }
    let short = raw([0x10_0000, 0x10_0000, 0x10_1000, 0, 0x10_0000]);
    assert!(matches!(
        refusal(&short),
        LoadError::Truncated { offset: 16, .. }
    ));
    let outside = raw([0x10_0000, 0x10_0000, 0, 0, 0x20_0000]);
    assert_eq!(refusal(&outside), LoadError::BadEntry(0x20_0000));
}

#[test]
fn every_shorter_file_is_refused() {
    for file in [
        raw([0x10_0000, 0x10_0000, 0x10_0024, 0, 0x10_0020]),
        elf32(0xc000_000c),
    ] {
        for len in 0..file.len() {
            refusal(&file[..len]);
        }
    }
}

#[test]
fn a_multiboot_header_wins_over_a_pvh_note_unless_pvh_is_asked_for() {
    let file = kernel(&[(0x10_0000, &header(0, &[]), 0x100)], Some(&ENTRY));
    let image = Image {
        format: Format::Pvh,
        ..Image::new("k", &file, "")
    };
    assert!(matches!(load(&ram(), &image, 0), Ok(Entry::Pvh { .. })));
    // e_entry of `kernel` is outside the segment: it was taken as Multiboot.
    let mut file = file;
    file[24..32].copy_from_slice(&0_u64.to_le_bytes());
    assert_eq!(refusal(&file), LoadError::BadEntry(0));
}
