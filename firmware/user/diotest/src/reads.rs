//! Cases about direct reads.

use rt::file::{File, Mode, Path};
use rt::pages::{PAGE_BYTES, Pages, all, fill};
use rt::queue::Queue;

use crate::{
    Case, Kind, Outcome, PATTERN, SECTOR_BYTES, SECTORS_PER_PAGE, check, check_moved, is_in_file,
};

pub(crate) const CASES: &[Case] = &[
    (
        "a direct read of a sector fills its sector of the page and no other",
        sectors,
    ),
    (
        "a direct read may begin at any sector of a page and cross pages",
        lengths,
    ),
    (
        "a direct read to pages that were never touched is as good",
        untouched,
    ),
    (
        "a direct read beyond the end moves what there is",
        end_of_file,
    ),
    ("queued reads all come back, each with its tag", many),
];

/// What the buffer holds before; the file has no such byte.
const OLD: u8 = 0x2a;

fn open() -> Result<File, rt::Errno> {
    File::open(PATTERN, Mode::Read, Path::Direct)
}

fn sectors() -> Outcome {
    let file = open()?;
    let page = Pages::private(1)?.leak();
    for kind in Kind::BOTH {
        for sector in 0..SECTORS_PER_PAGE {
            fill(page, OLD);
            let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
            // Another sector of the file than of the page, so that none can be taken for it.
            let offset = (start + 3 * SECTOR_BYTES) as u64;
            kind.read(&file, &page[start..end], offset)?;
            check(
                is_in_file(&page[start..end], PATTERN, offset)?,
                "other bytes than the file's",
            )?;
            check(all(&page[..start], OLD), "a store below the buffer")?;
            check(all(&page[end..], OLD), "a store above the buffer")?;
        }
    }
    Ok(())
}

fn lengths() -> Outcome {
    let file = open()?;
    let pages = Pages::private(4)?.leak();
    for kind in Kind::BOTH {
        for sector in 0..SECTORS_PER_PAGE {
            for count in [1, 2, 7, 8, 9, 16, 24 - sector] {
                fill(pages, OLD);
                let start = sector * SECTOR_BYTES;
                let end = start + count * SECTOR_BYTES;
                kind.read(&file, &pages[start..end], start as u64)?;
                let right = is_in_file(&pages[start..end], PATTERN, start as u64)?;
                check(right, "other bytes than the file's")?;
                check(all(&pages[..start], OLD), "a store below the buffer")?;
                check(all(&pages[end..], OLD), "a store above the buffer")?;
            }
        }
    }
    Ok(())
}

fn untouched() -> Outcome {
    let file = open()?;
    for kind in Kind::BOTH {
        let pages = Pages::private(2)?.leak();
        let buf = &pages[PAGE_BYTES - SECTOR_BYTES..PAGE_BYTES + SECTOR_BYTES];
        kind.read(&file, buf, 0)?;
        check(is_in_file(buf, PATTERN, 0)?, "other bytes than the file's")?;
        check(
            all(&pages[..PAGE_BYTES - SECTOR_BYTES], 0),
            "a store below the buffer",
        )?;
    }
    Ok(())
}

fn end_of_file() -> Outcome {
    const FILE_BYTES: u64 = 64 * 1024;
    let file = open()?;
    let page = Pages::private(1)?;
    let last = FILE_BYTES - SECTOR_BYTES as u64;
    check_moved(file.pread(page.bytes(), last)?, SECTOR_BYTES)?;
    check_moved(file.pread(page.bytes(), FILE_BYTES)?, 0)
}

fn many() -> Outcome {
    const DEPTH: usize = 16;
    let file = open()?;
    let pages = Pages::private(DEPTH)?.leak();
    let queue = Queue::new(DEPTH as u64)?;
    let page = |tag: usize| &pages[tag * PAGE_BYTES..(tag + 1) * PAGE_BYTES];
    for tag in 0..DEPTH {
        queue.read(&file, page(tag), (tag * SECTOR_BYTES) as u64, tag as u64)?;
    }
    let mut seen = [false; DEPTH];
    for _ in 0..DEPTH {
        let completion = queue.wait()?;
        check_moved(completion.result?, PAGE_BYTES)?;
        let tag = usize::try_from(completion.tag).expect("usize has 64 bits here");
        check(!seen[tag], "one read twice")?;
        seen[tag] = true;
        let offset = (tag * SECTOR_BYTES) as u64;
        check(
            is_in_file(page(tag), PATTERN, offset)?,
            "other bytes than the file's",
        )?;
    }
    check(queue.try_wait()?.is_none(), "a read that nobody submitted")
}
