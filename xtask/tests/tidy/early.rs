//! Whoever overtakes the disk says why, where it is done: a reviewer who looks for `_early` finds the
//! reason on the spot, from the closed list.

use super::sources::{code, protocols, root, rust_files};
use std::fs;

/// The calls that overtake the disk.
const CALLS: [&str; 2] = ["send_early(", "emit_early("];

/// Places of calls in `text` that do not spell a reason: byte offsets.
fn without_reason(text: &str) -> Vec<usize> {
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
            if !arguments(&text[start + call.len()..]).contains("Early::") {
                found.push(start);
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
        for file in rust_files(&root().join(protocol).join("src")) {
            let text = fs::read_to_string(&file).expect("it was found");
            for place in without_reason(&text) {
                let line = text[..place.min(text.len())].lines().count();
                panic!("{}:{line}: an early call gives no reason", file.display());
            }
        }
    }
}

#[test]
fn the_search_tells_a_call_with_a_reason_from_one_without() {
    assert!(without_reason("e.send_early(to, f(x), Early::QuorumHolds);").is_empty());
    assert!(without_reason("fn send_early(&mut self, why: Early) {}").is_empty());
    assert!(without_reason("// e.send_early(to, x, why)").is_empty());
    assert_eq!(
        without_reason("e.emit_early(x, why); Early::QuorumHolds").len(),
        1
    );
}
