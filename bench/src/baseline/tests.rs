use super::*;
use consensus_core::kv::{Operation, Outcome, encode};
use std::path::PathBuf;

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bench-baseline-{name}-{}", std::process::id()))
}

async fn ask(floor: &Floor, sequence: u64, operation: &Operation) -> Option<Outcome> {
    let answer = floor
        .call(ClientId(1), Sequence(sequence), encode(operation))
        .await;
    crate::app::kv::result(&answer)
}

fn put(value: &'static [u8]) -> Operation {
    Operation::Put {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(value),
    }
}

#[tokio::test]
async fn every_store_gives_back_what_was_written() {
    for baseline in [Baseline::Unreplicated, Baseline::UnreplicatedSync] {
        let folder = folder(baseline.name());
        let floor = gateway(baseline, &folder).unwrap();
        let written = ask(&floor, 1, &put(b"v")).await.unwrap();
        assert!(
            matches!(written, Outcome::Written { position: 1, .. }),
            "{written:?}"
        );
        let read = ask(
            &floor,
            2,
            &Operation::Get {
                key: Bytes::from_static(b"k"),
            },
        )
        .await;
        let Some(Outcome::Value { value, .. }) = read else {
            panic!("{read:?}")
        };
        assert_eq!(value, "v");
        drop(floor);
        let kept = folder.exists();
        assert_eq!(kept, baseline.is_durable());
        if kept {
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
}

#[tokio::test]
async fn answers_of_the_durable_store_are_on_disk() {
    let folder = folder("disk");
    let floor = gateway(Baseline::UnreplicatedSync, &folder).unwrap();
    let floor = std::sync::Arc::new(floor);
    let mut calls = tokio::task::JoinSet::new();
    for sequence in 1..=100 {
        let floor = std::sync::Arc::clone(&floor);
        calls.spawn(async move { ask(&floor, sequence, &put(b"v")).await });
    }
    assert!(calls.join_all().await.iter().all(Option::is_some));
    drop(floor);
    let identity = wal::Identity {
        cluster: consensus_core::ClusterId(0),
        node: consensus_core::NodeId(1),
    };
    let opened = wal::Wal::open(&folder, identity, wal::Options::default(), Deaf).unwrap();
    assert_eq!(opened.records.len(), 100);
    drop(opened);
    std::fs::remove_dir_all(&folder).unwrap();
}

struct Deaf;

impl consensus_core::storage::Completion for Deaf {
    fn durable(&self, _: consensus_core::GroupId, _: consensus_core::Lsn) {}
    fn failed(&self, _: consensus_core::storage::DiskFailure) {}
    fn full(&self, _: bool) {}
}

#[tokio::test]
async fn an_echo_gives_back_the_body() {
    let floor = gateway(Baseline::Echo, &folder("echo")).unwrap();
    let body = Bytes::from_static(b"anything");
    assert_eq!(
        floor.call(ClientId(1), Sequence(1), body.clone()).await,
        Answer::Done(body)
    );
}

#[test]
fn names_and_baselines_agree() {
    for baseline in Baseline::ALL {
        assert_eq!(Baseline::named(baseline.name()), Some(baseline));
    }
    assert_eq!(Baseline::named("raft"), None);
}
