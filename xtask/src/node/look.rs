//! What operators see of a node.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The part of [`Client::inspect`](net_quic::Client::inspect)'s JSON that commands use.
#[derive(Clone, PartialEq, Eq, Deserialize, Default, Debug)]
pub(crate) struct Look {
    /// Who decides for the others, as the node knows.
    pub(crate) leader: Option<u16>,
    /// What the driver has counted since the start.
    counts: BTreeMap<String, u64>,
    /// What the transport has counted since the start.
    transport: BTreeMap<String, u64>,
}

impl Look {
    /// The last entry of a log whose effect its state has; zero where there is no log.
    pub(crate) fn applied(&self) -> u64 {
        self.counts.get("applied").copied().unwrap_or_default()
    }

    /// One counter of the transport; zero when it has none of that name.
    pub(crate) fn transport(&self, name: &str) -> u64 {
        self.transport.get(name).copied().unwrap_or_default()
    }

    /// The counters that costs are made of, under names of their own.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let sent = |suffix: &str| {
            let lanes = ["sent_control", "sent_log", "sent_bulk"];
            let counts = lanes
                .iter()
                .filter_map(|lane| self.transport.get(&format!("{lane}{suffix}")));
            counts.sum()
        };
        let mut counters = self.counts.clone();
        counters.insert("messages".to_owned(), sent(""));
        counters.insert("bytes".to_owned(), sent("_bytes"));
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_count_what_was_sent_in_every_class() {
        let mut look = Look::default();
        for (name, count) in [
            ("sent_log", 5),
            ("sent_control", 2),
            ("sent_log_bytes", 500),
            ("received_log", 9),
        ] {
            look.transport.insert(name.to_owned(), count);
        }
        look.counts.insert("syncs".to_owned(), 3);
        let counters = look.counters();
        assert_eq!(
            (counters["messages"], counters["bytes"], counters["syncs"]),
            (7, 500, 3)
        );
    }
}
