//! Configuration space as a driver or a kernel's bus scan sees it.

use super::*;

fn select(pci: &mut PciBus, bdf: Bdf, at: u8) {
    assert_eq!(
        pci.write_port(CONFIG_ADDRESS, Width::Dword, ConfigAddress::new(bdf, at).0),
        PciEffect::None
    );
}

fn read(pci: &mut PciBus, bdf: Bdf, at: u8, width: Width) -> u32 {
    select(pci, bdf, at);
    pci.read_port(CONFIG_DATA + u16::from(at & 3), width)
}

fn write(pci: &mut PciBus, at: u8, width: Width, value: u32) -> PciEffect {
    select(pci, AHCI, at);
    pci.write_port(CONFIG_DATA + u16::from(at & 3), width, value)
}

#[test]
fn a_bus_scan_finds_three_functions_and_ones_elsewhere() {
    let mut pci = PciBus::new();
    let mut found = Vec::new();
    for bus in [0, 1, 255] {
        for device in 0..32 {
            for function in 0..8 {
                let bdf = Bdf::new(bus, device, function);
                let id = read(&mut pci, bdf, 0, Width::Dword);
                if id != u32::MAX {
                    found.push((bdf, id, read(&mut pci, bdf, 8, Width::Dword) >> 8));
                }
            }
        }
    }
    let expected = [
        (Bdf::new(0, 0, 0), 0x29c0_8086, 0x06_0000),
        (Bdf::new(0, 0x1f, 0), 0x2918_8086, 0x06_0100),
        (Bdf::new(0, 0x1f, 2), 0x2922_8086, 0x01_0601),
    ];
    assert_eq!(found, expected);
    // The device at 1Fh says it has more functions; without that, a scan stops at the first.
    assert_eq!(
        read(
            &mut pci,
            Bdf::new(0, 0x1f, 0),
            offset::HEADER_TYPE,
            Width::Byte
        ),
        0x80
    );
}

#[test]
fn bytes_and_words_are_cut_from_their_dword() {
    let mut pci = PciBus::new();
    for (at, width, value) in [
        (0, Width::Byte, 0x86),
        (1, Width::Byte, 0x80),
        (2, Width::Word, 0x2922),
        (0, Width::Dword, 0x2922_8086),
        (0x0a, Width::Word, 0x0106),
    ] {
        assert_eq!(read(&mut pci, AHCI, at, width), value, "{at:#x} {width:?}");
    }
}

#[test]
fn the_address_register_is_a_dword_and_keeps_its_reserved_bits_clear() {
    let mut pci = PciBus::new();
    let _ = pci.write_port(CONFIG_ADDRESS, Width::Dword, u32::MAX);
    assert_eq!(pci.read_port(CONFIG_ADDRESS, Width::Dword), 0x80ff_fffc);
    let _ = pci.write_port(CONFIG_ADDRESS, Width::Byte, 0);
    assert_eq!(pci.read_port(CONFIG_ADDRESS, Width::Dword), 0x80ff_fffc);
    assert_eq!(pci.read_port(CONFIG_ADDRESS + 1, Width::Word), 0xffff);
}

#[test]
fn without_the_enable_bit_the_data_port_leads_nowhere() {
    let mut pci = PciBus::new();
    let _ = pci.write_port(
        CONFIG_ADDRESS,
        Width::Dword,
        ConfigAddress::new(AHCI, 0).0 & !ConfigAddress::ENABLE,
    );
    assert_eq!(pci.read_port(CONFIG_DATA, Width::Dword), u32::MAX);
}

#[test]
fn writing_ones_to_bar5_tells_its_size_and_its_value_comes_back() {
    // 6.2.5.1 "Address Maps".
    let mut pci = PciBus::new();
    assert_eq!(
        read(&mut pci, AHCI, offset::BAR5, Width::Dword),
        AHCI_WINDOW_BASE
    );
    assert_eq!(
        write(&mut pci, offset::BAR5, Width::Dword, u32::MAX),
        PciEffect::None
    );
    assert_eq!(
        read(&mut pci, AHCI, offset::BAR5, Width::Dword),
        0xffff_f000
    );
    let _ = write(&mut pci, offset::BAR5, Width::Dword, 0xe000_0000);
    assert_eq!(
        read(&mut pci, AHCI, offset::BAR5, Width::Dword),
        0xe000_0000
    );
    for bar in 0..5 {
        let at = offset::BAR0 + 4 * bar;
        let _ = write(&mut pci, at, Width::Dword, u32::MAX);
        assert_eq!(read(&mut pci, AHCI, at, Width::Dword), 0, "{at:#x}");
    }
}

#[test]
fn the_board_is_told_when_the_window_is_switched_or_moved() {
    let mut pci = PciBus::new();
    assert_eq!(pci.ahci_window(), None);
    assert_eq!(
        write(&mut pci, offset::COMMAND, Width::Word, 2),
        PciEffect::WindowChanged
    );
    assert_eq!(
        pci.ahci_window(),
        Some(PhysAddr::new(AHCI_WINDOW_BASE.into()))
    );
    assert_eq!(
        write(&mut pci, offset::COMMAND, Width::Word, 6),
        PciEffect::None
    );
    assert_eq!(
        write(&mut pci, offset::BAR5, Width::Dword, 0xe000_0000),
        PciEffect::WindowChanged
    );
    assert_eq!(pci.ahci_window(), Some(PhysAddr::new(0xe000_0000)));
    assert_eq!(
        write(&mut pci, offset::COMMAND, Width::Byte, 0),
        PciEffect::WindowChanged
    );
    assert_eq!(pci.ahci_window(), None);
}

#[test]
fn bus_mastering_is_off_until_the_command_register_says_so() {
    let mut pci = PciBus::new();
    assert!(!pci.ahci_bus_master());
    let _ = write(&mut pci, offset::COMMAND, Width::Word, 0xffff);
    assert!(pci.ahci_bus_master());
    assert_eq!(read(&mut pci, AHCI, offset::COMMAND, Width::Word), 0x0406);
}

#[test]
fn a_driver_finds_the_message_capability_and_its_message_comes_out() {
    // 6.8.1 "MSI Capability Structure".
    let mut pci = PciBus::new();
    assert_ne!(read(&mut pci, AHCI, offset::STATUS, Width::Word) & 0x10, 0);
    let at = u8::try_from(read(&mut pci, AHCI, offset::CAPABILITIES, Width::Byte)).unwrap();
    assert_eq!(read(&mut pci, AHCI, at, Width::Word), 0x0005);
    assert_eq!(read(&mut pci, AHCI, at + 2, Width::Word), 0x0080);
    let _ = write(&mut pci, at + 4, Width::Dword, 0xfee0_3003);
    let _ = write(&mut pci, at + 8, Width::Dword, 1);
    let _ = write(&mut pci, at + 12, Width::Word, 0x4052);
    let _ = write(&mut pci, at + 2, Width::Word, 0xffff);
    assert_eq!(read(&mut pci, AHCI, at + 2, Width::Word), 0x0081);
    // A message is a bus access of the function: none without bus mastering.
    assert_eq!(
        (pci.ahci_message(), pci.ahci_may_assert_intx()),
        (None, false)
    );
    let _ = write(&mut pci, offset::COMMAND, Width::Word, 4);
    let message = MsiMessage {
        address: 0x1_fee0_3000,
        data: 0x4052,
    };
    assert_eq!(pci.ahci_message(), Some(message));
}

#[test]
fn interrupt_line_is_software_s_own_note_and_the_pin_is_fixed() {
    let mut pci = PciBus::new();
    let _ = write(&mut pci, offset::INTERRUPT_LINE, Width::Word, 0xff0b);
    assert_eq!(
        read(&mut pci, AHCI, offset::INTERRUPT_LINE, Width::Word),
        0x010b
    );
    assert!(pci.ahci_may_assert_intx());
    let _ = write(&mut pci, offset::COMMAND, Width::Word, 1 << 10);
    assert!(!pci.ahci_may_assert_intx());
}

#[test]
fn no_access_to_any_port_panics() {
    let mut pci = PciBus::new();
    let mut seed = 7_u64;
    for _ in 0..200_000 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let [a, b, c, d, what, port, ..] = seed.to_be_bytes();
        let port = if what & 8 == 0 {
            CONFIG_ADDRESS
        } else {
            CONFIG_ADDRESS + u16::from(port % 10)
        };
        let width = [Width::Byte, Width::Word, Width::Dword, Width::Qword][usize::from(what & 3)];
        let mut value = u32::from_le_bytes([a, b, c, d]);
        if what & 16 != 0 {
            value = ConfigAddress::new(AHCI, a).0;
        }
        let _ = pci.write_port(port, width, value);
        let _ = pci.read_port(port, width);
    }
    for (width, ones) in [
        (Width::Byte, 0xff),
        (Width::Dword, u32::MAX),
        (Width::Qword, u32::MAX),
    ] {
        assert_eq!(pci.read_port(u16::MAX, width), ones);
    }
}
