//! The pair of 8259 interrupt controllers, with the edge/level registers of a PC chipset.
//!
//! Lines 0–7 are the master's, 8–15 the slave's, whose output is the master's line 2.
//! The board sets lines and asks [`PicPair::output`]; the processor's
//! acknowledge cycle is [`PicPair::acknowledge`].
//!
//! Modelled: ICW1–ICW4, masks, fixed priority and rotation, specific and
//! non-specific EOI, automatic EOI, special mask mode, polling, ELCR, spurious
//! interrupts. Not modelled: 8085 vectors, special fully nested mode, buffered mode.
//!
//! **Spec:** Intel 8259A data sheet "Programming the 8259A"; 82801 data sheet
//! "ELCR1—Master Controller Edge/Level Triggered Register".

/// Line of the master that the slave drives.
const CASCADE: u8 = 2;
/// Lines that can never be level-triggered: timer, keyboard, cascade; clock.
const ELCR_FIXED: [u8; 2] = [0b0000_0111, 0b0010_0001];
/// What an acknowledge cycle gives when nothing is pending any more.
const SPURIOUS: u8 = 7;

/// What comes next of the initialization words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Nothing,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259.
#[derive(Clone, Debug, Default)]
struct Pic {
    irr: u8,
    isr: u8,
    imr: u8,
    lines: u8,
    /// ELCR: lines that are level-triggered.
    level: u8,
    vector_base: u8,
    expect: Expect,
    wants_icw4: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_mask: bool,
    read_isr: bool,
    poll: bool,
    /// Line of highest priority.
    first: u8,
}

impl Pic {
    const fn set_line(&mut self, line: u8, asserted: bool) {
        let bit = 1 << line;
        if !asserted {
            self.lines &= !bit;
            if self.level & bit != 0 {
                self.irr &= !bit;
            }
            return;
        }
        if self.level & bit != 0 || self.lines & bit == 0 {
            self.irr |= bit;
        }
        self.lines |= bit;
    }

    /// How many lines are of higher priority; 8 if `lines` is empty.
    const fn rank(&self, lines: u8) -> u8 {
        let zeros = lines.rotate_right(self.first as u32).trailing_zeros();
        zeros.to_le_bytes()[0]
    }

    /// The line to be served now, if one is above what is in service.
    const fn pending(&self) -> Option<u8> {
        let requests = self.rank(self.irr & !self.imr);
        let in_service = if self.special_mask {
            self.isr & !self.imr
        } else {
            self.isr
        };
        if requests < self.rank(in_service) {
            Some((requests + self.first) & 7)
        } else {
            None
        }
    }

    /// The acknowledge cycle: request to service.
    const fn acknowledge(&mut self) -> u8 {
        let Some(line) = self.pending() else {
            return SPURIOUS;
        };
        let bit = 1 << line;
        if self.level & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.first = (line + 1) & 7;
        }
        line
    }

    fn write_command(&mut self, value: u8) {
        match value >> 3 & 3 {
            0 => self.write_ocw2(value),
            1 => self.write_ocw3(value),
            _ => self.write_icw1(value),
        }
    }

    fn write_icw1(&mut self, value: u8) {
        *self = Self {
            lines: self.lines,
            level: self.level,
            irr: self.lines & self.level,
            expect: Expect::Icw2,
            wants_icw4: value & 1 != 0,
            ..Self::default()
        };
    }

    /// End of interrupt and rotation.
    const fn write_ocw2(&mut self, value: u8) {
        let level = value & 7;
        let highest = (self.rank(self.isr) + self.first) & 7;
        match value >> 5 {
            0 => self.rotate_on_auto_eoi = false,
            4 => self.rotate_on_auto_eoi = true,
            1 if self.isr != 0 => self.isr &= !(1 << highest),
            5 if self.isr != 0 => {
                self.isr &= !(1 << highest);
                self.first = (highest + 1) & 7;
            }
            3 => self.isr &= !(1 << level),
            6 => self.first = (level + 1) & 7,
            7 => {
                self.isr &= !(1 << level);
                self.first = (level + 1) & 7;
            }
            _ => {}
        }
    }

    const fn write_ocw3(&mut self, value: u8) {
        self.poll = value & 4 != 0;
        if value & 2 != 0 {
            self.read_isr = value & 1 != 0;
        }
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
    }

    fn write_data(&mut self, value: u8) {
        self.expect = match self.expect {
            Expect::Nothing => {
                self.imr = value;
                Expect::Nothing
            }
            Expect::Icw2 => {
                self.vector_base = value & 0xf8;
                // ICW3 is always due: the two are cascaded whatever ICW1 says.
                Expect::Icw3
            }
            Expect::Icw3 if self.wants_icw4 => Expect::Icw4,
            Expect::Icw3 => Expect::Nothing,
            Expect::Icw4 => {
                self.auto_eoi = value & 2 != 0;
                Expect::Nothing
            }
        };
    }

    const fn read_command(&mut self) -> u8 {
        if self.poll {
            self.poll = false;
            return match self.pending() {
                Some(_) => 0x80 | self.acknowledge(),
                None => 0,
            };
        }
        if self.read_isr { self.isr } else { self.irr }
    }
}

/// Both controllers.
#[derive(Clone, Debug, Default)]
pub struct PicPair {
    master: Pic,
    slave: Pic,
}

impl PicPair {
    /// The pair as firmware leaves it: vectors 8 and 70h, all lines masked.
    #[must_use]
    pub fn new() -> Self {
        let mut pair = Self::default();
        (pair.master.vector_base, pair.slave.vector_base) = (0x08, 0x70);
        (pair.master.imr, pair.slave.imr) = (0xff, 0xff);
        pair
    }

    /// Whether I/O port `port` is one of this device's.
    #[must_use]
    pub const fn claims(port: u16) -> bool {
        matches!(port, 0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1)
    }

    /// Sets the level of line `irq` (0–15).
    pub fn set_line(&mut self, irq: u8, asserted: bool) {
        if irq < 8 {
            self.master.set_line(irq, asserted);
        } else {
            self.slave.set_line(irq & 7, asserted);
        }
        self.cascade();
    }

    /// The master's request follows the slave's output, which falls when nothing is pending there.
    const fn cascade(&mut self) {
        if self.slave.pending().is_some() {
            self.master.irr |= 1 << CASCADE;
        } else {
            self.master.irr &= !(1 << CASCADE);
        }
    }

    /// The INTR output.
    #[must_use]
    pub const fn output(&self) -> bool {
        self.master.pending().is_some()
    }

    /// The processor's acknowledge cycle: the vector it is to take.
    pub fn acknowledge(&mut self) -> u8 {
        let line = self.master.acknowledge();
        if line != CASCADE {
            return self.master.vector_base | line;
        }
        let line = self.slave.acknowledge();
        self.cascade();
        self.slave.vector_base | line
    }

    /// Reads I/O port `port`.
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            0x20 => self.master.read_command(),
            0x21 => self.master.imr,
            0xa0 => self.slave.read_command(),
            0xa1 => self.slave.imr,
            0x4d0 => self.master.level,
            _ => self.slave.level,
        };
        self.cascade();
        value
    }

    /// Writes I/O port `port`.
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 => self.master.write_command(value),
            0x21 => self.master.write_data(value),
            0xa0 => self.slave.write_command(value),
            0xa1 => self.slave.write_data(value),
            0x4d0 => self.master.level = value & !ELCR_FIXED[0],
            _ => self.slave.level = value & !ELCR_FIXED[1],
        }
        self.cascade();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors 20h and 28h, nothing masked.
    fn pair(icw4: u8) -> PicPair {
        let mut pics = PicPair::new();
        for (command, data, base, icw3) in [(0x20, 0x21, 0x20, 4), (0xa0, 0xa1, 0x28, 2)] {
            pics.write(command, 0x11);
            for byte in [base, icw3, icw4, 0] {
                pics.write(data, byte);
            }
        }
        pics
    }

    fn pulse(pics: &mut PicPair, irq: u8) {
        pics.set_line(irq, true);
        pics.set_line(irq, false);
    }

    #[test]
    fn every_line_gives_its_vector_until_end_of_interrupt() {
        for irq in (0..16).filter(|&irq| irq != 2) {
            let mut pics = pair(1);
            pulse(&mut pics, irq);
            assert!(pics.output(), "{irq}");
            assert_eq!(pics.acknowledge(), 0x20 + irq);
            pulse(&mut pics, irq);
            assert!(
                !pics.output(),
                "a second one waits for the end of the first"
            );
            if irq >= 8 {
                pics.write(0xa0, 0x20);
            }
            pics.write(0x20, 0x20);
            assert!(pics.output());
        }
    }

    #[test]
    fn a_lower_number_interrupts_a_higher_and_not_the_other_way() {
        let mut pics = pair(1);
        pulse(&mut pics, 4);
        assert_eq!(pics.acknowledge(), 0x24);
        pulse(&mut pics, 5);
        assert!(!pics.output());
        pulse(&mut pics, 0);
        assert_eq!(pics.acknowledge(), 0x20);
        pics.write(0x20, 0x20);
        pics.write(0x20, 0x20);
        assert_eq!(pics.acknowledge(), 0x25);
    }

    #[test]
    fn a_masked_line_is_remembered() {
        let mut pics = pair(1);
        pics.write(0x21, 0x10);
        pulse(&mut pics, 4);
        assert!(!pics.output());
        pics.write(0x21, 0);
        assert!(pics.output());
    }

    #[test]
    fn a_level_triggered_line_asks_as_long_as_it_is_asserted() {
        let mut pics = pair(1);
        pics.write(0x4d1, 0xff);
        assert_eq!(pics.read(0x4d1), 0xde, "lines 8 and 13 stay edge-triggered");
        pics.set_line(11, true);
        assert_eq!(pics.acknowledge(), 0x2b);
        pics.write(0xa0, 0x20);
        pics.write(0x20, 0x20);
        assert!(pics.output(), "still asserted");
        pics.set_line(11, false);
        assert!(!pics.output());
    }

    #[test]
    fn an_acknowledge_without_request_gives_line_7_and_no_service() {
        let mut pics = pair(1);
        assert_eq!(pics.acknowledge(), 0x27);
        pics.write(0x20, 0x0b);
        assert_eq!(pics.read(0x20), 0, "ISR stays clear");
    }

    #[test]
    fn with_automatic_eoi_nothing_stays_in_service() {
        let mut pics = pair(3);
        pulse(&mut pics, 1);
        assert_eq!(pics.acknowledge(), 0x21);
        pics.write(0x20, 0x0b);
        assert_eq!(pics.read(0x20), 0);
    }

    #[test]
    fn a_specific_eoi_ends_that_line_and_rotation_makes_it_the_last() {
        let mut pics = pair(1);
        for irq in [5, 3] {
            pulse(&mut pics, irq);
            pics.acknowledge();
        }
        pics.write(0x20, 0x60 | 5);
        pics.write(0x20, 0x0b);
        assert_eq!(pics.read(0x20), 1 << 3);
        pics.write(0x20, 0xe0 | 3);
        pulse(&mut pics, 3);
        pulse(&mut pics, 4);
        assert_eq!(pics.acknowledge(), 0x24, "line 3 is now behind line 4");
    }

    #[test]
    fn a_poll_acknowledges() {
        let mut pics = pair(1);
        pulse(&mut pics, 6);
        pics.write(0x20, 0x0c);
        assert_eq!(pics.read(0x20), 0x86);
        assert!(!pics.output());
    }
}
