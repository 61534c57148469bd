//! Open loop: operations are meant to start at given moments, whatever became of earlier ones. A
//! moment at which every client is busy waits for the first that is free, and the wait counts.

use super::{Load, asker::Asker, attempt::Caller};
use bench::workload::{Arrivals, Schedule};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinSet};

/// Who is free, and which moments have come without anybody free.
struct Desk {
    free: Vec<Asker>,
    waiting: VecDeque<Duration>,
}

type Shared = Arc<Mutex<Desk>>;

fn lock(desk: &Shared) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the pace maker and lets it start the clients.
pub(crate) fn start<C: Caller>(load: &Arc<Load<C>>, rate: f64) -> anyhow::Result<JoinSet<()>> {
    let schedule = Schedule::new(rate, Arrivals::Poisson, 0, 1, load.workload.seed)?;
    let askers = (0..load.clients).map(|number| load.asker(number));
    let askers = askers.collect::<Result<Vec<_>, _>>()?;
    let mut pace_maker = JoinSet::new();
    let load = Arc::clone(load);
    let runtime = Handle::current();
    pace_maker.spawn(async move {
        let desk = Arc::new(Mutex::new(Desk {
            free: open_all(&load, askers).await,
            waiting: VecDeque::new(),
        }));
        // A thread of its own: the runtime's timers are no finer than a millisecond, which would be
        // most of the latency measured.
        let paced =
            tokio::task::spawn_blocking(move || keep_pace(&load, &desk, schedule, &runtime));
        if let Ok(clients) = paced.await {
            clients.join_all().await;
        }
    });
    Ok(pace_maker)
}

/// Opens every client's session, all at once.
async fn open_all<C: Caller>(load: &Arc<Load<C>>, askers: Vec<Asker>) -> Vec<Asker> {
    let mut opening = JoinSet::new();
    for asker in askers {
        let load = Arc::clone(load);
        opening.spawn(async move {
            load.open(&asker).await;
            asker
        });
    }
    opening.join_all().await
}

/// Sends clients off at every moment of the schedule within the window.
fn keep_pace<C: Caller>(
    load: &Arc<Load<C>>,
    desk: &Shared,
    schedule: Schedule,
    runtime: &Handle,
) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for intended in schedule.take_while(|moment| *moment < load.window.end()) {
        thread::sleep(intended.saturating_sub(load.now()));
        load.ledger.issue(0, intended);
        let free = {
            let mut desk = lock(desk);
            let free = desk.free.pop();
            if free.is_none() {
                desk.waiting.push_back(intended);
            }
            free
        };
        if let Some(asker) = free {
            let work = serve(Arc::clone(load), Arc::clone(desk), asker, intended);
            clients.spawn_on(work, runtime);
        }
        // Ended tasks are collected now and then, or they would pile up.
        while clients.try_join_next().is_some() {}
    }
    clients
}

/// Serves one moment, then whatever waits.
async fn serve<C: Caller>(
    load: Arc<Load<C>>,
    desk: Shared,
    mut asker: Asker,
    mut intended: Duration,
) {
    let by = load.now().saturating_sub(intended);
    load.ledger.late(asker.number, intended, by);
    loop {
        load.perform(&mut asker, intended).await;
        let mut desk = lock(&desk);
        match desk.waiting.pop_front() {
            Some(next) => intended = next,
            None => {
                desk.free.push(asker);
                return;
            }
        }
    }
}
