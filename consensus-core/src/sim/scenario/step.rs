//! Reading steps.

use super::super::{disk::Keep, trace};
use crate::{NodeId, fault};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

/// Which messages a step is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    /// None: any.
    pub(super) from: Option<NodeId>,
    pub(super) to: Option<NodeId>,
    /// None: any.
    pub(super) kind: Option<String>,
    /// What its plain text contains.
    pub(super) text: String,
}

/// What is done with a chosen message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Deliver,
    Drop,
    Duplicate,
    Hold,
}

/// Nodes that a step is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    One(NodeId),
    All,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Nodes {
        count: u16,
        options: Vec<(String, String)>,
    },
    Disk {
        who: Who,
        by_hand: bool,
    },
    Message(Verb, Choice),
    DeliverAll,
    Inject {
        from: NodeId,
        to: NodeId,
        bytes: Vec<u8>,
    },
    Sync(Who),
    SyncUpTo(NodeId, u64),
    FailSync(NodeId),
    Crash(Who, Keep),
    Restart(Who),
    Wipe(NodeId),
    Reclaim(NodeId),
    Tick {
        timer: String,
        node: NodeId,
    },
    Advance(Duration),
    Heal,
    UntilConverged,
    Until(Expect),
    Elect(NodeId),
    Run(Duration),
    Expect(Expect),
    /// A step after which a property does not hold.
    Breaks(String, Box<Step>),
    /// Words that only the contract knows.
    Contract(Vec<String>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Expect {
    Sent(Choice),
    NoMessage {
        kind: Option<String>,
        from: Option<NodeId>,
    },
    Disk {
        node: NodeId,
        holds: bool,
        text: String,
    },
    Status {
        node: NodeId,
        text: String,
    },
    Up(NodeId, bool),
    Blocked,
    Stuck,
    Contract(Vec<String>),
}

pub(super) fn read(line: &str) -> Result<Step, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let rest = |from: usize| words.get(from..).unwrap_or_default().join(" ");
    Ok(match words.as_slice() {
        ["nodes", count, options @ ..] => Step::Nodes {
            count: count
                .parse()
                .map_err(|_| format!("`{count}` is no number of nodes"))?,
            options: options
                .iter()
                .map(|option| option_of(option))
                .collect::<Result<_, _>>()?,
        },
        ["disk", who, "by", "hand"] => Step::Disk {
            who: anyone(who)?,
            by_hand: true,
        },
        ["disk", who, "at", "once"] => Step::Disk {
            who: anyone(who)?,
            by_hand: false,
        },
        ["deliver", "all"] => Step::DeliverAll,
        ["deliver", link, ..] => Step::Message(Verb::Deliver, choice(link, &words[2..])?),
        ["drop", link, ..] => Step::Message(Verb::Drop, choice(link, &words[2..])?),
        ["duplicate", link, ..] => Step::Message(Verb::Duplicate, choice(link, &words[2..])?),
        ["hold", link, ..] => Step::Message(Verb::Hold, choice(link, &words[2..])?),
        ["inject", link, bytes] => {
            let choice = choice(link, &[])?;
            let (Some(from), Some(to)) = (choice.from, choice.to) else {
                return Err("name both ends".to_string());
            };
            Step::Inject {
                from,
                to,
                bytes: hex(bytes).ok_or("write bytes as hexadecimal pairs")?,
            }
        }
        ["sync", node, "up", "to", record] => Step::SyncUpTo(
            one(node)?,
            record
                .parse()
                .map_err(|_| format!("`{record}` is no number of a record"))?,
        ),
        ["sync", who] => Step::Sync(anyone(who)?),
        ["fail-sync", node] => Step::FailSync(one(node)?),
        ["crash", who, keeping @ ..] => Step::Crash(anyone(who)?, keep(keeping)?),
        ["restart", who] => Step::Restart(anyone(who)?),
        ["wipe", node] => Step::Wipe(one(node)?),
        ["reclaim", node] => Step::Reclaim(one(node)?),
        ["tick", timer, "at", node] => Step::Tick {
            timer: (*timer).to_string(),
            node: one(node)?,
        },
        ["advance", span] => Step::Advance(fault::duration(span).map_err(|e| e.to_string())?),
        ["heal"] => Step::Heal,
        ["until", "converged"] => Step::UntilConverged,
        ["until", _, ..] => match read(&format!("expect {}", rest(1)))? {
            Step::Expect(expect) => Step::Until(expect),
            _ => return Err("`until` wants what `expect` wants".to_string()),
        },
        ["run", span] => Step::Run(fault::duration(span).map_err(|e| e.to_string())?),
        ["elect", node] => Step::Elect(one(node)?),
        ["expect", "sent", link, ..] => Step::Expect(Expect::Sent(choice(link, &words[3..])?)),
        ["expect", "no", "message"] => Step::Expect(Expect::NoMessage {
            kind: None,
            from: None,
        }),
        ["expect", "no", "message", kind, "from", node] => Step::Expect(Expect::NoMessage {
            kind: (*kind != "*").then(|| (*kind).to_string()),
            from: Some(one(node)?),
        }),
        ["expect", "disk", node, "no", _, ..] => Step::Expect(Expect::Disk {
            node: one(node)?,
            holds: false,
            text: rest(4),
        }),
        ["expect", "disk", node, _, ..] => Step::Expect(Expect::Disk {
            node: one(node)?,
            holds: true,
            text: rest(3),
        }),
        ["expect", "status", node, _, ..] => Step::Expect(Expect::Status {
            node: one(node)?,
            text: rest(3),
        }),
        ["expect", "up", node] => Step::Expect(Expect::Up(one(node)?, true)),
        ["expect", "down", node] => Step::Expect(Expect::Up(one(node)?, false)),
        ["expect", "blocked"] => Step::Expect(Expect::Blocked),
        ["expect", "stuck"] => Step::Expect(Expect::Stuck),
        ["breaks", property, "by", _, ..] => {
            Step::Breaks((*property).to_string(), Box::new(read(&rest(3))?))
        }
        ["expect", words @ ..] => Step::Expect(Expect::Contract(
            words.iter().map(|word| (*word).to_string()).collect(),
        )),
        words => Step::Contract(words.iter().map(|word| (*word).to_string()).collect()),
    })
}

fn option_of(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(format!("`{text}` is no option; write name=value"));
    }
    Ok((name.to_string(), value.to_string()))
}

pub(super) fn one(text: &str) -> Result<NodeId, String> {
    trace::node(text).ok_or_else(|| format!("`{text}` is no node; they are called a, b, c, …"))
}

fn anyone(text: &str) -> Result<Who, String> {
    if text == "all" {
        Ok(Who::All)
    } else {
        one(text).map(Who::One)
    }
}

fn choice(link: &str, rest: &[&str]) -> Result<Choice, String> {
    let (from, to) = link
        .split_once("->")
        .ok_or_else(|| format!("`{link}` is no link; write a->b, a->* or *->b"))?;
    let end = |text: &str| {
        if text == "*" {
            Ok(None)
        } else {
            one(text).map(Some)
        }
    };
    let (kind, text) = rest
        .split_first()
        .map_or((None, String::new()), |(kind, text)| {
            ((*kind != "*").then(|| (*kind).to_string()), text.join(" "))
        });
    Ok(Choice {
        from: end(from)?,
        to: end(to)?,
        kind,
        text,
    })
}

fn keep(words: &[&str]) -> Result<Keep, String> {
    Ok(match words {
        [] | ["keeping", "synced"] => Keep::Synced,
        ["keeping", "all"] => Keep::All,
        ["keeping", "torn", count] => Keep::Torn(
            count
                .parse()
                .map_err(|_| format!("`{count}` is no number of records"))?,
        ),
        _ => return Err("a crash keeps synced, all or torn N records".to_string()),
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    (text.len().is_multiple_of(2) && text.is_ascii()).then_some(())?;
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
