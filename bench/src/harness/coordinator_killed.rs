//! The coordinator is killed at every step of a transaction that everybody votes yes for, once under each
//! protocol: how it ends, for how long participants are blocked, and whose locks stay. In virtual time,
//! exact, and the same on every machine.
//!
//! Participants are nodes 1 to 3; who coordinates takes no part. A message takes a millisecond, a sync a
//! tenth. What a step leaves half done is what the first participant has heard and the others have not.

use crate::replicated::OverRaft;
use bytes::Bytes;
use comfy_table::{Table, presets};
use consensus_core::{
    Algorithm, Input, NodeId, Time, Token,
    contract::atomic_commit::{Event, Kept, Outcome, Request, Vote},
    replicated,
    sim::{Step as Progress, World, measure::Laboratory},
};
use std::{collections::BTreeMap, fmt, time::Duration};
use threephase::{Mode, ThreePhase};
use twophase::TwoPhase;

const PARTICIPANTS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// Those that a broken step leaves out.
const OTHERS: [NodeId; 2] = [NodeId(2), NodeId(3)];
const DELAY: Duration = Duration::from_millis(1);
const SYNC: Duration = Duration::from_micros(100);
/// Longer than any election with default options.
const SETTLE: Duration = Duration::from_secs(2);
/// Whoever is blocked for so long is blocked until somebody repairs what is broken.
pub const WATCHED: Duration = Duration::from_secs(60);

/// Where the coordinator is killed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Only the first participant has been asked.
    OneAsked,
    /// All have been asked.
    AllAsked,
    /// All have voted, and the coordinator has not heard it.
    AllVoted,
    /// Only the first has been told to prepare to commit.
    OnePreCommitted,
    /// All have been told so.
    AllPreCommitted,
    /// It has decided, and nobody has been told.
    Decided,
    /// Only the first has been told.
    OneTold,
    /// All have been told.
    AllTold,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::OneAsked,
        Self::AllAsked,
        Self::AllVoted,
        Self::OnePreCommitted,
        Self::AllPreCommitted,
        Self::Decided,
        Self::OneTold,
        Self::AllTold,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::OneAsked => "one was asked",
            Self::AllAsked => "all were asked",
            Self::AllVoted => "all have voted",
            Self::OnePreCommitted => "one was pre-committed",
            Self::AllPreCommitted => "all were pre-committed",
            Self::Decided => "decided, nobody told",
            Self::OneTold => "one was told",
            Self::AllTold => "all were told",
        }
    }

    const fn is_broken(self) -> bool {
        matches!(
            self,
            Self::OneAsked | Self::OnePreCommitted | Self::OneTold | Self::Decided
        )
    }
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The same for all participants that took part.
    Ended(Outcome),
    /// Not at all, until what is broken was repaired; then the same for all.
    Blocked(Outcome),
    /// Not the same for all.
    Diverged,
}

/// One protocol at one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// How it ended.
    pub ending: Ending,
    /// From the kill until the last participant that voted was free, [`WATCHED`] at most.
    pub blocked: Duration,
    /// Participants that still held locks when that time was over.
    pub locks: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |outcome: &Outcome| match outcome {
            Outcome::Commit => "commit",
            Outcome::Abort => "abort",
        };
        let ms = self.blocked.as_secs_f64() * 1000.0;
        match &self.ending {
            Ending::Ended(outcome) => write!(f, "{} after {ms:.1} ms", word(outcome)),
            Ending::Blocked(outcome) => {
                write!(
                    f,
                    "blocks, {} hold locks; then {}",
                    self.locks,
                    word(outcome)
                )
            }
            Ending::Diverged => f.write_str("diverges"),
        }
    }
}

/// One step under all protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Where the coordinator was killed.
    pub step: Step,
    /// The first participant is cut off from the others at the same moment.
    pub partition: bool,
    /// In the order of [`PROTOCOLS`]; none where the protocol has no such step.
    pub cells: [Option<Cell>; 4],
}

/// Columns of the table.
pub const PROTOCOLS: [&str; 4] = [
    "2PC",
    "3PC",
    "3PC, quorum (E3PC)",
    "2PC, coordinator replicated",
];

/// What a protocol calls its messages, and who coordinates.
struct Script<O> {
    nodes: usize,
    options: O,
    ask: &'static str,
    pre: Option<&'static str>,
    tell: &'static str,
}

/// All rows: every step with the network whole, then with a partition.
///
/// # Errors
/// When a run does not get to its step, or anything but atomicity is broken.
pub fn rows() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for partition in [false, true] {
        for step in Step::ALL {
            let three = |mode| Script {
                nodes: 4,
                options: threephase::Options {
                    mode,
                    coordinator: Some(NodeId(4)),
                    ..Default::default()
                },
                ask: "CanCommit",
                pre: Some("PreCommit"),
                tell: "DoCommit",
            };
            let two = Script {
                nodes: 4,
                options: twophase::Options {
                    coordinator: Some(NodeId(4)),
                    ..Default::default()
                },
                ask: "Prepare",
                pre: None,
                tell: "Decision",
            };
            let replicated = Script {
                nodes: 6,
                options: replicated::Options {
                    replicas: Some(3),
                    ..Default::default()
                },
                ask: two.ask,
                pre: None,
                tell: two.tell,
            };
            let cells = [
                cell::<TwoPhase>(&two, step, partition),
                cell::<ThreePhase>(&three(Mode::Classic), step, partition),
                cell::<ThreePhase>(&three(Mode::Quorum), step, partition),
                cell::<OverRaft>(&replicated, step, partition),
            ];
            let [a, b, c, d] = cells;
            rows.push(Row {
                step,
                partition,
                cells: [a?, b?, c?, d?],
            });
        }
    }
    Ok(rows)
}

/// For a terminal or a page.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let head = ["killed when", "network"].into_iter().chain(PROTOCOLS);
    table.set_header(head);
    for row in rows {
        let network = match row.partition {
            true => "1 / 2 3",
            false => "whole",
        };
        let cells = row.cells.iter();
        let cells = cells.map(|cell| cell.map_or_else(|| "–".to_owned(), |cell| cell.to_string()));
        let mut line = vec![row.step.words().to_owned(), network.to_owned()];
        line.extend(cells);
        table.add_row(line);
    }
    table.to_string()
}

/// One run.
struct Killing<A: Algorithm> {
    world: World<A>,
    coordinator: NodeId,
    /// When each participant voted yes, and when it was told.
    voted: BTreeMap<NodeId, Time>,
    told: BTreeMap<NodeId, (Time, Outcome)>,
    diverged: bool,
    /// Messages sent of each kind before the transaction.
    before: BTreeMap<&'static str, u64>,
}

fn cell<A>(script: &Script<A::Options>, step: Step, partition: bool) -> Result<Option<Cell>, String>
where
    A: Algorithm<Request = Request, Event = Event>,
{
    let pre_committed = matches!(step, Step::OnePreCommitted | Step::AllPreCommitted);
    if pre_committed && script.pre.is_none() {
        return Ok(None);
    }
    let laboratory = Laboratory {
        nodes: script.nodes,
        options: script.options.clone(),
        delay: DELAY,
        sync: SYNC,
        settle: SETTLE,
        ..Laboratory::default()
    };
    let world = laboratory.world::<A>()?;
    let leader = world.protocol(NodeId(4)).and_then(A::leader);
    let coordinator = leader.ok_or("nobody coordinates")?;
    let mut run = Killing {
        world,
        coordinator,
        voted: BTreeMap::new(),
        told: BTreeMap::new(),
        diverged: false,
        before: BTreeMap::new(),
    };
    run.meet(script)?;
    run.go_to(script, step)?;
    let killed = run.world.now();
    run.world.crash(place(coordinator), None);
    if partition {
        run.part(true);
    }
    run.until(killed + WATCHED)?;
    let locks = run.locks();
    let blocked = match locks {
        0 => {
            let last = run.told.values().map(|(at, _)| *at).max();
            last.unwrap_or(killed).since(killed)
        }
        _ => WATCHED,
    };
    // Repaired: everybody ends, and all the same.
    run.part(false);
    run.cut(false, &PARTICIPANTS);
    run.start()?;
    run.until(killed + WATCHED * 2)?;
    let ending = run.ending(locks)?;
    Ok(Some(Cell {
        ending,
        blocked,
        locks,
    }))
}

const fn place(node: NodeId) -> usize {
    node.0 as usize - 1
}

impl<A> Killing<A>
where
    A: Algorithm<Request = Request, Event = Event>,
{
    /// A transaction before the one that counts: a coordinator learns who runs.
    fn meet(&mut self, script: &Script<A::Options>) -> Result<(), String> {
        self.begin(Token(1))?;
        self.until(self.world.now() + SETTLE)?;
        (self.voted, self.told) = Default::default();
        let kinds = [
            Some(script.ask),
            Some("Vote"),
            script.pre,
            Some("Attempted"),
            Some(script.tell),
        ];
        let sent = |kind: &'static str| (kind, self.world.sent_of(kind));
        self.before = kinds.into_iter().flatten().map(sent).collect();
        Ok(())
    }

    fn begin(&mut self, token: Token) -> Result<(), String> {
        let work = Bytes::from_static(b"work");
        let work = PARTICIPANTS.map(|node| (node, work.clone())).to_vec();
        self.input(self.coordinator, Request::Begin { token, work })
    }

    /// Until the step is reached; what it leaves out is cut off before.
    fn go_to(&mut self, script: &Script<A::Options>, step: Step) -> Result<(), String> {
        if step == Step::OneAsked {
            self.cut(true, &OTHERS);
        }
        self.begin(Token(2))?;
        self.after(script.ask, 1)?;
        if matches!(step, Step::OneAsked | Step::AllAsked) {
            return Ok(());
        }
        self.after("Vote", PARTICIPANTS.len() as u64)?;
        if step == Step::AllVoted {
            return Ok(());
        }
        if let Some(pre) = script.pre {
            if step == Step::OnePreCommitted {
                self.cut(true, &OTHERS);
            }
            self.after(pre, 1)?;
            if matches!(step, Step::OnePreCommitted | Step::AllPreCommitted) {
                return Ok(());
            }
            self.after("Attempted", PARTICIPANTS.len() as u64)?;
        }
        match step {
            Step::Decided => self.cut(true, &PARTICIPANTS),
            step if step.is_broken() => self.cut(true, &OTHERS),
            _ => {}
        }
        self.after(script.tell, 1)
    }

    fn cut(&mut self, cut: bool, whom: &[NodeId]) {
        for node in whom {
            match cut {
                true => self.world.cut(self.coordinator, *node),
                false => self.world.mend(self.coordinator, *node),
            }
        }
    }

    /// Parts the first participant from everybody, or takes that back.
    fn part(&mut self, parted: bool) {
        let first = PARTICIPANTS[0];
        for node in (2..=6).map(NodeId) {
            for (from, to) in [(first, node), (node, first)] {
                match parted {
                    true => self.world.cut(from, to),
                    false => self.world.mend(from, to),
                }
            }
        }
    }

    fn start(&mut self) -> Result<(), String> {
        let started = self.world.start(place(self.coordinator));
        self.judge(started.map(drop))
    }

    /// Divergence is a result, anything else a failure.
    fn judge(&mut self, result: Result<(), consensus_core::Violation>) -> Result<(), String> {
        match result {
            Err(violation) if violation.property == "ac1_agreement" => {
                self.diverged = true;
                Ok(())
            }
            result => result.map_err(|violation| violation.to_string()),
        }
    }

    fn input(&mut self, node: NodeId, request: Request) -> Result<(), String> {
        let input = self.world.input(place(node), Input::Request(request));
        self.judge(input.map(drop))?;
        self.hear()
    }

    /// Resources vote yes, and carry out what they are told at once.
    fn hear(&mut self) -> Result<(), String> {
        loop {
            let told = self.world.take_told();
            if told.is_empty() {
                return Ok(());
            }
            let now = self.world.now();
            for (node, event) in told {
                let kept = Kept::Resource;
                let request = match event {
                    Event::Prepare { transaction, work } => {
                        self.voted.insert(node, now);
                        let vote = Vote::Yes { redo: work };
                        Request::Vote { transaction, vote }
                    }
                    Event::Commit { transaction, .. } => {
                        self.told.entry(node).or_insert((now, Outcome::Commit));
                        Request::Done { transaction, kept }
                    }
                    Event::Abort { transaction } => {
                        self.told.entry(node).or_insert((now, Outcome::Abort));
                        Request::Done { transaction, kept }
                    }
                    _ => continue,
                };
                let input = self.world.input(place(node), Input::Request(request));
                self.judge(input.map(drop))?;
            }
        }
    }

    fn step(&mut self) -> Result<bool, String> {
        let stepped = self.world.step();
        let idle = matches!(stepped, Ok(Progress::Idle));
        self.judge(stepped.map(drop))?;
        self.hear()?;
        Ok(!idle && !self.diverged)
    }

    /// Until `count` messages of a kind have been sent.
    fn after(&mut self, kind: &str, count: u64) -> Result<(), String> {
        let end = self.world.now() + WATCHED;
        let count = count + self.before.get(kind).copied().unwrap_or_default();
        while self.world.sent_of(kind) < count {
            if self.world.now() > end || !self.step()? {
                return Err(format!("{}: {count} {kind} were never sent", A::NAME));
            }
        }
        Ok(())
    }

    fn until(&mut self, end: Time) -> Result<(), String> {
        while self.world.next().is_some_and(|next| next <= end) && self.step()? {}
        Ok(())
    }

    /// Who has voted and does not know the outcome.
    fn locks(&self) -> usize {
        let open = self
            .voted
            .keys()
            .filter(|node| !self.told.contains_key(node));
        open.count()
    }

    fn ending(&self, locks: usize) -> Result<Ending, String> {
        let mut outcomes = self.told.values().map(|(_, outcome)| *outcome);
        let Some(first) = outcomes.next() else {
            return Err(format!("{}: nobody was told anything", A::NAME));
        };
        if self.diverged || outcomes.any(|outcome| outcome != first) {
            return Ok(Ending::Diverged);
        }
        if self.locks() > 0 {
            return Err(format!("{}: blocked although all is repaired", A::NAME));
        }
        Ok(match locks {
            0 => Ending::Ended(first),
            _ => Ending::Blocked(first),
        })
    }
}
