//! Values that are nothing but their bytes, for copying to and from programs.

use guest_abi::syscall::{DirEntry, IoEvent, Iocb, PageInfo, ProcInfo, SysInfo, Timespec};

/// Types any bytes are a value of, and all of whose bytes are initialised.
///
/// # Safety
///
/// `repr(C)` or primitive, without padding, references, or invalid bit patterns.
pub unsafe trait Plain: Copy {
    /// Its bytes in memory.
    fn bytes(&self) -> &[u8] {
        // SAFETY: no padding, by the trait's contract, so every byte may be read.
        unsafe { core::slice::from_raw_parts((&raw const *self).cast(), size_of::<Self>()) }
    }

    /// Its bytes in memory, to be overwritten by any others.
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: any bytes are a value, by the trait's contract.
        unsafe { core::slice::from_raw_parts_mut((&raw mut *self).cast(), size_of::<Self>()) }
    }
}

macro_rules! plain {
    ($($type:ty: $bytes:literal),*) => {$(
        // SAFETY: `repr(C)` of plain numbers; the size is the sum of the fields, so
        // there is no padding.
        unsafe impl Plain for $type {}
        const _: () = assert!(size_of::<$type>() == $bytes);
    )*};
}

plain!(
    u8: 1, i32: 4, u32: 4, u64: 8,
    Timespec: 16, Iocb: 64, IoEvent: 32, PageInfo: 24, SysInfo: 56,
    DirEntry: 128, ProcInfo: 72
);
