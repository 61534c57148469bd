//! Processes and time.

use super::{PATIENCE, STEPS, Stage};
use crate::{
    Algorithm, Input, NodeId, Time,
    sim::{
        disk::Keep,
        scenario::{play::Words, step::Who},
        trace::What,
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
        let end = self.world.now() + PATIENCE;
        for _ in 0..STEPS {
            let free = self.next_free();
            match self.chance.pick(&free) {
                Some(place) => self.deliver(place)?,
                None if self.words.waiting() == 0 => return Ok(true),
                None => match self.next_alarm() {
                    Some((at, place)) if at <= end => self.alarm(at, place)?,
                    _ => return Ok(false),
                },
            }
            self.settle()?;
        }
        Ok(false)
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
