//! Write fault: the last one who maps a page keeps it (Linux 2.6.13 to 5.7).
//!
//! It looks at mappings only. A device that still reads or writes the frame for
//! someone who was moved to a copy is not seen, so the one left behind is handed
//! a frame under I/O: that is the backward race.

use super::{FrameState, WriteFault};

/// Reuses the page if exactly one entry maps it.
pub(super) fn on_write_fault(page: FrameState) -> WriteFault {
    if page.mapcount == 1 {
        WriteFault::Reuse
    } else {
        WriteFault::Copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_mappings_decides() {
        for (refcount, mapcount, expected) in [
            (1, 1, WriteFault::Reuse),
            (9, 1, WriteFault::Reuse),
            (2, 2, WriteFault::Copy),
            (9, 8, WriteFault::Copy),
        ] {
            for gup in [false, true] {
                let page = FrameState {
                    refcount,
                    mapcount,
                    gup,
                };
                assert_eq!(on_write_fault(page), expected, "{page:?}");
            }
        }
    }
}
