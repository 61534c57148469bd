//! Processes and time.

use super::{PATIENCE, STEPS, Stage};
use crate::{
    Algorithm, Input, NodeId, Time,
    sim::{
        disk::Keep,
        scenario::{
            play::Words,
            step::{Expect, Who},
        },
        trace::{self, What},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

impl<A: Algorithm, W: Words<A>> Stage<A, W> {
    pub(super) fn crash(&mut self, who: Who, keep: Keep) -> Result<(), String> {
        for place in self.places(who)? {
            let crashed = self.world.crash(place, Some(keep));
            if !crashed && who != Who::All {
                return Err("it is down already".to_string());
            }
            self.words.crashed(self.world.nodes[place].id);
        }
        Ok(())
    }

    pub(super) fn restart(&mut self, who: Who) -> Result<(), String> {
        for place in self.places(who)? {
            let damage = self.world.nodes[place].disk.damage;
            let started = self.world.start(place).map_err(|e| e.to_string())?;
            match damage {
                Some(kind) => {
                    let text = format!("does not start: {kind}");
                    self.world.note(Some(place), || What::Fault(text));
                }
                None if !started && who != Who::All => return Err("it runs already".to_string()),
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, timer: &str, node: NodeId) -> Result<(), String> {
        let place = self.place(node)?;
        let Some(process) = &mut self.world.nodes[place].process else {
            return Err("it is down".to_string());
        };
        let set: Vec<_> = process.timers.iter().map(|(_, timer)| timer).collect();
        let found = set
            .iter()
            .find(|set| format!("{set:?}").starts_with(timer))
            .copied();
        let Some(found) = found else {
            return Err(format!("no such alarm is set; set are {set:?}"));
        };
        process.timers.cancel(found);
        self.input(place, Input::Timer(found))
    }

    /// The next moment at which an alarm goes off anywhere, and where.
    pub(super) fn next_alarm(&self) -> Option<(Time, usize)> {
        let nodes = self.world.nodes.iter().enumerate();
        nodes
            .filter_map(|(place, node)| Some((node.process.as_ref()?.next()?, place)))
            .min()
    }

    pub(super) fn advance(&mut self, span: Duration) -> Result<(), String> {
        let end = self.world.now() + span;
        while let Some((at, place)) = self.next_alarm()
            && at <= end
        {
            self.alarm(at, place)?;
        }
        self.world.now = end.as_nanos();
        Ok(())
    }

    pub(super) fn alarm(&mut self, at: Time, place: usize) -> Result<(), String> {
        self.world.now = self.world.now.max(at.as_nanos());
        let now = self.world.now();
        let Some(process) = &mut self.world.nodes[place].process else {
            return Ok(());
        };
        match process.timers.pop(now) {
            Some(timer) => self.input(place, Input::Timer(timer)),
            None => Ok(()),
        }
    }

    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.held.clear();
        self.by_hand.fill(false);
        for place in 0..self.by_hand.len() {
            self.world.start(place).map_err(|e| e.to_string())?;
        }
        self.settle()
    }

    /// Everything moves freely. True when everybody has been answered and nothing is under way.
    pub(super) fn free(&mut self) -> Result<bool, String> {
        self.move_until(|stage| stage.words.waiting() == 0 && stage.next_free().is_empty())
    }

    /// Everything moves freely until what is expected is so.
    pub(super) fn until(&mut self, expect: &Expect) -> Result<(), String> {
        if self.move_until(|stage| stage.expect(expect).is_ok())? {
            return Ok(());
        }
        let reason = self.expect(expect).err().unwrap_or_default();
        Err(format!("{reason}; {}", self.unfinished()))
    }

    /// Everything moves freely for so long.
    pub(super) fn run(&mut self, span: Duration) -> Result<(), String> {
        let end = self.world.now() + span;
        let passed = |stage: &mut Self| {
            let next = stage.next_alarm().map(|(at, _)| at);
            stage.next_free().is_empty() && next.is_none_or(|at| at > end)
        };
        if !self.move_until(passed)? {
            return Err(self.unfinished());
        }
        self.world.now = self.world.now.max(end.as_nanos());
        Ok(())
    }

    /// Everything moves in a random order; alarms go off when nothing is under way. Whether `done`
    /// became true in time.
    fn move_until(&mut self, done: impl Fn(&mut Self) -> bool) -> Result<bool, String> {
        let end = self.world.now() + PATIENCE;
        for _ in 0..STEPS {
            if done(self) {
                return Ok(true);
            }
            let free = self.next_free();
            match (self.chance.pick(&free), self.next_alarm()) {
                (Some(place), _) => self.deliver(place)?,
                (None, Some((at, place))) if at <= end => self.alarm(at, place)?,
                (None, _) => return Ok(false),
            }
            self.settle()?;
        }
        Ok(false)
    }

    /// Messages move in their order and only the alarms at `node` go off, until it leads.
    pub(super) fn elect(&mut self, node: NodeId) -> Result<(), String> {
        let place = self.place(node)?;
        let end = self.world.now() + PATIENCE;
        for _ in 0..STEPS {
            let process = self.world.nodes[place].process.as_ref();
            let process = process.ok_or("it is down")?;
            if process.protocol.leader() == Some(node) {
                return Ok(());
            }
            let alarm = process.next();
            match (self.next_free().first(), alarm) {
                (Some(flight), _) => self.deliver(*flight)?,
                (None, Some(at)) if at <= end => self.alarm(at, place)?,
                (None, _) => break,
            }
        }
        Err(format!("{} is not elected", trace::name(node)))
    }

    pub(super) fn unfinished(&self) -> String {
        format!(
            "{} requests are not answered and {} messages under way after {} messages or {PATIENCE:?}",
            self.words.waiting(),
            self.next_free().len(),
            STEPS
        )
    }
}
