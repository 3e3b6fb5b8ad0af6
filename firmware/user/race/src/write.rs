//! The backward race: the process has forked and a direct *write* is in flight.
//!
//! ```text
//!  page  │ sector 0 │ … │ sector 4 │ …      all bytes 0x00
//!            ↑               ↑
//!   the disk reads here,  parent stores 0x55: it is moved to a copy
//!   child stores 0xff
//! ```
//!
//! The disk reads the frame that the kernel looked up when the write began. The parent's
//! store moves the parent away from it. If the kernel then takes the child for the
//! frame's only user, the child's stores go straight into it, and from there to the disk,
//! in the name of the parent's `write`.
//!
//! Neighbours: `scene` for page and flags, `transfer` for the write.

use core::sync::atomic::{AtomicU8, Ordering};

use guest_abi::probe::Mark;
use guest_abi::syscall::signal::SIGSEGV;
use rt::file::{File, Mode, Path};
use rt::pages::{Pages, all, any, fill};
use rt::process::{End, fork_with};
use rt::time::sleep_ms;

use crate::options::Options;
use crate::scene::{Child, GO, LEAVE, STORED, Scene, TOUCHING, announce, announce_step};
use crate::transfer::{Direction, InFlight, SECTOR_BYTES, Sector, read_afresh, whole};
use crate::verdict::{Invalid, Verdict};

const FILE: &str = "data/scratch.bin";
const FILE_OFFSET: u64 = 0;
/// A sector that is read before, so that a throttled disk has no credit left.
const WARM_UP_OFFSET: u64 = 32 * 1024;

/// What the sector on the disk holds before: a write that never came is seen by it.
const BEFORE: u8 = 0x5a;
/// What the parent writes.
const PARENT: u8 = 0x00;
/// What the parent stores, to another sector of the page.
const STORED_BY_PARENT: u8 = 0x55;
/// Where: in the second half.
const PARENT_STORES_AT: usize = 2048;
/// What the child stores.
const CHILD: u8 = 0xff;

/// The child did all it should.
const CHILD_DONE: i32 = 0;
/// The child could not announce itself.
const CHILD_FAILED: i32 = 2;

/// Plays the parent, and the child in a process of its own.
///
/// # Errors
///
/// Why there is no verdict; no child is left behind.
pub fn run(options: Options) -> Result<Verdict, Invalid> {
    let scene = Scene::set(options, PARENT)?;
    write_before()?;
    let child = fork_with(|| store_when_told(scene)).map_err(Invalid::failed("fork"))?;
    let mut child = Child::new(child);
    let transfer = start_write(scene, options)?;
    scene.page[PARENT_STORES_AT].store(STORED_BY_PARENT, Ordering::Relaxed);
    scene.flags.raise(GO);
    let end = scene.wait_or_end(STORED, &mut child)?;
    announce_step(Mark::Release)?;
    whole(transfer.join(), "the write in flight")?;
    announce_step(Mark::ParentLooked)?;
    let on_disk = read_afresh(FILE, FILE_OFFSET, "the read after")?;
    scene.flags.raise(LEAVE);
    accept_end(end.map_or_else(|| child.wait(), Ok)?, scene)?;
    Ok(Verdict {
        lost: !all(on_disk, PARENT),
        disk_has_child_bytes: any(on_disk, CHILD),
        ..Verdict::default()
    })
}

fn open() -> Result<File, Invalid> {
    File::open(FILE, Mode::ReadWrite, Path::Direct).map_err(Invalid::failed("open"))
}

/// The part of the page that is written.
fn buf(scene: Scene) -> &'static [AtomicU8] {
    &scene.page[..SECTOR_BYTES]
}

/// Puts [`BEFORE`] on the disk, from a page of its own.
fn write_before() -> Result<(), Invalid> {
    let page = Pages::private(1).map_err(Invalid::failed("mmap"))?.leak();
    fill(page, BEFORE);
    let sector = Sector {
        file: open()?,
        buf: &page[..SECTOR_BYTES],
        offset: FILE_OFFSET,
    };
    whole(sector.transfer(Direction::Write), "the write before")
}

/// Puts the write in flight.
fn start_write(scene: Scene, options: Options) -> Result<InFlight, Invalid> {
    let file = open()?;
    read_afresh(FILE, WARM_UP_OFFSET, "the read before")?;
    announce(Mark::Parent, buf(scene))?;
    let sector = Sector {
        file,
        buf: buf(scene),
        offset: FILE_OFFSET,
    };
    let transfer = sector.start(Direction::Write, options.kind);
    let transfer = transfer.map_err(Invalid::failed("starting the write"))?;
    sleep_ms(options.settle_ms);
    Ok(transfer)
}

/// The child.
fn store_when_told(scene: Scene) -> i32 {
    scene.flags.wait(GO);
    if announce(Mark::Child, buf(scene)).is_err() {
        return CHILD_FAILED;
    }
    scene.flags.raise(TOUCHING);
    fill(buf(scene), CHILD);
    scene.flags.raise(STORED);
    scene.flags.wait(LEAVE);
    CHILD_DONE
}

/// One that has no such page (`MADV_DONTFORK`) dies as it stores, and that is fine.
fn accept_end(end: End, scene: Scene) -> Result<(), Invalid> {
    match end {
        End::Exited(CHILD_DONE) => Ok(()),
        End::Signaled(SIGSEGV) if scene.flags.is_raised(TOUCHING) => Ok(()),
        other => Err(Invalid::Child(other)),
    }
}
