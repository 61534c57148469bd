//! `cargo xtask scenario`: worked examples, played step by step.

use crate::{
    cluster::root,
    ending::{DONE, FAILED, refusal, refused},
    flags::ScenarioFlags,
};
use anyhow::Context as _;
use consensus_core::sim::scenario::{
    CommitWords, LogWords, RegisterWords, ScenarioError, Transcript, play_with,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Plays the text of a scenario.
type Play = fn(&str) -> Result<Transcript, ScenarioError>;

/// Where scenarios lie, and who plays them. One line an algorithm.
const STAGES: &[(&str, Play)] = &[
    ("paxos", paxos),
    ("multipaxos", multipaxos),
    ("raft", raft),
    ("twophase", twophase),
    ("threephase", threephase),
];

fn paxos(text: &str) -> Result<Transcript, ScenarioError> {
    play_with::<paxos::Paxos, RegisterWords>(text, &paxos::Options::set)
}

fn multipaxos(text: &str) -> Result<Transcript, ScenarioError> {
    play_with::<multipaxos::MultiPaxos, LogWords>(text, &multipaxos::Options::set)
}

fn raft(text: &str) -> Result<Transcript, ScenarioError> {
    play_with::<raft::Raft, LogWords>(text, &raft::Options::set)
}

fn twophase(text: &str) -> Result<Transcript, ScenarioError> {
    play_with::<twophase::TwoPhase, CommitWords>(text, &twophase::Options::set)
}

fn threephase(text: &str) -> Result<Transcript, ScenarioError> {
    play_with::<threephase::ThreePhase, CommitWords>(text, &threephase::Options::set)
}

/// One worked example.
struct Scenario {
    /// What it is called on the command line: the name of its file.
    name: String,
    /// Which crate's.
    stage: &'static str,
    /// The steps, without the transcript that tests compare.
    script: String,
    play: Play,
}

impl Scenario {
    /// The first comment.
    fn title(&self) -> &str {
        let first = self.script.lines().next().unwrap_or_default();
        first.trim_start_matches(['#', ' '])
    }
}

/// The command.
pub(crate) fn run(flags: &ScenarioFlags) -> anyhow::Result<u8> {
    let all = find(&root())?;
    if flags.name == "list" {
        if flags.svg.is_some() {
            return Err(refusal("--svg draws one scenario; name it"));
        }
        for scenario in &all {
            crate::output::showln!(
                "{:10} {:44} {}",
                scenario.stage,
                scenario.name,
                scenario.title()
            );
        }
        return Ok(DONE);
    }
    let chosen = choose(&all, &flags.name)?;
    if flags.svg.is_some() && chosen.len() != 1 {
        return Err(refusal("--svg draws one scenario; name it"));
    }
    let mut status = DONE;
    for scenario in chosen {
        match (scenario.play)(&scenario.script) {
            Ok(transcript) => {
                show(scenario, &transcript, flags)?;
                if let Some(file) = &flags.svg {
                    fs::write(file, transcript.svg())
                        .with_context(|| format!("cannot write {}", file.display()))
                        .map_err(refused)?;
                    eprintln!("wrote {}", file.display());
                }
            }
            Err(error) => {
                status = FAILED;
                crate::output::show!("{}", error.transcript);
                crate::output::showln!("FAILED {}: {error}", scenario.name);
            }
        }
    }
    Ok(status)
}

/// One scenario is shown whole; many are a line each.
fn show(scenario: &Scenario, transcript: &Transcript, flags: &ScenarioFlags) -> anyhow::Result<()> {
    if flags.name == "all" {
        crate::output::showln!("ok     {:44} {}", scenario.name, scenario.title());
        return Ok(());
    }
    let story = scenario
        .script
        .lines()
        .take_while(|line| line.starts_with('#'));
    for line in story {
        crate::output::showln!("{line}");
    }
    crate::output::showln!("\n{transcript}");
    Ok(())
}

/// Those that a name means: all, the whole name, or its beginning where that is enough.
fn choose<'a>(all: &'a [Scenario], name: &str) -> anyhow::Result<Vec<&'a Scenario>> {
    if name == "all" {
        return Ok(all.iter().collect());
    }
    let whole: Vec<_> = all
        .iter()
        .filter(|scenario| scenario.name == name)
        .collect();
    let begun: Vec<_> = all
        .iter()
        .filter(|scenario| scenario.name.starts_with(name))
        .collect();
    match (&whole[..], &begun[..]) {
        ([_], _) => Ok(whole),
        ([], [_]) => Ok(begun),
        ([], []) => Err(refusal(format!(
            "no scenario is called `{name}`; `cargo xtask scenario list` names all"
        ))),
        _ => Err(refusal(format!(
            "`{name}` could be any of {}",
            begun
                .iter()
                .map(|scenario| scenario.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// All scenarios of the source tree, in the order of their names.
fn find(root: &Path) -> anyhow::Result<Vec<Scenario>> {
    let mut found = Vec::new();
    for (stage, play) in STAGES {
        let folder = root.join(stage).join("testdata");
        for file in files(&folder).map_err(refused)? {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))
                .map_err(refused)?;
            let script = text
                .split_once("\n----\n")
                .map_or(text.as_str(), |(script, _)| script);
            let name = file.file_stem().unwrap_or_default();
            found.push(Scenario {
                name: name.to_string_lossy().into_owned(),
                stage,
                script: script.to_owned(),
                play: *play,
            });
        }
    }
    Ok(found)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| {
        format!(
            "cannot read {}; run inside the source tree",
            folder.display()
        )
    })?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_tree_plays() {
        let all = find(&root()).expect("they are there");
        assert!(!all.is_empty());
        for scenario in all {
            if let Err(error) = (scenario.play)(&scenario.script) {
                panic!("{}: {error}", scenario.name);
            }
            assert!(!scenario.title().is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn a_name_may_be_cut_short_while_it_is_clear() {
        let all: Vec<_> = ["px01_one", "px02_two", "px02_twofold"]
            .map(|name| Scenario {
                name: name.to_owned(),
                stage: "paxos",
                script: String::new(),
                play: paxos,
            })
            .into();
        let chosen = |name| {
            let chosen = choose(&all, name)?;
            Ok::<_, anyhow::Error>(chosen.iter().map(|s| s.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(chosen("px01").expect("clear"), ["px01_one"]);
        assert_eq!(chosen("px02_two").expect("whole"), ["px02_two"]);
        assert_eq!(chosen("all").expect("all").len(), 3);
        for unclear in ["px02", "px", "py"] {
            assert!(chosen(unclear).is_err(), "{unclear}");
        }
    }
}
