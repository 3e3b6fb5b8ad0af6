//! Bad programming by a guest, and disks that fail: status bits, never more.

use super::*;
use crate::ahci::disk::Sector;
use ahci_spec::ata::opcode;
use memory::DmaError;
use std::io;

/// A fatal error stands, the list has stopped, and a driver's recovery brings the port back.
fn assert_stopped_and_recoverable(rig: &mut Rig, what: &str) {
    assert_eq!(rig.hba.next_event(), None, "{what}");
    assert_ne!(
        rig.get(PortReg::Ci),
        0,
        "{what}: PxCI keeps the command's bit"
    );
    let before = rig.events.len();
    rig.prepare(9, &read_dma(2, 1), &[(BUFFER, 512)]);
    rig.set(PortReg::Ci, 1 << 9);
    rig.run();
    assert_eq!(
        rig.events.len(),
        before,
        "{what}: nothing runs until ST is cleared"
    );
    rig.set(PortReg::Clb, LIST as u32);
    rig.set(PortReg::Clbu, 0);
    rig.set(PortReg::Fb, FIS as u32);
    rig.bus_master = BusMaster::On;
    rig.recover();
    assert_eq!(rig.get(PortReg::Ci), 0, "{what}");
    rig.set(PortReg::Ci, 1 << 9);
    rig.run();
    assert_eq!(rig.load(BUFFER, 512), disk_bytes(2, 1), "{what}");
    assert_eq!(rig.is(), PxIs::DHRS, "{what}");
}

#[test]
fn memory_that_cannot_be_reached_is_a_host_bus_fatal_error() {
    // 6.1 "System Memory Errors": PxIS.HBFS; 3.3.12, ERR.E: a master or target abort when accessing memory.
    type Spoil = fn(&mut Rig);
    let cases: [(&str, Spoil); 7] = [
        ("command list outside RAM", |rig| {
            rig.set(PortReg::Clbu, 0x1000)
        }),
        ("command table outside RAM", |rig| {
            rig.store(LIST + 8, &RAM_BYTES.to_le_bytes())
        }),
        ("command table above 2^52", |rig| {
            rig.store(LIST + 8, &(u64::MAX << 7).to_le_bytes())
        }),
        ("region outside RAM", |rig| {
            rig.store(table(0) + 0x80, &RAM_BYTES.to_le_bytes())
        }),
        ("region above 2^52", |rig| {
            rig.store(table(0) + 0x80, &(1_u64 << 60).to_le_bytes())
        }),
        ("region in the video window", |rig| {
            rig.store(table(0) + 0x80, &0xa_0000_u64.to_le_bytes())
        }),
        ("FIS area outside RAM", |rig| {
            rig.set(PortReg::Fb, 0xf000_0000)
        }),
    ];
    for (what, spoil) in cases {
        let mut rig = Rig::started();
        rig.prepare(0, &read_dma(0, 1), &[(BUFFER, 512)]);
        spoil(&mut rig);
        rig.set(PortReg::Ci, 1);
        rig.run();
        assert_eq!(
            (rig.is(), rig.serr()),
            (PxIs::HBFS, PxSerr::ERR_E),
            "{what}"
        );
        assert!(
            rig.events.iter().any(|e| matches!(
                e,
                AhciEvent::DmaFailed {
                    error: DmaError::NotRam { .. },
                    ..
                }
            )),
            "{what}"
        );
        assert_stopped_and_recoverable(&mut rig, what);
    }
}

#[test]
fn pieces_before_one_outside_ram_were_moved_and_none_after() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 2), &[(BUFFER, 512), (RAM_BYTES - 2, 512)]);
    rig.run();
    assert_eq!(rig.load(BUFFER, 512), disk_bytes(0, 1));
    assert_eq!((rig.is(), rig.count(0)), (PxIs::HBFS, 512));
    // The second sector has two bytes in the last frame of RAM and the rest in the next, which is none.
    assert_eq!(rig.load(RAM_BYTES - 2, 2), disk_bytes(1, 1)[..2]);
}

#[test]
fn bus_mastering_switched_off_in_flight_is_a_host_bus_fatal_error() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.run_to(TIMING.service_ticks + TIMING.sector_ticks);
    rig.bus_master = BusMaster::Off;
    rig.run();
    assert_eq!(rig.is(), PxIs::HBFS);
    let failed = AhciEvent::DmaFailed {
        port: 0,
        slot: Some(0),
        error: DmaError::MasterDisabled,
    };
    assert!(rig.events.contains(&failed));
    assert_eq!(rig.load(BUFFER + 1024, 3072), [0; 3072]);
    assert_stopped_and_recoverable(&mut rig, "bus master off");
}

#[test]
fn a_frame_the_disk_does_not_know_is_refused() {
    for (what, at, byte) in [
        ("FIS type of a data FIS", table(0), 0x46),
        ("FIS type 0", table(0), 0),
        ("length 0", LIST, 0),
        ("length 4", LIST, 4),
        ("length 17", LIST, 17),
    ] {
        let mut rig = Rig::started();
        rig.prepare(0, &read_dma(0, 1), &[(BUFFER, 512)]);
        rig.store(at, &[byte]);
        rig.set(PortReg::Ci, 1);
        rig.run();
        assert_eq!(
            (rig.is(), rig.serr()),
            (PxIs::IFS, PxSerr::DIAG_H),
            "{what}"
        );
        assert_stopped_and_recoverable(&mut rig, what);
    }
}

#[test]
fn a_command_the_disk_does_not_have_is_aborted() {
    // 5.3.8.1, RegFIS:Entry: ERR in the FIS sets PxIS.TFES and neither clears PxCI nor sets PxIS.DHRS.
    let mut no_lba = read_dma(0, 1);
    no_lba.device = 0;
    for fis in [
        RegH2d::without_data(0x00, 0),
        RegH2d::without_data(0xff, 0),
        RegH2d::without_data(opcode::SET_FEATURES, 0x77),
        RegH2d::lba48(opcode::READ_FPDMA_QUEUED, 0, 1),
        no_lba,
    ] {
        let mut rig = Rig::started();
        rig.issue(0, &fis, &[(BUFFER, 512)]);
        rig.run();
        assert_eq!((rig.is(), rig.tfd().0), (PxIs::TFES, 0x0451), "{fis:?}");
        assert_eq!(rig.load(FIS + 0x40, 4), [0x34, 0x40, 0x51, 0x04]);
        assert_eq!(rig.load(BUFFER, 512), [0; 512]);
        assert_stopped_and_recoverable(&mut rig, "abort");
    }
}

#[test]
fn sectors_beyond_the_end_are_not_found_and_nothing_is_moved() {
    for fis in [
        read_dma(63, 2),
        read_dma(64, 1),
        read_dma((1 << 48) - 1, 0),
        write_dma(60, 5),
    ] {
        let mut rig = Rig::started();
        rig.issue(0, &fis, &[(BUFFER, 4096)]);
        rig.run();
        assert_eq!((rig.is(), rig.tfd().0), (PxIs::TFES, 0x1051), "{fis:?}");
        assert_eq!((rig.load(BUFFER, 4096), rig.count(0)), (vec![0; 4096], 0));
        assert_eq!(rig.disk_sector(60)[..], disk_bytes(60, 1));
        assert_stopped_and_recoverable(&mut rig, "not found");
    }
}

#[test]
fn more_data_than_regions_is_an_overflow_and_the_surplus_is_dropped() {
    // 6.1 "Command List Overflow": PxIS.OFS. PRDBC counts what was moved.
    for (regions, moved) in [(&[][..], 0_u32), (&[(BUFFER, 700)][..], 700)] {
        let mut rig = Rig::started();
        rig.issue(0, &read_dma(0, 2), regions);
        rig.run();
        assert_eq!(
            (rig.is(), rig.get(PortReg::Ci)),
            (PxIs::OFS | PxIs::DHRS, 0)
        );
        assert_eq!(rig.count(0), moved);
        let mut expected = disk_bytes(0, 2);
        expected[moved as usize..].fill(0);
        assert_eq!(rig.load(BUFFER, 1024), expected);
    }
}

#[test]
fn a_write_whose_regions_end_early_leaves_the_disk_waiting() {
    for (regions, whole) in [(&[][..], 0), (&[(BUFFER, 700)][..], 1)] {
        let mut rig = Rig::started();
        rig.store(BUFFER, &[0xaa; 1024]);
        rig.issue(0, &write_dma(0, 2), regions);
        rig.run();
        assert_eq!((rig.is(), rig.tfd().status() & 0x80), (PxIs::OFS, 0x80));
        for lba in 0..2 {
            let expected = if lba < whole {
                vec![0xaa; 512]
            } else {
                disk_bytes(lba, 1)
            };
            assert_eq!(rig.disk_sector(lba)[..], expected);
        }
        assert_stopped_and_recoverable(&mut rig, "starved");
    }
}

#[test]
fn fewer_sectors_than_regions_is_no_error() {
    // 6.1 "Command List Underflow": PRDBC says how much was moved.
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 4096), (RAM_BYTES, 4096)]);
    rig.run();
    assert_eq!((rig.is(), rig.count(0)), (PxIs::DHRS, 512));
    assert_eq!(rig.load(BUFFER + 512, 3584), [0; 3584]);
}

#[test]
fn odd_addresses_and_lengths_are_decoded_even() {
    // 4.2.3.3: bit 0 of DBA and of the byte count is not decoded.
    let mut rig = Rig::started();
    let mut entry = PrdtEntry::new_zeroed();
    entry.dba = (BUFFER + 1).into();
    entry.dbc = 510.into();
    rig.prepare_entries(0, &read_dma(0, 1), &[entry]);
    rig.set(PortReg::Ci, 1);
    rig.run();
    assert_eq!(
        (rig.load(BUFFER, 512), rig.is()),
        (disk_bytes(0, 1), PxIs::DHRS)
    );
}

#[test]
fn reserved_low_bits_of_the_command_table_address_are_not_decoded() {
    let mut rig = Rig::started();
    rig.prepare(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.store(LIST + 8, &(table(0) | 0x7f).to_le_bytes());
    rig.set(PortReg::Ci, 1);
    rig.run();
    assert_eq!(rig.load(BUFFER, 512), disk_bytes(0, 1));
}

#[test]
fn a_region_on_the_command_list_itself_overwrites_it_and_the_count_lands_on_top() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 2), &[(LIST, 1024)]);
    rig.run();
    let mut expected = disk_bytes(0, 2);
    expected[4..8].copy_from_slice(&1024_u32.to_le_bytes());
    assert_eq!((rig.load(LIST, 1024), rig.is()), (expected, PxIs::DHRS));
}

#[test]
fn clearing_st_in_flight_drops_the_transfer_and_clears_ci_and_cr() {
    // 3.3.14: PxCI is cleared when ST falls; 10.3.1 "Start (PxCMD.ST)": CR falls.
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.set(PortReg::Ci, 1 << 7);
    rig.run_to(TIMING.service_ticks + TIMING.sector_ticks);
    rig.set(PortReg::Cmd, PxCmd::FRE.bits());
    assert_eq!(
        (rig.get(PortReg::Ci), rig.cmd().contains(PxCmd::CR)),
        (0, false)
    );
    assert_eq!(
        (rig.hba.next_event(), rig.hba.in_flight()),
        (None, Vec::new())
    );
    assert_eq!(rig.load(BUFFER, 4096)[..1024], disk_bytes(0, 2));
    assert_eq!(rig.load(BUFFER, 4096)[1024..], [0; 3072]);
}

#[test]
fn a_disk_left_busy_holds_the_list_until_clo_or_comreset() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.run_to(TIMING.service_ticks);
    rig.set(PortReg::Cmd, PxCmd::FRE.bits());
    rig.set(PortReg::Cmd, (PxCmd::FRE | PxCmd::ST).bits());
    assert!(!rig.cmd().contains(PxCmd::CR));
    rig.set(PortReg::Ci, 1);
    assert_eq!(rig.hba.next_event(), None);
    rig.set(PortReg::Cmd, 0);
    // 3.3.7, CLO: clears BSY and DRQ, and reads 0 when that is done.
    rig.set(PortReg::Cmd, (PxCmd::CLO | PxCmd::ST).bits());
    assert!(rig.cmd().contains(PxCmd::CR) && !rig.cmd().contains(PxCmd::CLO));
}

/// A disk whose host fails.
struct BrokenDisk;

impl DiskImage for BrokenDisk {
    fn sectors(&self) -> u64 {
        8
    }
    fn read(&self, _: u64, _: &mut Sector) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
    fn write(&mut self, _: u64, _: &Sector) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_host_that_cannot_read_or_write_the_image_shows_as_a_bad_disk() {
    let flush = RegH2d::without_data(opcode::FLUSH_CACHE, 0);
    for (fis, error) in [
        (read_dma(0, 1), 0x40),
        (write_dma(0, 1), 0x04),
        (flush, 0x04),
    ] {
        let mut rig = Rig::started();
        rig.hba.attach(0, Box::new(BrokenDisk));
        rig.set(PortReg::Clb, LIST as u32);
        rig.set(PortReg::Cmd, PxCmd::ST.bits());
        rig.issue(0, &fis, &[(BUFFER, 512)]);
        rig.run();
        assert_eq!((rig.is(), rig.tfd().error()), (PxIs::TFES, error));
        assert!(
            rig.events
                .iter()
                .any(|e| matches!(e, AhciEvent::ImageFailed { .. }))
        );
    }
}
