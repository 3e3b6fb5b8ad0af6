//! Registers, resets and interrupts: one test per sentence a driver depends on.

use super::*;
use crate::pci::{MsiMessage, PciBus};
use ahci_spec::Ghc;
use ahci_spec::ata::opcode;
use ahci_spec::fis::CONTROL_SRST;
use ahci_spec::hba::{Cap, PORT_BYTES, VERSION_1_3_1};
use ahci_spec::pci::{ConfigAddress, offset};
use memory::Width;

#[test]
fn capabilities_offer_what_is_modelled_and_nothing_else() {
    let cap = Cap::from_bits_retain(Hba::new(6, TIMING).read(0));
    assert_eq!(
        (cap.ports(), cap.slots(), cap.interface_speed()),
        (6, 32, 3)
    );
    let offered = Cap::S64A | Cap::SCLO | Cap::SAM | Cap::PMD;
    assert_eq!(cap.bits() & !Cap::fields(6, 32, 3).bits(), offered.bits());
    assert_eq!(Hba::new(6, TIMING).read(HbaReg::Pi.offset()), 0x3f);
    assert_eq!(Hba::new(1, TIMING).read(HbaReg::Vs.offset()), VERSION_1_3_1);
}

#[test]
fn ahci_enable_cannot_be_cleared() {
    // 3.1.2, AE: if CAP.SAM is 1, AE is read only and 1.
    let mut rig = Rig::cold();
    rig.set_hba(HbaReg::Ghc, 0);
    assert_eq!(rig.get_hba(HbaReg::Ghc), Ghc::AE.bits());
}

#[test]
fn read_only_registers_keep_their_values() {
    let mut rig = Rig::cold();
    for reg in [
        HbaReg::Cap,
        HbaReg::Pi,
        HbaReg::Vs,
        HbaReg::Cap2,
        HbaReg::Bohc,
        HbaReg::EmCtl,
    ] {
        let before = rig.get_hba(reg);
        rig.set_hba(reg, !before);
        assert_eq!(rig.get_hba(reg), before, "{reg:?}");
    }
    for reg in [
        PortReg::Tfd,
        PortReg::Sig,
        PortReg::Ssts,
        PortReg::Sact,
        PortReg::Sntf,
        PortReg::Fbs,
    ] {
        let before = rig.get(reg);
        rig.set(reg, !before);
        assert_eq!(rig.get(reg), before, "{reg:?}");
    }
}

#[test]
fn unimplemented_ports_and_reserved_offsets_read_zero() {
    let mut rig = Rig::started();
    for at in (0x2c..0x100).chain(port_base(1)..0x1100).step_by(4) {
        rig.hba.write(0, at, u32::MAX);
        assert_eq!(rig.hba.read(at), 0, "{at:#x}");
    }
    for at in (0x48..PORT_BYTES).step_by(4) {
        rig.hba.write(0, port_base(0) + at, u32::MAX);
        assert_eq!(rig.hba.read(port_base(0) + at), 0, "{at:#x}");
    }
}

#[test]
fn base_addresses_hold_64_bits_and_drop_what_is_below_their_alignment() {
    let mut rig = Rig::cold();
    for reg in [PortReg::Clb, PortReg::Clbu, PortReg::Fb, PortReg::Fbu] {
        rig.set(reg, u32::MAX);
    }
    // 3.3.1: 1 KiB aligned; 3.3.3: 256 bytes aligned.
    let read = [PortReg::Clb, PortReg::Clbu, PortReg::Fb, PortReg::Fbu].map(|r| rig.get(r));
    assert_eq!(read, [0xffff_fc00, u32::MAX, 0xffff_ff00, u32::MAX]);
}

#[test]
fn at_power_on_the_disk_is_linked_and_its_signature_known() {
    let rig = Rig::cold();
    assert_eq!(
        (rig.get(PortReg::Ssts), rig.get(PortReg::Sig)),
        (0x133, 0x101)
    );
    assert_eq!(rig.tfd().0, 0x0150);
    assert_eq!(rig.cmd(), PxCmd::SUD | PxCmd::POD);
}

#[test]
fn an_empty_port_has_no_link_and_never_runs() {
    let mut rig = Rig::cold();
    rig.hba = Hba::new(1, TIMING);
    assert_eq!(
        (rig.get(PortReg::Ssts), rig.get(PortReg::Sig), rig.tfd().0),
        (0, u32::MAX, 0x7f)
    );
    rig.set(PortReg::Sctl, 1);
    rig.set(PortReg::Sctl, 0);
    rig.set(PortReg::Cmd, (PxCmd::CLO | PxCmd::ST).bits());
    rig.set(PortReg::Ci, 1);
    assert_eq!((rig.get(PortReg::Ssts), rig.hba.next_event()), (0, None));
    assert!(!rig.cmd().contains(PxCmd::CR));
}

#[test]
fn st_and_fre_show_in_cr_and_fr() {
    // 3.3.7, CR and FR; 10.3 "Software Manipulation of Port DMA Engines" on waiting for them.
    let mut rig = Rig::cold();
    for (write, running) in [
        (PxCmd::FRE, PxCmd::FR),
        (PxCmd::FRE | PxCmd::ST, PxCmd::FR | PxCmd::CR),
        (PxCmd::FRE, PxCmd::FR),
        (PxCmd::empty(), PxCmd::empty()),
    ] {
        rig.set(PortReg::Cmd, write.bits());
        assert_eq!(rig.cmd() & (PxCmd::CR | PxCmd::FR), running, "{write:?}");
    }
}

#[test]
fn ci_written_while_st_is_clear_is_ignored() {
    // 3.3.14: to be set only while PxCMD.ST is 1.
    let mut rig = Rig::cold();
    rig.set(PortReg::Ci, u32::MAX);
    assert_eq!(rig.get(PortReg::Ci), 0);
}

#[test]
fn ci_bits_cannot_be_cleared_by_software() {
    // 3.3.14: RW1S; writing 0 has no effect.
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.set(PortReg::Ci, 0);
    assert_eq!(rig.get(PortReg::Ci), 1);
}

#[test]
fn writing_one_to_is_clears_only_that_cause() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 2), &[(BUFFER, 512)]);
    rig.run();
    assert_eq!(rig.is(), PxIs::DHRS | PxIs::OFS);
    rig.set(PortReg::Is, PxIs::DHRS.bits());
    assert_eq!(rig.is(), PxIs::OFS);
}

#[test]
fn comreset_shows_no_device_then_its_signature_again() {
    let mut rig = Rig::cold();
    rig.set(PortReg::Fb, FIS as u32);
    rig.set(PortReg::Cmd, PxCmd::FRE.bits());
    // 3.3.8: while PxSCTL.DET is 1 the status is 7Fh; 3.3.11.
    rig.set(PortReg::Sctl, 0x301);
    assert_eq!((rig.tfd().status(), rig.get(PortReg::Ssts)), (0x7f, 0));
    rig.set(PortReg::Sctl, 0x300);
    // COMINIT sets BSY; 3.3.12: DIAG.X, which shows in PxIS.PCS, and DIAG.N in PxIS.PRCS.
    assert_eq!(
        (rig.get(PortReg::Ssts), rig.tfd().status() & 0x80),
        (0x133, 0x80)
    );
    assert_eq!(rig.is(), PxIs::PCS | PxIs::PRCS);
    rig.run();
    assert_eq!((rig.tfd().0, rig.get(PortReg::Sig)), (0x0150, 0x101));
    // The signature FIS has its I bit clear.
    assert_eq!(rig.load(FIS + 0x40, 5), [0x34, 0, 0x50, 1, 1]);
    assert_eq!(rig.is(), PxIs::PCS | PxIs::PRCS);
    // 3.3.5: PCS and PRCS are cleared through PxSERR only.
    rig.set(PortReg::Is, u32::MAX);
    assert_eq!(rig.is(), PxIs::PCS | PxIs::PRCS);
    rig.set(PortReg::Serr, u32::MAX);
    assert_eq!(rig.is(), PxIs::empty());
}

#[test]
fn comreset_in_flight_loses_the_command() {
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.run_to(TIMING.service_ticks);
    rig.set(PortReg::Sctl, 1);
    rig.set(PortReg::Sctl, 0);
    rig.run();
    assert_eq!(rig.load(BUFFER + 512, 3584), [0; 3584]);
    rig.recover();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.run();
    assert_eq!(rig.load(BUFFER, 4096), disk_bytes(0, 8));
}

#[test]
fn a_list_started_before_the_signature_runs_when_it_arrives() {
    let mut rig = Rig::started();
    rig.set(PortReg::Sctl, 1);
    rig.set(PortReg::Sctl, 0);
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    assert!(!rig.cmd().contains(PxCmd::CR));
    rig.run();
    assert_eq!(
        (rig.load(BUFFER, 512), rig.get(PortReg::Ci)),
        (disk_bytes(0, 1), 0)
    );
}

#[test]
fn an_interface_switched_off_is_offline() {
    let mut rig = Rig::started();
    rig.set(PortReg::Sctl, 4);
    assert_eq!((rig.get(PortReg::Ssts), rig.get(PortReg::Sctl)), (4, 4));
}

#[test]
fn hba_reset_clears_all_but_the_base_addresses() {
    // 10.4.3: GHC, IS and all port registers except PxCLB, PxCLBU, PxFB, PxFBU.
    let mut rig = Rig::started();
    rig.set_hba(HbaReg::Ghc, (Ghc::IE | Ghc::AE).bits());
    rig.set(PortReg::Ie, u32::MAX);
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.run_to(TIMING.service_ticks);
    rig.set_hba(HbaReg::Ghc, Ghc::HR.bits());
    assert_eq!(
        (rig.get_hba(HbaReg::Ghc), rig.get_hba(HbaReg::Is)),
        (Ghc::AE.bits(), 0)
    );
    assert_eq!((rig.get(PortReg::Ci), rig.get(PortReg::Ie)), (0, 0));
    assert!(
        !rig.cmd()
            .intersects(PxCmd::ST | PxCmd::CR | PxCmd::FRE | PxCmd::FR)
    );
    assert_eq!(
        (rig.get(PortReg::Clb), rig.get(PortReg::Fb)),
        (LIST as u32, FIS as u32)
    );
    rig.run();
    assert_eq!(rig.load(BUFFER + 512, 3584), [0; 3584]);
    assert_eq!((rig.tfd().0, rig.get(PortReg::Sig)), (0x0150, 0x101));
}

#[test]
fn software_reset_is_two_frames_and_ends_with_the_signature() {
    // 10.4.1: the first with C in its header and SRST, the second with SRST clear.
    let mut rig = Rig::started();
    let mut fis = RegH2d::without_data(0, 0);
    fis.flags = 0;
    fis.control = CONTROL_SRST;
    rig.prepare(0, &fis, &[]);
    rig.store(
        LIST,
        &(CommandFlags::cfl(5) | CommandFlags::C | CommandFlags::R)
            .bits()
            .to_le_bytes(),
    );
    rig.set(PortReg::Ci, 1);
    rig.run();
    assert_eq!((rig.get(PortReg::Ci), rig.tfd().status() & 0x80), (0, 0));
    fis.control = 0;
    rig.issue(1, &fis, &[]);
    rig.run();
    assert_eq!(
        (rig.get(PortReg::Ci), rig.tfd().0, rig.is()),
        (0, 0x0150, PxIs::empty())
    );
    rig.issue(2, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.run();
    assert_eq!(rig.load(BUFFER, 512), disk_bytes(0, 1));
}

/// A PCI function with messages on, to FEE01000h, vector 41h.
fn pci_with_messages() -> PciBus {
    let mut pci = PciBus::new();
    let at = |reg| ConfigAddress::new(crate::pci::AHCI, reg).0;
    for (reg, value) in [
        (offset::COMMAND, 6),
        (0x84, 0xfee0_1000),
        (0x8c, 0x41),
        (0x80, 1 << 16),
    ] {
        let _ = pci.write_port(0xcf8, Width::Dword, at(reg));
        let _ = pci.write_port(0xcfc, Width::Dword, value);
    }
    pci
}

const MESSAGE: MsiMessage = MsiMessage {
    address: 0xfee0_1000,
    data: 0x41,
};

#[test]
fn an_interrupt_needs_pxie_and_ghc_ie() {
    // 10.7: PxIS and PxIE give IS.IPS; GHC.IE lets it out.
    let pci = pci_with_messages();
    for (pxie, ghc, ips, out) in [
        (PxIs::empty(), Ghc::IE, 0, None),
        (PxIs::DHRS, Ghc::empty(), 1, None),
        (PxIs::DHRS, Ghc::IE, 1, Some(MESSAGE)),
        (PxIs::PSS, Ghc::IE, 0, None),
    ] {
        let mut rig = Rig::started();
        rig.set(PortReg::Ie, pxie.bits());
        rig.set_hba(HbaReg::Ghc, ghc.bits());
        rig.issue(0, &RegH2d::without_data(opcode::FLUSH_CACHE, 0), &[]);
        rig.run();
        assert_eq!(
            (rig.get_hba(HbaReg::Is), rig.hba.interrupt(&pci)),
            (ips, out),
            "{pxie:?} {ghc:?}"
        );
        assert_eq!(rig.hba.interrupt(&pci), None);
        assert_eq!(
            rig.events.contains(&AhciEvent::Interrupt { ports: 1 }),
            out.is_some()
        );
    }
}

#[test]
fn causes_that_stood_while_interrupts_were_off_are_announced_when_they_come_on() {
    let pci = pci_with_messages();
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.run();
    rig.set_hba(HbaReg::Ghc, Ghc::IE.bits());
    assert_eq!(rig.hba.interrupt(&pci), None);
    rig.set(PortReg::Ie, PxIs::DHRS.bits());
    assert_eq!(rig.hba.interrupt(&pci), Some(MESSAGE));
    rig.set_hba(HbaReg::Ghc, 0);
    rig.set_hba(HbaReg::Ghc, Ghc::IE.bits());
    assert_eq!(rig.hba.interrupt(&pci), Some(MESSAGE));
}

#[test]
fn clearing_is_while_a_cause_stands_sends_another_message() {
    let pci = pci_with_messages();
    let mut rig = Rig::started();
    rig.set(PortReg::Ie, PxIs::DHRS.bits());
    rig.set_hba(HbaReg::Ghc, Ghc::IE.bits());
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.run();
    assert_eq!(rig.hba.interrupt(&pci), Some(MESSAGE));
    rig.set_hba(HbaReg::Is, 1);
    assert_eq!(
        (rig.get_hba(HbaReg::Is), rig.hba.interrupt(&pci)),
        (1, Some(MESSAGE))
    );
    // In the right order, PxIS before IS, there is none.
    rig.set(PortReg::Is, u32::MAX);
    rig.set_hba(HbaReg::Is, 1);
    assert_eq!(
        (rig.get_hba(HbaReg::Is), rig.hba.interrupt(&pci)),
        (0, None)
    );
}

#[test]
fn clearing_one_port_of_two_sends_another_message_for_the_other() {
    let pci = pci_with_messages();
    let mut rig = Rig::started();
    rig.hba = Hba::new(2, TIMING);
    rig.set_hba(HbaReg::Ghc, Ghc::IE.bits());
    for port in 0..2 {
        rig.hba.attach(port, Box::new(MemDisk::zeroed(1)));
        // PxIS.PCS stands after a COMRESET.
        for (reg, value) in [
            (PortReg::Ie, PxIs::PCS.bits()),
            (PortReg::Sctl, 1),
            (PortReg::Sctl, 0),
        ] {
            rig.hba.write(0, port_base(port) + reg.offset(), value);
        }
    }
    assert_eq!(
        (rig.get_hba(HbaReg::Is), rig.hba.interrupt(&pci)),
        (0b11, Some(MESSAGE))
    );
    rig.set(PortReg::Serr, u32::MAX);
    rig.set_hba(HbaReg::Is, 0b01);
    assert_eq!(
        (rig.get_hba(HbaReg::Is), rig.hba.interrupt(&pci)),
        (0b10, Some(MESSAGE))
    );
}

#[test]
fn clearing_st_resets_the_current_slot() {
    // 3.3.7, CCS.
    let mut rig = Rig::started();
    rig.issue(6, &read_dma(0, 1), &[(BUFFER, 512)]);
    rig.run();
    assert_eq!(rig.cmd().current_slot(), 6);
    rig.set(PortReg::Cmd, 0);
    assert_eq!(rig.cmd().current_slot(), 0);
}

#[test]
fn clo_while_the_list_runs_is_ignored() {
    // 3.3.7, CLO: only to be set immediately before ST.
    let mut rig = Rig::started();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.run_to(TIMING.service_ticks);
    rig.set(PortReg::Cmd, (PxCmd::FRE | PxCmd::ST | PxCmd::CLO).bits());
    assert_eq!(rig.tfd().status() & 0x80, 0x80);
}

#[test]
fn without_messages_the_line_is_a_level() {
    let mut rig = Rig::started();
    let pci = PciBus::new();
    rig.set(PortReg::Ie, PxIs::DHRS.bits());
    rig.set_hba(HbaReg::Ghc, Ghc::IE.bits());
    rig.issue(0, &read_dma(0, 1), &[(BUFFER, 512)]);
    assert!(!rig.hba.intx(&pci));
    rig.run();
    assert_eq!((rig.hba.intx(&pci), rig.hba.interrupt(&pci)), (true, None));
    assert!(!rig.hba.intx(&pci_with_messages()));
    rig.set(PortReg::Is, u32::MAX);
    assert!(rig.hba.intx(&pci));
    rig.set_hba(HbaReg::Is, 1);
    assert!(!rig.hba.intx(&pci));
}
