//! On the operating system's files.

use crate::support::{Folder, GROUP, Reports, WHO, batch, contents, put, record};
use consensus_core::{
    Boot, GroupId, Lsn, NodeId,
    storage::{
        Disk,
        wal::{FormatError, Identity, OpenError, Options, Wal, format},
    },
};

#[test]
fn an_acknowledged_record_is_there_after_a_restart() {
    let folder = Folder::new("restart");
    let disk = format(folder.path(), WHO).unwrap();
    let reports = Reports::default();
    let mut opened = Wal::open(folder.path(), WHO, Options::default(), reports.clone()).unwrap();
    assert_eq!((opened.boot, opened.disk), (Boot(1), disk));
    assert!(opened.records.is_empty());
    put(&mut opened.wal, &reports, 1, b"one");
    opened.wal.append(batch(GROUP, 2, &[b"two", b"", b"four"]));
    opened.wal.append(batch(GroupId(7), 1, &[b"other"]));
    drop(opened);

    let opened = Wal::open(folder.path(), WHO, Options::default(), Reports::default()).unwrap();
    assert_eq!((opened.boot, opened.disk), (Boot(2), disk));
    let (ours, others) = opened.records.split_at(4);
    let expected: [&[u8]; 4] = [b"one", b"two", b"", b"four"];
    assert_eq!(
        contents(ours),
        (1..).zip(expected.map(<[u8]>::to_vec)).collect::<Vec<_>>()
    );
    assert_eq!(contents(others), [(1, b"other".to_vec())]);
    assert_eq!(opened.durable(GROUP), Lsn(4));
    assert_eq!(opened.report.torn, None);
}

#[test]
fn a_record_that_nobody_waits_for_becomes_durable_by_itself() {
    let folder = Folder::new("lazy");
    format(folder.path(), WHO).unwrap();
    let reports = Reports::default();
    let mut opened = Wal::open(folder.path(), WHO, Options::default(), reports.clone()).unwrap();
    let mut lazy = record(1, b"lazy");
    lazy.forced = false;
    opened.wal.append(lazy);
    reports.until_durable(1);
    assert_eq!(opened.wal.backlog(), 0);
}

#[test]
fn an_empty_folder_is_never_formatted_on_the_way() {
    let folder = Folder::new("empty");
    let open = || Wal::open(folder.path(), WHO, Options::default(), Reports::default());
    assert!(matches!(open(), Err(OpenError::NotFormatted { .. })));
    std::fs::create_dir(folder.path()).unwrap();
    assert!(matches!(open(), Err(OpenError::NotFormatted { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_holds_something_is_not_formatted() {
    let folder = Folder::new("twice");
    format(folder.path(), WHO).unwrap();
    let again = format(folder.path(), WHO);
    assert!(
        matches!(again, Err(FormatError::NotEmpty { .. })),
        "{again:?}"
    );
}

#[test]
fn a_log_is_open_once_at_a_time() {
    let folder = Folder::new("lock");
    format(folder.path(), WHO).unwrap();
    let open = || Wal::open(folder.path(), WHO, Options::default(), Reports::default());
    let first = open().unwrap();
    assert!(matches!(open(), Err(OpenError::Locked { .. })));
    drop(first);
    assert_eq!(open().unwrap().boot, Boot(2));
}

#[test]
fn another_node_does_not_open_the_log() {
    let folder = Folder::new("foreign");
    format(folder.path(), WHO).unwrap();
    let other = Identity {
        node: NodeId(4),
        ..WHO
    };
    let opened = Wal::open(folder.path(), other, Options::default(), Reports::default());
    let Err(OpenError::Foreign { what, .. }) = opened else {
        panic!("opened another node's log");
    };
    assert_eq!(what, "node");
}
