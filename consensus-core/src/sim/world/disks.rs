//! Writing and syncing: the driver keeps stepping while a sync runs, so that the next one covers
//! everything that came in.

use super::{Due, World};
use crate::{
    Algorithm, Input, Invariants, Lsn, Time, Violation,
    sim::trace::{Happening, What},
};
use alloc::{format, string::ToString};

impl<A: Algorithm> World<A> {
    pub(super) fn write(&mut self, place: usize) {
        let Self {
            nodes,
            counts,
            by_node,
            trace,
            now,
            ..
        } = self;
        let node = &mut nodes[place];
        let Some(process) = &mut node.process else {
            return;
        };
        let forced = process.effects.forced;
        let (_, _, records) = process.effects.take_records();
        for record in records {
            let lsn = node.disk.last().next();
            for counts in [&mut *counts, &mut by_node[place]] {
                counts.records += 1;
                counts.forced += u64::from(lsn <= forced);
            }
            if let Some(trace) = trace {
                let text = format!("{record:?}");
                let what = What::Wrote {
                    lsn,
                    text,
                    forced: lsn <= forced,
                };
                trace.push(Happening {
                    at: Time::from_nanos(*now),
                    node: node.id,
                    what,
                });
            }
            node.disk.append(record);
        }
        node.disk.force(forced);
        self.trace_held(place);
        if self.by_hand {
            return;
        }
        let node = &mut self.nodes[place];
        if node.disk.is_wanting() {
            if node.disk.outstanding < self.climate.sync_depth {
                self.start_sync(place);
            }
        } else if node.disk.is_dirty() && !node.lazy {
            node.lazy = true;
            let life = node.life;
            let at = self.now + self.disk_chance.within(10_000_000..=100_000_000);
            self.push(
                at,
                Due::Lazy {
                    node: place as u16,
                    life,
                },
            );
        }
    }

    pub(crate) fn start_sync(&mut self, place: usize) {
        let climate = &self.climate;
        let jitter = match climate.sync_jitter {
            0 => 0,
            mean => self.disk_chance.exponential(mean),
        };
        let node = &mut self.nodes[place];
        let at = self.now + climate.sync_least + jitter + node.disk.slower;
        let upto = node.disk.start_sync().0;
        let life = node.life;
        self.push(
            at,
            Due::Synced {
                node: place as u16,
                life,
                upto,
            },
        );
    }

    /// A sync has ended, well or not.
    pub(crate) fn sync_ended(&mut self, place: usize, upto: Lsn) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        if node.disk.fails {
            // Nothing in this process is trusted again.
            self.note(Some(place), || {
                What::Fault("a sync fails: the node stops".to_string())
            });
            self.crash(place, None);
            self.stopped.push(place);
            return Ok(());
        }
        self.counts.syncs += 1;
        self.by_node[place].syncs += 1;
        node.syncs += 1;
        let news = node.disk.end_sync(upto);
        if news {
            if let Some(process) = &mut node.process {
                process.durable = Some(upto);
            }
            self.note(Some(place), || What::Synced { upto });
            self.report_durable(place)?;
            self.reclaim(place);
            self.ready(place)?;
        }
        let node = &mut self.nodes[place];
        if !self.by_hand
            && node.disk.is_wanting()
            && node.disk.outstanding < self.climate.sync_depth
            && node.process.is_some()
        {
            self.start_sync(place);
        }
        Ok(())
    }

    pub(super) fn report_durable(&mut self, place: usize) -> Result<(), Violation> {
        let Self {
            nodes, invariants, ..
        } = self;
        let node = &mut nodes[place];
        while let Some(record) = node.disk.unreported() {
            invariants.durable(node.id, record)?;
        }
        Ok(())
    }

    pub(super) fn reclaim(&mut self, place: usize) {
        let limit = self.climate.reclaim;
        let node = &mut self.nodes[place];
        if limit == 0 || node.disk.retained() <= limit || !node.syncs.is_multiple_of(8) {
            return;
        }
        let before = Lsn(node.disk.first().0 + node.disk.retained() as u64 / 2);
        if let Some(process) = &mut node.process {
            process.inbox.push(Input::Reclaim(before));
        }
    }

    pub(super) fn trace_held(&mut self, place: usize) {
        let Some(trace) = &mut self.trace else { return };
        let node = &self.nodes[place];
        let Some(process) = &node.process else { return };
        for (to, message) in &process.effects.held {
            let after = process.effects.forced;
            let what = What::Held {
                to: *to,
                text: format!("{message:?}"),
                after,
            };
            let at = Time::from_nanos(self.now);
            let held = Happening {
                at,
                node: node.id,
                what,
            };
            if !trace
                .iter()
                .rev()
                .take(64)
                .any(|h| h.node == held.node && h.what == held.what)
            {
                trace.push(held);
            }
        }
    }
}
