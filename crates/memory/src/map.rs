//! The physical address map: what answers at an address, and the rules of the bus.
//!
//! Devices see offsets and the widths they are made for. That an access lies wholly in a
//! window, that it is split or refused, and that nobody answers with all ones is
//! decided here, once, for all of them.

use x86::PhysAddr;

/// Width of one access to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 1 byte.
    Byte = 1,
    /// 2 bytes.
    Word = 2,
    /// 4 bytes.
    Dword = 4,
    /// 8 bytes.
    Qword = 8,
}

impl Width {
    /// Length in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self as u64
    }

    /// All ones at this width: what a read of nothing gives.
    #[must_use]
    pub const fn ones(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// Widths of access a device's window accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Aligned dwords. Wider accesses are split, narrower reads are cut from a
    /// dword, narrower writes are dropped.
    DwordOnly,
}

/// What answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region<D> {
    /// A device's window.
    Mmio {
        /// Whose.
        device: D,
        /// Offset of the address in the window.
        offset: u64,
    },
    /// Nobody (or RAM, which is not this map's).
    Unclaimed,
}

#[derive(Clone, Copy, Debug)]
struct Window<D> {
    base: PhysAddr,
    len: u64,
    access: Access,
    device: D,
}

/// Windows of devices `D` in guest-physical space. RAM wins over any window.
#[derive(Clone, Debug, Default)]
pub struct AddressMap<D> {
    windows: Vec<Window<D>>,
}

impl<D: Copy + Eq> AddressMap<D> {
    /// A map in which nobody answers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            windows: Vec::new(),
        }
    }

    /// Puts the window of `device` at `base`, or moves it there.
    pub fn place(&mut self, device: D, base: PhysAddr, len: u64, access: Access) {
        self.remove(device);
        self.windows.push(Window {
            base,
            len,
            access,
            device,
        });
    }

    /// Takes the window of `device` off the map.
    pub fn remove(&mut self, device: D) {
        self.windows.retain(|w| w.device != device);
    }

    /// What answers at `at`.
    #[must_use]
    pub fn region(&self, at: PhysAddr) -> Region<D> {
        match self.window(at) {
            Some((window, offset)) => Region::Mmio {
                device: window.device,
                offset,
            },
            None => Region::Unclaimed,
        }
    }

    fn window(&self, at: PhysAddr) -> Option<(&Window<D>, u64)> {
        self.windows.iter().find_map(|w| {
            let offset = at.get().checked_sub(w.base.get())?;
            (offset < w.len).then_some((w, offset))
        })
    }

    /// Reads `width` at `at`, asking `device` for each dword that is needed.
    ///
    /// Parts nobody claims read as ones.
    pub fn read(&self, at: PhysAddr, width: Width, mut device: impl FnMut(D, u64) -> u32) -> u64 {
        let mut value = 0;
        let mut done = 0;
        while done < width.bytes() {
            let here = at.add(done);
            let in_dword = here.get() % 4;
            let take = (4 - in_dword).min(width.bytes() - done);
            let dword = match self.window(here) {
                Some((w, offset)) => match w.access {
                    Access::DwordOnly => device(w.device, offset - in_dword),
                },
                None => u32::MAX,
            };
            let part = (u64::from(dword) >> (8 * in_dword)) & (u64::MAX >> (64 - 8 * take));
            value |= part << (8 * done);
            done += take;
        }
        value
    }

    /// Writes `width` at `at`, handing `device` each aligned dword that is wholly written.
    ///
    /// The rest, and what nobody claims, is dropped.
    pub fn write(
        &self,
        at: PhysAddr,
        width: Width,
        value: u64,
        mut device: impl FnMut(D, u64, u32),
    ) {
        let mut done = at.get().next_multiple_of(4) - at.get();
        while done + 4 <= width.bytes() {
            if let Some((w, offset)) = self.window(at.add(done)) {
                let dword = (value >> (8 * done)) & u64::from(u32::MAX);
                match (w.access, u32::try_from(dword)) {
                    (Access::DwordOnly, Ok(dword)) => device(w.device, offset, dword),
                    (Access::DwordOnly, Err(_)) => unreachable!("masked to 32 bits"),
                }
            }
            done += 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: PhysAddr = PhysAddr::new(0xfee0_0000);

    fn map() -> AddressMap<u8> {
        let mut map = AddressMap::new();
        map.place(7, BASE, 0x1000, Access::DwordOnly);
        map
    }

    /// A device whose dword at offset `o` reads as `o` in every byte's place.
    fn echo(_: u8, offset: u64) -> u32 {
        0x0302_0100 + u32::try_from(offset).unwrap() * 0x0101_0101
    }

    #[test]
    fn unclaimed_reads_are_all_ones_at_each_width() {
        for (width, ones) in [
            (Width::Byte, 0xff),
            (Width::Word, 0xffff),
            (Width::Dword, 0xffff_ffff),
            (Width::Qword, u64::MAX),
        ] {
            assert_eq!(map().read(PhysAddr::new(0xd000_0000), width, echo), ones);
        }
    }

    #[test]
    fn a_qword_read_is_two_dwords_low_first() {
        assert_eq!(map().read(BASE, Width::Qword, echo), 0x0706_0504_0302_0100);
    }

    #[test]
    fn a_narrow_or_misaligned_read_is_cut_from_dwords() {
        assert_eq!(map().read(BASE.add(2), Width::Byte, echo), 0x02);
        assert_eq!(map().read(BASE.add(2), Width::Dword, echo), 0x0504_0302);
    }

    #[test]
    fn a_read_across_the_end_of_a_window_is_ones_outside_it() {
        let value = map().read(BASE.add(0xffe), Width::Dword, |_, _| 0);
        assert_eq!(value, 0xffff_0000);
    }

    #[test]
    fn a_write_that_is_not_a_whole_dword_reaches_no_device() {
        let mut seen = Vec::new();
        for (at, width) in [(0, Width::Byte), (0, Width::Word), (2, Width::Dword)] {
            map().write(BASE.add(at), width, 0x1122_3344, |_, o, v| {
                seen.push((o, v))
            });
        }
        assert_eq!(seen, []);
        map().write(
            BASE.add(2),
            Width::Qword,
            0x1122_3344_5566_7788,
            |_, o, v| seen.push((o, v)),
        );
        assert_eq!(seen, [(4, 0x3344_5566)]);
    }

    #[test]
    fn a_moved_window_no_longer_answers_at_its_old_place() {
        let mut map = map();
        map.place(7, PhysAddr::new(0xe000_0000), 0x1000, Access::DwordOnly);
        assert_eq!(map.region(BASE), Region::Unclaimed);
        assert_eq!(
            map.region(PhysAddr::new(0xe000_0010)),
            Region::Mmio {
                device: 7,
                offset: 0x10
            }
        );
    }
}
