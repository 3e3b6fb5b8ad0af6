//! A guest that writes anything anywhere: the HBA neither panics nor hangs.

use super::*;

/// xorshift64*: enough disorder, the same on each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn dword(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }
}

fn small_disk() -> Box<MemDisk> {
    Box::new(MemDisk::zeroed(DISK_SECTORS))
}

/// A register write that is likely to get somewhere: sensible bits more often than not.
fn disturb(rig: &mut Rig, noise: &mut Noise) {
    let port = noise.below(3) as u32;
    let reg = |r: PortReg| port_base(port) + r.offset();
    let (at, value) = match noise.below(12) {
        0 => (noise.below(0x1200) & !3, noise.dword()),
        1 => (reg(PortReg::Clb), noise.dword() & 0x1f_ffff),
        2 => (reg(PortReg::Fb), noise.dword() & 0x1f_ffff),
        3 => (reg(PortReg::Clbu), u32::from(noise.below(50) == 0)),
        4 => (reg(PortReg::Is), noise.dword()),
        5 => (reg(PortReg::Cmd), noise.dword() & 0x1f),
        6 => (reg(PortReg::Sctl), noise.dword() & 5),
        7 => (
            HbaReg::Ghc.offset(),
            noise.dword() & 0x8000_0003 | u32::from(noise.below(20) != 0) << 1,
        ),
        _ => (reg(PortReg::Ci), noise.dword() & noise.dword()),
    };
    rig.hba.write(rig.now, at, value);
}

/// A command with a plausible header in front of whatever the RAM holds, issued.
fn issue_something(rig: &mut Rig, noise: &mut Noise) {
    let port = noise.below(2) as u32;
    let slot = noise.below(32) as u32;
    let list = rig.hba.read(port_base(port) + PortReg::Clb.offset());
    let length = if noise.below(8) == 0 {
        noise.below(32) as u16
    } else {
        5
    };
    let table = noise.below(RAM_BYTES - 4096) & !0x7f;
    let header = CommandHeader::new(CommandFlags::cfl(length), noise.dword() as u16, table);
    let opcodes = [
        0x25,
        0x35,
        0xc8,
        0xca,
        0x20,
        0x30,
        0xec,
        0xe7,
        noise.below(256) as u8,
    ];
    let opcode = opcodes[noise.below(9) as usize];
    let fis = RegH2d::lba48(opcode, noise.below(70), noise.below(40) as u16);
    let at = PhysAddr::new(u64::from(list) + 32 * u64::from(slot));
    let _ = rig.ram.write_bytes(at, header.as_bytes());
    let _ = rig.ram.write_bytes(PhysAddr::new(table), fis.as_bytes());
    for region in 0..noise.below(30) {
        let entry = PrdtEntry::new(
            noise.below(RAM_BYTES + 4096) & !1,
            2 + 2 * noise.below(600) as u32,
        );
        let at = PhysAddr::new(table + 0x80 + 16 * region);
        let _ = rig.ram.write_bytes(at, entry.unwrap().as_bytes());
    }
    rig.hba
        .write(rig.now, port_base(port) + PortReg::Ci.offset(), 1 << slot);
}

/// What a driver does when nothing works any more.
fn restart(rig: &mut Rig, noise: &mut Noise) {
    let port = noise.below(2) as u32;
    let values = [
        (PortReg::Cmd, 0),
        (PortReg::Sctl, 1),
        (PortReg::Sctl, 0),
        (PortReg::Serr, u32::MAX),
        (PortReg::Clb, noise.below(RAM_BYTES) as u32),
        (PortReg::Clbu, 0),
        (PortReg::Cmd, (PxCmd::FRE | PxCmd::ST).bits()),
    ];
    for (reg, value) in values {
        rig.hba
            .write(rig.now, port_base(port) + reg.offset(), value);
    }
}

fn storm(seed: u64) -> usize {
    let mut noise = Noise(seed);
    let mut rig = Rig::started();
    rig.hba = Hba::new(
        2,
        Timing {
            service_ticks: 3,
            sector_ticks: 1,
        },
    );
    rig.hba.attach(0, small_disk());
    rig.hba.attach(1, small_disk());
    for at in (0..RAM_BYTES).step_by(8) {
        let _ = rig
            .ram
            .write(PhysAddr::new(at), noise.next() & noise.next());
    }
    let mut events = 0;
    for _ in 0..40_000 {
        match noise.below(12) {
            0..3 => issue_something(&mut rig, &mut noise),
            3..5 => rig.now += noise.below(100),
            5 => restart(&mut rig, &mut noise),
            6 if noise.below(20) == 0 => rig.hba.set_new_transfers(NewTransfers::Hold),
            6 => rig.hba.set_new_transfers(NewTransfers::Run),
            7 => rig.hba.release(rig.now),
            _ => disturb(&mut rig, &mut noise),
        }
        let dma = Dma::new(&rig.ram, noise.below(1000) != 0);
        rig.hba.step(rig.now, &dma, &mut rig.events);
        assert!(rig.hba.next_event().is_none_or(|at| at > rig.now));
        events += rig.events.len();
        rig.events.clear();
    }
    assert!(rig.hba.in_flight().len() <= 2);
    events
}

#[test]
fn two_hundred_thousand_random_writes_neither_panic_nor_hang() {
    let events: usize = (1..=5).map(|seed| storm(seed * 0x9e37_79b9)).sum();
    // The storm must reach the engine, or it shows nothing.
    assert!(events > 10_000, "{events} events");
}

#[test]
fn the_same_storm_gives_the_same_events() {
    assert_eq!(storm(77), storm(77));
}

#[test]
fn time_at_its_end_does_not_overflow() {
    let mut rig = Rig::started();
    rig.now = u64::MAX - 1;
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.set(PortReg::Sctl, 1);
    rig.set(PortReg::Sctl, 0);
    rig.recover();
    rig.issue(0, &read_dma(0, 8), &[(BUFFER, 4096)]);
    rig.run_to(u64::MAX);
    assert_eq!(rig.load(BUFFER, 4096), disk_bytes(0, 8));
}
