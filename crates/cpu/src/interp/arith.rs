//! Integer arithmetic and logic: ADD to CMP, INC, DEC, NEG, NOT, MUL, DIV, XADD, CMPXCHG.

use super::operand::{Binary, Mem, Reg, Source, Target, Unary, binary, operand_bytes, unary};
use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{self, AF, CF, OF, ZF, put};
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::fault::Access;

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        Mnemonic::Add => binary::<Alu<Add>>(instr),
        Mnemonic::Adc => binary::<Alu<Adc>>(instr),
        Mnemonic::Sub => binary::<Alu<Sub>>(instr),
        Mnemonic::Sbb => binary::<Alu<Sbb>>(instr),
        Mnemonic::And => binary::<Alu<And>>(instr),
        Mnemonic::Or => binary::<Alu<Or>>(instr),
        Mnemonic::Xor => binary::<Alu<Xor>>(instr),
        Mnemonic::Cmp => binary::<Compare<Sub>>(instr),
        Mnemonic::Test => binary::<Compare<And>>(instr),
        Mnemonic::Inc => unary::<Inc>(instr),
        Mnemonic::Dec => unary::<Dec>(instr),
        Mnemonic::Neg => unary::<Neg>(instr),
        Mnemonic::Not => unary::<Not>(instr),
        Mnemonic::Mul => unary::<Mul>(instr),
        Mnemonic::Imul => imul(instr),
        Mnemonic::Div => unary::<Div>(instr),
        Mnemonic::Idiv => unary::<Idiv>(instr),
        Mnemonic::Xadd => binary::<Xadd>(instr),
        Mnemonic::Cmpxchg if instr.op0_kind() == OpKind::Register => binary::<CmpxchgReg>(instr),
        Mnemonic::Cmpxchg => binary::<CmpxchgMem>(instr),
        Mnemonic::Cmpxchg8b => Some(cmpxchg8b),
        Mnemonic::Cmpxchg16b => Some(cmpxchg16b),
        _ => None,
    }
}

/// A two-operand operation that sets the status flags.
trait AluOp {
    fn apply<W: Word>(a: W, b: W, flags: &mut u64) -> W;
}

macro_rules! alu_ops {
    ($($name:ident = |$a:ident, $b:ident, $flags:ident| $body:expr;)*) => { $(
        struct $name;
        impl AluOp for $name {
            #[inline]
            fn apply<W: Word>($a: W, $b: W, $flags: &mut u64) -> W { $body }
        }
    )* };
}

alu_ops! {
    Add = |a, b, flags| flags::add(a, b, 0, flags);
    Adc = |a, b, flags| flags::add(a, b, *flags & CF, flags);
    Sub = |a, b, flags| flags::sub(a, b, 0, flags);
    Sbb = |a, b, flags| flags::sub(a, b, *flags & CF, flags);
    And = |a, b, flags| flags::logic(a & b, flags);
    Or = |a, b, flags| flags::logic(a | b, flags);
    Xor = |a, b, flags| flags::logic(a ^ b, flags);
}

struct Alu<O>(O);

impl<O: AluOp> Binary for Alu<O> {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let b = S::get::<W>(c, op)?;
        D::update::<W>(c, op, |c, a| O::apply(a, b, &mut c.cpu.flags))
    }
}

/// The same without the result: CMP, TEST.
struct Compare<O>(O);

impl<O: AluOp> Binary for Compare<O> {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let b = S::get::<W>(c, op)?;
        let a = D::get::<W>(c, op)?;
        O::apply(a, b, &mut c.cpu.flags);
        Ok(())
    }
}

/// INC and DEC keep CF.
fn keeping_carry<W: Word>(c: &mut Core<'_>, f: impl FnOnce(&mut u64) -> W) -> W {
    let carry = c.cpu.flags & CF;
    let result = f(&mut c.cpu.flags);
    c.cpu.flags = (c.cpu.flags & !CF) | carry;
    result
}

struct Inc;
impl Unary for Inc {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        D::update::<W>(c, op, |c, a| {
            keeping_carry(c, |f| flags::add(a, W::low(1), 0, f))
        })
    }
}

struct Dec;
impl Unary for Dec {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        D::update::<W>(c, op, |c, a| {
            keeping_carry(c, |f| flags::sub(a, W::low(1), 0, f))
        })
    }
}

struct Neg;
impl Unary for Neg {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        D::update::<W>(c, op, |c, a| flags::sub(W::low(0), a, 0, &mut c.cpu.flags))
    }
}

struct Not;
impl Unary for Not {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        D::update::<W>(c, op, |_, a| !a)
    }
}

/// The double-width accumulator: AX, or DX:AX up to RDX:RAX.
fn accumulator<W: Word>(c: &Core<'_>) -> u128 {
    let regs = &c.cpu.regs;
    if W::BITS == 8 {
        return u128::from(regs[reg::RAX] & 0xffff);
    }
    let low = W::low(regs[reg::RAX]).zx();
    let high = W::low(regs[reg::RDX]).zx();
    u128::from(low) | (u128::from(high) << W::BITS)
}

fn set_accumulator<W: Word>(c: &mut Core<'_>, low: u64, high: u64) {
    if W::BITS == 8 {
        u16::set_reg(
            &mut c.cpu.regs,
            reg::RAX as u8,
            ((high & 0xff) << 8 | low & 0xff) as u16,
        );
        return;
    }
    W::set_reg(&mut c.cpu.regs, reg::RAX as u8, W::low(low));
    W::set_reg(&mut c.cpu.regs, reg::RDX as u8, W::low(high));
}

/// Flags of a multiplication: CF = OF = the high half counts. SF, ZF, AF and PF
/// are undefined; they are left as silicon of today leaves them.
fn multiplied<W: Word>(c: &mut Core<'_>, low: W, overflow: bool) {
    let status = flags::szp(low) & !ZF;
    flags::set_status(&mut c.cpu.flags, status);
    put(&mut c.cpu.flags, CF | OF, overflow);
    put(&mut c.cpu.flags, AF, false);
}

struct Mul;
impl Unary for Mul {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        let b = D::get::<W>(c, op)?;
        let product = u128::from(W::low(c.cpu.regs[reg::RAX]).zx()) * u128::from(b.zx());
        let (low, high) = (W::low(product as u64), W::low((product >> W::BITS) as u64));
        set_accumulator::<W>(c, low.zx(), high.zx());
        multiplied(c, low, high.zx() != 0);
        Ok(())
    }
}

/// Signed product, and whether it does not fit in one operand.
fn signed_product<W: Word>(a: W, b: W) -> (i128, bool) {
    let product = i128::from(a.sx().cast_signed()) * i128::from(b.sx().cast_signed());
    let fits = product == i128::from(W::low(product as u64).sx().cast_signed());
    (product, !fits)
}

struct Imul1;
impl Unary for Imul1 {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        let b = D::get::<W>(c, op)?;
        let (product, overflow) = signed_product(W::low(c.cpu.regs[reg::RAX]), b);
        let (low, high) = (W::low(product as u64), W::low((product >> W::BITS) as u64));
        set_accumulator::<W>(c, low.zx(), high.zx());
        multiplied(c, low, overflow);
        Ok(())
    }
}

struct Imul2;
impl Binary for Imul2 {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let b = S::get::<W>(c, op)?;
        let a = D::get::<W>(c, op)?;
        let (product, overflow) = signed_product(a, b);
        multiplied(c, W::low(product as u64), overflow);
        D::set(c, op, W::low(product as u64))
    }
}

/// IMUL r, r/m, imm.
fn imul3<W: Word, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    let a = S::get::<W>(c, op)?;
    let (product, overflow) = signed_product(a, W::low(op.imm));
    multiplied(c, W::low(product as u64), overflow);
    Reg::<0>::set(c, op, W::low(product as u64))
}

fn imul(instr: &Instruction) -> Option<Exec> {
    Some(
        match (instr.op_count(), instr.op1_kind(), operand_bytes(instr, 0)) {
            (1, ..) => return unary::<Imul1>(instr),
            (2, ..) => return binary::<Imul2>(instr),
            (_, OpKind::Register, 2) => imul3::<u16, Reg<1>>,
            (_, OpKind::Register, 4) => imul3::<u32, Reg<1>>,
            (_, OpKind::Register, _) => imul3::<u64, Reg<1>>,
            (_, _, 2) => imul3::<u16, Mem>,
            (_, _, 4) => imul3::<u32, Mem>,
            _ => imul3::<u64, Mem>,
        },
    )
}

struct Div;
impl Unary for Div {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        let divisor = u128::from(D::get::<W>(c, op)?.zx());
        let dividend = accumulator::<W>(c);
        let quotient = dividend.checked_div(divisor).ok_or(Exception::De)?;
        if quotient >> W::BITS != 0 {
            return Err(Exception::De);
        }
        set_accumulator::<W>(c, quotient as u64, (dividend % divisor) as u64);
        Ok(())
    }
}

struct Idiv;
impl Unary for Idiv {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        let divisor = i128::from(D::get::<W>(c, op)?.sx().cast_signed());
        let unused = 128 - 2 * W::BITS;
        let dividend = (accumulator::<W>(c) << unused).cast_signed() >> unused;
        let quotient = dividend.checked_div(divisor).ok_or(Exception::De)?;
        if quotient != i128::from(W::low(quotient as u64).sx().cast_signed()) {
            return Err(Exception::De);
        }
        set_accumulator::<W>(c, quotient as u64, (dividend % divisor) as u64);
        Ok(())
    }
}

struct Xadd;
impl Binary for Xadd {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let b = S::get::<W>(c, op)?;
        let mut old = b;
        D::update::<W>(c, op, |c, a| {
            old = a;
            let sum = flags::add(a, b, 0, &mut c.cpu.flags);
            // With both operands the same register the sum wins: it is written last.
            W::set_reg(&mut c.cpu.regs, op.r[1], a);
            sum
        })
    }
}

/// CMPXCHG's comparison: sets the flags, and the accumulator if it differs; whether it is equal.
fn compare_accumulator<W: Word>(c: &mut Core<'_>, found: W) -> bool {
    let expected = W::low(c.cpu.regs[reg::RAX]);
    flags::sub(expected, found, 0, &mut c.cpu.flags);
    if found != expected {
        W::set_reg(&mut c.cpu.regs, reg::RAX as u8, found);
    }
    found == expected
}

struct CmpxchgMem;
impl Binary for CmpxchgMem {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let new = S::get::<W>(c, op)?;
        // Written in either case: hardware always runs the write cycle.
        D::update::<W>(c, op, |c, old| {
            if compare_accumulator(c, old) {
                new
            } else {
                old
            }
        })
    }
}

/// A register is written only if equal: a doubleword that differs keeps its upper half.
struct CmpxchgReg;
impl Binary for CmpxchgReg {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let (new, old) = (S::get::<W>(c, op)?, D::get::<W>(c, op)?);
        if compare_accumulator(c, old) {
            D::set(c, op, new)
        } else {
            Ok(())
        }
    }
}

/// EDX:EAX-like pair of two registers.
fn pair(c: &Core<'_>, high: usize, low: usize) -> u64 {
    (c.cpu.regs[high] & 0xffff_ffff) << 32 | c.cpu.regs[low] & 0xffff_ffff
}

fn cmpxchg8b(c: &mut Core<'_>, op: &Op) -> Done {
    let (expected, new) = (pair(c, reg::RDX, reg::RAX), pair(c, reg::RCX, reg::RBX));
    let mut found = expected;
    Mem::update::<u64>(c, op, |_, old| {
        found = old;
        if old == expected { new } else { old }
    })?;
    put(&mut c.cpu.flags, ZF, found == expected);
    if found != expected {
        c.cpu.regs[reg::RAX] = found & 0xffff_ffff;
        c.cpu.regs[reg::RDX] = found >> 32;
    }
    Ok(())
}

fn cmpxchg16b(c: &mut Core<'_>, op: &Op) -> Done {
    let va = c.linear(op.seg, c.ea(op), 16, Access::Write)?;
    if !va.get().is_multiple_of(16) {
        return Err(Exception::Gp(0));
    }
    let wide =
        |high: usize, low: usize| u128::from(c.cpu.regs[high]) << 64 | u128::from(c.cpu.regs[low]);
    let (expected, new) = (wide(reg::RDX, reg::RAX), wide(reg::RCX, reg::RBX));
    // Write permission is needed even if nothing is exchanged.
    c.place_rmw::<u64>(op)?;
    let found = c.load_128(op)?;
    c.store_128(op, if found == expected { new } else { found })?;
    put(&mut c.cpu.flags, ZF, found == expected);
    if found != expected {
        c.cpu.regs[reg::RAX] = found as u64;
        c.cpu.regs[reg::RDX] = (found >> 64) as u64;
    }
    Ok(())
}
