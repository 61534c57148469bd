//! `cargo xtask wal`: what lies on a node's disk, without touching it.

use crate::{
    ending::{DONE, FAILED, one_line, refused},
    flags::WalFlags,
};
use consensus_core::storage::wal::{Inspection, OpenError, SegmentReport, inspect};
use std::fmt::Write as _;

/// The command.
pub(crate) fn run(flags: &WalFlags) -> anyhow::Result<u8> {
    let found = inspect(&flags.directory).map_err(refused)?;
    crate::output::show!("{}", shown(&found));
    Ok(match found.problem {
        None => DONE,
        Some(problem) => {
            // In use is not damaged, and neither is a log that only a newer build can read.
            let status = match problem {
                OpenError::Locked { .. } => DONE,
                _ => FAILED,
            };
            eprintln!("problem: {}", one_line(&problem.into()));
            status
        }
    })
}

/// A log for people.
fn shown(found: &Inspection) -> String {
    let mut text = format!(
        "{}\ncluster {}  node {}  disk {}  run {}\n",
        found.dir.display(),
        found.cluster,
        found.node,
        found.disk,
        found.boot
    );
    for segment in &found.segments {
        text.push_str(&segment_shown(segment));
    }
    if let Some(torn) = &found.torn {
        let _ = writeln!(
            text,
            "torn tail: {torn:?}; nothing in it was acknowledged, opening the log cuts it"
        );
    }
    if found.problem.is_none() {
        text.push_str("whole: every segment and every record verifies\n");
    }
    text
}

fn segment_shown(segment: &SegmentReport) -> String {
    let name = segment.file.file_name().unwrap_or_default();
    let mut text = format!(
        "{}  run {}  {} of {} bytes  {} groups, {} seals  {}\n",
        name.display(),
        segment.boot,
        segment.used,
        segment.bytes,
        segment.groups,
        segment.seals,
        if segment.sealed {
            "sealed"
        } else {
            "not sealed"
        }
    );
    for (group, range) in &segment.records {
        let _ = writeln!(
            text,
            "  group {group}: records {} to {}, {} bytes",
            range.first, range.last, range.bytes
        );
    }
    for (group, before) in &segment.released {
        let _ = writeln!(
            text,
            "  group {group}: records before {before} are not needed"
        );
    }
    if let Some(flaw) = &segment.flaw {
        let what = if flaw.sealed { "DAMAGE" } else { "torn" };
        let _ = writeln!(text, "  {what} from byte {}: {}", flaw.offset, flaw.what);
    }
    text
}
