//! The clients of one run, and its phases: safety, liveness, closing reads.

use super::{
    chance::Chance,
    faults::{Alarm, Faults},
    run::Settings,
    workload::Workload,
    world::{Step, World, purpose},
};
use crate::{
    Algorithm, ClientId, Contract, NodeId, Sequence, Time, Violation,
    service::{Answer, Call, CallId, Refusal},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::time::Duration;

const MILLI: u64 = 1_000_000;

/// Operations that every client must see carried out by the healed core.
const OWED: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Safety,
    /// Everything has been asked; faults that must last do.
    Lingering,
    Liveness,
    Closing,
    Over,
}

/// How many clients there are and how they behave; nanoseconds.
pub(crate) struct Clients {
    pub(crate) count: usize,
    /// Mean pause between an answer and the next operation.
    pub(crate) think: u64,
    /// When an operation is given up.
    pub(crate) patience: u64,
}

#[derive(Default)]
struct Client {
    /// The call under way and the node it was made to.
    call: Option<(CallId, usize)>,
    /// Of its newest call; zero while its session is being opened.
    sequence: u64,
    /// It has a session, or the contract knows none.
    opened: bool,
    /// Where it turns next.
    place: usize,
    /// Operations carried out in the liveness phase.
    done: u64,
    /// Refusals in a row: each doubles the pause before the next try.
    refused: u32,
}

pub(crate) struct Phases<A: Algorithm> {
    pub(crate) world: World<A>,
    pub(crate) faults: Faults,
    workload: Box<dyn Workload>,
    clients: Vec<Client>,
    behaviour: Clients,
    chance: Chance,
    /// Operations that may still begin in the safety phase.
    left: u64,
    phase: Phase,
    /// The nodes that are healed for the liveness phase.
    core: Vec<usize>,
    /// What the first client has yet to ask, in the end, and of whom.
    closing: Vec<(usize, bytes::Bytes)>,
    pub(crate) answered: u64,
    pub(crate) unknown: u64,
    calls: u32,
}

impl<A: Algorithm> Phases<A> {
    pub(crate) fn new(
        world: World<A>,
        faults: Faults,
        workload: Box<dyn Workload>,
        behaviour: Clients,
    ) -> Self {
        Self {
            world,
            faults,
            workload,
            clients: (0..behaviour.count)
                .map(|_| Client {
                    opened: A::CONTRACT != Contract::ReplicatedLog,
                    ..Client::default()
                })
                .collect(),
            behaviour,
            chance: Chance::new(0, purpose::WORKLOAD),
            left: 0,
            phase: Phase::Safety,
            core: Vec::new(),
            closing: Vec::new(),
            answered: 0,
            unknown: 0,
            calls: 0,
        }
    }

    /// All phases and the judgement.
    pub(crate) fn whole(
        &mut self,
        seed: u64,
        settings: &Settings,
    ) -> Result<Vec<(&'static str, u64)>, Violation> {
        self.chance = Chance::new(seed, purpose::WORKLOAD);
        self.left = settings.operations;
        for place in 0..self.world.nodes.len() {
            self.world.start(place)?;
        }
        self.faults.begin(&mut self.world);
        for client in 0..self.clients.len() {
            self.clients[client].place = self.chance.below(self.world.nodes.len() as u64) as usize;
            self.later(client, MILLI);
        }
        self.deadline(settings.safety, 1);
        self.until(Phase::Lingering)?;
        if !self.faults.lingers.is_zero() && self.phase < Phase::Liveness {
            self.deadline(self.faults.lingers, 1);
            self.until(Phase::Liveness)?;
        }
        self.phase = Phase::Liveness;
        self.heal(seed)?;
        self.deadline(settings.liveness, 2);
        self.until(Phase::Over)?;
        if !self.closing.is_empty() || self.clients.iter().any(|client| client.done < OWED) {
            return Err(self.stuck(settings.liveness));
        }
        let mut judged = self.workload.judge()?;
        judged.push((
            "liveness",
            self.clients.iter().map(|client| client.done).sum(),
        ));
        Ok(judged)
    }

    fn deadline(&mut self, after: Duration, which: u32) {
        self.world
            .call_at(self.world.now() + after, Alarm::Deadline(which).word());
    }

    fn until(&mut self, phase: Phase) -> Result<(), Violation> {
        while self.phase < phase {
            match self.world.step()? {
                Step::Event => {}
                Step::Idle => return Ok(()),
                Step::Called(word) => self.called(Alarm::read(word))?,
            }
            while let Some(place) = self.world.stopped.pop() {
                self.faults.stopped(&mut self.world, place);
            }
            while let Some(place) = self.world.trapped.pop() {
                self.faults.trapped(&mut self.world, place)?;
            }
            self.answers();
        }
        Ok(())
    }

    fn called(&mut self, alarm: Alarm) -> Result<(), Violation> {
        match alarm {
            Alarm::Strike(source) => self.faults.strike(&mut self.world, source),
            Alarm::End(ending) => self.faults.ended(&mut self.world, ending),
            Alarm::Client(client) => self.ask(client as usize),
            Alarm::Timeout(client, call) => self.timeout(client as usize, call),
            Alarm::Deadline(1) => {
                self.phase = self.phase.max(Phase::Liveness);
                Ok(())
            }
            Alarm::Deadline(_) => {
                self.phase = Phase::Over;
                Ok(())
            }
        }
    }

    /// Picks a core that could make progress, heals it, and freezes everything else for ever.
    fn heal(&mut self, seed: u64) -> Result<(), Violation> {
        let mut chance = Chance::new(seed, purpose::CORE);
        let needed = A::needed(&self.world.options, &self.world.members);
        let mut sound: Vec<usize> = (0..self.world.nodes.len())
            .filter(|place| self.world.nodes[*place].disk.damage.is_none())
            .collect();
        let size = if chance.one_in(1, 2) {
            needed
        } else {
            sound.len()
        };
        while sound.len() > size.max(needed) {
            sound.swap_remove(chance.below(sound.len() as u64) as usize);
        }
        sound.sort_unstable();
        let names: Vec<_> = sound
            .iter()
            .map(|p| super::trace::name(self.world.nodes[*p].id))
            .collect();
        self.world.note(None, || {
            super::trace::What::Note(format!("liveness: {} are healed", names.join(" ")))
        });
        self.core = sound;
        self.faults.freeze(&mut self.world, &self.core)?;
        for client in 0..self.clients.len() {
            self.clients[client].place = self.somewhere();
            if self.clients[client].call.is_none() {
                self.later(client, MILLI);
            }
        }
        Ok(())
    }

    fn stuck(&self, limit: Duration) -> Violation {
        let waiting = self
            .clients
            .iter()
            .enumerate()
            .filter(|(_, client)| client.done < OWED);
        let waiting: Vec<_> = waiting
            .map(|(i, client)| {
                format!(
                    "client {i} at node {} has {}",
                    client.place + 1,
                    client.done
                )
            })
            .collect();
        let core: Vec<_> = self
            .core
            .iter()
            .map(|place| format!("{}", place + 1))
            .collect();
        let detail = format!(
            "the healed core of nodes {} did not carry out what it was asked within {limit:?}: {} ({OWED} are owed each), {} closing operations are left",
            core.join(", "),
            if waiting.is_empty() {
                String::from("all clients are served")
            } else {
                waiting.join(", ")
            },
            self.closing.len()
        );
        Violation {
            property: "liveness",
            detail,
        }
    }

    // Clients.

    fn later(&mut self, client: usize, mean: u64) {
        let at = self.world.now + 1 + self.chance.exponential(mean);
        self.world
            .call_at(Time::from_nanos(at), Alarm::Client(client as u32).word());
    }

    fn somewhere(&mut self) -> usize {
        if self.core.is_empty() {
            self.chance.below(self.world.nodes.len() as u64) as usize
        } else {
            self.core[self.chance.below(self.core.len() as u64) as usize]
        }
    }

    fn ask(&mut self, client: usize) -> Result<(), Violation> {
        if self.clients[client].call.is_some() {
            return Ok(());
        }
        let now = self.world.now();
        if !self.clients[client].opened && self.phase < Phase::Closing {
            return self.send(client, 0, bytes::Bytes::new());
        }
        let body = match self.phase {
            Phase::Safety if self.left == 0 => {
                if self.clients.iter().all(|client| client.call.is_none()) {
                    self.phase = Phase::Lingering;
                }
                return Ok(());
            }
            Phase::Lingering => return Ok(()),
            Phase::Safety => {
                self.left -= 1;
                self.workload.next(client as u32, now, &mut self.chance)
            }
            Phase::Liveness => {
                if self.clients[client].done >= OWED {
                    self.close();
                    return Ok(());
                }
                self.workload.next(client as u32, now, &mut self.chance)
            }
            Phase::Closing => {
                let Some((place, body)) = self.closing.last().cloned() else {
                    return Ok(());
                };
                if A::CONTRACT == Contract::AtomicCommit
                    || self.clients[client].sequence.is_multiple_of(4)
                {
                    // What a node holds only it can say. Elsewhere, now and then back to the node that
                    // is meant, should a hint have led away.
                    self.clients[client].place = place;
                }
                self.workload.ask(client as u32, now, body.clone());
                body
            }
            Phase::Over => return Ok(()),
        };
        let sequence = self.clients[client].sequence + 1;
        self.send(client, sequence, body)
    }

    fn send(&mut self, client: usize, sequence: u64, body: bytes::Bytes) -> Result<(), Violation> {
        if self.phase == Phase::Safety && self.chance.one_in(1, 6) {
            self.clients[client].place = self.somewhere();
        }
        self.calls += 1;
        let id = CallId(u64::from(self.calls) << 16 | client as u64);
        let me = &mut self.clients[client];
        me.sequence = sequence;
        me.call = Some((id, me.place));
        let place = me.place;
        let call = Call {
            id,
            client: ClientId(client as u128 + 1),
            sequence: Sequence(sequence),
            body,
        };
        // Once all is well nobody gives up before a protocol has had time to ask again.
        let patience = match self.phase {
            Phase::Safety => self.behaviour.patience,
            _ => self.behaviour.patience.max(5_000 * MILLI),
        };
        let at = Time::from_nanos(self.world.now + patience);
        self.world
            .call_at(at, Alarm::Timeout(client as u32, self.calls).word());
        if !self.world.call(place, call)? {
            self.answered(client, &Answer::Refused(Refusal::ShuttingDown));
        }
        Ok(())
    }

    fn timeout(&mut self, client: usize, call: u32) -> Result<(), Violation> {
        let Some((id, place)) = self.clients[client].call else {
            return Ok(());
        };
        if id.0 >> 16 != u64::from(call) {
            return Ok(());
        }
        self.world.abandon(place, id)?;
        self.answered(client, &Answer::Unknown);
        Ok(())
    }

    fn answers(&mut self) {
        while let Some((_, id, answer)) = self.world.answers.pop() {
            let client = (id.0 & 0xffff) as usize;
            // An answer to a call that was given up comes too late.
            if self.clients[client]
                .call
                .is_some_and(|(waiting, _)| waiting == id)
            {
                self.answered(client, &answer);
            }
        }
    }

    fn answered(&mut self, client: usize, answer: &Answer) {
        let now = self.world.now();
        self.clients[client].call = None;
        let opening = !self.clients[client].opened;
        if !opening {
            self.workload.answered(client as u32, now, answer);
        }
        let mut pause = self.behaviour.think;
        match answer {
            Answer::Done(_) if opening => {
                self.clients[client].refused = 0;
                self.clients[client].opened = true;
            }
            // In the safety phase any answer will do.
            Answer::Done(_) if self.phase > Phase::Safety && !self.workload.is_done(answer) => {
                self.answered += 1;
                let me = &mut self.clients[client];
                me.refused = (me.refused + 1).min(6);
                pause = pause.max((5 * MILLI) << me.refused);
            }
            Answer::Done(_) => {
                self.clients[client].refused = 0;
                self.answered += 1;
                match self.phase {
                    Phase::Liveness => self.clients[client].done += 1,
                    Phase::Closing => self.closed(client),
                    Phase::Safety | Phase::Lingering | Phase::Over => {}
                }
            }
            Answer::Unknown => {
                if !opening {
                    self.answered += 1;
                    self.unknown += 1;
                }
                if self.chance.one_in(1, 2) {
                    self.clients[client].place = self.somewhere();
                }
            }
            Answer::Refused(refusal) => {
                // Certainly not carried out: as if it had not been asked. The deadline bounds it.
                if self.phase == Phase::Safety && !opening {
                    self.left += 1;
                }
                let me = &mut self.clients[client];
                me.refused = (me.refused + 1).min(6);
                pause = pause.max((5 * MILLI) << me.refused);
                let hint = match refusal {
                    Refusal::NotLeader(hint) => *hint,
                    _ => None,
                };
                self.clients[client].place = self.hinted(hint);
            }
        }
        self.later(client, pause);
    }

    fn hinted(&mut self, hint: Option<NodeId>) -> usize {
        // The leader may be outside the core, and well or not: follow, and turn back now and then.
        match hint.and_then(|node| self.world.members.position(node)) {
            Some(place) if self.chance.one_in(3, 4) => place,
            _ => self.somewhere(),
        }
    }

    /// When every client is served: everything is read at every node of the core.
    fn close(&mut self) {
        let served = |client: &Client| client.done >= OWED && client.call.is_none();
        if self.phase != Phase::Liveness || !self.clients.iter().all(served) {
            return;
        }
        self.phase = Phase::Closing;
        let bodies = self.workload.closing();
        for body in bodies.iter().rev() {
            let places = self.core.iter().rev();
            self.closing
                .extend(places.map(|place| (*place, body.clone())));
        }
        self.turn();
    }

    fn closed(&mut self, client: usize) {
        if client == 0 {
            self.closing.pop();
            self.turn();
        }
    }

    fn turn(&mut self) {
        match self.closing.last() {
            Some((place, _)) => {
                self.clients[0].place = *place;
                self.later(0, MILLI);
            }
            None => self.phase = Phase::Over,
        }
    }
}
