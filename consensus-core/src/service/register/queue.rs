//! The calls on one key: one runs, the others wait in order of arrival.

use super::envelope::Identity;
use crate::{Token, contract::register::Version, service::CallId};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::Bytes;

/// A call that has been understood.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: CallId,
    pub(super) identity: Identity,
    pub(super) kind: Kind,
    /// A version for which this call's value was proposed, and which was decided without this node
    /// hearing how.
    pub(super) unresolved: Option<Version>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Get,
    Put { value: Bytes },
    CompareAndSet { expected: Version, value: Bytes },
}

impl Kind {
    /// What it would write.
    pub(super) const fn value(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match self {
            Self::Get => &NOTHING,
            Self::Put { value } | Self::CompareAndSet { value, .. } => value,
        }
    }
}

/// What the protocol has been asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Reading,
    Proposing,
}

/// A request under way, and for whom: one job, or gets that share a read.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) token: Token,
    pub(super) jobs: Vec<Job>,
    pub(super) step: Step,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) running: Option<Running>,
    pub(super) waiting: VecDeque<Job>,
}

impl Queue {
    /// Takes out the gets at the front.
    pub(super) fn further_gets(&mut self) -> Vec<Job> {
        let is_get = |job: &&Job| matches!(job.kind, Kind::Get);
        let count = self.waiting.iter().take_while(is_get).count();
        self.waiting.drain(..count).collect()
    }
}
