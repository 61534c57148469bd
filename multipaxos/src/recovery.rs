//! Rebuilding a node from its records.

use crate::{
    config::Config,
    election::Pulse,
    group::Group,
    node::{MultiPaxos, Role},
    reclaim::Marks,
    record::Record,
    slots::Slots,
};
use alloc::{boxed::Box, sync::Arc};
use consensus_core::{
    Aside, Ballot, Boot, Index, Lsn, NodeId, RecoverError, Since,
    contract::replicated_log::Manifest, log::Run,
};

/// A node while its records are read.
pub(crate) struct Recovery {
    config: Config,
    boot: Boot,
    promised: Ballot,
    since: Lsn,
    newest: Lsn,
    slots: Slots,
    chosen: Index,
    snapshot: Option<Box<Manifest>>,
    marks: Marks,
}

impl Recovery {
    pub(crate) fn new(config: Config, boot: Boot) -> Self {
        Self {
            config,
            boot,
            promised: Ballot::ZERO,
            since: Lsn::ZERO,
            newest: Lsn::ZERO,
            slots: Slots::default(),
            chosen: Index::ZERO,
            snapshot: None,
            marks: Marks::default(),
        }
    }

    pub(crate) fn replay(&mut self, lsn: Lsn, record: Record) -> Result<(), RecoverError> {
        self.newest = lsn;
        if let Record::Accepted { run, .. } | Record::Kept { run, .. } | Record::Learned { run } =
            &record
        {
            self.marks.wrote(lsn, run.last());
        }
        match record {
            Record::Promised { ballot } => self.promise(lsn, ballot)?,
            Record::Accepted { ballot, run } => {
                self.promise(lsn, ballot)?;
                self.put(ballot, &run);
            }
            Record::Kept { ballot, run } => self.put(ballot, &run),
            // What came before may have been released, and is then written anew further on: what does
            // not follow says nothing yet. Not knowing that something is chosen costs only time.
            Record::Learned { run } => {
                if run.first() <= self.chosen.next() {
                    self.put(run.epoch().ballot(), &run);
                    self.chosen = self.chosen.max(run.last());
                }
            }
            Record::Chosen { through } => {
                if through <= self.slots.filled_through(self.chosen.next(), through) {
                    self.chosen = self.chosen.max(through);
                }
            }
            Record::Snapshot { manifest } => self.restore(manifest),
        }
        Ok(())
    }

    fn promise(&mut self, lsn: Lsn, ballot: Ballot) -> Result<(), RecoverError> {
        if ballot < self.promised {
            let reason = "its ballot is older than the promise before it";
            return Err(RecoverError { lsn, reason });
        }
        if ballot > self.promised {
            (self.promised, self.since) = (ballot, lsn);
        }
        Ok(())
    }

    /// What is chosen stays.
    fn put(&mut self, ballot: Ballot, run: &Run) {
        if let Some(rest) = run.cut(self.chosen.next()..run.last().next()) {
            self.slots.put(ballot, rest);
        }
    }

    fn restore(&mut self, manifest: Box<Manifest>) {
        // The slots may lack what the snapshot covers: a replica is told of it before its own disk
        // has the entries.
        self.chosen = self.chosen.max(manifest.index);
        self.slots.compact(manifest.index, manifest.epoch);
        self.snapshot = Some(manifest);
    }

    /// Who belongs, as of the snapshot and what was chosen since.
    fn group(&self, chosen: Index) -> Group {
        let options = &self.config.options;
        let mut group = match &self.snapshot {
            Some(manifest) => Group::restored(manifest, options),
            None => Group::new(self.config.members.clone(), options),
        };
        let known = self.snapshot.as_ref().map_or(Index::ZERO, |m| m.index);
        self.slots
            .memberships(known.next(), chosen, |entry, members| {
                group.decide(entry, members, options);
            });
        group.chosen(chosen);
        group
    }

    pub(crate) fn finish(self) -> MultiPaxos {
        let base = self.slots.base();
        let chosen = self.chosen.max(base);
        let group = self.group(chosen);
        MultiPaxos {
            own: Ballot {
                round: 0,
                node: self.config.node,
                boot: self.boot,
            },
            pulse: Pulse::new(&group, self.config.node),
            config: Aside(self.config),
            promised: self.promised,
            slots: self.slots,
            snapshot: self.snapshot,
            marks: Aside(self.marks),
            group: Arc::new(group),
            group_changed: false,
            sending: alloc::vec::Vec::new(),
            chosen,
            told: base,
            chosen_recorded: chosen,
            leader_chosen: Index::ZERO,
            ahead: (Index::ZERO, NodeId(0)),
            acknowledge: None,
            grant: None,
            since: Since::new(self.since, self.newest),
            role: Role::Follower,
            leader: Ballot::ZERO,
            leader_told: None,
        }
    }
}
