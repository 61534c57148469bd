//! Expectations.

use super::Stage;
use crate::{
    Algorithm,
    sim::scenario::{
        plain::plain,
        play::Words,
        step::{Choice, Expect},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

impl<A: Algorithm, W: Words<A>> Stage<A, W> {
    pub(super) fn expect(&mut self, expect: &Expect) -> Result<(), String> {
        let says = |so: bool, otherwise: String| if so { Ok(()) } else { Err(otherwise) };
        match expect {
            Expect::Sent(choice) => self.chosen(choice).map(|_| ()),
            Expect::NoMessage { kind, from } => {
                let text = String::new();
                let choice = Choice {
                    from: *from,
                    to: None,
                    kind: kind.clone(),
                    text,
                };
                match self
                    .world
                    .in_flight()
                    .iter()
                    .find(|(_, f)| Self::matches(f, &choice))
                {
                    None => Ok(()),
                    Some((_, f)) => Err(format!(
                        "under way is {}",
                        plain(&format!("{:?}", f.message))
                    )),
                }
            }
            Expect::Disk { node, holds, text } => {
                let place = self.place(*node)?;
                let disk = &self.world.nodes[place].disk;
                let synced = disk.synced();
                let records: Vec<_> = disk
                    .iter()
                    .filter(|(lsn, _)| *lsn <= synced)
                    .map(|(_, record)| plain(&format!("{record:?}")))
                    .collect();
                let found = records.iter().any(|record| record.contains(text));
                says(
                    found == *holds,
                    format!("on disk are: {}", records.join("; ")),
                )
            }
            Expect::Status { node, text } => {
                let place = self.place(*node)?;
                let process = self.world.nodes[place]
                    .process
                    .as_ref()
                    .ok_or("it is down")?;
                let status = plain(&format!("{:?}", process.protocol.status()));
                says(status.contains(text), format!("its status is {status}"))
            }
            Expect::Up(node, up) => {
                let place = self.place(*node)?;
                says(
                    self.world.nodes[place].process.is_some() == *up,
                    "it is not".to_string(),
                )
            }
            Expect::Blocked => {
                let waiting = self.words.waiting();
                let under_way = self.next_free().len();
                says(
                    waiting > 0 && under_way == 0,
                    format!("{waiting} requests wait and {under_way} messages are under way"),
                )
            }
            Expect::Stuck => {
                if self.free()? {
                    return Err("everybody has been answered".to_string());
                }
                self.is_ended = true;
                Ok(())
            }
            Expect::Contract(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.words
                    .expect(&words)
                    .ok_or("no such expectation; see the table of words")?
            }
        }
    }
}
