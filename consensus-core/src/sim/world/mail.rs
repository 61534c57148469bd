//! Messages on their way.

use super::{Due, Flight, World};
use crate::{Algorithm, Early, Input, Invariants, NodeId, Violation, Wire, sim::trace::What};
use alloc::{format, vec::Vec};
use core::hash::{Hash, Hasher};

impl<A: Algorithm> World<A> {
    pub(super) fn send(
        &mut self,
        place: usize,
        to: NodeId,
        message: A::Message,
        early: Option<Early>,
    ) -> Result<(), Violation> {
        let from = self.nodes[place].id;
        self.invariants.sent(from, &message)?;
        let kind = message.kind();
        message.hash(&mut self.hash);
        match self.kinds.iter().position(|known| *known == kind) {
            Some(known) => self.kind_counts[known] += 1,
            None => {
                self.kinds.push(kind);
                self.kind_counts.push(1);
            }
        }
        self.messages += 1;
        let id = self.messages;
        self.note(Some(place), || What::Sent {
            id,
            to,
            kind,
            text: format!("{message:?}"),
            early,
        });
        let Some(target) = self.members.position(to) else {
            return Ok(());
        };
        if target == place {
            // To oneself: free, and at once.
            if let Some(process) = &mut self.nodes[place].process {
                process.inbox.push(Input::Receive { from, message });
            }
            return Ok(());
        }
        self.counts.messages += 1;
        self.by_node[place].messages += 1;
        let message = if self.climate.wire {
            let before = self.counts.bytes;
            let message = self.through_bytes(message)?;
            self.by_node[place].bytes += self.counts.bytes - before;
            message
        } else {
            message
        };
        let flight = Flight {
            id,
            from: place as u16,
            to: target as u16,
            message,
        };
        if self.by_hand {
            self.put_flight(flight);
            return Ok(());
        }
        let fate = self.network.route(self.now, place, target, kind);
        if let Some(at) = fate.again {
            let flight = self.put_flight(flight.clone());
            self.push(at, Due::Arrive(flight));
        }
        match fate.arrives {
            Some(at) => {
                let flight = self.put_flight(flight);
                self.push(at, Due::Arrive(flight));
            }
            None => self.note(Some(place), || What::Lost { id, from, to, kind }),
        }
        Ok(())
    }

    pub(super) fn through_bytes(&mut self, message: A::Message) -> Result<A::Message, Violation> {
        self.bytes.clear();
        message.encode(&mut self.bytes);
        self.counts.bytes += self.bytes.len() as u64;
        match A::Message::decode(bytes::Bytes::copy_from_slice(&self.bytes)) {
            Ok(read) if read == message => Ok(read),
            read => Err(Violation {
                property: "codec",
                detail: format!("{message:?} reads back as {read:?}"),
            }),
        }
    }

    /// A message arrives, unless nobody is there.
    pub(crate) fn arrive(&mut self, flight: Flight<A::Message>) -> Result<(), Violation> {
        let place = usize::from(flight.to);
        let from = self.nodes[usize::from(flight.from)].id;
        let (id, kind) = (flight.id, flight.message.kind());
        self.hash.write_u64(id);
        let to = self.nodes[place].id;
        if self.trace.is_some() {
            let what = match self.nodes[place].process {
                Some(_) => What::Received {
                    id,
                    from,
                    text: format!("{:?}", flight.message),
                },
                None => What::Lost { id, from, to, kind },
            };
            self.note(Some(place), || what);
        }
        let Some(process) = &mut self.nodes[place].process else {
            return Ok(());
        };
        process.inbox.push(Input::Receive {
            from,
            message: flight.message,
        });
        self.ready(place)
    }

    pub(super) fn put_flight(&mut self, flight: Flight<A::Message>) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.flights[place as usize] = Some(flight);
                place
            }
            None => {
                self.flights.push(Some(flight));
                (self.flights.len() - 1) as u32
            }
        }
    }

    pub(crate) fn take_flight(&mut self, place: u32) -> Option<Flight<A::Message>> {
        let flight = self.flights.get_mut(place as usize)?.take();
        if flight.is_some() {
            self.free.push(place);
        }
        flight
    }

    /// A second copy of a message is under way.
    pub(crate) fn double(&mut self, place: u32) {
        if let Some(flight) = self.flights.get(place as usize).cloned().flatten() {
            let (id, kind) = (flight.id, flight.message.kind());
            let sender = usize::from(flight.from);
            let (from, to) = (self.nodes[sender].id, self.nodes[usize::from(flight.to)].id);
            self.note(Some(sender), || What::Doubled { id, from, to, kind });
            self.put_flight(flight);
        }
    }

    /// Messages under way, in the order in which they were sent.
    pub(crate) fn in_flight(&self) -> Vec<(u32, &Flight<A::Message>)> {
        let mut all: Vec<_> = self
            .flights
            .iter()
            .enumerate()
            .filter_map(|(place, flight)| Some((place as u32, flight.as_ref()?)))
            .collect();
        all.sort_by_key(|(_, flight)| flight.id);
        all
    }
}
