//! Both protocols' safety properties, and those that hold them together.
//!
//! | property | says |
//! |---|---|
//! | `one_disk` | all replicas that know a record of the hosted node know the same |
//! | `leadership_is_proven` | what a host says after a newer run has recovered elsewhere never leaves it, unless it was said early |
//!
//! The hosted node's records are durable when the first replica knows them to be committed.

use super::{
    Config, HOSTED, Hosting, Message, Record, Replicated,
    node::{Group, MessageOf, Outer, RecordOf},
    run::Role,
};
use crate::{Algorithm, Boot, Invariants, Lsn, NodeId, Protocol, Violation};
use alloc::{collections::BTreeMap, format, vec::Vec};

type GroupInvariants<H> = <Group<H> as Algorithm>::Invariants;
type OuterInvariants<H> = <Outer<H> as Algorithm>::Invariants;

/// Names of all of them: the two above, the outer protocol's, the group's.
struct Names<H>(core::marker::PhantomData<H>);

impl<H: Hosting> Names<H> {
    const MAX: usize = 64;
    const OUTER: &'static [&'static str] = <OuterInvariants<H> as Invariants<Outer<H>>>::PROPERTIES;
    const GROUP: &'static [&'static str] = <GroupInvariants<H> as Invariants<Group<H>>>::PROPERTIES;
    const OWN: &'static [&'static str] = &["one_disk", "leadership_is_proven"];
    const ALL: [&'static str; 64] = {
        let mut all = [""; 64];
        let mut at = 0;
        let lists = [Self::OWN, Self::OUTER, Self::GROUP];
        let mut list = 0;
        while list < lists.len() {
            let mut i = 0;
            while i < lists[list].len() {
                assert!(at < Self::MAX, "more properties than a list holds");
                all[at] = lists[list][i];
                (at, i) = (at + 1, i + 1);
            }
            list += 1;
        }
        all
    };
}

/// Watches a whole cluster.
pub struct ReplicatedInvariants<H: Hosting> {
    group: GroupInvariants<H>,
    outer: OuterInvariants<H>,
    disk: BTreeMap<Lsn, <Outer<H> as Protocol>::Record>,
    /// The newest record of the hosted node that each replica has been compared up to.
    seen: BTreeMap<NodeId, Lsn>,
    /// The newest run that has recovered, and what older hosts had said by then.
    newest: Boot,
    said: BTreeMap<NodeId, (Boot, u64)>,
    allowed: BTreeMap<NodeId, (Boot, u64)>,
    own: [u64; 2],
    judged: Vec<u64>,
}

impl<H: Hosting> Clone for ReplicatedInvariants<H> {
    fn clone(&self) -> Self {
        Self {
            group: self.group.clone(),
            outer: self.outer.clone(),
            disk: self.disk.clone(),
            seen: self.seen.clone(),
            newest: self.newest,
            said: self.said.clone(),
            allowed: self.allowed.clone(),
            own: self.own,
            judged: self.judged.clone(),
        }
    }
}

impl<H: Hosting> ReplicatedInvariants<H> {
    fn count(&mut self) {
        self.judged.clear();
        self.judged.extend(self.own);
        self.judged.extend(self.outer.judged());
        self.judged.extend(self.group.judged());
    }

    fn one_disk(&mut self, node: NodeId, state: &Replicated<H>) -> Result<(), Violation> {
        let seen = self.seen.entry(node).or_default();
        if *seen > state.log.last {
            // It has begun anew.
            *seen = Lsn::ZERO;
        }
        let first = state.log.records.partition_point(|(lsn, _)| *lsn <= *seen);
        *seen = state.log.last;
        for (lsn, record) in &state.log.records[first..] {
            self.own[0] += 1;
            match self.disk.get(lsn) {
                Some(known) if known == record => {}
                Some(known) => {
                    return Err(Violation {
                        property: "one_disk",
                        detail: format!(
                            "record {lsn} is {record:?} at node {node} and {known:?} elsewhere"
                        ),
                    });
                }
                None => {
                    self.disk.insert(*lsn, record.clone());
                    self.outer.durable(HOSTED, record)?;
                }
            }
        }
        Ok(())
    }

    /// Whoever hosts an older run than the newest may let go of what it had said before that recovered,
    /// and of nothing else.
    fn leadership(&mut self, node: NodeId, state: &Replicated<H>) -> Result<(), Violation> {
        let Role::Hosting(hosted) = &state.role else {
            return Ok(());
        };
        if hosted.run > self.newest {
            self.newest = hosted.run;
            self.allowed = core::mem::take(&mut self.said);
        }
        let (said, left) = hosted.parcels;
        if hosted.run == self.newest {
            self.said.insert(node, (hosted.run, said));
            return Ok(());
        }
        self.own[1] += 1;
        let allowed = match self.allowed.get(&node) {
            Some((run, said)) if *run == hosted.run => *said,
            _ => return Ok(()),
        };
        if left <= allowed {
            return Ok(());
        }
        Err(Violation {
            property: "leadership_is_proven",
            detail: format!(
                "node {node} hosts run {} and has let {left} parcels go, of which it had made {allowed} when run {} recovered",
                hosted.run, self.newest
            ),
        })
    }
}

impl<H: Hosting> Invariants<Replicated<H>> for ReplicatedInvariants<H> {
    const PROPERTIES: &'static [&'static str] = {
        let all: &'static [&'static str; 64] = &Names::<H>::ALL;
        let count = Names::<H>::OWN.len() + Names::<H>::OUTER.len() + Names::<H>::GROUP.len();
        all.split_at(count).0
    };

    fn new(config: &Config<H>) -> Self {
        let mut new = Self {
            group: GroupInvariants::<H>::new(&config.group),
            outer: OuterInvariants::<H>::new(&config.own),
            disk: BTreeMap::new(),
            seen: BTreeMap::new(),
            newest: Boot(0),
            said: BTreeMap::new(),
            allowed: BTreeMap::new(),
            own: [0; 2],
            judged: Vec::new(),
        };
        new.count();
        new
    }

    fn durable(&mut self, node: NodeId, record: &RecordOf<H>) -> Result<(), Violation> {
        match record {
            Record::Group(record) => self.group.durable(node, record),
            Record::Own(record) => self.outer.durable(node, record),
            // Judged when it is restored, by `one_disk`.
            Record::Snapshot { .. } => Ok(()),
        }
    }

    fn sent(&mut self, node: NodeId, message: &MessageOf<H>) -> Result<(), Violation> {
        match message {
            Message::Group(message) => self.group.sent(node, message),
            Message::Own(message) | Message::ToHosted(message) => self.outer.sent(node, message),
            Message::FromHosted { message, .. } => self.outer.sent(HOSTED, message),
            Message::Snapshot { .. } | Message::SnapshotWanted { .. } => Ok(()),
        }
    }

    fn told(
        &mut self,
        node: NodeId,
        event: &<Replicated<H> as Protocol>::Event,
    ) -> Result<(), Violation> {
        self.outer.told(node, event)
    }

    fn stepped(&mut self, node: NodeId, state: &Replicated<H>) -> Result<(), Violation> {
        if let Some(group) = &state.group {
            self.group.stepped(node, &group.protocol)?;
        }
        for event in &state.recent {
            self.group.told(node, event)?;
        }
        self.one_disk(node, state)?;
        self.leadership(node, state)?;
        self.outer.stepped(node, &state.own.protocol)?;
        if let Role::Hosting(hosted) = &state.role {
            self.outer.stepped(HOSTED, &hosted.protocol)?;
        }
        self.count();
        Ok(())
    }

    fn judged(&self) -> &[u64] {
        &self.judged
    }
}
