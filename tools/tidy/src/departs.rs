//! The list of what differs from hardware: every `// DEPARTS:` comment, as a page.
//!
//! The page gives no line numbers: each edit above a comment would make it false.

use crate::{File, Tree, Violation};
use std::fmt::Write;

/// Where the page is kept.
const PAGE: &str = "docs/DEPARTURES.md";
const MARK: &str = " DEPARTS: ";
const HEAD: &str = "# Departures\n\nWhere the machine does something else than hardware would, the source says so \
    in a comment that begins\nwith `DEPARTS:`. This page lists those comments; `cargo run -p tidy -- --departs` \
    prints it, and the\nchecks hold it to the sources.\n";

/// One departure: where its comment begins, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Line, from 1.
    pub line: usize,
    /// The comment from behind its mark to its end, on one line.
    pub text: String,
}

/// The page that lists all departures in `tree`, by file.
#[must_use]
pub fn page(tree: &Tree) -> String {
    let mut page = HEAD.to_owned();
    for file in tree.rust() {
        let departures = of_file(file);
        if departures.is_empty() {
            continue;
        }
        write!(page, "\n## [{0}](../{0})\n\n", file.path).expect("a string takes everything");
        for departure in departures {
            writeln!(page, "- {}", departure.text).expect("a string takes everything");
        }
    }
    page
}

/// The departures in `file`, in its order.
#[must_use]
pub fn of_file(file: &File) -> Vec<Departure> {
    let mut found: Vec<Departure> = Vec::new();
    let mut goes_on = false;
    for (line, source) in file.numbered() {
        if let Some(text) = source.comment.strip_prefix(MARK) {
            found.push(Departure {
                line,
                text: text.trim().to_owned(),
            });
            goes_on = source.is_comment();
        } else if let Some(last) = found.last_mut().filter(|_| goes_on) {
            goes_on = source.is_comment() && !source.comment.trim().is_empty();
            if goes_on {
                last.text.push(' ');
                last.text.push_str(source.comment.trim());
            }
        }
    }
    found
}

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = tree.rust().flat_map(misspelled).collect::<Vec<_>>();
    let kept = tree.file(PAGE).map_or("", |f| &f.text);
    let wanted = page(tree);
    if kept != wanted {
        let same = kept
            .lines()
            .zip(wanted.lines())
            .take_while(|(a, b)| a == b)
            .count();
        let sentence = "differs from the sources: run `cargo run -p tidy -- --departs` and keep what it prints";
        found.push(Violation::new(PAGE, same + 1, sentence));
    }
    found
}

/// Marks spelled so that the list would miss them.
fn misspelled(file: &File) -> Vec<Violation> {
    let listed = of_file(file);
    let is_mark = |comment: &str| {
        comment
            .trim_start_matches(['/', '!', ' '])
            .starts_with("DEPARTS")
    };
    let missed = file.numbered().filter(|(number, line)| {
        is_mark(&line.comment) && listed.iter().all(|d| d.line != *number)
    });
    let sentence = "a departure is spelled `// DEPARTS: ` at the start of its comment";
    missed
        .map(|(number, _)| Violation::new(&file.path, number, sentence))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "//! A head.\n// DEPARTS: no cache,\n// no wait.\nfn f() {}\n// DEPARTS: second.\n//\n// Not of it.\n";

    fn tree(kept: &str) -> Tree {
        Tree::new(vec![
            File::new("crates/a/src/b.rs", SOURCE),
            File::new(PAGE, kept),
        ])
    }

    #[test]
    fn a_comment_is_joined_to_its_end() {
        let found = of_file(&File::new("b.rs", SOURCE));
        let expected = [(2, "no cache, no wait."), (5, "second.")];
        assert_eq!(
            found,
            expected.map(|(line, text)| Departure {
                line,
                text: text.to_owned()
            })
        );
    }

    #[test]
    fn the_page_lists_departures_under_their_file() {
        let page = page(&tree(""));
        let list =
            "## [crates/a/src/b.rs](../crates/a/src/b.rs)\n\n- no cache, no wait.\n- second.\n";
        assert!(page.ends_with(list), "{page}");
    }

    #[test]
    fn a_page_that_is_not_what_the_sources_say_is_found_at_its_first_wrong_line() {
        let right = page(&tree(""));
        assert!(check(&tree(&right)).is_empty());
        let stale = right.replace("second", "first");
        let line = stale.lines().position(|l| l == "- first.").unwrap() + 1;
        assert_eq!(check(&tree(&stale))[0].line, line);
    }

    #[test]
    fn a_mark_the_list_would_miss_is_found() {
        let files = vec![File::new(
            "b.rs",
            "/// DEPARTS: in a doc comment.\nfn f() {}\n",
        )];
        assert!(
            check(&Tree::new(files))
                .iter()
                .any(|v| v.path == "b.rs" && v.line == 1)
        );
    }
}
