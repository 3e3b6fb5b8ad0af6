//! The disk's side: what a command FIS asks for, and what IDENTIFY DEVICE answers.
//!
//! Between `command`, which fetches the FIS, and `engine`, which does what it asks. Commands
//! not named here are aborted, as a disk does with what it does not implement;
//! native queuing is among them, and IDENTIFY does not offer it. The disk has no
//! volatile write cache: a write is in the image when its command completes.
//!
//! **Spec:** ATA8-ACS "Command descriptions".

use super::event::Direction;
use ahci_spec::RegH2d;
use ahci_spec::ata::{AtaError, SECTOR_BYTES, feature, identify, opcode};
use ahci_spec::fis::{CONTROL_SRST, DEVICE_LBA, H2D_COMMAND};

/// How data is announced on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// DMA data-in or DMA data-out.
    Dma,
    /// PIO data-in or PIO data-out, one sector per PIO Setup FIS.
    Pio,
}

/// What a command asks the disk to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Move `sectors` sectors from `lba` on.
    Media {
        /// Which way.
        direction: Direction,
        /// First sector.
        lba: u64,
        /// How many.
        sectors: u32,
        /// How it is announced.
        protocol: Protocol,
    },
    /// Check that these sectors exist; their data stays on the disk and is not read.
    Verify {
        /// First sector.
        lba: u64,
        /// How many.
        sectors: u32,
    },
    /// Send the IDENTIFY data.
    Identify,
    /// Make writes durable.
    Flush,
    /// Succeed without doing anything.
    Nothing,
    /// Refuse.
    Abort,
    /// The FIS carries no command: software reset begins.
    ResetBegins,
    /// The FIS carries no command: software reset ends, if one began.
    ResetEnds,
}

impl Operation {
    /// Decodes a command FIS.
    #[must_use]
    pub fn decode(fis: &RegH2d) -> Self {
        use Direction::{ToDisk, ToMemory};
        use Protocol::{Dma, Pio};
        if fis.flags & H2D_COMMAND == 0 {
            let resets = fis.control & CONTROL_SRST != 0;
            return if resets {
                Self::ResetBegins
            } else {
                Self::ResetEnds
            };
        }
        match fis.command {
            opcode::READ_DMA_EXT => media48(fis, ToMemory, Dma),
            opcode::WRITE_DMA_EXT => media48(fis, ToDisk, Dma),
            opcode::READ_SECTORS_EXT => media48(fis, ToMemory, Pio),
            opcode::WRITE_SECTORS_EXT => media48(fis, ToDisk, Pio),
            opcode::READ_DMA => media28(fis, ToMemory, Dma),
            opcode::WRITE_DMA => media28(fis, ToDisk, Dma),
            opcode::READ_SECTORS => media28(fis, ToMemory, Pio),
            opcode::WRITE_SECTORS => media28(fis, ToDisk, Pio),
            opcode::READ_VERIFY => Self::Verify {
                lba: fis.address28(),
                sectors: fis.sectors28(),
            },
            opcode::READ_VERIFY_EXT => Self::Verify {
                lba: fis.address48(),
                sectors: fis.sectors48(),
            },
            opcode::FLUSH_CACHE | opcode::FLUSH_CACHE_EXT => Self::Flush,
            opcode::IDENTIFY_DEVICE => Self::Identify,
            opcode::STANDBY_IMMEDIATE => Self::Nothing,
            opcode::SET_FEATURES => set_features(fis.features),
            _ => Self::Abort,
        }
    }

    /// The first sector addressed; 0 if none is.
    #[must_use]
    pub const fn lba(self) -> u64 {
        match self {
            Self::Media { lba, .. } | Self::Verify { lba, .. } => lba,
            _ => 0,
        }
    }

    /// Sectors whose data goes over the link.
    #[must_use]
    pub const fn data_sectors(self) -> u32 {
        match self {
            Self::Media { sectors, .. } => sectors,
            Self::Identify => 1,
            _ => 0,
        }
    }

    /// Whether the disk, of `capacity` sectors, has all sectors that are addressed.
    ///
    /// # Errors
    ///
    /// IDNF if it has not.
    pub fn check(self, capacity: u64) -> Result<(), AtaError> {
        match self {
            Self::Media { lba, sectors, .. } | Self::Verify { lba, sectors }
                if lba + u64::from(sectors) > capacity =>
            {
                Err(AtaError::IDNF)
            }
            Self::Abort => Err(AtaError::ABRT),
            _ => Ok(()),
        }
    }
}

/// Commands that address by cylinder, head and sector are refused: the disk has no geometry.
fn media48(fis: &RegH2d, direction: Direction, protocol: Protocol) -> Operation {
    if fis.device & DEVICE_LBA == 0 {
        return Operation::Abort;
    }
    let (lba, sectors) = (fis.address48(), fis.sectors48());
    Operation::Media {
        direction,
        lba,
        sectors,
        protocol,
    }
}

fn media28(fis: &RegH2d, direction: Direction, protocol: Protocol) -> Operation {
    if fis.device & DEVICE_LBA == 0 {
        return Operation::Abort;
    }
    let (lba, sectors) = (fis.address28(), fis.sectors28());
    Operation::Media {
        direction,
        lba,
        sectors,
        protocol,
    }
}

/// Accepts what changes nothing on a disk that never reads ahead and never delays a write.
fn set_features(subcommand: u8) -> Operation {
    match subcommand {
        feature::SET_TRANSFER_MODE
        | feature::DISABLE_WRITE_CACHE
        | feature::DISABLE_LOOK_AHEAD
        | feature::ENABLE_LOOK_AHEAD => Operation::Nothing,
        _ => Operation::Abort,
    }
}

/// IDENTIFY DEVICE data of a disk of `sectors` sectors on port `port`.
#[must_use]
pub fn identify_data(sectors: u64, port: u32) -> [u8; SECTOR_BYTES] {
    let mut words = [0_u16; identify::WORDS];
    text(&mut words[identify::SERIAL], &format!("HP{port:08}"));
    text(&mut words[identify::FIRMWARE], "1.0");
    text(&mut words[identify::MODEL], "HALFPAGE DISK");
    words[identify::CONFIGURATION] = 0x0040; // fixed device
    words[identify::MULTIPLE] = 0x8000; // READ MULTIPLE is not offered
    words[identify::CAPABILITIES] = 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11;
    words[identify::CAPABILITIES_2] = 1 << 14;
    words[identify::VALIDITY] = 1 << 1 | 1 << 2;
    number(&mut words[identify::SECTORS_28], sectors.min(0x0fff_ffff));
    words[identify::MULTIWORD_DMA] = 0x0007;
    words[identify::PIO_MODES] = 0x0003;
    words[identify::CYCLE_TIMES].fill(120);
    words[identify::SATA_CAPABILITIES] = 1 << 1 | 1 << 2 | 1 << 3; // 1.5, 3, 6 Gbit/s, no queuing
    words[identify::MAJOR_VERSION] = 1 << 8; // ATA8-ACS
    words[identify::COMMANDS_1] = 1 << 6; // look-ahead, no write cache
    words[identify::COMMANDS_2] = 1 << 10 | 1 << 12 | 1 << 13 | 1 << 14;
    words[identify::COMMANDS_3] = 1 << 14;
    words[identify::ENABLED_1] = words[identify::COMMANDS_1];
    words[identify::ENABLED_2] = 1 << 10 | 1 << 12 | 1 << 13;
    words[identify::ENABLED_3] = 1 << 14;
    words[identify::ULTRA_DMA] = 0x203f; // modes 0 to 5, 5 selected
    number(&mut words[identify::SECTORS_48], sectors);
    words[identify::SECTOR_SIZE] = 1 << 14; // one 512-byte logical sector per physical one
    words[identify::ROTATION_RATE] = 1;
    words[identify::INTEGRITY] = 0x00a5;
    let mut bytes = [0; SECTOR_BYTES];
    for (to, word) in bytes.chunks_exact_mut(2).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    let sum = bytes.iter().fold(0_u8, |sum, &b| sum.wrapping_add(b));
    bytes[SECTOR_BYTES - 1] = sum.wrapping_neg();
    bytes
}

/// Stores `value` low word first.
fn number(words: &mut [u16], value: u64) {
    for (word, bytes) in words.iter_mut().zip(value.to_le_bytes().chunks_exact(2)) {
        *word = u16::from_le_bytes([bytes[0], bytes[1]]);
    }
}

/// Stores ASCII text padded with spaces, the first of two characters in the high byte.
fn text(words: &mut [u16], value: &str) {
    let mut bytes = value.bytes().chain(std::iter::repeat(b' '));
    for word in words {
        let pair = [bytes.next().unwrap_or(b' '), bytes.next().unwrap_or(b' ')];
        *word = u16::from_be_bytes(pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sectors: u64) -> [u16; identify::WORDS] {
        let bytes = identify_data(sectors, 0);
        std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
    }

    #[test]
    fn identify_states_the_capacity_twice_and_clips_the_28_bit_one() {
        let words = words(0x1_2345_6789);
        assert_eq!(identify::sectors_48(&words), 0x1_2345_6789);
        assert_eq!((words[60], words[61]), (0xffff, 0x0fff));
    }

    #[test]
    fn identify_data_sums_to_zero_and_carries_the_signature_of_its_checksum() {
        let bytes = identify_data(77, 3);
        assert_eq!(bytes[510], 0xa5);
        assert_eq!(bytes.iter().fold(0_u8, |s, &b| s.wrapping_add(b)), 0);
    }

    #[test]
    fn identify_offers_48_bit_dma_and_flush_but_neither_queuing_nor_a_write_cache() {
        let words = words(77);
        assert_eq!(words[83] & 0x7400, 0x7400);
        assert_eq!(words[49] & 0x0300, 0x0300);
        assert_eq!((words[76] & 1 << 8, words[82] & 1 << 5), (0, 0));
    }

    #[test]
    fn text_has_its_first_character_in_the_high_byte() {
        assert_eq!(words(1)[27].to_be_bytes(), *b"HA");
    }

    #[test]
    fn an_address_range_is_checked_at_its_end() {
        for (lba, sectors, fits) in [(0, 8, true), (0, 9, false), (7, 1, true), (8, 1, false)] {
            let fis = RegH2d::lba48(opcode::READ_DMA_EXT, lba, sectors);
            assert_eq!(
                Operation::decode(&fis).check(8).is_ok(),
                fits,
                "{lba}+{sectors}"
            );
        }
        let last = RegH2d::lba48(opcode::WRITE_DMA_EXT, (1 << 48) - 1, 0);
        assert_eq!(Operation::decode(&last).check(8), Err(AtaError::IDNF));
    }
}
