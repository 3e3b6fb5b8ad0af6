//! The local APIC's register page and the fields of its interrupt command register.
//!
//! **Spec:** SDM 3A "Advanced Programmable Interrupt Controller (APIC)",
//! table "Local APIC Register Address Map".

/// Where the register page lies after reset.
pub const DEFAULT_BASE: u64 = 0xfee0_0000;

/// Offsets of registers in the page; each is 32 bits, 16-byte aligned.
pub mod reg {
    /// Local APIC ID.
    pub const ID: u64 = 0x20;
    /// Version.
    pub const VERSION: u64 = 0x30;
    /// Task priority.
    pub const TPR: u64 = 0x80;
    /// Processor priority, read only.
    pub const PPR: u64 = 0xa0;
    /// End of interrupt, write only.
    pub const EOI: u64 = 0xb0;
    /// Logical destination.
    pub const LDR: u64 = 0xd0;
    /// Destination format.
    pub const DFR: u64 = 0xe0;
    /// Spurious-interrupt vector; bit 8 enables the APIC in software.
    pub const SVR: u64 = 0xf0;
    /// In-service register, bits 31:0; seven more follow at 10h each.
    pub const ISR0: u64 = 0x100;
    /// Trigger mode register.
    pub const TMR0: u64 = 0x180;
    /// Interrupt request register.
    pub const IRR0: u64 = 0x200;
    /// Error status.
    pub const ESR: u64 = 0x280;
    /// Interrupt command, bits 31:0; writing it sends.
    pub const ICR_LOW: u64 = 0x300;
    /// Interrupt command, bits 63:32: destination in bits 31:24.
    pub const ICR_HIGH: u64 = 0x310;
    /// LVT timer.
    pub const LVT_TIMER: u64 = 0x320;
    /// LVT thermal sensor.
    pub const LVT_THERMAL: u64 = 0x330;
    /// LVT performance counters.
    pub const LVT_PMC: u64 = 0x340;
    /// LVT LINT0.
    pub const LVT_LINT0: u64 = 0x350;
    /// LVT LINT1.
    pub const LVT_LINT1: u64 = 0x360;
    /// LVT error.
    pub const LVT_ERROR: u64 = 0x370;
    /// Timer initial count.
    pub const TIMER_INITIAL: u64 = 0x380;
    /// Timer current count, read only.
    pub const TIMER_CURRENT: u64 = 0x390;
    /// Timer divide configuration.
    pub const TIMER_DIVIDE: u64 = 0x3e0;
}

/// SVR bit 8: APIC software enable.
pub const SVR_ENABLE: u32 = 1 << 8;
/// LVT bit 16: masked.
pub const LVT_MASKED: u32 = 1 << 16;
/// LVT timer bit 17: periodic.
pub const LVT_TIMER_PERIODIC: u32 = 1 << 17;

/// ICR bits 10:8, delivery mode.
pub mod delivery {
    /// Fixed: the vector field is delivered.
    pub const FIXED: u32 = 0;
    /// NMI.
    pub const NMI: u32 = 4;
    /// INIT.
    pub const INIT: u32 = 5;
    /// Start-up: the vector is the page number of the real-mode entry.
    pub const STARTUP: u32 = 6;
}

/// ICR bit 14: assert.
pub const ICR_ASSERT: u32 = 1 << 14;
/// ICR bit 15: level-triggered.
pub const ICR_LEVEL: u32 = 1 << 15;
/// ICR bit 12: delivery pending.
pub const ICR_PENDING: u32 = 1 << 12;
/// ICR bits 19:18: destination shorthand.
pub mod shorthand {
    /// Use the destination field.
    pub const NONE: u32 = 0;
    /// Self.
    pub const SELF: u32 = 1;
    /// All including self.
    pub const ALL: u32 = 2;
    /// All excluding self.
    pub const OTHERS: u32 = 3;
}

/// IA32_APIC_BASE bit 8: this processor was started first.
pub const BASE_BSP: u64 = 1 << 8;
/// IA32_APIC_BASE bit 10, EXTD: x2APIC mode.
pub const BASE_X2APIC: u64 = 1 << 10;
/// IA32_APIC_BASE bit 11: global enable.
pub const BASE_ENABLE: u64 = 1 << 11;
