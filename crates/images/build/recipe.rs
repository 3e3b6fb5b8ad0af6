//! The recipe of the boot disk, and the patterns it can name.
//!
//! Neighbours: `images/boot-disk.toml` is the recipe and explains its keys.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// What is on the disk.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Where the archive lies.
    pub(crate) partition: Partition,
    /// Programs, built from `firmware/user`.
    #[serde(rename = "program")]
    pub(crate) programs: Vec<Program>,
    /// Files with a pattern in them.
    pub(crate) data: Vec<Data>,
}

/// The only partition.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partition {
    /// First sector of the partition.
    pub(crate) start_sector: u32,
    /// Its type byte in the partition table.
    #[serde(rename = "type")]
    pub(crate) kind: u8,
}

/// A program on the disk.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    /// Its name on the disk.
    pub(crate) name: String,
    /// The package in `firmware/user` that has it.
    pub(crate) package: String,
}

impl Program {
    /// The binary that cargo makes: the last part of the name.
    pub(crate) fn binary(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}

/// A file with a pattern in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// Its name on the disk.
    pub(crate) name: String,
    /// Its length.
    pub(crate) size_bytes: usize,
    /// What it holds.
    pub(crate) fill: Fill,
}

/// A pattern.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fill {
    /// No two sectors are equal, and no byte is one of [`RESERVED`].
    NumberedSectors,
    /// This byte everywhere.
    Byte(u8),
}

/// Bytes that programs fill memory with; a file must not be taken for memory.
const RESERVED: [u8; 5] = [0x00, 0x2a, 0x55, 0x5a, 0xff];
/// How many values that leaves. A prime, so every stride below visits all of them.
const LETTERS: usize = 256 - RESERVED.len();
const SECTOR_BYTES: usize = 512;

impl Recipe {
    /// Reads the recipe.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path);
        let text = text.unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

impl Fill {
    /// The first `len` bytes of the pattern.
    pub(crate) fn bytes(self, len: usize) -> Vec<u8> {
        match self {
            Self::Byte(byte) => vec![byte; len],
            Self::NumberedSectors => (0..len)
                .map(|at| numbered(at / SECTOR_BYTES, at % SECTOR_BYTES))
                .collect(),
        }
    }
}

/// Byte `offset` of sector `sector`: letters from a start on, at a stride. Together, start
/// and stride are the sector's number.
fn numbered(sector: usize, offset: usize) -> u8 {
    let (stride, start) = (1 + sector / LETTERS, sector % LETTERS);
    assert!(
        stride < LETTERS,
        "numbered-sectors: sector {sector} would repeat an earlier one"
    );
    let letter = (start + stride * offset) % LETTERS;
    let mut letters = (0..=u8::MAX).filter(|byte| !RESERVED.contains(byte));
    letters.nth(letter).expect("a letter is below LETTERS")
}
