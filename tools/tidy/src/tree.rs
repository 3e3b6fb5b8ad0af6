//! The files of the repository, read once.
//!
//! Inside a git checkout they are those git knows or would take (`git ls-files`, new
//! files included); elsewhere, all files but those in hidden folders and in `target`.
//! Files that are not UTF-8 are left out: there are no conventions for them.

use crate::source::Line;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Why the files could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct TreeError {
    path: PathBuf,
    source: io::Error,
}

/// One text file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path from the root, with `/` between names.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Its lines with code and comments told apart; empty if it is not Rust.
    pub(crate) lines: Vec<Line>,
}

impl File {
    /// A file with these contents.
    #[must_use]
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let lines = if path.ends_with(".rs") {
            crate::source::lines(&text)
        } else {
            Vec::new()
        };
        Self { path, text, lines }
    }

    /// Whether all of it is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.split('/').any(|name| name == "tests")
    }

    /// Its lines of Rust, with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        (1..).zip(&self.lines)
    }
}

/// The files of a repository, by path.
#[derive(Clone, Debug)]
pub struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// A tree of these files.
    #[must_use]
    pub fn new(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// Reads the tree at `root`.
    ///
    /// # Errors
    ///
    /// [`TreeError`] with the first file or folder that cannot be read.
    pub fn read(root: &Path) -> Result<Self, TreeError> {
        let paths = match listed_by_git(root) {
            Some(paths) => paths,
            None => walked(root)?,
        };
        let mut files = Vec::new();
        for path in paths {
            match fs::read_to_string(root.join(&path)) {
                Ok(text) => files.push(File::new(path, text)),
                // Not text; or deleted, and git has not been told yet.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::NotFound
                    ) => {}
                Err(source) => {
                    return Err(TreeError {
                        path: root.join(path),
                        source,
                    });
                }
            }
        }
        Ok(Self::new(files))
    }

    /// All files.
    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// All Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    /// Whether `path` is a file, or a folder with a file in it.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        path.is_empty() || self.files.iter().any(|f| is_within(&f.path, path))
    }
}

/// Whether `path` is `folder` or lies in it.
pub(crate) fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn listed_by_git(root: &Path) -> Option<BTreeSet<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let output = git.output().ok().filter(|o| o.status.success())?;
    let list = String::from_utf8(output.stdout).ok()?;
    Some(list.split_terminator('\0').map(str::to_owned).collect())
}

fn walked(root: &Path) -> Result<BTreeSet<String>, TreeError> {
    let mut found = BTreeSet::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let at = root.join(&folder);
        let failed = |source| TreeError {
            path: at.clone(),
            source,
        };
        for entry in fs::read_dir(&at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            if !entry.file_type().map_err(failed)?.is_dir() {
                found.insert(path);
            } else if !name.starts_with('.') && name != "target" {
                folders.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_what_is_in_it_and_not_what_begins_like_it() {
        let tree = Tree::new(vec![File::new("docs/a.md", "")]);
        assert!(tree.holds("docs") && tree.holds("docs/a.md") && tree.holds(""));
        assert!(!tree.holds("doc") && !tree.holds("docs/a"));
    }

    #[test]
    fn git_and_a_walk_find_the_same_sources_of_this_crate() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let by_walk = walked(root).unwrap();
        assert!(by_walk.contains("src/tree.rs"));
        if let Some(by_git) = listed_by_git(root) {
            assert_eq!(by_git, by_walk);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_in_the_error() {
        let error = Tree::read(Path::new("no-such-folder")).unwrap_err();
        assert!(error.to_string().contains("no-such-folder"));
    }
}
