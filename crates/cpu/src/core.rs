//! Fetch, decode, execute: the loop, and what it borrows from the machine.
//!
//! **Spec:** SDM 3A "Priority Among Concurrent Events"; SDM 2 "Instruction Format".

use crate::block::{Block, CodeCache, Decoded, Key, MAX_OPS, Origin};
use crate::exception::Exception;
use crate::interp;
use crate::op::Op;
use crate::segment::SegReg;
use crate::state::{Activity, Cpu};
use cost::{Category, Profile, Ticks};
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};
use memory::{Ram, Width};
use trace::{Event, Tracer};
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::{PhysAddr, Rflags, VirtAddr};

/// Longest instruction.
const MAX_INSTRUCTION_BYTES: usize = 15;

/// What lies outside the processor and RAM.
///
/// `cpu` is the number of the asking processor, because each has a local APIC of
/// its own at the same address. `now` is that processor's clock.
pub trait Bus {
    /// Reads a device register in memory; all ones where nobody answers.
    fn mmio_read(&mut self, cpu: u8, at: PhysAddr, width: Width, now: Ticks) -> u64;
    /// Writes a device register in memory.
    fn mmio_write(&mut self, cpu: u8, at: PhysAddr, width: Width, value: u64, now: Ticks);
    /// Reads a port; all ones where nobody answers.
    fn port_read(&mut self, cpu: u8, port: u16, width: Width, now: Ticks) -> u32;
    /// Writes a port. `cr3` is for the measuring port's benefit.
    fn port_write(&mut self, cpu: u8, port: u16, width: Width, value: u32, cr3: u64, now: Ticks);
    /// Takes the interrupt the local APIC holds ready, if it still does.
    fn acknowledge(&mut self, cpu: u8) -> Option<u8>;
    /// The local APIC's task priority class, as CR8 shows it.
    fn task_priority(&mut self, cpu: u8) -> u8;
    /// MOV to CR8.
    fn set_task_priority(&mut self, cpu: u8, class: u8);
    /// An instruction this machine does not have was met.
    fn missing_instruction(&mut self, cpu: u8, rip: u64, bytes: &[u8], text: &str);
}

/// Why [`Core::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The clock reached the limit.
    Limit,
    /// A device was accessed: events and interrupts may have changed.
    Device,
    /// The processor is not running any more; see [`Cpu::activity`].
    Idle,
}

/// A processor at work: its state and all it borrows.
pub struct Core<'m> {
    /// The processor.
    pub cpu: &'m mut Cpu,
    /// Memory.
    pub ram: &'m Ram,
    /// Everything else.
    pub bus: &'m mut dyn Bus,
    /// Prices.
    pub profile: &'m Profile,
    /// Where events go.
    pub tracer: &'m mut Tracer,
    /// Set by device accesses: [`Core::run`] returns after this instruction.
    pub(crate) leave: bool,
    /// TF was set when this instruction began: #DB follows it. Delivery through the
    /// IDT drops this, as it clears TF: INT n is not followed by a #DB.
    pub(crate) single_step: bool,
    /// Instructions executed but not charged yet.
    uncharged: u64,
}

impl std::fmt::Debug for Core<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("cpu", &self.cpu)
            .finish_non_exhaustive()
    }
}

impl<'m> Core<'m> {
    /// Lends a processor its surroundings.
    pub fn new(
        cpu: &'m mut Cpu,
        ram: &'m Ram,
        bus: &'m mut dyn Bus,
        profile: &'m Profile,
        tracer: &'m mut Tracer,
    ) -> Self {
        Self {
            cpu,
            ram,
            bus,
            profile,
            tracer,
            leave: false,
            single_step: false,
            uncharged: 0,
        }
    }

    /// Executes until the clock reaches `until`, a device is accessed, or the processor goes idle.
    pub fn run(&mut self, cache: &mut CodeCache, until: Ticks) -> Stop {
        self.leave = false;
        loop {
            self.take_interrupt();
            if self.cpu.activity != Activity::Running {
                return Stop::Idle;
            }
            if self.leave {
                return Stop::Device;
            }
            if self.cpu.ledger.now() >= until {
                return Stop::Limit;
            }
            self.run_block(cache, until);
        }
    }

    fn take_interrupt(&mut self) {
        let open = self.cpu.flags & Rflags::IF.bits() != 0 && !self.cpu.interrupt_shadow;
        let listening = matches!(self.cpu.activity, Activity::Running | Activity::Halted);
        if !(self.cpu.interrupt_request && open && listening) {
            return;
        }
        self.cpu.interrupt_request = false;
        if let Some(vector) = self.bus.acknowledge(self.cpu.id) {
            self.interrupt(vector);
            self.leave = true;
        }
    }

    /// Moves this processor's time on.
    #[inline]
    pub(crate) fn charge(&mut self, category: Category, ticks: Ticks) {
        self.settle();
        self.cpu.ledger.charge(category, ticks);
    }

    /// Charges the instructions executed since the last time.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.uncharged != 0 {
            let category = if self.cpu.cpl == 3 {
                Category::UserInstr
            } else {
                Category::KernelInstr
            };
            self.cpu
                .ledger
                .charge(category, self.profile.instruction * self.uncharged);
            self.cpu.retired += self.uncharged;
            self.uncharged = 0;
        }
    }

    fn run_block(&mut self, cache: &mut CodeCache, until: Ticks) {
        let shadow = std::mem::take(&mut self.cpu.interrupt_shadow);
        self.single_step = self.cpu.flags & Rflags::TF.bits() != 0;
        let one_only = shadow || self.single_step;
        let result = match self.fetch(cache) {
            Ok(Fetched::Cached(key)) => match cache.find(key, self.ram) {
                Some(block) if one_only => self.execute(&block.ops[..1]),
                Some(block) => self.run_chain(cache, block, until),
                None => unreachable!("fetch has just found or made this block"),
            },
            Ok(Fetched::Single(op)) => self.step(&op),
            Err(e) => Err(e),
        };
        self.settle();
        match result {
            Ok(()) if self.single_step => self.raise_single_step(),
            Ok(()) => {}
            Err(e) => self.raise(e),
        }
    }

    /// #DB after an instruction that began with TF set; DR6.BS tells why.
    fn raise_single_step(&mut self) {
        const BS: u64 = 1 << 14;
        self.cpu.dr[6] |= BS;
        self.raise(Exception::Db);
    }

    /// Runs a block, and then those that follow it in the same page, as long as nothing
    /// happens between them that [`Core::run`] would have to look at.
    fn run_chain<'c>(
        &mut self,
        cache: &'c CodeCache,
        mut block: &'c Block,
        until: Ticks,
    ) -> Result<(), Exception> {
        let page = page_of(self.cpu.rip());
        let epoch = self.ram.code().epoch();
        loop {
            self.execute(&block.ops)?;
            let undisturbed = block.chains
                && !self.leave
                && self.ram.code().epoch() == epoch
                && self.cpu.is_64bit()
                && page_of(self.cpu.rip()) == page
                && !self.is_due(until);
            if !undisturbed {
                return Ok(());
            }
            let key = block.key.in_same_page(self.cpu.rip());
            match cache.find(key, self.ram) {
                Some(next) if next.tail.is_none() => block = next,
                _ => return Ok(()),
            }
        }
    }

    /// Whether the clock, with what is not charged yet, has reached `until`.
    #[inline]
    fn is_due(&self, until: Ticks) -> bool {
        self.cpu.ledger.now() + self.profile.instruction * self.uncharged >= until
    }

    #[inline]
    fn execute(&mut self, ops: &[Op]) -> Result<(), Exception> {
        let epoch = self.ram.code().epoch();
        for op in ops {
            self.step(op)?;
            if !op.quiet && (self.leave || self.ram.code().epoch() != epoch) {
                break;
            }
        }
        Ok(())
    }

    /// Executes one instruction; on an exception RIP is back at its start.
    #[inline]
    fn step(&mut self, op: &Op) -> Result<(), Exception> {
        let start = self.cpu.rip();
        let mask = if self.cpu.is_64bit() {
            u64::MAX
        } else {
            0xffff_ffff
        };
        self.cpu
            .set_rip(start.wrapping_add(u64::from(op.len)) & mask);
        self.uncharged += 1;
        let result = (op.exec)(self, op);
        if result.is_err() {
            self.abandon(start);
        }
        result
    }

    /// After a fault: the instruction took its time, but was not completed.
    #[cold]
    fn abandon(&mut self, start: u64) {
        self.cpu.set_rip(start);
        self.settle();
        self.cpu.retired -= 1;
    }

    /// Finds or decodes the code at CS:RIP.
    fn fetch(&mut self, cache: &mut CodeCache) -> Result<Fetched, Exception> {
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

    fn fetch_address(&self, rip: u64) -> Result<VirtAddr, Exception> {
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
        let mut bytes = [0; PAGE_BYTES as usize];
        let here = &mut bytes[..(PAGE_BYTES - at.page_offset()) as usize];
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

/// The 4 KiB page of an address.
const fn page_of(address: u64) -> u64 {
    address / PAGE_BYTES
}

/// Code ready to run.
enum Fetched {
    /// In the cache, under this key.
    Cached(Key),
    /// One instruction that cannot be kept (not in RAM).
    Single(Op),
}
