//! Links in Markdown pages lead to files that are there.
//!
//! Not modelled: anchors in a page, and addresses on the net, which are not followed.

use crate::{File, Tree, Violation};

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let pages = tree.files().iter().filter(|f| f.path.ends_with(".md"));
    pages.flat_map(|page| dead_links(tree, page)).collect()
}

fn dead_links(tree: &Tree, page: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (number, line) in (1..).zip(page.text.lines()) {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            let dead = targets(line).filter(|target| is_dead(tree, page, target));
            found.extend(
                dead.map(|t| Violation::new(&page.path, number, format!("`{t}` leads nowhere"))),
            );
        }
    }
    found
}

/// What the links on `line` point at: `[text](target)` and `[name]: target`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line
        .split("](")
        .skip(1)
        .filter_map(|after| after.split([')', ' ']).next());
    let defined = line
        .split_once("]: ")
        .filter(|(name, _)| name.starts_with('['));
    inline.chain(defined.map(|(_, target)| target.trim()))
}

fn is_dead(tree: &Tree, page: &File, target: &str) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    let is_elsewhere = file.contains("://") || file.starts_with("mailto:");
    let is_here = file.is_empty();
    !is_elsewhere && !is_here && resolve(&page.path, file).is_none_or(|path| !tree.holds(&path))
}

/// The path from the root of what `page` calls `target`; `None` outside of the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut names: Vec<_> = page.split('/').collect();
    names.pop();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(text: &str) -> Vec<usize> {
        let files = vec![
            File::new("docs/a.md", text),
            File::new("README.md", ""),
            File::new("crates/b/src/c.rs", ""),
        ];
        check(&Tree::new(files))
            .into_iter()
            .map(|v| v.line)
            .collect()
    }

    #[test]
    fn links_to_files_and_folders_that_are_there_are_good() {
        let text = "[a](a.md#part) [r](../README.md)\n[b](../crates/b/) [top](..)\n[n]: ../README.md\n[w](https://a.b/c)\n";
        assert_eq!(dead(text), [0; 0]);
    }

    #[test]
    fn links_that_lead_nowhere_or_out_of_the_repository_are_found() {
        assert_eq!(
            dead("[a](README.md)\n[x](../crates/x) [y](a.md)\n[o](../../etc)\n[n]: none.md\n"),
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn what_is_in_a_fence_is_no_link() {
        assert_eq!(dead("```\n[a](none)\n```\n[a](none)\n"), [4]);
    }
}
