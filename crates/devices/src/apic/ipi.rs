//! Messages between APICs, and from devices to them: what is delivered, and to whom.
//!
//! **Spec:** SDM 3A "Issuing Interprocessor Interrupts", "Message Signalled Interrupts",
//! "Determining IPI Destination".

use x86::apic::{ICR_ASSERT, ICR_LEVEL, delivery, shorthand};

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// This vector, to each APIC addressed.
    Fixed(u8),
    /// This vector, to one of the APICs addressed.
    LowestPriority(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// INIT: the processor waits for a start-up message.
    Init,
    /// Start-up: real-mode execution begins at this page number.
    Startup(u8),
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The processor that sends (shorthand).
    Sender,
    /// All processors (shorthand).
    All,
    /// All but the sender (shorthand).
    Others,
    /// The processor with this APIC ID; FFh means all.
    Physical(u8),
    /// The processors whose logical ID matches.
    Logical(u8),
    /// The processors in x2APIC mode whose 32-bit logical ID matches.
    X2Logical(u32),
}

/// How the interrupt was asked for, which decides what an EOI has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Once.
    Edge,
    /// As long as a line is asserted: the EOI goes to the I/O APIC.
    Level,
}

/// A message to be routed by the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipi {
    /// What is delivered.
    pub delivery: Delivery,
    /// To whom.
    pub destination: Destination,
    /// Edge or level.
    pub trigger: Trigger,
}

impl Ipi {
    /// Decodes the interrupt command register. `None` for what sends nothing here: INIT
    /// level de-assert, SMI and the reserved modes.
    pub(super) const fn from_icr(low: u32, high: u32) -> Option<Self> {
        let [vector, ..] = low.to_le_bytes();
        let [.., id] = high.to_le_bytes();
        let Some(what) = decode(low >> 8 & 7, vector) else {
            return None;
        };
        if matches!(what, Delivery::Init) && low & (ICR_LEVEL | ICR_ASSERT) == ICR_LEVEL {
            return None;
        }
        let destination = match low >> 18 & 3 {
            shorthand::SELF => Destination::Sender,
            shorthand::ALL => Destination::All,
            shorthand::OTHERS => Destination::Others,
            _ if low & ICR_LOGICAL != 0 => Destination::Logical(id),
            _ => Destination::Physical(id),
        };
        Some(Self {
            delivery: what,
            destination,
            trigger: Trigger::Edge,
        })
    }

    /// Decodes a message a device wrote: `None` if the address is no APIC's.
    #[must_use]
    pub const fn from_message(address: u64, data: u32) -> Option<Self> {
        if address >> 20 != 0xfee {
            return None;
        }
        let [vector, ..] = data.to_le_bytes();
        let [id, ..] = (address >> 12).to_le_bytes();
        let Some(delivery) = decode(data >> 8 & 7, vector) else {
            return None;
        };
        let is_logical = address & MESSAGE_LOGICAL != 0;
        let destination = if is_logical {
            Destination::Logical(id)
        } else {
            Destination::Physical(id)
        };
        let trigger = if data & MESSAGE_LEVEL == 0 {
            Trigger::Edge
        } else {
            Trigger::Level
        };
        Some(Self {
            delivery,
            destination,
            trigger,
        })
    }

    /// Decodes an entry of an I/O APIC's redirection table. `None` for modes that send nothing here.
    pub(crate) const fn from_redirection(entry: u64, trigger: Trigger) -> Option<Self> {
        let [vector, mode, .., id] = entry.to_le_bytes();
        let Some(delivery) = decode(mode as u32 & 7, vector) else {
            return None;
        };
        let destination = if mode & REDIRECTION_LOGICAL == 0 {
            Destination::Physical(id)
        } else {
            Destination::Logical(id)
        };
        Some(Self {
            delivery,
            destination,
            trigger,
        })
    }

    /// Decodes the 64-bit interrupt command register of x2APIC mode.
    pub(super) const fn from_x2_icr(low: u32, destination: u32) -> Option<Self> {
        let Some(ipi) = Self::from_icr(low, 0) else {
            return None;
        };
        let has_shorthand = low >> 18 & 3 != shorthand::NONE;
        let destination = match destination {
            _ if has_shorthand => ipi.destination,
            mask if low & ICR_LOGICAL != 0 => Destination::X2Logical(mask),
            u32::MAX => Destination::All,
            id if id < u8::MAX as u32 => Destination::Physical(id.to_le_bytes()[0]),
            _ => return None, // No APIC here has an ID so high.
        };
        Some(Self { destination, ..ipi })
    }
}

/// ICR bit 11: the destination is a logical one.
const ICR_LOGICAL: u32 = 1 << 11;
/// Message address bit 2: likewise.
const MESSAGE_LOGICAL: u64 = 1 << 2;
/// Message data bit 15: level-triggered.
const MESSAGE_LEVEL: u32 = 1 << 15;
/// Redirection entry bit 11, in its second byte: a logical destination.
const REDIRECTION_LOGICAL: u8 = 1 << 3;
/// ICR bits 10:8, lowest priority.
const LOWEST_PRIORITY: u32 = 1;

const fn decode(mode: u32, vector: u8) -> Option<Delivery> {
    Some(match mode {
        delivery::FIXED => Delivery::Fixed(vector),
        LOWEST_PRIORITY => Delivery::LowestPriority(vector),
        delivery::NMI => Delivery::Nmi,
        delivery::INIT => Delivery::Init,
        delivery::STARTUP => Delivery::Startup(vector),
        _ => return None,
    })
}
