//! The forward race: a direct *read* is in flight and the process forks.
//!
//! ```text
//!  page  │ sector 0 │ sector 1 │ …      all bytes 0x2a
//!            ↑           ↑
//!     parent stores   the disk writes here, and parent and child look here
//! ```
//!
//! The disk writes to the frame that the kernel looked up when the read began. `fork`
//! shares that frame. If the parent's store is answered with a copy, the parent goes on
//! in a frame the disk knows nothing of: its read is lost. And whoever still maps the old
//! frame, the child, sees bytes that it never read.
//!
//! Neighbours: `scene` for page and flags, `transfer` for the read.

use core::sync::atomic::{AtomicU8, Ordering};

use guest_abi::probe::Mark;
use guest_abi::syscall::signal::SIGSEGV;
use rt::file::{File, Mode, Path};
use rt::flags::FlagPage;
use rt::pages::{Pages, all, copy, equal};
use rt::process::{End, fork_with};
use rt::time::sleep_ms;

use crate::options::Options;
use crate::scene::{Child, GO, READY, Scene, TOUCHING, announce, announce_step};
use crate::transfer::{Direction, InFlight, SECTOR_BYTES, Sector, read_afresh, whole};
use crate::verdict::{Invalid, Verdict};

const FILE: &str = "data/pattern.bin";
const FILE_OFFSET: u64 = 0;
/// A sector that is read before, so that a throttled disk has no credit left.
const WARM_UP_OFFSET: u64 = 32 * 1024;

/// What the page holds before; the file has no such byte.
const OLD: u8 = 0x2a;
/// What the parent stores; any value does.
const STORED_BY_PARENT: u8 = 0x11;

/// The child found the file's bytes.
const CHILD_SAW_FILE: i32 = 1;
/// The child found what the page held before the read.
const CHILD_SAW_OLD: i32 = 0;
/// The child found something else.
const CHILD_SAW_OTHER: i32 = 2;

/// Whether the parent stores to the page while the read is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentStore {
    /// One byte, in another sector than the one that is read.
    Yes,
    /// Nothing: what the child sees then is the scenario's only question.
    No,
}

/// Page, flags, and where the parent puts the file's bytes for the child to compare.
#[derive(Clone, Copy)]
struct Stage {
    scene: Scene,
    expected: &'static [AtomicU8],
}

impl Stage {
    fn set(options: Options) -> Result<Self, Invalid> {
        let expected = Pages::shared(1).map_err(Invalid::failed("mmap of the answer"))?;
        let expected = &expected.leak()[..SECTOR_BYTES];
        Ok(Self {
            scene: Scene::set(options, OLD)?,
            expected,
        })
    }

    /// The sector that is read.
    fn buf(self) -> &'static [AtomicU8] {
        &self.scene.page[SECTOR_BYTES..2 * SECTOR_BYTES]
    }
}

/// Plays the parent, and the child in a process of its own.
///
/// # Errors
///
/// Why there is no verdict; no child is left behind.
pub fn run(options: Options, store: ParentStore) -> Result<Verdict, Invalid> {
    let stage = Stage::set(options)?;
    let mut transfer = start_read(stage, options)?;
    let child = fork_with(|| look_when_told(stage)).map_err(Invalid::failed("fork"))?;
    let mut child = Child::new(child);
    // A read that has ended by now may have ended before the fork, and then the child has
    // inherited the file's bytes as it should. To be exact is impossible from here; to
    // accuse nobody wrongly is not.
    let inherited = transfer
        .has_ended()
        .map_err(Invalid::failed("io_getevents"))?;
    stage.scene.wait_for(READY, &mut child)?;
    if store == ParentStore::Yes {
        stage.scene.page[0].store(STORED_BY_PARENT, Ordering::Relaxed);
    }
    announce_step(Mark::Release)?;
    whole(transfer.join(), "the read in flight")?;
    let lost = compare(stage)?;
    stage.scene.flags.raise(GO);
    let seen = child_saw_file(child.wait()?, stage.scene.flags)?;
    Ok(Verdict {
        lost,
        child_saw_dma: seen && !inherited,
        ..Verdict::default()
    })
}

/// Puts the read in flight.
fn start_read(stage: Stage, options: Options) -> Result<InFlight, Invalid> {
    let file = File::open(FILE, Mode::Read, Path::Direct).map_err(Invalid::failed("open"))?;
    read_afresh(FILE, WARM_UP_OFFSET, "the read before")?;
    announce(Mark::Parent, stage.buf())?;
    let sector = Sector {
        file,
        buf: stage.buf(),
        offset: FILE_OFFSET,
    };
    let transfer = sector.start(Direction::Read, options.kind);
    let transfer = transfer.map_err(Invalid::failed("starting the read"))?;
    sleep_ms(options.settle_ms);
    Ok(transfer)
}

/// Whether the parent's buffer differs from the file, whose bytes it leaves for the child.
///
/// The file is read only now: earlier, its bytes could have come to the buffer from there.
fn compare(stage: Stage) -> Result<bool, Invalid> {
    let from_file = read_afresh(FILE, FILE_OFFSET, "the read after")?;
    let lost = !equal(stage.buf(), from_file);
    copy(from_file, stage.expected);
    announce_step(Mark::ParentLooked)?;
    Ok(lost)
}

/// The child: its exit status says what it found.
fn look_when_told(stage: Stage) -> i32 {
    if announce(Mark::Child, stage.buf()).is_err() {
        return CHILD_SAW_OTHER;
    }
    stage.scene.flags.raise(READY);
    stage.scene.flags.wait(GO);
    stage.scene.flags.raise(TOUCHING);
    let found = look(stage);
    match announce_step(Mark::ChildLooked) {
        Ok(()) => found,
        Err(_) => CHILD_SAW_OTHER,
    }
}

fn look(stage: Stage) -> i32 {
    if equal(stage.buf(), stage.expected) {
        CHILD_SAW_FILE
    } else if all(stage.buf(), OLD) {
        CHILD_SAW_OLD
    } else {
        CHILD_SAW_OTHER
    }
}

/// What the child's end says. One that has no such page (`MADV_DONTFORK`) dies as it
/// looks, and has seen nothing.
fn child_saw_file(end: End, flags: FlagPage) -> Result<bool, Invalid> {
    match end {
        End::Exited(CHILD_SAW_FILE) => Ok(true),
        End::Exited(CHILD_SAW_OLD) => Ok(false),
        End::Signaled(SIGSEGV) if flags.is_raised(TOUCHING) => Ok(false),
        other => Err(Invalid::Child(other)),
    }
}
