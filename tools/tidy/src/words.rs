//! Words that must not stand in a file: work left over, silenced lints, paths of one machine.
//!
//! Comments are searched for the first, code for the second, all text for the third.

use crate::source::{Line, is_word, words};
use crate::tables::ALLOW;
use crate::{File, Tree, Violation};

/// Left over, in a comment.
const LEFT_OVER: [&str; 3] = ["TODO", "FIXME", "XXX"];
/// Left over, in code.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
/// Folders of one machine, from its root, spelled so that they are not found here.
const MACHINE_FOLDERS: [[&str; 2]; 3] = [["", "work"], ["", "root"], ["/tmp", "target"]];

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    tree.files().iter().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Violation> {
    let mut found: Vec<_> = machine_paths(file).collect();
    let may_allow = ALLOW.iter().any(|(path, _)| *path == file.path);
    for (number, line) in file.numbered() {
        let mut report =
            |sentence: String| found.push(Violation::new(&file.path, number, sentence));
        for word in words(&line.comment).filter(|w| LEFT_OVER.contains(w)) {
            report(format!("`{word}`: do it, or say what is not modelled"));
        }
        for what in UNFINISHED.iter().filter(|what| has(line, what)) {
            report(format!("`{}` is left over", what.trim_start_matches("#[")));
        }
        if !may_allow && (has(line, "#[allow(") || has(line, "#![allow(")) {
            report("`allow`: write `expect` with a reason".to_owned());
        }
    }
    found
}

/// Whether `what` stands in the code and is not the end of a longer word.
fn has(line: &Line, what: &str) -> bool {
    let is_apart = |(at, _): (usize, &str)| !line.code[..at].ends_with(is_word);
    line.code.match_indices(what).any(is_apart)
}

fn machine_paths(file: &File) -> impl Iterator<Item = Violation> {
    let named = |line: &str| {
        MACHINE_FOLDERS
            .map(|f| f.join("/"))
            .into_iter()
            .find(|folder| names(line, folder))
    };
    let found = (1..)
        .zip(file.text.lines())
        .filter_map(move |(number, line)| Some((number, named(line)?)));
    found.map(|(number, folder)| {
        Violation::new(
            &file.path,
            number,
            format!("`{folder}` is a path of one machine"),
        )
    })
}

/// Whether `line` names `folder` or what is in it, as an absolute path.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let begins = before.is_none_or(|c| !is_word(c) && !"./}-*)".contains(c));
        begins && after.is_none_or(|c| !is_word(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let found = check(&Tree::new(vec![File::new(path, text)]));
        found.into_iter().map(|v| v.line).collect()
    }

    #[test]
    fn left_over_words_are_found_in_comments_and_only_whole() {
        assert_eq!(
            lines(
                "a.rs",
                "//! TODO: more.\n/// FIXME\n// TODOS\nlet a = \"XXX\";\n"
            ),
            [1, 2]
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = "todo!()\nunimplemented!()\ndbg!(a)\n#[ignore]\n#[ignore = \"slow\"]\nmydbg!(a)\n\"todo!()\"\n";
        assert_eq!(lines("a.rs", text), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn allow_is_found_wherever_it_is_not_listed() {
        let text = "#![allow(dead_code)]\n#[allow(unused)]\n#[expect(unused)]\n";
        assert_eq!(lines("a.rs", text), [1, 2]);
        assert_eq!(lines(ALLOW[0].0, text), [0; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_found_in_any_file() {
        let folders = MACHINE_FOLDERS.map(|f| f.join("/"));
        for folder in folders {
            assert_eq!(
                lines(
                    "a.md",
                    &format!("see {folder}/x\nor `{folder}`\nor {folder}-x\n")
                ),
                [1, 2, 3],
                "{folder}"
            );
            assert_eq!(
                lines(
                    "a.md",
                    &format!("see a{folder}/x\nor {folder}ed\nor ../a{folder}\n")
                ),
                [0; 0],
                "{folder}"
            );
        }
    }
}
