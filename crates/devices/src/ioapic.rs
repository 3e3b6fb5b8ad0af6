//! The I/O APIC: 24 lines, each turned into a message to local APICs.
//!
//! Modelled: fixed, lowest-priority and NMI delivery, edge and level with remote IRR,
//! masks, EOI by broadcast and by register. Not modelled: ExtINT and SMI entries (they
//! send nothing), polarity (the board says "asserted", whatever the voltage), delivery
//! status (always idle).
//!
//! **Spec:** Intel 82093AA data sheet "I/O APIC Registers"; 82801 data sheet "EOI register".

use crate::apic::ipi::{Ipi, Trigger};
use std::collections::VecDeque;

/// First byte of its window.
pub const BASE: u64 = 0xfec0_0000;
/// Length of its window in bytes.
pub const WINDOW_BYTES: u64 = 0x1000;
/// Number of lines.
pub const LINES: u8 = 24;

/// Offsets in the window.
mod reg {
    pub(super) const SELECT: u64 = 0x00;
    pub(super) const DATA: u64 = 0x10;
    pub(super) const EOI: u64 = 0x40;
}

/// Version 20h (with an EOI register), 24 entries.
const VERSION: u32 = 0x0017_0020;
const MASKED: u64 = 1 << 16;
const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const STATUS: u64 = 1 << 12;

/// An I/O APIC.
#[derive(Clone, Debug)]
pub struct IoApic {
    id: u32,
    select: u8,
    entries: [u64; LINES as usize],
    lines: u32,
    messages: VecDeque<Ipi>,
}

impl Default for IoApic {
    fn default() -> Self {
        Self::new()
    }
}

impl IoApic {
    /// An I/O APIC after reset: all masked.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            id: 0,
            select: 0,
            entries: [MASKED; LINES as usize],
            lines: 0,
            messages: VecDeque::new(),
        }
    }

    /// Sets the level of line `line`; lines that do not exist are ignored.
    pub fn set_line(&mut self, line: u8, asserted: bool) {
        let Some(bit) = 1_u32.checked_shl(line.into()).filter(|_| line < LINES) else {
            return;
        };
        let rises = asserted && self.lines & bit == 0;
        self.lines = if asserted {
            self.lines | bit
        } else {
            self.lines & !bit
        };
        let line = usize::from(line);
        let is_edge = self.entries[line] & LEVEL == 0;
        if rises || asserted && !is_edge {
            self.send(line);
        }
    }

    /// Sends the message of `line`, unless it is masked or waits for an EOI.
    fn send(&mut self, line: usize) {
        let entry = self.entries[line];
        if entry & (MASKED | REMOTE_IRR) != 0 {
            return;
        }
        let trigger = if entry & LEVEL == 0 {
            Trigger::Edge
        } else {
            Trigger::Level
        };
        let Some(ipi) = Ipi::from_redirection(entry, trigger) else {
            return;
        };
        self.messages.push_back(ipi);
        if trigger == Trigger::Level {
            self.entries[line] |= REMOTE_IRR;
        }
    }

    /// Takes a message that is to be routed.
    pub fn take_message(&mut self) -> Option<Ipi> {
        self.messages.pop_front()
    }

    /// A local APIC ended a level-triggered interrupt with this vector.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for line in 0..self.entries.len() {
            let entry = self.entries[line];
            if entry.to_le_bytes()[0] == vector && entry & LEVEL != 0 {
                self.entries[line] &= !REMOTE_IRR;
                self.send_if_level(line);
            }
        }
    }

    fn send_if_level(&mut self, line: usize) {
        if self.entries[line] & LEVEL != 0 && self.lines >> line & 1 != 0 {
            self.send(line);
        }
    }

    /// Reads the dword at `offset` of the window.
    #[must_use]
    pub fn read(&self, offset: u64) -> u32 {
        match offset {
            reg::SELECT => self.select.into(),
            reg::DATA => self.read_selected(),
            _ => 0,
        }
    }

    fn read_selected(&self) -> u32 {
        match self.select {
            0 | 2 => self.id,
            1 => VERSION,
            index => self.entry_half(index).map_or(0, |(line, shift)| {
                let [b0, b1, b2, b3, ..] = (self.entries[line] >> shift).to_le_bytes();
                u32::from_le_bytes([b0, b1, b2, b3])
            }),
        }
    }

    /// Entry and bit position that the register `index` shows.
    fn entry_half(&self, index: u8) -> Option<(usize, u32)> {
        let half = index.checked_sub(0x10)?;
        let line = usize::from(half / 2);
        (line < self.entries.len()).then_some((line, u32::from(half % 2) * 32))
    }

    /// Writes the dword at `offset` of the window.
    pub fn write(&mut self, offset: u64, value: u32) {
        match offset {
            reg::SELECT => self.select = value.to_le_bytes()[0],
            reg::DATA => self.write_selected(value),
            reg::EOI => self.end_of_interrupt(value.to_le_bytes()[0]),
            _ => {}
        }
    }

    fn write_selected(&mut self, value: u32) {
        if self.select == 0 {
            self.id = value & 0x0f00_0000;
        }
        let Some((line, shift)) = self.entry_half(self.select) else {
            return;
        };
        let writable = u64::from(u32::MAX) << shift & !(REMOTE_IRR | STATUS);
        let entry = &mut self.entries[line];
        *entry = *entry & !writable | u64::from(value) << shift & writable;
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE_IRR;
        }
        self.send_if_level(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apic::ipi::{Delivery, Destination};

    fn set(ioapic: &mut IoApic, index: u32, value: u32) {
        ioapic.write(reg::SELECT, index);
        ioapic.write(reg::DATA, value);
    }

    fn get(ioapic: &mut IoApic, index: u32) -> u32 {
        ioapic.write(reg::SELECT, index);
        ioapic.read(reg::DATA)
    }

    fn pulse(ioapic: &mut IoApic, line: u8) {
        ioapic.set_line(line, true);
        ioapic.set_line(line, false);
    }

    #[test]
    fn version_tells_24_entries_which_start_masked() {
        let mut ioapic = IoApic::new();
        assert_eq!(get(&mut ioapic, 1), 0x0017_0020);
        for line in 0..24 {
            assert_eq!(get(&mut ioapic, 0x10 + 2 * line), 0x1_0000);
        }
        assert_eq!(get(&mut ioapic, 0x40), 0, "no entry 24");
    }

    #[test]
    fn an_edge_sends_the_entry_s_message_once_and_a_masked_one_none() {
        let mut ioapic = IoApic::new();
        pulse(&mut ioapic, 4);
        set(&mut ioapic, 0x19, 0x0300_0000);
        set(&mut ioapic, 0x18, 0x34);
        assert_eq!(ioapic.take_message(), None, "a masked edge is lost");
        ioapic.set_line(4, true);
        ioapic.set_line(4, true);
        let message = Ipi {
            delivery: Delivery::Fixed(0x34),
            destination: Destination::Physical(3),
            trigger: Trigger::Edge,
        };
        assert_eq!(
            (ioapic.take_message(), ioapic.take_message()),
            (Some(message), None)
        );
    }

    #[test]
    fn a_level_is_sent_again_after_eoi_while_it_stays_asserted() {
        let mut ioapic = IoApic::new();
        ioapic.set_line(11, true);
        set(&mut ioapic, 0x26, 0x0001_8045);
        assert_eq!(ioapic.take_message(), None);
        set(&mut ioapic, 0x26, 0x8045);
        assert_eq!(
            ioapic.take_message().map(|m| m.trigger),
            Some(Trigger::Level)
        );
        assert_eq!(get(&mut ioapic, 0x26), 0xc045, "remote IRR");
        set(&mut ioapic, 0x26, 0x8045);
        assert_eq!(ioapic.take_message(), None, "not before its EOI");
        ioapic.end_of_interrupt(0x44);
        assert_eq!(ioapic.take_message(), None, "another vector's EOI");
        ioapic.end_of_interrupt(0x45);
        assert!(ioapic.take_message().is_some());
        ioapic.set_line(11, false);
        ioapic.write(reg::EOI, 0x45);
        assert_eq!(ioapic.take_message(), None);
        assert_eq!(get(&mut ioapic, 0x26), 0x8045);
    }
}
