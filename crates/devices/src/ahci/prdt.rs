//! The scatter list of a command: from PRDT entries in memory to pieces in order.
//!
//! Beside `command`, which fetches it, and the engine, which
//! takes pieces from it sector by sector. Regions may have any even length, so a
//! sector may be split over several, and a region may hold parts of two sectors.
//!
//! **Spec:** AHCI 1.3.1 section 4.2.3.3 "Physical Region Descriptor Table".

use ahci_spec::PrdtEntry;
use memory::{Dma, DmaError};
use zerocopy::{FromZeros, IntoBytes};

/// A bus access does not cross a boundary of this many bytes, so a piece lies in one frame.
///
/// **Spec:** PCI Express Base "TLPs with Data Payloads - Rules".
const BOUNDARY_BYTES: u64 = 4096;

/// A run of bytes in memory, inside one 4 KiB frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// First byte: a physical address as the device puts it on the bus. It may be no RAM.
    pub at: u64,
    /// Length in bytes, even.
    pub len: u32,
}

/// A piece, and whether it ends a region whose I bit is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub piece: Piece,
    /// PxIS.DPS is due once the piece is done.
    pub interrupt: bool,
}

/// A fetched scatter list and how far it is used up.
#[derive(Clone, Debug, Default)]
pub struct ScatterList {
    regions: Vec<PrdtEntry>,
    region: usize,
    /// Bytes of `regions[region]` already given out; less than its length.
    used: u32,
}

impl ScatterList {
    /// Fetches entries at `prdt` until they describe `bytes` bytes, and not more than `entries` of them.
    ///
    /// # Errors
    ///
    /// [`DmaError`] if an entry lies where memory cannot be reached.
    pub fn fetch(dma: &Dma<'_>, prdt: u64, entries: u16, bytes: u64) -> Result<Self, DmaError> {
        let mut regions = Vec::new();
        let mut described = 0;
        while described < bytes && regions.len() < usize::from(entries) {
            let mut entry = PrdtEntry::new_zeroed();
            let at = prdt.wrapping_add(PrdtEntry::BYTES * regions.len() as u64);
            dma.read(at, entry.as_mut_bytes())?;
            described += u64::from(entry.len_bytes());
            regions.push(entry);
        }
        Ok(Self {
            regions,
            region: 0,
            used: 0,
        })
    }

    /// Takes the next piece of at most `most` bytes, or `None` when the list is used up.
    pub fn next(&mut self, most: u32) -> Option<Step> {
        let region = self.regions.get(self.region)?;
        // The bus wraps at 2^64; where that is no RAM, the access says so.
        let at = region.address().wrapping_add(u64::from(self.used));
        let to_boundary = u32::try_from(BOUNDARY_BYTES - at % BOUNDARY_BYTES).unwrap_or(u32::MAX);
        let rest = region.len_bytes() - self.used;
        let len = rest.min(most).min(to_boundary);
        let mut interrupt = false;
        if len == rest {
            interrupt = region.interrupts();
            self.region += 1;
            self.used = 0;
        } else {
            self.used += len;
        }
        Some(Step {
            piece: Piece { at, len },
            interrupt,
        })
    }

    /// All pieces of the first `bytes` bytes, whatever has been taken already.
    #[must_use]
    pub fn pieces(&self, bytes: u64) -> Vec<Piece> {
        let mut all = Self {
            regions: self.regions.clone(),
            region: 0,
            used: 0,
        };
        let mut rest = bytes;
        let mut pieces = Vec::new();
        while rest > 0 {
            let most = u32::try_from(rest).unwrap_or(u32::MAX);
            let Some(step) = all.next(most) else { break };
            rest -= u64::from(step.piece.len);
            pieces.push(step.piece);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(regions: &[(u64, u32)]) -> ScatterList {
        let regions = regions
            .iter()
            .map(|&(a, l)| PrdtEntry::new(a, l).unwrap())
            .collect();
        ScatterList {
            regions,
            region: 0,
            used: 0,
        }
    }

    fn piece(at: u64, len: u32) -> Piece {
        Piece { at, len }
    }

    #[test]
    fn two_bytes_and_five_hundred_and_ten_make_a_sector() {
        let mut list = list(&[(0x1ffe, 2), (0x9000, 510)]);
        assert_eq!(list.next(512).unwrap().piece, piece(0x1ffe, 2));
        assert_eq!(list.next(510).unwrap().piece, piece(0x9000, 510));
        assert_eq!(list.next(512), None);
    }

    #[test]
    fn a_region_across_a_frame_boundary_is_taken_frame_by_frame() {
        let list = list(&[(0x1f00, 0x1200)]);
        let frames = [
            piece(0x1f00, 0x100),
            piece(0x2000, 0x1000),
            piece(0x3000, 0x100),
        ];
        assert_eq!(list.pieces(u64::MAX), frames);
        assert_eq!(
            list.pieces(0x180),
            [piece(0x1f00, 0x100), piece(0x2000, 0x80)]
        );
    }

    #[test]
    fn every_way_to_cut_two_sectors_covers_each_byte_once_in_order() {
        for cut in (2..1024).step_by(2) {
            let mut list = list(&[(0x1000, cut), (0x2000, 1024 - cut)]);
            let mut seen = Vec::new();
            for _ in 0..2 {
                let mut rest = 512;
                while rest > 0 {
                    let step = list.next(rest).unwrap();
                    seen.extend((0..u64::from(step.piece.len)).map(|i| step.piece.at + i));
                    rest -= step.piece.len;
                }
            }
            let first = (0..u64::from(cut)).map(|i| 0x1000 + i);
            let second = (0..u64::from(1024 - cut)).map(|i| 0x2000 + i);
            assert!(seen.into_iter().eq(first.chain(second)), "cut at {cut}");
        }
    }

    #[test]
    fn a_region_asks_for_its_interrupt_with_its_last_piece_only() {
        let mut list = list(&[(0x1000, 1024)]);
        list.regions[0] = list.regions[0].with_interrupt();
        assert!(!list.next(512).unwrap().interrupt);
        assert!(list.next(512).unwrap().interrupt);
    }

    #[test]
    fn a_region_at_the_end_of_the_address_space_wraps_without_harm() {
        let list = list(&[(u64::MAX - 1, 4)]);
        assert_eq!(list.pieces(4), [piece(u64::MAX - 1, 2), piece(0, 2)]);
    }
}
