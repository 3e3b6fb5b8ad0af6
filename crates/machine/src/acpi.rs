//! ACPI tables, as firmware would leave them: where a kernel scans for them, and named by boot protocols.
//!
//! | table | what it says |
//! |---|---|
//! | RSDP, XSDT | where the others are |
//! | FADT | power-off, reset, PM timer; no SMM, no keyboard controller, no VGA |
//! | FACS | nothing |
//! | DSDT | the PCI root, AHCI's interrupt line, the type of \_S5 |
//! | MADT | processors, the I/O APIC, lines that differ from ISA's |
//!
//! Not modelled: the SCI (line 9 is never asserted), sleep states other than off,
//! processor objects, ECAM (so no MCFG).
//!
//! **Spec:** ACPI 6.5 "ACPI Software Programming Model", "ACPI Machine Language (AML) Specification".

mod aml;

use crate::chipset::{AHCI_IRQ, PIT_GSI};
use crate::loader::FIRMWARE;
use devices::power::{PM_TIMER, PM1A_CONTROL, PM1A_EVENT, RESET_CONTROL, RESET_VALUE};
use devices::{ioapic, rtc};
use memory::Ram;
use x86::PhysAddr;
use x86::apic::DEFAULT_BASE;

/// Where the RSDP lies.
pub(crate) const RSDP: u64 = FIRMWARE.start;
/// The tables follow it, each on a line of its own.
const TABLES: u64 = RSDP + 64;
const TABLE_ALIGN: u64 = 64;
/// Line of the SCI.
const SCI: u8 = 9;

/// Revisions: RSDP of ACPI 2.0 and later, FADT 5.0, DSDT with 64-bit integers.
const RSDP_REVISION: u8 = 2;
const FADT_REVISION: u8 = 5;
const FADT_BYTES: usize = 268;
const DSDT_REVISION: u8 = 2;
const MADT_REVISION: u8 = 4;

/// A table under construction: header first, the length and the checksum filled in at the end.
#[derive(Debug)]
struct Table(Vec<u8>);

impl Table {
    fn new(signature: &[u8; 4], revision: u8) -> Self {
        let mut bytes = signature.to_vec();
        bytes.extend([0; 4]);
        bytes.extend([revision, 0]);
        bytes.extend(b"HALFPGHALFPAGE");
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(b"HFPG");
        bytes.extend(1_u32.to_le_bytes());
        Self(bytes)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).expect("a few hundred bytes");
        self.put(4, &len.to_le_bytes());
        self.0[9] = checksum(&self.0);
        self.0
    }
}

/// The byte that makes the sum 0, in a table whose own checksum is still 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

/// Tables going to memory one after the other.
#[derive(Debug)]
struct Writer<'m> {
    ram: &'m Ram,
    next: u64,
}

impl Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> u64 {
        let at = self.next;
        self.next = (at + bytes.len() as u64).next_multiple_of(TABLE_ALIGN);
        assert!(self.next <= FIRMWARE.end, "tables fit in the firmware area");
        assert!(
            self.ram.write_bytes(PhysAddr::new(at), bytes),
            "the firmware area is RAM"
        );
        at
    }
}

/// Writes all tables for a machine with `cpus` processors; the RSDP is at [`RSDP`].
pub(crate) fn write(ram: &Ram, cpus: u8) {
    let mut writer = Writer { ram, next: TABLES };
    let facs = writer.write(&facs());
    let dsdt = writer.write(&dsdt());
    let fadt = writer.write(&fadt(facs, dsdt));
    let madt = writer.write(&madt(cpus));
    let xsdt = writer.write(&xsdt(&[fadt, madt]));
    let rsdp = rsdp(xsdt);
    assert!(
        ram.write_bytes(PhysAddr::new(RSDP), &rsdp),
        "the firmware area is RAM"
    );
}

fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0HALFPG".to_vec();
    bytes.push(RSDP_REVISION);
    bytes.extend(0_u32.to_le_bytes()); // No RSDT.
    bytes.extend(36_u32.to_le_bytes());
    bytes.extend(xsdt.to_le_bytes());
    bytes.extend([0; 4]);
    bytes[8] = checksum(&bytes[..20]);
    bytes[32] = checksum(&bytes);
    bytes
}

fn xsdt(tables: &[u64]) -> Vec<u8> {
    let mut table = Table::new(b"XSDT", 1);
    table
        .0
        .extend(tables.iter().flat_map(|at| at.to_le_bytes()));
    table.finish()
}

/// The firmware control structure has neither header nor checksum.
fn facs() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(b"FACS");
    bytes[4..8].copy_from_slice(&64_u32.to_le_bytes());
    bytes[32] = 2;
    bytes
}

/// A register in I/O space.
fn io_register(port: u16, bits: u8) -> [u8; 12] {
    const SYSTEM_IO: u8 = 1;
    let [low, high] = port.to_le_bytes();
    let access = match bits {
        8 => 1,
        16 => 2,
        _ => 3,
    };
    [SYSTEM_IO, bits, 0, access, low, high, 0, 0, 0, 0, 0, 0]
}

fn fadt(facs: u64, dsdt: u64) -> Vec<u8> {
    /// WBINVD works; C1 works; no power button, no sleep button; PM timer of 32 bits; reset register.
    const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 10;
    /// ISA devices are there; a VGA is not.
    const BOOT_FLAGS: u16 = 1 << 0 | 1 << 2;
    /// Above 100 µs and 1000 µs: there is no C2 and no C3.
    const NO_C_STATE: [u8; 4] = [0xe8, 0x03, 0xe9, 0x03];
    let low = |at: u64| {
        u32::try_from(at)
            .expect("tables lie below 1 MiB")
            .to_le_bytes()
    };
    let port = |port: u16| u32::from(port).to_le_bytes();
    let mut table = Table::new(b"FACP", FADT_REVISION);
    table.0.resize(FADT_BYTES, 0);
    table.put(36, &low(facs));
    table.put(40, &low(dsdt));
    table.put(46, &[SCI, 0]);
    table.put(56, &port(PM1A_EVENT));
    table.put(64, &port(PM1A_CONTROL));
    table.put(76, &port(PM_TIMER));
    table.put(88, &[4, 2, 0, 4]);
    table.put(96, &NO_C_STATE);
    table.put(108, &[rtc::CENTURY]);
    table.put(109, &BOOT_FLAGS.to_le_bytes());
    table.put(112, &FLAGS.to_le_bytes());
    table.put(116, &io_register(RESET_CONTROL, 8));
    table.put(128, &[RESET_VALUE]);
    table.put(140, &dsdt.to_le_bytes());
    table.put(148, &io_register(PM1A_EVENT, 32));
    table.put(172, &io_register(PM1A_CONTROL, 16));
    table.put(208, &io_register(PM_TIMER, 32));
    table.finish()
}

fn dsdt() -> Vec<u8> {
    let mut table = Table::new(b"DSDT", DSDT_REVISION);
    table.0.extend(aml::definition_block());
    table.finish()
}

fn madt(cpus: u8) -> Vec<u8> {
    /// There is an 8259 pair too.
    const PCAT_COMPAT: u32 = 1;
    const ENABLED: u8 = 1;
    /// Active high, level-triggered.
    const LEVEL: u8 = 0b1101;
    let low = |at: u64| {
        u32::try_from(at)
            .expect("APICs lie below 4 GiB")
            .to_le_bytes()
    };
    let mut table = Table::new(b"APIC", MADT_REVISION);
    let bytes = &mut table.0;
    bytes.extend(low(DEFAULT_BASE));
    bytes.extend(PCAT_COMPAT.to_le_bytes());
    for id in 0..cpus {
        bytes.extend([0, 8, id, id, ENABLED, 0, 0, 0]);
    }
    bytes.extend([1, 12, 0, 0]);
    bytes.extend(low(ioapic::BASE));
    bytes.extend([0; 4]);
    for (irq, gsi, flags) in [
        (0, PIT_GSI, 0),
        (SCI, SCI, LEVEL),
        (AHCI_IRQ, AHCI_IRQ, LEVEL),
    ] {
        bytes.extend([2, 10, 0, irq, gsi, 0, 0, 0, flags, 0]);
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(cpus: u8) -> Ram {
        let ram = Ram::new(2 << 20).unwrap();
        write(&ram, cpus);
        ram
    }

    fn bytes(ram: &Ram, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(ram.read_bytes(PhysAddr::new(at), &mut bytes));
        bytes
    }

    fn table(ram: &Ram, at: u64) -> Vec<u8> {
        let len: u32 = ram.read(PhysAddr::new(at + 4)).unwrap();
        bytes(ram, at, len as usize)
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn quad(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// What a kernel does: scan for the RSDP, follow it.
    fn follow(ram: &Ram) -> Vec<Vec<u8>> {
        let at = (0xe_0000..0x10_0000)
            .step_by(16)
            .find(|at| bytes(ram, *at, 8) == b"RSD PTR ");
        let at = at.expect("an RSDP on a 16-byte boundary");
        assert_eq!(at, RSDP);
        let rsdp = bytes(ram, at, 36);
        assert_eq!((sum(&rsdp[..20]), sum(&rsdp)), (0, 0));
        let xsdt = table(ram, quad(&rsdp, 24));
        let tables = xsdt[36..].chunks(8).map(|at| table(ram, quad(at, 0)));
        [xsdt.clone()].into_iter().chain(tables).collect()
    }

    #[test]
    fn every_table_a_scan_leads_to_has_its_signature_and_checksum() {
        for cpus in 1..=8 {
            let all = follow(&tables(cpus));
            let signatures: Vec<&[u8]> = all.iter().map(|table| &table[..4]).collect();
            assert_eq!(signatures, [&b"XSDT"[..], b"FACP", b"APIC"]);
            assert!(all.iter().all(|table| sum(table) == 0));
        }
    }

    #[test]
    fn the_fadt_leads_to_dsdt_and_facs_and_names_the_ports() {
        let ram = tables(1);
        let fadt = &follow(&ram)[1];
        let word = |at: usize| u32::from_le_bytes(fadt[at..at + 4].try_into().unwrap());
        assert_eq!(quad(fadt, 140), u64::from(word(40)));
        let dsdt = table(&ram, quad(fadt, 140));
        assert_eq!((&dsdt[..4], sum(&dsdt)), (&b"DSDT"[..], 0));
        let facs = u64::from(word(36));
        assert_eq!((bytes(&ram, facs, 4), facs % 64), (b"FACS".to_vec(), 0));
        assert_eq!((word(56), word(64), word(76)), (0x600, 0x604, 0x608));
        assert_eq!((fadt[116], quad(fadt, 120), fadt[128]), (1, 0xcf9, 6));
        assert_eq!(quad(fadt, 176), 0x604);
    }

    #[test]
    fn the_madt_has_one_entry_per_processor_and_the_i_o_apic() {
        for cpus in [1, 2, 8] {
            let madt = follow(&tables(cpus)).remove(2);
            let (mut at, mut kinds) = (44, Vec::new());
            while at < madt.len() {
                kinds.push(madt[at]);
                at += usize::from(madt[at + 1]);
            }
            let cpus = usize::from(cpus);
            assert_eq!(kinds[..cpus], vec![0; cpus]);
            assert_eq!(kinds[cpus..], [1, 2, 2, 2]);
        }
    }
}
