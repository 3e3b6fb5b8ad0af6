//! Decoded code: blocks of lowered instructions, kept while their bytes do not change.
//!
//! A block starts where control arrived, holds at most [`MAX_OPS`] instructions of
//! one physical page and ends after a branch or anything that changes how the
//! next instruction is decoded or permitted. Its key is physical address and
//! code size, so all mappings and all processors share it. It is valid while the
//! page's version in [`memory::code::CodeMap`] is the one it was decoded from.
//!
//! An instruction that lies across two pages is a block of its own, with the
//! second page checked, too.

use crate::op::Op;
use crate::state::CodeSize;
use memory::Ram;
use x86::PhysAddr;
use x86::addr::PAGE_BYTES;

/// Most instructions in a block.
pub(crate) const MAX_OPS: usize = 32;
const SLOTS: usize = 1 << 14;

/// Part of RAM a block was decoded from, and its version then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) page: usize,
    pub(crate) version: u32,
}

impl Origin {
    pub(crate) fn now(ram: &Ram, page: usize) -> Self {
        Self {
            page,
            version: ram.code().version(page),
        }
    }

    fn is_current(self, ram: &Ram) -> bool {
        ram.code().version(self.page) == self.version
    }
}

/// What decoding one page gave.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) ops: Vec<Op>,
    pub(crate) chains: bool,
}

/// Decoded instructions that run one after the other.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) key: Key,
    origin: Origin,
    /// Where the last instruction goes on, if it crosses into another page.
    pub(crate) tail: Option<Origin>,
    /// After the last instruction nothing but RIP has to be looked at.
    pub(crate) chains: bool,
    pub(crate) ops: Box<[Op]>,
}

impl Block {
    /// A block of one page.
    pub(crate) fn new(key: Key, origin: Origin, decoded: Decoded) -> Self {
        Self {
            key,
            origin,
            tail: None,
            chains: decoded.chains,
            ops: decoded.ops.into(),
        }
    }

    /// A block of one instruction that goes on in page `tail`.
    pub(crate) fn across(key: Key, origin: Origin, tail: Origin, op: Op) -> Self {
        Self {
            key,
            origin,
            tail: Some(tail),
            chains: false,
            ops: Box::new([op]),
        }
    }

    fn is_current(&self, ram: &Ram) -> bool {
        self.origin.is_current(ram) && self.tail.is_none_or(|t| t.is_current(ram))
    }
}

/// What a block is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) const fn new(at: PhysAddr, size: CodeSize) -> Self {
        Self(at.get() | (size as u64) << 56)
    }

    /// The key of code at another offset of the same page.
    pub(crate) const fn in_same_page(self, rip: u64) -> Self {
        const OFFSET: u64 = PAGE_BYTES - 1;
        Self(self.0 & !OFFSET | rip & OFFSET)
    }

    const fn slot(self) -> usize {
        ((self.0 ^ (self.0 >> 14)) % SLOTS as u64) as usize
    }
}

/// The decoded code of a machine: direct-mapped, shared by its processors.
#[derive(Debug)]
pub struct CodeCache {
    slots: Box<[Option<Box<Block>>]>,
    decoded: u64,
}

impl Default for CodeCache {
    fn default() -> Self {
        let mut slots = Vec::new();
        slots.resize_with(SLOTS, || None);
        Self {
            slots: slots.into(),
            decoded: 0,
        }
    }
}

impl CodeCache {
    /// Blocks decoded so far, those decoded again included.
    #[must_use]
    pub const fn blocks_decoded(&self) -> u64 {
        self.decoded
    }

    /// The current block for `key`.
    #[inline]
    pub(crate) fn find(&self, key: Key, ram: &Ram) -> Option<&Block> {
        let block = self.slots[key.slot()].as_deref()?;
        (block.key == key && block.is_current(ram)).then_some(block)
    }

    /// Keeps `block`, in place of what had its slot.
    pub(crate) fn insert(&mut self, block: Block) {
        self.decoded += 1;
        let slot = block.key.slot();
        self.slots[slot] = Some(Box::new(block));
    }
}
