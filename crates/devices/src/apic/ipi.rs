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
}

/// A message to be routed by the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipi {
    /// What is delivered.
    pub delivery: Delivery,
    /// To whom.
    pub destination: Destination,
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
        Some(Self {
            delivery,
            destination,
        })
    }
}

/// ICR bit 11: the destination is a logical one.
const ICR_LOGICAL: u32 = 1 << 11;
/// Message address bit 2: likewise.
const MESSAGE_LOGICAL: u64 = 1 << 2;
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
