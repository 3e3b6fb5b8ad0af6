//! The states in which boot protocols enter a kernel.
//!
//! **Spec:** "x86/HVM direct boot ABI" (PVH); "Multiboot Specification", "Machine state"; "The Linux/x86 Boot Protocol", "64-bit Boot Protocol".

use crate::segment::{SegReg, Segment, TableRegister};
use crate::state::{Activity, Cpu, reg};
use x86::descriptor::{Descriptor, Selector};
use x86::{Cr0, Cr4, Efer};

impl Cpu {
    /// The state the PVH protocol asks for: 32-bit flat protected mode at `entry`, EBX = `start_info`.
    pub fn enter_pvh(&mut self, entry: u32, start_info: u32) {
        self.enter_flat32(entry);
        self.regs[reg::RBX] = u64::from(start_info);
    }

    /// The state Multiboot asks for: 32-bit flat protected mode at `entry`, EAX = magic, EBX = `info`.
    pub fn enter_multiboot(&mut self, entry: u32, info: u32) {
        const LOADER_MAGIC: u64 = 0x2bad_b002;
        self.enter_flat32(entry);
        self.regs[reg::RAX] = LOADER_MAGIC;
        self.regs[reg::RBX] = u64::from(info);
    }

    /// 32-bit protected mode with flat segments at `entry`, paging and interrupts off.
    pub fn enter_flat32(&mut self, entry: u32) {
        self.mmu.write_cr0(Cr0::PE | Cr0::ET);
        self.load_segment(SegReg::Cs, Segment::flat_code32(Selector(8)));
        self.load_flat_data(Selector(0x10));
        self.regs[reg::RDX] = 0;
        self.set_rip(u64::from(entry));
        self.activity = Activity::Running;
    }

    /// The state Linux's 64-bit boot protocol asks for: paging on with the tables at `cr3`,
    /// code 10h and data 18h of the four-entry table at `gdt`, RSI = `zero_page`.
    pub fn enter_linux64(&mut self, entry: u64, zero_page: u32, cr3: u64, gdt: u32) {
        self.enter_flat32(0);
        self.mmu.write_cr4(Cr4::PAE);
        self.mmu.write_cr3(cr3);
        self.mmu.write_efer(Efer::LME | Efer::LMA);
        self.mmu.write_cr0(Cr0::PE | Cr0::ET | Cr0::PG);
        self.gdtr = TableRegister {
            base: u64::from(gdt),
            limit: 4 * 8 - 1,
        };
        self.load_segment(SegReg::Cs, Segment::flat_code64(Selector(0x10)));
        self.load_flat_data(Selector(0x18));
        self.regs[reg::RSI] = u64::from(zero_page);
        self.set_rip(entry);
    }

    fn load_flat_data(&mut self, selector: Selector) {
        for which in [SegReg::Es, SegReg::Ss, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
            self.load_segment(which, Segment::flat_data32(selector));
        }
        self.tr = Segment {
            limit: 0x67,
            desc: Descriptor(0x0000_8b00_0000_0067),
            ..Segment::default()
        };
    }
}
