//! A 16550 UART at 3F8h, as far as a console needs it: bytes out, bytes in, its interrupt.
//!
//! The machine takes what was sent ([`Uart::take_output`]) and pushes what is
//! typed ([`Uart::push_input`]). The line is infinitely fast: a byte written is
//! sent at once, and THRE never falls. Baud rate and frame format are kept and
//! read back without effect.
//!
//! Modelled: DLAB, FIFO enable and reset, trigger levels, all four interrupt
//! causes with their priority, loopback. Not modelled: parity, framing and break
//! errors, DMA mode, the character timeout as a delay (it is immediate).
//!
//! **Spec:** National PC16550D data sheet, section 8 "Registers".

use std::collections::VecDeque;

/// First I/O port.
pub const BASE: u16 = 0x3f8;
/// Number of I/O ports.
pub const LEN: u16 = 8;
/// Legacy interrupt line.
pub const IRQ: u8 = 4;

/// Bytes a FIFO holds.
const FIFO_BYTES: usize = 16;

/// IER bits.
mod ier {
    /// Received data available.
    pub(super) const RECEIVED: u8 = 1 << 0;
    /// Transmitter holding register empty.
    pub(super) const EMPTY: u8 = 1 << 1;
    /// Receiver line status.
    pub(super) const LINE: u8 = 1 << 2;
    /// Modem status.
    pub(super) const MODEM: u8 = 1 << 3;
    /// Bits that exist.
    pub(super) const ALL: u8 = 0x0f;
}

/// IIR values, bits 3:0, and the FIFO bits.
mod iir {
    /// Nothing pending.
    pub(super) const NONE: u8 = 0x01;
    /// Modem status.
    pub(super) const MODEM: u8 = 0x00;
    /// Transmitter holding register empty.
    pub(super) const EMPTY: u8 = 0x02;
    /// Received data at the trigger level.
    pub(super) const RECEIVED: u8 = 0x04;
    /// Receiver line status.
    pub(super) const LINE: u8 = 0x06;
    /// Received data below the trigger level.
    pub(super) const TIMEOUT: u8 = 0x0c;
    /// FIFOs are enabled.
    pub(super) const FIFOS: u8 = 0xc0;
}

/// LCR bit 7: ports 0 and 1 are the divisor latch.
const LCR_DLAB: u8 = 1 << 7;
/// FCR: FIFO enable, receiver FIFO reset; bits 7:6 are the trigger level.
const FCR_ENABLE: u8 = 1 << 0;
const FCR_RESET_RECEIVER: u8 = 1 << 1;
/// MCR bit 3: OUT2 gates the interrupt line on a PC. Bit 4: loopback.
const MCR_OUT2: u8 = 1 << 3;
const MCR_LOOP: u8 = 1 << 4;
const MCR_ALL: u8 = 0x1f;
/// LSR: data ready, overrun error, holding register and shift register empty.
const LSR_READY: u8 = 1 << 0;
const LSR_OVERRUN: u8 = 1 << 1;
const LSR_EMPTY: u8 = 1 << 5 | 1 << 6;
/// MSR while a terminal is connected: CTS, DSR, DCD.
const MSR_CONNECTED: u8 = 1 << 4 | 1 << 5 | 1 << 7;

/// A 16550.
#[derive(Clone, Debug, Default)]
pub struct Uart {
    divisor: [u8; 2],
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    overrun: bool,
    /// MSR bits 3:0: lines that changed since MSR was read.
    modem_changed: u8,
    /// The holding register ran empty and nobody was told yet.
    empty_pending: bool,
    receiver: VecDeque<u8>,
    /// Typed, and not yet in the receiver.
    input: VecDeque<u8>,
    output: Vec<u8>,
}

impl Uart {
    /// A UART after reset.
    #[must_use]
    pub fn new() -> Self {
        Self {
            divisor: [12, 0],
            ..Self::default()
        }
    }

    /// Whether I/O port `port` is one of this device's.
    #[must_use]
    pub const fn claims(port: u16) -> bool {
        matches!(port.checked_sub(BASE), Some(offset) if offset < LEN)
    }

    /// Takes what the guest has sent since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Queues bytes for the guest; they enter the receiver as there is room, so none is lost.
    pub fn push_input(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        self.fill();
    }

    /// Level of the interrupt line, which OUT2 gates and loopback cuts off.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        self.cause() != iir::NONE && self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2
    }

    /// Reads the register at `offset` (the low three bits count).
    pub fn read(&mut self, offset: u16) -> u8 {
        let is_dlab = self.lcr & LCR_DLAB != 0;
        match offset & 7 {
            0 if is_dlab => self.divisor[0],
            1 if is_dlab => self.divisor[1],
            0 => self.receive(),
            1 => self.ier,
            2 => self.identify_interrupt(),
            3 => self.lcr,
            4 => self.mcr,
            5 => self.line_status(),
            6 => self.modem_status(),
            _ => self.scr,
        }
    }

    /// Writes the register at `offset` (the low three bits count).
    pub fn write(&mut self, offset: u16, value: u8) {
        let is_dlab = self.lcr & LCR_DLAB != 0;
        match offset & 7 {
            0 if is_dlab => self.divisor[0] = value,
            1 if is_dlab => self.divisor[1] = value,
            0 => self.send(value),
            1 => self.write_ier(value & ier::ALL),
            2 => self.write_fcr(value),
            3 => self.lcr = value,
            4 => self.write_mcr(value & MCR_ALL),
            7 => self.scr = value,
            _ => {} // LSR and MSR are read only
        }
    }

    const fn capacity(&self) -> usize {
        if self.fcr & FCR_ENABLE == 0 {
            1
        } else {
            FIFO_BYTES
        }
    }

    /// Bytes in the receiver that raise "received data available".
    const fn trigger(&self) -> usize {
        if self.fcr & FCR_ENABLE == 0 {
            return 1;
        }
        match self.fcr >> 6 {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }

    fn fill(&mut self) {
        while self.mcr & MCR_LOOP == 0 && self.receiver.len() < self.capacity() {
            let Some(byte) = self.input.pop_front() else {
                break;
            };
            self.receiver.push_back(byte);
        }
    }

    fn receive(&mut self) -> u8 {
        let byte = self.receiver.pop_front().unwrap_or(0);
        self.fill();
        byte
    }

    fn send(&mut self, byte: u8) {
        if self.mcr & MCR_LOOP == 0 {
            self.output.push(byte);
        } else if self.receiver.len() < self.capacity() {
            self.receiver.push_back(byte);
        } else {
            self.overrun = true;
        }
        self.empty_pending = true;
    }

    /// Enabling the empty interrupt while the register is empty raises it at once.
    const fn write_ier(&mut self, value: u8) {
        if value & !self.ier & ier::EMPTY != 0 {
            self.empty_pending = true;
        }
        self.ier = value;
    }

    fn write_fcr(&mut self, value: u8) {
        let toggles = (self.fcr ^ value) & FCR_ENABLE != 0;
        if toggles || value & FCR_RESET_RECEIVER != 0 {
            self.receiver.clear();
        }
        self.fcr = if value & FCR_ENABLE == 0 {
            0
        } else {
            value & (FCR_ENABLE | 0xc0)
        };
        self.fill();
    }

    fn write_mcr(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value;
        let after = self.modem_lines();
        let changed = (before ^ after) >> 4;
        // TERI (bit 2) records only a falling RI.
        let ring_rose = after >> 4 & 1 << 2;
        self.modem_changed |= changed & !ring_rose;
        self.fill();
    }

    /// MSR bits 7:4; in loopback they are MCR's RTS, DTR, OUT1, OUT2.
    const fn modem_lines(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return MSR_CONNECTED;
        }
        let (dtr, rts, outs) = (self.mcr & 1, self.mcr >> 1 & 1, self.mcr >> 2 & 3);
        rts << 4 | dtr << 5 | outs << 6
    }

    const fn modem_status(&mut self) -> u8 {
        let value = self.modem_lines() | self.modem_changed;
        self.modem_changed = 0;
        value
    }

    fn line_status(&mut self) -> u8 {
        let ready = if self.receiver.is_empty() {
            0
        } else {
            LSR_READY
        };
        let overrun = if std::mem::take(&mut self.overrun) {
            LSR_OVERRUN
        } else {
            0
        };
        LSR_EMPTY | ready | overrun
    }

    /// The pending cause of highest priority, as IIR bits 3:0 name it.
    fn cause(&self) -> u8 {
        let waiting = self.receiver.len();
        if self.ier & ier::LINE != 0 && self.overrun {
            iir::LINE
        } else if self.ier & ier::RECEIVED != 0 && waiting >= self.trigger() {
            iir::RECEIVED
        } else if self.ier & ier::RECEIVED != 0 && waiting > 0 {
            iir::TIMEOUT
        } else if self.ier & ier::EMPTY != 0 && self.empty_pending {
            iir::EMPTY
        } else if self.ier & ier::MODEM != 0 && self.modem_changed != 0 {
            iir::MODEM
        } else {
            iir::NONE
        }
    }

    /// Reading IIR takes back the empty interrupt if it is the one shown.
    fn identify_interrupt(&mut self) -> u8 {
        let cause = self.cause();
        if cause == iir::EMPTY {
            self.empty_pending = false;
        }
        let fifos = if self.fcr & FCR_ENABLE == 0 {
            0
        } else {
            iir::FIFOS
        };
        cause | fifos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_out_in_order() {
        let mut uart = Uart::new();
        for byte in *b"boot" {
            assert_eq!(uart.read(5) & 0x60, 0x60);
            uart.write(0, byte);
        }
        assert_eq!(
            (uart.take_output(), uart.take_output()),
            (b"boot".to_vec(), Vec::new())
        );
    }

    #[test]
    fn more_input_than_the_fifo_holds_is_not_lost() {
        let mut uart = Uart::new();
        uart.write(2, 0x01);
        let typed: Vec<u8> = (0..100).collect();
        uart.push_input(&typed);
        let mut read = Vec::new();
        while uart.read(5) & 1 != 0 {
            read.push(uart.read(0));
        }
        assert_eq!(read, typed);
        assert_eq!(uart.read(0), 0);
    }

    #[test]
    fn the_divisor_hides_behind_dlab() {
        let mut uart = Uart::new();
        uart.write(3, 0x83);
        uart.write(0, 1);
        uart.write(1, 2);
        assert_eq!((uart.read(0), uart.read(1)), (1, 2));
        uart.write(3, 0x03);
        assert_eq!((uart.read(0), uart.read(1)), (0, 0));
        assert_eq!(uart.take_output(), []);
    }

    #[test]
    fn a_driver_that_looks_for_a_16550a_finds_one() {
        let mut uart = Uart::new();
        assert_eq!(uart.read(2), 0x01);
        uart.write(2, 0x01);
        assert_eq!(uart.read(2), 0xc1);
        uart.write(7, 0x5a);
        uart.write(1, 0xff);
        assert_eq!((uart.read(7), uart.read(1)), (0x5a, 0x0f));
    }

    #[test]
    fn loopback_returns_bytes_and_modem_lines_and_sends_nothing() {
        let mut uart = Uart::new();
        uart.write(4, 0x1a); // loop, OUT2, RTS
        assert_eq!(uart.read(6) & 0xf0, 0x90);
        uart.write(0, b'x');
        assert_eq!((uart.read(0), uart.take_output()), (b'x', Vec::new()));
    }

    #[test]
    fn a_byte_that_finds_the_receiver_full_in_loopback_is_an_overrun_once() {
        let mut uart = Uart::new();
        uart.write(4, MCR_LOOP);
        uart.write(0, 1);
        uart.write(0, 2);
        assert_eq!(uart.read(5) & LSR_OVERRUN, LSR_OVERRUN);
        assert_eq!(uart.read(5) & LSR_OVERRUN, 0);
        assert_eq!(uart.read(0), 1);
    }

    #[test]
    fn the_line_is_up_while_a_cause_is_enabled_and_out2_lets_it_through() {
        let mut uart = Uart::new();
        uart.push_input(b"k");
        assert!(!uart.interrupt());
        uart.write(1, ier::RECEIVED);
        assert!(!uart.interrupt());
        uart.write(4, MCR_OUT2);
        assert!(uart.interrupt());
        assert_eq!(uart.read(2), iir::RECEIVED);
        assert_eq!(uart.read(0), b'k');
        assert!(!uart.interrupt());
    }

    #[test]
    fn bytes_below_the_trigger_level_show_as_a_timeout() {
        let mut uart = Uart::new();
        uart.write(2, 0x81); // trigger at 8
        uart.write(1, ier::RECEIVED);
        uart.push_input(b"1234567");
        assert_eq!(uart.read(2) & 0x0f, iir::TIMEOUT);
        uart.push_input(b"8");
        assert_eq!(uart.read(2) & 0x0f, iir::RECEIVED);
    }

    #[test]
    fn the_empty_interrupt_comes_when_enabled_and_goes_when_identified() {
        let mut uart = Uart::new();
        uart.write(1, ier::EMPTY);
        assert_eq!(uart.read(2), iir::EMPTY);
        assert_eq!(uart.read(2), iir::NONE);
        uart.write(0, b'a');
        assert_eq!(uart.read(2), iir::EMPTY);
    }

    #[test]
    fn no_sequence_of_accesses_panics() {
        let mut uart = Uart::new();
        let mut seed = 1_u32;
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [_, value, offset, what] = seed.to_le_bytes();
            match what % 3 {
                0 => uart.write(offset.into(), value),
                1 => _ = uart.read(offset.into()),
                _ => uart.push_input(&[value]),
            }
        }
    }
}
