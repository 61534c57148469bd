//! Key-value operations on the [`register`](crate::contract::register) contract: the use that
//! databases call a lightweight transaction.
//!
//! Every write proposes the version after the newest, in an [`Envelope`] that names its call. If
//! another's value was chosen, the call goes on from there: a put at the next version, a
//! compare-and-set to a linearizable read that decides it.
//!
//! | knows the newest version from | used for | if it is wrong |
//! |---|---|---|
//! | a read made for this call | everything | it cannot be |
//! | the cache: what the protocol announced | where to propose | the proposal is superseded, and a read follows |
//!
//! A mismatch is never decided from the cache. Calls on one key run one at a time, in order of
//! arrival; gets that stand together share one read.
//!
//! # Whose value was chosen
//!
//! A proposal that is *superseded* may have been chosen before. The newest value tells: it carries
//! the names of the writes just before it (`Envelope::Written`'s `earlier`), so a node that lagged behind finds
//! its own among them, or finds that it is not there. Only when the node lagged by more than
//! [`Limits::history`] writes of others is the answer [`Answer::Unknown`].
//!
//! There are no sessions: a client that repeats an unknown call may write twice, unless the first is
//! still among the names.

mod cache;
mod envelope;
mod queue;
#[cfg(test)]
mod tests;

pub use envelope::{Envelope, Identity};

use super::{Answer, Call, CallId, Outbox, Refusal, Service};
use crate::{
    NodeId, Protocol, Sequence, Time, Token,
    contract::register::{Event, Instance, Key, Reason, Request, Version},
    kv::{self, Operation, Outcome},
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use cache::Cache;
use envelope::Fate;
use queue::{Job, Kind, Queue, Running, Step};

/// Bounds of a [`RegisterService`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Calls under way or queued; more are refused as busy. Default: 65,536.
    pub calls_max: usize,
    /// Keys whose newest known value is kept; the one learned longest ago goes first. Default:
    /// 65,536. Zero makes every put read before it writes.
    pub cached_keys_max: usize,
    /// The longest value accepted, in bytes. Default: 1 MiB.
    pub value_bytes_max: usize,
    /// Names of earlier writes that a value carries, about 20 bytes each. Default: 8.
    pub history: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 65_536,
            cached_keys_max: 65_536,
            value_bytes_max: 1 << 20,
            history: 8,
        }
    }
}

/// Runs [`kv::Operation`]s on any protocol that agrees on registers. State: queues and a cache, all
/// of it volatile.
#[derive(Clone, Debug)]
pub struct RegisterService {
    node: NodeId,
    limits: Limits,
    tokens: u64,
    queues: BTreeMap<Key, Queue>,
    /// The key of each request that waits for its event.
    running: BTreeMap<Token, Key>,
    /// The key of each call not yet answered.
    calls: BTreeMap<CallId, Key>,
    cache: Cache,
}

/// Where requests and answers go.
struct Sink<'a> {
    requests: &'a mut Vec<Request>,
    answers: &'a mut Vec<(CallId, Answer)>,
}

impl RegisterService {
    /// The service of `node`.
    #[must_use]
    pub fn new(node: NodeId, limits: Limits) -> Self {
        Self {
            node,
            limits,
            tokens: 0,
            queues: BTreeMap::new(),
            running: BTreeMap::new(),
            calls: BTreeMap::new(),
            cache: Cache::new(limits.cached_keys_max),
        }
    }

    /// Calls accepted and not yet answered.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.calls.len()
    }

    fn take(&mut self, call: Call, sink: &mut Sink<'_>) {
        if call.sequence == Sequence(0) {
            // A register keeps no sessions: there is nothing to open.
            return sink.answers.push((call.id, Answer::Done(Bytes::new())));
        }
        let mut refuse = |why| sink.answers.push((call.id, Answer::Refused(why)));
        let (key, kind) = match kv::decode(call.body) {
            Err(_) => return refuse(Refusal::Malformed),
            Ok(Operation::WhoLeads {}) => {
                let node = NodeId(0); // Nobody decides for the others.
                let outcome = kv::encode(&Outcome::Leader { node });
                return sink.answers.push((call.id, Answer::Done(outcome)));
            }
            Ok(Operation::Get { key }) => (key, Kind::Get),
            Ok(Operation::Put { key, value }) => (key, Kind::Put { value }),
            Ok(Operation::CompareAndSet {
                key,
                expected,
                value,
            }) => (key, Kind::CompareAndSet { expected, value }),
        };
        if kind.value().len() > self.limits.value_bytes_max {
            return refuse(Refusal::TooLarge);
        }
        if self.calls.len() >= self.limits.calls_max {
            return refuse(Refusal::Busy);
        }
        let identity = Identity {
            client: call.client,
            sequence: call.sequence,
        };
        self.calls.insert(call.id, key.clone());
        let queue = self.queues.entry(key.clone()).or_default();
        queue.waiting.push_back(Job {
            id: call.id,
            identity,
            kind,
            unresolved: None,
        });
        self.run(&key, sink);
    }

    /// Starts what stands first at `key`, unless something runs there.
    fn run(&mut self, key: &Key, sink: &mut Sink<'_>) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        if queue.running.is_some() {
            return;
        }
        let Some(job) = queue.waiting.pop_front() else {
            self.queues.remove(key);
            return;
        };
        match &job.kind {
            Kind::Get => {
                let mut jobs = alloc::vec![job];
                jobs.extend(queue.further_gets());
                self.read(key, jobs, sink);
            }
            Kind::Put { .. } => match self.cache.version(key) {
                Some(newest) => self.propose(key, job, newest.next(), sink),
                None => self.read(key, alloc::vec![job], sink),
            },
            Kind::CompareAndSet { expected, .. } => {
                let expected = *expected;
                // Version 1 may be proposed by anybody; for a later one the version before must be
                // known, with the names that it carries.
                if expected == Version::ZERO || self.cache.version(key) == Some(expected) {
                    self.propose(key, job, expected.next(), sink);
                } else {
                    self.read(key, alloc::vec![job], sink);
                }
            }
        }
    }

    fn request(&mut self, key: &Key, running: Running, request: Request, sink: &mut Sink<'_>) {
        self.running.insert(running.token, key.clone());
        self.queues.entry(key.clone()).or_default().running = Some(running);
        sink.requests.push(request);
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn read(&mut self, key: &Key, jobs: Vec<Job>, sink: &mut Sink<'_>) {
        let token = self.token();
        let running = Running {
            token,
            jobs,
            step: Step::Reading,
        };
        let key_read = key.clone();
        let request = Request::Read {
            token,
            key: key_read,
        };
        self.request(key, running, request, sink);
    }

    /// Proposes `version`; the one before is known and cached, or zero.
    fn propose(&mut self, key: &Key, job: Job, version: Version, sink: &mut Sink<'_>) {
        let token = self.token();
        let before = self.cache.value(key, version.previous());
        let envelope = Envelope::after(
            version.previous(),
            before,
            self.node,
            job.identity,
            job.kind.value().clone(),
            self.limits.history,
        );
        let running = Running {
            token,
            jobs: alloc::vec![job],
            step: Step::Proposing,
        };
        let request = Request::Propose {
            token,
            instance: Instance {
                key: key.clone(),
                version,
            },
            value: kv::encode(&envelope),
        };
        self.request(key, running, request, sink);
    }

    /// Takes out what runs under `token`.
    fn finish(&mut self, token: Token) -> Option<(Key, Running)> {
        let key = self.running.remove(&token)?;
        let running = self.queues.get_mut(&key)?.running.take()?;
        Some((key, running))
    }

    fn answer(&mut self, id: CallId, answer: Answer, sink: &mut Sink<'_>) {
        if self.calls.remove(&id).is_some() {
            sink.answers.push((id, answer));
        }
    }

    fn done(&mut self, id: CallId, outcome: &Outcome, sink: &mut Sink<'_>) {
        self.answer(id, Answer::Done(kv::encode(outcome)), sink);
    }

    fn written(&mut self, id: CallId, version: Version, sink: &mut Sink<'_>) {
        let position = version.0;
        self.done(id, &Outcome::Written { position, version }, sink);
    }

    fn hear(&mut self, event: Event, sink: &mut Sink<'_>) {
        match event {
            Event::Chosen {
                token,
                instance,
                value,
            } => self.on_chosen(token, instance, value, sink),
            Event::Newest {
                token,
                key,
                version,
                value,
            } => {
                self.cache.learn(&key, version, &value);
                if let Some((key, running)) = self.finish(token) {
                    for job in running.jobs {
                        self.on_newest(&key, job, version, &value, sink);
                    }
                    self.run(&key, sink);
                }
            }
            Event::Superseded {
                token,
                instance,
                offered,
                ..
            } => {
                self.cache.forget(&instance.key);
                if let Some((key, mut running)) = self.finish(token) {
                    for job in &mut running.jobs {
                        job.unresolved = offered.then_some(instance.version).or(job.unresolved);
                    }
                    self.read(&key, running.jobs, sink);
                }
            }
            Event::Undecided { token } => self.give_up(token, |_, _| Answer::Unknown, sink),
            Event::Rejected { token, reason } => {
                let answer = |job: &Job, _: Step| match reason {
                    Reason::Busy if job.unresolved.is_none() => Answer::Refused(Refusal::Busy),
                    _ => Answer::Unknown,
                };
                self.give_up(token, answer, sink);
            }
        }
    }

    fn give_up(
        &mut self,
        token: Token,
        answer: impl Fn(&Job, Step) -> Answer,
        sink: &mut Sink<'_>,
    ) {
        if let Some((key, running)) = self.finish(token) {
            for job in running.jobs {
                self.answer(job.id, answer(&job, running.step), sink);
            }
            self.run(&key, sink);
        }
    }

    fn on_chosen(
        &mut self,
        token: Option<Token>,
        instance: Instance,
        value: Bytes,
        sink: &mut Sink<'_>,
    ) {
        self.cache.learn(&instance.key, instance.version, &value);
        let Some((key, running)) = token.and_then(|token| self.finish(token)) else {
            return;
        };
        for job in running.jobs {
            if Envelope::open(&value).is_some_and(|envelope| envelope.names(job.identity)) {
                self.written(job.id, instance.version, sink);
                continue;
            }
            match job.kind {
                // The next version, unless an even newer one has been announced meanwhile.
                Kind::Put { .. } => match self.cache.version(&key) {
                    Some(newest) => self.propose(&key, job, newest.next(), sink),
                    None => self.read(&key, alloc::vec![job], sink),
                },
                Kind::CompareAndSet { .. } | Kind::Get => {
                    self.read(&key, alloc::vec![job], sink);
                }
            }
        }
        self.run(&key, sink);
    }

    /// A linearizable read has found `version`: answers a job, or lets it go on from there.
    fn on_newest(
        &mut self,
        key: &Key,
        mut job: Job,
        version: Version,
        value: &Bytes,
        sink: &mut Sink<'_>,
    ) {
        if let Some(tried) = job.unresolved.take() {
            match Envelope::fate(value, version, tried, job.identity) {
                Fate::Mine => return self.written(job.id, tried, sink),
                Fate::Anothers => {}
                Fate::Forgotten => return self.answer(job.id, Answer::Unknown, sink),
            }
        }
        let position = version.0;
        match &job.kind {
            Kind::Get => {
                let value = Envelope::payload(value);
                let outcome = Outcome::Value {
                    position,
                    version,
                    value,
                };
                self.done(job.id, &outcome, sink);
            }
            Kind::CompareAndSet { expected, .. } if *expected != version => {
                self.done(job.id, &Outcome::Mismatch { position, version }, sink);
            }
            Kind::Put { .. } | Kind::CompareAndSet { .. } => {
                self.cache.learn(key, version, value);
                self.propose(key, job, version.next(), sink);
            }
        }
    }

    fn leave(&mut self, id: CallId, sink: &mut Sink<'_>) {
        let Some(key) = self.calls.remove(&id) else {
            return;
        };
        let Some(queue) = self.queues.get_mut(&key) else {
            return;
        };
        queue.waiting.retain(|job| job.id != id);
        if let Some(running) = &mut queue.running {
            running.jobs.retain(|job| job.id != id);
            if running.jobs.is_empty() {
                let token = running.token;
                queue.running = None;
                self.running.remove(&token);
                sink.requests.push(Request::Cancel { token });
            }
        }
        self.run(&key, sink);
    }
}

impl<P> Service<P> for RegisterService
where
    P: Protocol<Request = Request, Event = Event>,
{
    fn call(&mut self, _now: Time, call: Call, out: &mut Outbox<P>) {
        let (requests, answers) = (&mut out.requests, &mut out.answers);
        self.take(call, &mut Sink { requests, answers });
    }

    fn event(&mut self, _now: Time, event: Event, out: &mut Outbox<P>) {
        let (requests, answers) = (&mut out.requests, &mut out.answers);
        self.hear(event, &mut Sink { requests, answers });
    }

    fn abandon(&mut self, _now: Time, id: CallId, out: &mut Outbox<P>) {
        let (requests, answers) = (&mut out.requests, &mut out.answers);
        self.leave(id, &mut Sink { requests, answers });
    }
}
