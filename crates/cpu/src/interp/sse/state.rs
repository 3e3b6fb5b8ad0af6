//! Saving and setting the state of SSE and x87: FXSAVE, FXRSTOR, LDMXCSR, STMXCSR,
//! and the x87 instructions that initialise.
//!
//! Modelled: the FXSAVE area in its 32-bit and 64-bit forms; x87 registers as data.
//! Not modelled: x87 arithmetic; the selectors of the last x87 instruction and
//! operand, which are saved as 0 (CPUID says they are deprecated).
//!
//! **Spec:** SDM 1 "FXSAVE and FXRSTOR Instructions"; SDM 2 "FXSAVE", "FXRSTOR",
//! "FINIT/FNINIT", "FLDCW"; SDM 1 "x87 FPU Execution Environment".

use super::Done;
use super::mxcsr::MXCSR_MASK;
use crate::core::Core;
use crate::exception::Exception;
use crate::interp::operand::{Mem, Reg, Target};
use crate::op::{Exec, Op};
use crate::state::X87;
use iced_x86::{Code, Instruction};
use x86::fault::Access;
use x86::{Cr0, VirtAddr};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.code() {
        Code::Fxsave_m512byte => fxsave::<Form32>,
        Code::Fxsave64_m512byte => fxsave::<Form64>,
        Code::Fxrstor_m512byte => fxrstor::<Form32>,
        Code::Fxrstor64_m512byte => fxrstor::<Form64>,
        Code::Ldmxcsr_m32 => ldmxcsr,
        Code::Stmxcsr_m32 => stmxcsr,
        Code::Fninit => fninit,
        Code::Fnclex => fnclex,
        Code::Fldcw_m2byte => fldcw,
        Code::Fnstcw_m2byte => fnstcw,
        Code::Fnstsw_m2byte => fnstsw::<Mem>,
        Code::Fnstsw_AX => fnstsw::<Reg<0>>,
        Code::Wait => wait,
        _ => return None,
    })
}

fn ldmxcsr(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let value = c.load::<u32>(op)?;
    if value & !MXCSR_MASK != 0 {
        return Err(Exception::Gp(0));
    }
    c.cpu.sse.mxcsr = value;
    Ok(())
}

fn stmxcsr(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    c.store(op, c.cpu.sse.mxcsr)
}

/// Bytes of an FXSAVE area.
const AREA_BYTES: u64 = 512;
/// What FXSAVE writes; the rest belongs to software.
const USED_BYTES: usize = 416;
/// x87 registers, 16 bytes each, of which 10 are used.
const ST_AT: usize = 32;
/// XMM registers, 16 bytes each.
const XMM_AT: usize = 160;

type Area = [u8; USED_BYTES];

/// Width of the pointers to the last x87 instruction and operand.
trait Form {
    const POINTER_MASK: u64;
}

/// 32-bit offset, then the selector.
struct Form32;
impl Form for Form32 {
    const POINTER_MASK: u64 = 0xffff_ffff;
}

/// REX.W: 64-bit offset, no selector.
struct Form64;
impl Form for Form64 {
    const POINTER_MASK: u64 = u64::MAX;
}

fn fxsave<P: Form>(c: &mut Core<'_>, op: &Op) -> Done {
    let va = fx_area(c, op, Access::Write)?;
    let area = save::<P>(c);
    let used = XMM_AT + 16 * xmm_count(c);
    for (i, quad) in (0..).zip(area[..used].as_chunks().0) {
        let at = c.sse_address(va, 8 * i)?;
        c.write_as(at, u64::from_le_bytes(*quad), c.explicit())?;
    }
    Ok(())
}

fn fxrstor<P: Form>(c: &mut Core<'_>, op: &Op) -> Done {
    let va = fx_area(c, op, Access::Read)?;
    let mut area = [0; USED_BYTES];
    for (i, quad) in (0..).zip(area.as_chunks_mut().0) {
        let at = c.sse_address(va, 8 * i)?;
        *quad = c
            .read_as::<u64>(at, Access::Read, c.explicit())?
            .to_le_bytes();
    }
    restore::<P>(c, &area)
}

/// The area an FXSAVE or FXRSTOR names: allowed, aligned, accessible to its end.
fn fx_area(c: &mut Core<'_>, op: &Op, access: Access) -> Result<VirtAddr, Exception> {
    if c.cpu.cr0().contains(Cr0::EM) {
        return Err(Exception::Ud);
    }
    if c.cpu.cr0().contains(Cr0::TS) {
        return Err(Exception::Nm);
    }
    c.require_aligned(op, 16, access)?;
    let va = c.linear(op.seg, c.ea(op), AREA_BYTES, access)?;
    c.place(va, AREA_BYTES, access, c.explicit())?;
    Ok(va)
}

/// XMM8–XMM15 exist, and are saved, in 64-bit mode only.
const fn xmm_count(c: &Core<'_>) -> usize {
    if c.cpu.is_64bit() { 16 } else { 8 }
}

fn save<P: Form>(c: &Core<'_>) -> Area {
    let mut area = [0; USED_BYTES];
    let mut put = |at: usize, bytes: &[u8]| area[at..at + bytes.len()].copy_from_slice(bytes);
    let (x87, sse) = (&c.cpu.x87, &c.cpu.sse);
    put(0, &x87.fcw.to_le_bytes());
    put(2, &x87.fsw.to_le_bytes());
    put(4, &[x87.ftw]);
    put(6, &x87.fop.to_le_bytes());
    put(8, &(x87.fip & P::POINTER_MASK).to_le_bytes());
    put(16, &(x87.fdp & P::POINTER_MASK).to_le_bytes());
    put(24, &sse.mxcsr.to_le_bytes());
    put(28, &MXCSR_MASK.to_le_bytes());
    for i in 0..8 {
        put(ST_AT + 16 * i, &x87.st[physical(x87, i)].to_le_bytes());
    }
    for (i, xmm) in sse.xmm.iter().enumerate() {
        put(XMM_AT + 16 * i, &xmm.to_le_bytes());
    }
    area
}

/// Number of the x87 register that is ST(i).
const fn physical(x87: &X87, i: usize) -> usize {
    let top = (x87.fsw >> 11) & 7;
    (top as usize + i) % 8
}

fn restore<P: Form>(c: &mut Core<'_>, area: &Area) -> Done {
    let mxcsr = u32::from_le_bytes(field(area, 24));
    if mxcsr & !MXCSR_MASK != 0 {
        return Err(Exception::Gp(0));
    }
    let count = xmm_count(c);
    c.cpu.sse.mxcsr = mxcsr;
    for (i, xmm) in c.cpu.sse.xmm.iter_mut().enumerate().take(count) {
        *xmm = u128::from_le_bytes(field(area, XMM_AT + 16 * i));
    }
    let x87 = &mut c.cpu.x87;
    x87.fsw = u16::from_le_bytes(field(area, 2));
    x87.set_control(u16::from_le_bytes(field(area, 0)));
    x87.ftw = area[4];
    x87.fop = u16::from_le_bytes(field(area, 6)) & 0x7ff;
    x87.fip = u64::from_le_bytes(field(area, 8)) & P::POINTER_MASK;
    x87.fdp = u64::from_le_bytes(field(area, 16)) & P::POINTER_MASK;
    for i in 0..8 {
        x87.st[physical(x87, i)] =
            u128::from_le_bytes(field(area, ST_AT + 16 * i)) & ((1 << 80) - 1);
    }
    Ok(())
}

/// `N` bytes of an area.
fn field<const N: usize>(area: &Area, at: usize) -> [u8; N] {
    std::array::from_fn(|i| area[at + i])
}

/// Exception flags of FSW and their masks in FCW.
const X87_EXCEPTIONS: u16 = 0x3f;
/// FSW.ES, the summary of unmasked exceptions, and FSW.B, its copy.
const ES_AND_B: u16 = 1 << 7 | 1 << 15;
/// Bits of FCW that exist; bit 6 always reads 1.
const FCW_BITS: u16 = 0x1f3f;
const FCW_ALWAYS_1: u16 = 0x40;

impl X87 {
    /// Loads FCW; new masks change whether an exception is pending.
    const fn set_control(&mut self, fcw: u16) {
        self.fcw = fcw & FCW_BITS | FCW_ALWAYS_1;
        self.fsw &= !ES_AND_B;
        if self.fsw & !self.fcw & X87_EXCEPTIONS != 0 {
            self.fsw |= ES_AND_B;
        }
    }
}

impl Core<'_> {
    /// #NM unless the operating system lets x87 instructions run.
    fn require_x87(&self) -> Done {
        if self.cpu.cr0().intersects(Cr0::EM | Cr0::TS) {
            Err(Exception::Nm)
        } else {
            Ok(())
        }
    }

    /// #MF if an unmasked x87 exception is pending.
    pub(in crate::interp) fn require_no_x87_error(&self) -> Done {
        // DEPARTS: with CR0.NE clear hardware asserts FERR#, which leads to an
        // interrupt on PC boards; here nothing happens then.
        let pending = self.cpu.x87.fsw & ES_AND_B != 0 && self.cpu.cr0().contains(Cr0::NE);
        if pending { Err(Exception::Mf) } else { Ok(()) }
    }
}

/// FNINIT: registers keep their contents but count as empty.
fn fninit(c: &mut Core<'_>, _: &Op) -> Done {
    c.require_x87()?;
    let x87 = &mut c.cpu.x87;
    *x87 = X87 {
        fcw: 0x37f,
        fsw: 0,
        ftw: 0,
        fop: 0,
        fip: 0,
        fdp: 0,
        st: x87.st,
    };
    Ok(())
}

/// FNCLEX: clears the exception flags, SF, ES and B.
fn fnclex(c: &mut Core<'_>, _: &Op) -> Done {
    c.require_x87()?;
    c.cpu.x87.fsw &= 0x7f00;
    Ok(())
}

fn fldcw(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_x87()?;
    c.require_no_x87_error()?;
    let value = c.load::<u16>(op)?;
    c.cpu.x87.set_control(value);
    Ok(())
}

fn fnstcw(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_x87()?;
    c.store(op, c.cpu.x87.fcw)
}

fn fnstsw<D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_x87()?;
    D::set(c, op, c.cpu.x87.fsw)
}

/// WAIT, also the first byte of FINIT and the other waiting forms.
fn wait(c: &mut Core<'_>, _: &Op) -> Done {
    if c.cpu.cr0().contains(Cr0::MP | Cr0::TS) {
        return Err(Exception::Nm);
    }
    c.require_no_x87_error()
}
