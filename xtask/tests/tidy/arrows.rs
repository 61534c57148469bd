//! Who may depend on whom.

use super::sources::{members, protocols, root};
use std::{collections::BTreeSet, fs, process::Command};

/// Crates below a protocol crate, macros included, may be this many.
const BELOW_A_PROTOCOL: usize = 20;

/// What brings a clock, a socket, a thread, a file or dice into reach.
const NEVER_BELOW_A_PROTOCOL: [&str; 12] = [
    "tokio",
    "quinn",
    "quinn-proto",
    "rustls",
    "mio",
    "rustix",
    "libc",
    "rand",
    "getrandom",
    "tracing",
    "log",
    "stateright",
];

/// Names of the packages that `package` itself is built from, as a user would build it: without
/// features, without tests.
fn below(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--package", package])
        .args([
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names of packages are text");
    let names = text.lines().filter_map(|line| line.split(' ').next());
    let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
    names.remove(package);
    names
}

/// The packages of this workspace that a manifest names, in the given tables.
fn named(member: &str, tables: &[&str]) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(member).join("Cargo.toml")).expect(member);
    let manifest: toml::Table = text.parse().expect(member);
    let tables = tables.iter().filter_map(|table| manifest.get(*table));
    let names = tables
        .filter_map(toml::Value::as_table)
        .flat_map(toml::Table::keys);
    let members = members();
    names
        .filter(|name| members.contains(name))
        .cloned()
        .collect()
}

#[test]
fn arrows_point_up_the_list_of_members() {
    let members = members();
    for (place, member) in members.iter().enumerate() {
        for dependency in named(member, &["dependencies", "build-dependencies"]) {
            let above = members.iter().position(|name| *name == dependency);
            assert!(
                above.is_some_and(|above| above < place),
                "{member} depends on {dependency}, which comes after it"
            );
        }
    }
}

#[test]
fn a_protocol_knows_the_core_and_no_other_protocol() {
    for protocol in protocols() {
        let mut known = named(
            &protocol,
            &["dependencies", "build-dependencies", "dev-dependencies"],
        );
        // Examples and tests on real nodes need the transport; the crate itself must not.
        if !named(&protocol, &["dependencies", "build-dependencies"]).contains("net-quic") {
            known.remove("net-quic");
        }
        assert_eq!(
            known,
            BTreeSet::from(["consensus-core".to_owned()]),
            "of {protocol}"
        );
    }
}

#[test]
fn the_transport_knows_the_core_alone() {
    assert_eq!(
        named("net-quic", &["dependencies"]),
        BTreeSet::from(["consensus-core".to_owned()])
    );
    assert!(named("consensus-core", &["dependencies", "dev-dependencies"]).is_empty());
}

#[test]
fn a_protocol_reaches_no_clock_socket_thread_or_dice() {
    for protocol in protocols() {
        let below = below(&protocol);
        for forbidden in NEVER_BELOW_A_PROTOCOL {
            assert!(!below.contains(forbidden), "{protocol} reaches {forbidden}");
        }
        assert!(
            below.len() <= BELOW_A_PROTOCOL,
            "{protocol} is built from {} crates: {below:?}",
            below.len()
        );
    }
}

/// The compiler then keeps the standard library's clocks and files out as well.
#[test]
fn a_protocol_goes_without_the_standard_library() {
    for protocol in protocols() {
        let file = root().join(&protocol).join("src/lib.rs");
        let text = fs::read_to_string(file).expect(&protocol);
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(
                text.lines().any(|line| line == attribute),
                "{protocol} lacks {attribute}"
            );
        }
    }
}
