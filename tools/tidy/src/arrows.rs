//! Crates depend only on what the table [`ARROWS`] lets them.
//!
//! Read from the manifests, not from what cargo resolved: a dependency that is declared is an arrow.

use crate::tables::{ARROWS, Arrows, Outside};
use crate::{File, Tree, Violation};
use std::collections::BTreeSet;
use toml::{Table, Value};

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut manifests = Vec::new();
    for file in tree
        .files()
        .iter()
        .filter(|f| f.path.ends_with("Cargo.toml"))
    {
        match file.text.parse::<Table>() {
            Ok(table) if table.contains_key("package") => manifests.push((file, table)),
            Ok(_) => {}
            Err(e) => found.push(Violation::new(
                &file.path,
                1,
                format!("not TOML: {}", e.message()),
            )),
        }
    }
    let ours: BTreeSet<_> = manifests
        .iter()
        .filter_map(|(_, table)| package_name(table))
        .collect();
    for (file, table) in &manifests {
        found.extend(check_manifest(file, table, &ours));
    }
    found
}

fn package_name(manifest: &Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

fn check_manifest(file: &File, manifest: &Table, ours: &BTreeSet<&str>) -> Vec<Violation> {
    let folder = file.path.trim_end_matches("/Cargo.toml");
    let Some(arrows) = row(folder) else {
        let sentence = format!("`{folder}` has no row in the table `tidy::tables::ARROWS`");
        return vec![Violation::new(&file.path, 1, sentence)];
    };
    let wrong = dependencies(manifest)
        .into_iter()
        .filter(|d| !is_allowed(arrows, d, ours));
    wrong
        .map(|d| {
            Violation::new(
                &file.path,
                line_of(&file.text, d.name),
                sentence(folder, &d),
            )
        })
        .collect()
}

/// The row for `folder`: its own before one that ends in `/*`.
fn row(folder: &str) -> Option<&'static Arrows> {
    let parent = folder
        .rsplit_once('/')
        .map(|(parent, _)| format!("{parent}/*"));
    let of = |name: &str| ARROWS.iter().find(|a| a.folder == name);
    of(folder).or_else(|| of(&parent?))
}

/// Whether a dependency is of the crate or of its tests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
}

#[derive(Clone, Copy, Debug)]
struct Dependency<'m> {
    name: &'m str,
    kind: Kind,
}

/// All dependencies of a manifest, those of its build script and of single targets included.
fn dependencies(manifest: &Table) -> Vec<Dependency<'_>> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let of_targets = targets
        .into_iter()
        .flat_map(|t| t.values())
        .filter_map(Value::as_table);
    let mut found = Vec::new();
    for table in std::iter::once(manifest).chain(of_targets) {
        for (section, kind) in [
            ("dependencies", Kind::Normal),
            ("build-dependencies", Kind::Normal),
            ("dev-dependencies", Kind::Dev),
        ] {
            let listed = table
                .get(section)
                .and_then(Value::as_table)
                .into_iter()
                .flatten();
            found.extend(listed.map(|(key, value)| {
                let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
                Dependency { name, kind }
            }));
        }
    }
    found
}

fn is_allowed(arrows: &Arrows, dependency: &Dependency<'_>, ours: &BTreeSet<&str>) -> bool {
    let name = dependency.name;
    if ours.contains(name) {
        let by_tests = dependency.kind == Kind::Dev && arrows.tests_use.contains(&name);
        return arrows.uses.contains(&name) || by_tests;
    }
    match arrows.outside {
        Outside::Any => true,
        // Nothing of what tests take from outside runs in the guest.
        Outside::Only(list) => dependency.kind == Kind::Dev || list.contains(&name),
    }
}

fn sentence(folder: &str, dependency: &Dependency<'_>) -> String {
    let whose = match dependency.kind {
        Kind::Normal => "may not use",
        Kind::Dev => "may not use, even in tests,",
    };
    format!("`{folder}` {whose} `{}`", dependency.name)
}

/// The first line that begins with `name`.
fn line_of(manifest: &str, name: &str) -> usize {
    manifest
        .lines()
        .position(|l| l.starts_with(name))
        .map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(folder: &str, name: &str, rest: &str) -> File {
        File::new(
            format!("{folder}/Cargo.toml"),
            format!("[package]\nname = \"{name}\"\n{rest}"),
        )
    }

    fn found(rest: &str) -> Vec<String> {
        let cpu = manifest("crates/cpu", "cpu", rest);
        let devices = manifest("crates/devices", "devices", "");
        let mmu = manifest("crates/mmu", "mmu", "");
        check(&Tree::new(vec![cpu, devices, mmu]))
            .iter()
            .map(Violation::to_string)
            .collect()
    }

    #[test]
    fn a_cpu_that_depends_on_devices_is_found_and_on_the_mmu_is_not() {
        let wrong = found("[dependencies]\nmmu.workspace = true\ndevices.workspace = true\n");
        assert_eq!(
            wrong,
            ["crates/cpu/Cargo.toml:5: `crates/cpu` may not use `devices`"]
        );
    }

    #[test]
    fn no_other_section_and_no_other_name_hides_an_arrow() {
        for section in [
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            assert_eq!(
                found(&format!("[{section}]\ndevices = {{ path = \"\" }}\n")).len(),
                1,
                "{section}"
            );
        }
        assert_eq!(
            found("[dependencies]\nother = { package = \"devices\" }\n").len(),
            1
        );
    }

    #[test]
    fn what_a_vocabulary_takes_from_outside_is_listed() {
        let of = |rest| check(&Tree::new(vec![manifest("crates/x86", "x86", rest)]));
        assert!(of("[dependencies]\nbitflags = \"2\"\n").is_empty());
        assert_eq!(of("[dependencies]\nserde = \"1\"\n").len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let tree = Tree::new(vec![manifest("crates/new", "new", "")]);
        assert!(check(&tree)[0].sentence.contains("no row"));
    }
}
