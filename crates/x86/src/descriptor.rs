//! Segment descriptors, gates, selectors and the 64-bit TSS.
//!
//! **Spec:** SDM 3A "Segment Descriptors", "IA-32e Mode Interrupt/Trap Gate
//! Descriptor", "64-Bit Task State Segment".

/// A segment selector: index, table indicator, RPL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Selector(pub u16);

impl Selector {
    /// The null selector with RPL 0.
    pub const NULL: Self = Self(0);

    /// Requested privilege level, bits 1:0.
    #[must_use]
    pub const fn rpl(self) -> u8 {
        (self.0 & 3) as u8
    }

    /// TI, bit 2: the descriptor is in the LDT.
    #[must_use]
    pub const fn is_local(self) -> bool {
        self.0 & 4 != 0
    }

    /// Whether this is one of the four null selectors.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 & !3 == 0
    }

    /// Byte offset of the descriptor in its table.
    #[must_use]
    pub const fn table_offset(self) -> u16 {
        self.0 & !7
    }

    /// The error code that names this selector: index and TI, EXT and IDT clear.
    #[must_use]
    pub const fn error_code(self) -> u16 {
        self.0 & !3
    }
}

/// The eight bytes of a code or data segment descriptor.
///
/// ```text
///  63      56 55 54 53 52 51  48 47 46 45 44 43  40 39      16 15       0
/// ┌──────────┬──┬──┬──┬──┬──────┬──┬─────┬──┬──────┬──────────┬──────────┐
/// │base 31:24│ G│DB│ L│AV│lim hi│ P│ DPL │ S│ type │base 23:0 │limit 15:0│
/// └──────────┴──┴──┴──┴──┴──────┴──┴─────┴──┴──────┴──────────┴──────────┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// Base address, 32 bits.
    #[must_use]
    pub const fn base(self) -> u32 {
        ((self.0 >> 16) & 0x00ff_ffff) as u32 | ((self.0 >> 32) & 0xff00_0000) as u32
    }

    /// Limit in bytes, with granularity applied: the last valid offset.
    #[must_use]
    pub const fn limit_bytes(self) -> u32 {
        let raw = (self.0 & 0xffff) as u32 | ((self.0 >> 32) & 0xf_0000) as u32;
        if self.0 & (1 << 55) != 0 {
            (raw << 12) | 0xfff
        } else {
            raw
        }
    }

    /// Type field, bits 43:40.
    #[must_use]
    pub const fn kind(self) -> u8 {
        ((self.0 >> 40) & 0xf) as u8
    }

    /// S: a code or data segment (clear: a system segment).
    #[must_use]
    pub const fn is_code_or_data(self) -> bool {
        self.0 & (1 << 44) != 0
    }

    /// A code segment.
    #[must_use]
    pub const fn is_code(self) -> bool {
        self.is_code_or_data() && self.kind() & 8 != 0
    }

    /// A data segment that may be written.
    #[must_use]
    pub const fn is_writable_data(self) -> bool {
        self.is_code_or_data() && self.kind() & 0b1010 == 0b0010
    }

    /// A data segment, or a code segment that may be read.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.is_code_or_data() && (self.kind() & 8 == 0 || self.kind() & 2 != 0)
    }

    /// C: a conforming code segment.
    #[must_use]
    pub const fn is_conforming_code(self) -> bool {
        self.is_code() && self.kind() & 4 != 0
    }

    /// Descriptor privilege level.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        ((self.0 >> 45) & 3) as u8
    }

    /// P: present.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & (1 << 47) != 0
    }

    /// L: a 64-bit code segment.
    #[must_use]
    pub const fn is_long(self) -> bool {
        self.0 & (1 << 53) != 0
    }

    /// D/B: 32-bit default operand size, or 32-bit stack pointer.
    #[must_use]
    pub const fn is_32bit(self) -> bool {
        self.0 & (1 << 54) != 0
    }
}

/// Type fields of system descriptors. Those named for 16 bits and the task gate do not exist in IA-32e mode.
pub mod system_type {
    /// 16-bit TSS, available.
    pub const TSS16_AVAILABLE: u8 = 1;
    /// 16-bit TSS, busy.
    pub const TSS16_BUSY: u8 = 3;
    /// 16-bit call gate.
    pub const CALL_GATE16: u8 = 4;
    /// Task gate, in the GDT, an LDT or the IDT.
    pub const TASK_GATE: u8 = 5;
    /// 16-bit interrupt gate.
    pub const INTERRUPT_GATE16: u8 = 6;
    /// 16-bit trap gate.
    pub const TRAP_GATE16: u8 = 7;
    /// Call gate, of 32 bits or, in IA-32e mode, 64.
    pub const CALL_GATE: u8 = 12;
    /// Local descriptor table.
    pub const LDT: u8 = 2;
    /// TSS, available.
    pub const TSS_AVAILABLE: u8 = 9;
    /// TSS, busy.
    pub const TSS_BUSY: u8 = 11;
    /// Interrupt gate: IF is cleared on entry.
    pub const INTERRUPT_GATE: u8 = 14;
    /// Trap gate: IF is left.
    pub const TRAP_GATE: u8 = 15;
}

/// A 16-byte gate of the IDT in IA-32e mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Gate64 {
    /// Bytes 7:0.
    pub low: u64,
    /// Bytes 15:8: offset 63:32 and reserved.
    pub high: u64,
}

impl Gate64 {
    /// A present interrupt gate to `offset`, on stack `ist` (0: none), callable from `dpl`.
    #[must_use]
    pub const fn interrupt(offset: u64, code: Selector, ist: u8, dpl: u8) -> Self {
        let low = (offset & 0xffff)
            | ((code.0 as u64) << 16)
            | ((ist as u64 & 7) << 32)
            | ((system_type::INTERRUPT_GATE as u64) << 40)
            | ((dpl as u64 & 3) << 45)
            | (1 << 47)
            | ((offset >> 16 & 0xffff) << 48);
        Self {
            low,
            high: offset >> 32,
        }
    }

    /// Entry point.
    #[must_use]
    pub const fn offset(self) -> u64 {
        (self.low & 0xffff) | ((self.low >> 48) << 16) | (self.high << 32)
    }

    /// Code segment selector.
    #[must_use]
    pub const fn selector(self) -> Selector {
        Selector(((self.low >> 16) & 0xffff) as u16)
    }

    /// Interrupt-stack-table index, 0 for none.
    #[must_use]
    pub const fn ist(self) -> u8 {
        ((self.low >> 32) & 7) as u8
    }

    /// Parameters a call gate of protected mode copies, bits 36:32.
    #[must_use]
    pub const fn parameter_count(self) -> u8 {
        ((self.low >> 32) & 0x1f) as u8
    }

    /// Type field.
    #[must_use]
    pub const fn kind(self) -> u8 {
        ((self.low >> 40) & 0x1f) as u8
    }

    /// Descriptor privilege level: who may reach it with INT n.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        ((self.low >> 45) & 3) as u8
    }

    /// Present.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.low & (1 << 47) != 0
    }
}

/// The 64-bit TSS: stacks for privilege changes and for IST gates.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
pub struct Tss64 {
    /// Reserved.
    pub reserved0: u32,
    /// RSP0–RSP2: stack on a change to that privilege level.
    pub rsp: [u64; 3],
    /// Reserved.
    pub reserved1: u64,
    /// IST1–IST7.
    pub ist: [u64; 7],
    /// Reserved.
    pub reserved2: u64,
    /// Reserved.
    pub reserved3: u16,
    /// Offset of the I/O permission map from the base of the TSS.
    pub iomap_base: u16,
}

const _: () = assert!(size_of::<Tss64>() == 104);

/// Byte offset of RSP0 in the 64-bit TSS.
pub const TSS64_RSP0: u64 = 4;
/// Byte offset of IST1 in the 64-bit TSS.
pub const TSS64_IST1: u64 = 36;
/// Byte offset of the I/O map base in the 64-bit TSS.
pub const TSS64_IOMAP_BASE: u64 = 102;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_code_descriptor_spans_four_gibibytes() {
        let flat = Descriptor(0x00cf_9a00_0000_ffff);
        assert_eq!((flat.base(), flat.limit_bytes()), (0, u32::MAX));
        assert!(flat.is_code() && flat.is_readable() && flat.is_32bit() && !flat.is_long());
    }

    #[test]
    fn a_gate_gives_back_what_it_was_made_of() {
        let gate = Gate64::interrupt(0xffff_ffff_8123_4567, Selector(8), 3, 3);
        assert_eq!(gate.offset(), 0xffff_ffff_8123_4567);
        assert_eq!(
            (gate.selector(), gate.ist(), gate.dpl()),
            (Selector(8), 3, 3)
        );
        assert!(gate.is_present());
        assert_eq!(gate.kind(), system_type::INTERRUPT_GATE);
    }
}
