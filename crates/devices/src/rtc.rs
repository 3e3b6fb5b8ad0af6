//! The real-time clock and its CMOS memory, ports 70h and 71h.
//!
//! The calendar runs on the machine's own time and begins at a fixed date, so the
//! same run always reads the same time. Modelled: time and date in BCD or binary,
//! 12 or 24 hours, update in progress, update-ended, periodic and alarm interrupts, 114 bytes
//! of memory. Not modelled: NMI mask, daylight saving, the square wave.
//!
//! **Spec:** Motorola MC146818A data sheet "Address Map", "Registers"; century at 32h as ACPI names it.

use crate::clock::Crystal;

/// Interrupt line.
pub const IRQ: u8 = 8;
/// Register that holds the century, which no chip standard fixes.
pub const CENTURY: u8 = 0x32;

/// Time-base oscillator.
const HZ: u64 = 32_768;
/// 1 January 2026, 00:00:00, as days since 1 January 2000.
const FIRST_DAY: u64 = 9_497;
const DAY_SECONDS: u64 = 86_400;
/// Update in progress rises this many counts before the second (244 µs).
const UIP_COUNTS: u64 = 8;

/// Register B.
mod b {
    pub(super) const HOURS_24: u8 = 1 << 1;
    pub(super) const BINARY: u8 = 1 << 2;
    pub(super) const UPDATE: u8 = 1 << 4;
    pub(super) const ALARM: u8 = 1 << 5;
    pub(super) const PERIODIC: u8 = 1 << 6;
    pub(super) const SET: u8 = 1 << 7;
}

/// Register C, bit 7: any enabled cause; bits 6:4 as in register B.
const C_IRQ: u8 = 1 << 7;
/// Register D, bit 7: the battery is good.
const D_VALID: u8 = 1 << 7;
/// Hours bit 7 in 12-hour mode.
const PM: u8 = 0x80;

/// A date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Calendar {
    second: u8,
    minute: u8,
    hour: u8,
    /// 1 is Sunday.
    weekday: u8,
    day: u8,
    month: u8,
    year: u64,
}

const fn month_days(month: u8, year: u64) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const fn year_days(year: u64) -> u64 {
    337 + month_days(2, year) as u64
}

/// A number known to be below 256.
const fn byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

impl Calendar {
    /// The date `seconds` after the beginning of 2000.
    fn at(seconds: u64) -> Self {
        let (mut days, in_day) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        let weekday = byte((days + 6) % 7) + 1;
        let mut year = 2000;
        while days >= year_days(year) {
            days -= year_days(year);
            year += 1;
        }
        let mut month = 1;
        while days >= month_days(month, year).into() {
            days -= u64::from(month_days(month, year));
            month += 1;
        }
        Self {
            second: byte(in_day % 60),
            minute: byte(in_day / 60 % 60),
            hour: byte(in_day / 3600),
            weekday,
            day: byte(days) + 1,
            month,
            year,
        }
    }

    /// Seconds since the beginning of 2000; fields out of range count as they stand.
    fn seconds(self) -> u64 {
        let years: u64 = (2000..self.year.clamp(2000, 2399)).map(year_days).sum();
        let months: u64 = (1..self.month.min(12))
            .map(|m| u64::from(month_days(m, self.year)))
            .sum();
        let days = years + months + u64::from(self.day.max(1)) - 1;
        days * DAY_SECONDS
            + u64::from(self.hour) * 3600
            + u64::from(self.minute) * 60
            + u64::from(self.second)
    }
}

/// The clock.
#[derive(Clone, Debug)]
pub struct Rtc {
    crystal: Crystal,
    index: u8,
    memory: [u8; 128],
    a: u8,
    b: u8,
    c: u8,
    /// Seconds since 2000 at machine time 0, modulo 2⁶⁴.
    epoch: u64,
    /// Machine time up to which causes were looked for, in counts.
    seen: u64,
}

impl Rtc {
    /// A clock that shows the first day.
    #[must_use]
    pub const fn new(ticks_per_second: u64) -> Self {
        Self {
            crystal: Crystal::new(HZ, ticks_per_second),
            index: 0,
            memory: [0; 128],
            a: 0x26,
            b: b::HOURS_24,
            c: 0,
            epoch: FIRST_DAY * DAY_SECONDS,
            seen: 0,
        }
    }

    /// Whether I/O port `port` is one of this device's.
    #[must_use]
    pub const fn claims(port: u16) -> bool {
        matches!(port, 0x70 | 0x71)
    }

    /// Level of the interrupt line.
    #[must_use]
    pub const fn interrupt(&self) -> bool {
        self.c & self.b & (b::UPDATE | b::ALARM | b::PERIODIC) != 0
    }

    /// Reads I/O port `port` at time `now`.
    pub fn read(&mut self, now: u64, port: u16) -> u8 {
        if port == 0x70 {
            return 0xff; // The index cannot be read back.
        }
        match self.index {
            0 | 2 | 4 | 6..=9 | CENTURY => self.read_time(now),
            0x0a => self.a | u8::from(self.is_updating(now)) << 7,
            0x0b => self.b,
            0x0c => self.read_causes(now),
            0x0d => D_VALID,
            index => self.memory[usize::from(index)],
        }
    }

    /// Writes I/O port `port` at time `now`.
    pub fn write(&mut self, now: u64, port: u16, value: u8) {
        if port == 0x70 {
            self.index = value & 0x7f;
            return;
        }
        match self.index {
            0 | 2 | 4 | 6..=9 | CENTURY => self.write_time(now, value),
            0x0a => self.a = value & 0x7f,
            0x0b => {
                self.advance(now);
                self.b = value;
            }
            0x0c | 0x0d => {}
            index => self.memory[usize::from(index)] = value,
        }
    }

    fn seconds(&self, counts: u64) -> u64 {
        self.epoch.wrapping_add(counts / HZ)
    }

    fn is_updating(&self, now: u64) -> bool {
        self.b & b::SET == 0 && self.crystal.counts(now) % HZ >= HZ - UIP_COUNTS
    }

    fn read_time(&self, now: u64) -> u8 {
        let t = Calendar::at(self.seconds(self.crystal.counts(now)));
        match self.index {
            0 => self.encode(t.second),
            2 => self.encode(t.minute),
            4 => self.encode_hour(t.hour),
            6 => t.weekday,
            7 => self.encode(t.day),
            8 => self.encode(t.month),
            9 => self.encode(byte(t.year % 100)),
            _ => self.encode(byte(t.year / 100)),
        }
    }

    /// Sets one field and moves the epoch so that the clock goes on from there.
    fn write_time(&mut self, now: u64, value: u8) {
        let counts = self.crystal.counts(now);
        let mut t = Calendar::at(self.seconds(counts));
        let number = self.decode(value);
        match self.index {
            0 => t.second = number,
            2 => t.minute = number,
            4 => t.hour = self.decode_hour(value),
            7 => t.day = number,
            8 => t.month = number,
            9 => t.year = t.year / 100 * 100 + u64::from(number),
            CENTURY => t.year = t.year % 100 + 100 * u64::from(number),
            _ => {} // The day of the week follows from the date.
        }
        self.epoch = t.seconds().wrapping_sub(counts / HZ);
    }

    const fn encode(&self, value: u8) -> u8 {
        if self.b & b::BINARY != 0 {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    const fn decode(&self, value: u8) -> u8 {
        if self.b & b::BINARY != 0 {
            value
        } else {
            (value >> 4) * 10 + (value & 0xf)
        }
    }

    const fn encode_hour(&self, hour: u8) -> u8 {
        if self.b & b::HOURS_24 != 0 {
            return self.encode(hour);
        }
        let of_12 = if hour.is_multiple_of(12) {
            12
        } else {
            hour % 12
        };
        self.encode(of_12) | if hour >= 12 { PM } else { 0 }
    }

    const fn decode_hour(&self, value: u8) -> u8 {
        if self.b & b::HOURS_24 != 0 {
            return self.decode(value);
        }
        self.decode(value & !PM) % 12 + if value & PM != 0 { 12 } else { 0 }
    }

    /// Reading register C clears it, and with it the interrupt line.
    fn read_causes(&mut self, now: u64) -> u8 {
        self.advance(now);
        let any = if self.interrupt() { C_IRQ } else { 0 };
        std::mem::take(&mut self.c) | any
    }

    /// Counts between two periodic interrupts, if the rate divider runs.
    const fn period(&self) -> Option<u64> {
        match self.a & 0xf {
            0 => None,
            rate @ (1 | 2) => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// When a cause of an enabled interrupt comes next.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        let next = |period: u64| self.crystal.time((self.seen / period + 1) * period);
        let periodic = self
            .period()
            .filter(|_| self.b & b::PERIODIC != 0)
            .map(next);
        let by_second = self.b & (b::UPDATE | b::ALARM) != 0 && self.b & b::SET == 0;
        let second = by_second.then(|| next(HZ));
        // What stands in register C keeps the line up: nothing new until it is read.
        if self.interrupt() {
            None
        } else {
            periodic.into_iter().chain(second).min()
        }
    }

    /// Lets time pass and notes the causes that came up.
    pub fn advance(&mut self, now: u64) {
        let counts = self.crystal.counts(now);
        let before = std::mem::replace(&mut self.seen, counts);
        if self
            .period()
            .is_some_and(|period| counts / period > before / period)
        {
            self.c |= b::PERIODIC;
        }
        if counts / HZ > before / HZ && self.b & b::SET == 0 {
            self.c |= b::UPDATE;
            // At most a day of seconds can hold an alarm not seen yet.
            let first = (before / HZ + 1).max((counts / HZ).saturating_sub(DAY_SECONDS));
            if self.b & b::ALARM != 0
                && (first..=counts / HZ).any(|s| self.is_alarm(self.epoch.wrapping_add(s)))
            {
                self.c |= b::ALARM;
            }
        }
    }

    /// Alarm fields of C0h and above match everything.
    fn is_alarm(&self, seconds: u64) -> bool {
        let t = Calendar::at(seconds);
        let fields = [
            (1, self.encode(t.second)),
            (3, self.encode(t.minute)),
            (5, self.encode_hour(t.hour)),
        ];
        fields
            .into_iter()
            .all(|(at, now)| self.memory[at] >= 0xc0 || self.memory[at] == now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = HZ;

    /// One tick per count.
    fn rtc() -> Rtc {
        Rtc::new(HZ)
    }

    fn get(rtc: &mut Rtc, now: u64, index: u8) -> u8 {
        rtc.write(now, 0x70, index);
        rtc.read(now, 0x71)
    }

    fn set(rtc: &mut Rtc, now: u64, index: u8, value: u8) {
        rtc.write(now, 0x70, index);
        rtc.write(now, 0x71, value);
    }

    #[test]
    fn the_first_day_is_thursday_1_january_2026() {
        let mut rtc = rtc();
        let fields = [CENTURY, 9, 8, 7, 6, 4, 2, 0].map(|index| get(&mut rtc, 0, index));
        assert_eq!(fields, [0x20, 0x26, 1, 1, 5, 0, 0, 0]);
        assert_eq!(get(&mut rtc, 75 * SECOND, 0), 0x15);
        assert_eq!(get(&mut rtc, 31 * 86_400 * SECOND, 8), 2);
    }

    #[test]
    fn every_date_of_four_centuries_comes_back_from_its_seconds() {
        for day in 0..146_097 {
            let seconds = day * DAY_SECONDS + 12_345;
            assert_eq!(Calendar::at(seconds).seconds(), seconds);
        }
        let leap_day = Calendar {
            second: 0,
            minute: 0,
            hour: 0,
            weekday: 5,
            day: 29,
            month: 2,
            year: 2024,
        };
        assert_eq!(Calendar::at(leap_day.seconds()), leap_day);
    }

    #[test]
    fn a_time_that_is_set_goes_on() {
        let mut rtc = rtc();
        for (index, value) in [
            (9, 0x99),
            (8, 0x12),
            (7, 0x31),
            (4, 0x23),
            (2, 0x59),
            (0, 0x59),
        ] {
            set(&mut rtc, 10, index, value);
        }
        assert_eq!(get(&mut rtc, SECOND + 10, CENTURY), 0x21);
        assert_eq!(get(&mut rtc, SECOND + 10, 9), 0);
    }

    #[test]
    fn hours_follow_register_b() {
        for (mode, noon, midnight) in [
            (0x02, 0x12, 0x00),
            (0x00, 0x92, 0x12),
            (0x06, 12, 0),
            (0x04, 0x8c, 12),
        ] {
            let mut rtc = rtc();
            set(&mut rtc, 0, 0x0b, mode);
            assert_eq!(get(&mut rtc, 0, 4), midnight, "{mode}");
            assert_eq!(get(&mut rtc, 43_200 * SECOND, 4), noon, "{mode}");
        }
    }

    #[test]
    fn update_in_progress_rises_before_each_second() {
        let mut rtc = rtc();
        assert_eq!(get(&mut rtc, SECOND - 9, 0x0a), 0x26);
        assert_eq!(get(&mut rtc, SECOND - 8, 0x0a), 0xa6);
        assert_eq!(get(&mut rtc, SECOND, 0x0a), 0x26);
    }

    #[test]
    fn the_periodic_interrupt_stands_until_register_c_is_read() {
        let mut rtc = rtc();
        set(&mut rtc, 0, 0x0b, 0x42);
        assert_eq!(rtc.next_event(), Some(32), "1024 Hz");
        rtc.advance(32);
        assert!(rtc.interrupt() && rtc.next_event().is_none());
        assert_eq!(get(&mut rtc, 33, 0x0c), 0xc0);
        assert!(!rtc.interrupt());
        assert_eq!(rtc.next_event(), Some(64));
    }

    #[test]
    fn the_alarm_rings_at_its_time_and_c0_is_any() {
        let mut rtc = rtc();
        for (index, value) in [(1, 0x05), (3, 0xc0), (5, 0xff), (0x0b, 0x22)] {
            set(&mut rtc, 0, index, value);
        }
        rtc.advance(4 * SECOND);
        assert!(!rtc.interrupt());
        rtc.advance(5 * SECOND);
        let causes = get(&mut rtc, 5 * SECOND, 0x0c);
        assert_eq!(causes, 0xf0, "enabled or not, all causes are noted");
    }
}
