//! get_user_pages: frames a device may use for as long as it takes.
//!
//! What is returned are frame numbers, fixed at this moment. The page tables may move
//! the page elsewhere afterwards, and nobody tells the device; when that may happen is
//! what the policies differ in.

use crate::area::Sharing;
use crate::fault::FaultError;
use crate::frame::{Frame, FrameTable};
use crate::hardware::Hardware;
use crate::memory::Memory;
use crate::range::PageRange;
use crate::space::AddressSpace;
use alloc::vec::Vec;
use x86::VirtAddr;
use x86::addr::PAGE_BYTES;
use x86::fault::Access;

/// What will be done to the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GupWrite {
    /// The device reads them: the program writes a file.
    Read,
    /// The device writes them: the program reads a file.
    Write,
}

impl AddressSpace {
    /// Takes a reference on the frames of `npages` pages from the page of `va` on, in order,
    /// as a program's own access would find them.
    ///
    /// The references are given back by [`put_user_pages`], which needs no address space:
    /// they outlive `munmap` and exit.
    ///
    /// # Errors
    ///
    /// [`FaultError`] if an access of the program would have failed; no reference is kept.
    pub fn get_user_pages<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        va: VirtAddr,
        npages: u64,
        write: GupWrite,
    ) -> Result<Vec<Frame>, FaultError> {
        let len_bytes = npages.checked_mul(PAGE_BYTES).ok_or(FaultError::Sigsegv)?;
        let range = PageRange::new(va.page_base(), len_bytes).map_err(|_| FaultError::Sigsegv)?;
        let mut pages = Vec::new();
        for va in range.pages() {
            let room = pages.try_reserve(1).map_err(|_| FaultError::OutOfMemory);
            match room.and_then(|()| self.follow_page(mem, va, write)) {
                Ok(frame) => pages.push(frame),
                Err(error) => {
                    put_user_pages(&mut mem.frames, &pages);
                    return Err(error);
                }
            }
        }
        Ok(pages)
    }

    fn follow_page<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        va: VirtAddr,
        write: GupWrite,
    ) -> Result<Frame, FaultError> {
        let wanted = match write {
            GupWrite::Read => Access::Read,
            GupWrite::Write => Access::Write,
        };
        let area = self.allowed_area(va, wanted)?;
        let access = (mem.policy.on_gup)(wanted, &area);
        self.fault_in(mem, &area, va, access)?;
        let frame = self.pte(mem, va).frame();
        mem.frames.pin(frame);
        if area.sharing == Sharing::Private {
            mem.frames.set_gup(frame);
        }
        Ok(frame)
    }
}

/// Gives back references taken by [`AddressSpace::get_user_pages`].
pub fn put_user_pages(frames: &mut FrameTable, pages: &[Frame]) {
    for &frame in pages {
        frames.unpin(frame);
    }
}
