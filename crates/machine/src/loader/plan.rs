//! What goes where in memory: claimed first, written last, so that a refused kernel leaves RAM untouched.
//!
//! Also the memory map all protocols hand over. Low memory as on a PC:
//!
//! | range | what |
//! |---|---|
//! | 0–FFFh | vectors and BIOS data of real mode: nothing is loaded there |
//! | 6000h–9FFFFh | boot data, where the kernel leaves room |
//! | E0000h–FFFFFh | firmware: tables are found by scanning it; reserved in the map |

use super::error::LoadError;
use memory::Ram;
use std::borrow::Cow;
use std::ops::Range;
use x86::PhysAddr;
use x86::pvh::{E820_RAM, E820_RESERVED};

/// Where firmware tables may lie.
pub(crate) const FIRMWARE: Range<u64> = 0xe_0000..0x10_0000;
/// Where boot data is put.
pub(super) const BOOT_DATA: Range<u64> = 0x6000..0xa_0000;
/// Vectors and BIOS data of real mode.
const REAL_MODE: Range<u64> = 0..0x1000;
/// First byte above the first megabyte.
pub(super) const HIGH_MEMORY: u64 = 0x10_0000;
/// What a 32-bit field can name.
pub(super) const FOUR_GIB: u64 = 1 << 32;

/// Where to look for room first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// The lowest address.
    Low,
    /// The highest address.
    High,
}

/// One part: claimed memory and what will be written to it; the rest of it is zeroed.
#[derive(Debug)]
struct Part<'f> {
    what: String,
    range: Range<u64>,
    bytes: Cow<'f, [u8]>,
}

/// Claims on RAM, not yet carried out.
#[derive(Debug)]
pub(super) struct Plan<'f> {
    ram: &'f Ram,
    parts: Vec<Part<'f>>,
}

impl<'f> Plan<'f> {
    pub(super) const fn new(ram: &'f Ram) -> Self {
        Self {
            ram,
            parts: Vec::new(),
        }
    }

    /// Claims `len` bytes at `at`, to hold `bytes` and then zeros.
    pub(super) fn claim(
        &mut self,
        what: &str,
        at: u64,
        bytes: impl Into<Cow<'f, [u8]>>,
        len: u64,
    ) -> Result<(), LoadError> {
        let bytes = bytes.into();
        let file = bytes.len() as u64;
        if file > len {
            return Err(LoadError::FileLargerThanMemory {
                what: what.to_owned(),
                file,
                memory: len,
            });
        }
        let range = at..at.saturating_add(len);
        let is_ram = PhysAddr::try_new(at).is_some_and(|pa| self.ram.contains(pa, len));
        if !is_ram {
            return Err(LoadError::OutsideRam {
                what: what.to_owned(),
                at,
                end: range.end,
            });
        }
        if let Some((first, taken)) = self.taken().find(|(_, taken)| overlap(taken, &range)) {
            let (first, at) = (first.to_owned(), at.max(taken.start));
            return Err(LoadError::Overlap {
                first,
                second: what.to_owned(),
                at,
            });
        }
        self.parts.push(Part {
            what: what.to_owned(),
            range,
            bytes,
        });
        Ok(())
    }

    /// Puts `bytes` into free memory inside `within`; where.
    pub(super) fn place(
        &mut self,
        what: &str,
        bytes: impl Into<Cow<'f, [u8]>>,
        align: u64,
        within: Range<u64>,
        prefer: Prefer,
    ) -> Result<u64, LoadError> {
        let bytes = bytes.into();
        let len = (bytes.len() as u64).max(1);
        let at = self.room(what, len, align, within, prefer)?;
        self.parts.push(Part {
            what: what.to_owned(),
            range: at..at + len,
            bytes,
        });
        Ok(at)
    }

    /// Finds free memory inside `within`, without claiming it.
    pub(super) fn room(
        &self,
        what: &str,
        len: u64,
        align: u64,
        within: Range<u64>,
        prefer: Prefer,
    ) -> Result<u64, LoadError> {
        let found = self.find(len, align, &within, prefer);
        found.ok_or_else(|| LoadError::NoRoom {
            what: what.to_owned(),
            len,
            from: within.start,
            to: within.end,
        })
    }

    /// Puts boot data below the video window; where.
    pub(super) fn place_low(
        &mut self,
        what: &str,
        bytes: Vec<u8>,
        align: u64,
    ) -> Result<u32, LoadError> {
        let at = self.place(what, bytes, align, BOOT_DATA, Prefer::Low)?;
        Ok(u32::try_from(at).expect("below 1 MiB"))
    }

    /// First address after everything claimed above the first megabyte.
    pub(super) fn end(&self) -> u64 {
        self.parts
            .iter()
            .map(|p| p.range.end)
            .max()
            .unwrap_or(0)
            .max(HIGH_MEMORY)
    }

    /// Whether `len` bytes at `at` are RAM and free.
    pub(super) fn is_free(&self, at: u64, len: u64) -> bool {
        let range = at..at.saturating_add(len);
        PhysAddr::try_new(at).is_some_and(|pa| self.ram.contains(pa, len))
            && !self.taken().any(|(_, taken)| overlap(&taken, &range))
    }

    fn find(&self, len: u64, align: u64, within: &Range<u64>, prefer: Prefer) -> Option<u64> {
        let ends = self.taken().map(|(_, taken)| taken);
        let ram = self
            .ram
            .ranges()
            .into_iter()
            .map(|(base, len)| base.get()..base.get() + len);
        // Free memory begins, and ends, at an edge of something.
        let edges = ends.chain(ram).chain([within.clone()]);
        let fits =
            |at: &u64| *at >= within.start && *at + len <= within.end && self.is_free(*at, len);
        match prefer {
            Prefer::Low => edges
                .flat_map(|e| [e.start, e.end])
                .map(|e| e.next_multiple_of(align))
                .filter(fits)
                .min(),
            Prefer::High => edges
                .flat_map(|e| [e.start, e.end])
                .filter_map(|e| Some(e.checked_sub(len)? / align * align))
                .filter(fits)
                .max(),
        }
    }

    fn taken(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        let fixed = [
            ("real-mode memory", REAL_MODE),
            ("the firmware area", FIRMWARE),
        ];
        fixed.into_iter().chain(
            self.parts
                .iter()
                .map(|p| (p.what.as_str(), p.range.clone())),
        )
    }

    /// Writes everything.
    pub(super) fn carry_out(self) {
        for part in self.parts {
            let at = PhysAddr::new(part.range.start);
            let rest = part.range.end - part.range.start - part.bytes.len() as u64;
            let done = self.ram.write_bytes(at, &part.bytes)
                && zero(self.ram, at.add(part.bytes.len() as u64), rest);
            assert!(done, "claimed: it is RAM");
        }
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn zero(ram: &Ram, at: PhysAddr, len: u64) -> bool {
    const CHUNK: [u8; 4096] = [0; 4096];
    let mut done = 0;
    while done < len {
        let n = usize::try_from(len - done)
            .unwrap_or(usize::MAX)
            .min(CHUNK.len());
        if !ram.write_bytes(at.add(done), &CHUNK[..n]) {
            return false;
        }
        done += n as u64;
    }
    true
}

/// One range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapEntry {
    pub(super) base: u64,
    pub(super) len: u64,
    /// E820 type.
    pub(super) kind: u32,
}

/// The memory map, ascending: RAM without the firmware area, then what is reserved.
pub(super) fn memory_map(ram: &Ram) -> Vec<MapEntry> {
    let reserved = |range: Range<u64>| MapEntry {
        base: range.start,
        len: range.end - range.start,
        kind: E820_RESERVED,
    };
    let mut map = vec![reserved(FIRMWARE)];
    for (base, len) in ram.ranges() {
        let (start, end) = (base.get(), base.get() + len);
        let start = if start < FIRMWARE.end && end > FIRMWARE.start {
            FIRMWARE.end
        } else {
            start
        };
        map.push(MapEntry {
            base: start,
            len: end - start,
            kind: E820_RAM,
        });
    }
    map.sort_by_key(|entry| entry.base);
    map
}
