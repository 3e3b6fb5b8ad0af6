//! TLB entries that outlive the table they were read from.
//!
//! Each rule is shown twice: kept, and on a machine that loses this kind of flush,
//! where the harm must appear; so the tests would see a missing flush.

use super::world::{World, va};
use crate::model::{Flushes, Intruder};
use crate::{GupWrite, Sharing};

const PAGE: u64 = 0x10_0000;
const LAST_WORD: u64 = PAGE + 4088;

fn child_sees_a_store_after_fork(flushes: Flushes) -> bool {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 1, Sharing::Private);
    world.store(parent, 0, PAGE, 1);
    world.store(parent, 1, PAGE, 1);
    world.mem.hw.flushes = flushes;
    let child = world.fork(parent);
    world.store(parent, 1, PAGE, 2);
    world.load(child, 0, PAGE) == 2
}

#[test]
fn after_fork_no_thread_of_the_parent_can_write_what_the_child_sees() {
    assert!(!child_sees_a_store_after_fork(Flushes::All));
    assert!(child_sees_a_store_after_fork(Flushes::SpacesLost));
}

fn copy_at_fork_is_torn(flushes: Flushes) -> bool {
    let mut world = World::new("copy-at-fork", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 1, Sharing::Private);
    for cpu in 0..2 {
        world.store(parent, cpu, PAGE, 1);
        world.store(parent, cpu, LAST_WORD, 1);
    }
    world.gup(parent, PAGE, 1, GupWrite::Write);
    world.mem.hw.flushes = flushes;
    world.mem.hw.intruder = Some(Intruder {
        cpu: 1,
        running: world.running(parent),
        first: va(PAGE),
        last: va(LAST_WORD),
        value: 2,
    });
    let child = world.fork(parent);
    world.load(child, 0, PAGE) != world.load(child, 0, LAST_WORD)
}

#[test]
fn a_page_copied_at_fork_shows_the_child_one_moment() {
    assert!(!copy_at_fork_is_torn(Flushes::All));
    assert!(copy_at_fork_is_torn(Flushes::PagesLost));
}

fn thread_reads_old_value_after_copy(flushes: Flushes) -> bool {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 1, Sharing::Private);
    world.store(parent, 0, PAGE, 1);
    world.fork(parent);
    world.load(parent, 1, PAGE);
    world.mem.hw.flushes = flushes;
    world.store(parent, 0, PAGE, 2);
    world.load(parent, 1, PAGE) != 2
}

#[test]
fn after_a_copy_all_threads_see_the_new_frame() {
    assert!(!thread_reads_old_value_after_copy(Flushes::All));
    assert!(thread_reads_old_value_after_copy(Flushes::PagesLost));
}

fn unmapped_page_can_be_written(flushes: Flushes) -> bool {
    let mut world = World::new("baseline", 64);
    let pid = world.spawn();
    world.mmap(pid, PAGE, 1, Sharing::Private);
    world.store(pid, 1, PAGE, 1);
    world.mem.hw.flushes = flushes;
    world.munmap(pid, PAGE, 1);
    world.try_store(pid, 1, PAGE, 2).is_ok()
}

#[test]
fn after_munmap_no_thread_reaches_the_page() {
    assert!(!unmapped_page_can_be_written(Flushes::All));
    assert!(unmapped_page_can_be_written(Flushes::SpacesLost));
}

#[test]
fn fork_flushes_the_space_once_and_no_single_page() {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 20, Sharing::Private);
    for n in 0..20 {
        world.store(parent, 0, PAGE + n * 4096, n);
    }
    let before = (world.mem.hw.space_flushes, world.mem.hw.page_flushes);
    world.fork(parent);
    assert_eq!(world.mem.hw.space_flushes, before.0 + 1);
    assert_eq!(world.mem.hw.page_flushes, before.1);
}

#[test]
fn reuse_flushes_nothing_and_costs_another_thread_one_spurious_fault() {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 1, Sharing::Private);
    world.store(parent, 0, PAGE, 1);
    let child = world.fork(parent);
    world.exit(child);
    world.load(parent, 1, PAGE);
    let before = (world.mem.hw.space_flushes, world.mem.hw.page_flushes);
    world.store(parent, 0, PAGE, 2);
    assert_eq!(world.mem.stats.reuses, 1);
    world.store(parent, 1, PAGE, 3);
    assert_eq!(world.mem.stats.spurious, 1);
    assert_eq!(
        before,
        (world.mem.hw.space_flushes, world.mem.hw.page_flushes)
    );
    world.check();
}
