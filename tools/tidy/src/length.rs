//! No Rust file is longer than [`MOST_LINES`] without its tests.

use crate::tables::LONG;
use crate::{Tree, Violation};

/// Longest a file may be, in lines that are not tests.
const MOST_LINES: usize = 450;

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.rust().filter(|f| !f.is_test()) {
        let lines = file.lines.iter().filter(|l| !l.is_test).count();
        let is_listed = LONG.iter().any(|(path, _)| *path == file.path);
        if lines > MOST_LINES && !is_listed {
            let sentence = format!("{lines} lines without tests, more than {MOST_LINES}");
            found.push(Violation::new(&file.path, MOST_LINES + 1, sentence));
        } else if lines <= MOST_LINES && is_listed {
            let sentence = "listed as long, and is not: take it off the list in `tidy::tables`";
            found.push(Violation::new(&file.path, 1, sentence));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;

    fn of_lines(n: usize, tail: &str) -> Tree {
        Tree::new(vec![File::new(
            "src/a.rs",
            "const A: u8 = 0;\n".repeat(n) + tail,
        )])
    }

    #[test]
    fn the_line_after_the_last_allowed_one_is_reported() {
        assert!(check(&of_lines(MOST_LINES, "")).is_empty());
        assert_eq!(check(&of_lines(MOST_LINES + 1, ""))[0].line, MOST_LINES + 1);
    }

    #[test]
    fn tests_do_not_count() {
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn f() {}\n".repeat(MOST_LINES)
        );
        assert!(check(&of_lines(MOST_LINES, &tests)).is_empty());
        let long = "fn f() {}\n".repeat(MOST_LINES + 1);
        for path in [
            "crates/a/tests/b.rs",
            "crates/a/src/b/tests.rs",
            "crates/a/src/b/tests/c.rs",
        ] {
            assert!(
                check(&Tree::new(vec![File::new(path, long.clone())])).is_empty(),
                "{path}"
            );
        }
    }
}
