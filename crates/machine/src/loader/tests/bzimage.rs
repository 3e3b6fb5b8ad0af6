//! bzImage: what the zero page says, where things lie, and one file per refusal.

use super::*;

const KERNEL_AT: u64 = 0x10_0000;

/// One setup sector, then 600h bytes of which those at 200h are the 64-bit entry.
fn bzimage() -> Vec<u8> {
    let mut file = vec![0; 1024 + 0x600];
    file[0x1f1] = 1;
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    file[0x201] = 0x6c;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    file[0x22c..0x230].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    file[0x230..0x234].copy_from_slice(&0x20_0000_u32.to_le_bytes());
    file[0x236] = 1;
    file[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
    file[0x258..0x260].copy_from_slice(&KERNEL_AT.to_le_bytes());
    file[0x260..0x264].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    file[1024 + 0x200..1024 + 0x204].copy_from_slice(b"code");
    file
}

struct Started {
    rip: u64,
    page: PhysAddr,
    cr3: u64,
    gdt: u64,
}

fn start(ram: &Ram, image: &Image<'_>) -> Started {
    match load(ram, image, 0xe_0000).unwrap() {
        Entry::Linux64 {
            rip,
            zero_page,
            cr3,
            gdt,
        } => Started {
            rip,
            page: PhysAddr::new(zero_page.into()),
            cr3,
            gdt: gdt.into(),
        },
        other => panic!("not started by the Linux protocol: {other:?}"),
    }
}

#[test]
fn the_protected_mode_part_lies_at_its_preferred_address() {
    let ram = ram();
    let file = bzimage();
    let started = start(&ram, &Image::new("vmlinuz", &file, ""));
    assert_eq!(started.rip, KERNEL_AT + 0x200);
    assert_eq!(&bytes::<4>(&ram, started.rip), b"code");
}

#[test]
fn a_relocatable_kernel_whose_place_is_no_ram_goes_elsewhere_and_another_is_refused() {
    let mut file = bzimage();
    file[0x258..0x260].copy_from_slice(&0x100_0000_u64.to_le_bytes());
    assert!(matches!(refusal(&file), LoadError::OutsideRam { .. }));
    file[0x234] = 1;
    let started = start(&ram(), &Image::new("vmlinuz", &file, ""));
    assert_eq!(
        started.rip,
        0x20_0000 + 0x200,
        "aligned as kernel_alignment asks"
    );
}

#[test]
fn the_zero_page_has_header_command_line_initrd_map_and_rsdp() {
    let ram = ram();
    let file = bzimage();
    let mut image = Image::new("vmlinuz", &file, "quiet");
    image.modules = vec![Module {
        file: b"070701",
        cmdline: "initrd".into(),
    }];
    let page = start(&ram, &image).page;
    let field = |at| word(&ram, page.add(at));
    assert_eq!(&bytes::<4>(&ram, page.get() + 0x202), b"HdrS");
    assert_eq!(bytes::<1>(&ram, page.get() + 0x210), [0xff]);
    assert_eq!(&bytes::<6>(&ram, field(0x228).into()), b"quiet\0");
    assert_eq!(field(0x21c), 6);
    assert_eq!(&bytes::<6>(&ram, field(0x218).into()), b"070701");
    assert_eq!(field(0x218), 0x3f_f000, "the highest page of RAM");
    assert_eq!(quad(&ram, page.add(0x70)), 0xe_0000);
    assert_eq!(bytes::<1>(&ram, page.get() + 0x1e8), [3]);
    let entry = |i: u64| page.add(0x2d0 + 20 * i);
    assert_eq!(
        (quad(&ram, entry(2)), word(&ram, entry(1).add(16))),
        (0x10_0000, 2)
    );
}

#[test]
fn the_first_4_gib_are_mapped_to_themselves() {
    let ram = ram();
    let file = bzimage();
    let started = start(&ram, &Image::new("vmlinuz", &file, ""));
    for at in [0, KERNEL_AT, 0x3fff_ffff, 0xfee0_0020, 0xffff_ffff] {
        let va = x86::VirtAddr::new(at).unwrap();
        assert_eq!(
            mmu::peek_cr3(&ram, started.cr3, va).pa,
            Some(PhysAddr::new(at))
        );
    }
    assert_eq!(
        quad(&ram, PhysAddr::new(started.gdt + 0x10)) >> 40 & 0xff,
        0x9b
    );
    assert_eq!(
        quad(&ram, PhysAddr::new(started.gdt + 0x18)) >> 40 & 0xff,
        0x93
    );
}

#[test]
fn each_header_field_that_does_not_do_is_refused_with_its_offset() {
    for (offset, value) in [(0x206_usize, 0x0b), (0x236, 0), (0x232, 0)] {
        let mut file = bzimage();
        file[offset] = value;
        let at = if offset == 0x232 {
            0x230
        } else {
            offset as u64
        };
        assert!(
            matches!(refusal(&file), LoadError::Header { offset: o, .. } if o == at),
            "{offset:#x}"
        );
    }
    let image = Image {
        format: Format::Bzimage,
        ..Image::new("k", &[0; 4096], "")
    };
    assert!(matches!(
        refusal_of(&image),
        LoadError::Header { offset: 0x202, .. }
    ));
}

#[test]
fn every_file_without_an_entry_is_refused() {
    let file = bzimage();
    for len in (0..=1024 + 0x200).rev().step_by(31) {
        refusal(&file[..len]);
    }
}

#[test]
fn a_second_module_and_a_long_command_line_are_refused() {
    let mut file = bzimage();
    file[0x238..0x23c].copy_from_slice(&4_u32.to_le_bytes());
    let image = Image::new("vmlinuz", &file, "quiet");
    assert_eq!(
        refusal_of(&image),
        LoadError::CommandLine { len: 5, most: 4 }
    );
    let module = Module {
        file: b"x",
        cmdline: String::new(),
    };
    let image = Image {
        modules: vec![module.clone(), module],
        ..Image::new("vmlinuz", &file, "")
    };
    assert_eq!(
        refusal_of(&image),
        LoadError::Modules {
            protocol: "bzImage",
            given: 2,
            most: 1
        }
    );
}
