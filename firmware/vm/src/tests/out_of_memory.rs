//! No frame is free: the call fails and has changed nothing it promised to keep.

use super::world::World;
use crate::policy::FrameState;
use crate::{FaultError, ForkAdvice, GupWrite, MapError, OutOfMemory, Placement, Prot, Sharing};
use x86::addr::PAGE_BYTES;

const LOW: u64 = 0x10_0000;
const HIGH: u64 = 0x5000_0000_0000;

/// Private, shared, copied before, pinned and skipped pages in two distant places.
fn busy_parent(policy: &str) -> (World, usize) {
    let mut world = World::new(policy, 128);
    let parent = world.spawn();
    world.mmap(parent, LOW, 4, Sharing::Private);
    world.mmap(parent, HIGH, 3, Sharing::Shared);
    world.mmap(parent, HIGH + 0x4000_0000, 2, Sharing::Private);
    for n in 0..4 {
        world.store(parent, 0, LOW + n * PAGE_BYTES, n);
    }
    world.store(parent, 0, HIGH + 0x4000_0000, 9);
    world.fork(parent);
    world.store(parent, 0, LOW, 10);
    world.gup(parent, LOW, 3, GupWrite::Write);
    (world, parent)
}

/// Everything a fork of `parent` could leave a trace in.
fn picture(world: &World, parent: usize) -> (u64, Vec<u64>, Vec<FrameState>) {
    let places = (0..4)
        .map(|n| LOW + n * PAGE_BYTES)
        .chain((0..3).map(|n| HIGH + n * PAGE_BYTES))
        .chain([HIGH + 0x4000_0000]);
    let ptes: Vec<_> = places.map(|at| world.pte(parent, at)).collect();
    let states = ptes.iter().map(|p| world.mem.frames.state(p.frame()));
    let states = states.collect();
    let raw = ptes.iter().map(|pte| pte.0).collect();
    (world.mem.frames.free(), raw, states)
}

#[test]
fn a_fork_that_fails_at_any_allocation_leaves_the_parent_as_it_was() {
    for (policy, copies) in [("baseline", 0), ("copy-at-fork+decow-gup", 3)] {
        let (mut world, parent) = busy_parent(policy);
        let plenty = world.mem.frames.free();
        let mut failures = 0;
        for free in 0.. {
            world.leave_free(free);
            let before = picture(&world, parent);
            let flushes = world.mem.hw.space_flushes + world.mem.hw.page_flushes;
            match world.try_fork(parent) {
                Err(OutOfMemory) => {
                    assert_eq!(picture(&world, parent), before, "{policy}, {free} free");
                    let now = world.mem.hw.space_flushes + world.mem.hw.page_flushes;
                    assert_eq!(now, flushes, "a failed fork has flushed something");
                    failures += 1;
                }
                Ok((_, stats)) => {
                    assert_eq!(stats.pages_copied, copies, "{policy}");
                    assert_eq!(world.mem.frames.free(), 0, "{policy}: {free} were needed");
                    break;
                }
            }
            world.check();
            world.release_hoard();
        }
        // PML4, two PDPTs, three PDs, three PTs, and the copies.
        assert_eq!(failures, 9 + copies, "{policy}, {plenty} free");
        world.release_hoard();
        world.check();
        world.end();
    }
}

#[test]
fn a_first_touch_without_a_frame_is_out_of_memory_and_succeeds_later() {
    // Three tables and the page itself.
    for free in 0..4 {
        let mut world = World::new("baseline", 64);
        let pid = world.spawn();
        world.mmap(pid, LOW, 1, Sharing::Private);
        world.leave_free(free);
        let stored = world.try_store(pid, 0, LOW, 1);
        assert_eq!(stored, Err(FaultError::OutOfMemory), "{free} free");
        assert_eq!(world.spaces[&pid].resident_pages(), 0);
        world.check();
        world.release_hoard();
        world.store(pid, 0, LOW, 1);
        world.end();
    }
}

#[test]
fn a_cow_fault_without_a_frame_leaves_the_page_shared() {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, LOW, 1, Sharing::Private);
    world.store(parent, 0, LOW, 1);
    let child = world.fork(parent);
    let before = world.pte(parent, LOW);
    world.leave_free(0);
    assert_eq!(
        world.try_store(parent, 0, LOW, 2),
        Err(FaultError::OutOfMemory)
    );
    assert_eq!(world.pte(parent, LOW), before);
    assert_eq!(world.load(child, 1, LOW), 1);
    assert_eq!(world.load(parent, 0, LOW), 1);
    world.check();
    world.end();
}

#[test]
fn a_shared_mapping_that_does_not_fit_leaves_no_area_and_no_page() {
    // Eight pages and three tables are needed.
    for free in 0..11 {
        let mut world = World::new("baseline", 64);
        let pid = world.spawn();
        world.leave_free(free);
        let mapped = world.try_mmap(pid, LOW, 8, Prot::READ_WRITE, Sharing::Shared);
        assert_eq!(mapped, Err(MapError::NoMemory), "{free} free");
        assert_eq!(world.spaces[&pid].areas().count(), 0);
        assert_eq!(world.spaces[&pid].resident_pages(), 0);
        let tables = if free < 8 { 0 } else { 3 };
        assert_eq!(world.mem.frames.free(), free - tables);
        world.check();
        world.end();
    }
}

#[test]
fn gup_that_runs_out_of_frames_keeps_no_reference() {
    let mut world = World::new("baseline", 64);
    let pid = world.spawn();
    world.mmap(pid, LOW, 8, Sharing::Private);
    world.store(pid, 0, LOW, 1);
    world.leave_free(4);
    let pinned = world.try_gup(pid, LOW, 8, GupWrite::Write);
    assert_eq!(pinned.map(|_| ()), Err(FaultError::OutOfMemory));
    assert_eq!(world.mem.frames.pinned(), 0);
    world.check();
    world.end();
}

#[test]
fn an_address_space_without_a_frame_for_its_pml4_is_refused() {
    let mut world = World::new("baseline", 8);
    world.leave_free(0);
    let made = crate::AddressSpace::new(&mut world.mem, &[0; 256]);
    assert!(made.is_err());
    world.end();
}

#[test]
fn cuts_beyond_the_most_areas_are_refused_and_change_nothing() {
    let mut world = World::new("baseline", 64);
    let pid = world.spawn();
    let npages = 2 * crate::MAX_MAP_COUNT as u64;
    world.mmap(pid, LOW, npages, Sharing::Private);
    let space = world.spaces.get_mut(&pid).unwrap();
    for n in 1..crate::MAX_MAP_COUNT as u64 {
        let hole = super::world::va(LOW + (2 * n - 1) * PAGE_BYTES);
        space.munmap(&mut world.mem, hole, PAGE_BYTES).unwrap();
    }
    let before: Vec<_> = space.areas().collect();
    assert_eq!(before.len(), crate::MAX_MAP_COUNT);
    let far = Placement::Fixed(super::world::va(HIGH));
    let private = Sharing::Private;
    assert_eq!(
        space.mmap(&mut world.mem, far, PAGE_BYTES, Prot::READ, private),
        Err(MapError::NoMemory)
    );
    let last = super::world::va(LOW + (npages - 2) * PAGE_BYTES);
    assert_eq!(
        space.madvise(last, PAGE_BYTES, ForkAdvice::DontFork),
        Err(MapError::NoMemory)
    );
    assert!(space.areas().eq(before));
    world.end();
}
