//! A cluster on which steps are played.

mod expect;
mod mail;
mod process;

use super::{
    play::{Configure, Transcript, Words},
    step::{Choice, Step, Who},
};
use crate::{
    Algorithm, Input, Lsn, Members, NodeId,
    sim::{
        chance::Chance,
        trace::{self, What},
        world::{Climate, World},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::time::Duration;

/// How long everything may move freely, in virtual time, until it must have converged.
const PATIENCE: Duration = Duration::from_secs(120);
/// And in messages, for protocols that duel.
const STEPS: usize = 20_000;

pub(super) struct Stage<A: Algorithm, W> {
    world: World<A>,
    words: W,
    by_hand: Vec<bool>,
    /// Messages that move only by name.
    held: Vec<Choice>,
    chance: Chance,
    /// `until converged` or `expect stuck` has been played, and only expectations since.
    pub(super) is_ended: bool,
}

impl<A: Algorithm, W: Words<A>> Stage<A, W> {
    pub(super) fn set(
        count: u16,
        options: &[(String, String)],
        configure: &Configure<'_, A::Options>,
        line: &str,
    ) -> Result<Self, String> {
        let members = Members::new((1..=count).map(NodeId)).map_err(|e| e.to_string())?;
        let mut chosen = A::Options::default();
        for (name, value) in options {
            configure(&mut chosen, name, value)?;
        }
        let climate = Climate::constant(Duration::from_millis(1), Duration::ZERO);
        let mut world = World::new(1, members, chosen, climate)?;
        world.by_hand = true;
        world.serve = false;
        world.told = Some(Vec::new());
        world.trace = Some(Vec::new());
        world.note(None, || What::Note(line.to_string()));
        let mut stage = Self {
            world,
            words: W::default(),
            by_hand: vec![false; usize::from(count)],
            held: Vec::new(),
            chance: Chance::new(1, 1),
            is_ended: false,
        };
        for place in 0..usize::from(count) {
            stage.world.start(place).map_err(|e| e.to_string())?;
        }
        stage.settle()?;
        Ok(stage)
    }

    pub(super) fn transcript(&self, title: &str) -> Transcript {
        Transcript {
            title: title.to_string(),
            nodes: self.by_hand.len() as u16,
            happenings: self.world.trace.clone().unwrap_or_default(),
        }
    }

    fn place(&self, node: NodeId) -> Result<usize, String> {
        self.world
            .members
            .position(node)
            .ok_or_else(|| format!("there is no node {}", trace::name(node)))
    }

    fn places(&self, who: Who) -> Result<Vec<usize>, String> {
        match who {
            Who::One(node) => Ok(vec![self.place(node)?]),
            Who::All => Ok((0..self.by_hand.len()).collect()),
        }
    }

    pub(super) fn play(&mut self, step: Step, line: &str) -> Result<(), String> {
        if !matches!(step, Step::Breaks(..)) {
            self.world.note(None, || What::Note(line.to_string()));
        }
        self.world.now += 1_000_000;
        if !matches!(step, Step::Expect(_)) {
            self.is_ended = false;
        }
        match step {
            Step::Nodes { .. } => return Err("there are nodes already".to_string()),
            Step::Disk { who, by_hand } => {
                for place in self.places(who)? {
                    self.by_hand[place] = by_hand;
                }
            }
            Step::Message(verb, choice) => self.message(verb, &choice)?,
            Step::DeliverAll => self.deliver_all()?,
            Step::Inject { from, to, bytes } => self.inject(from, to, bytes)?,
            Step::Sync(who) => {
                let mut any = false;
                for place in self.places(who)? {
                    any |= self.sync(place)?;
                }
                if !any {
                    return Err("there is nothing to sync".to_string());
                }
            }
            Step::SyncUpTo(node, record) => self.sync_up_to(node, Lsn(record))?,
            Step::FailSync(node) => self.fail_sync(node)?,
            Step::Crash(who, keep) => self.crash(who, keep)?,
            Step::Restart(who) => self.restart(who)?,
            Step::Wipe(node) => {
                let place = self.place(node)?;
                self.world.nodes[place].disk.damage = Some(crate::fault::FaultKind::Wipe);
                let text = "its disk is emptied".to_string();
                self.world.note(Some(place), || What::Fault(text));
            }
            Step::Reclaim(node) => {
                let place = self.place(node)?;
                let before = self.world.nodes[place].disk.last().next();
                self.input(place, Input::Reclaim(before))?;
            }
            Step::Tick { timer, node } => self.tick(&timer, node)?,
            Step::Advance(span) => self.advance(span)?,
            Step::Heal => self.heal()?,
            Step::UntilConverged => {
                if !self.free()? {
                    return Err(self.unfinished());
                }
                self.is_ended = true;
            }
            Step::Until(expect) => self.until(&expect)?,
            Step::Run(span) => self.run(span)?,
            Step::Elect(node) => self.elect(node)?,
            Step::Expect(expect) => return self.expect(&expect),
            Step::Breaks(property, step) => return self.breaks(&property, *step, line),
            Step::Contract(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let (node, request) = self
                    .words
                    .request(&words)
                    .ok_or("no such step; see the table of words")??;
                let place = self.place(node)?;
                self.input(place, Input::Request(request))?;
            }
        }
        self.settle()
    }

    fn input(&mut self, place: usize, input: Input<A>) -> Result<(), String> {
        match self.world.input(place, input) {
            Ok(true) => self.settle(),
            Ok(false) => Err(format!(
                "{} is down",
                trace::name(self.world.nodes[place].id)
            )),
            Err(violation) => Err(violation.to_string()),
        }
    }

    /// Plays a step whose end is known: the property is one that the algorithm does not promise here.
    fn breaks(&mut self, property: &str, step: Step, line: &str) -> Result<(), String> {
        if !A::EXPECTED.contains(&property) {
            return Err(format!(
                "{} always promises `{property}`; it may break {:?}",
                A::NAME,
                A::EXPECTED
            ));
        }
        match self.play(step, line) {
            Ok(()) => Err("everything still holds".to_string()),
            Err(violation) if violation.starts_with(property) => {
                self.world
                    .note(None, || What::Fault(format!("expected: {violation}")));
                self.is_ended = true;
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    /// Disks that are not in hand sync at once; the contract's words hear what was told.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            for (node, event) in self.world.told.iter_mut().flat_map(|told| told.drain(..)) {
                self.words.told(node, &event);
            }
            for (node, request) in self.words.replies() {
                let place = self.place(node)?;
                let input = Input::Request(request);
                self.world.input(place, input).map_err(|e| e.to_string())?;
            }
            if self
                .world
                .told
                .as_ref()
                .is_some_and(|told| !told.is_empty())
            {
                continue;
            }
            let dirty = (0..self.by_hand.len()).find(|place| {
                let node = &self.world.nodes[*place];
                !self.by_hand[*place] && node.process.is_some() && node.disk.is_dirty()
            });
            match dirty {
                Some(place) => self.sync(place)?,
                None => return Ok(()),
            };
        }
    }

    fn sync(&mut self, place: usize) -> Result<bool, String> {
        let node = &mut self.world.nodes[place];
        if node.process.is_none() || !node.disk.is_dirty() {
            return Ok(false);
        }
        let upto = node.disk.start_sync();
        self.world
            .sync_ended(place, upto)
            .map_err(|e| e.to_string())?;
        Ok(true)
    }

    fn sync_up_to(&mut self, node: NodeId, record: Lsn) -> Result<(), String> {
        let place = self.place(node)?;
        let disk = &mut self.world.nodes[place].disk;
        if record <= disk.synced() || record > disk.last() {
            return Err(format!(
                "records {} to {} wait for the disk",
                disk.synced().next(),
                disk.last()
            ));
        }
        let upto = disk.start_sync_up_to(record);
        let ended = self.world.sync_ended(place, upto);
        ended.map_err(|e| e.to_string())
    }

    fn fail_sync(&mut self, node: NodeId) -> Result<(), String> {
        let place = self.place(node)?;
        let node = &mut self.world.nodes[place];
        if node.process.is_none() || !node.disk.is_dirty() {
            return Err("there is nothing to sync".to_string());
        }
        node.disk.fails = true;
        // Nothing of it is on disk: the harder case.
        self.world.loses = (true, false);
        let upto = self.world.nodes[place].disk.start_sync();
        self.world
            .sync_ended(place, upto)
            .map_err(|e| e.to_string())?;
        self.words.crashed(self.world.nodes[place].id);
        Ok(())
    }
}
