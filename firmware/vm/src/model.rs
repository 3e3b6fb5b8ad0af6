//! An ideal machine for the tests: RAM, and CPUs whose TLBs forget nothing unasked.
//!
//! A TLB entry stays until a flush removes it or a fault at its page drops it, so code
//! that forgets a flush is seen by whoever goes through the entry next. Paging-structure
//! caches are not modelled.
//!
//! **Spec:** SDM 3A "4-Level Paging and 5-Level Paging", "Accessed and Dirty Flags",
//! "Invalidation of TLBs and Paging-Structure Caches".

use crate::frame::Frame;
use crate::hardware::{Hardware, SpaceId};
use std::collections::BTreeMap;
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::paging::{ADDR_51_12, Entry, ReservedBits};
use x86::{Bits, Level, PfErrorCode, PhysAddr, VirtAddr};

const WORDS: usize = 512;

const RULES: ReservedBits = ReservedBits {
    nxe: true,
    maxphyaddr: 52,
};

/// What a CPU has in CR3, and the tag of what it caches meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) space: SpaceId,
    pub(crate) root: PhysAddr,
}

/// A store another CPU tries in the middle of a `copy_frame`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intruder {
    pub(crate) cpu: usize,
    pub(crate) running: Running,
    pub(crate) first: VirtAddr,
    pub(crate) last: VirtAddr,
    pub(crate) value: u64,
}

/// Which flushes reach the TLBs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushes {
    All,
    PagesLost,
    SpacesLost,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Model {
    ram: Vec<[u64; WORDS]>,
    tlbs: Vec<BTreeMap<(SpaceId, u64), u64>>,
    pub(crate) flushes: Flushes,
    pub(crate) page_flushes: u64,
    pub(crate) space_flushes: u64,
    pub(crate) intruder: Option<Intruder>,
}

impl Model {
    /// `frames` frames of RAM full of rubbish, and `cpus` CPUs.
    pub(crate) fn new(frames: usize, cpus: usize) -> Self {
        Self {
            ram: vec![[0xdead_beef_dead_beef; WORDS]; frames],
            tlbs: vec![BTreeMap::new(); cpus],
            flushes: Flushes::All,
            page_flushes: 0,
            space_flushes: 0,
            intruder: None,
        }
    }

    /// The word at `at`, as a device sees it.
    pub(crate) fn word(&self, at: PhysAddr) -> u64 {
        self.ram[index(at.pfn())][index(at.page_offset() / 8)]
    }

    /// Writes the word at `at`, as a device does.
    pub(crate) fn set_word(&mut self, at: PhysAddr, value: u64) {
        *self.word_mut(at) = value;
    }

    fn word_mut(&mut self, at: PhysAddr) -> &mut u64 {
        &mut self.ram[index(at.pfn())][index(at.page_offset() / 8)]
    }

    /// A user-mode access: through the TLB, else by a walk that fills it.
    pub(crate) fn reach(
        &mut self,
        cpu: usize,
        running: Running,
        va: VirtAddr,
        access: Access,
    ) -> Result<PhysAddr, PfErrorCode> {
        let key = (running.space, va.get() / PAGE_BYTES);
        let cached = self.tlbs[cpu].get(&key).copied();
        let known_dirty = |leaf: u64| access != Access::Write || leaf & Bits::D.bits() != 0;
        let leaf = match cached {
            Some(leaf) if !allows(leaf, access) => Err(code(access) | PfErrorCode::P),
            Some(leaf) if known_dirty(leaf) => Ok(leaf),
            _ => self.walk(running.root, va, access),
        };
        match leaf {
            Ok(leaf) => self.tlbs[cpu].insert(key, leaf),
            Err(_) => self.tlbs[cpu].remove(&key),
        };
        leaf.map(|leaf| PhysAddr::new(leaf & ADDR_51_12).add(va.offset_in(PAGE_BYTES)))
    }

    /// The leaf entry for `va` after A and D are set. Only leaves restrict rights here:
    /// upper entries are asserted to allow everything.
    fn walk(&mut self, root: PhysAddr, va: VirtAddr, access: Access) -> Result<u64, PfErrorCode> {
        let mut table = root;
        for level in Level::TOP_DOWN {
            let at = table.add(8 * va.index(level));
            let raw = self.word(at);
            match Entry::decode(raw, level, RULES) {
                Entry::NotPresent => return Err(code(access)),
                Entry::Reserved => panic!("reserved bit in {raw:#x} for {va:?}"),
                Entry::Table { next } => {
                    assert_eq!(raw & 7, 7, "an upper entry restricts rights");
                    table = next;
                }
                Entry::Leaf { .. } if !allows(raw, access) => {
                    return Err(code(access) | PfErrorCode::P);
                }
                Entry::Leaf { .. } => {
                    let mut used = Bits::A;
                    used.set(Bits::D, access == Access::Write);
                    self.set_word(at, raw | used.bits());
                    return Ok(raw | used.bits());
                }
            }
        }
        unreachable!("a page-table entry never decodes to a table")
    }

    /// Everything cached for a space: page, entry as it was cached.
    pub(crate) fn cached(&self, space: SpaceId) -> impl Iterator<Item = (VirtAddr, u64)> {
        self.tlbs.iter().flat_map(move |tlb| {
            tlb.iter()
                .filter(move |((id, _), _)| *id == space)
                .map(|((_, vpn), leaf)| (VirtAddr::new(vpn * PAGE_BYTES).unwrap(), *leaf))
        })
    }

    fn intrude(&mut self, which: impl Fn(&Intruder) -> VirtAddr) {
        let Some(who) = self.intruder else { return };
        // A store that faults would wait for the kernel's lock: it has not happened.
        if let Ok(at) = self.reach(who.cpu, who.running, which(&who), Access::Write) {
            self.set_word(at, who.value);
        }
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("the host's addresses are 64 bits wide")
}

fn allows(leaf: u64, access: Access) -> bool {
    let bits = Bits::from_bits_truncate(leaf);
    bits.contains(Bits::US)
        && match access {
            Access::Read => true,
            Access::Write => bits.contains(Bits::RW),
            Access::Fetch => !bits.contains(Bits::XD),
        }
}

fn code(access: Access) -> PfErrorCode {
    let mut code = PfErrorCode::US;
    code.set(PfErrorCode::WR, access == Access::Write);
    code.set(PfErrorCode::ID, access == Access::Fetch);
    code
}

impl Hardware for Model {
    fn load_entry(&self, at: PhysAddr) -> u64 {
        self.word(at)
    }

    fn store_entry(&mut self, at: PhysAddr, entry: u64) {
        self.set_word(at, entry);
    }

    fn swap_entry(&mut self, at: PhysAddr, entry: u64) -> u64 {
        std::mem::replace(self.word_mut(at), entry)
    }

    fn fetch_and_entry(&mut self, at: PhysAddr, mask: u64) -> u64 {
        let old = self.word(at);
        self.set_word(at, old & mask);
        old
    }

    fn fetch_or_entry(&mut self, at: PhysAddr, bits: u64) -> u64 {
        let old = self.word(at);
        self.set_word(at, old | bits);
        old
    }

    fn zero_frame(&mut self, frame: Frame) {
        self.ram[index(frame.pfn())] = [0; WORDS];
    }

    fn copy_frame(&mut self, from: Frame, to: Frame) {
        let (from, to) = (index(from.pfn()), index(to.pfn()));
        let half = WORDS / 2;
        let first: Vec<u64> = self.ram[from][..half].to_vec();
        self.ram[to][..half].copy_from_slice(&first);
        self.intrude(|who| who.first);
        self.intrude(|who| who.last);
        let second: Vec<u64> = self.ram[from][half..].to_vec();
        self.ram[to][half..].copy_from_slice(&second);
    }

    fn flush_page(&mut self, space: SpaceId, va: VirtAddr) {
        self.page_flushes += 1;
        if self.flushes != Flushes::PagesLost {
            for tlb in &mut self.tlbs {
                tlb.remove(&(space, va.get() / PAGE_BYTES));
            }
        }
    }

    fn flush_space(&mut self, space: SpaceId) {
        self.space_flushes += 1;
        if self.flushes != Flushes::SpacesLost {
            for tlb in &mut self.tlbs {
                tlb.retain(|(id, _), _| *id != space);
            }
        }
    }
}
