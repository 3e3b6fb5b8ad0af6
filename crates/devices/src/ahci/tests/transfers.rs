//! Commands that succeed: where their bytes go, and when.

use super::*;
use ahci_spec::ata::opcode;
use ahci_spec::{FisType, ReceivedFis};

#[test]
fn a_read_brings_the_disks_bytes_to_memory_and_says_so() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(3, 8), &[(BUFFER, 4096)]);
    rig.run();
    assert_eq!(rig.load(BUFFER, 4096), disk_bytes(3, 8));
    // 4.2.2: PRDBC is the number of bytes moved.
    assert_eq!(rig.count(0), 4096);
    assert_eq!((rig.get(PortReg::Ci), rig.is()), (0, PxIs::DHRS));
    assert_eq!((rig.tfd().status(), rig.tfd().error()), (0x50, 0));
    // 4.2.1: the D2H Register FIS is at offset 40h of the area, I bit set.
    assert_eq!(
        rig.load(FIS + ReceivedFis::RFIS, 4),
        [FisType::RegD2h as u8, 0x40, 0x50, 0]
    );
}

#[test]
fn a_write_is_on_the_disk_sector_by_sector() {
    let mut rig = Rig::started();
    let bytes: Vec<u8> = (0..1024_u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
    rig.store(BUFFER, &bytes);
    rig.issue(0, &write_dma(9, 2), &[(BUFFER, 1024)]);
    rig.run();
    assert_eq!(rig.disk_sector(9)[..], bytes[..512]);
    assert_eq!(rig.disk_sector(10)[..], bytes[512..]);
    assert_eq!(
        (
            rig.disk_sector(8)[..].to_vec(),
            rig.disk_sector(11)[..].to_vec()
        ),
        (disk_bytes(8, 1), disk_bytes(11, 1))
    );
    assert_eq!(rig.count(0), 1024);
}

#[test]
fn each_sector_reaches_memory_at_its_own_point_in_time() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    // Sector i is due at service + i * sector ticks.
    rig.run_to(TIMING.service_ticks - 1);
    assert_eq!(rig.load(BUFFER, 4096), [0; 4096]);
    rig.run_to(TIMING.service_ticks + 3 * TIMING.sector_ticks);
    assert_eq!(rig.load(BUFFER, 2048), disk_bytes(0, 4));
    assert_eq!(rig.load(BUFFER + 2048, 2048), [0; 2048]);
    assert_eq!((rig.get(PortReg::Ci), rig.tfd().status() & 0x80), (1, 0x80));
    rig.run_to(TIMING.service_ticks + 7 * TIMING.sector_ticks);
    assert_eq!(rig.load(BUFFER, 4096), disk_bytes(0, 8));
    assert_eq!(rig.get(PortReg::Ci), 1);
    rig.run_to(TIMING.service_ticks + 8 * TIMING.sector_ticks);
    assert_eq!((rig.get(PortReg::Ci), rig.hba.next_event()), (0, None));
}

#[test]
fn a_write_takes_each_sector_from_memory_at_its_own_point_in_time() {
    let mut rig = Rig::started();
    rig.store(BUFFER, &[1; 1024]);
    rig.issue(0, &write_dma(0, 2), &[(BUFFER, 1024)]);
    rig.run_to(TIMING.service_ticks);
    rig.store(BUFFER, &[2; 1024]);
    rig.run();
    assert_eq!(
        (rig.disk_sector(0), rig.disk_sector(1)),
        ([1; 512], [2; 512])
    );
}

#[test]
fn changing_the_prdt_after_the_fetch_changes_nothing() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.run_to(1);
    rig.store(table(0), &[0xff; 256]);
    rig.run();
    assert_eq!(rig.load(BUFFER, 512), disk_bytes(0, 1));
}

#[test]
fn every_even_cut_of_a_sector_reads_and_writes_the_same_bytes() {
    for cut in (2..512).step_by(2) {
        let mut rig = Rig::started();
        // The first part ends a page and the second begins another far away.
        let parts = [
            (BUFFER + 4096 - u64::from(cut), cut),
            (BUFFER + 0x8000, 512 - cut),
        ];
        rig.issue(0, &read_dma(5, 1), &parts);
        rig.run();
        let mut seen = rig.load(parts[0].0, cut as usize);
        seen.extend(rig.load(parts[1].0, 512 - cut as usize));
        assert_eq!(seen, disk_bytes(5, 1), "cut {cut}");
        rig.issue(1, &write_dma(6, 1), &parts);
        rig.run();
        assert_eq!(rig.disk_sector(6)[..], disk_bytes(5, 1), "cut {cut}");
    }
}

#[test]
fn one_region_may_hold_several_sectors_and_one_sector_several_regions() {
    let mut rig = Rig::started();
    let regions = [
        (BUFFER, 700),
        (BUFFER + 0x1000, 2),
        (BUFFER + 0x2000, 322),
        (BUFFER + 0x3000, 1024),
    ];
    rig.issue(0, &read_dma(0, 4), &regions);
    rig.run();
    let seen: Vec<u8> = regions
        .iter()
        .flat_map(|&(at, len)| rig.load(at, len as usize))
        .collect();
    assert_eq!(seen, disk_bytes(0, 4));
}

#[test]
fn events_tell_issue_each_sector_and_completion_with_their_addresses() {
    let mut rig = Rig::started();
    rig.issue(
        2,
        &read_dma(7, 2),
        &[(BUFFER + 0xf00, 512), (BUFFER + 0x4000, 512)],
    );
    rig.run();
    let pieces = [
        Piece {
            at: BUFFER + 0xf00,
            len: 0x100,
        },
        Piece {
            at: BUFFER + 0x1000,
            len: 0x100,
        },
        Piece {
            at: BUFFER + 0x4000,
            len: 512,
        },
    ];
    let sector = |index: u32, pieces: &[Piece]| AhciEvent::Sector {
        port: 0,
        slot: 2,
        lba: 7 + u64::from(index),
        direction: Direction::ToMemory,
        index,
        pieces: pieces.to_vec(),
    };
    let command = opcode::READ_DMA_EXT;
    assert_eq!(
        rig.events[0],
        AhciEvent::CommandIssued {
            port: 0,
            slot: 2,
            command,
            lba: 7,
            sectors: 2,
            pieces: pieces.to_vec()
        }
    );
    assert_eq!(
        rig.events[1..3],
        [sector(0, &pieces[..2]), sector(1, &pieces[2..])]
    );
    assert!(matches!(
        rig.events[3],
        AhciEvent::Completed {
            port: 0,
            slot: 2,
            ..
        }
    ));
    assert_eq!(rig.events.len(), 4);
}

#[test]
fn a_region_with_its_i_bit_sets_dps_when_it_is_done() {
    let mut rig = Rig::started();
    let first = PrdtEntry::new(BUFFER, 512).unwrap().with_interrupt();
    let second = PrdtEntry::new(BUFFER + 512, 512).unwrap();
    rig.prepare_entries(0, &read_dma(0, 2), &[first, second]);
    rig.set(PortReg::Ci, 1);
    rig.run_to(TIMING.service_ticks);
    assert_eq!(rig.is(), PxIs::DPS);
}

#[test]
fn slots_run_one_after_another_from_the_one_after_the_last() {
    // 3.3.7, CCS: slot 0 first after ST rises; then round robin.
    let mut rig = Rig::started();
    for slot in [0, 3, 5] {
        rig.prepare(
            slot,
            &read_dma(u64::from(slot), 1),
            &[(BUFFER + 512 * u64::from(slot), 512)],
        );
    }
    rig.set(PortReg::Ci, 1 << 3);
    rig.run();
    rig.set(PortReg::Ci, 1 << 0 | 1 << 5);
    rig.run_to(rig.now + 1);
    assert_eq!(rig.cmd().current_slot(), 5);
    rig.run();
    let order: Vec<u32> = rig
        .events
        .iter()
        .filter_map(|e| {
            if let AhciEvent::Completed { slot, .. } = e {
                Some(*slot)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(order, [3, 5, 0]);
    for slot in [0, 3, 5] {
        assert_eq!(rig.load(BUFFER + 512 * slot, 512), disk_bytes(slot, 1));
    }
}

#[test]
fn identify_arrives_by_pio_without_a_d2h_fis() {
    let mut rig = Rig::started();
    rig.store(FIS, &[0xee; 256]);
    rig.issue(
        0,
        &RegH2d::without_data(opcode::IDENTIFY_DEVICE, 0),
        &[(BUFFER, 512)],
    );
    rig.run();
    let sectors = rig.load(BUFFER + 200, 8);
    assert_eq!(sectors, (DISK_SECTORS as u64).to_le_bytes());
    assert_eq!(
        (rig.is(), rig.get(PortReg::Ci), rig.tfd().0),
        (PxIs::PSS, 0, 0x50)
    );
    // 4.2.1: the PIO Setup FIS is at offset 20h: I and D set, DRQ before, idle after, 512 bytes.
    let setup = rig.load(FIS + ReceivedFis::PSFIS, 20);
    assert_eq!(
        (setup[0], setup[1], setup[2], setup[15]),
        (0x5f, 0x60, 0x58, 0x50)
    );
    assert_eq!(setup[16..18], [0, 2]);
    assert_eq!(rig.load(FIS + ReceivedFis::RFIS, 20), [0xee; 20]);
}

#[test]
fn pio_and_28_bit_commands_move_the_same_bytes_as_dma() {
    let cases = [
        (opcode::READ_SECTORS, opcode::WRITE_SECTORS),
        (opcode::READ_SECTORS_EXT, opcode::WRITE_SECTORS_EXT),
        (opcode::READ_DMA, opcode::WRITE_DMA),
    ];
    for (read, write) in cases {
        let mut rig = Rig::started();
        rig.issue(0, &RegH2d::lba48(read, 20, 3), &[(BUFFER, 1536)]);
        rig.run();
        rig.issue(0, &RegH2d::lba48(write, 40, 3), &[(BUFFER, 1536)]);
        rig.run();
        for lba in 0..3 {
            assert_eq!(
                rig.disk_sector(40 + lba)[..],
                disk_bytes(20 + lba, 1),
                "{read:#x}"
            );
        }
        assert_eq!((rig.get(PortReg::Ci), rig.tfd().0), (0, 0x50), "{write:#x}");
    }
}

#[test]
fn commands_without_data_end_with_a_d2h_fis_after_the_service_time() {
    for (command, features) in [
        (opcode::FLUSH_CACHE, 0),
        (opcode::FLUSH_CACHE_EXT, 0),
        (opcode::SET_FEATURES, 3),
        (opcode::STANDBY_IMMEDIATE, 0),
    ] {
        let mut rig = Rig::started();
        rig.issue(0, &RegH2d::without_data(command, features), &[]);
        rig.run_to(TIMING.service_ticks - 1);
        assert_eq!(rig.get(PortReg::Ci), 1);
        rig.run_to(TIMING.service_ticks);
        assert_eq!(
            (rig.get(PortReg::Ci), rig.is()),
            (0, PxIs::DHRS),
            "{command:#x}"
        );
    }
}

#[test]
fn a_held_transfer_has_its_addresses_and_moves_nothing_until_it_is_released() {
    let mut rig = Rig::started();
    rig.hba.set_new_transfers(NewTransfers::Hold);
    rig.issue(4, &read_dma(1, 2), &[(BUFFER + 512, 1024)]);
    rig.run_to(1_000_000);
    assert_eq!(rig.hba.next_event(), None);
    assert_eq!(rig.load(BUFFER, 2048), [0; 2048]);
    let held = Transfer {
        port: 0,
        slot: 4,
        direction: Direction::ToMemory,
        lba: 1,
        sectors: 2,
        moved: 0,
        held: true,
        pieces: vec![Piece {
            at: BUFFER + 512,
            len: 1024,
        }],
    };
    assert_eq!(rig.hba.in_flight(), [held]);
    rig.hba.release(rig.now);
    rig.run();
    assert_eq!(rig.now, 1_000_000 + 2 * TIMING.sector_ticks);
    assert_eq!(rig.load(BUFFER + 512, 1024), disk_bytes(1, 2));
    assert_eq!((rig.hba.in_flight(), rig.get(PortReg::Ci)), (Vec::new(), 0));
}

#[test]
fn a_hold_is_for_reads_and_writes_issued_while_it_lasts() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.hba.set_new_transfers(NewTransfers::Hold);
    rig.issue(1, &RegH2d::without_data(opcode::FLUSH_CACHE, 0), &[]);
    rig.run();
    assert_eq!(rig.get(PortReg::Ci), 0);
    rig.issue(2, &write_dma(0, 1), &[(BUFFER, 512)]);
    rig.hba.set_new_transfers(NewTransfers::Run);
    rig.run();
    assert_eq!(rig.get(PortReg::Ci), 1 << 2);
    rig.hba.release(rig.now);
    rig.run();
    rig.issue(3, &write_dma(0, 1), &[(BUFFER, 512)]);
    rig.run();
    assert_eq!(rig.get(PortReg::Ci), 0);
}

#[test]
fn a_slot_held_once_is_not_held_again() {
    let mut rig = Rig::started();
    rig.hba.set_new_transfers(NewTransfers::Hold);
    rig.issue(1, &RegH2d::without_data(opcode::FLUSH_CACHE, 0), &[]);
    rig.run();
    rig.hba.set_new_transfers(NewTransfers::Run);
    rig.issue(1, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.run();
    assert_eq!(rig.get(PortReg::Ci), 0);
}

#[test]
fn a_release_does_not_make_a_disk_faster() {
    let mut rig = Rig::started();
    rig.hba.set_new_transfers(NewTransfers::Hold);
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.run_to(1);
    rig.hba.release(rig.now);
    assert_eq!(rig.hba.next_event(), Some(TIMING.service_ticks));
}

#[test]
fn a_transfer_of_no_ticks_is_done_in_one_step() {
    let mut rig = Rig::started();
    rig.hba.set_timing(Timing::default());
    rig.issue(0, &read_dma(0, 64), &[(BUFFER, 64 * 512)]);
    let dma = Dma::new(&rig.ram, true);
    rig.hba.step(0, &dma, &mut rig.events);
    assert_eq!(rig.load(BUFFER, 64 * 512), disk_bytes(0, 64));
    assert_eq!(rig.hba.next_event(), None);
}

#[test]
fn two_ports_work_at_the_same_time_in_order_of_time() {
    let mut rig = Rig::started();
    rig.hba = Hba::new(2, TIMING);
    for (port, list) in [(0, LIST), (1, LIST + 0x400)] {
        rig.hba
            .attach(port, Box::new(MemDisk::new(disk_bytes(0, 4))));
        let base = port_base(port);
        rig.hba.write(0, base + PortReg::Clb.offset(), list as u32);
        rig.hba
            .write(0, base + PortReg::Cmd.offset(), PxCmd::ST.bits());
    }
    rig.prepare(0, &read_dma(0, 2), &[(BUFFER, 1024)]);
    let header = rig.load(LIST, 32);
    rig.store(LIST + 0x400, &header);
    rig.hba.write(0, port_base(0) + PortReg::Ci.offset(), 1);
    rig.hba.write(5, port_base(1) + PortReg::Ci.offset(), 1);
    rig.run();
    let ports: Vec<u32> = rig
        .events
        .iter()
        .filter_map(|e| {
            if let AhciEvent::Sector { port, .. } = e {
                Some(*port)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(ports, [0, 1, 0, 1]);
}
