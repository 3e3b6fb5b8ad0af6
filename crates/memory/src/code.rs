//! Which parts of RAM have been decoded as instructions, and when that went stale.
//!
//! Each 4 KiB page has a bitmap of 64-byte chunks that hold decoded code, and a
//! version. A write to a marked chunk, by whoever (CPU through any alias, DMA,
//! the page walker), raises the page's version and clears its marks, so a block
//! of decoded instructions is valid exactly while the version it was made from
//! is current. Real processors snoop their instruction caches to the same effect.
//!
//! **Spec:** SDM 3A "Self-Modifying Code", "Handling Self- and Cross-Modifying Code".

use std::cell::Cell;
use x86::addr::PAGE_LEN;

const CHUNK_BYTES: usize = 64;

/// Marks and versions, one of each per page of RAM.
#[derive(Debug)]
pub struct CodeMap {
    chunks: Box<[Cell<u64>]>,
    versions: Box<[Cell<u32>]>,
    epoch: Cell<u64>,
}

impl CodeMap {
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            chunks: vec![Cell::new(0); pages].into(),
            versions: vec![Cell::new(0); pages].into(),
            epoch: Cell::new(0),
        }
    }

    /// Marks `len` bytes at `offset` of page `page` as decoded.
    pub fn mark(&self, page: usize, offset: usize, len: usize) {
        let cell = &self.chunks[page];
        cell.set(cell.get() | chunk_mask(offset, len));
    }

    /// Version of page `page`; it changes when marked bytes in it are written.
    #[inline]
    #[must_use]
    pub fn version(&self, page: usize) -> u32 {
        self.versions[page].get()
    }

    /// Number of invalidations so far, over all pages.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Notes that `len` bytes at byte `offset` of RAM are being written.
    #[inline]
    pub(crate) fn written(&self, offset: usize, len: usize) {
        let page_bytes = PAGE_LEN;
        let page = offset / page_bytes;
        let first = offset % page_bytes;
        if first + len <= page_bytes {
            self.written_in_page(page, first, len);
        } else {
            self.written_across(offset, len);
        }
    }

    #[cold]
    fn written_across(&self, mut offset: usize, mut len: usize) {
        let page_bytes = PAGE_LEN;
        while len > 0 {
            let first = offset % page_bytes;
            let here = len.min(page_bytes - first);
            self.written_in_page(offset / page_bytes, first, here);
            offset += here;
            len -= here;
        }
    }

    #[inline]
    fn written_in_page(&self, page: usize, first: usize, len: usize) {
        let marked = self.chunks[page].get();
        if marked != 0 && len != 0 && marked & chunk_mask(first, len) != 0 {
            self.chunks[page].set(0);
            self.versions[page].set(self.versions[page].get().wrapping_add(1));
            self.epoch.set(self.epoch.get() + 1);
        }
    }
}

/// One bit per 64-byte chunk touched by `len` (at least 1) bytes at `offset`, inside one page.
const fn chunk_mask(offset: usize, len: usize) -> u64 {
    let first = offset / CHUNK_BYTES;
    let last = (offset + len - 1) / CHUNK_BYTES;
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

#[cfg(test)]
mod tests {
    use crate::Ram;
    use x86::PhysAddr;

    #[test]
    fn only_a_write_to_a_marked_chunk_makes_a_page_stale() {
        let ram = Ram::new(2 << 20).unwrap();
        ram.code().mark(3, 0x80, 16);
        assert!(ram.write(PhysAddr::new(0x307f), 1_u8));
        assert!(ram.write(PhysAddr::new(0x30c0), 1_u8));
        assert_eq!((ram.code().version(3), ram.code().epoch()), (0, 0));
        assert!(ram.write(PhysAddr::new(0x30bf), 1_u8));
        assert_eq!((ram.code().version(3), ram.code().epoch()), (1, 1));
        // The mark is gone until the bytes are decoded again.
        assert!(ram.write(PhysAddr::new(0x30bf), 1_u8));
        assert_eq!(ram.code().version(3), 1);
    }

    #[test]
    fn a_write_across_two_pages_makes_both_stale() {
        let ram = Ram::new(2 << 20).unwrap();
        ram.code().mark(3, 0xff0, 16);
        ram.code().mark(4, 0, 16);
        assert!(ram.write(PhysAddr::new(0x3ffc), u64::MAX));
        assert_eq!((ram.code().version(3), ram.code().version(4)), (1, 1));
    }
}
