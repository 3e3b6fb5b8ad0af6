//! The races of fork and direct I/O, each in its exact order, under every policy.
//!
//! One page: the program uses its first word, the transfer its second sector. The
//! device uses the frame numbers GUP returned, whenever the scenario says so, and knows
//! nothing else. Each scenario returns what the programs and the disk have seen.

use super::world::World;
use crate::policy::{Fork, POLICIES};
use crate::{ForkAdvice, GupWrite, Policy, Sharing};
use guest_abi::probe::verdict::{CHILD_SAW_DMA, DISK_HAS_CHILD_BYTES, LOST};
use x86::addr::PAGE_BYTES;

const PAGE: u64 = 0x10_0000;
const SECTOR: u64 = PAGE + 512;
const OLD: u64 = 0xfa;
const FILE: u64 = 0x11;
const PARENT: u64 = 0x22;
const CHILD: u64 = 0x33;
const OK: u64 = 0;

/// Whether the program protects its buffer with MADV_DONTFORK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buffer {
    Inherited,
    DontFork,
}

struct Race {
    world: World,
    parent: usize,
    buffer: Buffer,
}

impl Race {
    /// T0: the parent has written its page.
    fn new(policy: &str, buffer: Buffer) -> Self {
        let mut world = World::new(policy, 64);
        let parent = world.spawn();
        world.mmap(parent, PAGE, 1, Sharing::Private);
        world.store(parent, 0, PAGE, OLD);
        world.store(parent, 0, SECTOR, OLD);
        if buffer == Buffer::DontFork {
            let space = world.spaces.get_mut(&parent).unwrap();
            let advice = ForkAdvice::DontFork;
            space
                .madvise(super::world::va(PAGE), PAGE_BYTES, advice)
                .unwrap();
        }
        Self {
            world,
            parent,
            buffer,
        }
    }

    fn fork(&mut self) -> usize {
        self.world.fork(self.parent)
    }

    fn pin(&mut self, write: GupWrite) {
        self.world.gup(self.parent, SECTOR, 1, write);
    }

    /// A child without the page dies of the store, which changes nothing for the parent.
    fn child_stores(&mut self, child: usize, at: u64) {
        let stored = self.world.try_store(child, 1, at, CHILD);
        assert_eq!(stored.is_err(), self.buffer == Buffer::DontFork);
    }

    fn device_at(&self) -> x86::PhysAddr {
        self.world.pins[0].frames[0].base().add(512)
    }

    /// The sector arrives, the transfer ends; what do both see?
    fn read_completes(mut self, child: Option<usize>) -> u64 {
        let at = self.device_at();
        self.world.mem.hw.set_word(at, FILE);
        self.world.put(0);
        let mut seen = OK;
        if self.world.load(self.parent, 0, SECTOR) != FILE {
            seen |= LOST;
        }
        let child = child.filter(|_| self.buffer == Buffer::Inherited);
        if child.is_some_and(|child| self.world.load(child, 1, SECTOR) == FILE) {
            seen |= CHILD_SAW_DMA;
        }
        self.finish(seen)
    }

    /// The sector is fetched, the transfer ends; what is on disk?
    fn write_completes(mut self) -> u64 {
        let on_disk = self.world.mem.hw.word(self.device_at());
        self.world.put(0);
        let seen = if on_disk == CHILD {
            DISK_HAS_CHILD_BYTES
        } else {
            OK
        };
        self.finish(seen)
    }

    fn finish(self, seen: u64) -> u64 {
        self.world.check();
        self.world.end();
        seen
    }
}

/// Forward: read in flight, fork, the parent stores.
fn forward_parent_writes(mut race: Race) -> u64 {
    race.pin(GupWrite::Write);
    let child = race.fork();
    race.world.store(race.parent, 0, PAGE, PARENT);
    race.read_completes(Some(child))
}

/// Forward: read in flight, fork, nobody stores.
fn forward_nobody_writes(mut race: Race) -> u64 {
    race.pin(GupWrite::Write);
    let child = race.fork();
    race.read_completes(Some(child))
}

/// Forward: the child has gone before the parent stores.
fn forward_child_exits_first(mut race: Race) -> u64 {
    race.pin(GupWrite::Write);
    let child = race.fork();
    race.world.exit(child);
    race.world.store(race.parent, 0, PAGE, PARENT);
    race.read_completes(None)
}

/// Forward: the child stores before the parent does.
fn forward_child_writes_first(mut race: Race) -> u64 {
    race.pin(GupWrite::Write);
    let child = race.fork();
    race.child_stores(child, PAGE);
    race.world.store(race.parent, 0, PAGE, PARENT);
    race.read_completes(Some(child))
}

/// Forward: the store that moves the parent is a second read into the same page.
fn forward_second_read_in_the_page(mut race: Race) -> u64 {
    race.pin(GupWrite::Write);
    let child = race.fork();
    race.pin(GupWrite::Write);
    race.world.put(1);
    race.read_completes(Some(child))
}

/// Backward: the page is shared when the parent starts to write it to disk.
fn backward_fork_then_pin(mut race: Race) -> u64 {
    let child = race.fork();
    race.pin(GupWrite::Read);
    race.world.store(race.parent, 0, PAGE, PARENT);
    race.child_stores(child, SECTOR);
    race.write_completes()
}

/// Backward: the write is in flight when the parent forks.
fn backward_pin_then_fork(mut race: Race) -> u64 {
    race.pin(GupWrite::Read);
    let child = race.fork();
    race.world.store(race.parent, 0, PAGE, PARENT);
    race.child_stores(child, SECTOR);
    race.write_completes()
}

type Scenario = (&'static str, fn(Race) -> u64);

const SCENARIOS: [Scenario; 7] = [
    ("1-w", forward_parent_writes),
    ("1-noW", forward_nobody_writes),
    ("1-x", forward_child_exits_first),
    ("1-c", forward_child_writes_first),
    ("1-LaBerge", forward_second_read_in_the_page),
    ("2-w", backward_fork_then_pin),
    ("2-g", backward_pin_then_fork),
];

/// In the order of [`SCENARIOS`].
const VERDICTS: [(&str, [u64; 7]); 4] = {
    const BOTH: u64 = LOST | CHILD_SAW_DMA;
    const SAW: u64 = CHILD_SAW_DMA;
    const DISK: u64 = DISK_HAS_CHILD_BYTES;
    [
        ("baseline", [BOTH, SAW, OK, OK, BOTH, DISK, DISK]),
        ("copy-at-fork", [OK, OK, OK, OK, OK, DISK, OK]),
        ("decow-gup", [BOTH, SAW, OK, OK, BOTH, OK, DISK]),
        ("copy-at-fork+decow-gup", [OK, OK, OK, OK, OK, OK, OK]),
    ]
};

#[test]
fn each_policy_loses_exactly_the_races_it_is_known_to_lose() {
    assert!(Policy::names().eq(VERDICTS.iter().map(|(name, _)| *name)));
    for (policy, expected) in VERDICTS {
        for ((name, scenario), expected) in SCENARIOS.into_iter().zip(expected) {
            let seen = scenario(Race::new(policy, Buffer::Inherited));
            assert_eq!(seen, expected, "{name} under {policy}");
        }
    }
}

#[test]
fn a_buffer_that_fork_skips_is_safe_under_every_policy() {
    for policy in Policy::names() {
        for (name, scenario) in SCENARIOS {
            let seen = scenario(Race::new(policy, Buffer::DontFork));
            assert_eq!(seen, OK, "{name} under {policy}");
        }
    }
}

#[test]
fn a_shared_buffer_always_receives_the_sector_on_both_sides() {
    for policy in Policy::names() {
        let mut world = World::new(policy, 64);
        let parent = world.spawn();
        world.mmap(parent, PAGE, 1, Sharing::Shared);
        let pin = world.gup(parent, PAGE, 1, GupWrite::Write);
        let child = world.fork(parent);
        world.store(parent, 0, PAGE, PARENT);
        world.mem.hw.set_word(pin.frames[0].base().add(512), FILE);
        assert_eq!(world.load(parent, 0, SECTOR), FILE, "{policy}");
        assert_eq!(world.load(child, 1, SECTOR), FILE, "{policy}");
        world.check();
        world.end();
    }
}

#[test]
fn fork_copies_a_page_while_gup_holds_it_and_shares_it_afterwards() {
    let mut world = World::new("copy-at-fork", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 3, Sharing::Private);
    for n in 0..3 {
        world.store(parent, 0, PAGE + n * PAGE_BYTES, n);
    }
    world.gup(parent, PAGE + PAGE_BYTES, 1, GupWrite::Write);
    let held = world.try_fork(parent).unwrap().1;
    assert_eq!((held.ptes_shared, held.pages_copied), (2, 1));
    world.put(0);
    let put = world.try_fork(parent).unwrap().1;
    assert_eq!((put.ptes_shared, put.pages_copied), (3, 0));
    assert_eq!(world.mem.stats.fork_copies, 1);
    world.check();
    world.end();
}

#[test]
fn the_parent_of_a_copied_page_writes_on_without_a_fault() {
    let mut world = World::new("copy-at-fork", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 1, Sharing::Private);
    world.store(parent, 0, PAGE, OLD);
    world.gup(parent, PAGE, 1, GupWrite::Write);
    let child = world.fork(parent);
    assert!(world.pte(parent, PAGE).is_writable());
    assert!(world.pte(child, PAGE).is_writable());
    world.end();
}

#[test]
fn a_read_pin_of_a_shared_page_breaks_cow_only_under_decow() {
    for (policy, copies) in [("baseline", 0), ("decow-gup", 1)] {
        let mut world = World::new(policy, 64);
        let parent = world.spawn();
        world.mmap(parent, PAGE, 1, Sharing::Private);
        world.store(parent, 0, PAGE, OLD);
        let child = world.fork(parent);
        let pin = world.gup(parent, PAGE, 1, GupWrite::Read);
        assert_eq!(world.mem.stats.cow_copies, copies, "{policy}");
        let shared = world.pte(child, PAGE).frame() == pin.frames[0];
        assert_eq!(shared, copies == 0, "{policy}");
        world.end();
    }
}

#[test]
fn a_shared_page_pinned_as_is_stays_read_only_when_fork_copies_it() {
    let mut world = World::new("copy-at-fork", 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 1, Sharing::Private);
    world.store(parent, 0, PAGE, OLD);
    world.fork(parent);
    world.gup(parent, PAGE, 1, GupWrite::Read);
    let second = world.fork(parent);
    assert!(!world.pte(parent, PAGE).is_writable());
    assert!(world.pte(second, PAGE).is_writable());
    assert_eq!(world.load(second, 0, PAGE), OLD);
    world.check();
    world.end();
}

#[test]
fn a_rule_that_copies_everything_still_keeps_shared_pages_shared() {
    static COPY_ALL: Policy = Policy {
        name: "copy-all",
        summary: "every private page is copied once GUP has been used",
        on_fork: Some(|_| Fork::CopyNow),
        ..POLICIES[0]
    };
    let mut world = World::under(&COPY_ALL, 64);
    let parent = world.spawn();
    world.mmap(parent, PAGE, 2, Sharing::Private);
    world.mmap(parent, PAGE + 2 * PAGE_BYTES, 1, Sharing::Shared);
    world.store(parent, 0, PAGE, OLD);
    let without_gup = world.try_fork(parent).unwrap().1;
    assert_eq!((without_gup.ptes_shared, without_gup.pages_copied), (2, 0));
    world.gup(parent, PAGE + PAGE_BYTES, 2, GupWrite::Write);
    let with_gup = world.try_fork(parent).unwrap().1;
    assert_eq!((with_gup.ptes_shared, with_gup.pages_copied), (1, 2));
    world.check();
    world.end();
}
