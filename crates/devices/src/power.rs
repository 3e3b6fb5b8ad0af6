//! Power-off, reset, and the ACPI fixed hardware: event and control registers, power-management timer.
//!
//! | port | what |
//! |---|---|
//! | 600h | PM1a status and enable: kept, nothing sets a status |
//! | 604h | PM1a control: SLP_EN with SLP_TYP 0 is power-off; SCI_EN is always set |
//! | 608h | PM timer, 32 bits |
//! | CF9h | reset control: RST_CPU |
//! | 92h | bit 0 rising is a reset; bit 1, A20, is always set |
//! | 64h | command FEh is a reset pulse; the status is "ready" |
//! | 8900h | the letters `Shutdown` are power-off |
//!
//! Not modelled: sleep states other than off, buttons, the SCI, the keyboard behind port 64h.
//!
//! **Spec:** ACPI 6.5 "PM1 Control Registers", "Power Management Timer"; 82801 data sheet "RST_CNT", "PORT92".

use crate::clock::Crystal;
use memory::Width;

/// PM1a event block.
pub const PM1A_EVENT: u16 = 0x600;
/// PM1a control block.
pub const PM1A_CONTROL: u16 = 0x604;
/// Power-management timer.
pub const PM_TIMER: u16 = 0x608;
/// Reset control register.
pub const RESET_CONTROL: u16 = 0xcf9;
/// What a write to [`RESET_CONTROL`] that resets looks like.
pub const RESET_VALUE: u8 = 0x06;
/// SLP_TYP of power-off.
pub const S5_TYPE: u8 = 0;

const PORT_92: u16 = 0x92;
const KEYBOARD: u16 = 0x64;
const SHUTDOWN: u16 = 0x8900;
const SHUTDOWN_TEXT: &[u8] = b"Shutdown";
const KEYBOARD_PULSE_RESET: u8 = 0xfe;
/// PM1 control: the SCI, not an SMI, tells of events; power states.
const SCI_EN: u16 = 1 << 0;
const SLP_TYP_SHIFT: u16 = 10;
const SLP_EN: u16 = 1 << 13;
/// Counts a second of the power-management timer.
const PM_TIMER_HZ: u64 = 3_579_545;

/// What a write asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    /// Off.
    PowerOff,
    /// From the reset vector.
    Reset,
}

/// The registers.
#[derive(Clone, Debug)]
pub struct Power {
    timer: Crystal,
    enable: u16,
    control: u16,
    reset_control: u8,
    port_92: u8,
    /// Letters of [`SHUTDOWN_TEXT`] seen in a row.
    letters: usize,
}

impl Power {
    /// The registers after reset.
    #[must_use]
    pub const fn new(ticks_per_second: u64) -> Self {
        Self {
            timer: Crystal::new(PM_TIMER_HZ, ticks_per_second),
            enable: 0,
            control: SCI_EN,
            reset_control: 0,
            port_92: 0,
            letters: 0,
        }
    }

    /// Whether an access of `width` at I/O port `port` is for this device.
    #[must_use]
    pub fn claims(port: u16, width: Width) -> bool {
        match port {
            PM1A_EVENT..=0x60b | PORT_92 | KEYBOARD | SHUTDOWN => true,
            // A dword here would be part of PCI's configuration address.
            RESET_CONTROL => width == Width::Byte,
            _ => false,
        }
    }

    /// Reads `width` at I/O port `port` at time `now`.
    #[must_use]
    pub fn read(&self, now: u64, port: u16, width: Width) -> u32 {
        let [t0, t1, t2, t3, ..] = self.timer.counts(now).to_le_bytes();
        let timer = u32::from_le_bytes([t0, t1, t2, t3]);
        let value = match port {
            PM1A_EVENT..PM1A_CONTROL => u32::from(self.enable) << 16 >> (8 * (port - PM1A_EVENT)),
            PM1A_CONTROL..PM_TIMER => u32::from(self.control)
                .checked_shr(8 * u32::from(port - PM1A_CONTROL))
                .unwrap_or(0),
            PM_TIMER..=0x60b => timer >> (8 * (port - PM_TIMER)),
            RESET_CONTROL => self.reset_control.into(),
            PORT_92 => u32::from(self.port_92 | 2),
            KEYBOARD => 0,
            _ => u32::MAX,
        };
        value & u32::try_from(width.ones()).unwrap_or(u32::MAX)
    }

    /// Writes `width` at I/O port `port`.
    #[must_use = "the machine has to be switched off or reset"]
    pub fn write(&mut self, port: u16, width: Width, value: u32) -> Option<PowerRequest> {
        let [low, high, third, fourth] = value.to_le_bytes();
        match (port, width) {
            (PM1A_EVENT, Width::Dword) => self.enable = u16::from_le_bytes([third, fourth]),
            (0x602, Width::Word) => self.enable = u16::from_le_bytes([low, high]),
            (PM1A_CONTROL, Width::Word | Width::Dword) => {
                return self.write_control(u16::from_le_bytes([low, high]));
            }
            (RESET_CONTROL, _) => return self.write_reset_control(low),
            (PORT_92, _) => {
                let rises = low & !self.port_92 & 1 != 0;
                self.port_92 = low;
                return rises.then_some(PowerRequest::Reset);
            }
            (KEYBOARD, _) => return (low == KEYBOARD_PULSE_RESET).then_some(PowerRequest::Reset),
            (SHUTDOWN, _) => return self.write_letter(low),
            _ => {}
        }
        None
    }

    fn write_control(&mut self, value: u16) -> Option<PowerRequest> {
        self.control = value & !SLP_EN | SCI_EN;
        let is_off = value >> SLP_TYP_SHIFT & 7 == u16::from(S5_TYPE);
        (value & SLP_EN != 0 && is_off).then_some(PowerRequest::PowerOff)
    }

    /// RST_CPU rising resets.
    const fn write_reset_control(&mut self, value: u8) -> Option<PowerRequest> {
        const RST_CPU: u8 = 1 << 2;
        let rises = value & !self.reset_control & RST_CPU != 0;
        self.reset_control = value & 0x0e;
        if rises {
            Some(PowerRequest::Reset)
        } else {
            None
        }
    }

    fn write_letter(&mut self, letter: u8) -> Option<PowerRequest> {
        let expected = SHUTDOWN_TEXT.get(self.letters) == Some(&letter);
        self.letters = if expected {
            self.letters + 1
        } else {
            usize::from(letter == SHUTDOWN_TEXT[0])
        };
        (self.letters == SHUTDOWN_TEXT.len()).then_some(PowerRequest::PowerOff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power() -> Power {
        Power::new(PM_TIMER_HZ)
    }

    #[test]
    fn slp_en_with_the_type_of_s5_is_power_off() {
        assert_eq!(
            power().write(0x604, Width::Word, 0x2000),
            Some(PowerRequest::PowerOff)
        );
        assert_eq!(
            power().write(0x604, Width::Word, 0x3400),
            None,
            "a type nobody named"
        );
        assert_eq!(
            power().write(0x604, Width::Word, 0x0000),
            None,
            "without SLP_EN"
        );
        assert_eq!(power().read(0, 0x604, Width::Word), 1, "SCI_EN");
    }

    #[test]
    fn the_enable_register_is_kept_and_the_status_is_clear() {
        let mut power = power();
        assert_eq!(power.write(0x602, Width::Word, 0x0120), None);
        assert_eq!(power.read(0, 0x600, Width::Dword), 0x0120_0000);
        assert_eq!(power.read(0, 0x602, Width::Word), 0x0120);
    }

    #[test]
    fn reset_needs_rst_cpu_to_rise() {
        let mut power = power();
        assert_eq!(power.write(0xcf9, Width::Byte, 0x02), None);
        assert_eq!(
            power.write(0xcf9, Width::Byte, 0x06),
            Some(PowerRequest::Reset)
        );
        assert!(!Power::claims(0xcf9, Width::Dword));
    }

    #[test]
    fn port_92h_bit_0_resets_and_a20_is_on() {
        let mut power = power();
        assert_eq!(power.write(0x92, Width::Byte, 2), None);
        assert_eq!(power.read(0, 0x92, Width::Byte), 2);
        assert_eq!(power.write(0x92, Width::Byte, 3), Some(PowerRequest::Reset));
    }

    #[test]
    fn the_keyboard_controller_is_ready_and_pulses_reset() {
        let mut power = power();
        assert_eq!(power.read(0, 0x64, Width::Byte), 0);
        assert_eq!(power.write(0x64, Width::Byte, 0xd1), None);
        assert_eq!(
            power.write(0x64, Width::Byte, 0xfe),
            Some(PowerRequest::Reset)
        );
    }

    #[test]
    fn only_the_whole_word_shuts_down() {
        let mut power = power();
        let mut say = |text: &[u8]| {
            text.iter()
                .filter_map(|&l| power.write(0x8900, Width::Byte, l.into()))
                .last()
        };
        assert_eq!(say(b"Shutdow"), None);
        assert_eq!(say(b"ShShutdown"), Some(PowerRequest::PowerOff));
    }

    #[test]
    fn the_timer_counts_3_579_545_a_second() {
        assert_eq!(power().read(1_000_000, 0x608, Width::Dword), 1_000_000);
        assert_eq!(power().read(0x1234_5678, 0x60a, Width::Word), 0x1234);
    }
}
