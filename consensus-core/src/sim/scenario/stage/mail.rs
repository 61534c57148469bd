//! Messages in the author's hand.

use super::{STEPS, Stage};
use crate::{
    Algorithm, NodeId, Wire,
    sim::{
        scenario::{
            plain::plain,
            play::Words,
            step::{Choice, Verb},
        },
        trace::{self, What},
        world::Flight,
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

impl<A: Algorithm, W: Words<A>> Stage<A, W> {
    pub(super) fn matches(flight: &Flight<A::Message>, choice: &Choice) -> bool {
        let is = |end: Option<NodeId>, place: u16| end.is_none_or(|node| node.0 == place + 1);
        is(choice.from, flight.from)
            && is(choice.to, flight.to)
            && choice
                .kind
                .as_ref()
                .is_none_or(|kind| flight.message.kind() == kind)
            && (choice.text.is_empty()
                || plain(&format!("{:?}", flight.message)).contains(&choice.text))
    }

    /// The oldest message on every link that the choice is about.
    pub(super) fn chosen(&self, choice: &Choice) -> Result<Vec<u32>, String> {
        let mut links = Vec::new();
        let mut found = Vec::new();
        for (place, flight) in self.world.in_flight() {
            if Self::matches(flight, choice) && !links.contains(&(flight.from, flight.to)) {
                links.push((flight.from, flight.to));
                found.push(place);
            }
        }
        if found.is_empty() {
            let under_way: Vec<_> = self
                .world
                .in_flight()
                .iter()
                .map(|(_, flight)| {
                    let end = |place: u16| trace::name(NodeId(place + 1));
                    format!(
                        "{}->{} {}",
                        end(flight.from),
                        end(flight.to),
                        flight.message.kind()
                    )
                })
                .collect();
            return Err(format!(
                "no such message; under way are: {}",
                under_way.join(", ")
            ));
        }
        Ok(found)
    }

    pub(super) fn message(&mut self, verb: Verb, choice: &Choice) -> Result<(), String> {
        match verb {
            Verb::Hold => self.held.push(choice.clone()),
            Verb::Deliver => {
                for place in self.chosen(choice)? {
                    self.deliver(place)?;
                }
            }
            Verb::Duplicate => {
                for place in self.chosen(choice)? {
                    self.world.double(place);
                }
            }
            Verb::Drop => {
                self.chosen(choice)?;
                let all: Vec<_> = self
                    .world
                    .in_flight()
                    .iter()
                    .filter(|(_, flight)| Self::matches(flight, choice))
                    .map(|(place, _)| *place)
                    .collect();
                for place in all {
                    self.lose(place);
                }
            }
        }
        Ok(())
    }

    pub(super) fn lose(&mut self, place: u32) {
        if let Some(flight) = self.world.take_flight(place) {
            let (id, kind) = (flight.id, flight.message.kind());
            let (from, to) = (NodeId(flight.from + 1), NodeId(flight.to + 1));
            let lost = What::Lost { id, from, to, kind };
            self.world.note(Some(usize::from(flight.from)), || lost);
        }
    }

    pub(super) fn deliver(&mut self, place: u32) -> Result<(), String> {
        if let Some(flight) = self.world.take_flight(place) {
            self.world.now += 100_000;
            self.world.arrive(flight).map_err(|e| e.to_string())?;
        }
        self.settle()
    }

    pub(super) fn next_free(&self) -> Vec<u32> {
        let flights = self.world.in_flight();
        let free = |f: &Flight<A::Message>| !self.held.iter().any(|held| Self::matches(f, held));
        flights
            .iter()
            .filter(|(_, flight)| free(flight))
            .map(|(place, _)| *place)
            .collect()
    }

    pub(super) fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            match self.next_free().first() {
                Some(place) => self.deliver(*place)?,
                None => return Ok(()),
            }
        }
        Err(format!("messages are still under way after {STEPS}"))
    }

    pub(super) fn inject(
        &mut self,
        from: NodeId,
        to: NodeId,
        bytes: Vec<u8>,
    ) -> Result<(), String> {
        let message = A::Message::decode(bytes.into()).map_err(|e| e.to_string())?;
        let (from, to) = (self.place(from)? as u16, self.place(to)? as u16);
        let flight = Flight {
            id: u64::MAX,
            from,
            to,
            message,
        };
        self.world.arrive(flight).map_err(|e| e.to_string())
    }
}
