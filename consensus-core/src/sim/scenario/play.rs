//! Playing a scenario.

use super::{
    ScenarioError,
    plain::plain,
    step::{self, Choice, Expect, Step, Verb, Who},
};
use crate::{
    Algorithm, Input, Members, NodeId, Time, Wire,
    sim::{
        chance::Chance,
        disk::Keep,
        svg,
        trace::{self, Happening, What},
        world::{Climate, Flight, World},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{fmt, time::Duration};

/// How long everything may move freely, in virtual time, until it must have converged.
const PATIENCE: Duration = Duration::from_secs(120);
/// And in messages, for protocols that duel.
const STEPS: usize = 20_000;

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
        (Some(stage), Some(Step::UntilConverged | Step::Expect(_))) if stage.is_ended => {
            Ok(stage.transcript(title))
        }
        (stage, _) => Err(ScenarioError {
            line,
            text: text.to_string(),
            reason: "a scenario ends alive: with `until converged`, or with `expect stuck`".into(),
            transcript: stage.map_or(String::new(), |stage| stage.transcript("").to_string()),
        }),
    }
}

struct Stage<A: Algorithm, W> {
    world: World<A>,
    words: W,
    by_hand: Vec<bool>,
    /// Messages that move only by name.
    held: Vec<Choice>,
    chance: Chance,
    /// `until converged` or `expect stuck` has been played, and only expectations since.
    is_ended: bool,
}

impl<A: Algorithm, W: Words<A>> Stage<A, W> {
    fn set(
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

    fn transcript(&self, title: &str) -> Transcript {
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

    fn play(&mut self, step: Step, line: &str) -> Result<(), String> {
        self.world.note(None, || What::Note(line.to_string()));
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
            Step::FailSync(node) => self.fail_sync(node)?,
            Step::Crash(who, keep) => self.crash(who, keep)?,
            Step::Restart(who) => self.restart(who)?,
            Step::Wipe(node) => {
                let place = self.place(node)?;
                self.world.nodes[place].disk.damage = Some(crate::fault::FaultKind::Wipe);
                let text = "its disk is emptied".to_string();
                self.world.note(Some(place), || What::Fault(text));
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
            Step::Expect(expect) => return self.expect(&expect),
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

    // Messages.

    fn matches(flight: &Flight<A::Message>, choice: &Choice) -> bool {
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
    fn chosen(&self, choice: &Choice) -> Result<Vec<u32>, String> {
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

    fn message(&mut self, verb: Verb, choice: &Choice) -> Result<(), String> {
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

    fn lose(&mut self, place: u32) {
        if let Some(flight) = self.world.take_flight(place) {
            let (id, kind) = (flight.id, flight.message.kind());
            let (from, to) = (NodeId(flight.from + 1), NodeId(flight.to + 1));
            let lost = What::Lost { id, from, to, kind };
            self.world.note(Some(usize::from(flight.from)), || lost);
        }
    }

    fn deliver(&mut self, place: u32) -> Result<(), String> {
        if let Some(flight) = self.world.take_flight(place) {
            self.world.now += 100_000;
            self.world.arrive(flight).map_err(|e| e.to_string())?;
        }
        self.settle()
    }

    fn next_free(&self) -> Vec<u32> {
        let flights = self.world.in_flight();
        let free = |f: &Flight<A::Message>| !self.held.iter().any(|held| Self::matches(f, held));
        flights
            .iter()
            .filter(|(_, flight)| free(flight))
            .map(|(place, _)| *place)
            .collect()
    }

    fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            match self.next_free().first() {
                Some(place) => self.deliver(*place)?,
                None => return Ok(()),
            }
        }
        Err(format!("messages are still under way after {STEPS}"))
    }

    fn inject(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) -> Result<(), String> {
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

    // Processes and time.

    fn crash(&mut self, who: Who, keep: Keep) -> Result<(), String> {
        for place in self.places(who)? {
            let crashed = self.world.crash(place, Some(keep));
            if !crashed && who != Who::All {
                return Err("it is down already".to_string());
            }
            self.words.crashed(self.world.nodes[place].id);
        }
        Ok(())
    }

    fn restart(&mut self, who: Who) -> Result<(), String> {
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

    fn tick(&mut self, timer: &str, node: NodeId) -> Result<(), String> {
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
    fn next_alarm(&self) -> Option<(Time, usize)> {
        let nodes = self.world.nodes.iter().enumerate();
        nodes
            .filter_map(|(place, node)| Some((node.process.as_ref()?.next()?, place)))
            .min()
    }

    fn advance(&mut self, span: Duration) -> Result<(), String> {
        let end = self.world.now() + span;
        while let Some((at, place)) = self.next_alarm()
            && at <= end
        {
            self.alarm(at, place)?;
        }
        self.world.now = end.as_nanos();
        Ok(())
    }

    fn alarm(&mut self, at: Time, place: usize) -> Result<(), String> {
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

    fn heal(&mut self) -> Result<(), String> {
        self.held.clear();
        self.by_hand.fill(false);
        for place in 0..self.by_hand.len() {
            self.world.start(place).map_err(|e| e.to_string())?;
        }
        self.settle()
    }

    /// Everything moves freely. True when everybody has been answered and nothing is under way.
    fn free(&mut self) -> Result<bool, String> {
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

    fn unfinished(&self) -> String {
        format!(
            "{} requests are not answered and {} messages under way after {} messages or {PATIENCE:?}",
            self.words.waiting(),
            self.next_free().len(),
            STEPS
        )
    }

    // Expectations.

    fn expect(&mut self, expect: &Expect) -> Result<(), String> {
        let says = |so: bool, otherwise: String| if so { Ok(()) } else { Err(otherwise) };
        match expect {
            Expect::Sent(choice) => self.chosen(choice).map(|_| ()),
            Expect::NoMessage { kind, from } => {
                let text = String::new();
                let choice = Choice {
                    from: *from,
                    to: None,
                    kind: kind.clone(),
                    text,
                };
                match self
                    .world
                    .in_flight()
                    .iter()
                    .find(|(_, f)| Self::matches(f, &choice))
                {
                    None => Ok(()),
                    Some((_, f)) => Err(format!(
                        "under way is {}",
                        plain(&format!("{:?}", f.message))
                    )),
                }
            }
            Expect::Disk { node, holds, text } => {
                let place = self.place(*node)?;
                let disk = &self.world.nodes[place].disk;
                let synced = disk.synced();
                let records: Vec<_> = disk
                    .iter()
                    .filter(|(lsn, _)| *lsn <= synced)
                    .map(|(_, record)| plain(&format!("{record:?}")))
                    .collect();
                let found = records.iter().any(|record| record.contains(text));
                says(
                    found == *holds,
                    format!("on disk are: {}", records.join("; ")),
                )
            }
            Expect::Status { node, text } => {
                let place = self.place(*node)?;
                let process = self.world.nodes[place]
                    .process
                    .as_ref()
                    .ok_or("it is down")?;
                let status = plain(&format!("{:?}", process.protocol.status()));
                says(status.contains(text), format!("its status is {status}"))
            }
            Expect::Up(node, up) => {
                let place = self.place(*node)?;
                says(
                    self.world.nodes[place].process.is_some() == *up,
                    "it is not".to_string(),
                )
            }
            Expect::Blocked => {
                let waiting = self.words.waiting();
                let under_way = self.next_free().len();
                says(
                    waiting > 0 && under_way == 0,
                    format!("{waiting} requests wait and {under_way} messages are under way"),
                )
            }
            Expect::Stuck => {
                if self.free()? {
                    return Err("everybody has been answered".to_string());
                }
                self.is_ended = true;
                Ok(())
            }
            Expect::Contract(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.words
                    .expect(&words)
                    .ok_or("no such expectation; see the table of words")?
            }
        }
    }
}
