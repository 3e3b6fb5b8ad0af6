//! Cases about direct writes. Each puts the scratch file's bytes back.

use core::sync::atomic::AtomicU8;

use rt::file::{File, Mode, Path};
use rt::pages::{PAGE_BYTES, Pages, all, copy, fill};

use crate::{
    Case, Failure, Kind, Outcome, PATTERN, SCRATCH, SECTOR_BYTES, SECTORS_PER_PAGE, check,
    check_moved, is_in_file,
};

pub(crate) const CASES: &[Case] = &[
    (
        "a direct write of a sector changes that sector of the file and no other",
        sectors,
    ),
    (
        "a direct write may begin at any sector of a page and cross pages",
        lengths,
    ),
    (
        "a direct write is seen by a buffered read before and after",
        coherent,
    ),
    (
        "a buffered write is seen by a direct read",
        buffered_then_direct,
    ),
];

/// Sectors of the scratch file that the cases use.
const USED_SECTORS: usize = 40;

/// The scratch file and the bytes it had; puts them back when dropped.
struct Scratch {
    file: File,
    before: &'static [AtomicU8],
}

impl Scratch {
    fn open() -> Result<Self, Failure> {
        let file = File::open(SCRATCH, Mode::ReadWrite, Path::Direct)?;
        let before = &Pages::private(USED_SECTORS / SECTORS_PER_PAGE)?.leak();
        Kind::Blocking.read(&file, before, 0)?;
        Ok(Self { file, before })
    }

    /// Bytes of the file as they are now, read directly.
    fn read(&self) -> Result<&'static [AtomicU8], Failure> {
        let now = Pages::private(USED_SECTORS / SECTORS_PER_PAGE)?.leak();
        Kind::Blocking.read(&self.file, now, 0)?;
        Ok(now)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let moved = self.file.pwrite(self.before, 0);
        assert_eq!(
            moved,
            Ok(self.before.len()),
            "the scratch file is as the test left it"
        );
    }
}

/// A buffer with the first bytes of the pattern file.
fn patterned(npages: usize) -> Result<&'static [AtomicU8], Failure> {
    let pages = Pages::private(npages)?.leak();
    let file = File::open(PATTERN, Mode::Read, Path::Direct)?;
    Kind::Blocking.read(&file, pages, 0)?;
    Ok(pages)
}

/// Writes `buf` to sector `sector` of the scratch file, and checks all of it.
fn write_and_check(
    scratch: &Scratch,
    kind: Kind,
    buf: &'static [AtomicU8],
    sector: usize,
) -> Outcome {
    let start = sector * SECTOR_BYTES;
    let expected = Pages::private(USED_SECTORS / SECTORS_PER_PAGE)?;
    copy(scratch.read()?, expected.bytes());
    copy(buf, &expected.bytes()[start..start + buf.len()]);
    kind.write(&scratch.file, buf, start as u64)?;
    let now = scratch.read()?;
    check(
        rt::pages::equal(now, expected.bytes()),
        "other bytes on the disk",
    )
}

fn sectors() -> Outcome {
    let scratch = Scratch::open()?;
    let page = patterned(1)?;
    for kind in Kind::BOTH {
        for (index, sector) in page.chunks(SECTOR_BYTES).enumerate() {
            write_and_check(&scratch, kind, sector, index + 3)?;
        }
    }
    Ok(())
}

fn lengths() -> Outcome {
    let scratch = Scratch::open()?;
    let pages = patterned(4)?;
    for kind in Kind::BOTH {
        for sector in 0..SECTORS_PER_PAGE {
            for count in [2, 9, 24 - sector] {
                let start = sector * SECTOR_BYTES;
                let buf = &pages[start..start + count * SECTOR_BYTES];
                write_and_check(&scratch, kind, buf, 2 * sector)?;
            }
        }
    }
    Ok(())
}

fn coherent() -> Outcome {
    let scratch = Scratch::open()?;
    let page = patterned(1)?;
    for kind in Kind::BOTH {
        // Brings the file's bytes into the page cache, which the write has to mind.
        check(
            is_in_file(scratch.before, SCRATCH, 0)?,
            "other bytes than the direct read's",
        )?;
        kind.write(&scratch.file, page, PAGE_BYTES as u64)?;
        check(
            is_in_file(page, SCRATCH, PAGE_BYTES as u64)?,
            "stale bytes after the write",
        )?;
        kind.write(&scratch.file, scratch.before, 0)?;
    }
    Ok(())
}

fn buffered_then_direct() -> Outcome {
    let scratch = Scratch::open()?;
    let buffered = File::open(SCRATCH, Mode::ReadWrite, Path::Buffered)?;
    let page = Pages::private(1)?;
    fill(page.bytes(), 0x77);
    let odd = &page.bytes()[..100];
    check_moved(buffered.pwrite(odd, 1000)?, odd.len())?;
    let now = scratch.read()?;
    check(all(&now[1000..1100], 0x77), "not the bytes written")?;
    let around = [(&now[..1000], 0), (&now[1100..], 1100)];
    let kept = around
        .iter()
        .all(|&(part, at)| rt::pages::equal(part, &scratch.before[at..at + part.len()]));
    check(kept, "other bytes around")
}
