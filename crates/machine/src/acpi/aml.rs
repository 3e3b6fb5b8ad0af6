//! The DSDT's machine language: put together from the few opcodes it needs.
//!
//! ```text
//! Name (\_S5, Package { S5_TYPE, 0, 0, 0 })
//! Scope (\_SB) {
//!   Device (PCI0) {
//!     Name (_HID, EisaId ("PNP0A08")); Name (_CID, EisaId ("PNP0A03")); Name (_UID, 0)
//!     Name (_CRS, ResourceTemplate { bus 0, ports, memory windows })
//!     Name (_PRT, Package { Package { 0x001FFFFF, 0, 0, AHCI_IRQ } })
//!   }
//! }
//! ```
//!
//! **Spec:** ACPI 6.5 "AML Grammar Definition", "Resource Data Types for ACPI".

use crate::chipset::AHCI_IRQ;
use devices::power::S5_TYPE;
use memory::ram::LOW_END;

/// Opcodes.
mod op {
    pub(super) const NAME: u8 = 0x08;
    pub(super) const BYTE: u8 = 0x0a;
    pub(super) const DWORD: u8 = 0x0c;
    pub(super) const SCOPE: u8 = 0x10;
    pub(super) const BUFFER: u8 = 0x11;
    pub(super) const PACKAGE: u8 = 0x12;
    pub(super) const DEVICE: [u8; 2] = [0x5b, 0x82];
}

/// PCI memory ends where the I/O APIC begins.
const PCI_MEMORY_END: u32 = 0xfec0_0000;

/// A package length counts its own bytes.
fn package_length(len: usize) -> Vec<u8> {
    let low = |n: usize| n.to_le_bytes()[0];
    match len {
        0..=0x3e => vec![low(len + 1)],
        0x3f..=0xffd => vec![0x40 | low((len + 2) & 0xf), low((len + 2) >> 4)],
        _ => {
            let n = len + 3;
            vec![0x80 | low(n & 0xf), low(n >> 4), low(n >> 12)]
        }
    }
}

/// An opcode followed by a length and what it holds.
fn block(opcode: &[u8], body: &[u8]) -> Vec<u8> {
    [opcode, &package_length(body.len()), body].concat()
}

fn name(path: &[u8], value: &[u8]) -> Vec<u8> {
    [&[op::NAME], path, value].concat()
}

fn byte(value: u8) -> Vec<u8> {
    vec![op::BYTE, value]
}

fn dword(value: u32) -> Vec<u8> {
    [&[op::DWORD], &value.to_le_bytes()[..]].concat()
}

fn package(elements: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(elements.len()).expect("a handful of elements");
    block(&[op::PACKAGE], &[vec![count], elements.concat()].concat())
}

/// Three letters of 5 bits and four hexadecimal digits, most significant first.
fn eisa_id(id: &[u8; 7]) -> Vec<u8> {
    let letters = id[..3]
        .iter()
        .fold(0_u32, |sum, letter| sum << 5 | u32::from(letter - b'@'));
    let digit = |c: u8| u32::from(if c <= b'9' { c - b'0' } else { c - b'A' + 10 });
    let digits = id[3..].iter().fold(0_u32, |sum, c| sum << 4 | digit(*c));
    dword((letters << 16 | digits).swap_bytes())
}

/// What an address-space descriptor describes.
#[derive(Clone, Copy, Debug)]
enum Space {
    Memory = 0,
    Port = 1,
    Bus = 2,
}

/// Minimum and maximum fixed, produced for the devices below.
const FIXED_RANGE: u8 = 0x0c;

/// A word address-space descriptor for `first..=last`.
fn word_space(space: Space, first: u16, last: u16) -> Vec<u8> {
    let specific = if matches!(space, Space::Port) { 3 } else { 0 };
    let mut bytes = vec![0x88, 13, 0, space as u8, FIXED_RANGE, specific];
    let len = u32::from(last) - u32::from(first) + 1;
    let [len_low, len_high, ..] = len.to_le_bytes();
    for word in [0, first, last, 0, u16::from_le_bytes([len_low, len_high])] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// A dword memory descriptor for `first..=last`: not cacheable, writable.
fn dword_memory(first: u32, last: u32) -> Vec<u8> {
    let mut bytes = vec![0x87, 23, 0, Space::Memory as u8, FIXED_RANGE, 1];
    for word in [0, first, last, 0, last - first + 1] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

fn resources() -> Vec<u8> {
    let first = u32::try_from(LOW_END).expect("RAM below 4 GiB ends below 4 GiB");
    let config_ports = vec![0x47, 1, 0xf8, 0x0c, 0xf8, 0x0c, 1, 8];
    let end = vec![0x79, 0];
    let template = [
        word_space(Space::Bus, 0, 0),
        config_ports,
        word_space(Space::Port, 0, 0xcf7),
        word_space(Space::Port, 0xd00, 0xffff),
        dword_memory(first, PCI_MEMORY_END - 1),
        end,
    ]
    .concat();
    let len = byte(u8::try_from(template.len()).expect("below 256 bytes"));
    block(&[op::BUFFER], &[len, template].concat())
}

fn pci_root() -> Vec<u8> {
    let route = [dword(0x001f_ffff), byte(0), byte(0), byte(AHCI_IRQ)];
    let body = [
        b"PCI0".to_vec(),
        name(b"_HID", &eisa_id(b"PNP0A08")),
        name(b"_CID", &eisa_id(b"PNP0A03")),
        name(b"_UID", &byte(0)),
        name(b"_CRS", &resources()),
        name(b"_PRT", &package(&[package(&route)])),
    ];
    block(&op::DEVICE, &body.concat())
}

/// Everything after the DSDT's header.
pub(super) fn definition_block() -> Vec<u8> {
    let s5 = package(&[byte(S5_TYPE), byte(0), byte(0), byte(0)]);
    let scope = [b"\\_SB_".to_vec(), pci_root()].concat();
    [name(b"\\_S5_", &s5), block(&[op::SCOPE], &scope)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_lengths_count_their_own_bytes() {
        assert_eq!(package_length(0), [1]);
        assert_eq!(package_length(0x3e), [0x3f]);
        assert_eq!(package_length(0x3f), [0x41, 0x04]);
        assert_eq!(package_length(0x100), [0x42, 0x10]);
    }

    #[test]
    fn the_pci_root_has_the_identity_every_kernel_knows() {
        assert_eq!(eisa_id(b"PNP0A03"), [0x0c, 0x41, 0xd0, 0x0a, 0x03]);
    }

    #[test]
    fn s5_is_a_package_of_four_bytes_a_kernel_can_find_by_its_name() {
        let block = definition_block();
        assert_eq!(block[..6], *b"\x08\\_S5_");
        assert_eq!(
            block[6..16],
            [0x12, 0x0a, 4, 0x0a, 0, 0x0a, 0, 0x0a, 0, 0x0a]
        );
    }
}
