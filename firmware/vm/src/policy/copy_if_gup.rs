//! Fork: a page that GUP holds is copied for the child at once (PG_gup, 2009).
//!
//! The frame stays with the one who started the I/O. The bit alone would copy every
//! page that ever saw I/O, at every fork; the counts alone would copy for references
//! that have nothing to do with I/O. So the bit filters and the counts decide.
//!
//! Leaves open: a page pinned while it is already shared.

use super::{Fork, FrameState};

/// Copies the page if GUP marked it and some reference is not a mapping.
pub(super) fn on_fork(page: FrameState) -> Fork {
    if page.gup && page.refcount != page.mapcount {
        Fork::CopyNow
    } else {
        Fork::Share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_copied_only_while_marked_and_held() {
        for (refcount, mapcount, gup, expected) in [
            (1, 1, false, Fork::Share),
            (1, 1, true, Fork::Share),
            (2, 1, false, Fork::Share),
            (2, 1, true, Fork::CopyNow),
            (2, 2, true, Fork::Share),
            (3, 2, true, Fork::CopyNow),
        ] {
            let page = FrameState {
                refcount,
                mapcount,
                gup,
            };
            assert_eq!(on_fork(page), expected, "{page:?}");
        }
    }
}
