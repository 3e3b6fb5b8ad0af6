//! Every kind of fault on every kind of page, against a second statement of the rules.

use super::world::{World, va};
use crate::{FaultError, FaultOutcome, Prot, Sharing};
use x86::fault::Access;
use x86::{Bits, PfErrorCode};

const AT: u64 = 0x10_0000;

/// How the page comes to be before the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Untouched,
    Present,
    Forked,
    ForkedAndAlone,
}

const PAGES: [Page; 4] = [
    Page::Untouched,
    Page::Present,
    Page::Forked,
    Page::ForkedAndAlone,
];

fn prepare(world: &mut World, pid: usize, page: Page) {
    if page != Page::Untouched {
        let space = world.spaces.get_mut(&pid).unwrap();
        space.populate(&mut world.mem, va(AT)).unwrap();
    }
    if let Page::Forked | Page::ForkedAndAlone = page {
        let child = world.fork(pid);
        if page == Page::ForkedAndAlone {
            world.exit(child);
        }
    }
}

fn code(access: Access, page: Page) -> PfErrorCode {
    let mut code = PfErrorCode::US;
    code.set(PfErrorCode::P, page != Page::Untouched);
    code.set(PfErrorCode::WR, access == Access::Write);
    code.set(PfErrorCode::ID, access == Access::Fetch);
    code
}

/// Rights first, then presence, then write protection.
fn expected(
    prot: Prot,
    sharing: Sharing,
    page: Page,
    access: Access,
) -> Result<FaultOutcome, FaultError> {
    let allowed = match access {
        Access::Read => prot != Prot::from_bits(0).unwrap(),
        Access::Write => prot.write,
        Access::Fetch => prot.exec,
    };
    match (allowed, sharing, page, access) {
        (false, ..) => Err(FaultError::Sigsegv),
        (_, Sharing::Shared, ..) => Ok(FaultOutcome::Spurious),
        (_, _, Page::Untouched, _) => Ok(FaultOutcome::DemandZero),
        (_, _, Page::Forked, Access::Write) => Ok(FaultOutcome::Copied),
        (_, _, Page::ForkedAndAlone, Access::Write) => Ok(FaultOutcome::Reused),
        _ => Ok(FaultOutcome::Spurious),
    }
}

#[test]
fn every_fault_ends_as_rights_presence_and_sharing_say() {
    let mut cases = 0;
    for bits in 0..8 {
        let prot = Prot::from_bits(bits).unwrap();
        for sharing in [Sharing::Private, Sharing::Shared] {
            for page in PAGES {
                if !prot.is_accessible() && page != Page::Untouched {
                    continue;
                }
                for access in [Access::Read, Access::Write, Access::Fetch] {
                    let mut world = World::new("baseline", 32);
                    let pid = world.spawn();
                    world.try_mmap(pid, AT, 1, prot, sharing).unwrap();
                    prepare(&mut world, pid, page);
                    let got = world.fault(pid, AT + 5, code(access, page));
                    let want = expected(prot, sharing, page, access);
                    assert_eq!(got, want, "{prot:?} {sharing:?} {page:?} {access:?}");
                    assert_eq!(world.reach(pid, 0, AT, access).is_ok(), want.is_ok());
                    world.check();
                    world.end();
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 7 * 2 * 4 * 3 + 2 * 3);
}

#[test]
fn a_fault_outside_every_area_or_in_the_kernel_half_is_sigsegv() {
    let mut world = World::new("baseline", 32);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    for at in [0, AT - 1, AT + 4096, crate::USER_END, 0xffff_8000_0000_0000] {
        let got = world.fault(pid, at, PfErrorCode::US);
        assert_eq!(got, Err(FaultError::Sigsegv), "{at:#x}");
    }
    world.end();
}

#[test]
fn a_page_made_ready_for_a_store_leaves_the_walker_nothing_to_set() {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, AT, 1, Sharing::Private);
    let ready = |world: &mut World, pid, expected| {
        let page = Page::Present;
        assert_eq!(world.fault(pid, AT, code(Access::Write, page)), expected);
        let bits = Bits::from_bits_truncate(world.pte(pid, AT).0);
        assert!(bits.contains(Bits::RW | Bits::A | Bits::D), "{expected:?}");
        let at = crate::table::find(&world.mem.hw, world.spaces[&pid].root, va(AT));
        let clean = world.pte(pid, AT).without(Bits::A | Bits::D);
        world.mem.hw.set_word(at.unwrap(), clean.0);
    };
    ready(&mut world, parent, Ok(FaultOutcome::DemandZero));
    let child = world.fork(parent);
    ready(&mut world, parent, Ok(FaultOutcome::Copied));
    ready(&mut world, child, Ok(FaultOutcome::Reused));
    world.end();
}

#[test]
fn each_kind_of_fault_is_counted_once() {
    let mut world = World::new("baseline", 64);
    let parent = world.spawn();
    world.mmap(parent, AT, 1, Sharing::Private);
    world.store(parent, 0, AT, 1);
    let child = world.fork(parent);
    world.store(parent, 0, AT, 2);
    world.store(child, 1, AT, 3);
    world.fault(child, AT, PfErrorCode::US).unwrap();
    let stats = world.mem.stats;
    assert_eq!((stats.demand_zero, stats.cow_copies), (1, 1));
    assert_eq!((stats.reuses, stats.spurious), (1, 1));
    world.end();
}

#[test]
fn a_new_page_is_all_zeros_whatever_its_frame_held() {
    let mut world = World::new("baseline", 16);
    let pid = world.spawn();
    world.mmap(pid, AT, 1, Sharing::Private);
    world.store(pid, 0, AT, u64::MAX);
    world.munmap(pid, AT, 1);
    world.mmap(pid, AT, 1, Sharing::Private);
    assert!((0..512).all(|n| world.load(pid, 0, AT + 8 * n) == 0));
    world.end();
}
