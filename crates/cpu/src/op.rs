//! A decoded instruction, lowered to what its handler needs.
//!
//! Segments in addresses are an index into `Cpu::seg_base`: 0–5 are the registers
//! (in 64-bit mode only FS and GS appear); [`FLAT`] and [`FLAT_STACK`] stand
//! for the segments 64-bit mode treats as flat, apart because a non-canonical
//! stack address raises #SS, any other #GP.

use crate::core::Core;
use crate::exception::Exception;
use crate::state::reg;
use iced_x86::{Code, Instruction, OpKind, Register};

/// Index of the flat base in 64-bit mode.
pub(crate) const FLAT: u8 = 6;
/// Index of the flat base of stack accesses in 64-bit mode.
pub(crate) const FLAT_STACK: u8 = 7;

/// What executes an instruction. RIP already points past it.
pub(crate) type Exec = fn(&mut Core<'_>, &Op) -> Result<(), Exception>;

/// How a repeat prefix applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rep {
    None,
    /// REP or REPE.
    WhileEqual,
    /// REPNE.
    WhileNotEqual,
}

/// One decoded instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) exec: Exec,
    /// Immediate, sign-extended as the instruction uses it; for near branches the
    /// distance from the next instruction; for far branches the offset.
    pub(crate) imm: u64,
    /// Displacement of the memory operand; relative to RIP if that is the base.
    pub(crate) disp: u64,
    /// Mask of effective addresses: 16, 32 or 64 bits.
    pub(crate) addr_mask: u64,
    /// Register numbers of operands 0–3, where they are registers.
    pub(crate) r: [u8; 4],
    pub(crate) base: u8,
    pub(crate) index: u8,
    pub(crate) scale: u8,
    pub(crate) seg: u8,
    pub(crate) len: u8,
    /// Second immediate: ENTER's level, a far branch's selector.
    pub(crate) imm2: u16,
    pub(crate) rep: Rep,
    /// Address size in bytes: decides which of CX, ECX, RCX counts.
    pub(crate) addr_bytes: u8,
    /// Touches registers only: no memory, no device, so nothing else can have changed.
    pub(crate) quiet: bool,
    /// The operand size is 16 bits: LGDT and LIDT take only 24 bits of base.
    pub(crate) operand_16: bool,
}

impl Op {
    /// Fills in all but the handler.
    pub(crate) fn lower(instr: &Instruction, exec: Exec) -> Self {
        let mut op = Self {
            exec,
            imm: 0,
            disp: 0,
            addr_mask: u64::MAX,
            r: [0; 4],
            base: reg::ZERO as u8,
            index: reg::ZERO as u8,
            scale: 0,
            seg: FLAT,
            len: instr.len() as u8,
            imm2: 0,
            rep: rep(instr),
            addr_bytes: 8,
            quiet: is_quiet(instr),
            operand_16: matches!(instr.code(), Code::Lgdt_m1632_16 | Code::Lidt_m1632_16),
        };
        for i in 0..instr.op_count().min(4) {
            op.lower_operand(instr, i);
        }
        op.lower_address_size(instr);
        op
    }

    fn lower_operand(&mut self, instr: &Instruction, i: u32) {
        match instr.op_kind(i) {
            OpKind::Register => self.r[i as usize] = register_number(instr.op_register(i)),
            OpKind::Memory => self.lower_memory(instr),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                self.imm = instr.near_branch_target().wrapping_sub(instr.next_ip());
            }
            OpKind::FarBranch16 => {
                self.imm = u64::from(instr.far_branch16());
                self.imm2 = instr.far_branch_selector();
            }
            OpKind::FarBranch32 => {
                self.imm = u64::from(instr.far_branch32());
                self.imm2 = instr.far_branch_selector();
            }
            OpKind::Immediate8_2nd => self.imm2 = u16::from(instr.immediate8_2nd()),
            kind if is_immediate(kind) => self.imm = instr.immediate(i),
            // String operands and their segment: RSI, RDI and CX are implied.
            _ => self.seg = segment(instr),
        }
    }

    fn lower_memory(&mut self, instr: &Instruction) {
        self.seg = segment(instr);
        let base = instr.memory_base();
        self.disp = instr.memory_displacement64();
        if base.is_ip() {
            self.base = reg::RIP as u8;
            self.disp = self.disp.wrapping_sub(instr.next_ip());
        } else if base != Register::None {
            self.base = register_number(base);
        }
        if instr.memory_index() != Register::None {
            self.index = register_number(instr.memory_index());
            self.scale = instr.memory_index_scale().trailing_zeros() as u8;
        }
    }

    fn lower_address_size(&mut self, instr: &Instruction) {
        self.addr_bytes = address_bytes(instr);
        self.addr_mask = u64::MAX >> (64 - 8 * u32::from(self.addr_bytes));
    }
}

/// Whether all operands are registers and immediates. What touches devices otherwise ends its block.
fn is_quiet(instr: &Instruction) -> bool {
    let plain = |kind| kind == OpKind::Register || is_immediate(kind) || is_near_branch(kind);
    !instr.is_stack_instruction() && (0..instr.op_count()).all(|i| plain(instr.op_kind(i)))
}

const fn is_near_branch(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
    )
}

fn rep(instr: &Instruction) -> Rep {
    if instr.has_repne_prefix() {
        Rep::WhileNotEqual
    } else if instr.has_rep_prefix() {
        Rep::WhileEqual
    } else {
        Rep::None
    }
}

const fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

/// Number of a register in its own file; AH, CH, DH, BH are 16–19.
pub(crate) fn register_number(register: Register) -> u8 {
    match register {
        Register::AH | Register::CH | Register::DH | Register::BH => {
            16 + (register as u8 - Register::AH as u8)
        }
        // iced-x86 counts AH to BH among the byte registers, which shifts those after them.
        _ if register.is_gpr() => register.full_register().number() as u8,
        _ => register.number() as u8,
    }
}

/// Segment of the memory operand, as an index into `Cpu::seg_base`.
fn segment(instr: &Instruction) -> u8 {
    let register = instr.memory_segment();
    let flat = instr.code_size() == iced_x86::CodeSize::Code64;
    // 64-bit mode ignores the other prefixes, so the base register decides.
    let stack = matches!(
        instr.memory_base().full_register(),
        Register::RSP | Register::RBP
    );
    match register {
        Register::FS | Register::GS => register.number() as u8,
        _ if flat && stack => FLAT_STACK,
        _ if flat => FLAT,
        _ => register.number() as u8,
    }
}

/// Address size in bytes. iced-x86 tells it by the registers or by the kind of a string operand.
fn address_bytes(instr: &Instruction) -> u8 {
    for i in 0..instr.op_count() {
        match instr.op_kind(i) {
            OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => return 2,
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => return 4,
            OpKind::MemorySegRSI | OpKind::MemorySegRDI | OpKind::MemoryESRDI => return 8,
            OpKind::Memory => return memory_address_bytes(instr),
            _ => {}
        }
    }
    8
}

fn memory_address_bytes(instr: &Instruction) -> u8 {
    // The index of a gather is a vector register, which has no address size.
    let by_register = [instr.memory_base(), instr.memory_index()]
        .into_iter()
        .find(|r| *r != Register::None && !r.is_vector_register())
        .map(|r| {
            if r == Register::EIP {
                4
            } else if r == Register::RIP {
                8
            } else {
                r.size() as u8
            }
        });
    // Without registers only the size of the displacement tells: 16-bit addressing
    // always has two bytes, everything else is absolute and cannot overflow.
    by_register.unwrap_or(match instr.memory_displ_size() {
        2 => 2,
        4 if instr.code_size() != iced_x86::CodeSize::Code64 => 4,
        _ => 8,
    })
}
