//! raft-rs with its own storage in memory, driven by its ready loop. Followers learn of the last commit
//! with the next append or heartbeat: a heartbeat after each window tells them.

use crate::{Cluster, PAYLOAD};
use raft_rs::{Config, RawNode, StateRole, prelude::Message, storage::MemStorage};
use slog::{Discard, Logger, o};

struct Three {
    nodes: Vec<RawNode<MemStorage>>,
    under_way: Vec<Message>,
    decided: [u64; 3],
}

fn commands(entries: &[raft_rs::prelude::Entry]) -> u64 {
    entries
        .iter()
        .filter(|entry| !entry.data.is_empty())
        .count() as u64
}

impl Three {
    /// One round of a node's ready loop; whether there was anything to do.
    fn ready(&mut self, place: usize) -> bool {
        let node = &mut self.nodes[place];
        if !node.has_ready() {
            return false;
        }
        let mut ready = node.ready();
        self.under_way.extend(ready.take_messages());
        self.decided[place] += commands(&ready.take_committed_entries());
        if !ready.entries().is_empty() {
            let stored = node.store().wl().append(ready.entries());
            stored.expect("memory takes everything");
        }
        if let Some(state) = ready.hs() {
            node.store().wl().set_hardstate(state.clone());
        }
        self.under_way.extend(ready.take_persisted_messages());
        let mut light = node.advance(ready);
        if let Some(commit) = light.commit_index() {
            node.store().wl().mut_hard_state().set_commit(commit);
        }
        self.under_way.extend(light.take_messages());
        self.decided[place] += commands(&light.take_committed_entries());
        node.advance_apply();
        true
    }

    fn settle(&mut self) {
        loop {
            let busy = (0..3).fold(false, |busy, place| self.ready(place) || busy);
            if !busy && self.under_way.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.under_way) {
                let to = message.to as usize - 1;
                self.nodes[to].step(message).expect("peers know each other");
            }
        }
    }
}

impl Cluster for Three {
    fn decide(&mut self, window: usize) {
        let before = self.decided;
        for _ in 0..window {
            let proposed = self.nodes[0].propose(Vec::new(), vec![7; PAYLOAD]);
            proposed.expect("a leader takes commands");
        }
        self.settle();
        self.nodes[0].ping();
        self.settle();
        for (now, before) in self.decided.iter().zip(before) {
            assert_eq!(
                now - before,
                window as u64,
                "every node has decided every command"
            );
        }
    }
}

pub(crate) fn start() -> Box<dyn Cluster> {
    let logger = Logger::root(Discard, o!());
    let node = |id| {
        let config = Config {
            id,
            election_tick: 10,
            heartbeat_tick: 3,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            ..Config::default()
        };
        let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], Vec::new()));
        RawNode::new(&config, storage, &logger).expect("it is valid")
    };
    let mut three = Three {
        nodes: (1..=3).map(node).collect(),
        under_way: Vec::new(),
        decided: [0; 3],
    };
    three.nodes[0].campaign().expect("nobody leads");
    three.settle();
    assert_eq!(three.nodes[0].raft.state, StateRole::Leader);
    Box::new(three)
}
