//! Reading one segment, without a judgement: what is whole, where that ends, and whether anything
//! whole follows after.

use super::layout::{Flaw, Frame, GroupHeader, SECTOR, SegmentHeader, align};
use crate::{GroupId, Lsn};
use std::vec::Vec;

/// A whole group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) sequence: u64,
    pub(super) frames: Vec<Frame>,
}

/// Where reading stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stop {
    pub(super) offset: u64,
    pub(super) flaw: Flaw,
    /// A later group's header is whole, so what lay here had been acknowledged.
    pub(super) sealed: bool,
    /// Records that later groups show to have been written: of each group the newest known.
    pub(super) known: Vec<(GroupId, Lsn)>,
}

/// One segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scan {
    /// The whole groups from the start without a gap.
    pub(super) groups: Vec<Group>,
    /// Where they end.
    pub(super) end: u64,
    /// The last one's number and checksum; the segment header's when there is none.
    pub(super) sequence: u64,
    pub(super) chain: u32,
    /// None when only zeros follow.
    pub(super) stop: Option<Stop>,
    /// Bytes from `end` to the last that is not zero.
    pub(super) garbage: u64,
}

/// Reads the segment `bytes`.
pub(super) fn scan(bytes: &[u8], header: &SegmentHeader, seed: u32) -> Scan {
    let mut scan = Scan {
        groups: Vec::new(),
        end: header.end(),
        sequence: header.sequence,
        chain: header.chain,
        stop: None,
        garbage: 0,
    };
    let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let used = used as u64;
    while scan.end < used {
        match next(bytes, &scan, seed) {
            Ok((group, chain)) => {
                scan.end = align(group.offset + group.length);
                scan.sequence = group.sequence;
                scan.chain = chain;
                scan.groups.push(group);
            }
            Err(flaw) => {
                scan.garbage = used - scan.end;
                scan.stop = Some(beyond(bytes, &scan, seed, flaw, used));
                break;
            }
        }
    }
    scan
}

/// The group that follows what `scan` has.
fn next(bytes: &[u8], scan: &Scan, seed: u32) -> Result<(Group, u32), Flaw> {
    let header = GroupHeader::decode(bytes, scan.end, seed)?;
    if header.sequence != scan.sequence + 1 {
        return Err(Flaw::Content("a group's number does not follow"));
    }
    if header.previous != scan.chain {
        return Err(Flaw::Content("a group follows another one than this"));
    }
    let mut frames = Vec::new();
    header.frames(bytes, scan.end, &mut frames)?;
    let group = Group {
        offset: scan.end,
        length: header.length,
        sequence: header.sequence,
        frames,
    };
    Ok((group, header.chain))
}

/// Looks behind a flaw for a later group. Its sector may be anywhere: lengths in damaged bytes are
/// not to be believed.
fn beyond(bytes: &[u8], scan: &Scan, seed: u32, flaw: Flaw, used: u64) -> Stop {
    let mut stop = Stop {
        offset: scan.end,
        flaw,
        sealed: false,
        known: Vec::new(),
    };
    // The damaged group's own header may still be good for the names of what it held.
    if let Ok(header) = GroupHeader::decode(bytes, scan.end, seed) {
        note(bytes, scan.end, &header, &mut stop.known);
    }
    let mut offset = scan.end + SECTOR;
    while offset < used {
        let Ok(header) = GroupHeader::decode(bytes, offset, seed) else {
            offset += SECTOR;
            continue;
        };
        stop.sealed |= header.sequence > scan.sequence + 1;
        note(bytes, offset, &header, &mut stop.known);
        offset = align(offset + header.length);
    }
    stop
}

/// Notes what a group shows to have been written: its frames, and what it seals.
fn note(bytes: &[u8], offset: u64, header: &GroupHeader, known: &mut Vec<(GroupId, Lsn)>) {
    known.extend_from_slice(&header.sealed);
    let mut frames = Vec::new();
    // Those before a flaw are as good as any.
    let _ = header.frames(bytes, offset, &mut frames);
    for frame in frames {
        if let Frame::Records {
            group, first, ends, ..
        } = frame
            && !ends.is_empty()
        {
            known.push((group, Lsn(first.0 + ends.len() as u64 - 1)));
        }
    }
}

#[cfg(test)]
mod tests {
    //! Bytes whose checksums hold and whose content was made up (ST-16): no length is believed
    //! before it is held against what is there.

    use super::*;
    use crate::{Boot, ClusterId, DiskId, NodeId, storage::wal::layout::GroupBuffer};
    use proptest::{collection::vec, prelude::*};

    fn segment() -> (SegmentHeader, Vec<u8>, u32) {
        let header = SegmentHeader {
            cluster: ClusterId(1),
            node: NodeId(1),
            disk: DiskId(1),
            boot: Boot(1),
            number: 1,
            previous_end: 0,
            sequence: 0,
            chain: 0,
            standings: Vec::new(),
        };
        let (bytes, seed) = header.encode();
        (header, bytes, seed)
    }

    /// A segment with one group of one record, in which `change` may write what it likes before the
    /// checksums are filled in.
    fn forged(change: impl FnOnce(&mut [u8])) -> Scan {
        let (header, mut bytes, seed) = segment();
        let mut append = crate::storage::Append::new(GroupId(0), Lsn(1));
        append.push(|out| out.extend_from_slice(b"payload"));
        let mut group = GroupBuffer::default();
        group.start(&[]);
        group.append(append);
        group.finish(seed, 512, 1, 0);
        group.forge(seed, 512, change);
        bytes.extend_from_slice(group.bytes());
        scan(&bytes, &header, seed)
    }

    fn put(at: usize, value: u32) -> impl FnOnce(&mut [u8]) {
        move |bytes| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes())
    }

    #[test]
    fn an_unforged_group_is_whole() {
        let scan = forged(|_| {});
        assert_eq!((scan.groups.len(), scan.stop), (1, None));
    }

    #[test]
    fn st_16_a_length_that_cannot_be_is_refused_though_its_checksum_holds() {
        // Length of the group, frames in it, seals; length, count and kind of the frame.
        for at in [16, 28, 32, 40 + 4, 40 + 12, 40 + 24] {
            for value in [0, 1 << 31, u32::MAX] {
                let scan = forged(put(at, value));
                let harmless = at == 32 && value == 0;
                assert_eq!(scan.stop.is_some(), !harmless, "byte {at} set to {value}");
            }
        }
    }

    #[test]
    fn a_number_at_the_end_of_all_numbers_is_refused() {
        let scan = forged(|bytes| bytes[40 + 16..40 + 24].fill(0xff));
        let stop = scan.stop.expect("taken");
        assert_eq!(
            stop.flaw,
            Flaw::Content("a record's number is out of range")
        );
    }

    proptest! {
        #[test]
        fn st_16_no_bytes_make_it_panic(garbage in vec(any::<u8>(), 0..2048), keep in 0..600_usize) {
            let (header, mut bytes, seed) = segment();
            bytes.truncate(keep);
            bytes.extend_from_slice(&garbage);
            let _ = SegmentHeader::decode(&bytes);
            let _ = super::super::layout::Stored::decode(&bytes);
            let _ = scan(&bytes, &header, seed);
        }
    }
}
