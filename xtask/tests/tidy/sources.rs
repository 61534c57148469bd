//! The repository's own files, and rules for all of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("this package is in a workspace")
        .to_owned()
}

/// The packages, in the order of the workspace.
pub(crate) fn members() -> Vec<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has one");
    let manifest: toml::Table = text.parse().expect("cargo has read it too");
    let members = manifest["workspace"]["members"].as_array();
    let names = members
        .expect("a list")
        .iter()
        .filter_map(|name| name.as_str());
    names.map(str::to_owned).collect()
}

/// The packages that implement a protocol.
pub(crate) fn protocols() -> Vec<String> {
    let others = ["consensus-core", "net-quic", "bench", "xtask"];
    members()
        .into_iter()
        .filter(|name| !others.contains(&name.as_str()))
        .collect()
}

/// Every Rust file below `folder`, in order.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file of every package.
pub(crate) fn all_rust_files() -> Vec<PathBuf> {
    let root = root();
    let files: Vec<_> = members()
        .iter()
        .flat_map(|member| rust_files(&root.join(member)))
        .collect();
    assert!(files.len() > members().len(), "the files are found");
    files
}

/// The code of a line: what stands before a comment. Good enough for words that never stand in a
/// string.
pub(crate) fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// Work that is announced in code is done by nobody: what is missing is documented, or an issue.
#[test]
fn nothing_is_left_undone() {
    let forbidden = ["todo!(", "unimplemented!(", "dbg!("];
    let this = Path::new("tidy").join("sources.rs");
    for file in all_rust_files()
        .iter()
        .filter(|file| !file.ends_with(&this))
    {
        let text = fs::read_to_string(file).expect("it was found");
        for (number, line) in text.lines().enumerate() {
            for word in forbidden {
                assert!(
                    !code(line).contains(word),
                    "{}:{}: {word}…)",
                    file.display(),
                    number + 1
                );
            }
        }
    }
}

/// The workspace forbids it by a lint; a package that forgets `[lints] workspace = true` escapes.
#[test]
fn every_package_takes_the_workspace_lints() {
    for member in members() {
        let text = fs::read_to_string(root().join(&member).join("Cargo.toml")).expect(&member);
        let manifest: toml::Table = text.parse().expect(&member);
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"));
        assert_eq!(
            lints.and_then(toml::Value::as_bool),
            Some(true),
            "{member} goes without the workspace's lints"
        );
    }
}
