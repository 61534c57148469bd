//! Whoever overtakes the disk says why, where it is done: a reviewer who looks for `_early` finds the
//! reason on the spot, from the closed list.

use super::sources::{code, protocols, root, rust_files};
use std::fs;

/// The calls that overtake the disk.
const CALLS: [&str; 2] = ["send_early(", "emit_early("];

/// Names of reasons, such as `let why = Early::Authority(…)`: the reason is then spelt, and can be
/// explained, where the name is made.
fn names(text: &str) -> Vec<String> {
    let places = text.match_indices("= Early::");
    let before = places.map(|(place, _)| text[..place].trim_end().trim_end_matches(": Early"));
    let words = before.filter_map(|text| {
        text.rsplit(|c: char| c != '_' && !c.is_alphanumeric())
            .next()
    });
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Calls in `text` that do not spell a reason: their lines, counted from 1.
fn without_reason(text: &str, names: &[String]) -> Vec<usize> {
    let text: String = text
        .lines()
        .map(|line| format!("{}\n", code(line)))
        .collect();
    let mut found = Vec::new();
    for call in CALLS {
        for (start, _) in text.match_indices(call) {
            if text[..start].ends_with("fn ") {
                continue;
            }
            let arguments = arguments(&text[start + call.len()..]);
            let named = names.iter().any(|name| arguments.contains(name.as_str()));
            if !named && !arguments.contains("Early::") {
                found.push(text[..start].matches('\n').count() + 1);
            }
        }
    }
    found
}

/// What stands before the parenthesis that closes a call.
fn arguments(after: &str) -> &str {
    let mut depth = 1;
    for (place, letter) in after.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &after[..place];
        }
    }
    after
}

#[test]
fn every_early_call_spells_its_reason() {
    for protocol in protocols() {
        let files = rust_files(&root().join(protocol).join("src"));
        let read = |file| fs::read_to_string(file).expect("it was found");
        let names: Vec<_> = files.iter().flat_map(|file| names(&read(file))).collect();
        for file in &files {
            let lines = without_reason(&read(file), &names);
            assert!(
                lines.is_empty(),
                "{}: early calls in lines {lines:?} give no reason",
                file.display()
            );
        }
    }
}

#[test]
fn the_search_tells_a_call_with_a_reason_from_one_without() {
    let none = |text| without_reason(text, &[]);
    assert!(none("e.send_early(to, f(x), Early::QuorumHolds);").is_empty());
    assert!(none("fn send_early(&mut self, why: Early) {}").is_empty());
    assert!(none("// e.send_early(to, x, why)").is_empty());
    assert_eq!(none("x\ne.emit_early(x, why); Early::QuorumHolds"), [2]);
    let named = "const MINE: Early = Early::Authority(Lsn::ZERO);\ne.emit_early(x, MINE);";
    assert!(without_reason(named, &names(named)).is_empty());
    assert_eq!(none(named), [2]);
    let local = "let why = Early::Campaign;\ne.send_early(to, x, why);";
    assert!(without_reason(local, &names(local)).is_empty());
}
