//! Cases about memory across `fork`: what is copied, what is shared, what is missing.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use guest_abi::syscall::signal::SIGSEGV;
use rt::flags::{Flag, FlagPage, Waited};
use rt::pages::{
    ForkAdvice, PAGE_BYTES, Pages, Protection, Sharing, advise_fork, all, fill, page_info,
};
use rt::process::{End, fork_with};
use rt::system;

use crate::{Case, Outcome, check, check_end};

pub(crate) const CASES: &[Case] = &[
    ("fresh pages are zero", fresh_pages),
    ("a child's stores do not reach its parent", child_stores),
    (
        "a parent's stores after fork do not reach its child",
        parent_stores,
    ),
    (
        "a page that three generations share is copied for each that stores",
        generations,
    ),
    ("stack and static data are copied too", stack_and_statics),
    ("shared pages carry stores both ways", shared_pages),
    (
        "a store to a read-only page is SIGSEGV, in the child only",
        read_only,
    ),
    ("an access to an unmapped page is SIGSEGV", unmapped),
    ("a child has no page that MADV_DONTFORK names", dont_fork),
    ("MADV_DOFORK gives it back", do_fork),
    (
        "the last of two that share a page stores without a copy",
        reuse,
    ),
    ("unmapping gives all frames back", unmapping),
];

const OLD: u8 = 0x2a;
const NEW: u8 = 0x55;

/// Parent to child.
const GO: Flag = Flag(0);
/// Child to parent.
const READY: Flag = Flag(1);

fn fresh_pages() -> Outcome {
    // Twice, so that the second time gets frames that were in use.
    for _ in 0..2 {
        let pages = Pages::private(8)?;
        check(all(pages.bytes(), 0), "other bytes")?;
        fill(pages.bytes(), OLD);
    }
    Ok(())
}

fn child_stores() -> Outcome {
    let pages = Pages::private(4)?;
    fill(pages.bytes(), OLD);
    let child = fork_with(|| {
        let inherited = all(pages.bytes(), OLD);
        fill(pages.bytes(), NEW);
        i32::from(inherited && all(pages.bytes(), NEW))
    })?;
    check_end(child.wait()?, End::Exited(1))?;
    check(all(pages.bytes(), OLD), "the child's bytes in the parent")
}

fn parent_stores() -> Outcome {
    let pages = Pages::private(4)?;
    let flags = FlagPage::new()?;
    fill(pages.bytes(), OLD);
    let child = fork_with(|| {
        flags.wait(GO);
        i32::from(all(pages.bytes(), OLD))
    })?;
    fill(pages.bytes(), NEW);
    flags.raise(GO);
    check_end(child.wait()?, End::Exited(1))?;
    check(all(pages.bytes(), NEW), "the parent's own stores are gone")
}

fn generations() -> Outcome {
    let pages = Pages::private(1)?;
    fill(pages.bytes(), 1);
    let child = fork_with(|| {
        let grandchild = fork_with(|| {
            let inherited = all(pages.bytes(), 1);
            fill(pages.bytes(), 3);
            i32::from(inherited && all(pages.bytes(), 3))
        });
        fill(pages.bytes(), 2);
        let end = grandchild.and_then(|grandchild| grandchild.wait());
        i32::from(end == Ok(End::Exited(1)) && all(pages.bytes(), 2))
    })?;
    check_end(child.wait()?, End::Exited(1))?;
    check(all(pages.bytes(), 1), "a descendant's bytes")
}

fn stack_and_statics() -> Outcome {
    static IN_DATA: AtomicU32 = AtomicU32::new(1);
    let on_stack = AtomicU32::new(1);
    let child = fork_with(|| {
        IN_DATA.store(2, Relaxed);
        on_stack.store(2, Relaxed);
        0
    })?;
    check_end(child.wait()?, End::Exited(0))?;
    check(
        IN_DATA.load(Relaxed) == 1,
        "the child's store in static data",
    )?;
    check(
        on_stack.load(Relaxed) == 1,
        "the child's store on the stack",
    )
}

fn shared_pages() -> Outcome {
    let pages = Pages::shared(2)?;
    let flags = FlagPage::new()?;
    let bytes = pages.bytes();
    // The second page is touched by nobody before the fork.
    fill(&bytes[..PAGE_BYTES], OLD);
    let child = fork_with(|| {
        let inherited = all(&bytes[..PAGE_BYTES], OLD);
        fill(&bytes[PAGE_BYTES..], NEW);
        flags.raise(READY);
        flags.wait(GO);
        i32::from(inherited && all(&bytes[..PAGE_BYTES], NEW))
    })?;
    check(
        flags.wait_for_child(READY, child)? == Waited::Raised,
        "the child ended too early",
    )?;
    fill(&bytes[..PAGE_BYTES], NEW);
    flags.raise(GO);
    check_end(child.wait()?, End::Exited(1))?;
    check(all(&bytes[PAGE_BYTES..], NEW), "not the child's bytes")
}

fn read_only() -> Outcome {
    let pages = Pages::map(1, Sharing::Private, Protection::Read)?;
    check(all(pages.bytes(), 0), "other bytes")?;
    check_end(store_in_a_child(pages.bytes())?, End::Signaled(SIGSEGV))
}

fn unmapped() -> Outcome {
    let pages = Pages::private(1)?;
    fill(pages.bytes(), OLD);
    advise_fork(pages.bytes(), ForkAdvice::DontFork)?;
    let child = fork_with(|| i32::from(pages.bytes()[0].load(Relaxed)))?;
    check_end(child.wait()?, End::Signaled(SIGSEGV))
}

fn dont_fork() -> Outcome {
    let pages = Pages::private(3)?;
    let bytes = pages.bytes();
    fill(bytes, OLD);
    let middle = &bytes[PAGE_BYTES..2 * PAGE_BYTES];
    advise_fork(middle, ForkAdvice::DontFork)?;
    check_end(store_in_a_child(middle)?, End::Signaled(SIGSEGV))?;
    check_end(store_in_a_child(&bytes[..PAGE_BYTES])?, End::Exited(0))?;
    check_end(store_in_a_child(&bytes[2 * PAGE_BYTES..])?, End::Exited(0))?;
    check(all(bytes, OLD), "other bytes in the parent")
}

fn do_fork() -> Outcome {
    let pages = Pages::private(1)?;
    advise_fork(pages.bytes(), ForkAdvice::DontFork)?;
    advise_fork(pages.bytes(), ForkAdvice::DoFork)?;
    check_end(store_in_a_child(pages.bytes())?, End::Exited(0))
}

/// Stores to the first byte in a child: how that ended.
fn store_in_a_child(bytes: &[AtomicU8]) -> Result<End, rt::Errno> {
    fork_with(|| {
        bytes[0].store(NEW, Relaxed);
        0
    })?
    .wait()
}

fn reuse() -> Outcome {
    let pages = Pages::private(1)?;
    fill(pages.bytes(), OLD);
    let before = page_info(&pages.bytes()[0])?;
    check_end(fork_with(|| 0)?.wait()?, End::Exited(0))?;
    fill(pages.bytes(), NEW);
    let after = page_info(&pages.bytes()[0])?;
    check(
        frame(before.pte) == frame(after.pte),
        "a copy that nobody needed",
    )?;
    check(after.mapcount == 1, "another number of mappings than one")
}

/// Bits 51:12 of an entry.
fn frame(pte: u64) -> u64 {
    pte & 0x000f_ffff_ffff_f000
}

fn unmapping() -> Outcome {
    const NPAGES: usize = 64;
    // The first round lets page tables grow, which may stay.
    map_and_touch(NPAGES)?;
    let before = system::info()?.free_frames;
    map_and_touch(NPAGES)?;
    check(
        system::info()?.free_frames == before,
        "another number of free frames",
    )
}

fn map_and_touch(npages: usize) -> Outcome {
    let pages = Pages::private(npages)?;
    for page in pages.bytes().chunks(PAGE_BYTES) {
        page[0].store(NEW, Relaxed);
    }
    Ok(())
}
