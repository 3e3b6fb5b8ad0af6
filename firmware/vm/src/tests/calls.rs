//! mmap, munmap, madvise, fork's inheritance, GUP, exit: what each promises.

use super::world::{KERNEL_ENTRY, World, va};
use crate::{FaultError, ForkAdvice, GupWrite, MapError, Placement, Prot, Sharing, USER_END};
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::{Bits, VirtAddr};

const AT: u64 = 0x10_0000;

fn anonymous(
    world: &mut World,
    pid: usize,
    place: Placement,
    len_bytes: u64,
) -> Result<u64, MapError> {
    let space = world.spaces.get_mut(&pid).unwrap();
    space
        .mmap(
            &mut world.mem,
            place,
            len_bytes,
            Prot::READ_WRITE,
            Sharing::Private,
        )
        .map(VirtAddr::get)
}

#[test]
fn mmap_refuses_what_is_no_range_of_user_pages() {
    let mut world = World::new("baseline", 16);
    let pid = world.spawn();
    let high = Placement::Fixed(va(0xffff_8000_0000_0000));
    for (place, len_bytes, expected) in [
        (Placement::Anywhere, 0, MapError::Invalid),
        (Placement::Fixed(va(AT + 1)), 4096, MapError::Invalid),
        (Placement::Fixed(va(0)), 4096, MapError::Invalid),
        (Placement::Fixed(va(0xf000)), 4096, MapError::Invalid),
        (high, 4096, MapError::Invalid),
        (Placement::Fixed(va(AT)), u64::MAX, MapError::Invalid),
        (
            Placement::Fixed(va(USER_END - 4096)),
            4097,
            MapError::Invalid,
        ),
        (Placement::Anywhere, u64::MAX, MapError::NoMemory),
        (Placement::Anywhere, USER_END, MapError::NoMemory),
    ] {
        let mapped = anonymous(&mut world, pid, place, len_bytes);
        assert_eq!(mapped, Err(expected), "{place:?} {len_bytes:#x}");
    }
    assert_eq!(world.spaces[&pid].areas().count(), 0);
    world.end();
}

#[test]
fn mmap_takes_a_free_hint_and_never_overlaps_without_fixed() {
    let mut world = World::new("baseline", 16);
    let pid = world.spawn();
    let hint = Placement::Hint(va(AT));
    assert_eq!(anonymous(&mut world, pid, hint, 8192), Ok(AT));
    let elsewhere = anonymous(&mut world, pid, hint, 4096).unwrap();
    let next = anonymous(&mut world, pid, Placement::Anywhere, 4096).unwrap();
    assert!(elsewhere >= AT + 8192);
    assert_eq!(next, elsewhere + 4096);
    let odd = anonymous(&mut world, pid, Placement::Hint(va(5)), 4096).unwrap();
    assert_eq!(odd, next + 4096);
    world.end();
}

#[test]
fn a_fixed_mapping_replaces_pages_that_were_there() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world.mmap(pid, AT, 3, Sharing::Private);
    for n in 0..3 {
        world.store(pid, 0, AT + n * PAGE_BYTES, 7);
    }
    world.mmap(pid, AT + PAGE_BYTES, 1, Sharing::Private);
    let values: Vec<_> = (0..3)
        .map(|n| world.load(pid, 0, AT + n * PAGE_BYTES))
        .collect();
    assert_eq!(values, [7, 0, 7]);
    world.check();
    world.end();
}

#[test]
fn munmap_of_the_middle_leaves_both_ends_with_their_pages() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world.mmap(pid, AT, 3, Sharing::Private);
    for n in 0..3 {
        world.store(pid, 0, AT + n * PAGE_BYTES, n + 1);
    }
    let free = world.mem.frames.free();
    world.munmap(pid, AT + PAGE_BYTES, 1);
    assert_eq!(world.mem.frames.free(), free + 1);
    assert_eq!(world.load(pid, 0, AT), 1);
    assert_eq!(world.load(pid, 0, AT + 2 * PAGE_BYTES), 3);
    assert_eq!(
        world.try_store(pid, 0, AT + PAGE_BYTES, 1),
        Err(FaultError::Sigsegv)
    );
    world.check();
    world.end();
}

#[test]
fn munmap_flushes_once_for_many_pages_and_misses_none() {
    let mut world = World::new("baseline", 300);
    let pid = world.spawn();
    world.mmap(pid, AT, 200, Sharing::Private);
    for n in 0..200 {
        world.store(pid, 0, AT + n * PAGE_BYTES, n);
    }
    let flushes = world.mem.hw.space_flushes;
    world.munmap(pid, AT, 200);
    assert_eq!(world.mem.hw.space_flushes, flushes + 4, "64 pages a flush");
    assert_eq!(world.spaces[&pid].resident_pages(), 0);
    world.check();
    world.end();
}

#[test]
fn a_huge_empty_mapping_costs_nothing_to_fork_and_to_unmap() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    let npages = (1 << 46) / PAGE_BYTES;
    world.mmap(pid, AT, npages, Sharing::Private);
    world.store(pid, 0, AT + (1 << 45), 5);
    let (child, stats) = world.try_fork(pid).unwrap();
    assert_eq!(stats.ptes_shared, 1);
    assert_eq!(world.load(child, 0, AT + (1 << 45)), 5);
    world.munmap(pid, AT, npages);
    world.check();
    world.end();
}

#[test]
fn dontfork_leaves_the_child_a_hole_and_dofork_undoes_it() {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, AT, 3, Sharing::Private);
    for n in 0..3 {
        world.store(parent, 0, AT + n * PAGE_BYTES, n + 1);
    }
    let middle = va(AT + PAGE_BYTES);
    let advise = |world: &mut World, advice| {
        let space = world.spaces.get_mut(&parent).unwrap();
        space.madvise(middle, PAGE_BYTES, advice).unwrap();
    };
    advise(&mut world, ForkAdvice::DontFork);
    let child = world.fork(parent);
    assert_eq!(world.load(child, 0, AT), 1);
    assert_eq!(
        world.reach(child, 0, AT + PAGE_BYTES, Access::Read),
        Err(FaultError::Sigsegv)
    );
    assert!(world.pte(parent, AT + PAGE_BYTES).is_writable());
    advise(&mut world, ForkAdvice::DoFork);
    assert_eq!(world.spaces[&parent].areas().count(), 1);
    let child = world.fork(parent);
    assert_eq!(world.load(child, 0, AT + PAGE_BYTES), 2);
    world.check();
    world.end();
}

#[test]
fn madvise_over_a_hole_advises_the_rest_and_reports_it() {
    let mut world = World::new("baseline", 16);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    world.mmap(pid, AT + 2 * PAGE_BYTES, 1, Sharing::Private);
    let space = world.spaces.get_mut(&pid).unwrap();
    let advised = space.madvise(va(AT), 3 * PAGE_BYTES, ForkAdvice::DontFork);
    assert_eq!(advised, Err(MapError::NoMemory));
    assert!(space.areas().all(|a| a.advice == ForkAdvice::DontFork));
    world.end();
}

#[test]
fn shared_pages_untouched_before_fork_are_the_same_page_after_it() {
    let mut world = World::new("baseline", 32);
    let parent = world.spawn();
    world.mmap(parent, AT, 2, Sharing::Shared);
    let child = world.fork(parent);
    world.store(child, 1, AT, 5);
    world.store(parent, 0, AT + PAGE_BYTES, 6);
    assert_eq!(world.load(parent, 0, AT), 5);
    assert_eq!(world.load(child, 1, AT + PAGE_BYTES), 6);
    world.check();
    world.end();
}

#[test]
fn private_stores_after_fork_stay_on_their_side() {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, AT, 2, Sharing::Private);
    world.store(parent, 0, AT, 1);
    let child = world.fork(parent);
    let grandchild = world.fork(child);
    world.store(parent, 0, AT, 2);
    world.store(child, 1, AT, 3);
    world.store(parent, 0, AT + PAGE_BYTES, 4);
    let seen = [parent, child, grandchild].map(|pid| world.load(pid, 0, AT));
    assert_eq!(seen, [2, 3, 1]);
    assert_eq!(world.load(child, 0, AT + PAGE_BYTES), 0);
    world.check();
    world.end();
}

#[test]
fn the_child_inherits_the_kernel_half_and_its_own_name() {
    let mut world = World::new("baseline", 32);
    let parent = world.spawn();
    let child = world.fork(parent);
    for pid in [parent, child] {
        let root = world.spaces[&pid].cr3();
        for n in 256..512 {
            assert_eq!(world.mem.hw.word(root.add(8 * n)), KERNEL_ENTRY);
        }
    }
    assert_ne!(world.spaces[&parent].id(), world.spaces[&child].id());
    world.end();
}

#[test]
fn fork_keeps_the_dirty_bit_and_lets_the_child_start_unaccessed() {
    let mut world = World::new("baseline", 32);
    let parent = world.spawn();
    world.mmap(parent, AT, 1, Sharing::Private);
    world.store(parent, 0, AT, 1);
    let child = world.fork(parent);
    let bits = |pid| Bits::from_bits_truncate(world.pte(pid, AT).0);
    assert!(bits(parent).contains(Bits::A | Bits::D));
    assert!(bits(child).contains(Bits::D) && !bits(child).contains(Bits::A));
    world.end();
}

#[test]
fn frames_that_gup_holds_outlive_munmap_and_exit_until_put() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world.mmap(pid, AT, 2, Sharing::Private);
    let pin = world.gup(pid, AT + 100, 2, GupWrite::Write);
    assert_eq!(world.mem.frames.pinned(), 2);
    world.munmap(pid, AT, 1);
    world.check();
    world.exit(pid);
    world.check();
    let frames = &world.mem.frames;
    assert_eq!(frames.total() - frames.free(), 2);
    assert!(pin.frames.iter().all(|&f| frames.state(f).refcount == 1));
    world.put(0);
    assert_eq!(world.mem.frames.free(), world.mem.frames.total());
    world.end();
}

#[test]
fn a_frame_held_twice_counts_as_one_pinned_frame() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    world.gup(pid, AT, 1, GupWrite::Write);
    world.gup(pid, AT, 1, GupWrite::Read);
    assert_eq!(world.mem.frames.pinned(), 1);
    world.put(0);
    assert_eq!(world.mem.frames.pinned(), 1);
    world.put(0);
    assert_eq!(world.mem.frames.pinned(), 0);
    world.end();
}

#[test]
fn gup_marks_private_pages_only_and_the_mark_dies_with_the_frame() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    world.mmap(pid, AT + PAGE_BYTES, 1, Sharing::Shared);
    let pin = world.gup(pid, AT, 2, GupWrite::Write);
    let marks: Vec<_> = pin
        .frames
        .iter()
        .map(|&f| world.mem.frames.state(f).gup)
        .collect();
    assert_eq!(marks, [true, false]);
    world.put(0);
    assert!(world.mem.frames.state(pin.frames[0]).gup);
    assert_eq!(world.mem.frames.marked(), 1);
    world.munmap(pid, AT, 1);
    assert_eq!(world.mem.frames.marked(), 0);
    world.end();
}

#[test]
fn gup_is_refused_where_the_program_itself_would_be() {
    let mut world = World::new("copy-at-fork+decow-gup", 32);
    let pid = world.spawn();
    world
        .try_mmap(pid, AT, 2, Prot::READ, Sharing::Private)
        .unwrap();
    for (at, npages, write) in [
        (AT, 1, GupWrite::Write),
        (AT, 3, GupWrite::Read),
        (AT + 2 * PAGE_BYTES, 1, GupWrite::Read),
        (AT, u64::MAX, GupWrite::Read),
        (0xffff_8000_0000_0000, 1, GupWrite::Read),
        (USER_END, 1, GupWrite::Read),
    ] {
        let pinned = world.try_gup(pid, at, npages, write).map(|_| ());
        assert_eq!(pinned, Err(FaultError::Sigsegv), "{at:#x} {write:?}");
    }
    world.gup(pid, AT, 2, GupWrite::Read);
    world.check();
    world.end();
}

#[test]
fn a_loader_fills_read_only_pages_that_the_program_then_reads() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world
        .try_mmap(pid, AT, 1, Prot::READ_EXEC, Sharing::Private)
        .unwrap();
    let space = world.spaces.get_mut(&pid).unwrap();
    let filled = space.populate(&mut world.mem, va(AT + 8)).unwrap();
    assert_eq!(space.populate(&mut world.mem, va(AT)), Ok(filled));
    assert_eq!(
        space.populate(&mut world.mem, va(AT + PAGE_BYTES)),
        Err(FaultError::Sigsegv)
    );
    world.mem.hw.set_word(filled.base().add(8), 0xc3);
    assert_eq!(world.load(pid, 0, AT + 8), 0xc3);
    assert!(world.reach(pid, 0, AT + 8, Access::Fetch).is_ok());
    assert!(world.try_store(pid, 0, AT, 1).is_err());
    world.check();
    world.end();
}

#[test]
fn a_kernel_write_to_user_memory_breaks_cow_and_sets_dirty() {
    let mut world = World::new("baseline", 32);
    let parent = world.spawn();
    world.mmap(parent, AT, 1, Sharing::Private);
    world.store(parent, 0, AT, 1);
    let child = world.fork(parent);
    let space = world.spaces.get_mut(&child).unwrap();
    assert_eq!(space.translate(&world.mem, va(AT + PAGE_BYTES)), None);
    let pa = space
        .access(&mut world.mem, va(AT + 8), Access::Write)
        .unwrap();
    assert_eq!(space.translate(&world.mem, va(AT + 8)), Some(pa));
    world.mem.hw.set_word(pa, 2);
    assert_eq!(world.load(child, 1, AT + 8), 2);
    assert_eq!(world.load(parent, 0, AT + 8), 0);
    let used = Bits::from_bits_truncate(world.pte(child, AT).0);
    assert!(used.contains(Bits::A | Bits::D));
    world.check();
    world.end();
}

#[test]
fn page_info_reports_entry_and_counts() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    assert_eq!(world.spaces[&pid].page_info(&world.mem, va(AT)).pte, 0);
    world.store(pid, 0, AT, 1);
    world.fork(pid);
    world.gup(pid, AT, 1, GupWrite::Read);
    let info = world.spaces[&pid].page_info(&world.mem, va(AT));
    assert_eq!((info.refcount, info.mapcount), (3, 2));
    assert_eq!(info.pte, world.pte(pid, AT).0);
    let kernel = world.spaces[&pid].page_info(&world.mem, va(0xffff_8000_0000_0000));
    assert_eq!((kernel.pte, kernel.refcount), (0, 0));
    world.end();
}

#[test]
fn mmap_finds_room_low_when_the_upper_part_is_full() {
    let mut world = World::new("baseline", 16);
    let pid = world.spawn();
    let first = anonymous(&mut world, pid, Placement::Anywhere, 4096).unwrap();
    let rest = Placement::Fixed(va(first));
    anonymous(&mut world, pid, rest, USER_END - first).unwrap();
    let low = anonymous(&mut world, pid, Placement::Anywhere, 4096).unwrap();
    assert!(low < first && low != 0);
    world.end();
}

#[test]
fn calls_on_ranges_that_are_none_change_nothing() {
    let mut world = World::new("baseline", 16);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    let space = world.spaces.get_mut(&pid).unwrap();
    for (at, len_bytes) in [(AT, 0), (AT + 8, 4096), (USER_END, 4096)] {
        let unmapped = space.munmap(&mut world.mem, va(at), len_bytes);
        assert_eq!(unmapped, Err(MapError::Invalid), "{at:#x}");
        let advised = space.madvise(va(at), len_bytes, ForkAdvice::DontFork);
        assert_eq!(advised, Err(MapError::Invalid), "{at:#x}");
    }
    assert!(space.areas().all(|a| a.advice == ForkAdvice::DoFork));
    assert_eq!(space.areas().count(), 1);
    world.end();
}

#[test]
fn a_kernel_access_marks_the_page_as_the_walker_would() {
    let mut world = World::new("baseline", 16);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    world.store(pid, 0, AT, 1);
    for (access, expected) in [(Access::Read, Bits::A), (Access::Write, Bits::A | Bits::D)] {
        let space = world.spaces.get_mut(&pid).unwrap();
        let clean = space.pte(&world.mem, va(AT)).without(Bits::A | Bits::D);
        let at = crate::table::find(&world.mem.hw, space.root, va(AT)).unwrap();
        world.mem.hw.set_word(at, clean.0);
        space.access(&mut world.mem, va(AT), access).unwrap();
        let got = Bits::from_bits_truncate(world.pte(pid, AT).0);
        assert_eq!(got & (Bits::A | Bits::D), expected, "{access:?}");
    }
    world.end();
}
