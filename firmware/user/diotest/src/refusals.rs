//! Cases about direct transfers that the kernel must refuse.

use core::sync::atomic::AtomicU8;

use rt::Errno;
use rt::file::{File, Mode, Nowhere, Path};
use rt::pages::{PAGE_BYTES, Pages, Protection, Sharing, all};
use rt::queue::Queue;

use crate::{Case, Outcome, PATTERN, SECTOR_BYTES, check};

pub(crate) const CASES: &[Case] = &[
    (
        "address, length and offset that are no multiples of 512 are EINVAL",
        misaligned,
    ),
    (
        "a queued transfer that is misaligned is refused too",
        misaligned_queued,
    ),
    ("a read to where no memory is, is EFAULT", bad_address),
    (
        "a read to read-only memory is EFAULT, and stores nothing",
        read_only,
    ),
    ("a write to a file opened for reading is EBADF", wrong_mode),
];

fn open() -> Result<File, Errno> {
    File::open(PATTERN, Mode::Read, Path::Direct)
}

/// Buffers and offsets, each wrong in one way.
fn wrong(pages: &'static [AtomicU8]) -> [(&'static [AtomicU8], u64); 4] {
    [
        (&pages[1..1 + SECTOR_BYTES], 0),
        (&pages[256..256 + SECTOR_BYTES], 0),
        (&pages[..SECTOR_BYTES - 1], 0),
        (&pages[..SECTOR_BYTES], 511),
    ]
}

fn misaligned() -> Outcome {
    let file = open()?;
    let pages = Pages::private(1)?.leak();
    for (buf, offset) in wrong(pages) {
        check(
            file.pread(buf, offset) == Err(Errno::EINVAL),
            "another result",
        )?;
    }
    check(all(pages, 0), "a store in spite of it")
}

fn misaligned_queued() -> Outcome {
    let file = open()?;
    let pages = Pages::private(1)?.leak();
    for (buf, offset) in wrong(pages) {
        let queue = Queue::new(1)?;
        // Linux may refuse at once or in the event.
        let result = queue
            .read(&file, buf, offset, 0)
            .and_then(|()| queue.wait()?.result);
        check(result == Err(Errno::EINVAL), "another result")?;
    }
    check(all(pages, 0), "a store in spite of it")
}

fn bad_address() -> Outcome {
    let len = SECTOR_BYTES as u64;
    for path in [Path::Direct, Path::Buffered] {
        let file = File::open(PATTERN, Mode::Read, path)?;
        for at in [Nowhere::Null, Nowhere::UpperHalf, Nowhere::NonCanonical] {
            check(
                file.pread_nowhere(at, len, 0) == Err(Errno::EFAULT),
                "another result",
            )?;
        }
    }
    Ok(())
}

fn read_only() -> Outcome {
    let file = open()?;
    let pages = Pages::map(1, Sharing::Private, Protection::Read)?;
    let result = file.pread(&pages.bytes()[..PAGE_BYTES], 0);
    check(result == Err(Errno::EFAULT), "another result")?;
    check(all(pages.bytes(), 0), "a store in spite of it")
}

fn wrong_mode() -> Outcome {
    let page = Pages::private(1)?;
    let result = open()?.pwrite(&page.bytes()[..SECTOR_BYTES], 0);
    check(result == Err(Errno::EBADF), "another result")
}
