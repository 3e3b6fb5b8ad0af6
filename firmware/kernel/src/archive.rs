//! The files: a `tar` archive in the first partition of the disk.
//!
//! Its headers are read once, at boot. A file's bytes lie together from a sector
//! boundary on, so a file is a run of sectors and can be written in place.
//!
//! Not modelled: creating, growing and deleting files; directories; names above 255
//! bytes; other members than regular files; locking between two writers of parts of
//! one sector, of which the last one wins.
//!
//! **Spec:** POSIX "pax", section "ustar Interchange Format"; the partition table of
//! the PC's master boot record.

use crate::block::{self, Direction, DiskError, SECTOR_BYTES, Segment};
use ahci_spec::ata;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use metal::SpinLock;
use metal::dma::DmaBuffer;

/// Bytes moved at a time through the kernel's own memory.
const BOUNCE_BYTES: u64 = 64 << 10;

/// A file of the archive.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name, without leading `/` or `./`.
    pub(crate) name: String,
    /// First sector.
    pub(crate) lba: u64,
    /// Length.
    pub(crate) size_bytes: u64,
}

static ENTRIES: SpinLock<Vec<Arc<Entry>>> = SpinLock::new(Vec::new());

/// Reads the partition table and the archive's headers; returns the number of files.
///
/// # Panics
///
/// If they cannot be read: there is nothing to run then.
pub(crate) fn init() -> usize {
    let mut lba = first_partition();
    let mut found = Vec::new();
    while let Some(member) = Header::read(lba) {
        let data = lba + 1;
        lba = data + member.size_bytes.div_ceil(SECTOR_BYTES);
        if member.is_file {
            found.push(Arc::new(Entry {
                name: member.name,
                lba: data,
                size_bytes: member.size_bytes,
            }));
        }
    }
    let count = found.len();
    *ENTRIES.lock() = found;
    count
}

/// The file called `name`; leading `/` and `./` do not count.
pub(crate) fn find(name: &str) -> Option<Arc<Entry>> {
    let name = plain_name(name);
    let entries = ENTRIES.lock();
    entries.iter().find(|entry| entry.name == name).cloned()
}

/// File `index`, in the order of the archive.
pub(crate) fn nth(index: usize) -> Option<Arc<Entry>> {
    ENTRIES.lock().get(index).cloned()
}

/// Reads from `offset` on; less than `into` only at the end of the file.
pub(crate) fn read(entry: &Entry, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
    let mut done = 0;
    while let Some(window) = Window::of(entry, offset + done as u64, into.len() - done) {
        let bounce = window.load(entry)?;
        bounce.read(window.skip, &mut into[done..done + window.len]);
        done += window.len;
    }
    Ok(done)
}

/// Writes at `offset` and on, up to the end of the file.
pub(crate) fn write(entry: &Entry, offset: u64, from: &[u8]) -> Result<usize, DiskError> {
    let mut done = 0;
    while let Some(window) = Window::of(entry, offset + done as u64, from.len() - done) {
        // What of the first and last sector is not written must stay.
        let bounce = window.load(entry)?;
        bounce.write(window.skip, &from[done..done + window.len]);
        window.store(entry, &bounce)?;
        done += window.len;
    }
    Ok(done)
}

/// The part of a file moved at once: whole sectors around the bytes wanted.
struct Window {
    /// First sector, counted from the file's.
    sector: u64,
    sectors: u64,
    /// Where the bytes wanted begin.
    skip: usize,
    len: usize,
}

impl Window {
    /// The first window of `len` bytes from `offset` on; `None` when there are none.
    fn of(entry: &Entry, offset: u64, len: usize) -> Option<Self> {
        let rest = entry.size_bytes.saturating_sub(offset);
        let skip = offset % SECTOR_BYTES;
        let len = rest.min(len as u64).min(BOUNCE_BYTES - skip);
        (len > 0).then_some(Self {
            sector: offset / SECTOR_BYTES,
            sectors: (skip + len).div_ceil(SECTOR_BYTES),
            skip: usize::try_from(skip).ok()?,
            len: usize::try_from(len).ok()?,
        })
    }

    fn load(&self, entry: &Entry) -> Result<DmaBuffer, DiskError> {
        let len = usize::try_from(self.sectors * SECTOR_BYTES).map_err(|_| DiskError)?;
        let bounce = DmaBuffer::new(len).ok_or(DiskError)?;
        self.transfer(Direction::Read, entry, &bounce)?;
        Ok(bounce)
    }

    fn store(&self, entry: &Entry, bounce: &DmaBuffer) -> Result<(), DiskError> {
        self.transfer(Direction::Write, entry, bounce)
    }

    fn transfer(
        &self,
        direction: Direction,
        entry: &Entry,
        bounce: &DmaBuffer,
    ) -> Result<(), DiskError> {
        let segment = Segment {
            base: bounce.physical(),
            len_bytes: u32::try_from(self.sectors * SECTOR_BYTES).map_err(|_| DiskError)?,
        };
        block::transfer(direction, entry.lba + self.sector, Vec::from([segment]))
    }
}

fn read_sector(lba: u64) -> [u8; ata::SECTOR_BYTES] {
    let buffer = DmaBuffer::new(ata::SECTOR_BYTES).expect("the heap is fresh");
    let segment = Segment::sector(buffer.physical());
    block::transfer(Direction::Read, lba, Vec::from([segment]))
        .unwrap_or_else(|_| panic!("sector {lba} cannot be read"));
    let mut sector = [0; ata::SECTOR_BYTES];
    buffer.read(0, &mut sector);
    sector
}

/// First sector of the first partition in use.
fn first_partition() -> u64 {
    const TABLE: usize = 446;
    const ENTRY_BYTES: usize = 16;
    const KIND: usize = 4;
    let sector = read_sector(0);
    assert!(
        sector[510..] == [0x55, 0xaa],
        "the disk has no partition table"
    );
    let entry = sector[TABLE..510]
        .chunks_exact(ENTRY_BYTES)
        .find(|entry| entry[KIND] != 0)
        .expect("the disk has a partition");
    u64::from(u32::from_le_bytes([
        entry[8], entry[9], entry[10], entry[11],
    ]))
}

/// What a member's header says.
struct Header {
    name: String,
    size_bytes: u64,
    is_file: bool,
}

impl Header {
    /// The header at `lba`; `None` at the archive's end.
    ///
    /// # Panics
    ///
    /// If there is something else.
    fn read(lba: u64) -> Option<Self> {
        let sector = read_sector(lba);
        if sector[0] == 0 {
            return None;
        }
        assert!(
            sector[257..262] == *b"ustar",
            "sector {lba} is no ustar header"
        );
        let prefix = text(&sector[345..500]);
        let mut name = text(&sector[..100]);
        if !prefix.is_empty() && sector[262] == 0 {
            name = prefix + "/" + &name;
        }
        Some(Self {
            name: plain_name(&name).to_string(),
            size_bytes: octal(&sector[124..136]),
            is_file: matches!(sector[156], b'0' | 0),
        })
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

fn octal(field: &[u8]) -> u64 {
    let digits = field.iter().filter(|byte| (b'0'..=b'7').contains(*byte));
    digits.fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0'))
}

fn plain_name(name: &str) -> &str {
    let mut name = name;
    loop {
        let shorter = name.strip_prefix('/').or_else(|| name.strip_prefix("./"));
        match shorter {
            Some(rest) => name = rest,
            None => return name,
        }
    }
}
