//! SSE and SSE2 against the processor these tests run on.
//!
//! One routine of machine code takes a row of cases (MXCSR, two XMM operands, one general register),
//! executes the instruction under test on each, and writes down the XMM result, the general
//! register, MXCSR, the status flags and 16 bytes of memory. The same bytes run natively and in
//! the interpreter; everything written must be equal.
//!
//! All exceptions are masked: unmasked ones would end the test process. Only the approximations
//! (RCPPS, RSQRTPS) may differ, within the manual's bound.
//!
//! **Spec:** SDM 1 "SIMD Floating-Point Exceptions"; SDM 2 "RCPPS", "RSQRTPS".

// UNSAFETY: runs assembled code natively, which only a call through a raw address can do.
#![expect(unsafe_code)]
#![cfg(target_arch = "x86_64")]

mod common;

use common::{Asm, Bench, assemble, at};
use cpu::{Activity, reg};
use iced_x86::code_asm::*;
use memmap2::MmapMut;

const MASKED: u32 = 0x1f80;
const PE: u32 = 0x20;

/// What the routine reads for each case.
#[derive(Clone, Copy, Debug, Default)]
struct Case {
    mxcsr: u32,
    a: u128,
    b: u128,
    general: u64,
}

/// What it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    xmm: u128,
    general: u64,
    mxcsr: u32,
    flags: u64,
    memory: u128,
}

/// Bytes of a case, and of an outcome, in memory.
const RECORD_BYTES: usize = 64;
/// Cases that fit in the bench's memory at a time.
const BATCH: usize = 4096;
const INPUTS: u64 = 0x15_0000;
const OUTPUTS: u64 = INPUTS + (BATCH * RECORD_BYTES) as u64;

impl Case {
    fn bytes(&self) -> [u8; RECORD_BYTES] {
        let mut out = [0; RECORD_BYTES];
        out[..4].copy_from_slice(&self.mxcsr.to_le_bytes());
        out[16..32].copy_from_slice(&self.a.to_le_bytes());
        out[32..48].copy_from_slice(&self.b.to_le_bytes());
        out[48..56].copy_from_slice(&self.general.to_le_bytes());
        out
    }
}

impl Outcome {
    fn from_bytes(raw: &[u8]) -> Self {
        let quad = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap());
        let wide = |at: usize| u128::from(quad(at)) | u128::from(quad(at + 8)) << 64;
        let mxcsr = u32::try_from(quad(24) & 0xffff_ffff).unwrap();
        Self { xmm: wide(0), general: quad(16), mxcsr, flags: quad(32), memory: wide(48) }
    }
}

/// An instruction as written: operands are XMM0, XMM1, EAX or RAX, `[rdi + 32]` (the
/// second XMM operand in memory, aligned) and `[rsi + 48]` (the memory result).
type Form = (&'static str, fn(&mut CodeAssembler) -> Asm);

/// The routine: `rdi` cases, `rsi` outcomes, `rdx` their number.
fn routine(origin: u64, form: Form) -> Vec<u8> {
    assemble(64, origin, |a| {
        let mut next = a.create_label();
        a.stmxcsr(dword_ptr(rsp - 24))?;
        a.set_label(&mut next)?;
        a.ldmxcsr(dword_ptr(rdi))?;
        a.movups(xmm0, xmmword_ptr(rdi + 16))?;
        a.movups(xmm1, xmmword_ptr(rdi + 32))?;
        a.mov(rax, qword_ptr(rdi + 48))?;
        a.xor(ecx, ecx)?;
        a.mov(qword_ptr(rsi + 48), rcx)?;
        a.mov(qword_ptr(rsi + 56), rcx)?;
        form.1(a)?;
        a.pushfq()?;
        a.pop(rcx)?;
        a.and(ecx, 0x8d5)?;
        a.movups(xmmword_ptr(rsi), xmm0)?;
        a.mov(qword_ptr(rsi + 16), rax)?;
        a.stmxcsr(dword_ptr(rsi + 24))?;
        a.mov(qword_ptr(rsi + 32), rcx)?;
        a.add(rdi, RECORD_BYTES as i32)?;
        a.add(rsi, RECORD_BYTES as i32)?;
        a.dec(rdx)?;
        a.jnz(next)?;
        a.ldmxcsr(dword_ptr(rsp - 24))?;
        a.ret()
    })
}

fn outcomes(raw: &[u8]) -> Vec<Outcome> {
    raw.chunks_exact(RECORD_BYTES).map(Outcome::from_bytes).collect()
}

/// A row of records at an address that is a multiple of 64.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Record([u8; RECORD_BYTES]);

fn native(form: Form, cases: &[Case]) -> Vec<Outcome> {
    let code = routine(0, form);
    let mut map = MmapMut::map_anon(code.len()).unwrap();
    map[..code.len()].copy_from_slice(&code);
    let map = map.make_exec().unwrap();
    let inputs: Vec<Record> = cases.iter().map(|c| Record(c.bytes())).collect();
    let mut outputs = vec![Record([0; RECORD_BYTES]); cases.len()];
    // SAFETY: 1. the address is the start of position-independent code that follows the System V
    // convention (it changes only registers a callee may change, and restores MXCSR); 2. the
    // mapping is readable and executable and outlives the call below.
    let run: extern "sysv64" fn(*const Record, *mut Record, usize) = unsafe { std::mem::transmute(map.as_ptr()) };
    run(inputs.as_ptr(), outputs.as_mut_ptr(), cases.len());
    outputs.iter().flat_map(|r| outcomes(&r.0)).collect()
}

fn emulated(bench: &mut Bench, form: Form, cases: &[Case]) -> Vec<Outcome> {
    let code = routine(at::CODE, form);
    bench.load(at::CODE, &code);
    let inputs: Vec<u8> = cases.iter().flat_map(Case::bytes).collect();
    bench.load(INPUTS, &inputs);
    // The routine returns to a HLT.
    bench.load(at::BOOT, &[0xf4]);
    bench.poke(at::STACK - 8, at::BOOT);
    bench.cpu.regs[reg::RSP] = at::STACK - 8;
    bench.cpu.regs[reg::RDI] = INPUTS;
    bench.cpu.regs[reg::RSI] = OUTPUTS;
    bench.cpu.regs[reg::RDX] = cases.len() as u64;
    bench.cpu.set_rip(at::CODE);
    bench.cpu.activity = Activity::Running;
    bench.run();
    assert_eq!(bench.cpu.rip(), at::BOOT + 1, "{}: the routine returned", form.0);
    let mut raw = vec![0; cases.len() * RECORD_BYTES];
    assert!(bench.ram.read_bytes(x86::PhysAddr::new(OUTPUTS), &mut raw));
    outcomes(&raw)
}

/// Runs `forms` on `cases` on both processors; `agree` says whether outcomes match.
fn compare(forms: &[Form], cases: &[Case], agree: fn(&Outcome, &Outcome) -> bool) {
    let mut bench = Bench::long();
    for form in forms {
        for batch in cases.chunks(BATCH) {
            let (silicon, ours) = (native(*form, batch), emulated(&mut bench, *form, batch));
            for ((case, want), have) in batch.iter().zip(&silicon).zip(&ours) {
                assert!(agree(want, have), "{}\n{case:#x?}\nsilicon {want:#x?}\nhere {have:#x?}", form.0);
            }
        }
    }
}

fn equal(want: &Outcome, have: &Outcome) -> bool {
    want == have
}

/// Instructions with a source operand, from a register and from memory.
macro_rules! sources {
    ($mem:ident: $($op:ident)*) => {
        vec![$(
            (concat!(stringify!($op), " xmm0, xmm1"), (|a| a.$op(xmm0, xmm1)) as fn(&mut CodeAssembler) -> Asm),
            (concat!(stringify!($op), " xmm0, [rdi + 32]"), |a| a.$op(xmm0, $mem(rdi + 32))),
        )*]
    };
}

/// The same with an immediate, for each of those given.
macro_rules! immediates {
    ($mem:ident, $imms:tt: $($op:ident)*) => { [$(immediates!(@one $mem, $op, $imms)),*].concat() };
    (@one $mem:ident, $op:ident, [$($imm:literal)*]) => {
        vec![$(
            (concat!(stringify!($op), " xmm0, xmm1, ", $imm), (|a| a.$op(xmm0, xmm1, $imm)) as fn(&mut CodeAssembler) -> Asm),
            (concat!(stringify!($op), " xmm0, [rdi + 32], ", $imm), |a| a.$op(xmm0, $mem(rdi + 32), $imm)),
        )*]
    };
}

/// Any instruction, written out.
macro_rules! written {
    ($($text:literal => |$a:ident| $body:expr,)*) => {
        vec![$(($text, (|$a| $body) as fn(&mut CodeAssembler) -> Asm),)*]
    };
}

/// xorshift64*: the same cases in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Rounding modes × DAZ × FTZ × whether PE is set before; all exceptions masked.
fn modes() -> Vec<u32> {
    let mut out = Vec::new();
    for rounding in 0..4 {
        for (daz, ftz) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            for before in [0, PE] {
                out.push(MASKED | rounding << 13 | daz << 6 | ftz << 15 | before);
            }
        }
    }
    out
}

/// A format, as far as making cases needs it.
#[derive(Clone, Copy)]
struct Format {
    bits: u32,
    fraction: u32,
}

const SINGLE: Format = Format { bits: 32, fraction: 23 };
const DOUBLE: Format = Format { bits: 64, fraction: 52 };

impl Format {
    const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    const fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    const fn one(self) -> u64 {
        (self.sign() - 1) / 2 >> self.fraction << self.fraction
    }

    /// Numbers at which rules change, of both signs.
    fn special(self) -> Vec<u64> {
        let ulp = 1;
        let least_normal = 1 << self.fraction;
        let infinity = (self.sign() - 1) >> self.fraction << self.fraction;
        let quiet = least_normal >> 1;
        let one = self.one();
        let two = one + least_normal;
        let mut out = vec![
            0, ulp, 2, 3, quiet, quiet + ulp, least_normal - ulp, least_normal, least_normal + ulp, 2 * least_normal,
            2 * least_normal + ulp, one - ulp, one, one + ulp, one + quiet, two, two + ulp, two + quiet, one - least_normal,
            one - least_normal + ulp, infinity - least_normal, infinity - ulp, infinity, infinity + ulp, infinity + quiet,
            infinity + quiet + 5, infinity + quiet - ulp,
        ];
        out.extend(out.clone().into_iter().map(|x| x | self.sign()));
        out
    }

    /// Numbers at which conversions change, besides: the ends of integers and of single precision.
    fn borders(self) -> Vec<u64> {
        let mut out = Vec::new();
        for power in [0, 1, 22, 23, 24, 30, 31, 32, 51, 52, 53, 62, 63, 64, 126, 127, 128] {
            for sign in [0, self.sign()] {
                let two_to = self.one() + (power << self.fraction) | sign;
                out.extend([two_to - 1, two_to, two_to + 1, two_to + (1 << (self.fraction - 1))]);
            }
        }
        if self.bits == 64 {
            let single = [0x3690_0000_0000_0000, 0x36a0_0000_0000_0000, 0x380f_ffff_e000_0000, 0x380f_ffff_f000_0000,
                0x3810_0000_0000_0000, 0x380f_ffff_f800_0000, 0x47ef_ffff_e000_0000, 0x47ef_ffff_f000_0000, 0x41df_ffff_ffe0_0000,
                0x41df_ffff_ffc0_0000, 0xc1e0_0000_0010_0000, 0xc1e0_0000_0020_0000];
            out.extend(single.iter().flat_map(|x| [x - 1, *x, x + 1]));
        }
        out
    }

    /// A pair of random numbers of a kind in which one of the rules matters.
    fn random_pair(self, random: &mut Random) -> (u64, u64) {
        let exponents = (self.sign() - 1) >> self.fraction;
        let bias = exponents / 2;
        let fraction_mask = (1 << self.fraction) - 1;
        let any = |r: &mut Random| r.next() & self.mask();
        let with = |r: &mut Random, exponent: u64| any(r) & (self.sign() | fraction_mask) | exponent.min(exponents) << self.fraction;
        let near = |r: &mut Random, exponent: u64| (exponent + r.below(7)).saturating_sub(3);
        let exponent = random.below(exponents);
        match random.below(8) {
            0 => (any(random), any(random)),
            // Sums that round, carry and cancel.
            1 => {
                let other = near(random, exponent);
                (with(random, exponent), with(random, other))
            }
            2 => {
                let other = (exponent + random.below(u64::from(2 * self.fraction))).saturating_sub(u64::from(self.fraction));
                (with(random, exponent), with(random, other))
            }
            // Products and quotients at both ends of the range.
            3 => {
                let other = near(random, (bias + 1).saturating_sub(exponent));
                (with(random, exponent), with(random, other))
            }
            4 => {
                let other = near(random, (exponent + bias) % exponents);
                (with(random, exponent), with(random, other))
            }
            5 => {
                let other = near(random, (3 * bias).saturating_sub(exponent) % exponents);
                (with(random, exponent), with(random, other))
            }
            // Denormals with denormals and small numbers.
            6 => {
                let small = random.below(3);
                (with(random, 0), with(random, small))
            }
            // Few significant bits: exact results and ties.
            _ => {
                let coarse = !0 << random.below(u64::from(self.fraction));
                let other = near(random, exponent);
                (with(random, exponent) & coarse, with(random, other) & coarse)
            }
        }
    }

    /// `lane` for each element, over two registers.
    fn fill(self, mut pair: impl FnMut() -> (u64, u64)) -> (u128, u128) {
        (0..128 / self.bits).fold((0, 0), |(a, b), i| {
            let (x, y) = pair();
            (a | u128::from(x) << (i * self.bits), b | u128::from(y) << (i * self.bits))
        })
    }

    fn cases(self) -> Vec<Case> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (special, borders) = (self.special(), self.borders());
        let mut out = Vec::new();
        for mxcsr in modes() {
            let mut case = |(a, b), general| out.push(Case { mxcsr, a, b, general });
            for (i, x) in special.iter().enumerate() {
                for (j, y) in special.iter().enumerate() {
                    // The same pair in the lowest element, other pairs in the rest.
                    let mut n = 0;
                    let pair = || {
                        n += 1;
                        if n == 1 { (*x, *y) } else { (special[(i + 7 * n) % special.len()], special[(j + 3 * n) % special.len()]) }
                    };
                    case(self.fill(pair), *y);
                }
            }
            for x in &borders {
                case(self.fill(|| (random.next() & self.mask(), *x)), *x);
            }
            for _ in 0..1500 {
                let general = random.next() >> random.below(64);
                case(self.fill(|| self.random_pair(&mut random)), general);
            }
        }
        out
    }
}

#[test]
fn packed_single_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(xmmword_ptr: addps subps mulps divps sqrtps minps maxps);
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn scalar_single_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(dword_ptr: addss subss mulss divss sqrtss minss maxss);
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn packed_double_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(xmmword_ptr: addpd subpd mulpd divpd sqrtpd minpd maxpd);
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn scalar_double_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(qword_ptr: addsd subsd mulsd divsd sqrtsd minsd maxsd);
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn every_predicate_compares_singles_as_silicon_does() {
    let mut forms: Vec<Form> = immediates!(xmmword_ptr, [0 1 2 3 4 5 6 7]: cmpps);
    forms.extend(immediates!(dword_ptr, [0 1 2 3 4 5 6 7]: cmpss));
    forms.extend::<Vec<Form>>(sources!(dword_ptr: comiss ucomiss));
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn every_predicate_compares_doubles_as_silicon_does() {
    let mut forms: Vec<Form> = immediates!(xmmword_ptr, [0 1 2 3 4 5 6 7]: cmppd);
    forms.extend(immediates!(qword_ptr, [0 1 2 3 4 5 6 7]: cmpsd_3));
    forms.extend::<Vec<Form>>(sources!(qword_ptr: comisd ucomisd));
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn conversions_of_singles_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: cvtps2dq cvttps2dq);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: cvtps2pd));
    forms.extend::<Vec<Form>>(sources!(dword_ptr: cvtss2sd));
    forms.extend::<Vec<Form>>(written! {
        "cvtss2si eax, xmm1" => |a| a.cvtss2si(eax, xmm1),
        "cvtss2si rax, xmm1" => |a| a.cvtss2si(rax, xmm1),
        "cvtss2si rax, [rdi + 32]" => |a| a.cvtss2si(rax, dword_ptr(rdi + 32)),
        "cvttss2si eax, xmm1" => |a| a.cvttss2si(eax, xmm1),
        "cvttss2si rax, xmm1" => |a| a.cvttss2si(rax, xmm1),
        "cvttss2si eax, [rdi + 32]" => |a| a.cvttss2si(eax, dword_ptr(rdi + 32)),
    });
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn conversions_of_doubles_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: cvtpd2dq cvttpd2dq cvtpd2ps);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: cvtsd2ss));
    forms.extend::<Vec<Form>>(written! {
        "cvtsd2si eax, xmm1" => |a| a.cvtsd2si(eax, xmm1),
        "cvtsd2si rax, xmm1" => |a| a.cvtsd2si(rax, xmm1),
        "cvtsd2si eax, [rdi + 32]" => |a| a.cvtsd2si(eax, qword_ptr(rdi + 32)),
        "cvttsd2si eax, xmm1" => |a| a.cvttsd2si(eax, xmm1),
        "cvttsd2si rax, xmm1" => |a| a.cvttsd2si(rax, xmm1),
        "cvttsd2si rax, [rdi + 32]" => |a| a.cvttsd2si(rax, qword_ptr(rdi + 32)),
    });
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn conversions_of_integers_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: cvtdq2ps);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: cvtdq2pd));
    forms.extend::<Vec<Form>>(written! {
        "cvtsi2ss xmm0, eax" => |a| a.cvtsi2ss(xmm0, eax),
        "cvtsi2ss xmm0, rax" => |a| a.cvtsi2ss(xmm0, rax),
        "cvtsi2ss xmm0, dword [rdi + 48]" => |a| a.cvtsi2ss(xmm0, dword_ptr(rdi + 48)),
        "cvtsi2ss xmm0, qword [rdi + 48]" => |a| a.cvtsi2ss(xmm0, qword_ptr(rdi + 48)),
        "cvtsi2sd xmm0, eax" => |a| a.cvtsi2sd(xmm0, eax),
        "cvtsi2sd xmm0, rax" => |a| a.cvtsi2sd(xmm0, rax),
        "cvtsi2sd xmm0, dword [rdi + 48]" => |a| a.cvtsi2sd(xmm0, dword_ptr(rdi + 48)),
        "cvtsi2sd xmm0, qword [rdi + 48]" => |a| a.cvtsi2sd(xmm0, qword_ptr(rdi + 48)),
    });
    compare(&forms, &DOUBLE.cases(), equal);
}

/// Packed integers of special and random elements; `b` is often a small shift count.
fn integer_cases() -> Vec<Case> {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let edges = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    let mut value = |i: u64| match i % 4 {
        0 => (0..4).fold(0, |v, _| v << 32 | u128::from(edges[random.below(11) as usize] & 0xffff_ffff_u64)),
        1 => (0..8).fold(0, |v, _| v << 16 | u128::from(edges[random.below(11) as usize] & 0xffff)),
        2 => (0..16).fold(0, |v, _| v << 8 | u128::from(edges[random.below(11) as usize] & 0xff)),
        _ => random.wide(),
    };
    let pairs: Vec<_> = (0..4000).map(|i| (value(i), value(i / 4))).collect();
    let counts = (0..140).map(|n| (pairs[n as usize + 3].0, n as u128 | (n as u128 & 1) << 100));
    let all = pairs.iter().copied().chain(counts);
    all.map(|(a, b)| Case { mxcsr: MASKED, a, b, general: (b ^ a >> 32) as u64 }).collect()
}

#[test]
fn packed_integer_instructions_give_what_silicon_gives() {
    let forms: Vec<Form> = sources!(xmmword_ptr:
        paddb paddw paddd paddq psubb psubw psubd psubq paddsb paddsw paddusb paddusw psubsb psubsw psubusb psubusw
        pmullw pmulhw pmulhuw pmuludq pmaddwd psadbw pavgb pavgw pminub pmaxub pminsw pmaxsw
        pcmpeqb pcmpeqw pcmpeqd pcmpgtb pcmpgtw pcmpgtd
        pand pandn por pxor andps andpd andnps andnpd orps orpd xorps xorpd
        psllw pslld psllq psrlw psrld psrlq psraw psrad);
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn rearranging_instructions_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr:
        punpcklbw punpcklwd punpckldq punpcklqdq punpckhbw punpckhwd punpckhdq punpckhqdq
        unpcklps unpcklpd unpckhps unpckhpd packsswb packssdw packuswb);
    forms.extend(immediates!(xmmword_ptr, [0 1 2 3 0x1b 0x4e 0x93 0xe4 0xff]: pshufd pshuflw pshufhw shufps shufpd));
    forms.extend::<Vec<Form>>(written! {
        "psllw xmm0, 5" => |a| a.psllw(xmm0, 5),
        "psllw xmm0, 16" => |a| a.psllw(xmm0, 16),
        "pslld xmm0, 31" => |a| a.pslld(xmm0, 31),
        "pslld xmm0, 200" => |a| a.pslld(xmm0, 200),
        "psllq xmm0, 63" => |a| a.psllq(xmm0, 63),
        "psrlw xmm0, 15" => |a| a.psrlw(xmm0, 15),
        "psrld xmm0, 32" => |a| a.psrld(xmm0, 32),
        "psrlq xmm0, 33" => |a| a.psrlq(xmm0, 33),
        "psraw xmm0, 3" => |a| a.psraw(xmm0, 3),
        "psraw xmm0, 255" => |a| a.psraw(xmm0, 255),
        "psrad xmm0, 32" => |a| a.psrad(xmm0, 32),
        "pslldq xmm0, 0" => |a| a.pslldq(xmm0, 0),
        "pslldq xmm0, 7" => |a| a.pslldq(xmm0, 7),
        "pslldq xmm0, 16" => |a| a.pslldq(xmm0, 16),
        "psrldq xmm0, 15" => |a| a.psrldq(xmm0, 15),
        "psrldq xmm0, 250" => |a| a.psrldq(xmm0, 250),
        "pinsrw xmm0, eax, 5" => |a| a.pinsrw(xmm0, eax, 5),
        "pinsrw xmm0, [rdi + 33], 15" => |a| a.pinsrw(xmm0, word_ptr(rdi + 33), 15),
        "pextrw eax, xmm1, 3" => |a| a.pextrw(eax, xmm1, 3),
        "pextrw rax, xmm1, 12" => |a| a.pextrw(rax, xmm1, 12),
        "pmovmskb eax, xmm1" => |a| a.pmovmskb(eax, xmm1),
        "movmskps eax, xmm1" => |a| a.movmskps(eax, xmm1),
        "movmskpd rax, xmm1" => |a| a.movmskpd(rax, xmm1),
    });
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn moves_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: movaps movapd movdqa movups movupd movdqu);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: movq movsd_2));
    forms.extend::<Vec<Form>>(sources!(dword_ptr: movss));
    forms.extend::<Vec<Form>>(written! {
        "movups xmm0, [rdi + 23]" => |a| a.movups(xmm0, xmmword_ptr(rdi + 23)),
        "movaps [rsi + 48], xmm1" => |a| a.movaps(xmmword_ptr(rsi + 48), xmm1),
        "movdqa [rsi + 48], xmm1" => |a| a.movdqa(xmmword_ptr(rsi + 48), xmm1),
        "movupd [rsi + 48], xmm1" => |a| a.movupd(xmmword_ptr(rsi + 48), xmm1),
        "movdqu [rsi + 48], xmm1" => |a| a.movdqu(xmmword_ptr(rsi + 48), xmm1),
        "movntps [rsi + 48], xmm1" => |a| a.movntps(xmmword_ptr(rsi + 48), xmm1),
        "movntpd [rsi + 48], xmm1" => |a| a.movntpd(xmmword_ptr(rsi + 48), xmm1),
        "movntdq [rsi + 48], xmm1" => |a| a.movntdq(xmmword_ptr(rsi + 48), xmm1),
        "movss [rsi + 49], xmm1" => |a| a.movss(dword_ptr(rsi + 49), xmm1),
        "movsd [rsi + 49], xmm1" => |a| a.movsd_2(qword_ptr(rsi + 49), xmm1),
        "movq [rsi + 49], xmm1" => |a| a.movq(qword_ptr(rsi + 49), xmm1),
        "movd [rsi + 49], xmm1" => |a| a.movd(dword_ptr(rsi + 49), xmm1),
        "movd xmm0, eax" => |a| a.movd(xmm0, eax),
        "movq xmm0, rax" => |a| a.movq(xmm0, rax),
        "movd eax, xmm1" => |a| a.movd(eax, xmm1),
        "movq rax, xmm1" => |a| a.movq(rax, xmm1),
        "movd xmm0, [rdi + 33]" => |a| a.movd(xmm0, dword_ptr(rdi + 33)),
        "movlps xmm0, [rdi + 33]" => |a| a.movlps(xmm0, qword_ptr(rdi + 33)),
        "movlpd xmm0, [rdi + 33]" => |a| a.movlpd(xmm0, qword_ptr(rdi + 33)),
        "movhps xmm0, [rdi + 33]" => |a| a.movhps(xmm0, qword_ptr(rdi + 33)),
        "movhpd xmm0, [rdi + 33]" => |a| a.movhpd(xmm0, qword_ptr(rdi + 33)),
        "movlps [rsi + 48], xmm1" => |a| a.movlps(qword_ptr(rsi + 48), xmm1),
        "movhps [rsi + 48], xmm1" => |a| a.movhps(qword_ptr(rsi + 48), xmm1),
        "movhpd [rsi + 48], xmm1" => |a| a.movhpd(qword_ptr(rsi + 48), xmm1),
        "movhlps xmm0, xmm1" => |a| a.movhlps(xmm0, xmm1),
        "movlhps xmm0, xmm1" => |a| a.movlhps(xmm0, xmm1),
        "movnti [rsi + 49], eax" => |a| a.movnti(dword_ptr(rsi + 49), eax),
        "movnti [rsi + 49], rax" => |a| a.movnti(qword_ptr(rsi + 49), rax),
        "movaps through xmm8 to xmm15" => |a| {
            a.movaps(xmm8, xmm1)?;
            a.movdqu(xmm15, xmm8)?;
            a.movapd(xmm0, xmm15)
        },
        "maskmovdqu xmm0, xmm1" => |a| {
            a.mov(rcx, rdi)?;
            a.lea(rdi, qword_ptr(rsi + 48))?;
            a.maskmovdqu(xmm0, xmm1)?;
            a.mov(rdi, rcx)
        },
    });
    compare(&forms, &integer_cases(), equal);
}

/// Element by element: both numbers within the bound of the exact value, so within twice
/// the bound of each other; anything but normal numbers equal. Nothing else may differ.
fn approximately(want: &Outcome, have: &Outcome) -> bool {
    let lane = |x: u128, i: u32| f32::from_bits((x >> (32 * i)) as u32);
    let near = |i| {
        let (x, y) = (lane(want.xmm, i), lane(have.xmm, i));
        let exact_kind = !x.is_normal() || !y.is_normal();
        // Results around the smallest normal number may or may not be flushed to zero.
        let tiny = 1.001 * f32::MIN_POSITIVE;
        if x.abs() <= tiny && y.abs() <= tiny {
            return x.is_sign_negative() == y.is_sign_negative();
        }
        let difference = (f64::from(x) - f64::from(y)).abs();
        if exact_kind { x.to_bits() == y.to_bits() } else { difference <= f64::from(x).abs() * 3.0 / 4096.0 }
    };
    (0..4).all(near) && Outcome { xmm: have.xmm, ..*want } == *have
}

#[test]
fn approximations_are_as_near_as_the_manual_says() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: rcpps rsqrtps);
    forms.extend::<Vec<Form>>(sources!(dword_ptr: rcpss rsqrtss));
    compare(&forms, &SINGLE.cases(), approximately);
}
