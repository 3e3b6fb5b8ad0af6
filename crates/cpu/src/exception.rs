//! Exceptions, and what becomes of those that arise while another is delivered.
//!
//! The way through the IDT is in [`delivery`](crate::delivery).
//!
//! Modelled: double fault and shutdown (triple fault). Not modelled: machine checks.
//!
//! **Spec:** SDM 3A "Interrupt and Exception Handling", "Double Fault Exception".

use crate::core::Core;
use crate::debug::DR7_GD;
use crate::state::Activity;
use cost::Category;
use trace::Event;
use x86::PageFault;
use x86::fault::Vector;

/// An exception an instruction ended with; the error code is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// #DE.
    De,
    /// #DB.
    Db,
    /// #BP, from INT3: RIP is past it.
    Bp,
    /// #BR.
    Br,
    /// #UD.
    Ud,
    /// #NM.
    Nm,
    /// #DF.
    Df,
    /// #TS with a selector.
    Ts(u16),
    /// #NP with a selector.
    Np(u16),
    /// #SS with a selector or 0.
    Ss(u16),
    /// #GP with a selector or 0.
    Gp(u16),
    /// #PF.
    Pf(PageFault),
    /// #MF.
    Mf,
    /// #AC.
    Ac,
    /// #XM.
    Xm,
}

impl Exception {
    /// Its vector.
    #[must_use]
    pub const fn vector(self) -> Vector {
        match self {
            Self::De => Vector::De,
            Self::Db => Vector::Db,
            Self::Bp => Vector::Bp,
            Self::Br => Vector::Br,
            Self::Ud => Vector::Ud,
            Self::Nm => Vector::Nm,
            Self::Df => Vector::Df,
            Self::Ts(_) => Vector::Ts,
            Self::Np(_) => Vector::Np,
            Self::Ss(_) => Vector::Ss,
            Self::Gp(_) => Vector::Gp,
            Self::Pf(_) => Vector::Pf,
            Self::Mf => Vector::Mf,
            Self::Ac => Vector::Ac,
            Self::Xm => Vector::Xm,
        }
    }

    /// Its error code, if it pushes one.
    #[must_use]
    pub const fn error_code(self) -> Option<u32> {
        match self {
            Self::Df | Self::Ac => Some(0),
            Self::Ts(code) | Self::Np(code) | Self::Ss(code) | Self::Gp(code) => Some(code as u32),
            Self::Pf(fault) => Some(fault.code.bits()),
            _ => None,
        }
    }

    /// Whether a second exception of this kind during delivery makes a double fault.
    const fn class(self) -> Class {
        match self {
            Self::De | Self::Ts(_) | Self::Np(_) | Self::Ss(_) | Self::Gp(_) => Class::Contributory,
            Self::Pf(_) => Class::PageFault,
            _ => Class::Benign,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
}

/// What is being delivered; decides privilege checks, the error code and the EXT bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An exception the CPU detected.
    Exception(Exception),
    /// INT n, INT3, INTO.
    Software(u8),
    /// An external interrupt or NMI.
    External(u8),
}

impl Origin {
    pub(crate) const fn vector(self) -> u8 {
        match self {
            Self::Exception(e) => e.vector() as u8,
            Self::Software(v) | Self::External(v) => v,
        }
    }

    pub(crate) const fn error_code(self) -> Option<u32> {
        match self {
            Self::Exception(e) => e.error_code(),
            Self::Software(_) | Self::External(_) => None,
        }
    }

    /// The EXT bit of error codes that arise while delivering this.
    pub(crate) const fn ext(self) -> u16 {
        !matches!(self, Self::Software(_)) as u16
    }
}

impl Core<'_> {
    /// Delivers `exception`; what goes wrong on the way becomes #DF, then shutdown.
    pub(crate) fn raise(&mut self, exception: Exception) {
        let mut current = exception;
        loop {
            let outcome = self.deliver(Origin::Exception(current));
            if let Err(Exception::Pf(fault)) = outcome {
                // CR2 names the latest #PF even if it only helps to make a #DF.
                self.cpu.cr2 = fault.linear.get();
            }
            match outcome {
                Ok(()) => return,
                Err(_) if current == Exception::Df => {
                    self.cpu.activity = Activity::Shutdown;
                    return;
                }
                Err(second) => current = combine(current, second),
            }
        }
    }

    /// Delivers an external interrupt.
    pub(crate) fn interrupt(&mut self, vector: u8) {
        self.cpu.activity = Activity::Running;
        self.tracer.emit(
            self.cpu.ledger.now().cycles(),
            self.cpu.source(),
            Event::Interrupt {
                vector,
                rip: self.cpu.rip(),
            },
        );
        if let Err(second) = self.deliver(Origin::External(vector)) {
            self.raise(second);
        }
    }

    /// Goes through the IDT.
    ///
    /// # Errors
    ///
    /// The exception met on the way; registers are unchanged.
    pub(crate) fn deliver(&mut self, origin: Origin) -> Result<(), Exception> {
        self.charge_delivery(origin);
        if let Origin::Exception(e) = origin {
            self.note_exception(e);
            if e == Exception::Db {
                // The handler may use the debug registers.
                self.cpu.set_dr7(self.cpu.dr[7] & !DR7_GD);
            }
        }
        if !self.cpu.is_protected() {
            return self.deliver_real(origin);
        }
        if self.cpu.is_ia32e() {
            self.deliver_ia32e(origin)
        } else {
            self.deliver_protected(origin)
        }
    }

    fn charge_delivery(&mut self, origin: Origin) {
        let (category, price) = match origin {
            Origin::External(_) => (Category::MmioIrq, self.profile.irq),
            _ => (Category::ExcEntry, self.profile.exception),
        };
        self.charge(category, price);
    }

    fn note_exception(&mut self, e: Exception) {
        let (at, source) = (self.cpu.ledger.now().cycles(), self.cpu.source());
        if let Exception::Pf(fault) = e {
            self.cpu.cr2 = fault.linear.get();
            self.tracer.emit(at, source, Event::PageFault(fault));
        }
        let event = Event::Exception {
            vector: e.vector() as u8,
            code: e.error_code(),
            rip: self.cpu.rip(),
            cpl: self.cpu.cpl,
        };
        self.tracer.emit(at, source, event);
    }
}

/// SDM 3A table "Conditions for Generating a Double Fault".
const fn combine(first: Exception, second: Exception) -> Exception {
    match (first.class(), second.class()) {
        (Class::Contributory, Class::Contributory)
        | (Class::PageFault, Class::Contributory | Class::PageFault) => Exception::Df,
        _ if matches!(first, Exception::Df) => Exception::Df,
        _ => second,
    }
}
