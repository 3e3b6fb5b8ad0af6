//! Holds this repository to its conventions.

use std::path::Path;
use tidy::{Tree, tables};

fn tree() -> Tree {
    Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .expect("the repository can be read")
}

#[test]
fn the_repository_keeps_its_conventions() {
    let found: Vec<_> = tidy::check(&tree())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_tables_name_only_what_is_there() {
    let tree = tree();
    let rows = tables::ARROWS
        .iter()
        .map(|row| row.folder.trim_end_matches("/*"));
    let lists = [tables::UNSAFE, tables::ALLOW, tables::LONG]
        .into_iter()
        .flatten();
    let strange = tables::STRANGE.iter().flat_map(|rule| rule.folders);
    let named = rows
        .chain(lists.map(|(path, _)| *path))
        .chain(strange.copied());
    let gone: Vec<_> = named.filter(|path| !tree.holds(path)).collect();
    assert!(
        gone.is_empty(),
        "in the tables of tidy, and not in the tree: {gone:?}"
    );
}
