//! The abstract machine of \[GrayLamport06 §3\], state by state: the same machine as `tla/TwoPhase.tla`,
//! whose own checker has to count as many states.

use stateright::{Checker, Model, Property};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Manager {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Decision {
    Open,
    Committed,
    Aborted,
}

/// Everything that was ever said stays said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    managers: Vec<Manager>,
    decision: Decision,
    /// Whom the transaction manager knows to be prepared.
    heard: Vec<bool>,
    said_prepared: Vec<bool>,
    said_commit: bool,
    said_abort: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Hear(usize),
    Commit,
    Abort,
    Prepare(usize),
    GiveUp(usize),
    CarryOutCommit(usize),
    CarryOutAbort(usize),
}

/// So many resource managers.
struct Machine(usize);

impl Model for Machine {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            managers: vec![Manager::Working; self.0],
            decision: Decision::Open,
            heard: vec![false; self.0],
            said_prepared: vec![false; self.0],
            said_commit: false,
            said_abort: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.decision == Decision::Open {
            actions.push(Action::Abort);
            if state.heard.iter().all(|heard| *heard) {
                actions.push(Action::Commit);
            }
        }
        for manager in 0..self.0 {
            if state.decision == Decision::Open && state.said_prepared[manager] {
                actions.push(Action::Hear(manager));
            }
            if state.managers[manager] == Manager::Working {
                actions.extend([Action::Prepare(manager), Action::GiveUp(manager)]);
            }
            if state.said_commit {
                actions.push(Action::CarryOutCommit(manager));
            }
            if state.said_abort {
                actions.push(Action::CarryOutAbort(manager));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Hear(manager) => state.heard[manager] = true,
            Action::Commit => {
                (state.decision, state.said_commit) = (Decision::Committed, true);
            }
            Action::Abort => (state.decision, state.said_abort) = (Decision::Aborted, true),
            Action::Prepare(manager) => {
                state.managers[manager] = Manager::Prepared;
                state.said_prepared[manager] = true;
            }
            Action::GiveUp(manager) | Action::CarryOutAbort(manager) => {
                state.managers[manager] = Manager::Aborted;
            }
            Action::CarryOutCommit(manager) => state.managers[manager] = Manager::Committed,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("consistent", |_, state: &State| {
                !(state.managers.contains(&Manager::Committed)
                    && state.managers.contains(&Manager::Aborted))
            }),
            Property::sometimes("commits", |_, state: &State| {
                state.managers.iter().all(|one| *one == Manager::Committed)
            }),
            Property::sometimes("aborts", |_, state: &State| {
                state.managers.iter().all(|one| *one == Manager::Aborted)
            }),
        ]
    }
}

/// As many distinct states as TLC counts for `tla/TwoPhase.cfg` with so many managers.
#[test]
fn its_states_are_as_many_as_tla_counts() {
    for (managers, states) in [(3, 288), (5, 8_832), (7, 296_448)] {
        let checker = Machine(managers).checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        assert_eq!(checker.unique_state_count(), states, "{managers} managers");
    }
}
