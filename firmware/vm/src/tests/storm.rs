//! Random calls by random processes, against a shadow of what each must read.
//!
//! The shadow knows processes, pages and values; no frame, no entry, no count. It also
//! says what each transfer must deliver, whatever was forked meanwhile; so it finds the
//! races under every policy that has them, and none under the one that has not.

use super::world::{CPUS, World, va};
use crate::{FaultError, ForkAdvice, GupWrite, Policy, Prot, Sharing};
use std::collections::BTreeMap;
use x86::addr::PAGE_BYTES;

const BASE: u64 = 0x7f_ffff_c000;
const SLOTS: u64 = 12;
const MOST_PROCESSES: usize = 5;
const SAFE: &str = "copy-at-fork+decow-gup";

/// Two words of a page: the program's and the device's.
const PLACES: [u64; 2] = [0, 512];

struct Random(u64);

impl Random {
    /// The next number of xorshift64, below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).unwrap();
        usize::try_from(self.below(len)).unwrap()
    }
}

/// What a page must hold: its own words, or those of a shared object.
#[derive(Clone, Copy, Debug)]
enum Content {
    Private([u64; 2]),
    Shared(usize),
}

/// One mapped page. `serial` tells it from another page at the same place.
#[derive(Clone, Copy, Debug)]
struct Page {
    content: Content,
    prot: Prot,
    advice: ForkAdvice,
    serial: u64,
}

/// A transfer: who started it, and for which pages in which slots.
struct Transfer {
    write: GupWrite,
    pid: usize,
    pages: Vec<(u64, Page)>,
}

/// What transfers do when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Devices {
    /// They only hold their references.
    Idle,
    /// They move data.
    Busy,
}

struct Storm {
    world: World,
    random: Random,
    shadow: BTreeMap<usize, BTreeMap<u64, Page>>,
    objects: Vec<[u64; 2]>,
    transfers: Vec<Transfer>,
    serial: u64,
    devices: Devices,
    forks: u64,
    failures: u64,
    /// Times somebody got what the shadow does not say.
    surprises: u64,
}

impl Storm {
    fn new(policy: &str, devices: Devices, seed: u64) -> Self {
        // From too little for one process to enough for all.
        let nframes = 24 + seed % 64;
        let mut storm = Self {
            world: World::new(policy, nframes),
            random: Random(seed),
            shadow: BTreeMap::new(),
            objects: Vec::new(),
            transfers: Vec::new(),
            serial: 0,
            devices,
            forks: 0,
            failures: 0,
            surprises: 0,
        };
        let pid = storm.world.spawn();
        storm.shadow.insert(pid, BTreeMap::new());
        storm
    }

    fn step(&mut self) {
        let nth = self.random.index(self.shadow.len());
        let pid = *self.shadow.keys().nth(nth).unwrap();
        let slot = self.random.below(SLOTS);
        let npages = 1 + self.random.below((SLOTS - slot).min(4));
        match self.random.below(20) {
            0 | 1 => self.mmap(pid, slot, npages),
            2 => self.munmap(pid, slot, npages),
            3 => self.madvise(pid, slot, npages),
            4 | 5 => self.fork(pid),
            6 => self.exit(pid),
            7 | 8 => self.gup(pid, slot, npages),
            9 | 10 => self.complete(),
            11..16 => self.store(pid, slot),
            _ => self.load(pid, slot),
        }
        self.world.check();
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn mmap(&mut self, pid: usize, slot: u64, npages: u64) {
        let (prot, sharing) = match self.random.below(4) {
            0 => (Prot::READ, Sharing::Private),
            1 => (Prot::READ_WRITE, Sharing::Shared),
            _ => (Prot::READ_WRITE, Sharing::Private),
        };
        let mapped = self
            .world
            .try_mmap(pid, address(slot), npages, prot, sharing);
        for slot in slot..slot + npages {
            self.shadow.get_mut(&pid).unwrap().remove(&slot);
            if mapped.is_err() {
                continue;
            }
            let content = match sharing {
                Sharing::Private => Content::Private([0; 2]),
                Sharing::Shared => {
                    self.objects.push([0; 2]);
                    Content::Shared(self.objects.len() - 1)
                }
            };
            let page = Page {
                content,
                prot,
                advice: ForkAdvice::DoFork,
                serial: self.next_serial(),
            };
            self.shadow.get_mut(&pid).unwrap().insert(slot, page);
        }
        self.failures += u64::from(mapped.is_err());
    }

    fn munmap(&mut self, pid: usize, slot: u64, npages: u64) {
        self.world.munmap(pid, address(slot), npages);
        let pages = self.shadow.get_mut(&pid).unwrap();
        pages.retain(|at, _| !(slot..slot + npages).contains(at));
    }

    fn madvise(&mut self, pid: usize, slot: u64, npages: u64) {
        let advice = match self.random.below(2) {
            0 => ForkAdvice::DontFork,
            _ => ForkAdvice::DoFork,
        };
        let space = self.world.spaces.get_mut(&pid).unwrap();
        let done = space.madvise(va(address(slot)), npages * PAGE_BYTES, advice);
        let pages = self.shadow.get_mut(&pid).unwrap();
        let advised = pages.range_mut(slot..slot + npages);
        let count = advised.map(|(_, page)| page.advice = advice).count();
        assert_eq!(done.is_ok(), count as u64 == npages);
    }

    fn fork(&mut self, pid: usize) {
        if self.shadow.len() == MOST_PROCESSES {
            return;
        }
        let Ok((child, _)) = self.world.try_fork(pid) else {
            self.failures += 1;
            return;
        };
        let inherited = self.shadow[&pid].clone().into_iter();
        let mut inherited: BTreeMap<_, _> = inherited
            .filter(|(_, page)| page.advice == ForkAdvice::DoFork)
            .collect();
        for page in inherited.values_mut() {
            page.serial = self.next_serial();
        }
        self.shadow.insert(child, inherited);
        self.forks += 1;
    }

    fn exit(&mut self, pid: usize) {
        if self.shadow.len() > 1 {
            self.world.exit(pid);
            self.shadow.remove(&pid);
        }
    }

    fn store(&mut self, pid: usize, slot: u64) {
        let cpu = self.random.index(CPUS);
        let word = self.random.index(2);
        let value = self.next_serial();
        let at = address(slot) + PLACES[word];
        let stored = self.world.try_store(pid, cpu, at, value);
        let page = self.shadow[&pid].get(&slot).copied();
        let writable = page.is_some_and(|page| page.prot.write);
        match stored {
            Ok(()) => {
                assert!(writable);
                self.set(pid, slot, word, value);
            }
            Err(FaultError::Sigsegv) => assert!(!writable),
            Err(FaultError::OutOfMemory) => self.failures += 1,
        }
    }

    fn load(&mut self, pid: usize, slot: u64) {
        let cpu = self.random.index(CPUS);
        let word = self.random.index(2);
        let at = address(slot) + PLACES[word];
        let access = x86::fault::Access::Read;
        let page = self.shadow[&pid].get(&slot).copied();
        match self.world.reach(pid, cpu, at, access) {
            Ok(pa) => {
                let expected = self.words(page.unwrap().content)[word];
                self.surprises += u64::from(self.world.mem.hw.word(pa) != expected);
            }
            Err(FaultError::Sigsegv) => assert!(page.is_none()),
            Err(FaultError::OutOfMemory) => self.failures += 1,
        }
    }

    fn gup(&mut self, pid: usize, slot: u64, npages: u64) {
        let write = match self.random.below(2) {
            0 => GupWrite::Read,
            _ => GupWrite::Write,
        };
        if self.transfers.len() < 6
            && self
                .world
                .try_gup(pid, address(slot), npages, write)
                .is_ok()
        {
            let pages = (slot..slot + npages)
                .map(|slot| (slot, self.shadow[&pid][&slot]))
                .collect();
            self.transfers.push(Transfer { write, pid, pages });
        }
    }

    /// A device finishes the transfer of its choice.
    fn complete(&mut self) {
        if self.transfers.is_empty() {
            return;
        }
        let nth = self.random.index(self.transfers.len());
        let transfer = self.transfers.remove(nth);
        if self.devices == Devices::Busy {
            self.deliver(&transfer, nth);
        }
        self.world.put(nth);
    }

    fn deliver(&mut self, transfer: &Transfer, nth: usize) {
        for (n, (slot, page)) in transfer.pages.iter().enumerate() {
            let at = self.world.pins[nth].frames[n].base().add(PLACES[1]);
            let content = self.content_now(transfer.pid, *slot, page);
            match transfer.write {
                GupWrite::Read => {
                    if let Some(expected) = content.map(|content| self.words(content)[1]) {
                        self.surprises += u64::from(self.world.mem.hw.word(at) != expected);
                    }
                }
                GupWrite::Write => {
                    let value = self.next_serial();
                    self.world.mem.hw.set_word(at, value);
                    match content {
                        Some(Content::Shared(object)) => self.objects[object][1] = value,
                        Some(Content::Private(_)) => self.set(transfer.pid, *slot, 1, value),
                        None => {}
                    }
                }
            }
        }
    }

    /// What a page holds now. A private one that was unmapped meanwhile is nobody's; a
    /// shared object may live on in other processes.
    fn content_now(&self, pid: usize, slot: u64, page: &Page) -> Option<Content> {
        if let Content::Shared(_) = page.content {
            return Some(page.content);
        }
        let now = self.shadow.get(&pid)?.get(&slot)?;
        (now.serial == page.serial).then_some(now.content)
    }

    fn words(&self, content: Content) -> [u64; 2] {
        match content {
            Content::Private(words) => words,
            Content::Shared(object) => self.objects[object],
        }
    }

    fn set(&mut self, pid: usize, slot: u64, word: usize, value: u64) {
        let page = self.shadow.get_mut(&pid).unwrap().get_mut(&slot).unwrap();
        match &mut page.content {
            Content::Private(words) => words[word] = value,
            Content::Shared(object) => self.objects[*object][word] = value,
        }
    }

    fn run(policy: &str, devices: Devices, seed: u64, steps: u64) -> Self {
        let mut storm = Self::new(
            policy,
            devices,
            0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed),
        );
        for _ in 0..steps {
            storm.step();
        }
        for pid in storm.shadow.keys().copied().collect::<Vec<_>>() {
            for slot in 0..SLOTS {
                storm.load(pid, slot);
            }
        }
        storm.world.check();
        storm
    }
}

/// Slots lie on both sides of a PML4 entry's edge.
fn address(slot: u64) -> u64 {
    BASE + slot * PAGE_BYTES
}

#[test]
fn in_a_storm_of_calls_every_process_reads_what_it_must_under_every_policy() {
    for policy in Policy::names() {
        let (mut forks, mut failures) = (0, 0);
        for seed in 1..=16 {
            let storm = Storm::run(policy, Devices::Idle, seed, 300);
            assert_eq!(storm.surprises, 0, "{policy}, seed {seed}");
            forks += storm.forks;
            failures += storm.failures;
            storm.world.end();
        }
        assert!(forks > 100, "{policy}: only {forks} forks");
        assert!(failures > 20, "{policy}: memory ran out {failures} times");
    }
}

#[test]
fn with_transfers_in_the_storm_only_both_rules_together_surprise_nobody() {
    for policy in Policy::names() {
        let surprises = |seed| {
            let storm = Storm::run(policy, Devices::Busy, seed, 300);
            storm.world.end();
            storm.surprises > 0
        };
        let first = if policy == SAFE {
            (1..=24).find(|&seed| surprises(seed))
        } else {
            (1..=200).find(|&seed| surprises(seed))
        };
        assert_eq!(first.is_none(), policy == SAFE, "{policy}: seed {first:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_storm() {
    let run = || Storm::run(SAFE, Devices::Busy, 7, 300).world.mem.stats;
    assert_eq!(run(), run());
}
