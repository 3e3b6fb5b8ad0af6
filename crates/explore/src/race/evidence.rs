//! What the machine saw: frames, page-table entries and bytes, at the moment a sector moved.

use machine::{Machine, Piece};
use serde::Serialize;
use x86::VirtAddr;
use x86::paging::Bits;

/// An address space of the scenario: its page tables, and the buffer in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) cr3: u64,
    pub(super) buffer: VirtAddr,
}

/// What one address space's page tables say of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// Raw leaf entry, 0 if there is none.
    pub pte: u64,
    /// Physical address of the buffer, if it is mapped.
    pub address: Option<u64>,
    /// R/W of the leaf entry.
    pub writable: bool,
}

/// One sector of the transfer the race is about, as it moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectorSeen {
    /// Its number on the disk.
    pub lba: u64,
    /// Where in physical memory it went or came from.
    pub address: u64,
    /// When, in cycles.
    pub at_cycles: u64,
    /// What the parent's page tables said then.
    pub parent: Option<Mapping>,
    /// What the child's page tables said then, if it had announced itself.
    pub child: Option<Mapping>,
}

/// How two 512-byte buffers that should be equal differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Bytes that differ.
    pub count: usize,
    /// Offset of the first one.
    pub first: usize,
    /// What it should be.
    pub expected: u8,
    /// What it is.
    pub found: u8,
}

impl Difference {
    /// Compares; `None` if they are equal.
    #[must_use]
    pub fn between(expected: &[u8], found: &[u8]) -> Option<Self> {
        let differing = || {
            expected
                .iter()
                .zip(found)
                .enumerate()
                .filter(|(_, (e, f))| e != f)
        };
        let (first, (&expected, &found)) = differing().next()?;
        Some(Self {
            count: differing().count(),
            first,
            expected,
            found,
        })
    }
}

impl Space {
    /// What its page tables say now.
    pub(super) fn mapping(self, machine: &Machine) -> Mapping {
        let walk = machine.peek(self.cr3, self.buffer);
        let pte = walk
            .leaf
            .and_then(|_| walk.steps.last())
            .map_or(0, |step| step.raw);
        Mapping {
            pte,
            address: walk.pa.map(|pa| pa.get()),
            writable: Bits::from_bits_truncate(pte).contains(Bits::RW),
        }
    }

    /// The buffer's bytes as the process sees them, `None` if it does not have the page.
    pub(super) fn bytes(self, machine: &Machine, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        machine.read_guest(self.cr3, self.buffer, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// Reads the memory a transfer is about.
pub(super) fn read_pieces(machine: &Machine, pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let mut part = vec![0; piece.len as usize];
        let is_ram = x86::PhysAddr::try_new(piece.at)
            .is_some_and(|pa| machine.ram().read_bytes(pa, &mut part));
        if is_ram {
            bytes.extend(part);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_its_first_byte_and_counts_all() {
        assert_eq!(Difference::between(b"abcd", b"abcd"), None);
        let difference = Difference::between(b"abcd", b"aXcY").unwrap();
        assert_eq!((difference.count, difference.first), (2, 1));
        assert_eq!((difference.expected, difference.found), (b'b', b'X'));
    }
}
