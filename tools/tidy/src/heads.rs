//! Every Rust file begins with what it is for: a `//!` head.

use crate::{Tree, Violation};

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let headless = tree.rust().filter(|f| !f.text.starts_with("//! "));
    headless
        .map(|f| Violation::new(&f.path, 1, "the file does not begin with a `//!` head"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;

    #[test]
    fn a_file_that_begins_with_code_is_found_and_one_with_a_head_is_not() {
        let tree = Tree::new(vec![
            File::new("a.rs", "use b;\n//! late\n"),
            File::new("b.rs", "//! A head.\n"),
        ]);
        assert_eq!(
            check(&tree),
            [Violation::new(
                "a.rs",
                1,
                "the file does not begin with a `//!` head"
            )]
        );
    }

    #[test]
    fn other_languages_need_no_head() {
        assert!(check(&Tree::new(vec![File::new("a.s", "nop\n")])).is_empty());
    }
}
