//! From an operand to its linear address: effective address, segment, limit, canonical form.
//!
//! In 64-bit mode that is an addition, unless accesses are watched (see [`debug`](crate::debug)).
//!
//! **Spec:** SDM 3A "Protection Checks", "Limit Checking"; SDM 1 "Canonical Addressing", "Specifying an Offset".

use crate::core::Core;
use crate::exception::Exception;
use crate::op::{FLAT_STACK, Op};
use crate::segment::{SegReg, Segment};
use x86::VirtAddr;
use x86::fault::Access;

impl Core<'_> {
    /// Effective address of the memory operand.
    #[inline]
    pub(crate) fn ea(&self, op: &Op) -> u64 {
        let regs = &self.cpu.regs;
        let index = regs[usize::from(op.index)] << op.scale;
        regs[usize::from(op.base)]
            .wrapping_add(index)
            .wrapping_add(op.disp)
            & op.addr_mask
    }

    /// Linear address of `len` bytes at `offset` in the segment with index `seg`.
    #[inline]
    pub(crate) fn linear(
        &mut self,
        seg: u8,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<VirtAddr, Exception> {
        if self.cpu.is_plain_64bit() {
            self.linear_64(seg, offset, len)
        } else {
            self.linear_checked(seg, offset, len, access)
        }
    }

    /// Outside 64-bit mode, and wherever accesses are watched.
    fn linear_checked(
        &mut self,
        seg: u8,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<VirtAddr, Exception> {
        let va = if self.cpu.is_64bit() {
            self.linear_64(seg, offset, len)?
        } else {
            self.linear_legacy(seg, offset, len, access)?
        };
        if self.cpu.debug.watching {
            self.watch(va, len, access)?;
        }
        Ok(va)
    }

    #[inline]
    fn linear_64(&self, seg: u8, offset: u64, len: u64) -> Result<VirtAddr, Exception> {
        let raw = self.cpu.seg_base[usize::from(seg)].wrapping_add(offset);
        let last = VirtAddr::new(raw.wrapping_add(len - 1));
        match (VirtAddr::new(raw), last) {
            (Ok(va), Ok(_)) => Ok(va),
            _ if seg == FLAT_STACK => Err(Exception::Ss(0)),
            _ => Err(Exception::Gp(0)),
        }
    }

    fn linear_legacy(
        &self,
        seg: u8,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<VirtAddr, Exception> {
        let segment = &self.cpu.segs[usize::from(seg)];
        if !segment_allows(segment, offset, len, access) {
            return Err(if seg == SegReg::Ss as u8 {
                Exception::Ss(0)
            } else {
                Exception::Gp(0)
            });
        }
        Ok(VirtAddr::from_u32(
            (segment.base.wrapping_add(offset) & 0xffff_ffff) as u32,
        ))
    }
}

/// Limit and type checks outside 64-bit mode.
pub(crate) fn segment_allows(segment: &Segment, offset: u64, len: u64, access: Access) -> bool {
    let desc = segment.desc;
    let usable = match access {
        Access::Read => desc.is_readable(),
        Access::Write => desc.is_writable_data(),
        Access::Fetch => desc.is_code_or_data(),
    };
    let last = offset + (len - 1);
    let limit = u64::from(segment.limit);
    let expand_down = desc.is_code_or_data() && !desc.is_code() && desc.kind() & 4 != 0;
    let inside = if expand_down {
        let top = if desc.is_32bit() { 0xffff_ffff } else { 0xffff };
        offset > limit && last <= top
    } else {
        last <= limit
    };
    usable && inside
}
