//! A disk in a host file.
//!
//! Beside [`disk`](super::disk), whose trait it implements. Each write reaches
//! the file before the command that asked for it completes, so what a guest was
//! told is on the medium is in the file, whatever becomes of this process; a
//! flush asks the host to make it durable.

use super::disk::{DiskImage, Sector};
use ahci_spec::ata::SECTOR_BYTES;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Why a file cannot be a disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host would not open it.
    #[error("cannot open disk image {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// The file is there and may not be written.
    #[error("disk image {} is read-only: expected a file that can be written", path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// No bytes, or no plain file.
    #[error("disk image {} is empty: expected at least one sector of 512 bytes", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// A part of a sector at the end.
    #[error("disk image {} has {len} bytes: expected a multiple of 512", path.display())]
    PartialSector {
        /// Which file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
}

/// A disk in a host file.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    sectors: u64,
}

impl FileDisk {
    /// Opens the image at `path` for reading and writing.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the file is unchanged.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = open_writable(path)?;
        let metadata = file.metadata().map_err(|source| OpenError::Open {
            path: path.into(),
            source,
        })?;
        if metadata.permissions().readonly() {
            // The host lets a privileged user write to it all the same; its owner did not mean that.
            let source = io::ErrorKind::PermissionDenied.into();
            return Err(OpenError::ReadOnly {
                path: path.into(),
                source,
            });
        }
        let len = metadata.len();
        if len == 0 {
            return Err(OpenError::Empty { path: path.into() });
        }
        if !len.is_multiple_of(SECTOR_BYTES as u64) {
            return Err(OpenError::PartialSector {
                path: path.into(),
                len,
            });
        }
        Ok(Self {
            file,
            sectors: len / SECTOR_BYTES as u64,
        })
    }
}

fn open_writable(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| {
            let path = path.to_path_buf();
            let refused = matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            );
            if refused && File::open(&path).is_ok() {
                OpenError::ReadOnly { path, source }
            } else {
                OpenError::Open { path, source }
            }
        })
}

impl DiskImage for FileDisk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&self, lba: u64, out: &mut Sector) -> io::Result<()> {
        self.file.read_exact_at(out, byte_offset(lba)?)
    }

    fn write(&mut self, lba: u64, bytes: &Sector) -> io::Result<()> {
        self.file.write_all_at(bytes, byte_offset(lba)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn byte_offset(lba: u64) -> io::Result<u64> {
    lba.checked_mul(SECTOR_BYTES as u64)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is removed when the test is over.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let name = format!("devices-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_write_is_in_the_file_before_any_flush() {
        let scratch = Scratch::new("write", &[0; 1024]);
        let mut disk = FileDisk::open(&scratch.0).unwrap();
        assert_eq!(disk.sectors(), 2);
        disk.write(1, &[0xab; 512]).unwrap();
        let bytes = std::fs::read(&scratch.0).unwrap();
        assert_eq!(
            (&bytes[..512], &bytes[512..]),
            (&[0; 512][..], &[0xab; 512][..])
        );
        let mut out = [0; 512];
        disk.read(1, &mut out).unwrap();
        assert_eq!(out, [0xab; 512]);
        disk.flush().unwrap();
    }

    #[test]
    fn an_image_that_is_no_disk_is_refused_with_its_path_and_size() {
        let odd = Scratch::new("odd", &[0; 700]);
        let message = FileDisk::open(&odd.0).unwrap_err().to_string();
        assert!(
            message.contains("devices-") && message.contains("700 bytes"),
            "{message}"
        );

        let empty = Scratch::new("empty", &[]);
        assert!(matches!(
            FileDisk::open(&empty.0),
            Err(OpenError::Empty { .. })
        ));

        let missing = std::env::temp_dir().join("devices-no-such-image");
        assert!(matches!(
            FileDisk::open(&missing),
            Err(OpenError::Open { .. })
        ));
    }

    #[test]
    fn a_sector_the_file_lost_is_an_error() {
        let scratch = Scratch::new("short", &[0; 1024]);
        let disk = FileDisk::open(&scratch.0).unwrap();
        std::fs::write(&scratch.0, [0; 512]).unwrap();
        assert!(disk.read(1, &mut [0; 512]).is_err());
        assert!(disk.read(u64::MAX, &mut [0; 512]).is_err());
    }
}
