//! Debug output for people: `Ballot { round: 2, node: NodeId(1), boot: Boot(1) }` is `2.1`.

use alloc::{string::String, vec::Vec};

/// Shortens the `Debug` text of a message or record: ids and numbers lose their wrappers, ballots
/// are `round.node` (and boot from the second run on), instances `key@version`, transactions
/// `coordinator:boot:sequence`, terms and members a number, byte strings lose the `b`.
#[must_use]
pub fn plain(text: &str) -> String {
    let text = unwrap(text);
    let text = rewrite(&text, "Ballot { round: ", |fields| {
        let mut parts = fields.split(", ");
        let round = parts.next()?;
        let node = parts.next()?.strip_prefix("node: ")?;
        match parts.next()?.strip_prefix("boot: ")? {
            "0" | "1" => Some(alloc::format!("{round}.{node}")),
            boot => Some(alloc::format!("{round}.{node}.{boot}")),
        }
    });
    let text = rewrite(&text, "Epoch { round: ", |fields| {
        let (round, owner) = fields.split_once(", owner: ")?;
        (owner == "0").then(|| String::from(round))
    });
    let text = rewrite(&text, "Member { node: ", |fields| {
        let (node, rest) = fields.split_once(", ")?;
        (rest == "disk: DiskId(0), context: \"\"").then(|| String::from(node))
    });
    let text = rewrite(&text, "Instance { key: ", |fields| {
        let (key, version) = fields.split_once(", version: ")?;
        Some(alloc::format!("{}@{version}", key.trim_matches('"')))
    });
    let text = rewrite(&text, "Transaction { coordinator: ", |fields| {
        let (coordinator, rest) = fields.split_once(", boot: ")?;
        let (boot, sequence) = rest.split_once(", sequence: ")?;
        Some(alloc::format!("{coordinator}:{boot}:{sequence}"))
    });
    let text = text.replace("Some(", "(").replace("0.0", "none");
    text.replace(" { ", " ").replace(" }", "")
}

/// Newtypes and byte strings to what is inside.
fn unwrap(text: &str) -> String {
    const WRAPPERS: [&str; 9] = [
        "NodeId(",
        "Boot(",
        "Version(",
        "Lsn(",
        "Token(",
        "Index(",
        "Sequence(",
        "GroupId(",
        "Time(",
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // For every open parenthesis whether it was a wrapper's.
    let mut open: Vec<bool> = Vec::new();
    while let Some(c) = rest.chars().next() {
        let starts_word = !out.ends_with(|c: char| c.is_alphanumeric());
        if starts_word && let Some(wrapper) = WRAPPERS.iter().find(|w| rest.starts_with(**w)) {
            open.push(true);
            rest = &rest[wrapper.len()..];
            continue;
        }
        if starts_word && rest.starts_with("b\"") {
            rest = &rest[1..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '(' => open.push(false),
            ')' if open.pop() == Some(true) => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Replaces every `start … }` by what `f` makes of the middle.
fn rewrite(text: &str, start: &str, f: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(start) {
        let inside = &rest[at + start.len()..];
        let Some(end) = inside.find(" }") else { break };
        out.push_str(&rest[..at]);
        match f(&inside[..end]) {
            Some(short) => out.push_str(&short),
            None => out.push_str(&rest[at..at + start.len() + end + 2]),
        }
        rest = &inside[end + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ballot, Boot, NodeId, contract::register::*};
    use alloc::format;

    #[test]
    fn wrappers_fall_away() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "read by Debug")]
        struct Accept {
            instance: Instance,
            ballot: Ballot,
            value: Option<bytes::Bytes>,
        }
        let instance = Instance {
            key: "k".into(),
            version: Version(1),
        };
        let mut ballot = Ballot::first(NodeId(2), Boot(1));
        let value = Some(bytes::Bytes::from("X"));
        let accept = Accept {
            instance: instance.clone(),
            ballot,
            value: value.clone(),
        };
        assert_eq!(
            plain(&format!("{accept:?}")),
            r#"Accept instance: k@1, ballot: 1.2, value: ("X")"#
        );
        ballot.boot = Boot(3);
        let accept = Accept {
            instance,
            ballot,
            value,
        };
        assert!(plain(&format!("{accept:?}")).contains("ballot: 1.2.3,"));
    }
}
