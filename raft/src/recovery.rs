//! Rebuilding a node from its records.

use crate::{
    config::Config,
    membership::Configurations,
    node::{Raft, Role, StaticConfig},
    record::Record,
};
use consensus_core::{Index, Lsn, NodeId, RecoverError, Since, log::Tail};

/// A node while its records are read.
pub(crate) struct Recovery {
    config: Config,
    term: u64,
    vote: Option<NodeId>,
    since: Lsn,
    newest: Lsn,
    log: Tail,
    commit: Index,
    members: Configurations,
}

impl Recovery {
    pub(crate) fn new(config: Config) -> Self {
        let members = Configurations::new(config.members.clone());
        Self {
            config,
            term: 0,
            vote: None,
            since: Lsn::ZERO,
            newest: Lsn::ZERO,
            log: Tail::default(),
            commit: Index::ZERO,
            members,
        }
    }

    pub(crate) fn replay(&mut self, lsn: Lsn, record: Record) -> Result<(), RecoverError> {
        self.newest = lsn;
        let contradiction = |reason| Err(RecoverError { lsn, reason });
        match record {
            Record::HardState { term, vote } => {
                if term < self.term {
                    return contradiction("its term is older than the one before");
                }
                (self.term, self.vote, self.since) = (term, vote, lsn);
            }
            Record::Append { run } => {
                if run.first() <= self.log.base() || run.first() > self.log.last().next() {
                    return contradiction("its entries do not follow the log before it");
                }
                self.log.truncate(run.first().previous());
                self.members.truncate(run.first());
                self.members.appended(&run);
                self.log.append(run);
            }
            Record::Commit { index } => self.commit = self.commit.max(index),
            Record::Snapshot { manifest } => {
                // The log may lack what the snapshot covers: a follower hears of a commit before its
                // own disk has the entries.
                self.commit = self.commit.max(manifest.index);
                if self.log.epoch(manifest.index) == Some(manifest.epoch) {
                    self.log.compact(manifest.index);
                } else if manifest.index > self.log.base() {
                    self.log = Tail::after(manifest.index, manifest.epoch);
                }
                self.members.restored(manifest);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Raft {
        let base = self.log.base();
        let commit = self.commit.min(self.log.last()).max(base);
        Raft {
            config: StaticConfig(self.config),
            term: self.term,
            vote: self.vote,
            since: Since::new(self.since, self.newest),
            commit,
            told: base,
            commit_recorded: commit,
            log: self.log,
            role: Role::Follower,
            leader: None,
            leader_told: None,
            sticky: false,
            heard: false,
            verified: Index::ZERO,
            leader_commit: Index::ZERO,
            ack: false,
            members: self.members,
        }
    }
}
