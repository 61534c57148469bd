//! Playing a scenario.

use super::{
    ScenarioError,
    plain::plain,
    stage::Stage,
    step::{self, Step},
};
use crate::{
    Algorithm, NodeId,
    sim::{
        svg,
        trace::{self, Happening, What},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// The words of a contract: what its applications ask, are told, and what can be expected of that.
pub trait Words<A: Algorithm>: Default {
    /// Reads a step that is a request of the application at a node; none when it is not.
    fn request(&mut self, words: &[&str]) -> Option<Result<(NodeId, A::Request), String>>;
    /// The application at `node` is told.
    fn told(&mut self, node: NodeId, event: &A::Event);
    /// What the applications ask unbidden, in answer to what they were told.
    fn replies(&mut self) -> Vec<(NodeId, A::Request)> {
        Vec::new()
    }
    /// `node` is gone: nobody there waits any more.
    fn crashed(&mut self, node: NodeId);
    /// Judges what follows `expect`; none when it is not a word of this contract.
    fn expect(&self, words: &[&str]) -> Option<Result<(), String>>;
    /// Requests that have not been answered.
    fn waiting(&self) -> usize;
}

/// What happened in a scenario. [`Display`](fmt::Display) is the text of golden files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transcript {
    /// The first comment line.
    pub title: String,
    /// How many nodes there are.
    pub nodes: u16,
    /// Every step and what it led to.
    pub happenings: Vec<Happening>,
}

impl Transcript {
    /// The space-time diagram, as a self-contained SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(&self.title, self.nodes, &self.happenings)
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for happening in &self.happenings {
            match (&happening.what, happening.node) {
                (What::Note(text), _) => writeln!(f, "> {text}")?,
                (what, NodeId(0)) => writeln!(f, "     {}", plain(&what.to_string()))?,
                (what, node) => {
                    writeln!(f, "  {}  {}", trace::name(node), plain(&what.to_string()))?;
                }
            }
        }
        Ok(())
    }
}

/// Plays `text` with default options.
///
/// # Errors
/// The first line that cannot be read, does not find what it is about, breaks an invariant, or
/// expects what is not so.
pub fn play<A: Algorithm, W: Words<A>>(text: &str) -> Result<Transcript, ScenarioError> {
    play_with::<A, W>(text, &|_, name, _| {
        Err(format!("`{name}` is no option here"))
    })
}

/// Reads one `name=value` of the `nodes` step into the options.
pub type Configure<'a, O> = dyn Fn(&mut O, &str, &str) -> Result<(), String> + 'a;

/// As [`play`]; `configure` reads the options of the `nodes` step.
///
/// # Errors
/// As [`play`].
pub fn play_with<A: Algorithm, W: Words<A>>(
    text: &str,
    configure: &Configure<'_, A::Options>,
) -> Result<Transcript, ScenarioError> {
    let script = text.split("\n----").next().unwrap_or(text);
    let title = script
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches('#')
        .trim();
    let mut stage: Option<Stage<A, W>> = None;
    let mut last = (0, "", None);
    for (at, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let fail = |reason, stage: &Option<Stage<A, W>>| ScenarioError {
            line: at + 1,
            text: line.to_string(),
            reason,
            transcript: stage
                .as_ref()
                .map_or(String::new(), |s| s.transcript("").to_string()),
        };
        let step = step::read(line).map_err(|e| fail(e, &stage))?;
        last = (at + 1, line, Some(step.clone()));
        let done = match (&mut stage, step) {
            (None, Step::Nodes { count, options }) => {
                Stage::set(count, &options, configure, line).map(|set| stage = Some(set))
            }
            (None, _) => Err("the first step is `nodes N`".to_string()),
            (Some(stage), step) => stage.play(step, line),
        };
        done.map_err(|e| fail(e, &stage))?;
    }
    let (line, text, step) = last;
    match (stage, step) {
        (Some(stage), Some(Step::UntilConverged | Step::Expect(_) | Step::Breaks(..)))
            if stage.is_ended =>
        {
            Ok(stage.transcript(title))
        }
        (stage, _) => Err(ScenarioError {
            line,
            text: text.to_string(),
            reason: "a scenario ends alive: with `until converged`, `expect stuck` or `breaks`"
                .into(),
            transcript: stage.map_or(String::new(), |stage| stage.transcript("").to_string()),
        }),
    }
}
