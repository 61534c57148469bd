//! What is done to the log of a node that does not run: bytes that rot, a block in the wrong place,
//! a disk that is empty.

use super::strike::Striker;
use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use consensus_core::{
    fault::{Fault, Part},
    storage::wal::{RecordPlace, places},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// The unit in which a disk writes.
const BLOCK: u64 = 512;
/// How records begin that hold a node's term, promise, vote or decision, in any protocol here.
const HARD_STATES: [&str; 6] = [
    "HardState",
    "Promised",
    "Decided",
    "Prepared",
    "Voted",
    "Elected",
];

/// Damages the log in `dir`, where a node that is down keeps it. Says what was done.
///
/// # Errors
/// When the log holds nothing that could be damaged so.
pub(super) fn tamper(fault: &Fault, striker: &Striker, dir: &Path) -> anyhow::Result<String> {
    match fault {
        Fault::Rot(_, part) => rot(*part, striker, dir),
        Fault::Misdirect(_) => misdirect(dir),
        Fault::Wipe(_) => {
            fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
            fs::create_dir(dir).with_context(|| format!("making {}", dir.display()))?;
            Ok("its disk was emptied".to_owned())
        }
        other => Err(anyhow!("{} damages no log", other.kind())),
    }
}

/// The records that something later vouches for. Of those that nothing does, a flipped bit cannot
/// be told from a write that a crash tore: no log promises to notice.
fn vouched(dir: &Path) -> anyhow::Result<Vec<RecordPlace>> {
    let found = places(dir).context("looking for records to damage")?;
    let sealed: Vec<_> = found.into_iter().filter(|place| place.sealed).collect();
    match sealed[..] {
        [] => Err(anyhow!(
            "the log in {} holds no sealed record",
            dir.display()
        )),
        _ => Ok(sealed),
    }
}

fn rot(part: Part, striker: &Striker, dir: &Path) -> anyhow::Result<String> {
    let records = vouched(dir)?;
    let place = match part {
        Part::Head => records.first(),
        Part::Middle => records.get(records.len() / 2),
        Part::Tail => records.last(),
        Part::HardState => newest_hard_state(striker, &records)?,
    };
    let place = place.ok_or_else(|| anyhow!("no sealed record of {part:?} in the log"))?;
    let file = open(&place.file)?;
    let at = place.offset + place.bytes / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at)?;
    file.sync_all()?;
    Ok(format!(
        "byte {at} of {} was flipped, in record {} of {} sealed ones",
        name(&place.file),
        place.lsn,
        records.len()
    ))
}

/// The right bytes in the wrong place: the block of one record over that of a later one.
fn misdirect(dir: &Path) -> anyhow::Result<String> {
    let block = |place: &RecordPlace| place.offset / BLOCK * BLOCK;
    let records = vouched(dir)?;
    let mut pairs = records.windows(2).skip(records.len() / 2);
    let (from, to) = pairs
        .find_map(|pair| match pair {
            [a, b] if a.file == b.file && block(a) != block(b) => Some((a, b)),
            _ => None,
        })
        .ok_or_else(|| anyhow!("no two records in blocks of their own"))?;
    let file = open(&from.file)?;
    let mut bytes = [0; BLOCK as usize];
    file.read_exact_at(&mut bytes, block(from))?;
    file.write_all_at(&bytes, block(to))?;
    file.sync_all()?;
    Ok(format!(
        "the block at byte {} of {} was written over the one at byte {}",
        block(from),
        name(&from.file),
        block(to)
    ))
}

fn open(file: &Path) -> anyhow::Result<File> {
    let opened = File::options().read(true).write(true).open(file);
    opened.with_context(|| format!("opening {}", file.display()))
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn newest_hard_state<'a>(
    striker: &Striker,
    records: &'a [RecordPlace],
) -> anyhow::Result<Option<&'a RecordPlace>> {
    for place in records.iter().rev() {
        let mut bytes = vec![0; usize::try_from(place.bytes)?];
        open(&place.file)?.read_exact_at(&mut bytes, place.offset)?;
        let text = striker
            .catalogue
            .record(&striker.algorithm, Bytes::from(bytes))?;
        if HARD_STATES.iter().any(|word| text.starts_with(word)) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}
