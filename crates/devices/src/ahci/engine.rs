//! One port at work: the command list engine, the transfer of sectors, the FISes posted.
//!
//! Owns a port's [registers](super::port) and its disk. Functions bear the names
//! of the states of the specification.
//!
//! ```text
//!            ST, device free        PxCI                 header, table, PRDT read
//! NotRunning ──────────────► Idle ───────► FetchCmd ─────────────────────────────► Executing
//!      ▲                       ▲                │                                   │  │
//!      │ ST cleared            └── ClearCI ─────┼──── D2H FIS, no error ◄───────────┘  │
//!      └──────────────────── WaitForClear ◄─────┴──── fatal error ◄────────────────────┘
//! ```
//!
//! Each sector travels as one Data FIS and is one event: the disk's bytes are
//! read, and memory is written, at that sector's own point in time.
//!
//! **Spec:** AHCI 1.3.1 section 5.3 "HBA Port State Machine", section 6 "Error Reporting and Recovery".

use super::ata::Operation;
use super::command::{FetchError, Fetched};
use super::disk::DiskImage;
use super::event::{AhciEvent, Transfer};
use super::hba::{NewTransfers, Timing};
use super::port::{Device, Effect, PortRegs, STATUS_IDLE};
use super::transfer::{Active, Stop};
use ahci_spec::ata::{AtaError, AtaStatus, DIAGNOSTICS_PASSED, SECTOR_BYTES};
use ahci_spec::port::{PortReg, PxIs, PxSerr};
use ahci_spec::{FisType, ReceivedFis, RegD2h};
use memory::{Dma, DmaError};
use zerocopy::IntoBytes;

/// Where the command list engine stands.
#[derive(Debug)]
enum State {
    /// P:NotRunning.
    NotRunning,
    /// P:Idle.
    Idle,
    /// P:SelectCmd has chosen a slot; P:FetchCmd is due.
    FetchCmd { slot: u32, at: u64 },
    /// CFIS:Xmit to RegFIS:Entry: the device works.
    Executing(Box<Active>),
    /// ERR:WaitForClear: until software clears PxCMD.ST.
    WaitForClear,
}

/// What one step is given.
pub(super) struct Step<'a, 'm> {
    pub(super) dma: &'a Dma<'m>,
    pub(super) events: &'a mut Vec<AhciEvent>,
    pub(super) timing: Timing,
}

/// One port.
pub(super) struct Port {
    pub(super) number: u32,
    pub(super) regs: PortRegs,
    pub(super) disk: Option<Box<dyn DiskImage>>,
    state: State,
    /// The slot served last; the next one is looked for after it (section 3.3.7, CCS).
    last_slot: Option<u32>,
    /// Issued slots whose transfers are to be held.
    held_slots: u32,
    /// When the device's signature arrives after a reset.
    signature_at: Option<u64>,
    /// A software reset has begun.
    in_software_reset: bool,
}

impl Port {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            regs: PortRegs::new(Device::Absent),
            disk: None,
            state: State::NotRunning,
            last_slot: None,
            held_slots: 0,
            signature_at: None,
            in_software_reset: false,
        }
    }

    pub(super) fn attach(&mut self, disk: Box<dyn DiskImage>) {
        *self = Self::new(self.number);
        self.regs = PortRegs::new(Device::Present);
        self.disk = Some(disk);
    }

    pub(super) fn disk(&self) -> Option<&dyn DiskImage> {
        self.disk.as_deref()
    }

    pub(super) fn write(
        &mut self,
        now: u64,
        reg: PortReg,
        value: u32,
        mode: NewTransfers,
        timing: Timing,
    ) {
        match self.regs.write(reg, value) {
            Effect::None | Effect::UpdateInterrupt => {}
            Effect::IssueSlots(slots) => {
                if mode == NewTransfers::Hold {
                    self.held_slots |= slots;
                }
                self.select_cmd(now);
            }
            Effect::StartCommandList => self.select_cmd(now),
            Effect::StopCommandList => {
                self.state = State::NotRunning;
                self.last_slot = None;
                self.held_slots = 0;
            }
            Effect::LinkDown => self.drop_device(),
            Effect::LinkUp => self.await_signature(now, timing),
        }
    }

    pub(super) fn reset(&mut self, now: u64, timing: Timing) {
        self.drop_device();
        self.state = State::NotRunning;
        self.last_slot = None;
        self.held_slots = 0;
        if self.regs.reset() == Effect::LinkUp {
            self.await_signature(now, timing);
        }
    }

    /// COMRESET while a command runs loses the command; only clearing ST helps the engine.
    fn drop_device(&mut self) {
        self.signature_at = None;
        self.in_software_reset = false;
        self.state = match self.state {
            State::NotRunning | State::Idle => State::NotRunning,
            State::FetchCmd { .. } | State::Executing(_) | State::WaitForClear => {
                State::WaitForClear
            }
        };
    }

    fn await_signature(&mut self, now: u64, timing: Timing) {
        if self.regs.is_linked() {
            self.signature_at = Some(now.saturating_add(timing.service_ticks));
        }
    }

    pub(super) fn next_event(&self) -> Option<u64> {
        let work = match &self.state {
            State::FetchCmd { at, .. } => Some(*at),
            State::Executing(active) if !active.is_held => Some(active.at),
            _ => None,
        };
        [work, self.signature_at].into_iter().flatten().min()
    }

    pub(super) fn release(&mut self, now: u64) {
        self.held_slots = 0;
        if let State::Executing(active) = &mut self.state
            && active.is_held
        {
            active.is_held = false;
            active.at = active.at.max(now);
        }
    }

    pub(super) fn in_flight(&self) -> Option<Transfer> {
        let State::Executing(active) = &self.state else {
            return None;
        };
        let Operation::Media {
            direction,
            lba,
            sectors,
            ..
        } = active.operation
        else {
            return None;
        };
        Some(Transfer {
            port: self.number,
            slot: active.slot,
            direction,
            lba,
            sectors,
            moved: active.moved,
            held: active.is_held,
            pieces: active.list.pieces(u64::from(sectors) * SECTOR_BYTES as u64),
        })
    }

    /// Does the event that is due first.
    pub(super) fn step(&mut self, step: &mut Step<'_, '_>) {
        if let Some(at) = self.signature_at
            && self.next_event() == Some(at)
        {
            self.signature_at = None;
            self.signature(at, step);
            return;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::FetchCmd { slot, at } => self.fetch_cmd(slot, at, step),
            State::Executing(active) => self.execute(active, step),
            other => self.state = other,
        }
    }

    /// P:SelectCmd: the next issued slot after the one served last, around the end.
    fn select_cmd(&mut self, now: u64) {
        if self.regs.is_running() && matches!(self.state, State::NotRunning) {
            self.state = State::Idle;
        }
        if !matches!(self.state, State::Idle) || self.regs.issued() == 0 {
            return;
        }
        let first = self.last_slot.map_or(0, |s| (s + 1) % 32);
        let slot = (self.regs.issued().rotate_right(first).trailing_zeros() + first) % 32;
        self.last_slot = Some(slot);
        self.regs.select(slot);
        self.state = State::FetchCmd { slot, at: now };
    }

    /// P:FetchCmd, CFIS:Xmit.
    fn fetch_cmd(&mut self, slot: u32, now: u64, step: &mut Step<'_, '_>) {
        let fetched = Fetched::fetch(step.dma, self.regs.command_list(), slot);
        let command = match fetched {
            Ok(command) => command,
            Err(FetchError::Dma(error)) => return self.err_host_bus(Some(slot), error, step),
            Err(FetchError::Refused) => return self.err_handshake(),
        };
        let operation = Operation::decode(&command.fis);
        let refusal = operation
            .check(self.disk.as_ref().map_or(0, |d| d.sectors()))
            .err();
        let sectors = if refusal.is_none() {
            operation.data_sectors()
        } else {
            0
        };
        let bytes = u64::from(sectors) * SECTOR_BYTES as u64;
        let list = match command.scatter_list(step.dma, bytes) {
            Ok(list) => list,
            Err(error) => return self.err_host_bus(Some(slot), error, step),
        };
        self.regs.set_task_file(STATUS_IDLE | AtaStatus::BSY, 0);
        step.events.push(AhciEvent::CommandIssued {
            port: self.number,
            slot,
            command: command.fis.command,
            lba: operation.lba(),
            sectors: operation.data_sectors(),
            pieces: list.pieces(bytes),
        });
        let is_media = matches!(operation, Operation::Media { .. }) && refusal.is_none();
        self.state = State::Executing(Box::new(Active {
            slot,
            command,
            operation,
            refusal,
            list,
            sectors,
            moved: 0,
            bytes: 0,
            at: now.saturating_add(step.timing.service_ticks),
            is_held: is_media && self.held_slots & 1 << slot != 0,
        }));
    }

    /// The next sector, or the end of the command.
    fn execute(&mut self, mut active: Box<Active>, step: &mut Step<'_, '_>) {
        if active.moved == active.sectors {
            return self.finish(&active, step);
        }
        match self.move_sector(&mut active, step) {
            Ok(()) if active.moved == active.sectors && active.ends_with_data() => {
                self.clear_ci(&active, STATUS_IDLE, step);
            }
            Ok(()) => {
                active.at = active.at.saturating_add(step.timing.sector_ticks);
                self.state = State::Executing(active);
            }
            Err(Stop::Bus(error)) => self.err_host_bus(Some(active.slot), error, step),
            Err(Stop::Device(error)) => self.err_fatal_taskfile(&active, error, step),
            Err(Stop::Starved) => self.err_starved(),
        }
    }

    /// The device has done all it was asked for; what it says then.
    fn finish(&mut self, active: &Active, step: &mut Step<'_, '_>) {
        if let Some(error) = active.refusal {
            return self.err_fatal_taskfile(active, error, step);
        }
        match active.operation {
            Operation::ResetBegins => {
                self.in_software_reset = true;
                self.no_answer(active, step);
            }
            Operation::ResetEnds if self.in_software_reset => {
                self.in_software_reset = false;
                self.regs.clear_issued(active.slot);
                self.signature(active.at, step);
            }
            Operation::ResetEnds => self.no_answer(active, step),
            Operation::Flush => {
                let flushed = self.image().and_then(DiskImage::flush);
                match flushed.map_err(|e| self.image_failed(0, e.kind(), AtaError::ABRT, step)) {
                    Ok(()) => self.reg_fis(active, step),
                    Err(_) => self.err_fatal_taskfile(active, AtaError::ABRT, step),
                }
            }
            _ => self.reg_fis(active, step),
        }
    }

    /// RegFIS:Entry, without error: the D2H Register FIS that ends a command.
    fn reg_fis(&mut self, active: &Active, step: &mut Step<'_, '_>) {
        let fis = active.answer(STATUS_IDLE, AtaError::empty());
        if let Err(error) = self.post(ReceivedFis::RFIS, fis.as_bytes(), step.dma) {
            return self.err_host_bus(Some(active.slot), error, step);
        }
        self.regs.raise(PxIs::DHRS);
        self.clear_ci(active, STATUS_IDLE, step);
    }

    /// RegFIS:ClearCI and back to P:Idle; also how a PIO data-in command ends.
    fn clear_ci(&mut self, active: &Active, status: AtaStatus, step: &mut Step<'_, '_>) {
        self.regs.set_task_file(status, 0);
        self.regs.clear_issued(active.slot);
        self.held_slots &= !(1 << active.slot);
        self.completed(active.slot, status, AtaError::empty(), step);
        self.state = State::Idle;
        self.select_cmd(active.at);
    }

    /// A FIS that carries no command gets no answer: with C in the header the HBA clears BSY by
    /// itself (section 10.4.1 "Software Reset"), without it the port stays busy.
    fn no_answer(&mut self, active: &Active, step: &mut Step<'_, '_>) {
        if active.command.clears_busy() {
            self.clear_ci(active, STATUS_IDLE, step);
        } else {
            self.state = State::WaitForClear;
        }
    }

    /// The signature D2H FIS after a reset; its I bit is clear.
    fn signature(&mut self, now: u64, step: &mut Step<'_, '_>) {
        self.regs.signature_received();
        let fis = RegD2h {
            fis_type: FisType::RegD2h as u8,
            status: STATUS_IDLE.bits(),
            error: DIAGNOSTICS_PASSED,
            lba_low: [1, 0, 0],
            count: 1.into(),
            ..RegD2h::default()
        };
        if let Err(error) = self.post(ReceivedFis::RFIS, fis.as_bytes(), step.dma) {
            return self.err_host_bus(None, error, step);
        }
        self.regs.run_if_ready();
        self.select_cmd(now);
    }

    /// ERR:FatalTaskfile: a D2H Register FIS with ERR. PxCI keeps the command's bit and
    /// PxIS.DHRS is not set (section 5.3.8.1, RegFIS:Entry).
    fn err_fatal_taskfile(&mut self, active: &Active, error: AtaError, step: &mut Step<'_, '_>) {
        self.state = State::WaitForClear;
        let status = STATUS_IDLE | AtaStatus::ERR;
        let fis = active.answer(status, error);
        if let Err(error) = self.post(ReceivedFis::RFIS, fis.as_bytes(), step.dma) {
            return self.err_host_bus(Some(active.slot), error, step);
        }
        self.regs.set_task_file(status, error.bits());
        self.regs.raise(PxIs::TFES);
        self.completed(active.slot, status, error, step);
    }

    /// Memory could not be reached (section 6.1 "System Memory Errors"): fatal, and an internal error in PxSERR.
    fn err_host_bus(&mut self, slot: Option<u32>, error: DmaError, step: &mut Step<'_, '_>) {
        self.state = State::WaitForClear;
        self.regs.raise(PxIs::HBFS);
        self.regs.link_error(PxSerr::ERR_E);
        step.events.push(AhciEvent::DmaFailed {
            port: self.number,
            slot,
            error,
        });
    }

    /// The device answers R_ERR to a FIS it does not know.
    // DEPARTS: an HBA sends a refused non-data FIS again and again (section 6.1 "Interface Errors", PxIS.INFS);
    // this one gives up at once with PxIS.IFS.
    fn err_handshake(&mut self) {
        self.state = State::WaitForClear;
        self.regs.raise(PxIs::IFS);
        self.regs.link_error(PxSerr::DIAG_H);
    }

    /// The PRDT ends before the data of a write: the device waits for it, busy, until it is reset.
    fn err_starved(&mut self) {
        self.state = State::WaitForClear;
        self.regs.raise(PxIs::OFS);
    }

    fn completed(&self, slot: u32, status: AtaStatus, error: AtaError, step: &mut Step<'_, '_>) {
        step.events.push(AhciEvent::Completed {
            port: self.number,
            slot,
            status,
            error,
        });
    }

    /// Posts a FIS to the received-FIS area, if PxCMD.FR says it is there.
    pub(super) fn post(&self, offset: u64, fis: &[u8], dma: &Dma<'_>) -> Result<(), DmaError> {
        match self.regs.fis_area() {
            Some(area) => dma.write(area.wrapping_add(offset), fis),
            None => Ok(()),
        }
    }
}
