//! Shrinking what breaks a property: fewer kinds of fault, fewer operations, fewer nodes, as long as
//! the same property is broken, and no later.

use super::{
    faults::KINDS,
    run::{Outcome, Settings},
};
use crate::fault::FaultKind;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// The smallest run found that breaks the same property.
#[derive(Clone, Debug)]
pub struct Minimal {
    /// How to run it.
    pub settings: Settings,
    /// What it breaks, with its trace.
    pub outcome: Outcome,
    /// How many runs were tried.
    pub tried: u32,
}

impl Minimal {
    /// The command that replays it.
    #[must_use]
    pub fn replay(&self, algorithm: &str) -> String {
        replay(algorithm, self.outcome.seed, &self.settings)
    }
}

/// The command that replays a seed.
#[must_use]
pub fn replay(algorithm: &str, seed: u64, settings: &Settings) -> String {
    let usual = Settings::default();
    let mut line = format!("cargo xtask sim --algorithm {algorithm} --seed {seed}");
    if let Some(nodes) = settings.nodes {
        line.push_str(&format!(" --nodes {nodes}"));
    }
    if settings.operations != usual.operations {
        line.push_str(&format!(" --operations {}", settings.operations));
    }
    if settings.faults != KINDS {
        let words: Vec<_> = settings.faults.iter().map(ToString::to_string).collect();
        let words = if words.is_empty() {
            String::from("none")
        } else {
            words.join(",")
        };
        line.push_str(&format!(" --faults {words}"));
    }
    line
}

/// Shrinks a failing run by trying smaller ones with `again`, which runs the same seed under other
/// settings. The seed's draws for one kind of fault do not depend on the others, so a kind that has
/// no part in the failure can be taken out.
///
/// Returns none when the run does not fail, or not again.
#[must_use]
pub fn minimise(settings: &Settings, again: &dyn Fn(&Settings) -> Outcome) -> Option<Minimal> {
    let mut best = Shrinker {
        settings: Settings {
            trace: false,
            ..settings.clone()
        },
        outcome: again(settings),
        property: "",
        tried: 1,
    };
    best.property = best.outcome.violation.as_ref()?.property;
    // A seed that never drew a kind does not need it named.
    best.faults(again);
    best.operations(again);
    best.nodes(again);
    best.faults(again);
    let settings = Settings {
        trace: true,
        ..best.settings
    };
    let outcome = again(&settings);
    Some(Minimal {
        settings,
        outcome,
        tried: best.tried + 1,
    })
}

struct Shrinker {
    settings: Settings,
    outcome: Outcome,
    property: &'static str,
    tried: u32,
}

impl Shrinker {
    /// Keeps `smaller` if it breaks the same property, and no later.
    fn keep(&mut self, smaller: Settings, again: &dyn Fn(&Settings) -> Outcome) -> bool {
        self.tried += 1;
        let outcome = again(&smaller);
        let breaks = outcome
            .violation
            .as_ref()
            .map(|violation| violation.property);
        if breaks != Some(self.property) || outcome.events > self.outcome.events {
            return false;
        }
        self.settings = smaller;
        self.outcome = outcome;
        true
    }

    /// Halves first, then one kind at a time.
    fn faults(&mut self, again: &dyn Fn(&Settings) -> Outcome) {
        let mut piece = self.settings.faults.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < self.settings.faults.len() {
                let mut faults: Vec<FaultKind> = self.settings.faults.clone();
                faults.drain(at..(at + piece).min(faults.len()));
                if !self.keep(
                    Settings {
                        faults,
                        ..self.settings.clone()
                    },
                    again,
                ) {
                    at += piece;
                }
            }
            piece /= 2;
        }
    }

    fn operations(&mut self, again: &dyn Fn(&Settings) -> Outcome) {
        let (mut low, mut high) = (0, self.settings.operations);
        while low + 1 < high {
            let operations = low + (high - low) / 2;
            if self.keep(
                Settings {
                    operations,
                    ..self.settings.clone()
                },
                again,
            ) {
                high = operations;
            } else {
                low = operations;
            }
        }
    }

    fn nodes(&mut self, again: &dyn Fn(&Settings) -> Outcome) {
        for nodes in 2..self.outcome.nodes {
            if self.keep(
                Settings {
                    nodes: Some(nodes),
                    ..self.settings.clone()
                },
                again,
            ) {
                return;
            }
        }
    }
}
