//! What a disk's sectors are kept in.
//!
//! The engine reads and writes one sector at a time, so an image needs no more
//! than that. [`FileDisk`](super::FileDisk) is the one over a host file.

use ahci_spec::ata::SECTOR_BYTES;
use std::io;

/// One sector's bytes.
pub type Sector = [u8; SECTOR_BYTES];

/// A disk's sectors. The device checks addresses against [`DiskImage::sectors`] first.
pub trait DiskImage: Send {
    /// Number of sectors.
    fn sectors(&self) -> u64;

    /// Reads sector `lba`.
    ///
    /// # Errors
    ///
    /// What the host said; the guest sees an uncorrectable data error.
    fn read(&self, lba: u64, out: &mut Sector) -> io::Result<()>;

    /// Writes sector `lba`; when it returns, whoever reads the image sees the bytes.
    ///
    /// # Errors
    ///
    /// What the host said; the guest sees the command aborted.
    fn write(&mut self, lba: u64, bytes: &Sector) -> io::Result<()>;

    /// Makes all writes durable.
    ///
    /// # Errors
    ///
    /// What the host said; the guest sees the command aborted.
    fn flush(&mut self) -> io::Result<()>;
}

/// A disk in memory.
#[derive(Clone, Debug)]
pub struct MemDisk(Vec<u8>);

impl MemDisk {
    /// A disk that holds `bytes`, padded with zeros to whole sectors, of which it has at least one.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>) -> Self {
        let len = bytes.len().max(1).next_multiple_of(SECTOR_BYTES);
        bytes.resize(len, 0);
        Self(bytes)
    }

    /// A zeroed disk of `sectors` sectors (at least one).
    #[must_use]
    pub fn zeroed(sectors: usize) -> Self {
        Self::new(vec![0; sectors * SECTOR_BYTES])
    }

    /// All bytes, sector by sector.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn at(&self, lba: u64) -> io::Result<usize> {
        let index = usize::try_from(lba).map_err(|_| io::ErrorKind::InvalidInput)?;
        let start = index
            .checked_mul(SECTOR_BYTES)
            .ok_or(io::ErrorKind::InvalidInput)?;
        if start < self.0.len() {
            Ok(start)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

impl DiskImage for MemDisk {
    fn sectors(&self) -> u64 {
        (self.0.len() / SECTOR_BYTES) as u64
    }

    fn read(&self, lba: u64, out: &mut Sector) -> io::Result<()> {
        let start = self.at(lba)?;
        out.copy_from_slice(&self.0[start..start + SECTOR_BYTES]);
        Ok(())
    }

    fn write(&mut self, lba: u64, bytes: &Sector) -> io::Result<()> {
        let start = self.at(lba)?;
        self.0[start..start + SECTOR_BYTES].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_whole_sectors_and_never_empty() {
        assert_eq!(MemDisk::new(Vec::new()).sectors(), 1);
        assert_eq!(MemDisk::new(vec![1; 513]).sectors(), 2);
        assert_eq!(MemDisk::zeroed(7).sectors(), 7);
    }

    #[test]
    fn a_sector_beyond_the_end_is_an_error_and_changes_nothing() {
        let mut disk = MemDisk::new(vec![7; 512]);
        for lba in [1, u64::MAX / 512, u64::MAX] {
            assert!(disk.write(lba, &[1; 512]).is_err());
            assert!(disk.read(lba, &mut [0; 512]).is_err());
        }
        assert_eq!(disk.bytes(), [7; 512]);
    }
}
