//! The chipset: devices at ISA ports, and where their interrupt lines go.
//!
//! | port | device |
//! |---|---|
//! | 20h, 21h, A0h, A1h, 4D0h, 4D1h | 8259 pair |
//! | 40h–43h, 61h | 8254 |
//! | 70h, 71h | clock and CMOS |
//! | 3F8h–3FFh | UART |
//! | 92h, 600h–60Bh, CF9h, 64h, 8900h | power and reset |
//! | 510h, 511h | firmware configuration |
//! | 80h | swallows POST codes, reads back the last |
//! | E0h–E3h | four bytes that read back, for tests of port I/O |
//! | E9h | debug output: to the console; reads E9h |
//!
//! | line | 8259 | I/O APIC |
//! |---|---|---|
//! | 8254 channel 0 | 0 | 2 |
//! | UART | 4 | 4 |
//! | clock | 8 | 8 |
//! | AHCI INTA# | 11 | 11 |

use devices::apic::ipi::Ipi;
use devices::fw_cfg::{self, FwCfg};
use devices::ioapic::IoApic;
use devices::pic::PicPair;
use devices::pit::{self, Pit};
use devices::power::{Power, PowerRequest};
use devices::rtc::{self, Rtc};
use devices::uart::{self, Uart};
use memory::Width;

/// Line of AHCI's INTA#, on both interrupt controllers.
pub(crate) const AHCI_IRQ: u8 = 11;
/// Line of the I/O APIC that the 8254 drives.
pub(crate) const PIT_GSI: u8 = 2;

/// POST codes.
const POST: u16 = 0x80;
/// Bytes that read back.
const ECHO: u16 = 0xe0;
const ECHO_LEN: u16 = 4;
/// Debug console, and what it reads as so that a kernel can find it.
const DEBUG: u16 = 0xe9;

/// Devices and wiring.
#[derive(Debug)]
pub(crate) struct Chipset {
    pub(crate) pic: PicPair,
    pub(crate) ioapic: IoApic,
    pub(crate) uart: Uart,
    pit: Pit,
    rtc: Rtc,
    power: Power,
    fw_cfg: FwCfg,
    post: u8,
    echo: [u8; ECHO_LEN as usize],
    debug: Vec<u8>,
    /// What a write to a power port asked for first.
    pub(crate) power_request: Option<PowerRequest>,
}

impl Chipset {
    pub(crate) fn new(ticks_per_second: u64, ram_bytes: u64, cpus: u8) -> Self {
        Self {
            pic: PicPair::new(),
            ioapic: IoApic::new(),
            uart: Uart::new(),
            pit: Pit::new(ticks_per_second),
            rtc: Rtc::new(ticks_per_second),
            power: Power::new(ticks_per_second),
            fw_cfg: FwCfg::new(ram_bytes, cpus),
            post: 0,
            echo: [0; ECHO_LEN as usize],
            debug: Vec::new(),
            power_request: None,
        }
    }

    /// Whether an access of `width` at I/O port `port` is for the chipset.
    pub(crate) fn claims(port: u16, width: Width) -> bool {
        Uart::claims(port)
            || PicPair::claims(port)
            || Pit::claims(port)
            || Rtc::claims(port)
            || Power::claims(port, width)
            || matches!(port, fw_cfg::SELECTOR | fw_cfg::DATA | POST | DEBUG)
            || echo_index(port).is_some()
    }

    /// Reads `width` at a port the chipset claims: byte by byte but for the devices that have wider registers.
    pub(crate) fn read(&mut self, now: u64, port: u16, width: Width) -> u32 {
        if Power::claims(port, width) {
            return self.power.read(now, port, width);
        }
        let mut bytes = [0xff; 4];
        for (byte, port) in bytes.iter_mut().zip(ports(port, width)) {
            *byte = self.read_byte(now, port);
        }
        u32::from_le_bytes(bytes) & u32::try_from(width.ones()).unwrap_or(u32::MAX)
    }

    fn read_byte(&mut self, now: u64, port: u16) -> u8 {
        if let Some(index) = echo_index(port) {
            return self.echo[index];
        }
        match port {
            _ if Uart::claims(port) => self.uart.read(port),
            _ if PicPair::claims(port) => self.pic.read(port),
            _ if Pit::claims(port) => self.pit.read(now, port),
            _ if Rtc::claims(port) => self.rtc.read(now, port),
            fw_cfg::DATA => self.fw_cfg.read(),
            POST => self.post,
            DEBUG => DEBUG.to_le_bytes()[0],
            _ => 0xff,
        }
    }

    /// Writes `width` at a port the chipset claims.
    pub(crate) fn write(&mut self, now: u64, port: u16, width: Width, value: u32) {
        let [low, high, ..] = value.to_le_bytes();
        if Power::claims(port, width) {
            let request = self.power.write(port, width, value);
            self.power_request = self.power_request.or(request);
        } else if port == fw_cfg::SELECTOR && width == Width::Word {
            self.fw_cfg.select(u16::from_le_bytes([low, high]));
        } else {
            for (byte, port) in value.to_le_bytes().into_iter().zip(ports(port, width)) {
                self.write_byte(now, port, byte);
            }
        }
    }

    fn write_byte(&mut self, now: u64, port: u16, value: u8) {
        if let Some(index) = echo_index(port) {
            self.echo[index] = value;
            return;
        }
        match port {
            _ if Uart::claims(port) => self.uart.write(port, value),
            _ if PicPair::claims(port) => self.pic.write(port, value),
            _ if Pit::claims(port) => self.pit.write(now, port, value),
            _ if Rtc::claims(port) => self.rtc.write(now, port, value),
            POST => self.post = value,
            DEBUG => self.debug.push(value),
            _ => {}
        }
    }

    /// What came out of UART and debug port since the last call.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        let mut output = self.uart.take_output();
        output.append(&mut self.debug);
        output
    }

    /// When a device here does something of its own accord.
    pub(crate) fn next_event(&self) -> Option<u64> {
        self.pit
            .next_event()
            .into_iter()
            .chain(self.rtc.next_event())
            .min()
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now: u64) {
        if self.pit.next_event().is_some_and(|at| at <= now) && self.pit.advance(now) {
            // The output has been low since the last period: a new edge.
            for asserted in [false, true] {
                self.pic.set_line(pit::IRQ, asserted);
                self.ioapic.set_line(PIT_GSI, asserted);
            }
        }
        if self.rtc.next_event().is_some_and(|at| at <= now) {
            self.rtc.advance(now);
        }
    }

    /// Brings the level of every line to both interrupt controllers.
    pub(crate) fn update_lines(&mut self, ahci: bool) {
        let levels = [
            (uart::IRQ, self.uart.interrupt()),
            (rtc::IRQ, self.rtc.interrupt()),
            (AHCI_IRQ, ahci),
        ];
        for (irq, asserted) in levels {
            self.pic.set_line(irq, asserted);
            self.ioapic.set_line(irq, asserted);
        }
    }

    /// Takes a message of the I/O APIC that is to be routed.
    pub(crate) fn take_message(&mut self) -> Option<Ipi> {
        self.ioapic.take_message()
    }
}

fn echo_index(port: u16) -> Option<usize> {
    let index = port.checked_sub(ECHO).filter(|&index| index < ECHO_LEN)?;
    Some(usize::from(index))
}

/// The ports an access of `width` at `port` touches; there is none above FFFFh.
fn ports(port: u16, width: Width) -> impl Iterator<Item = u16> {
    (port..=u16::MAX).take(usize::try_from(width.bytes()).unwrap_or(4))
}
