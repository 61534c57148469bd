//! How service comes back after a fault, in parts: somebody notices, somebody else leads, an operation is
//! done, whoever was struck has caught up. Nodes are asked again and again what they see; nothing is derived
//! from time-outs that they were given.

use super::load::Outages;
use crate::node::Look;
use bench::report::json::Recovery;
use consensus_core::NodeId;
use net_quic::Client;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

/// Between two questions to every node.
const EVERY: Duration = Duration::from_millis(4);
/// A node that is stopped or gone does not answer; the others are not kept waiting for it.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

/// What one node said, and when the answer came, since the start of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) node: NodeId,
    pub(crate) leader: Option<u16>,
    pub(crate) applied: u64,
}

impl Seen {
    fn of(node: NodeId, at: Duration, look: &Look) -> Self {
        Self {
            at,
            node,
            leader: look.leader,
            applied: look.applied(),
        }
    }
}

/// What is known of one fault.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Course {
    struck: Duration,
    victims: Vec<NodeId>,
    /// Who led before.
    before: Option<u16>,
    /// A survivor follows somebody else, or nobody.
    noticed: Option<Duration>,
    /// A survivor leads.
    elected: Option<Duration>,
    /// The victims are back, and what the others had applied then.
    returned: Option<(Duration, Option<u64>)>,
    /// Who has not caught up yet.
    behind: Vec<NodeId>,
    caught_up: Option<Duration>,
}

impl Course {
    /// Takes note of what one node said.
    fn see(&mut self, seen: Seen) {
        let survivor = !self.victims.contains(&seen.node);
        if survivor && self.before.is_some() {
            let leader = seen.leader;
            // A node that has just been started again knows nobody; it had not followed anybody.
            if self.noticed.is_none() && leader != self.before {
                self.noticed = Some(seen.at);
            }
            if self.elected.is_none() && leader == Some(seen.node.0) && leader != self.before {
                self.elected = Some(seen.at);
            }
        }
        let Some((_, target)) = &mut self.returned else {
            return;
        };
        match target {
            None if survivor => *target = Some(seen.applied),
            Some(target) if seen.applied >= *target => {
                self.behind.retain(|node| *node != seen.node);
                if self.behind.is_empty() && self.caught_up.is_none() {
                    self.caught_up = Some(seen.at);
                }
            }
            _ => {}
        }
    }

    fn recovery(&self, outage: Option<Duration>, resolution: Duration) -> Option<Recovery> {
        let ms = |span: Duration| span.as_secs_f64() * 1000.0;
        let back = outage.map(|outage| self.struck + outage);
        // Whoever answered an operation led by then, whenever it was asked.
        let by = |moment: Option<Duration>| match (moment, back) {
            (Some(moment), Some(back)) => Some(moment.min(back)),
            (moment, _) => moment,
        };
        let (noticed, elected) = (by(self.noticed), by(self.elected));
        let since = |from: Duration, to: Option<Duration>| to.map(|to| ms(to.saturating_sub(from)));
        let recovery = Recovery {
            detect_ms: since(self.struck, noticed),
            elect_ms: noticed.and_then(|noticed| since(noticed, elected)),
            commit_ms: since(elected.or(noticed).unwrap_or(self.struck), back),
            catch_up_ms: self
                .returned
                .and_then(|(returned, _)| since(returned, self.caught_up)),
            resolution_ms: ms(resolution),
        };
        let seen = recovery.detect_ms.or(recovery.catch_up_ms).is_some();
        seen.then_some(recovery)
    }
}

/// Everything that is known, shared with whoever asks the nodes.
#[derive(Debug, Default)]
struct State {
    courses: BTreeMap<usize, Course>,
    /// The longest between two rounds of questions.
    gap: Duration,
}

impl State {
    /// Whether there is anything left to see.
    fn is_waiting(&self, outages: &Outages) -> bool {
        self.courses.iter().any(|(fault, course)| {
            !outages.is_back(*fault) || (course.returned.is_some() && course.caught_up.is_none())
        })
    }
}

/// Asks the nodes from a fault on until everything has come back.
pub(crate) struct Watcher {
    operator: Arc<Client>,
    nodes: Vec<NodeId>,
    outages: Arc<Outages>,
    began: Instant,
    state: Arc<Mutex<State>>,
    asking: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Asks nobody yet. `began` is the start of the run.
    pub(crate) fn new(
        operator: Arc<Client>,
        nodes: u16,
        outages: Arc<Outages>,
        began: Instant,
    ) -> Self {
        Self {
            operator,
            nodes: (1..=nodes).map(NodeId).collect(),
            outages,
            began,
            state: Arc::default(),
            asking: None,
        }
    }

    /// A fault has struck `victims` at `struck`; `before` led until then.
    pub(crate) fn struck(
        &mut self,
        fault: usize,
        struck: Duration,
        victims: Vec<NodeId>,
        before: Option<NodeId>,
    ) {
        lock(&self.state).courses.insert(
            fault,
            Course {
                struck,
                victims,
                before: before.map(|node| node.0),
                ..Course::default()
            },
        );
        self.ask();
    }

    /// Whoever a fault has struck works again.
    pub(crate) fn returned(&mut self, fault: usize) {
        let at = self.began.elapsed();
        if let Some(course) = lock(&self.state).courses.get_mut(&fault) {
            course.returned = Some((at, None));
            course.behind.clone_from(&course.victims);
        }
        self.ask();
    }

    /// What was seen. Nobody is asked any more.
    pub(crate) fn end(self) -> Recoveries {
        if let Some(asking) = self.asking {
            asking.abort();
        }
        Recoveries(self.state)
    }

    fn ask(&mut self) {
        if self.asking.is_none() {
            let (operator, nodes) = (Arc::clone(&self.operator), self.nodes.clone());
            let (outages, state) = (Arc::clone(&self.outages), Arc::clone(&self.state));
            let began = self.began;
            self.asking = Some(tokio::spawn(async move {
                let mut rounds = JoinSet::new();
                for node in nodes {
                    let (operator, outages) = (Arc::clone(&operator), Arc::clone(&outages));
                    let state = Arc::clone(&state);
                    rounds.spawn(ask(operator, node, outages, state, began));
                }
                rounds.join_all().await;
            }));
        }
    }
}

/// Asks one node whenever something is waited for.
async fn ask(
    operator: Arc<Client>,
    node: NodeId,
    outages: Arc<Outages>,
    state: Arc<Mutex<State>>,
    began: Instant,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None::<Duration>;
    let mut rests = false;
    loop {
        ticks.tick().await;
        let waits = lock(&state).is_waiting(&outages);
        if !waits && rests {
            last = None;
            continue;
        }
        // Once more after the end: what led to it may be a question old.
        rests = !waits;
        let text = operator.inspect(node, ANSWER_WITHIN).await;
        let at = began.elapsed();
        let look = text
            .ok()
            .and_then(|text| serde_json::from_str::<Look>(&text).ok());
        let mut state = lock(&state);
        match look {
            None => last = None,
            Some(look) => {
                if let Some(last) = last.replace(at) {
                    state.gap = state.gap.max(at.saturating_sub(last));
                }
                for course in state.courses.values_mut() {
                    course.see(Seen::of(node, at, &look));
                }
            }
        }
    }
}

/// What was seen of all faults.
#[derive(Debug)]
pub(crate) struct Recoveries(Arc<Mutex<State>>);

impl Recoveries {
    /// How service came back after one that kept it away for `outage`.
    pub(crate) fn of(&self, fault: usize, outage: Option<Duration>) -> Option<Recovery> {
        let state = lock(&self.0);
        state.courses.get(&fault)?.recovery(outage, state.gap)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const fn seen(at: u64, node: u16, leader: Option<u16>, applied: u64) -> Seen {
        Seen {
            at: ms(at),
            node: NodeId(node),
            leader,
            applied,
        }
    }

    fn struck() -> Course {
        Course {
            struck: ms(100),
            victims: vec![NodeId(1)],
            before: Some(1),
            ..Course::default()
        }
    }

    #[test]
    fn an_outage_is_the_sum_of_its_parts() {
        let mut course = struck();
        for said in [
            // The victim itself does not count, whatever it says.
            seen(105, 1, None, 0),
            seen(110, 2, Some(1), 7),
            seen(150, 3, None, 7),
            seen(160, 2, Some(3), 7),
            seen(165, 3, Some(3), 7),
        ] {
            course.see(said);
        }
        let recovery = course.recovery(Some(ms(90)), ms(5)).expect("it was seen");
        assert_eq!(recovery.detect_ms, Some(50.0));
        assert_eq!(recovery.elect_ms, Some(15.0));
        assert_eq!(recovery.commit_ms, Some(25.0));
        assert_eq!(recovery.catch_up_ms, None);
    }

    #[test]
    fn who_answered_an_operation_led_by_then() {
        let mut course = struck();
        course.see(seen(150, 3, Some(3), 7));
        let recovery = course.recovery(Some(ms(40)), ms(5)).expect("it was seen");
        let parts = (recovery.detect_ms, recovery.elect_ms, recovery.commit_ms);
        assert_eq!(parts, (Some(40.0), Some(0.0), Some(0.0)));
    }

    #[test]
    fn whoever_is_back_has_caught_up_with_what_the_others_had_then() {
        let mut course = struck();
        course.see(seen(150, 3, Some(3), 500));
        course.returned = Some((ms(1_000), None));
        course.behind = vec![NodeId(1)];
        // The victim's own word is no measure of how far the others are.
        course.see(seen(1_001, 1, None, 0));
        course.see(seen(1_002, 2, Some(3), 900));
        course.see(seen(1_010, 1, Some(3), 899));
        assert_eq!(course.caught_up, None);
        course.see(seen(1_020, 1, Some(3), 950));
        let recovery = course.recovery(Some(ms(90)), ms(5)).expect("it was seen");
        assert_eq!(recovery.catch_up_ms, Some(20.0));
    }

    #[test]
    fn where_nothing_was_to_be_seen_nothing_is_said() {
        assert_eq!(struck().recovery(Some(ms(5)), ms(5)), None);
    }
}
