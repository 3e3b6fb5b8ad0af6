//! GUP: the page is taken as the access finds it (Linux up to 5.7).
//!
//! Reading needs no right to write, so a read pins a frame that others map too.
//! Whoever of them writes first is moved away, and that may be the one who pinned.

use crate::area::Area;
use x86::fault::Access;

/// Faults in as what the caller wants.
pub(super) fn on_gup(wanted: Access, _area: &Area) -> Access {
    wanted
}
