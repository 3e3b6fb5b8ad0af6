//! Finding the code at CS:RIP: in the cache, or decoded now.
//!
//! Beside [`core`](crate::core), whose loop runs what this finds, and
//! [`block`](crate::block), which keeps it.
//!
//! **Spec:** SDM 2 "Instruction Format"; SDM 3A "Limit Checking".

use crate::block::{Block, CodeCache, Decoded, Key, MAX_OPS, Origin};
use crate::core::Core;
use crate::exception::Exception;
use crate::interp;
use crate::op::Op;
use crate::segment::SegReg;
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};
use trace::Event;
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::{PhysAddr, VirtAddr};

/// Longest instruction.
const MAX_INSTRUCTION_BYTES: usize = 15;

/// Most bytes a block can take.
const WINDOW_BYTES: usize = MAX_OPS * MAX_INSTRUCTION_BYTES;

impl Core<'_> {
    /// Finds or decodes the code at CS:RIP.
    pub(crate) fn fetch(&mut self, cache: &mut CodeCache) -> Result<Fetched, Exception> {
        let va = self.fetch_address(self.cpu.rip())?;
        let at = self.translate(va, Access::Fetch, self.explicit())?;
        let key = Key::new(at, self.cpu.code_size);
        if let Some(block) = cache.find(key, self.ram) {
            let Some(tail) = block.tail else {
                return Ok(Fetched::Cached(key));
            };
            let second = self.second_page(va)?;
            if self.ram.page_index(second) == Some(tail.page) {
                return Ok(Fetched::Cached(key));
            }
        }
        self.decode(cache, key, va, at)
    }

    fn fetch_address(&mut self, rip: u64) -> Result<VirtAddr, Exception> {
        if self.cpu.is_64bit() {
            VirtAddr::new(rip).map_err(|_| Exception::Gp(0))
        } else {
            self.linear(SegReg::Cs as u8, rip, 1, Access::Fetch)
        }
    }

    fn second_page(&mut self, va: VirtAddr) -> Result<PhysAddr, Exception> {
        let next = VirtAddr::new(va.page_base().get().wrapping_add(PAGE_BYTES))
            .map_err(|_| Exception::Gp(0))?;
        self.translate(next, Access::Fetch, self.explicit())
    }

    fn decode(
        &mut self,
        cache: &mut CodeCache,
        key: Key,
        va: VirtAddr,
        at: PhysAddr,
    ) -> Result<Fetched, Exception> {
        let mut bytes = [0; WINDOW_BYTES];
        let room = (PAGE_BYTES - at.page_offset()) as usize;
        let here = &mut bytes[..room.min(WINDOW_BYTES)];
        let Some(page) = self
            .ram
            .page_index(at)
            .filter(|_| self.ram.read_bytes(at, here))
        else {
            // DEPARTS: no device's memory can be executed; like a bus on which nobody
            // answers it gives ones, which are no instruction.
            return Ok(Fetched::Single(interp::lower(
                &self.decoder(&[0xff; 2]).decode(),
            )));
        };
        let decoded = self.lower_block(here);
        if decoded.ops.is_empty() {
            return self.decode_across(cache, key, va, at, page);
        }
        let used = decoded.ops.iter().map(|op| usize::from(op.len)).sum();
        self.ram.code().mark(page, at.page_offset() as usize, used);
        cache.insert(Block::new(key, Origin::now(self.ram, page), decoded));
        Ok(Fetched::Cached(key))
    }

    /// Lowers instructions until one ends the block, does not fit in `bytes`, or cannot be decoded.
    fn lower_block(&self, bytes: &[u8]) -> Decoded {
        let mut ops = Vec::with_capacity(MAX_OPS);
        let mut chains = false;
        let mut decoder = self.decoder(bytes);
        let mut instr = Instruction::default();
        while ops.len() < MAX_OPS && decoder.can_decode() {
            decoder.decode_out(&mut instr);
            if decoder.last_error() == DecoderError::NoMoreBytes {
                // Cut off by the end of the page.
                break;
            }
            ops.push(lower(&instr));
            chains = interp::chains(&instr);
            if instr.is_invalid() || interp::ends_block(&instr) {
                break;
            }
        }
        Decoded { ops, chains }
    }

    fn decoder<'b>(&self, bytes: &'b [u8]) -> Decoder<'b> {
        Decoder::with_ip(
            self.cpu.code_size as u32,
            bytes,
            self.cpu.rip(),
            DecoderOptions::NONE,
        )
    }

    /// One instruction that may go on in the next page.
    fn decode_across(
        &mut self,
        cache: &mut CodeCache,
        key: Key,
        va: VirtAddr,
        at: PhysAddr,
        page: usize,
    ) -> Result<Fetched, Exception> {
        let second = self.second_page(va)?;
        let room = (PAGE_BYTES - at.page_offset()) as usize;
        let mut bytes = [0xff; MAX_INSTRUCTION_BYTES];
        let room = room.min(MAX_INSTRUCTION_BYTES);
        let (head, rest) = bytes.split_at_mut(room);
        let known = self.ram.read_bytes(at, head) && self.ram.read_bytes(second, rest);
        let instr = self.decoder(&bytes).decode();
        let op = lower(&instr);
        let (Some(tail), true) = (self.ram.page_index(second), known) else {
            return Ok(Fetched::Single(op));
        };
        self.ram.code().mark(page, at.page_offset() as usize, room);
        if instr.len() > room {
            self.ram.code().mark(tail, 0, instr.len() - room);
        }
        let (origin, tail) = (Origin::now(self.ram, page), Origin::now(self.ram, tail));
        cache.insert(Block::across(key, origin, tail, op));
        Ok(Fetched::Cached(key))
    }

    /// Logs an instruction this machine does not have; the caller raises #UD.
    pub(crate) fn report_missing(&mut self, op: &Op) {
        let rip = self.cpu.rip().wrapping_sub(u64::from(op.len));
        let mut bytes = [0; MAX_INSTRUCTION_BYTES];
        let base = if self.cpu.is_64bit() {
            0
        } else {
            self.cpu.seg(SegReg::Cs).base
        };
        for (i, byte) in (0..).zip(&mut bytes[..usize::from(op.len)]) {
            let at = VirtAddr::new(base.wrapping_add(rip).wrapping_add(i)).ok();
            let pa = at.and_then(|va| self.translate(va, Access::Fetch, self.explicit()).ok());
            *byte = pa.and_then(|pa| self.ram.read(pa)).unwrap_or(0xff);
        }
        let bytes_used = &bytes[..usize::from(op.len)];
        let instr = Decoder::with_ip(
            self.cpu.code_size as u32,
            bytes_used,
            rip,
            DecoderOptions::NONE,
        )
        .decode();
        let mut text = String::new();
        iced_x86::FastFormatter::new().format(&instr, &mut text);
        self.bus
            .missing_instruction(self.cpu.id, rip, bytes_used, &text);
        let event = Event::Missing { rip, bytes };
        self.tracer
            .emit(self.cpu.ledger.now().cycles(), self.cpu.source(), event);
    }
}

/// Lowers an instruction; one that goes on after the longest there may be raises #GP(0).
fn lower(instr: &Instruction) -> Op {
    if instr.is_invalid() && instr.len() == MAX_INSTRUCTION_BYTES {
        return Op::lower(instr, |_, _| Err(Exception::Gp(0)));
    }
    interp::lower(instr)
}

/// Code ready to run.
pub(crate) enum Fetched {
    /// In the cache, under this key.
    Cached(Key),
    /// One instruction that cannot be kept (not in RAM).
    Single(Op),
}
