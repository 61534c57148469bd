//! The words of the register contract.

use super::{play::Words, step::one};
use crate::{
    Algorithm, NodeId, Token,
    contract::register::{Event, Instance, Request, Version},
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use bytes::Bytes;

/// | step | what it does |
/// |---|---|
/// | `propose a k@1 X` | a's application proposes X for version 1 of k |
/// | `read a k` | a's application reads k |
/// | `forget a k@1` | a's application will not ask for it again |
/// | `expect chosen k@1 X [at a]` | everybody who was told was told X, and somebody, or a, was |
/// | `expect nothing chosen [at a]` | nobody was told anything, or a was not |
/// | `expect newest k@2 X at a` | the newest answer to a read at a; `k@0` when there is none |
/// | `expect superseded at a`, `expect undecided at a`, `expect rejected at a` | the last answer to a proposal or read at a |
#[derive(Clone, Debug, Default)]
pub struct RegisterWords {
    tokens: u64,
    waiting: BTreeMap<Token, NodeId>,
    chosen: BTreeMap<(Instance, NodeId), Bytes>,
    newest: BTreeMap<(Bytes, NodeId), (Version, Bytes)>,
    last: BTreeMap<NodeId, &'static str>,
}

fn instance(text: &str) -> Result<Instance, String> {
    text.split_once('@')
        .and_then(|(key, version)| {
            let version = Version(version.parse().ok()?);
            Some(Instance {
                key: Bytes::copy_from_slice(key.as_bytes()),
                version,
            })
        })
        .ok_or_else(|| format!("`{text}` is no instance; write key@version"))
}

impl RegisterWords {
    fn token(&mut self, node: NodeId) -> Token {
        self.tokens += 1;
        self.waiting.insert(Token(self.tokens), node);
        Token(self.tokens)
    }

    fn chosen(&self, place: &str, value: &str, at: Option<NodeId>) -> Result<(), String> {
        let instance = instance(place)?;
        let mut told = false;
        for ((chosen, node), found) in &self.chosen {
            if *chosen == instance && at.is_none_or(|at| at == *node) {
                told = true;
                if found != value.as_bytes() {
                    let node = super::super::trace::name(*node);
                    return Err(format!("{node} was told {}", found.escape_ascii()));
                }
            }
        }
        if told {
            Ok(())
        } else {
            Err("nobody was told anything".to_string())
        }
    }

    fn nothing(&self, at: Option<NodeId>) -> Result<(), String> {
        match self
            .chosen
            .iter()
            .find(|((_, node), _)| at.is_none_or(|at| at == *node))
        {
            None => Ok(()),
            Some(((instance, node), value)) => {
                let node = super::super::trace::name(*node);
                Err(format!(
                    "{node} was told that {} is {instance}",
                    value.escape_ascii()
                ))
            }
        }
    }

    fn newest(&self, place: &str, value: &str, at: NodeId) -> Result<(), String> {
        let instance = instance(place)?;
        match self.newest.get(&(instance.key, at)) {
            Some((version, found)) if *version == instance.version && found == value.as_bytes() => {
                Ok(())
            }
            Some((version, found)) => Err(format!("it read {} @ {version}", found.escape_ascii())),
            None => Err("it was told nothing".to_string()),
        }
    }
}

impl<A> Words<A> for RegisterWords
where
    A: Algorithm<Request = Request, Event = Event>,
{
    fn request(&mut self, words: &[&str]) -> Option<Result<(NodeId, A::Request), String>> {
        let (verb, rest) = words.split_first()?;
        let request = match (*verb, rest) {
            ("propose", [node, place, value]) => one(node).and_then(|node| {
                let instance = instance(place)?;
                let value = Bytes::copy_from_slice(value.as_bytes());
                Ok((
                    node,
                    Request::Propose {
                        token: self.token(node),
                        instance,
                        value,
                    },
                ))
            }),
            ("read", [node, key]) => one(node).map(|node| {
                let key = Bytes::copy_from_slice(key.as_bytes());
                (
                    node,
                    Request::Read {
                        token: self.token(node),
                        key,
                    },
                )
            }),
            ("forget", [node, place]) => one(node).and_then(|node| {
                Ok((
                    node,
                    Request::Forget {
                        instance: instance(place)?,
                    },
                ))
            }),
            _ => return None,
        };
        Some(request)
    }

    fn told(&mut self, node: NodeId, event: &Event) {
        let (token, word) = match event {
            Event::Chosen {
                token,
                instance,
                value,
            } => {
                self.chosen.insert((instance.clone(), node), value.clone());
                (*token, "chosen")
            }
            Event::Newest {
                token,
                key,
                version,
                value,
            } => {
                self.newest
                    .insert((key.clone(), node), (*version, value.clone()));
                (Some(*token), "newest")
            }
            Event::Superseded { token, .. } => (Some(*token), "superseded"),
            Event::Undecided { token } => (Some(*token), "undecided"),
            Event::Rejected { token, .. } => (Some(*token), "rejected"),
        };
        if let Some(token) = token {
            self.waiting.remove(&token);
            self.last.insert(node, word);
        }
    }

    fn crashed(&mut self, node: NodeId) {
        self.waiting.retain(|_, waiting| *waiting != node);
    }

    fn expect(&self, words: &[&str]) -> Option<Result<(), String>> {
        Some(match words {
            ["chosen", place, value] => self.chosen(place, value, None),
            ["chosen", place, value, "at", node] => {
                one(node).and_then(|node| self.chosen(place, value, Some(node)))
            }
            ["nothing", "chosen"] => self.nothing(None),
            ["nothing", "chosen", "at", node] => one(node).and_then(|at| self.nothing(Some(at))),
            ["newest", place, "at", node] => {
                one(node).and_then(|node| self.newest(place, "", node))
            }
            ["newest", place, value, "at", node] => {
                one(node).and_then(|node| self.newest(place, value, node))
            }
            [word @ ("superseded" | "undecided" | "rejected"), "at", node] => {
                one(node).and_then(|node| match self.last.get(&node) {
                    Some(last) if last == word => Ok(()),
                    Some(last) => Err(format!("the last answer was: {last}")),
                    None => Err("it was told nothing".to_string()),
                })
            }
            _ => return None,
        })
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
