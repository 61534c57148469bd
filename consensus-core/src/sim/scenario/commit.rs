//! The words of atomic commit.

use super::{play::Words, step::one};
use crate::{
    Algorithm, NodeId, Token,
    contract::atomic_commit::{Event, Kept, Outcome, Request, Transaction, Vote},
    sim::trace,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use bytes::Bytes;

/// | step | what it does |
/// |---|---|
/// | `begin a T b c:no` | a's application begins T at b and c; a resource votes yes at once, or `no`, `readonly`, or `later` |
/// | `vote b T yes` | the resource of b votes, `yes`, `no` or `readonly` |
/// | `abort a T` | a's application gives T up |
/// | `inquire a T` | a's application asks what became of T |
/// | `decide b T commit` | an operator at b decides by hand |
/// | `seen b T` | an operator at b has seen the damage |
/// | `list b` | an operator at b asks what is in doubt |
/// | `checkpoint b` | the resource of b hands its state over |
/// | `expect outcome T commit [at b]` | everybody who was told was told so, and somebody, or b, was |
/// | `expect no outcome T [at b]` | nobody was told anything, or b was not |
/// | `expect answer a committed` | the last answer at a: `committed`, `aborted`, `forgotten` or `rejected` |
/// | `expect locked b T`, `expect free b T` | whether the resource of b holds locks for T |
/// | `expect blocked b T` | b has said that it is blocked |
/// | `expect damage b T` | b has reported damage |
///
/// A resource carries out what it is told at once. It is rebuilt from the log: it forgets everything in
/// a crash.
#[derive(Clone, Debug, Default)]
pub struct CommitWords {
    tokens: u64,
    /// What each token asks about, and where.
    waiting: BTreeMap<Token, NodeId>,
    begun: BTreeMap<Token, String>,
    names: BTreeMap<String, Transaction>,
    outcomes: BTreeMap<(Transaction, NodeId), Outcome>,
    last: BTreeMap<NodeId, &'static str>,
    /// Prepared or in doubt at a resource.
    locked: BTreeSet<(Transaction, NodeId)>,
    blocked: BTreeSet<(Transaction, NodeId)>,
    damage: BTreeSet<(Transaction, NodeId)>,
    replies: Vec<(NodeId, Request)>,
}

fn outcome(word: &str) -> Result<Outcome, String> {
    match word {
        "commit" => Ok(Outcome::Commit),
        "abort" => Ok(Outcome::Abort),
        _ => Err(format!("`{word}` is no outcome; write commit or abort")),
    }
}

fn vote(word: &[u8]) -> Option<Vote> {
    match word {
        b"yes" => Some(Vote::Yes {
            redo: Bytes::from_static(b"redo"),
        }),
        b"no" => Some(Vote::No {
            reason: Bytes::from_static(b"cannot"),
        }),
        b"readonly" => Some(Vote::ReadOnly),
        _ => None,
    }
}

fn says(so: bool, otherwise: &str) -> Result<(), String> {
    if so {
        Ok(())
    } else {
        Err(otherwise.to_string())
    }
}

impl CommitWords {
    fn token(&mut self, node: NodeId) -> Token {
        self.tokens += 1;
        self.waiting.insert(Token(self.tokens), node);
        Token(self.tokens)
    }

    fn transaction(&self, name: &str) -> Result<Transaction, String> {
        let known = self.names.get(name).copied();
        known.ok_or_else(|| format!("`{name}` has not begun"))
    }

    fn begin(
        &mut self,
        node: &str,
        name: &str,
        parts: &[&str],
    ) -> Result<(NodeId, Request), String> {
        let node = one(node)?;
        let mut work = Vec::new();
        for part in parts {
            let (at, will) = part.split_once(':').unwrap_or((part, "yes"));
            if will != "later" && vote(will.as_bytes()).is_none() {
                return Err(format!(
                    "`{will}` is no vote; write yes, no, readonly or later"
                ));
            }
            work.push((one(at)?, Bytes::copy_from_slice(will.as_bytes())));
        }
        let token = self.token(node);
        self.begun.insert(token, name.to_string());
        Ok((node, Request::Begin { token, work }))
    }

    fn vote(&mut self, node: &str, name: &str, word: &str) -> Result<(NodeId, Request), String> {
        let (transaction, node) = self.place(node, name)?;
        let vote = vote(word.as_bytes()).ok_or_else(|| format!("`{word}` is no vote"))?;
        if !matches!(vote, Vote::Yes { .. }) {
            self.locked.remove(&(transaction, node));
        }
        Ok((node, Request::Vote { transaction, vote }))
    }

    fn asked(&mut self, words: &[&str]) -> Option<Result<(NodeId, Request), String>> {
        let names = self.names.clone();
        let of = |name: &str| {
            let known = names.get(name).copied();
            known.ok_or_else(|| format!("`{name}` has not begun"))
        };
        let at = |node: &str, request: Result<Request, String>| Ok((one(node)?, request?));
        Some(match words {
            ["begin", node, name, parts @ ..] => self.begin(node, name, parts),
            ["vote", node, name, word] => self.vote(node, name, word),
            ["abort", node, name] => at(
                node,
                of(name).map(|transaction| Request::Abort { transaction }),
            ),
            ["inquire", node, name] => of(name).and_then(|transaction| {
                let node = one(node)?;
                let token = self.token(node);
                Ok((node, Request::Inquire { token, transaction }))
            }),
            ["decide", node, name, word] => {
                let request = of(name).and_then(|transaction| {
                    let outcome = outcome(word)?;
                    Ok(Request::DecideByHand {
                        transaction,
                        outcome,
                    })
                });
                at(node, request)
            }
            ["seen", node, name] => at(
                node,
                of(name).map(|transaction| Request::AcknowledgeDamage { transaction }),
            ),
            ["list", node] => one(node).map(|node| {
                let token = self.token(node);
                (node, Request::ListInDoubt { token })
            }),
            ["checkpoint", node] => {
                let state = Bytes::from_static(b"state");
                at(node, Ok(Request::Checkpoint { state }))
            }
            _ => return None,
        })
    }

    fn ended(&mut self, node: NodeId, transaction: Transaction, outcome: Outcome) {
        self.locked.remove(&(transaction, node));
        self.blocked.remove(&(transaction, node));
        self.outcomes.insert((transaction, node), outcome);
        let kept = Kept::Log;
        self.replies
            .push((node, Request::Done { transaction, kept }));
    }

    fn answered(&mut self, node: NodeId, token: Token, word: &'static str) {
        self.waiting.remove(&token);
        self.last.insert(node, word);
    }

    fn told_outcome(&self, name: &str, word: &str, at: Option<NodeId>) -> Result<(), String> {
        let (transaction, outcome) = (self.transaction(name)?, outcome(word)?);
        let told = self
            .outcomes
            .iter()
            .filter(|((t, node), _)| *t == transaction && at.is_none_or(|at| at == *node));
        let mut heard = false;
        for ((_, node), found) in told {
            if *found != outcome {
                return Err(format!("{} was told {found:?}", trace::name(*node)));
            }
            heard = true;
        }
        says(heard, "nobody was told anything")
    }

    fn no_outcome(&self, name: &str, at: Option<NodeId>) -> Result<(), String> {
        let transaction = self.transaction(name)?;
        let mut told = self
            .outcomes
            .iter()
            .filter(|((t, node), _)| *t == transaction && at.is_none_or(|at| at == *node));
        match told.next() {
            None => Ok(()),
            Some(((_, node), found)) => Err(format!("{} was told {found:?}", trace::name(*node))),
        }
    }

    fn place(&self, node: &str, name: &str) -> Result<(Transaction, NodeId), String> {
        Ok((self.transaction(name)?, one(node)?))
    }
}

impl<A> Words<A> for CommitWords
where
    A: Algorithm<Request = Request, Event = Event>,
{
    fn request(&mut self, words: &[&str]) -> Option<Result<(NodeId, A::Request), String>> {
        self.asked(words)
    }

    fn told(&mut self, node: NodeId, event: &Event) {
        match event {
            Event::Started { token, transaction } => {
                if let Some(name) = self.begun.get(token) {
                    self.names.insert(name.clone(), *transaction);
                }
            }
            Event::Prepare { transaction, work } => {
                let vote = vote(work);
                if vote
                    .as_ref()
                    .is_none_or(|vote| matches!(vote, Vote::Yes { .. }))
                {
                    self.locked.insert((*transaction, node));
                }
                let transaction = *transaction;
                let reply = vote.map(|vote| (node, Request::Vote { transaction, vote }));
                self.replies.extend(reply);
            }
            Event::Recovered { transaction, .. } => {
                self.locked.insert((*transaction, node));
            }
            Event::Commit { transaction, .. } => self.ended(node, *transaction, Outcome::Commit),
            Event::Abort { transaction } => self.ended(node, *transaction, Outcome::Abort),
            Event::Ended { token, outcome, .. } => {
                let word = match outcome {
                    Outcome::Commit => "committed",
                    Outcome::Abort => "aborted",
                };
                self.answered(node, *token, word);
            }
            Event::Forgotten { token, .. } => self.answered(node, *token, "forgotten"),
            Event::Rejected { token, .. } => self.answered(node, *token, "rejected"),
            Event::InDoubt { token, .. } => self.answered(node, *token, "listed"),
            Event::Blocked { transaction, .. } => {
                self.blocked.insert((*transaction, node));
            }
            Event::Damage { transaction, .. } => {
                self.damage.insert((*transaction, node));
            }
            Event::Restore { .. } => {}
        }
    }

    fn replies(&mut self) -> Vec<(NodeId, A::Request)> {
        core::mem::take(&mut self.replies)
    }

    fn crashed(&mut self, node: NodeId) {
        self.waiting.retain(|_, waiting| *waiting != node);
        self.locked.retain(|(_, at)| *at != node);
        self.blocked.retain(|(_, at)| *at != node);
    }

    fn expect(&self, words: &[&str]) -> Option<Result<(), String>> {
        let holds = |set: &BTreeSet<_>, node: &str, name: &str, is: bool, otherwise: &str| {
            let place = self.place(node, name)?;
            says(set.contains(&place) == is, otherwise)
        };
        Some(match words {
            ["outcome", name, word] => self.told_outcome(name, word, None),
            ["outcome", name, word, "at", node] => {
                one(node).and_then(|node| self.told_outcome(name, word, Some(node)))
            }
            ["no", "outcome", name] => self.no_outcome(name, None),
            ["no", "outcome", name, "at", node] => {
                one(node).and_then(|node| self.no_outcome(name, Some(node)))
            }
            ["answer", node, word] => one(node).and_then(|node| match self.last.get(&node) {
                Some(last) if last == word => Ok(()),
                Some(last) => Err(format!("the last answer was: {last}")),
                None => Err("it was told nothing".to_string()),
            }),
            ["locked", node, name] => holds(&self.locked, node, name, true, "it holds none"),
            ["free", node, name] => holds(&self.locked, node, name, false, "it holds locks"),
            ["blocked", node, name] => holds(&self.blocked, node, name, true, "it has not said so"),
            ["damage", node, name] => holds(&self.damage, node, name, true, "none was reported"),
            _ => return None,
        })
    }

    /// Nobody waits when every client has its answer and every resource knows its outcomes.
    fn waiting(&self) -> usize {
        self.waiting.len() + self.locked.len()
    }
}
