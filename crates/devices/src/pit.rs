//! The 8254 timer: channel 0 drives IRQ 0, channel 2 the speaker gate of port 61h.
//!
//! It stores when a count was loaded and computes the rest. Modelled: modes 0
//! to 5, all access modes, counter latch, read-back, port 61h (gate, speaker bit,
//! output of channel 2, refresh toggle). Not modelled: BCD counting (counts are
//! binary), channel 1's refresh beyond the toggle; a new count in modes 2 and 3
//! begins at once instead of after the period that runs.
//!
//! **Spec:** Intel 8254 data sheet "Operational Description", "Mode Definitions".

use crate::clock::Crystal;

/// Counts a second.
pub const HZ: u64 = 1_193_182;
/// Line channel 0 drives.
pub const IRQ: u8 = 0;
/// I/O port of gate and output of channel 2.
pub const PORT_B: u16 = 0x61;

/// How the data port is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Byte {
    #[default]
    Low,
    High,
}

#[derive(Clone, Debug, Default)]
struct Channel {
    /// Control word bits 5:0: access mode, mode, BCD.
    control: u8,
    /// Reload value, 1..=65536; `None` until one is written.
    reload: Option<u32>,
    low_byte: u8,
    write_next: Byte,
    read_next: Byte,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
    /// Crystal count at which the running count was loaded.
    since: u64,
    /// Rising edges of the output up to this crystal count were reported.
    reported: u64,
    gate: bool,
}

impl Channel {
    const fn mode(&self) -> u8 {
        match self.control >> 1 & 7 {
            mode @ 0..6 => mode,
            mode => mode & 3,
        }
    }

    const fn access(&self) -> u8 {
        self.control >> 4 & 3
    }

    const fn is_periodic(&self) -> bool {
        matches!(self.mode(), 2 | 3)
    }

    const fn starts_by_gate(&self) -> bool {
        matches!(self.mode(), 1 | 5)
    }

    /// Counts that passed of the running count, while the gate lets it run.
    fn elapsed(&self, clock: u64) -> Option<(u64, u64)> {
        let reload = u64::from(self.reload?);
        let runs = self.gate || self.starts_by_gate();
        Some((
            if runs {
                clock.saturating_sub(self.since)
            } else {
                0
            },
            reload,
        ))
    }

    fn count(&self, clock: u64) -> u16 {
        let Some((elapsed, reload)) = self.elapsed(clock) else {
            return 0;
        };
        let left = match self.mode() {
            2 => reload - elapsed % reload,
            3 => reload - elapsed * 2 % reload,
            _ => reload.wrapping_sub(elapsed),
        };
        u16::from_le_bytes([left.to_le_bytes()[0], left.to_le_bytes()[1]])
    }

    fn output(&self, clock: u64) -> bool {
        let Some((elapsed, reload)) = self.elapsed(clock) else {
            return self.mode() != 0;
        };
        match self.mode() {
            0 | 1 => elapsed >= reload,
            2 => elapsed % reload != reload - 1,
            3 => elapsed % reload < reload.div_ceil(2),
            _ => elapsed != reload,
        }
    }

    /// The first crystal count after `clock` at which the output rises.
    fn next_rise(&self, clock: u64) -> Option<u64> {
        let (elapsed, reload) = self.elapsed(clock)?;
        if !self.gate && !self.starts_by_gate() {
            return None;
        }
        let rise = match self.mode() {
            2 | 3 => (elapsed / reload + 1) * reload,
            0 | 1 => reload,
            _ => reload + 1,
        };
        (rise > elapsed).then_some(self.since + rise)
    }

    fn write_control(&mut self, value: u8) {
        *self = Self {
            control: value & 0x3f,
            gate: self.gate,
            ..Self::default()
        };
    }

    fn write_data(&mut self, value: u8, clock: u64) {
        let value = u16::from(value);
        match (self.access(), self.write_next) {
            (1, _) => self.load(value, clock),
            (2, _) => self.load(value << 8, clock),
            (_, Byte::Low) => {
                (self.low_byte, self.write_next) = (value.to_le_bytes()[0], Byte::High);
                if self.mode() == 0 {
                    // The first byte stops a count in mode 0.
                    self.reload = None;
                }
            }
            (_, Byte::High) => {
                self.write_next = Byte::Low;
                self.load(value << 8 | u16::from(self.low_byte), clock);
            }
        }
    }

    fn load(&mut self, value: u16, clock: u64) {
        self.reload = Some(if value == 0 { 0x1_0000 } else { value.into() });
        (self.since, self.reported) = (clock, clock);
    }

    fn read_data(&mut self, clock: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let count = self.latched_count.unwrap_or_else(|| self.count(clock));
        let [low, high] = count.to_le_bytes();
        let both = !matches!(self.access(), 1 | 2);
        let which = match self.access() {
            1 => Byte::Low,
            2 => Byte::High,
            _ => self.read_next,
        };
        if both && which == Byte::Low {
            self.read_next = Byte::High;
            return low;
        }
        self.read_next = Byte::Low;
        self.latched_count = None;
        if which == Byte::Low { low } else { high }
    }

    fn latch_count(&mut self, clock: u64) {
        let count = self.count(clock);
        self.latched_count.get_or_insert(count);
    }

    fn latch_status(&mut self, clock: u64) {
        let null_count = u8::from(self.reload.is_none()) << 6;
        let status = u8::from(self.output(clock)) << 7 | null_count | self.control;
        self.latched_status.get_or_insert(status);
    }

    // DEPARTS: a rising gate starts the count again in every mode; modes 0 and 4 would
    // let a count go on that the gate had held in its middle.
    fn set_gate(&mut self, gate: bool, clock: u64) {
        let rises = gate && !self.gate;
        self.gate = gate;
        if rises {
            (self.since, self.reported) = (clock, clock);
        }
    }
}

/// The timer.
#[derive(Clone, Debug)]
pub struct Pit {
    crystal: Crystal,
    channels: [Channel; 3],
    speaker: bool,
}

impl Pit {
    /// A timer nobody has programmed.
    #[must_use]
    pub fn new(ticks_per_second: u64) -> Self {
        let mut channels: [Channel; 3] = Default::default();
        channels[0].gate = true;
        channels[1].gate = true;
        Self {
            crystal: Crystal::new(HZ, ticks_per_second),
            channels,
            speaker: false,
        }
    }

    /// Whether I/O port `port` is one of this device's.
    #[must_use]
    pub const fn claims(port: u16) -> bool {
        matches!(port, 0x40..=0x43 | PORT_B)
    }

    /// Reads I/O port `port` at time `now`.
    pub fn read(&mut self, now: u64, port: u16) -> u8 {
        let clock = self.crystal.counts(now);
        match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].read_data(clock),
            PORT_B => self.read_port_b(clock),
            _ => 0xff, // The control port cannot be read.
        }
    }

    /// Writes I/O port `port` at time `now`.
    pub fn write(&mut self, now: u64, port: u16, value: u8) {
        let clock = self.crystal.counts(now);
        match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].write_data(value, clock),
            PORT_B => {
                self.speaker = value & 2 != 0;
                self.channels[2].set_gate(value & 1 != 0, clock);
            }
            _ => self.write_control(value, clock),
        }
    }

    fn write_control(&mut self, value: u8, clock: u64) {
        if value >> 6 == 3 {
            return self.read_back(value, clock);
        }
        let channel = &mut self.channels[usize::from(value >> 6)];
        if value >> 4 & 3 == 0 {
            channel.latch_count(clock);
        } else {
            channel.write_control(value);
        }
    }

    fn read_back(&mut self, value: u8, clock: u64) {
        for (i, channel) in self.channels.iter_mut().enumerate() {
            if value >> (i + 1) & 1 == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                channel.latch_count(clock);
            }
            if value & 0x10 == 0 {
                channel.latch_status(clock);
            }
        }
    }

    /// Bit 0 gate, 1 speaker, 4 refresh toggle (every 15 µs), 5 output of channel 2.
    fn read_port_b(&self, clock: u64) -> u8 {
        let refresh = (clock / 18) & 1;
        let output = u8::from(self.channels[2].output(clock));
        u8::from(self.channels[2].gate)
            | u8::from(self.speaker) << 1
            | u8::from(refresh == 1) << 4
            | output << 5
    }

    /// When channel 0's output next rises.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        let channel = &self.channels[0];
        channel
            .next_rise(channel.reported)
            .map(|clock| self.crystal.time(clock))
    }

    /// Lets time pass; whether channel 0's output rose since the last time.
    pub fn advance(&mut self, now: u64) -> bool {
        let clock = self.crystal.counts(now);
        let channel = &mut self.channels[0];
        let rose = channel
            .next_rise(channel.reported)
            .is_some_and(|at| at <= clock);
        if rose {
            channel.reported = if channel.is_periodic() {
                clock
            } else {
                u64::MAX
            };
        }
        rose
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One tick per count.
    fn pit() -> Pit {
        Pit::new(HZ)
    }

    fn program(pit: &mut Pit, now: u64, channel: u16, mode: u8, count: u16) {
        pit.write(now, 0x43, channel.to_le_bytes()[0] << 6 | 0x30 | mode << 1);
        for byte in count.to_le_bytes() {
            pit.write(now, 0x40 + channel, byte);
        }
    }

    fn read(pit: &mut Pit, now: u64, channel: u16) -> u16 {
        let low = pit.read(now, 0x40 + channel);
        u16::from_le_bytes([low, pit.read(now, 0x40 + channel)])
    }

    #[test]
    fn a_timer_nobody_programmed_never_fires() {
        assert_eq!(pit().next_event(), None);
    }

    #[test]
    fn mode_2_counts_down_and_fires_once_a_period() {
        let mut pit = pit();
        program(&mut pit, 1000, 0, 2, 100);
        assert_eq!(read(&mut pit, 1030, 0), 70);
        assert_eq!(pit.next_event(), Some(1100));
        assert!(!pit.advance(1099));
        assert!(pit.advance(1100));
        assert!(!pit.advance(1150));
        assert_eq!(pit.next_event(), Some(1200));
        assert_eq!(read(&mut pit, 1250, 0), 50);
    }

    #[test]
    fn mode_3_counts_by_two_and_its_output_is_a_square() {
        let mut pit = pit();
        pit.write(0, PORT_B, 1);
        program(&mut pit, 0, 2, 3, 100);
        assert_eq!(read(&mut pit, 10, 2), 80);
        let high = (0..200).filter(|&at| pit.read(at, PORT_B) & 0x20 != 0);
        assert_eq!(high.count(), 100);
    }

    #[test]
    fn mode_0_fires_once() {
        let mut pit = pit();
        program(&mut pit, 0, 0, 0, 50);
        assert_eq!(pit.next_event(), Some(50));
        assert!(pit.advance(60));
        assert_eq!(pit.next_event(), None);
        program(&mut pit, 100, 0, 0, 50);
        assert_eq!(pit.next_event(), Some(150));
    }

    #[test]
    fn a_count_of_0_is_65536() {
        let mut pit = pit();
        program(&mut pit, 0, 0, 2, 0);
        assert_eq!(pit.next_event(), Some(0x1_0000));
    }

    #[test]
    fn a_latched_count_stays_until_it_is_read() {
        let mut pit = pit();
        program(&mut pit, 0, 0, 2, 1000);
        pit.write(10, 0x43, 0);
        pit.write(500, 0x43, 0);
        assert_eq!(read(&mut pit, 700, 0), 990);
        assert_eq!(read(&mut pit, 700, 0), 300);
    }

    #[test]
    fn read_back_gives_output_null_count_and_control_word() {
        let mut pit = pit();
        pit.write(0, 0x43, 0x34);
        pit.write(0, 0x43, 0xe2);
        assert_eq!(pit.read(0, 0x40), 0xf4, "no count yet");
        program(&mut pit, 0, 0, 2, 10);
        pit.write(9, 0x43, 0xe2);
        assert_eq!(pit.read(9, 0x40), 0x34, "low in the last count");
    }

    #[test]
    fn the_gate_of_port_61h_starts_channel_2_and_bit_5_shows_its_end() {
        let mut pit = pit();
        program(&mut pit, 0, 2, 0, 100);
        assert_eq!(pit.read(1000, PORT_B) & 0x21, 0, "held by the gate");
        pit.write(1000, PORT_B, 1);
        assert_eq!(pit.read(1099, PORT_B) & 0x20, 0);
        assert_eq!(pit.read(1100, PORT_B) & 0x20, 0x20);
    }
}
