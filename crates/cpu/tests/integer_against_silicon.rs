//! Every integer instruction against the processor this test runs on.
//!
//! Each form iced-x86 knows of the listed mnemonics is encoded with random operands, then executed
//! with random and directed values twice: natively, between a stub that loads registers and
//! flags and one that stores them, and in the interpreter. The code and the memory operand
//! have the same linear addresses in both worlds, so RIP-relative and based operands
//! need no translation; the operand often lies across two pages, which in the machine
//! are not neighbours. Flags the manual leaves undefined are not compared.

#![cfg(all(target_arch = "x86_64", unix))]
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what fails here is the test, and values are cut to operands on purpose"
)]
// UNSAFETY: runs assembled code natively.
#![expect(unsafe_code)]

mod common;

use common::{Bench, assemble};
use cpu::{Activity, reg};
use iced_x86::code_asm::{
    CodeAssembler, qword_ptr, r8, r9, r10, r11, r12, r13, r14, r15, rax, rbp, rbx, rcx, rdi, rdx,
    rsi,
};
use iced_x86::{
    Code, Encoder, FastFormatter, Instruction, Mnemonic, OpCodeOperandKind as Kind, OpKind,
    Register, RflagsBits,
};
use memmap2::{Mmap, MmapMut};
use x86::addr::PAGE_BYTES;
use x86::{Bits, Rflags};

/// Encodings per form, and executions of each.
const VARIANTS: usize = 12;
const RUNS: usize = 60;
const SLOT_BYTES: usize = 32;
/// The bytes around the page boundary that operands may touch.
const WINDOW: usize = 512;
const CODE_FRAMES: u64 = common::at::FRAMES + 0x10_0000;

/// Registers an operand may be. RSP is the stack's and R15 the stub's.
const REGISTERS: [Register; 14] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
];

/// Splitmix64: the same sequence in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A value near an edge of some width, or any.
    fn value(&mut self) -> u64 {
        let edge = 1_u64
            .checked_shl(self.pick(&[0, 7, 8, 15, 16, 31, 32, 63, 64]))
            .unwrap_or(0);
        match self.below(8) {
            0 => edge,
            1 => edge.wrapping_sub(1),
            2 => edge.wrapping_neg(),
            3 => self.below(130),
            4 => self.next() | self.next() << 32,
            _ => self.next(),
        }
    }
}

fn tested(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Add
            | M::Adc
            | M::Sub
            | M::Sbb
            | M::And
            | M::Or
            | M::Xor
            | M::Cmp
            | M::Test
            | M::Inc
            | M::Dec
            | M::Neg
            | M::Not
            | M::Mul
            | M::Imul
            | M::Div
            | M::Idiv
            | M::Shl
            | M::Sal
            | M::Shr
            | M::Sar
            | M::Rol
            | M::Ror
            | M::Rcl
            | M::Rcr
            | M::Shld
            | M::Shrd
            | M::Bt
            | M::Bts
            | M::Btr
            | M::Btc
            | M::Bsf
            | M::Bsr
            | M::Popcnt
            | M::Bswap
            | M::Movbe
            | M::Mov
            | M::Movzx
            | M::Movsx
            | M::Movsxd
            | M::Lea
            | M::Xchg
            | M::Xlatb
            | M::Cbw
            | M::Cwde
            | M::Cdqe
            | M::Cwd
            | M::Cdq
            | M::Cqo
            | M::Xadd
            | M::Cmpxchg
            | M::Cmpxchg8b
            | M::Cmpxchg16b
            | M::Lahf
            | M::Sahf
            | M::Clc
            | M::Stc
            | M::Cmc
            | M::Nop
            | M::Seto
            | M::Setno
            | M::Setb
            | M::Setae
            | M::Sete
            | M::Setne
            | M::Setbe
            | M::Seta
            | M::Sets
            | M::Setns
            | M::Setp
            | M::Setnp
            | M::Setl
            | M::Setge
            | M::Setle
            | M::Setg
            | M::Cmovo
            | M::Cmovno
            | M::Cmovb
            | M::Cmovae
            | M::Cmove
            | M::Cmovne
            | M::Cmovbe
            | M::Cmova
            | M::Cmovs
            | M::Cmovns
            | M::Cmovp
            | M::Cmovnp
            | M::Cmovl
            | M::Cmovge
            | M::Cmovle
            | M::Cmovg
            | M::Movsb
            | M::Movsw
            | M::Movsd
            | M::Movsq
            | M::Stosb
            | M::Stosw
            | M::Stosd
            | M::Stosq
            | M::Lodsb
            | M::Lodsw
            | M::Lodsd
            | M::Lodsq
            | M::Cmpsb
            | M::Cmpsw
            | M::Cmpsd
            | M::Cmpsq
            | M::Scasb
            | M::Scasw
            | M::Scasd
            | M::Scasq
    )
}

/// A general register of `bytes`; among byte registers AH to BH, too.
fn register(random: &mut Random, bytes: usize) -> Register {
    const HIGH: [Register; 4] = [Register::AH, Register::CH, Register::DH, Register::BH];
    if bytes == 1 && random.one_in(4) {
        return random.pick(&HIGH);
    }
    let number = random.pick(&REGISTERS).number() as u32;
    let first = match bytes {
        1 if number < 4 => return Register::AL + number,
        1 => return Register::SPL + (number - 4),
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    };
    first + number
}

/// Gives operand `i` of `instr` a random value of its kind; `None` for kinds no integer instruction has.
fn operand(
    random: &mut Random,
    instr: &mut Instruction,
    i: u32,
    kind: Kind,
    operand_at: u64,
) -> Option<()> {
    use Kind as K;
    let immediate = match kind {
        K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem if random.one_in(2) => {
            memory(random, instr, i, operand_at);
            return Some(());
        }
        K::mem => {
            memory(random, instr, i, operand_at);
            return Some(());
        }
        K::mem_offs => {
            instr.set_op_kind(i, OpKind::Memory);
            instr.set_memory_displ_size(8);
            instr.set_memory_displacement64(operand_at);
            return Some(());
        }
        K::r8_or_mem | K::r8_reg | K::r8_opcode => {
            return set_register(instr, i, register(random, 1));
        }
        K::r16_or_mem | K::r16_reg | K::r16_rm | K::r16_opcode => {
            return set_register(instr, i, register(random, 2));
        }
        K::r32_or_mem | K::r32_reg | K::r32_rm | K::r32_opcode => {
            return set_register(instr, i, register(random, 4));
        }
        K::r64_or_mem | K::r64_reg | K::r64_rm | K::r64_opcode => {
            return set_register(instr, i, register(random, 8));
        }
        K::al => return set_register(instr, i, Register::AL),
        K::cl => return set_register(instr, i, Register::CL),
        K::ax => return set_register(instr, i, Register::AX),
        K::eax => return set_register(instr, i, Register::EAX),
        K::rax => return set_register(instr, i, Register::RAX),
        K::seg_rSI => return set_kind(instr, i, OpKind::MemorySegRSI),
        K::es_rDI => return set_kind(instr, i, OpKind::MemoryESRDI),
        K::seg_rDI => return set_kind(instr, i, OpKind::MemorySegRDI),
        K::seg_rBX_al => {
            instr.set_memory_base(Register::RBX);
            instr.set_memory_index(Register::AL);
            return set_kind(instr, i, OpKind::Memory);
        }
        K::imm8_const_1 => (OpKind::Immediate8, 1),
        K::imm8 => (OpKind::Immediate8, random.value() & 0xff),
        K::imm16 => (OpKind::Immediate16, random.value() & 0xffff),
        K::imm32 => (OpKind::Immediate32, random.value() & 0xffff_ffff),
        K::imm64 => (OpKind::Immediate64, random.value()),
        K::imm8sex16 => (OpKind::Immediate8to16, sign_extended(random.value(), 8)),
        K::imm8sex32 => (OpKind::Immediate8to32, sign_extended(random.value(), 8)),
        K::imm8sex64 => (OpKind::Immediate8to64, sign_extended(random.value(), 8)),
        K::imm32sex64 => (OpKind::Immediate32to64, sign_extended(random.value(), 32)),
        _ => return None,
    };
    instr.set_op_kind(i, immediate.0);
    match immediate.0 {
        OpKind::Immediate64 | OpKind::Immediate8to64 | OpKind::Immediate32to64 => {
            instr.set_immediate_u64(i, immediate.1)
        }
        OpKind::Immediate8to16 => instr.set_immediate_i32(i, immediate.1 as i16 as i32),
        _ => instr.set_immediate_u32(i, (immediate.1 & 0xffff_ffff) as u32),
    }
    Some(())
}

fn set_register(instr: &mut Instruction, i: u32, register: Register) -> Option<()> {
    instr.set_op_kind(i, OpKind::Register);
    instr.set_op_register(i, register);
    Some(())
}

fn set_kind(instr: &mut Instruction, i: u32, kind: OpKind) -> Option<()> {
    instr.set_op_kind(i, kind);
    Some(())
}

fn sign_extended(value: u64, bits: u32) -> u64 {
    ((value << (64 - bits)).cast_signed() >> (64 - bits)).cast_unsigned()
}

/// Makes operand `i` memory: RIP-relative, by a base, or by base, index and displacement.
fn memory(random: &mut Random, instr: &mut Instruction, i: u32, operand_at: u64) {
    instr.set_op_kind(i, OpKind::Memory);
    if random.one_in(4) {
        instr.set_memory_base(Register::RIP);
        instr.set_memory_displ_size(8);
        instr.set_memory_displacement64(operand_at);
        return;
    }
    let base = random.pick(&REGISTERS);
    instr.set_memory_base(base);
    if random.one_in(2) {
        let index = REGISTERS
            .iter()
            .copied()
            .filter(|r| *r != base)
            .collect::<Vec<_>>();
        instr.set_memory_index(random.pick(&index));
        instr.set_memory_index_scale(random.pick(&[1, 2, 4, 8]));
    }
    if random.one_in(2) {
        let (size, displacement) =
            random.pick(&[(1, -128_i64), (1, 127), (8, 0x1234_5678), (8, -0x1234)]);
        instr.set_memory_displ_size(size);
        instr.set_memory_displacement64(displacement.cast_unsigned());
    } else if base == Register::RBP || base == Register::R13 {
        instr.set_memory_displ_size(1);
    }
}

/// One encoded instruction.
struct Variant {
    instr: Instruction,
    bytes: Vec<u8>,
    /// Where its memory operand lies.
    operand_at: u64,
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        FastFormatter::new().format(&self.instr, &mut text);
        write!(
            f,
            "{text} ({:?}, {:02x?}, memory at {:#x})",
            self.instr.code(),
            self.bytes,
            self.operand_at
        )
    }
}

/// A random encoding of `code` for address `ip`, if it has one.
fn variant(random: &mut Random, code: Code, ip: u64, boundary: u64) -> Option<Variant> {
    let mut instr = Instruction::default();
    instr.set_code(code);
    let mut operand_at = boundary.wrapping_add(random.below(128)).wrapping_sub(64);
    if code.mnemonic() == Mnemonic::Cmpxchg16b {
        operand_at &= !15;
    }
    let info = code.op_code();
    for (i, kind) in (0..).zip(info.op_kinds()) {
        operand(random, &mut instr, i, *kind, operand_at)?;
    }
    if info.can_use_lock_prefix() && instr.op0_kind() == OpKind::Memory {
        instr.set_has_lock_prefix(random.one_in(4));
    }
    if instr.is_string_instruction() {
        instr.set_has_rep_prefix(random.one_in(2));
        instr.set_has_repne_prefix(
            !instr.has_rep_prefix() && info.can_use_repne_prefix() && random.one_in(2),
        );
    }
    if registers_collide(&instr) {
        return None;
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&instr, ip).ok()?;
    let bytes = encoder.take_buffer();
    let instr = iced_x86::Decoder::with_ip(64, &bytes, ip, iced_x86::DecoderOptions::NONE).decode();
    Some(Variant {
        instr,
        bytes,
        operand_at,
    })
}

/// Whether a register would have to hold an address and something else that matters for it:
/// the bit offset of BT in memory, or RAX, RBX and RDX where the operand is chosen to fit them.
fn registers_collide(instr: &Instruction) -> bool {
    let address = [instr.memory_base(), instr.memory_index()];
    let taken = |r: Register| address.contains(&r.full_register());
    let bit_string =
        is_bit_test(instr) && instr.op0_kind() == OpKind::Memory && taken(instr.op1_register());
    let divides = matches!(instr.mnemonic(), Mnemonic::Div | Mnemonic::Idiv);
    bit_string || divides && (taken(Register::RAX) || taken(Register::RDX))
}

fn is_bit_test(instr: &Instruction) -> bool {
    matches!(
        instr.mnemonic(),
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
    )
}

/// What an instruction starts from and what it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// By number; RSP and R15 are not the instruction's.
    regs: [u64; 16],
    flags: u64,
    window: [u8; WINDOW],
}

/// What the stub reads and writes; its assembly knows the offsets.
#[repr(C)]
struct Exchange {
    regs: [u64; 16],
    flags: u64,
    target: u64,
}

const FLAGS_AT: i32 = 128;
const TARGET_AT: i32 = 136;

/// Loads what R15 points at, jumps to the target; the target jumps to what comes after.
fn stub(a: &mut CodeAssembler) -> common::Asm {
    let saved = [rbx, rbp, r12, r13, r14, r15];
    for r in saved {
        a.push(r)?;
    }
    a.mov(r15, rdi)?;
    a.push(qword_ptr(r15 + FLAGS_AT))?;
    a.popfq()?;
    for (number, r) in STUB_REGISTERS {
        a.mov(r, qword_ptr(r15 + 8 * number))?;
    }
    a.jmp(qword_ptr(r15 + TARGET_AT))
}

fn stub_end(a: &mut CodeAssembler) -> common::Asm {
    for (number, r) in STUB_REGISTERS {
        a.mov(qword_ptr(r15 + 8 * number), r)?;
    }
    a.pushfq()?;
    a.pop(qword_ptr(r15 + FLAGS_AT))?;
    a.cld()?;
    for r in [r15, r14, r13, r12, rbp, rbx] {
        a.pop(r)?;
    }
    a.ret()
}

const STUB_REGISTERS: [(i32, iced_x86::code_asm::AsmRegister64); 14] = [
    (0, rax),
    (1, rcx),
    (2, rdx),
    (3, rbx),
    (5, rbp),
    (6, rsi),
    (7, rdi),
    (8, r8),
    (9, r9),
    (10, r10),
    (11, r11),
    (12, r12),
    (13, r13),
    (14, r14),
];

/// The host's processor with all variants in executable memory.
struct Silicon {
    code: Mmap,
    data: MmapMut,
}

impl Silicon {
    fn run(&mut self, slot: usize, before: &State) -> State {
        let from = PAGE_BYTES as usize - WINDOW / 2;
        self.data[from..from + WINDOW].copy_from_slice(&before.window);
        let target = self.code.as_ptr() as u64 + (slot * SLOT_BYTES) as u64;
        let mut exchange = Exchange {
            regs: before.regs,
            flags: before.flags,
            target,
        };
        // SAFETY: `stub` was assembled at the start of `code`, which is executable and stays mapped
        // while `self` lives; it follows the System V convention of this type.
        let enter = unsafe {
            std::mem::transmute::<*const u8, extern "sysv64" fn(*mut Exchange)>(self.code.as_ptr())
        };
        // 1. The pointer is valid and unique for the call.
        // 2. The stub saves the registers the convention wants saved, and clears DF.
        // 3. The instruction at `target` touches registers but RSP and R15, and memory in `data` only:
        //    its address registers were set so by `prepare`. It raises no exception: divisions are filtered.
        enter(&raw mut exchange);
        let mut window = [0; WINDOW];
        window.copy_from_slice(&self.data[from..from + WINDOW]);
        State {
            regs: exchange.regs,
            flags: exchange.flags,
            window,
        }
    }
}

/// The interpreter with the same code and data at the same linear addresses.
struct Model {
    bench: Bench,
    code_at: u64,
}

/// Frames of the two pages of data, in the wrong order.
const DATA_FRAMES: [u64; 2] = [common::at::FRAMES + 0x3000, common::at::FRAMES + 0x1000];

impl Model {
    fn new(code_at: u64, code_bytes: usize, data_at: u64) -> Self {
        let mut bench = Bench::long();
        let rw = Bits::RW | Bits::A | Bits::D;
        for offset in (0..code_bytes as u64).step_by(PAGE_BYTES as usize) {
            bench.map(code_at + offset, CODE_FRAMES + offset, rw);
        }
        for (i, frame) in (0..).zip(DATA_FRAMES) {
            bench.map(data_at + i * PAGE_BYTES, frame, rw);
        }
        Self { bench, code_at }
    }

    /// `None` if the instruction raised #DE.
    fn run(&mut self, slot: usize, before: &State) -> Option<State> {
        let half = WINDOW / 2;
        let halves = [DATA_FRAMES[0] + PAGE_BYTES - half as u64, DATA_FRAMES[1]];
        self.bench.load(halves[0], &before.window[..half]);
        self.bench.load(halves[1], &before.window[half..]);
        let cpu = &mut self.bench.cpu;
        let rsp = common::at::STACK;
        cpu.regs[..16].copy_from_slice(&before.regs);
        cpu.regs[reg::RSP] = rsp;
        cpu.flags = before.flags;
        cpu.activity = Activity::Running;
        cpu.set_rip(self.code_at + (slot * SLOT_BYTES) as u64);
        self.bench.run();
        if self.bench.cpu.rip() < self.code_at {
            assert_eq!(
                self.bench.caught().vector,
                0,
                "no instruction here raises another exception"
            );
            return None;
        }
        let mut after = State {
            regs: [0; 16],
            flags: self.bench.cpu.flags,
            window: [0; WINDOW],
        };
        after.regs.copy_from_slice(&self.bench.cpu.regs[..16]);
        assert_eq!(after.regs[reg::RSP], rsp);
        after.regs[reg::RSP] = before.regs[reg::RSP];
        for (half, at) in after.window.chunks_exact_mut(half).zip(halves) {
            assert!(self.bench.ram.read_bytes(x86::PhysAddr::new(at), half));
        }
        Some(after)
    }
}

/// Random inputs that keep the operand in the window and are defined.
fn prepare(random: &mut Random, v: &Variant, boundary: u64) -> State {
    let mut state = State {
        regs: std::array::from_fn(|_| random.value()),
        flags: 0x202,
        window: [0; WINDOW],
    };
    state.flags |= random.next() & Rflags::STATUS.bits();
    for byte in &mut state.window {
        *byte = random.pick(&[0, 0xff, 0x80, 0x7f, 1, 0x55])
            ^ if random.one_in(2) {
                random.next() as u8
            } else {
                0
            };
    }
    let instr = &v.instr;
    if instr.is_string_instruction() {
        state.flags |= if random.one_in(2) {
            Rflags::DF.bits()
        } else {
            0
        };
        state.regs[reg::RCX] = random.below(12);
        state.regs[reg::RSI] = boundary - 64 + random.below(128);
        state.regs[reg::RDI] = boundary - 64 + random.below(128);
        if random.one_in(4) {
            // Runs of equal bytes make comparisons go on.
            let byte = state.window[0];
            state.window.fill(byte);
            state.regs[reg::RAX] = u64::from(byte) * 0x0101_0101_0101_0101;
        }
    }
    if instr.mnemonic() == Mnemonic::Xlatb {
        state.regs[reg::RBX] = boundary - 128;
    }
    if is_bit_test(instr)
        && instr.op0_kind() == OpKind::Memory
        && instr.op1_kind() == OpKind::Register
    {
        let bits = instr.op1_register().size() as u32 * 8;
        let number = instr.op1_register().full_register().number();
        let offset = random.below(1024).wrapping_sub(512);
        let low = u64::MAX >> (64 - bits);
        state.regs[number] = state.regs[number] & !low | offset & low;
    }
    suit_accumulator(random, v, &mut state, boundary);
    set_address(random, v, &mut state);
    state
}

/// Makes CMPXCHG succeed and divisions fit now and then.
fn suit_accumulator(random: &mut Random, v: &Variant, state: &mut State, boundary: u64) {
    let window_at = boundary - WINDOW as u64 / 2;
    let at = (v.operand_at.wrapping_sub(window_at)) as usize;
    let quad = |i: usize| u64::from_le_bytes(state.window[at + i..at + i + 8].try_into().unwrap());
    match v.instr.mnemonic() {
        Mnemonic::Cmpxchg if random.one_in(2) => {
            state.regs[reg::RAX] = match v.instr.op0_kind() {
                OpKind::Register => state.regs[v.instr.op0_register().full_register().number()],
                _ => quad(0),
            }
        }
        Mnemonic::Cmpxchg8b if random.one_in(2) => {
            (state.regs[reg::RAX], state.regs[reg::RDX]) = (quad(0), quad(4));
        }
        Mnemonic::Cmpxchg16b if random.one_in(2) => {
            (state.regs[reg::RAX], state.regs[reg::RDX]) = (quad(0), quad(8));
        }
        Mnemonic::Div | Mnemonic::Idiv if !random.one_in(4) => {
            let sign = state.regs[reg::RAX].cast_signed() >> 63;
            let small = random.below(16);
            state.regs[reg::RDX] = if random.one_in(2) {
                small
            } else {
                sign.cast_unsigned()
            };
            if v.instr.op0_register().size() == 1 || v.instr.memory_size().size() == 1 {
                state.regs[reg::RAX] = sign_extended(random.next(), 8) & 0xffff;
            }
        }
        _ => {}
    }
}

/// Sets base and index so that the operand lies where it should.
fn set_address(random: &mut Random, v: &Variant, state: &mut State) {
    let (base, index) = (v.instr.memory_base(), v.instr.memory_index());
    if !REGISTERS.contains(&base) || v.instr.mnemonic() == Mnemonic::Xlatb {
        return;
    }
    let mut rest = v.operand_at.wrapping_sub(v.instr.memory_displacement64());
    if index != Register::None {
        let value = random.value();
        state.regs[index.number()] = value;
        rest = rest.wrapping_sub(value.wrapping_mul(u64::from(v.instr.memory_index_scale())));
    }
    state.regs[base.number()] = rest;
}

/// Whether the division in `v` has a quotient that fits; stated with the widest integers.
fn divides(v: &Variant, state: &State, boundary: u64) -> bool {
    let bytes = match v.instr.op0_kind() {
        OpKind::Register => v.instr.op0_register().size(),
        _ => v.instr.memory_size().size(),
    };
    let bits = 8 * bytes as u32;
    let low = u64::MAX >> (64 - bits);
    let raw = match v.instr.op0_kind() {
        OpKind::Register => {
            let r = v.instr.op0_register();
            let high = matches!(r, Register::AH | Register::CH | Register::DH | Register::BH);
            state.regs[r.full_register().number()] >> if high { 8 } else { 0 }
        }
        _ => {
            let at = (v.operand_at - (boundary - WINDOW as u64 / 2)) as usize;
            u64::from_le_bytes(state.window[at..at + 8].try_into().unwrap())
        }
    } & low;
    let (rax_value, rdx_value) = (state.regs[reg::RAX], state.regs[reg::RDX]);
    let (top, bottom) = if bytes == 1 {
        (rax_value >> 8 & 0xff, rax_value & 0xff)
    } else {
        (rdx_value & low, rax_value & low)
    };
    if raw == 0 {
        return false;
    }
    if v.instr.mnemonic() == Mnemonic::Div {
        return top < raw;
    }
    let dividend = i128::from(sign_extended(top, bits).cast_signed()) << bits | i128::from(bottom);
    let quotient = dividend.wrapping_div(i128::from(sign_extended(raw, bits).cast_signed()));
    let limit = 1_i128 << (bits - 1);
    // The one dividend whose negation does not fit 128 bits overflows, too.
    dividend != i128::MIN && (-limit..limit).contains(&quotient)
}

/// RFLAGS bits to compare.
fn defined_flags(v: &Variant, before: &State) -> u64 {
    const NAMES: [(u32, Rflags); 6] = [
        (RflagsBits::CF, Rflags::CF),
        (RflagsBits::PF, Rflags::PF),
        (RflagsBits::AF, Rflags::AF),
        (RflagsBits::ZF, Rflags::ZF),
        (RflagsBits::SF, Rflags::SF),
        (RflagsBits::OF, Rflags::OF),
    ];
    if let Some(count) = shift_count(v, before) {
        return shift_flags(v, count).bits();
    }
    let undefined = v.instr.rflags_undefined();
    let names = NAMES.iter().filter(|(iced, _)| undefined & iced != 0);
    names
        .fold(Rflags::STATUS | Rflags::DF, |all, (_, flag)| all - *flag)
        .bits()
}

/// iced-x86 does not know counts in CL, so shifts are stated here, after "Flags Affected":
/// a masked count of 0 changes none; OF is defined for 1 only; shifts leave AF undefined, and
/// SHL and SHR by the operand's width or more CF, too.
fn shift_flags(v: &Variant, count: u64) -> Rflags {
    use Mnemonic as M;
    let mut flags = Rflags::STATUS | Rflags::DF;
    if count == 0 {
        return flags;
    }
    if count != 1 {
        flags -= Rflags::OF;
    }
    if !matches!(v.instr.mnemonic(), M::Rol | M::Ror | M::Rcl | M::Rcr) {
        flags -= Rflags::AF;
    }
    if count >= 8 * operand_bytes(v) as u64
        && matches!(v.instr.mnemonic(), M::Shl | M::Sal | M::Shr)
    {
        flags -= Rflags::CF;
    }
    flags
}

fn operand_bytes(v: &Variant) -> usize {
    match v.instr.op0_kind() {
        OpKind::Register => v.instr.op0_register().size(),
        _ => v.instr.memory_size().size(),
    }
}

/// The masked count of a shift or rotate.
fn shift_count(v: &Variant, before: &State) -> Option<u64> {
    use Mnemonic as M;
    let shift = matches!(
        v.instr.mnemonic(),
        M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
    );
    let last = v.instr.op_count().checked_sub(1).filter(|_| shift)?;
    let raw = match v.instr.op_kind(last) {
        OpKind::Register => before.regs[reg::RCX],
        _ => v.instr.immediate(last),
    };
    Some(raw & if operand_bytes(v) == 8 { 63 } else { 31 })
}

/// Whether the manual says what the result is.
fn result_is_defined(v: &Variant, before: &State) -> bool {
    let double = matches!(v.instr.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd);
    !(double && shift_count(v, before).is_some_and(|count| count > 8 * operand_bytes(v) as u64))
}

fn forms() -> Vec<Code> {
    Code::values()
        .filter(|code| tested(code.mnemonic()))
        .filter(|code| {
            code.op_code().mode64()
                && code.op_code().is_instruction()
                && code.op_code().address_size() != 32
        })
        .filter(|code| code.op_code().encoding() == iced_x86::EncodingKind::Legacy)
        // SSE's MOVSD and CMPSD; BSWAP of a word, which is undefined.
        .filter(|code| {
            !matches!(
                code,
                Code::Movsd_xmm_xmmm64 | Code::Movsd_xmmm64_xmm | Code::Cmpsd_xmm_xmmm64_imm8
            )
        })
        .filter(|code| *code != Code::Bswap_r16)
        .collect()
}

/// All variants, natively executable.
fn build(random: &mut Random) -> (Silicon, Vec<(usize, Variant)>) {
    let forms = forms();
    let slots = 32 + forms.len() * VARIANTS;
    let mut code = MmapMut::map_anon(slots * SLOT_BYTES).unwrap();
    let data = MmapMut::map_anon(2 * PAGE_BYTES as usize).unwrap();
    let (code_at, boundary) = (code.as_ptr() as u64, data.as_ptr() as u64 + PAGE_BYTES);
    let enter = assemble(64, code_at, stub);
    let leave_at = (enter.len()).next_multiple_of(SLOT_BYTES);
    let leave = assemble(64, code_at + leave_at as u64, stub_end);
    code[..enter.len()].copy_from_slice(&enter);
    code[leave_at..leave_at + leave.len()].copy_from_slice(&leave);
    let mut variants = Vec::new();
    let mut slot = (leave_at + leave.len()).div_ceil(SLOT_BYTES);
    for form in forms {
        let mut made = 0;
        for _ in 0..8 * VARIANTS {
            let from = slot * SLOT_BYTES;
            let Some(v) = variant(random, form, code_at + from as u64, boundary) else {
                continue;
            };
            let end = from + v.bytes.len();
            code[from..end].copy_from_slice(&v.bytes);
            let back = assemble(64, code_at + end as u64, |a| {
                a.jmp(code_at + leave_at as u64)
            });
            code[end..end + back.len()].copy_from_slice(&back);
            variants.push((slot, v));
            slot += 1;
            made += 1;
            if made == VARIANTS {
                break;
            }
        }
        assert!(
            made > 0 || uses_unsupported_operands(form),
            "no encoding of {form:?}"
        );
    }
    (
        Silicon {
            code: code.make_exec().unwrap(),
            data,
        },
        variants,
    )
}

/// MOV of segment, control and debug registers.
fn uses_unsupported_operands(code: Code) -> bool {
    code.mnemonic() == Mnemonic::Mov
}

#[test]
fn integer_instructions_do_what_this_processor_does() {
    let mut random = Random(0x68_616c_6670_6167);
    let (mut silicon, variants) = build(&mut random);
    let boundary = silicon.data.as_ptr() as u64 + PAGE_BYTES;
    let mut model = Model::new(
        silicon.code.as_ptr() as u64,
        silicon.code.len(),
        boundary - PAGE_BYTES,
    );
    for (slot, v) in &variants {
        let at = (slot * SLOT_BYTES) as u64 + CODE_FRAMES;
        model.bench.load(at, &v.bytes);
        model.bench.load(at + v.bytes.len() as u64, &[0xf4]);
    }
    let (mut compared, mut failures) = (0, Vec::new());
    for (slot, v) in &variants {
        for _ in 0..RUNS {
            let before = prepare(&mut random, v, boundary);
            match compare(&mut silicon, &mut model, *slot, v, &before, boundary) {
                Ok(()) => compared += 1,
                Err(difference) => {
                    failures.push(difference);
                    break;
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} encodings differ:\n{}",
        failures.len(),
        variants.len(),
        failures.join("\n")
    );
    assert!(compared > 300_000, "{compared} executions");
}

fn compare(
    silicon: &mut Silicon,
    model: &mut Model,
    slot: usize,
    v: &Variant,
    before: &State,
    boundary: u64,
) -> Result<(), String> {
    if !result_is_defined(v, before) {
        return Ok(());
    }
    let division = matches!(v.instr.mnemonic(), Mnemonic::Div | Mnemonic::Idiv);
    let faults = division && !divides(v, before, boundary);
    let after = match model.run(slot, before) {
        None if faults => return Ok(()),
        None => return Err(format!("{v}\n  raised #DE\n  before {}", registers(before))),
        Some(_) if faults => {
            return Err(format!(
                "{v}\n  raised no #DE\n  before {}",
                registers(before)
            ));
        }
        Some(after) => after,
    };
    let mut want = silicon.run(slot, before);
    let mut got = after;
    let flags = defined_flags(v, before);
    (want.flags, got.flags) = (want.flags & flags, got.flags & flags);
    if matches!(v.instr.mnemonic(), Mnemonic::Bsf | Mnemonic::Bsr)
        && want.flags & Rflags::ZF.bits() != 0
    {
        // A source of 0 leaves the target undefined.
        got.regs = want.regs;
    }
    if want == got {
        return Ok(());
    }
    let memory = if want.window == got.window {
        ""
    } else {
        "; memory differs"
    };
    let (before, want, got) = (registers(before), registers(&want), registers(&got));
    Err(format!(
        "{v}{memory}\n  before  {before}\n  silicon {want}\n  model   {got}"
    ))
}

fn registers(state: &State) -> String {
    let regs: Vec<String> = state.regs.iter().map(|r| format!("{r:x}")).collect();
    format!("flags {:x} regs {}", state.flags, regs.join(" "))
}

#[test]
fn the_decoder_numbers_conditions_as_the_encoding_does() {
    for cc in 0..16_u8 {
        let bytes = [0x0f, 0x90 | cc, 0xc0];
        let instr = iced_x86::Decoder::new(64, &bytes, 0).decode();
        assert_eq!(instr.condition_code() as u8, cc + 1, "condition {cc}");
    }
}
