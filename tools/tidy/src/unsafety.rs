//! `unsafe` stands only in the modules of [`UNSAFE`], and each of them says why at its head.

use crate::source::Line;
use crate::tables::UNSAFE;
use crate::tree::is_within;
use crate::{File, Tree, Violation};

/// The words items begin with.
const ITEMS: [&str; 13] = [
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "type",
    "unsafe",
    "use",
];

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let unlisted = tree.rust().filter(|f| owner(&f.path).is_none());
    let mut found: Vec<_> = unlisted.filter_map(unexpected).collect();
    for (owner, _) in UNSAFE {
        found.extend(check_owner(tree, owner));
    }
    found
}

/// The entry of the table that covers `path`.
fn owner(path: &str) -> Option<&'static str> {
    UNSAFE
        .iter()
        .map(|(owner, _)| *owner)
        .find(|owner| is_within(path, owner))
}

fn unexpected(file: &File) -> Option<Violation> {
    let line = first_unsafe(file)?;
    let sentence = "`unsafe` in a module that is not in the table `tidy::tables::UNSAFE`";
    Some(Violation::new(&file.path, line, sentence))
}

fn first_unsafe(file: &File) -> Option<usize> {
    let is_unsafe = |line: &Line| line.words().any(|w| w == "unsafe");
    file.numbered()
        .find(|(_, line)| is_unsafe(line))
        .map(|(number, _)| number)
}

/// A file of the table opens with its reason; a folder's stands in its `lib.rs`.
fn check_owner(tree: &Tree, owner: &str) -> Option<Violation> {
    let members: Vec<_> = tree.rust().filter(|f| is_within(&f.path, owner)).collect();
    if members.is_empty() {
        return None;
    }
    if members.iter().all(|f| first_unsafe(f).is_none()) {
        let sentence = "listed as unsafe, and is not: take it off the table `tidy::tables::UNSAFE`";
        return Some(Violation::new(owner, 1, sentence));
    }
    let head = if owner.ends_with(".rs") {
        owner.to_owned()
    } else {
        format!("{owner}/lib.rs")
    };
    let opens_well = tree.file(&head).is_some_and(opens_with_reason);
    (!opens_well).then(|| {
        Violation::new(
            &head,
            1,
            "holds unsafe code and does not open with `// UNSAFETY:`",
        )
    })
}

/// Whether an `// UNSAFETY:` comment stands before the first item. Attributes of the file may come before it.
fn opens_with_reason(file: &File) -> bool {
    let is_item = |line: &Line| line.words().next().is_some_and(|w| ITEMS.contains(&w));
    let mut before_items = file.lines.iter().take_while(|l| !is_item(l));
    before_items.any(|l| l.comment.starts_with(" UNSAFETY: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_outside_the_table_is_found_and_the_word_in_a_comment_is_not() {
        let tree = Tree::new(vec![
            File::new(
                "crates/mmu/src/a.rs",
                "// unsafe\nfn f() { unsafe { g() } }\n",
            ),
            File::new("crates/mmu/src/b.rs", "#![deny(unsafe_code)] // unsafe\n"),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].path.as_str(), found[0].line),
            ("crates/mmu/src/a.rs", 2)
        );
    }

    #[test]
    fn a_listed_module_must_open_with_its_reason() {
        let with = |text: &str| {
            check(&Tree::new(vec![File::new(
                "crates/memory/src/ram.rs",
                text,
            )]))
        };
        assert!(with("//! RAM.\n\n// UNSAFETY: raw.\n#![expect(unsafe_code)]\nfn f() { unsafe { g() } }\n").is_empty());
        assert!(
            with("//! RAM.\n\nfn f() { unsafe { g() } }\n// UNSAFETY: late.\n")[0]
                .sentence
                .contains("open")
        );
    }

    #[test]
    fn a_listed_module_without_unsafe_code_leaves_the_table() {
        let tree = Tree::new(vec![File::new(
            "crates/memory/src/ram.rs",
            "//! RAM.\n// UNSAFETY: raw.\n",
        )]);
        assert!(check(&tree)[0].sentence.contains("take it off"));
    }
}
