//! Instructions on MMX registers.

use crate::cases::{DOUBLE, SINGLE, integer_cases};
use crate::common::Asm;
use crate::run::{Form, compare};
use crate::{equal, written};
use iced_x86::code_asm::*;

/// Instructions with a source operand, from an MMX register and from 8 bytes of memory.
macro_rules! sources {
    ($($op:ident)*) => {
        vec![$(
            (concat!(stringify!($op), " mm0, mm1"), (|a| a.$op(mm0, mm1)) as fn(&mut CodeAssembler) -> Asm),
            (concat!(stringify!($op), " mm0, [rdi + 33]"), |a| a.$op(mm0, qword_ptr(rdi + 33))),
        )*]
    };
}

#[test]
fn packed_integers_in_mmx_registers_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(
        paddb paddw paddd paddq psubb psubw psubd psubq paddsb paddsw paddusb paddusw psubsb psubsw psubusb psubusw
        pmullw pmulhw pmulhuw pmuludq pmaddwd psadbw pavgb pavgw pminub pmaxub pminsw pmaxsw
        pcmpeqb pcmpeqw pcmpeqd pcmpgtb pcmpgtw pcmpgtd pand pandn por pxor
        psllw pslld psllq psrlw psrld psrlq psraw psrad
        packsswb packssdw packuswb punpckhbw punpckhwd punpckhdq movq);
    forms.extend::<Vec<Form>>(written! {
        "punpcklbw mm0, mm1" => |a| a.punpcklbw(mm0, mm1),
        "punpcklwd mm0, mm1" => |a| a.punpcklwd(mm0, mm1),
        "punpckldq mm0, mm1" => |a| a.punpckldq(mm0, mm1),
        "punpcklbw mm0, [rdi + 33]" => |a| a.punpcklbw(mm0, dword_ptr(rdi + 33)),
        "punpckldq mm0, [rdi + 33]" => |a| a.punpckldq(mm0, dword_ptr(rdi + 33)),
        "psllw mm0, 5" => |a| a.psllw(mm0, 5),
        "pslld mm0, 32" => |a| a.pslld(mm0, 32),
        "psllq mm0, 63" => |a| a.psllq(mm0, 63),
        "psrlw mm0, 16" => |a| a.psrlw(mm0, 16),
        "psrld mm0, 31" => |a| a.psrld(mm0, 31),
        "psrlq mm0, 64" => |a| a.psrlq(mm0, 64),
        "psraw mm0, 255" => |a| a.psraw(mm0, 255),
        "psrad mm0, 7" => |a| a.psrad(mm0, 7),
    });
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn ssse3_on_mmx_registers_gives_what_silicon_gives() {
    if !crate::host_has!("ssse3") {
        return;
    }
    let mut forms: Vec<Form> = sources!(
        pabsb pabsw pabsd psignb psignw psignd pshufb pmulhrsw pmaddubsw
        phaddw phaddd phaddsw phsubw phsubd phsubsw);
    forms.extend::<Vec<Form>>(written! {
        "palignr mm0, mm1, 0" => |a| a.palignr(mm0, mm1, 0),
        "palignr mm0, mm1, 3" => |a| a.palignr(mm0, mm1, 3),
        "palignr mm0, mm1, 8" => |a| a.palignr(mm0, mm1, 8),
        "palignr mm0, [rdi + 33], 13" => |a| a.palignr(mm0, qword_ptr(rdi + 33), 13),
        "palignr mm0, mm1, 16" => |a| a.palignr(mm0, mm1, 16),
        "palignr mm0, mm1, 255" => |a| a.palignr(mm0, mm1, 255),
    });
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn moves_of_mmx_registers_give_what_silicon_gives() {
    let forms: Vec<Form> = written! {
        "movd mm0, eax" => |a| a.movd(mm0, eax),
        "movq mm0, rax" => |a| a.movq(mm0, rax),
        "movd mm0, [rdi + 33]" => |a| a.movd(mm0, dword_ptr(rdi + 33)),
        "movd eax, mm1" => |a| a.movd(eax, mm1),
        "movq rax, mm1" => |a| a.movq(rax, mm1),
        "movd [rsi + 49], mm1" => |a| a.movd(dword_ptr(rsi + 49), mm1),
        "movq [rsi + 49], mm1" => |a| a.movq(qword_ptr(rsi + 49), mm1),
        "movntq [rsi + 48], mm1" => |a| a.movntq(qword_ptr(rsi + 48), mm1),
        "movdq2q mm0, xmm1" => |a| a.movdq2q(mm0, xmm1),
        "movq2dq xmm0, mm1" => |a| a.movq2dq(xmm0, mm1),
        "pshufw mm0, mm1, 0x1b" => |a| a.pshufw(mm0, mm1, 0x1b),
        "pshufw mm0, [rdi + 33], 0xc9" => |a| a.pshufw(mm0, qword_ptr(rdi + 33), 0xc9),
        "pinsrw mm0, eax, 2" => |a| a.pinsrw(mm0, eax, 2),
        "pinsrw mm0, [rdi + 33], 7" => |a| a.pinsrw(mm0, word_ptr(rdi + 33), 7),
        "pextrw eax, mm1, 1" => |a| a.pextrw(eax, mm1, 1),
        "pextrw rax, mm1, 7" => |a| a.pextrw(rax, mm1, 7),
        "pmovmskb eax, mm1" => |a| a.pmovmskb(eax, mm1),
        "maskmovq mm0, mm1" => |a| {
            a.mov(rcx, rdi)?;
            a.lea(rdi, qword_ptr(rsi + 48))?;
            a.maskmovq(mm0, mm1)?;
            a.mov(rdi, rcx)
        },
    };
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn conversions_with_mmx_registers_give_what_silicon_gives() {
    let integers: Vec<Form> = written! {
        "cvtpi2ps xmm0, mm1" => |a| a.cvtpi2ps(xmm0, mm1),
        "cvtpi2ps xmm0, [rdi + 33]" => |a| a.cvtpi2ps(xmm0, qword_ptr(rdi + 33)),
        "cvtpi2pd xmm0, mm1" => |a| a.cvtpi2pd(xmm0, mm1),
        "cvtpi2pd xmm0, [rdi + 33]" => |a| a.cvtpi2pd(xmm0, qword_ptr(rdi + 33)),
    };
    compare(&integers, &DOUBLE.cases(), equal);
    let singles: Vec<Form> = written! {
        "cvtps2pi mm0, xmm1" => |a| a.cvtps2pi(mm0, xmm1),
        "cvtps2pi mm0, [rdi + 32]" => |a| a.cvtps2pi(mm0, qword_ptr(rdi + 32)),
        "cvttps2pi mm0, xmm1" => |a| a.cvttps2pi(mm0, xmm1),
        "cvttps2pi mm0, [rdi + 32]" => |a| a.cvttps2pi(mm0, qword_ptr(rdi + 32)),
    };
    compare(&singles, &SINGLE.cases(), equal);
    let doubles: Vec<Form> = written! {
        "cvtpd2pi mm0, xmm1" => |a| a.cvtpd2pi(mm0, xmm1),
        "cvtpd2pi mm0, [rdi + 32]" => |a| a.cvtpd2pi(mm0, xmmword_ptr(rdi + 32)),
        "cvttpd2pi mm0, xmm1" => |a| a.cvttpd2pi(mm0, xmm1),
        "cvttpd2pi mm0, [rdi + 32]" => |a| a.cvttpd2pi(mm0, xmmword_ptr(rdi + 32)),
    };
    compare(&doubles, &DOUBLE.cases(), equal);
}

/// What FXSAVE shows of the x87 registers besides MM0: FSW, the tags, and the register's top.
#[test]
fn mmx_instructions_leave_the_x87_state_that_silicon_leaves() {
    let forms: Vec<Form> = written! {
        "movq" => |a| { a.fninit()?; a.emms()?; a.movq(mm0, mm1)?; observe(a) },
        "movq to memory" => |a| { a.fninit()?; a.movq(qword_ptr(rsi + 48), mm1)?; observe(a) },
        "movd to eax" => |a| { a.fninit()?; a.movd(eax, mm1)?; observe(a) },
        "paddb" => |a| { a.fninit()?; a.paddb(mm0, mm1)?; observe(a) },
        "pextrw" => |a| { a.fninit()?; a.pextrw(eax, mm1, 1)?; observe(a) },
        "emms" => |a| { a.emms()?; observe(a) },
        "movq2dq" => |a| { a.fninit()?; a.movq2dq(xmm0, mm1)?; observe(a) },
        "cvtpi2pd from memory" => |a| { a.fninit()?; a.cvtpi2pd(xmm0, qword_ptr(rdi + 32))?; observe(a) },
        "cvtpi2pd from a register" => |a| { a.fninit()?; a.cvtpi2pd(xmm0, mm1)?; observe(a) },
    };
    compare(&forms, &integer_cases()[..40], equal);
}

/// FSW and the tag byte to memory, the ends of MM0 and MM1 to RAX.
fn observe(a: &mut CodeAssembler) -> Asm {
    a.mov(rcx, rsp)?;
    a.sub(rsp, 1024)?;
    a.and(rsp, -64)?;
    a.fxsave(ptr(rsp))?;
    a.mov(eax, dword_ptr(rsp + 2))?;
    a.and(eax, 0x00ff_ffff)?;
    a.mov(dword_ptr(rsi + 48), eax)?;
    a.movzx(eax, word_ptr(rsp + 40))?;
    a.shl(eax, 16)?;
    a.mov(ax, word_ptr(rsp + 56))?;
    a.mov(rsp, rcx)?;
    // The flags are not what this is about.
    a.cmp(eax, eax)
}
