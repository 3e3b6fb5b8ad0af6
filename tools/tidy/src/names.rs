//! What a crate knows nothing of is not named in its code either.
//!
//! The manifests hold the arrows ([`arrows`](crate::arrows)); this holds the words of
//! [`STRANGE`], in identifiers outside of tests, and the promise of the vocabularies to do without `alloc`.

use crate::source::Line;
use crate::tables::{STRANGE, VOCABULARIES};
use crate::tree::is_within;
use crate::{File, Tree, Violation};

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.rust().filter(|f| !f.is_test()) {
        for rule in STRANGE
            .iter()
            .filter(|r| r.folders.iter().any(|folder| is_within(&file.path, folder)))
        {
            let stranger = |line: &Line| {
                line.words()
                    .find(|w| parts(w).iter().any(|p| rule.words.contains(&p.as_str())))
                    .map(str::to_owned)
            };
            report(file, stranger, rule.sentence, &mut found);
        }
        if VOCABULARIES.iter().any(|v| is_within(&file.path, v)) {
            let heap = |line: &Line| {
                line.words()
                    .find(|w| *w == "alloc" || *w == "std")
                    .map(str::to_owned)
            };
            report(
                file,
                heap,
                "a vocabulary does without `alloc` and `std`",
                &mut found,
            );
        }
    }
    found.extend(VOCABULARIES.iter().filter_map(|v| lacks_no_std(tree, v)));
    found
}

fn report(
    file: &File,
    find: impl Fn(&Line) -> Option<String>,
    sentence: &str,
    found: &mut Vec<Violation>,
) {
    for (number, line) in file.numbered().filter(|(_, l)| !l.is_test) {
        if let Some(word) = find(line) {
            found.push(Violation::new(
                &file.path,
                number,
                format!("`{word}`: {sentence}"),
            ));
        }
    }
}

fn lacks_no_std(tree: &Tree, vocabulary: &str) -> Option<Violation> {
    let root = tree.file(&format!("{vocabulary}/src/lib.rs"))?;
    let has = root.lines.iter().any(|l| l.words().any(|w| w == "no_std"));
    (!has).then(|| Violation::new(&root.path, 1, "a vocabulary is `no_std`"))
}

/// The lower-case words an identifier is made of: `AhciEvent` and `ahci_event` are `ahci`, `event`.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for c in identifier.chars() {
        if c == '_' || (c.is_ascii_uppercase() && after_lower) {
            parts.push(String::new());
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        if c != '_' {
            parts
                .last_mut()
                .expect("there is always one")
                .push(c.to_ascii_lowercase());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(path: &str, text: &str) -> Vec<String> {
        let found = check(&Tree::new(vec![File::new(path, text)]));
        found.into_iter().map(|v| v.to_string()).collect()
    }

    #[test]
    fn a_device_named_in_the_cpu_is_found_and_a_comment_about_one_is_not() {
        let found = sentences(
            "crates/cpu/src/a.rs",
            "// The AHCI disk.\nuse devices::Hba;\nfn read_ahci() {}\n",
        );
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("crates/cpu/src/a.rs:2: `devices`"),
            "{found:?}"
        );
        assert!(sentences("crates/machine/src/a.rs", "use devices::Hba;\n").is_empty());
    }

    #[test]
    fn hardware_that_knows_what_a_fork_is_is_found() {
        assert_eq!(
            sentences("crates/mmu/src/a.rs", "fn on_fork() {}\n").len(),
            1
        );
    }

    #[test]
    fn a_vocabulary_that_allocates_is_found_outside_of_its_tests() {
        let tested = "#![no_std]\n#[cfg(test)]\nmod tests { use std::vec::Vec; }\n";
        assert!(sentences("crates/x86/src/lib.rs", tested).is_empty());
        assert_eq!(
            sentences("crates/x86/src/lib.rs", "#![no_std]\nextern crate alloc;\n").len(),
            1
        );
        assert_eq!(sentences("crates/x86/src/lib.rs", "//! X.\n").len(), 1);
    }
}
