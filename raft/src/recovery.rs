//! Rebuilding a node from its records.

use crate::{
    config::Config,
    membership::Configurations,
    node::{Raft, Role, StaticConfig},
    read::Forwarded,
    reclaim::Marks,
    record::Record,
};
use consensus_core::{
    Aside, Boot, Index, Lsn, NodeId, RecoverError, Since,
    log::{Run, Tail},
};

/// A node while its records are read.
pub(crate) struct Recovery {
    config: Config,
    boot: Boot,
    term: u64,
    vote: Option<NodeId>,
    since: Lsn,
    newest: Lsn,
    log: Tail,
    /// The log begins in its middle: what was before has been released, so a snapshot that covers it
    /// must follow.
    provisional: bool,
    commit: Index,
    members: Configurations,
    marks: Marks,
}

impl Recovery {
    pub(crate) fn new(config: Config, boot: Boot) -> Self {
        let members = Configurations::new(config.members.clone());
        Self {
            config,
            boot,
            term: 0,
            vote: None,
            since: Lsn::ZERO,
            newest: Lsn::ZERO,
            log: Tail::default(),
            provisional: false,
            commit: Index::ZERO,
            members,
            marks: Marks::default(),
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
                self.marks.hard_state(lsn);
            }
            Record::Append { run } => {
                self.begin_in_the_middle(&run);
                if run.first() <= self.log.base() {
                    return contradiction("its entries lie before the beginning of the log");
                }
                self.log.truncate(run.first().previous());
                self.members.truncate(run.first());
                self.members.appended(&run);
                self.marks.appended(lsn, run.first());
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
                    // What stood there about members is gone with the entries that said so.
                    self.members.truncate(Index::ZERO);
                }
                if manifest.index >= self.log.base() {
                    self.provisional = false;
                    self.members.restored(manifest);
                }
                self.marks.snapshot(lsn);
                self.marks.compacted(self.log.base(), self.log.last());
            }
        }
        Ok(())
    }

    /// What a snapshot covers may have been released already while an older record, of a snapshot
    /// before that even, is still here: the log begins anew after such a gap.
    fn begin_in_the_middle(&mut self, run: &Run) {
        let before = run.first().previous();
        if before > self.log.last() || (self.provisional && before < self.log.base()) {
            self.provisional = before > Index::ZERO;
            self.log = Tail::after(before, run.previous());
            self.members.truncate(Index::ZERO);
        }
    }

    pub(crate) fn finish(self) -> Result<Raft, RecoverError> {
        if self.provisional {
            return Err(RecoverError {
                lsn: self.newest,
                reason: "the log begins in its middle and no snapshot covers what was before",
            });
        }
        let base = self.log.base();
        let commit = self.commit.min(self.log.last()).max(base);
        Ok(Raft {
            config: StaticConfig(Aside((self.config, self.boot))),
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
            forwarded: Forwarded::default(),
            dismissed: false,
            hung: None,
            marks: Aside(self.marks),
            #[cfg(feature = "faults")]
            late_restore: None,
        })
    }
}
