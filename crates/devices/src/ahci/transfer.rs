//! One command on its way: its data, sector by sector, and the FISes about it.
//!
//! The second half of the [engine](super::engine): that one decides which command
//! runs and how it ends, this one moves bytes. Within a sector, pieces are moved
//! in the order of the PRDT, so a transfer that fails part way has moved exactly
//! the pieces before.
//!
//! **Spec:** AHCI 1.3.1 section 5.3 "HBA Port State Machine" (PIO, DX, DR states), 6.1 "Error Types"; Serial ATA "FIS Types".

use super::ata::{Operation, Protocol, identify_data};
use super::command::Fetched;
use super::disk::{DiskImage, Sector};
use super::engine::{Port, Step};
use super::event::{AhciEvent, Direction};
use super::port::STATUS_IDLE;
use super::prdt::{self, Piece, ScatterList};
use ahci_spec::ata::{AtaError, AtaStatus, SECTOR_BYTES};
use ahci_spec::fis::{D2H_INTERRUPT, PIO_DEVICE_TO_HOST, PioSetup};
use ahci_spec::port::PxIs;
use ahci_spec::{FisType, ReceivedFis, RegD2h};
use memory::{Dma, DmaError};
use std::io;
use zerocopy::IntoBytes;

/// Bytes one PIO Setup FIS announces: one sector.
const PIO_BLOCK_BYTES: u16 = 512;
const _: () = assert!(PIO_BLOCK_BYTES as usize == SECTOR_BYTES);

/// A command the device has.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) slot: u32,
    pub(super) command: Fetched,
    pub(super) operation: Operation,
    /// The disk found the command impossible and will say so.
    pub(super) refusal: Option<AtaError>,
    pub(super) list: ScatterList,
    /// Sectors to move; 0 for a command without data or one that is refused.
    pub(super) sectors: u32,
    /// Sectors moved.
    pub(super) moved: u32,
    /// Bytes done, as PRDBC counts them.
    pub(super) bytes: u32,
    /// When the next event is due.
    pub(super) at: u64,
    /// Waits for a release, whatever the time.
    pub(super) is_held: bool,
}

/// Why a command cannot go on.
pub(super) enum Stop {
    /// Memory could not be reached.
    Bus(DmaError),
    /// The disk ends the command with this error.
    Device(AtaError),
    /// The device waits for data the PRDT has no room for.
    Starved,
}

impl From<DmaError> for Stop {
    fn from(error: DmaError) -> Self {
        Self::Bus(error)
    }
}

impl Port {
    /// Moves the next sector.
    pub(super) fn move_sector(
        &mut self,
        active: &mut Active,
        step: &mut Step<'_, '_>,
    ) -> Result<(), Stop> {
        let setup = active.pio_setup();
        if let Some(setup) = &setup {
            self.regs
                .set_task_file(AtaStatus::from_bits_retain(setup.status), 0);
            self.post(ReceivedFis::PSFIS, setup.as_bytes(), step.dma)?;
        }
        match active.operation {
            Operation::Media { direction, lba, .. } => {
                let lba = lba + u64::from(active.moved);
                let pieces = match direction {
                    Direction::ToMemory => self.read_sector(active, lba, step)?,
                    Direction::ToDisk => self.write_sector(active, lba, step)?,
                };
                step.events.push(AhciEvent::Sector {
                    port: self.number,
                    slot: active.slot,
                    lba,
                    direction,
                    index: active.moved,
                    pieces,
                });
            }
            _ => {
                let sectors = self.disk.as_ref().map_or(0, |d| d.sectors());
                self.dr_receive(active, &identify_data(sectors, self.number), step.dma)?;
            }
        }
        active.command.store_count(step.dma, active.bytes)?;
        active.moved += 1;
        if let Some(setup) = setup {
            self.regs
                .set_task_file(AtaStatus::from_bits_retain(setup.e_status), 0);
            if setup.flags & D2H_INTERRUPT != 0 {
                self.regs.raise(PxIs::PSS);
            }
        }
        Ok(())
    }

    fn read_sector(
        &mut self,
        active: &mut Active,
        lba: u64,
        step: &mut Step<'_, '_>,
    ) -> Result<Vec<Piece>, Stop> {
        let mut data = [0; SECTOR_BYTES];
        let read = self.image().and_then(|disk| disk.read(lba, &mut data));
        read.map_err(|e| self.image_failed(lba, e.kind(), AtaError::UNC, step))?;
        self.dr_receive(active, &data, step.dma)
    }

    fn write_sector(
        &mut self,
        active: &mut Active,
        lba: u64,
        step: &mut Step<'_, '_>,
    ) -> Result<Vec<Piece>, Stop> {
        let mut data = [0; SECTOR_BYTES];
        let pieces = self.dx_transmit(active, &mut data, step.dma)?;
        let written = self.image().and_then(|disk| disk.write(lba, &data));
        written.map_err(|e| self.image_failed(lba, e.kind(), AtaError::ABRT, step))?;
        Ok(pieces)
    }

    /// DR:Receive, DR:UpdateByteCount: one Data FIS from the device. What the PRDT has no
    /// room for is dropped and reported as overflow (section 6.1 "Command List Overflow").
    fn dr_receive(
        &mut self,
        active: &mut Active,
        data: &Sector,
        dma: &Dma<'_>,
    ) -> Result<Vec<Piece>, Stop> {
        let mut pieces = Vec::new();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let Some(next) = active.list.next(len_u32(rest)) else {
                self.regs.raise(PxIs::OFS);
                break;
            };
            let (here, after) = rest.split_at(next.piece.len as usize);
            dma.write(next.piece.at, here)?;
            rest = after;
            self.piece_done(active, next, &mut pieces);
        }
        Ok(pieces)
    }

    /// DX:Transmit, DX:UpdateByteCount: one Data FIS to the device.
    fn dx_transmit(
        &mut self,
        active: &mut Active,
        data: &mut Sector,
        dma: &Dma<'_>,
    ) -> Result<Vec<Piece>, Stop> {
        let mut pieces = Vec::new();
        let mut rest = &mut data[..];
        while !rest.is_empty() {
            let next = active.list.next(len_u32(rest)).ok_or(Stop::Starved)?;
            let (here, after) = rest.split_at_mut(next.piece.len as usize);
            dma.read(next.piece.at, here)?;
            rest = after;
            self.piece_done(active, next, &mut pieces);
        }
        Ok(pieces)
    }

    /// DR:PrdSetIntr and DX:PrdSetIntr: a region whose I bit is set is done.
    fn piece_done(&mut self, active: &mut Active, done: prdt::Step, pieces: &mut Vec<Piece>) {
        active.bytes += done.piece.len;
        pieces.push(done.piece);
        if done.interrupt {
            self.regs.raise(PxIs::DPS);
        }
    }

    /// The image; only a port with a disk has a link to reach it by.
    pub(super) fn image(&mut self) -> io::Result<&mut (dyn DiskImage + 'static)> {
        self.disk
            .as_deref_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Reports the host's failure; the guest gets `error`.
    pub(super) fn image_failed(
        &self,
        lba: u64,
        kind: io::ErrorKind,
        error: AtaError,
        step: &mut Step<'_, '_>,
    ) -> Stop {
        step.events.push(AhciEvent::ImageFailed {
            port: self.number,
            lba,
            kind,
        });
        Stop::Device(error)
    }
}

impl Active {
    /// PIO data-in ends with its last data: no D2H Register FIS follows.
    pub(super) const fn ends_with_data(&self) -> bool {
        matches!(
            self.operation,
            Operation::Identify
                | Operation::Media {
                    protocol: Protocol::Pio,
                    direction: Direction::ToMemory,
                    ..
                }
        )
    }

    /// The D2H Register FIS that ends the command.
    pub(super) fn answer(&self, status: AtaStatus, error: AtaError) -> RegD2h {
        let fis = &self.command.fis;
        RegD2h {
            fis_type: FisType::RegD2h as u8,
            flags: D2H_INTERRUPT,
            status: status.bits(),
            error: error.bits(),
            lba_low: fis.lba_low,
            device: fis.device,
            lba_high: fis.lba_high,
            ..RegD2h::default()
        }
    }

    /// The PIO Setup FIS that announces the next sector, if the command is a PIO one.
    ///
    /// PIO data-in interrupts for each sector; PIO data-out for each but the first.
    fn pio_setup(&self) -> Option<PioSetup> {
        let (to_memory, is_pio) = match self.operation {
            Operation::Identify => (true, true),
            Operation::Media {
                direction,
                protocol,
                ..
            } => (direction == Direction::ToMemory, protocol == Protocol::Pio),
            _ => (false, false),
        };
        if !is_pio {
            return None;
        }
        let is_last = self.moved + 1 == self.sectors;
        let direction = if to_memory { PIO_DEVICE_TO_HOST } else { 0 };
        let attention = if to_memory || self.moved > 0 {
            D2H_INTERRUPT
        } else {
            0
        };
        let after = if to_memory && is_last {
            STATUS_IDLE
        } else {
            STATUS_IDLE | AtaStatus::BSY
        };
        Some(PioSetup {
            fis_type: FisType::PioSetup as u8,
            flags: direction | attention,
            status: (STATUS_IDLE | AtaStatus::DRQ).bits(),
            device: self.command.fis.device,
            lba_low: self.command.fis.lba_low,
            lba_high: self.command.fis.lba_high,
            e_status: after.bits(),
            transfer_count: PIO_BLOCK_BYTES.into(),
            ..PioSetup::default()
        })
    }
}

/// Length of a part of a sector.
fn len_u32(part: &[u8]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}
