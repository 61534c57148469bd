//! omnipaxos with its own storage in memory. Its log is never trimmed within a turn: neither are its
//! entries freed, which would cost it more.

use crate::{Cluster, PAYLOAD};
use omnipaxos::{
    ClusterConfig, OmniPaxos, OmniPaxosConfig, ServerConfig, macros::Entry, messages::Message,
};
use omnipaxos_storage::memory_storage::MemoryStorage;

#[derive(Clone, Debug, Entry)]
struct Command {
    _payload: Vec<u8>,
}

struct Three {
    nodes: Vec<OmniPaxos<Command, MemoryStorage<Command>>>,
    leader: usize,
    under_way: Vec<Message<Command>>,
    /// How far each node's log has been read.
    read: [usize; 3],
}

impl Three {
    fn settle(&mut self) {
        loop {
            for node in &mut self.nodes {
                node.take_outgoing_messages(&mut self.under_way);
            }
            if self.under_way.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.under_way) {
                let to = message.get_receiver() as usize - 1;
                self.nodes[to].handle_incoming(message);
            }
        }
    }
}

impl Cluster for Three {
    fn decide(&mut self, window: usize) {
        for _ in 0..window {
            let command = Command {
                _payload: vec![7; PAYLOAD],
            };
            let appended = self.nodes[self.leader].append(command);
            appended.expect("a leader takes commands");
        }
        self.settle();
        for (node, read) in self.nodes.iter().zip(&mut self.read) {
            let decided = node
                .read_decided_suffix(*read)
                .map_or(0, |suffix| suffix.len());
            assert_eq!(decided, window, "every node has decided every command");
            *read += decided;
        }
    }
}

pub(crate) fn start() -> Box<dyn Cluster> {
    let node = |pid| {
        let config = OmniPaxosConfig {
            cluster_config: ClusterConfig {
                configuration_id: 1,
                nodes: vec![1, 2, 3],
                ..ClusterConfig::default()
            },
            server_config: ServerConfig {
                pid,
                ..ServerConfig::default()
            },
        };
        config.build(MemoryStorage::default()).expect("it is valid")
    };
    let mut three = Three {
        nodes: (1..=3).map(node).collect(),
        leader: 0,
        under_way: Vec::new(),
        read: [0; 3],
    };
    while three
        .nodes
        .iter()
        .any(|node| node.get_current_leader().is_none())
    {
        three.nodes.iter_mut().for_each(OmniPaxos::tick);
        three.settle();
    }
    // Once more, so that the leader has prepared.
    three.settle();
    let leader = three.nodes[0].get_current_leader().expect("just elected");
    three.leader = leader.0 as usize - 1;
    Box::new(three)
}
