//! BMI1, BMI2, ADX, LZCNT and CRC32 on general registers.
//!
//! RAX comes from the case, RCX is made from the second operand; results end in RAX.

use crate::cases::{Case, integer_cases};
use crate::common::Asm;
use crate::run::{Form, Outcome, compare};
use crate::{equal, host_has, written};
use iced_x86::code_asm::*;

const CF: u64 = 1;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;

/// Equal but for flags the manual leaves undefined.
fn with_flags<const DEFINED: u64>(want: &Outcome, have: &Outcome) -> bool {
    let defined = |o: &Outcome| Outcome {
        flags: o.flags & DEFINED,
        ..*o
    };
    defined(want) == defined(have)
}

/// Loads RCX and, after a routine that counts in RDX, puts the count back.
fn with_rcx(a: &mut CodeAssembler, f: impl FnOnce(&mut CodeAssembler) -> Asm) -> Asm {
    a.mov(r8, rdx)?;
    a.mov(rcx, qword_ptr(rdi + 32))?;
    a.mov(rdx, qword_ptr(rdi + 40))?;
    f(a)?;
    a.mov(rdx, r8)
}

/// Three-operand instructions: 32 and 64 bits, register and memory.
macro_rules! three {
    ($($op:ident($first:ident)),*) => {
        vec![$(
            (concat!(stringify!($op), " 32"), (|a| with_rcx(a, |a| three!(@$first a $op eax ecx))) as fn(&mut CodeAssembler) -> Asm),
            (concat!(stringify!($op), " 64"), |a| with_rcx(a, |a| three!(@$first a $op rax rcx))),
            (concat!(stringify!($op), " 32 memory"), |a| with_rcx(a, |a| three!(@$first a $op eax ecx dword_ptr))),
            (concat!(stringify!($op), " 64 memory"), |a| with_rcx(a, |a| three!(@$first a $op rax rcx qword_ptr))),
        )*]
    };
    (@second $a:ident $op:ident $x:ident $y:ident) => { $a.$op($x, $x, $y) };
    (@second $a:ident $op:ident $x:ident $y:ident $ptr:ident) => { $a.$op($x, $x, $ptr(rdi + 33)) };
    (@first $a:ident $op:ident $x:ident $y:ident) => { $a.$op($x, $x, $y) };
    (@first $a:ident $op:ident $x:ident $y:ident $ptr:ident) => { $a.$op($x, $ptr(rdi + 33), $y) };
}

/// Two-operand instructions.
macro_rules! two {
    ($($op:ident)*) => {
        vec![$(
            (concat!(stringify!($op), " 32"), (|a| with_rcx(a, |a| a.$op(eax, ecx))) as fn(&mut CodeAssembler) -> Asm),
            (concat!(stringify!($op), " 64"), |a| with_rcx(a, |a| a.$op(rax, rcx))),
            (concat!(stringify!($op), " 32 memory"), |a| with_rcx(a, |a| a.$op(eax, dword_ptr(rdi + 33)))),
            (concat!(stringify!($op), " 64 memory"), |a| with_rcx(a, |a| a.$op(rax, qword_ptr(rdi + 33)))),
        )*]
    };
}

fn small_counts() -> Vec<Case> {
    let mut cases = integer_cases();
    for (i, case) in (0..).zip(&mut cases).skip(2000) {
        case.b = case.b >> 16 << 16 | (i % 70) | (i * 7 % 80) << 8;
    }
    cases
}

#[test]
fn bmi1_gives_what_silicon_gives() {
    if !host_has!("bmi1") {
        return;
    }
    let cases = small_counts();
    let mut tests: Vec<Form> = three!(andn(second));
    tests.extend::<Vec<Form>>(two!(blsi blsr blsmsk));
    compare(&tests, &cases, with_flags::<{ CF | ZF | SF | OF }>);
    let bextr: Vec<Form> = three!(bextr(first));
    compare(&bextr, &cases, with_flags::<{ CF | ZF | OF }>);
    let mut tzcnt: Vec<Form> = two!(tzcnt);
    tzcnt.extend::<Vec<Form>>(
        written! { "tzcnt ax, [rdi + 48]" => |a| a.tzcnt(ax, word_ptr(rdi + 48)), },
    );
    compare(&tzcnt, &cases, with_flags::<{ CF | ZF }>);
}

#[test]
fn lzcnt_gives_what_silicon_gives() {
    if !host_has!("lzcnt") {
        return;
    }
    let mut forms: Vec<Form> = two!(lzcnt);
    forms.extend::<Vec<Form>>(written! { "lzcnt ax, ax" => |a| a.lzcnt(ax, ax), });
    compare(&forms, &small_counts(), with_flags::<{ CF | ZF }>);
}

#[test]
fn bmi2_gives_what_silicon_gives() {
    if !host_has!("bmi2") {
        return;
    }
    let cases = small_counts();
    let quiet: Vec<Form> = three!(
        pdep(second),
        pext(second),
        sarx(first),
        shlx(first),
        shrx(first)
    );
    compare(&quiet, &cases, equal);
    let others: Vec<Form> = written! {
        "rorx eax, eax, 5" => |a| a.rorx(eax, eax, 5),
        "rorx rax, [rdi + 33], 63" => |a| a.rorx(rax, qword_ptr(rdi + 33), 63),
        "rorx eax, eax, 32" => |a| a.rorx(eax, eax, 32),
        "rorx rax, rax, 64" => |a| a.rorx(rax, rax, 64),
        "mulx rax, r9, rcx" => |a| with_rcx(a, |a| { a.mulx(rax, r9, rcx)?; a.xor(rax, r9) }),
        "mulx eax, r9d, [rdi + 33]" => |a| with_rcx(a, |a| { a.mulx(eax, r9d, dword_ptr(rdi + 33))?; a.shl(r9, 32)?; a.xor(rax, r9) }),
        "mulx rax, rax, rcx" => |a| with_rcx(a, |a| a.mulx(rax, rax, rcx)),
    };
    compare(&others[..4], &cases, equal);
    compare(&others[4..], &cases, with_flags::<0>);
    let bzhi: Vec<Form> = three!(bzhi(first));
    compare(&bzhi, &cases, with_flags::<{ CF | ZF | SF | OF }>);
}

#[test]
fn chains_of_carries_are_silicons() {
    if !host_has!("adx") {
        return;
    }
    let forms: Vec<Form> = written! {
        "adcx eax, ecx" => |a| with_rcx(a, |a| { a.bt(rcx, 3)?; a.adcx(eax, ecx) }),
        "adcx rax, rcx" => |a| with_rcx(a, |a| { a.bt(rcx, 3)?; a.adcx(rax, rcx) }),
        "adox eax, [rdi + 33]" => |a| with_rcx(a, |a| { a.add(cl, 64)?; a.adox(eax, dword_ptr(rdi + 33)) }),
        "adox rax, rcx" => |a| with_rcx(a, |a| { a.add(cl, 64)?; a.adox(rax, rcx) }),
    };
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn crc32_gives_what_silicon_gives() {
    if !host_has!("sse4.2") {
        return;
    }
    let forms: Vec<Form> = written! {
        "crc32 eax, cl" => |a| with_rcx(a, |a| a.crc32(eax, cl)),
        "crc32 eax, ch" => |a| with_rcx(a, |a| a.crc32(eax, ch)),
        "crc32 eax, cx" => |a| with_rcx(a, |a| a.crc32(eax, cx)),
        "crc32 eax, ecx" => |a| with_rcx(a, |a| a.crc32(eax, ecx)),
        "crc32 rax, rcx" => |a| with_rcx(a, |a| a.crc32(rax, rcx)),
        "crc32 rax, byte [rdi + 33]" => |a| a.crc32(rax, byte_ptr(rdi + 33)),
        "crc32 rax, qword [rdi + 33]" => |a| a.crc32(rax, qword_ptr(rdi + 33)),
    };
    compare(&forms, &integer_cases(), equal);
}
