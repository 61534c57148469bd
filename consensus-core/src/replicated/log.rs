//! The hosted node's disk, as one replica knows it: what is committed and counts.

use super::command::Command;
use crate::{Boot, DecodeError, Decoder, Field, Lsn, NodeId, Wire};
use alloc::vec::Vec;
use bytes::Bytes;

/// Who began a run: the machine, in which run of its own, and in which attempt of that.
pub(super) type Holder = (NodeId, Boot, u64);

/// What a command has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Applied {
    /// A new run has begun.
    Began(Holder),
    /// A record is durable.
    Wrote(Lsn),
    /// Nothing, or nothing that a host waits for.
    Nothing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Log<R> {
    /// The newest run; zero before the first.
    pub(super) run: Boot,
    pub(super) holder: Option<Holder>,
    /// The newest record that counts.
    pub(super) last: Lsn,
    /// All that are not released.
    pub(super) records: Vec<(Lsn, R)>,
}

impl<R> Default for Log<R> {
    fn default() -> Self {
        Self {
            run: Boot(0),
            holder: None,
            last: Lsn::ZERO,
            records: Vec::new(),
        }
    }
}

impl<R: Wire> Log<R> {
    /// All of it.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.run.put(&mut out);
        self.holder.is_some().put(&mut out);
        if let Some((node, boot, attempt)) = self.holder {
            node.put(&mut out);
            boot.put(&mut out);
            attempt.put(&mut out);
        }
        self.last.put(&mut out);
        let records = self.records.iter().map(|(lsn, record)| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            (*lsn, Bytes::from(bytes))
        });
        records.collect::<Vec<_>>().put(&mut out);
        out.into()
    }

    /// What [`Self::encode`] has written.
    pub(super) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let run = Field::take(&mut input)?;
        let holder = match bool::take(&mut input)? {
            true => Some((
                Field::take(&mut input)?,
                Field::take(&mut input)?,
                Field::take(&mut input)?,
            )),
            false => None,
        };
        let last = Field::take(&mut input)?;
        let records = Vec::<(Lsn, Bytes)>::take(&mut input)?;
        let records = records.into_iter();
        let records = records.map(|(lsn, record)| Ok((lsn, R::decode(record)?)));
        let log = Self {
            run,
            holder,
            last,
            records: records.collect::<Result<_, DecodeError>>()?,
        };
        input.finish("Snapshot")?;
        Ok(log)
    }

    /// Reads the next command of the group's log. What does not decode was not written by a host and
    /// counts for nobody.
    pub(super) fn apply(&mut self, command: &[u8]) -> Applied {
        match Command::decode(Bytes::copy_from_slice(command)) {
            Ok(Command::Begin {
                node,
                boot,
                attempt,
            }) => {
                self.run = Boot(self.run.0 + 1);
                self.holder = Some((node, boot, attempt));
                Applied::Began((node, boot, attempt))
            }
            Ok(Command::Write {
                run,
                previous,
                lsn,
                record,
            }) if run == self.run && previous == self.last => match R::decode(record) {
                Ok(record) => {
                    self.last = lsn;
                    self.records.push((lsn, record));
                    Applied::Wrote(lsn)
                }
                Err(_) => Applied::Nothing,
            },
            Ok(Command::Release { run, before }) if run == self.run => {
                let old = self.records.partition_point(|(lsn, _)| *lsn < before);
                self.records.drain(..old);
                Applied::Nothing
            }
            Ok(Command::Write { .. } | Command::Release { .. }) | Err(_) => Applied::Nothing,
        }
    }
}
