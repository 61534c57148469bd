//! A disk that forgets: for benchmarks that leave the disk out, and for nodes whose operator chose
//! not to survive a crash.

use super::{Append, Completion, Disk};
use crate::{GroupId, Lsn};

/// Calls every record durable at once, and keeps none.
///
/// The [`Completion`] is called from inside [`Disk::append`], on the caller's thread, before it
/// returns. A node on this disk comes back empty: it must come back as another node (a new
/// [`DiskId`](crate::DiskId)), never under its old name.
#[derive(Debug)]
pub struct MemoryDisk<C> {
    completion: C,
}

impl<C: Completion> MemoryDisk<C> {
    /// Reports to `completion`.
    pub const fn new(completion: C) -> Self {
        Self { completion }
    }
}

impl<C: Completion> Disk for MemoryDisk<C> {
    fn append(&mut self, append: Append) {
        if append.count() > 0 {
            self.completion.durable(append.group, append.last());
        }
    }

    fn keeps(&self) -> bool {
        false
    }

    fn release(&mut self, _: GroupId, _: Lsn) {}

    fn backlog(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::DiskFailure;
    use std::{
        sync::{Arc, Mutex},
        vec::Vec,
    };

    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<(GroupId, Lsn)>>>);

    impl Completion for Told {
        fn durable(&self, group: GroupId, lsn: Lsn) {
            self.0.lock().expect("one thread").push((group, lsn));
        }
        fn failed(&self, failure: DiskFailure) {
            panic!("{failure}");
        }
        fn full(&self, _: bool) {}
    }

    #[test]
    fn records_are_durable_when_append_returns() {
        let told = Told::default();
        let mut disk = MemoryDisk::new(told.clone());
        let mut append = Append::new(GroupId(2), Lsn(5));
        disk.append(append.clone());
        append.push(|out| out.push(1));
        append.push(|_| {});
        disk.append(append);
        assert_eq!(*told.0.lock().expect("one thread"), [(GroupId(2), Lsn(6))]);
        assert_eq!(disk.backlog(), 0);
    }
}
