//! GUP: a read acts as a write and breaks COW first (2009, Linux 5.8).
//!
//! After it the pinned frame is the caller's alone. Read-only areas, like program
//! text, stay as they are: nobody will ever write there, so nobody is ever moved.
//!
//! Leaves open: a fork after the pin makes the frame shared again.

use crate::area::{Area, Sharing};
use x86::fault::Access;

/// Faults in for writing wherever a later write could move the page.
pub(super) fn on_gup(wanted: Access, area: &Area) -> Access {
    if area.sharing == Sharing::Private && area.prot.write {
        Access::Write
    } else {
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::{ForkAdvice, Prot};
    use crate::range::PageRange;

    #[test]
    fn only_private_writable_areas_turn_a_read_into_a_write() {
        for (sharing, prot, expected) in [
            (Sharing::Private, Prot::READ_WRITE, Access::Write),
            (Sharing::Private, Prot::READ_EXEC, Access::Read),
            (Sharing::Shared, Prot::READ_WRITE, Access::Read),
            (Sharing::Shared, Prot::READ, Access::Read),
        ] {
            let area = Area {
                range: PageRange::USER,
                prot,
                sharing,
                advice: ForkAdvice::DoFork,
            };
            assert_eq!(on_gup(Access::Read, &area), expected, "{area:?}");
        }
    }
}
