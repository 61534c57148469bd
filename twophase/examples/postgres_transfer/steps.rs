//! For the tests of this example: a sudden death at a named step of a transaction.

use bytes::Bytes;
use consensus_core::{
    Time,
    contract::atomic_commit::{Event, Request, Vote},
    service::{Call, CallId, Outbox, Service, external::Resource},
};
use core::task::Waker;
use std::{env, io, process::Command};
use twophase::TwoPhase;

/// From the environment, `KILL_AT=STEP:PROCESS`: who is killed at which step, once. 0 is this process.
///
/// Steps of a participant: `asked`, `prepared`, `told`, `carried-out`; of the coordinator: `begun`,
/// `named`, `decided`.
#[derive(Clone, Default)]
pub(crate) struct Steps(Option<(String, u32)>);

impl Steps {
    pub(crate) fn from_env() -> Result<Self, String> {
        let Ok(text) = env::var("KILL_AT") else {
            return Ok(Self::default());
        };
        let (step, process) = text.split_once(':').ok_or("KILL_AT=STEP:PROCESS")?;
        let process = process
            .parse()
            .map_err(|_| format!("`{process}` is no process"))?;
        Ok(Self(Some((step.to_owned(), process))))
    }

    fn reached(&mut self, step: &str) {
        let Some((_, process)) = self.0.take_if(|(at, _)| at == step) else {
            return;
        };
        kill(process).expect("there is a program to kill with");
    }
}

/// SIGKILL: when this returns, the other process is gone, or dying.
fn kill(process: u32) -> io::Result<()> {
    let process = match process {
        0 => std::process::id(),
        other => other,
    };
    Command::new("kill")
        .args(["-9", &process.to_string()])
        .status()?;
    Ok(())
}

/// A resource or a service, with its steps.
pub(crate) struct Stepping<T> {
    inner: T,
    steps: Steps,
}

impl<T> Stepping<T> {
    pub(crate) const fn new(inner: T, steps: Steps) -> Self {
        Self { inner, steps }
    }
}

/// A participant's: between the protocol and the database.
impl<R: Resource> Resource for Stepping<R> {
    fn woken_by(&mut self, waker: Waker) {
        self.inner.woken_by(waker);
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Prepare { .. } => self.steps.reached("asked"),
            Event::Commit { .. } => self.steps.reached("told"),
            _ => {}
        }
        self.inner.tell(event);
    }

    fn is_waiting(&self) -> bool {
        self.inner.is_waiting()
    }

    fn take(&mut self, requests: &mut Vec<Request>) {
        let before = requests.len();
        self.inner.take(requests);
        for request in &requests[before..] {
            match request {
                Request::Vote { vote, .. } if *vote == (Vote::Yes { redo: Bytes::new() }) => {
                    self.steps.reached("prepared");
                }
                Request::Done { .. } => self.steps.reached("carried-out"),
                _ => {}
            }
        }
    }
}

/// A coordinator's: between the clients and the protocol.
impl<S: Service<TwoPhase>> Service<TwoPhase> for Stepping<S> {
    fn woken_by(&mut self, waker: Waker) {
        self.inner.woken_by(waker);
    }

    fn call(&mut self, now: Time, call: Call, out: &mut Outbox<TwoPhase>) {
        self.steps.reached("begun");
        self.inner.call(now, call, out);
    }

    fn event(&mut self, now: Time, event: Event, out: &mut Outbox<TwoPhase>) {
        match &event {
            Event::Started { .. } => self.steps.reached("named"),
            Event::Ended { .. } => self.steps.reached("decided"),
            _ => {}
        }
        self.inner.event(now, event, out);
    }

    fn next_wake(&self) -> Option<Time> {
        self.inner.next_wake()
    }

    fn wake(&mut self, now: Time, out: &mut Outbox<TwoPhase>) {
        self.inner.wake(now, out);
    }

    fn abandon(&mut self, now: Time, id: CallId, out: &mut Outbox<TwoPhase>) {
        self.inner.abandon(now, id, out);
    }
}
