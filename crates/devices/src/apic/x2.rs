//! What the processor reaches by RDMSR and WRMSR: IA32_APIC_BASE, IA32_TSC_DEADLINE, x2APIC registers.
//!
//! A refused access raises #GP(0) on the processor. In x2APIC mode the register page is gone, IDs have
//! 32 bits and the interrupt command register is one register.
//!
//! Not modelled: directed EOI (SVR bit 12 is reserved), the CMCI entry.
//!
//! **Spec:** SDM 3A "Extended XAPIC (x2APIC)", "Local APIC Status and Location", "TSC-Deadline Mode".

use super::ipi::Delivery;
use super::ipi::{Destination, Ipi, Trigger};
use super::{ESR_SEND_ILLEGAL, FIRST_VECTOR, LocalApic};
use x86::PhysAddr;
use x86::apic::{BASE_BSP, BASE_ENABLE, BASE_X2APIC, reg};
use x86::msr;

/// Address bits of IA32_APIC_BASE, as wide as a physical address of this machine.
const BASE_ADDRESS: u64 = 0xff_ffff_f000;
/// Bits of the x2APIC's interrupt command register that may be written, low half.
const ICR_WRITABLE: u32 = 0x000c_cfff;
/// MSR of the register at offset 0.
const FIRST_MSR: u32 = 0x800;
/// Offset, as the page would have it, of the register that sends to oneself.
const SELF_IPI: u64 = 0x3f0;

/// An access the processor answers with #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl LocalApic {
    /// EXTD: the registers are MSRs.
    pub(super) const fn is_x2(&self) -> bool {
        self.base & BASE_X2APIC != 0
    }

    /// Where the register page lies, while there is one.
    #[must_use]
    pub const fn page(&self) -> Option<PhysAddr> {
        if self.base & (BASE_ENABLE | BASE_X2APIC) == BASE_ENABLE {
            Some(PhysAddr::truncate(self.base & BASE_ADDRESS))
        } else {
            None
        }
    }

    /// IA32_APIC_BASE bit 11, which CPUID.01H:EDX.APIC repeats.
    #[must_use]
    pub const fn is_globally_enabled(&self) -> bool {
        self.base & BASE_ENABLE != 0
    }

    /// Reads MSR `number` at time `now`.
    ///
    /// # Errors
    ///
    /// [`Refused`] if there is no such register in this mode.
    pub fn read_msr(&self, now: u64, number: u32) -> Result<u64, Refused> {
        match number {
            msr::APIC_BASE => return Ok(self.base),
            msr::TSC_DEADLINE => return Ok(self.tsc_deadline.unwrap_or(0)),
            _ => {}
        }
        let offset = self.x2_offset(number)?;
        Ok(match offset {
            reg::ID => self.id.into(),
            reg::LDR => self.x2_logical_id().into(),
            reg::ICR_LOW => u64::from(self.icr_low) | u64::from(self.icr_high) << 32,
            reg::EOI | SELF_IPI => return Err(Refused),
            offset => self.read(now, offset).into(),
        })
    }

    /// Writes MSR `number` at time `now`; what is to be sent, if anything.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing has changed.
    pub fn write_msr(&mut self, now: u64, number: u32, value: u64) -> Result<Option<Ipi>, Refused> {
        match number {
            msr::APIC_BASE => return self.write_base(value).map(|()| None),
            msr::TSC_DEADLINE => {
                self.arm_deadline(value);
                return Ok(None);
            }
            _ => {}
        }
        let offset = self.x2_offset(number)?;
        if offset == reg::ICR_LOW {
            return self.write_x2_icr(value);
        }
        let value = u32::try_from(value).map_err(|_| Refused)?;
        let allowed = self.x2_writable(offset).ok_or(Refused)?;
        if value & !allowed != 0 {
            return Err(Refused);
        }
        if offset == SELF_IPI {
            return Ok(self.send_to_self(value));
        }
        Ok(self.write(now, offset, value))
    }

    /// The page offset of the register an x2APIC MSR names.
    fn x2_offset(&self, number: u32) -> Result<u64, Refused> {
        let offset = u64::from(number.checked_sub(FIRST_MSR).ok_or(Refused)?) << 4;
        let exists = matches!(
            offset,
            reg::ID | reg::VERSION | reg::TPR | reg::PPR | reg::EOI | reg::LDR | reg::SVR
                | reg::ISR0..=0x270 | reg::ESR | reg::ICR_LOW | reg::LVT_TIMER..=reg::TIMER_CURRENT
                | reg::TIMER_DIVIDE | SELF_IPI
        );
        if self.is_x2() && exists {
            Ok(offset)
        } else {
            Err(Refused)
        }
    }

    /// Bits that may be 1 in a write; `None` for what is read only.
    const fn x2_writable(&self, offset: u64) -> Option<u32> {
        Some(match offset {
            reg::EOI | reg::ESR => 0,
            reg::TPR | SELF_IPI => 0xff,
            reg::SVR => 0x1ff,
            reg::TIMER_INITIAL => u32::MAX,
            reg::TIMER_DIVIDE => 0b1011,
            reg::LVT_TIMER => 0x7_00ff,
            reg::LVT_THERMAL | reg::LVT_PMC => 0x1_07ff,
            reg::LVT_LINT0 | reg::LVT_LINT1 => 0x1_a7ff,
            reg::LVT_ERROR => 0x1_00ff,
            _ => return None,
        })
    }

    fn write_base(&mut self, value: u64) -> Result<(), Refused> {
        let mode = |base: u64| base & (BASE_ENABLE | BASE_X2APIC);
        let (old, new) = (mode(self.base), mode(value));
        let both = BASE_ENABLE | BASE_X2APIC;
        let is_forbidden =
            new == BASE_X2APIC || old == 0 && new == both || old == both && new == BASE_ENABLE;
        let is_reserved = value & !(BASE_ADDRESS | both | BASE_BSP) != 0;
        if is_forbidden || is_reserved {
            return Err(Refused);
        }
        self.base = value & !BASE_BSP | self.base & BASE_BSP;
        if new == 0 {
            self.reset();
        }
        Ok(())
    }

    fn arm_deadline(&mut self, time: u64) {
        if self.is_deadline_mode() {
            self.tsc_deadline = Some(time).filter(|&time| time != 0);
        }
    }

    /// Cluster in bits 31:16, one bit in 15:0.
    const fn x2_logical_id(&self) -> u32 {
        let id = self.id as u32;
        id >> 4 << 16 | 1 << (id & 0xf)
    }

    pub(super) const fn matches_x2_logical(&self, mda: u32) -> bool {
        let own = self.x2_logical_id();
        mda == u32::MAX || mda >> 16 == own >> 16 && mda & own & 0xffff != 0
    }

    fn write_x2_icr(&mut self, value: u64) -> Result<Option<Ipi>, Refused> {
        let [b0, b1, b2, b3, high @ ..] = value.to_le_bytes();
        let low = u32::from_le_bytes([b0, b1, b2, b3]);
        if low & !ICR_WRITABLE != 0 {
            return Err(Refused);
        }
        (self.icr_low, self.icr_high) = (low, u32::from_le_bytes(high));
        Ok(Ipi::from_x2_icr(low, self.icr_high).filter(|ipi| self.has_legal_vector(*ipi)))
    }

    fn send_to_self(&mut self, value: u32) -> Option<Ipi> {
        let ipi = Ipi {
            delivery: Delivery::Fixed(value.to_le_bytes()[0]),
            destination: Destination::Sender,
            trigger: Trigger::Edge,
        };
        Some(ipi).filter(|ipi| self.has_legal_vector(*ipi))
    }

    /// Vectors below 16 are not sent, and noted in ESR.
    pub(super) fn has_legal_vector(&mut self, ipi: Ipi) -> bool {
        let illegal = matches!(
            ipi.delivery,
            Delivery::Fixed(vector) | Delivery::LowestPriority(vector) if vector < FIRST_VECTOR
        );
        if illegal {
            self.error(ESR_SEND_ILLEGAL);
        }
        !illegal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X2: u64 = BASE_ENABLE | BASE_X2APIC;
    const ADDRESS: u64 = 0xfee0_0000;

    fn x2(id: u8) -> LocalApic {
        let mut apic = LocalApic::new(id, 1);
        let base = apic.read_msr(0, msr::APIC_BASE).unwrap();
        apic.write_msr(0, msr::APIC_BASE, base | BASE_X2APIC)
            .unwrap();
        apic.write_msr(0, 0x80f, 0x1ff).unwrap();
        apic
    }

    /// 0 disabled, 1 xAPIC, 2 invalid, 3 x2APIC: may a write go from one to the other?
    #[test]
    fn mode_changes_are_those_of_the_state_diagram() {
        let bits = [0, BASE_ENABLE, BASE_X2APIC, X2];
        for from in [0, 1, 3] {
            for to in 0..4 {
                let mut apic = LocalApic::new(0, 1);
                if from == 3 {
                    apic = x2(0);
                } else {
                    apic.write_msr(0, msr::APIC_BASE, ADDRESS | bits[from])
                        .unwrap();
                }
                let allowed = !matches!((from, to), (_, 2) | (0, 3) | (3, 1));
                let done = apic
                    .write_msr(0, msr::APIC_BASE, ADDRESS | bits[to])
                    .is_ok();
                assert_eq!(done, allowed, "{from} to {to}");
            }
        }
    }

    #[test]
    fn disabling_resets_and_takes_the_page_away() {
        let mut apic = LocalApic::new(0, 1);
        assert_eq!(apic.write(0, reg::SVR, 0x1ab), None);
        apic.write_msr(0, msr::APIC_BASE, ADDRESS).unwrap();
        assert_eq!((apic.page(), apic.is_globally_enabled()), (None, false));
        apic.write_msr(0, msr::APIC_BASE, 0x1234_5000 | BASE_ENABLE)
            .unwrap();
        assert_eq!(apic.page(), Some(PhysAddr::new(0x1234_5000)));
        assert_eq!(apic.read(0, reg::SVR), 0xff);
        assert_eq!(
            apic.read_msr(0, msr::APIC_BASE).unwrap() & BASE_BSP,
            BASE_BSP,
            "BSP is read only"
        );
        assert_eq!(
            apic.write_msr(0, msr::APIC_BASE, 1 << 40 | BASE_ENABLE),
            Err(Refused)
        );
        assert_eq!(
            apic.write_msr(0, msr::APIC_BASE, 1 | BASE_ENABLE),
            Err(Refused)
        );
    }

    #[test]
    fn x2apic_registers_exist_only_in_x2apic_mode() {
        let plain = LocalApic::new(3, 1);
        assert_eq!(plain.read_msr(0, 0x802), Err(Refused));
        let apic = x2(3);
        assert_eq!(apic.read_msr(0, 0x802), Ok(3), "the ID is not shifted");
        assert_eq!(
            apic.read_msr(0, 0x80d),
            Ok(1 << 3),
            "logical ID from the ID"
        );
        for absent in [
            0x800, 0x801, 0x804, 0x80b, 0x80e, 0x829, 0x82f, 0x831, 0x83a, 0x83f, 0x840,
        ] {
            assert_eq!(apic.read_msr(0, absent), Err(Refused), "{absent:#x}");
        }
    }

    #[test]
    fn reserved_bits_and_read_only_registers_are_refused() {
        let mut apic = x2(0);
        for (number, value) in [
            (0x802, 0),
            (0x803, 0),
            (0x80a, 0),
            (0x80d, 0),
            (0x810, 0),
            (0x820, 0),
            (0x839, 0),
            (0x808, 0x100),
            (0x80b, 1),
            (0x80f, 0x1200),
            (0x828, 1),
            (0x832, 1 << 12),
            (0x83e, 4),
            (0x838, 1 << 32),
            (0x830, 1 << 12),
            (0x830, 1 << 20),
            (0x83f, 0x100),
        ] {
            assert_eq!(
                apic.write_msr(0, number, value),
                Err(Refused),
                "{number:#x}"
            );
        }
        assert_eq!(apic.write_msr(0, 0x80b, 0), Ok(None));
    }

    #[test]
    fn icr_is_one_register_with_a_32_bit_destination() {
        let mut apic = x2(0);
        let destination =
            |sent: Result<Option<Ipi>, Refused>| sent.unwrap().map(|ipi| ipi.destination);
        assert_eq!(
            destination(apic.write_msr(0, 0x830, 5 << 32 | 0x41)),
            Some(Destination::Physical(5))
        );
        assert_eq!(apic.read_msr(0, 0x830), Ok(5 << 32 | 0x41));
        assert_eq!(
            destination(apic.write_msr(0, 0x830, 0xffff_ffff << 32 | 0x41)),
            Some(Destination::All)
        );
        assert_eq!(
            destination(apic.write_msr(0, 0x830, 6 << 32 | 0x841)),
            Some(Destination::X2Logical(6))
        );
        assert_eq!(
            destination(apic.write_msr(0, 0x83f, 0x41)),
            Some(Destination::Sender)
        );
        assert!(x2(2).is_addressed(Destination::X2Logical(6), 0));
        assert!(!x2(3).is_addressed(Destination::X2Logical(6), 0));
        assert!(!LocalApic::new(2, 1).is_addressed(Destination::X2Logical(6), 0));
    }

    #[test]
    fn the_deadline_fires_once_and_reads_0_afterwards() {
        let mut apic = x2(0);
        apic.write_msr(0, msr::TSC_DEADLINE, 500).unwrap();
        assert_eq!(apic.next_event(), None, "not in TSC-deadline mode");
        apic.write_msr(0, 0x832, 1 << 18 | 0x40).unwrap();
        apic.write_msr(0, msr::TSC_DEADLINE, 500).unwrap();
        assert_eq!(
            (apic.next_event(), apic.read_msr(0, msr::TSC_DEADLINE)),
            (Some(500), Ok(500))
        );
        apic.advance(499);
        assert_eq!(apic.pending(), None);
        apic.advance(500);
        assert_eq!((apic.pending(), apic.next_event()), (Some(0x40), None));
        assert_eq!(apic.read_msr(0, msr::TSC_DEADLINE), Ok(0));
        apic.write_msr(0, 0x838, 100).unwrap();
        assert_eq!(apic.next_event(), None, "the count is out of use");
    }

    #[test]
    fn writing_0_or_changing_the_mode_disarms() {
        for (number, value) in [(msr::TSC_DEADLINE, 0), (0x832, 0x40)] {
            let mut apic = x2(0);
            apic.write_msr(0, 0x832, 1 << 18 | 0x40).unwrap();
            apic.write_msr(0, msr::TSC_DEADLINE, 500).unwrap();
            apic.write_msr(0, number, value).unwrap();
            assert_eq!(apic.next_event(), None);
        }
    }

    #[test]
    fn the_8259_reaches_the_processor_through_lint0_or_without_an_apic() {
        let mut apic = LocalApic::new(0, 1);
        assert!(!apic.accepts_extint(), "masked after reset");
        apic.set_virtual_wire();
        assert!(apic.accepts_extint());
        let _ = apic.write(0, reg::LVT_LINT0, 0x1_0700);
        assert!(!apic.accepts_extint());
        apic.write_msr(0, msr::APIC_BASE, ADDRESS).unwrap();
        assert!(apic.accepts_extint());
    }

    #[test]
    fn the_end_of_a_level_triggered_interrupt_is_told_and_of_an_edge_not() {
        for (trigger, told) in [(Trigger::Edge, None), (Trigger::Level, Some(0x55))] {
            let mut apic = x2(0);
            apic.deliver(0x55, trigger);
            assert_eq!(
                apic.read_msr(0, 0x81a).unwrap() >> 21 & 1,
                u64::from(told.is_some()),
                "TMR"
            );
            assert_eq!(apic.acknowledge(), 0x55);
            apic.write_msr(0, 0x80b, 0).unwrap();
            assert_eq!((apic.take_ended(), apic.take_ended()), (told, None));
        }
    }
}
