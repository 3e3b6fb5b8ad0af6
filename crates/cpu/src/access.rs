//! Memory as instructions see it: translation, RAM or device, page crossings.
//!
//! Where an operand lies in linear memory says [`linear`](crate::linear).
//!
//! An access that crosses a page translates both pages before it touches either,
//! so a fault on the second leaves nothing half written, and CR2 names the first
//! byte of the second page.
//!
//! **Spec:** SDM 3A "Protection Checks", "Page-Fault Exceptions"; SDM 1 "Canonical Addressing".

use crate::core::Core;
use crate::exception::Exception;
use crate::op::{FLAT_STACK, Op};
use crate::segment::SegReg;
use crate::word::Word;
use cost::Category;
use memory::Width;
use mmu::{Accessor, AlignmentCheck, Walked};
use trace::Event;
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::{PhysAddr, Rflags, VirtAddr};

/// Where an operand lies after translation: in one page, or in two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    first: PhysAddr,
    /// Second page and how many bytes lie in the first one.
    second: Option<(PhysAddr, u64)>,
}

impl Core<'_> {
    /// Translates one page, charging and tracing what the walker did.
    #[inline]
    pub(crate) fn translate(
        &mut self,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Result<PhysAddr, Exception> {
        match self.cpu.mmu.translate(self.ram, va, access, who) {
            Ok(t) => {
                if t.walk.steps != 0 {
                    self.note_walk(va, t.walk);
                }
                Ok(t.pa)
            }
            Err(f) => {
                self.note_walk(va, f.walk);
                Err(Exception::Pf(f.fault))
            }
        }
    }

    /// Who an instruction's own accesses are made by.
    #[inline]
    pub(crate) const fn explicit(&self) -> Accessor {
        let ac = if self.cpu.flags & Rflags::AC.bits() != 0 {
            AlignmentCheck::Set
        } else {
            AlignmentCheck::Clear
        };
        Accessor {
            privilege: self.cpu.privilege(),
            ac,
        }
    }

    #[cold]
    fn note_walk(&mut self, va: VirtAddr, walk: Walked) {
        self.charge(
            Category::Walk,
            self.profile.walk_step * u64::from(walk.steps),
        );
        if walk.ad_updates != 0 {
            self.charge(
                Category::AdUpdate,
                self.profile.ad_update * u64::from(walk.ad_updates),
            );
            let event = Event::SetAccessedDirty {
                va,
                entries: walk.ad_updates,
            };
            self.tracer
                .emit(self.cpu.ledger.now().cycles(), self.cpu.source(), event);
        }
    }

    /// Translates all of `len` bytes at `va`.
    #[inline]
    pub(crate) fn place(
        &mut self,
        va: VirtAddr,
        len: u64,
        access: Access,
        who: Accessor,
    ) -> Result<Place, Exception> {
        let room = PAGE_BYTES - va.get() % PAGE_BYTES;
        if len <= room {
            let first = self.translate(va, access, who)?;
            return Ok(Place {
                first,
                second: None,
            });
        }
        self.place_across(va, room, access, who)
    }

    #[cold]
    fn place_across(
        &mut self,
        va: VirtAddr,
        room: u64,
        access: Access,
        who: Accessor,
    ) -> Result<Place, Exception> {
        let next = va.get().wrapping_add(room);
        let next = if self.cpu.is_ia32e() {
            VirtAddr::new(next).map_err(|_| Exception::Gp(0))?
        } else {
            VirtAddr::from_u32((next & 0xffff_ffff) as u32)
        };
        let first = self.translate(va, access, who)?;
        let second = self.translate(next, access, who)?;
        Ok(Place {
            first,
            second: Some((second, room)),
        })
    }

    /// Reads the operand at `place`.
    #[inline]
    pub(crate) fn get<W: Word>(&mut self, place: Place) -> W {
        if place.second.is_none()
            && let Some(value) = self.ram.read(place.first)
        {
            return value;
        }
        self.get_slow(place)
    }

    #[cold]
    fn get_slow<W: Word>(&mut self, place: Place) -> W {
        let Some((second, room)) = place.second else {
            return W::low(self.device_read(place.first, width::<W>()));
        };
        let mut raw = 0;
        for i in 0..W::BYTES {
            let at = if i < room {
                place.first.add(i)
            } else {
                second.add(i - room)
            };
            let byte = self
                .ram
                .read::<u8>(at)
                .map_or_else(|| self.device_read(at, Width::Byte), u64::from);
            raw |= byte << (8 * i);
        }
        W::low(raw)
    }

    /// Writes the operand at `place`.
    #[inline]
    pub(crate) fn put<W: Word>(&mut self, place: Place, value: W) {
        if place.second.is_some() || !self.ram.write(place.first, value) {
            self.put_slow(place, value);
        }
    }

    #[cold]
    fn put_slow<W: Word>(&mut self, place: Place, value: W) {
        let Some((second, room)) = place.second else {
            return self.device_write(place.first, width::<W>(), value.zx());
        };
        for i in 0..W::BYTES {
            let at = if i < room {
                place.first.add(i)
            } else {
                second.add(i - room)
            };
            let byte = ((value.zx() >> (8 * i)) & 0xff) as u8;
            if !self.ram.write(at, byte) {
                self.device_write(at, Width::Byte, u64::from(byte));
            }
        }
    }

    fn device_read(&mut self, at: PhysAddr, width: Width) -> u64 {
        self.charge(Category::MmioIrq, self.profile.mmio);
        self.leave = true;
        let value = self
            .bus
            .mmio_read(self.cpu.id, at, width, self.cpu.ledger.now());
        let event = Event::Mmio {
            at,
            direction: trace::Direction::Read,
            value,
        };
        self.tracer
            .emit(self.cpu.ledger.now().cycles(), self.cpu.source(), event);
        value
    }

    fn device_write(&mut self, at: PhysAddr, width: Width, value: u64) {
        self.charge(Category::MmioIrq, self.profile.mmio);
        self.leave = true;
        let event = Event::Mmio {
            at,
            direction: trace::Direction::Write,
            value,
        };
        self.tracer
            .emit(self.cpu.ledger.now().cycles(), self.cpu.source(), event);
        self.bus
            .mmio_write(self.cpu.id, at, width, value, self.cpu.ledger.now());
    }

    /// Reads the memory operand of `op`.
    #[inline]
    pub(crate) fn load<W: Word>(&mut self, op: &Op) -> Result<W, Exception> {
        self.load_at(op.seg, self.ea(op))
    }

    /// Reads at an offset in a segment.
    #[inline]
    pub(crate) fn load_at<W: Word>(&mut self, seg: u8, offset: u64) -> Result<W, Exception> {
        let va = self.linear(seg, offset, W::BYTES, Access::Read)?;
        self.read_as(va, Access::Read, self.explicit())
    }

    /// Writes the memory operand of `op`.
    #[inline]
    pub(crate) fn store<W: Word>(&mut self, op: &Op, value: W) -> Result<(), Exception> {
        self.store_at(op.seg, self.ea(op), value)
    }

    /// Writes at an offset in a segment.
    #[inline]
    pub(crate) fn store_at<W: Word>(
        &mut self,
        seg: u8,
        offset: u64,
        value: W,
    ) -> Result<(), Exception> {
        let va = self.linear(seg, offset, W::BYTES, Access::Write)?;
        self.write_as(va, value, self.explicit())
    }

    /// Finds the memory operand for a read-modify-write: it needs write permission from the start.
    #[inline]
    pub(crate) fn place_rmw<W: Word>(&mut self, op: &Op) -> Result<Place, Exception> {
        self.place_rmw_at::<W>(op.seg, self.ea(op))
    }

    pub(crate) fn place_rmw_at<W: Word>(
        &mut self,
        seg: u8,
        offset: u64,
    ) -> Result<Place, Exception> {
        let va = self.linear(seg, offset, W::BYTES, Access::Write)?;
        self.place(va, W::BYTES, Access::Write, self.explicit())
    }

    /// Reads at a linear address with a given privilege.
    #[inline]
    pub(crate) fn read_as<W: Word>(
        &mut self,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Result<W, Exception> {
        let place = self.place(va, W::BYTES, access, who)?;
        Ok(self.get(place))
    }

    /// Writes at a linear address with a given privilege.
    #[inline]
    pub(crate) fn write_as<W: Word>(
        &mut self,
        va: VirtAddr,
        value: W,
        who: Accessor,
    ) -> Result<(), Exception> {
        let place = self.place(va, W::BYTES, Access::Write, who)?;
        self.put(place, value);
        Ok(())
    }

    /// Writes a descriptor-table field: an implicit supervisor access.
    pub(crate) fn write_system<W: Word>(&mut self, linear: u64, value: W) -> Result<(), Exception> {
        let va = self.cpu.system_address(linear)?;
        self.write_as(va, value, Accessor::SUPERVISOR)
    }

    /// Index of the stack segment's base.
    #[inline]
    pub(crate) const fn stack_seg(&self) -> u8 {
        if self.cpu.is_64bit() {
            FLAT_STACK
        } else {
            SegReg::Ss as u8
        }
    }

    /// Reads on the stack.
    #[inline]
    pub(crate) fn read_stack<W: Word>(&mut self, sp: u64) -> Result<W, Exception> {
        self.load_at(self.stack_seg(), sp & self.cpu.stack_mask())
    }

    /// Writes on the stack.
    #[inline]
    pub(crate) fn write_stack<W: Word>(&mut self, sp: u64, value: W) -> Result<(), Exception> {
        self.store_at(self.stack_seg(), sp & self.cpu.stack_mask(), value)
    }

    /// PUSH: RSP moves only if the write succeeds.
    #[inline]
    pub(crate) fn push<W: Word>(&mut self, value: W) -> Result<(), Exception> {
        let sp = self.cpu.stack_pointer().wrapping_sub(W::BYTES);
        self.write_stack(sp, value)?;
        self.cpu.set_stack_pointer(sp);
        Ok(())
    }

    /// POP: RSP moves only if the read succeeds.
    #[inline]
    pub(crate) fn pop<W: Word>(&mut self) -> Result<W, Exception> {
        let sp = self.cpu.stack_pointer();
        let value = self.read_stack(sp)?;
        self.cpu.set_stack_pointer(sp.wrapping_add(W::BYTES));
        Ok(value)
    }

    /// Reads 16 bytes.
    pub(crate) fn load_128(&mut self, op: &Op) -> Result<u128, Exception> {
        let va = self.linear(op.seg, self.ea(op), 16, Access::Read)?;
        let place = self.place(va, 16, Access::Read, self.explicit())?;
        if place.second.is_none()
            && let Some(value) = self.ram.read(place.first)
        {
            return Ok(value);
        }
        let (low, high) = self.halves(place);
        Ok(u128::from(self.get::<u64>(low)) | (u128::from(self.get::<u64>(high)) << 64))
    }

    /// Writes 16 bytes; all or none.
    pub(crate) fn store_128(&mut self, op: &Op, value: u128) -> Result<(), Exception> {
        let va = self.linear(op.seg, self.ea(op), 16, Access::Write)?;
        let place = self.place(va, 16, Access::Write, self.explicit())?;
        if place.second.is_none() && self.ram.write(place.first, value) {
            return Ok(());
        }
        let (low, high) = self.halves(place);
        self.put(low, value as u64);
        self.put(high, (value >> 64) as u64);
        Ok(())
    }

    /// The two quadwords of a 16-byte place.
    const fn halves(&self, place: Place) -> (Place, Place) {
        match place.second {
            None => (
                place,
                Place {
                    first: place.first.add(8),
                    second: None,
                },
            ),
            Some((second, room)) if room < 8 => (
                Place {
                    first: place.first,
                    second: Some((second, room)),
                },
                Place {
                    first: second.add(8 - room),
                    second: None,
                },
            ),
            Some((second, room)) if room > 8 => (
                Place {
                    first: place.first,
                    second: None,
                },
                Place {
                    first: place.first.add(8),
                    second: Some((second, room - 8)),
                },
            ),
            Some((second, _)) => (
                Place {
                    first: place.first,
                    second: None,
                },
                Place {
                    first: second,
                    second: None,
                },
            ),
        }
    }
}

const fn width<W: Word>() -> Width {
    match <W as Word>::BITS {
        8 => Width::Byte,
        16 => Width::Word,
        32 => Width::Dword,
        _ => Width::Qword,
    }
}
