//! What CPUID says. Every feature bit set here is implemented; nothing else is.
//!
//! Not declared yet, because not implemented: FPU (x87), XSAVE, AVX. Never declared, so that
//! runs repeat: RDRAND, RDSEED.
//!
//! **Spec:** SDM 2 "CPUID—CPU Identification".

use crate::core::Core;
use crate::state::reg;
use x86::Cr4;

/// Physical address width in bits: what CPUID 80000008h says and the walker enforces.
pub const MAXPHYADDR: u32 = 40;

/// Family 6, model 15, stepping 0: a plain 64-bit processor without surprises.
pub(crate) const SIGNATURE: u32 = 0x0000_06f0;

const VENDOR: &[u8; 12] = b"halfpagex86 ";
const BRAND: &[u8; 48] =
    b"halfpage x86-64 machine\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Leaf 1 EDX: PSE, TSC, MSR, PAE, CX8, APIC, SEP, PGE, CMOV, PAT, PSE-36, CLFSH, MMX, FXSR, SSE,
/// SSE2.
const LEAF1_EDX: u32 = 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 1 << 9
    | 1 << 11
    | 1 << 13
    | 1 << 15
    | 1 << 16
    | 1 << 17
    | 1 << 19
    | 1 << 23
    | 1 << 24
    | 1 << 25
    | 1 << 26;
/// Leaf 1 ECX: SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, PCID, SSE4.1, SSE4.2, x2APIC, MOVBE, POPCNT,
/// TSC-deadline, AES.
const LEAF1_ECX: u32 = 1
    | 1 << 1
    | 1 << 9
    | 1 << 13
    | 1 << 17
    | 1 << 19
    | 1 << 20
    | 1 << 21
    | 1 << 22
    | 1 << 23
    | 1 << 24
    | 1 << 25;
/// Leaf 1 EDX: APIC, which is IA32_APIC_BASE.EN.
const LEAF1_EDX_APIC: u32 = 1 << 9;
/// Leaf 7 EBX: FSGSBASE, BMI1, SMEP, BMI2, INVPCID, FCS and FDS deprecated (FXSAVE gives 0), ADX,
/// SMAP, SHA.
const LEAF7_EBX: u32 =
    1 | 1 << 3 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 29;
/// Leaf 7 ECX: UMIP, PKU, RDPID.
const LEAF7_ECX: u32 = 1 << 2 | 1 << 3 | 1 << 22;
/// Leaf 7 ECX: OSPKE, which is CR4.PKE.
const LEAF7_ECX_OSPKE: u32 = 1 << 4;
/// Leaf 80000001h EDX: SYSCALL, NX, 1 GiB pages, RDTSCP, long mode.
const EXT1_EDX: u32 = 1 << 11 | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 29;
/// Leaf 80000001h ECX: LAHF in 64-bit mode, LZCNT.
const EXT1_ECX: u32 = 1 | 1 << 5;

/// CR4 bits that may be set; the others raise #GP.
pub(crate) const CR4_SUPPORTED: Cr4 = Cr4::TSD
    .union(Cr4::DE)
    .union(Cr4::PSE)
    .union(Cr4::PAE)
    .union(Cr4::MCE)
    .union(Cr4::PGE)
    .union(Cr4::PCE)
    .union(Cr4::OSFXSR)
    .union(Cr4::OSXMMEXCPT)
    .union(Cr4::UMIP)
    .union(Cr4::FSGSBASE)
    .union(Cr4::PCIDE)
    .union(Cr4::SMEP)
    .union(Cr4::SMAP)
    .union(Cr4::PKE);

/// EAX, EBX, ECX, EDX of `leaf` on processor `id`; clock in MHz for leaf 16h.
pub(crate) fn leaf(leaf: u32, id: u8, core_mhz: u32) -> [u32; 4] {
    let text = |bytes: &[u8], i: usize| {
        u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]])
    };
    match leaf {
        0 => [0x16, text(VENDOR, 0), text(VENDOR, 8), text(VENDOR, 4)],
        // EBX: APIC ID, CLFLUSH line of 64 bytes.
        1 => [
            SIGNATURE,
            u32::from(id) << 24 | 8 << 8,
            LEAF1_ECX,
            LEAF1_EDX,
        ],
        7 => [0, LEAF7_EBX, LEAF7_ECX, 0],
        // TSC frequency = crystal × EBX / EAX: the TSC counts core cycles.
        0x15 => [1, 1, core_mhz.saturating_mul(1_000_000), 0],
        0x16 => [core_mhz, core_mhz, 0, 0],
        0x8000_0000 => [0x8000_0008, 0, 0, 0],
        0x8000_0001 => [SIGNATURE, 0, EXT1_ECX, EXT1_EDX],
        0x8000_0002..=0x8000_0004 => {
            let from = (leaf - 0x8000_0002) as usize * 16;
            std::array::from_fn(|i| text(BRAND, from + 4 * i))
        }
        // Invariant TSC.
        0x8000_0007 => [0, 0, 0, 1 << 8],
        0x8000_0008 => [MAXPHYADDR | 48 << 8, 0, 0, 0],
        _ => [0; 4],
    }
}

impl Core<'_> {
    /// CPUID with the leaf in EAX.
    pub(crate) fn cpuid(&mut self) {
        let number = (self.cpu.regs[reg::RAX] & 0xffff_ffff) as u32;
        // Subleaves other than 0 of leaf 7 are empty.
        let empty = number == 7 && self.cpu.regs[reg::RCX] & 0xffff_ffff != 0;
        let mut values = if empty {
            [0; 4]
        } else {
            leaf(number, self.cpu.id, self.profile.core_mhz)
        };
        if number == 7 && !empty && self.cpu.cr4().contains(Cr4::PKE) {
            values[2] |= LEAF7_ECX_OSPKE;
        }
        if number == 1 && !self.bus.has_apic(self.cpu.id) {
            values[3] &= !LEAF1_EDX_APIC;
        }
        for (register, value) in [reg::RAX, reg::RBX, reg::RCX, reg::RDX]
            .into_iter()
            .zip(values)
        {
            self.cpu.regs[register] = u64::from(value);
        }
    }
}
