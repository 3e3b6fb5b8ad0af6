//! Names as the kernel wants them: bytes that end with NUL.
//!
//! Neighbours: [`crate::file`] and [`crate::process`] turn `&str` into these.

use core::ffi::CStr;

use crate::errno::Errno;

/// Longest name, NUL included: above any name the archive can hold.
const NAME_BYTES: usize = 128;

/// A file name with its NUL.
pub(crate) struct CName {
    bytes: [u8; NAME_BYTES],
}

impl CName {
    /// Copies `name`; one that is too long or holds a NUL names no file.
    pub(crate) fn new(name: &str) -> Result<Self, Errno> {
        let mut bytes = [0; NAME_BYTES];
        if name.len() >= NAME_BYTES || name.contains('\0') {
            return Err(Errno::ENOENT);
        }
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes })
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).expect("the last byte is always NUL")
    }
}
