//! What clients write down: figures of every operation, and for the checker the operations
//! themselves.

use bench::recorder::{Kind, Outcome, Recorder, Sample, Window};
use consensus_core::{Time, check::Entry, kv};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// One operation from its intended start on.
pub(crate) struct Begun {
    /// Whose.
    pub(crate) client: u32,
    /// When it was meant to start.
    pub(crate) intended: Duration,
    /// When it was really sent.
    pub(crate) started: Duration,
    /// Whether it may change anything.
    pub(crate) kind: Kind,
    /// What was asked; kept for the checker alone.
    pub(crate) operation: Option<kv::Operation>,
}

/// How many operations, warm-up and all, were certainly carried out, and how many perhaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Transfers {
    /// Certainly.
    pub(crate) done: u64,
    /// Perhaps.
    pub(crate) open: u64,
}

/// The records of some of the clients.
pub(crate) struct Book {
    recorder: Recorder,
    transfers: Transfers,
    history: Option<Vec<Entry>>,
}

impl Book {
    fn new(window: Window, check: bool) -> Self {
        Self {
            recorder: Recorder::new(window),
            transfers: Transfers::default(),
            history: check.then(Vec::new),
        }
    }

    /// What was recorded.
    pub(crate) const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What became of all operations.
    pub(crate) const fn transfers(&self) -> Transfers {
        self.transfers
    }

    /// The history, when one was asked for.
    pub(crate) fn history(&self) -> Option<&[Entry]> {
        self.history.as_deref()
    }

    fn end(
        &mut self,
        begun: Begun,
        ended: Duration,
        outcome: Outcome,
        result: Option<kv::Outcome>,
    ) {
        self.recorder.record(&Sample {
            intended: begun.intended,
            started: begun.started,
            ended,
            kind: begun.kind,
            outcome,
        });
        match outcome {
            Outcome::Done => self.transfers.done += 1,
            Outcome::Timeout | Outcome::Unknown => self.transfers.open += 1,
            Outcome::Failed | Outcome::Aborted => {}
        }
        let (Some(history), Some(operation)) = (&mut self.history, begun.operation) else {
            return;
        };
        let (returned, outcome) = match outcome {
            // Certainly not carried out: nothing is claimed of it.
            Outcome::Failed | Outcome::Aborted => return,
            Outcome::Done => (Some(time(ended)), result),
            Outcome::Timeout | Outcome::Unknown => (None, None),
        };
        history.push(Entry {
            client: begun.client,
            invoked: time(begun.started),
            returned,
            operation,
            outcome,
        });
    }
}

/// All books. Clients share a few, so that they neither wait for each other nor keep a histogram
/// each.
pub(crate) struct Ledger(Vec<Mutex<Book>>);

impl Ledger {
    /// Empty books.
    pub(crate) fn new(window: Window, check: bool, books: usize) -> Self {
        let book = |_| Mutex::new(Book::new(window, check));
        Self((0..books.max(1)).map(book).collect())
    }

    /// An operation was meant to start at this moment.
    pub(crate) fn issue(&self, client: u32, intended: Duration) {
        self.book(client).recorder.issue(intended);
    }

    /// A client was free at the moment `intended`, and turned to it so much later.
    pub(crate) fn late(&self, client: u32, intended: Duration, by: Duration) {
        self.book(client).recorder.late(intended, by);
    }

    /// An operation has ended. `result` is what it answered, when it was done.
    pub(crate) fn end(
        &self,
        begun: Begun,
        ended: Duration,
        outcome: Outcome,
        result: Option<kv::Outcome>,
    ) {
        self.book(begun.client).end(begun, ended, outcome, result);
    }

    /// One book with everything in it.
    pub(crate) fn close(self) -> Book {
        let mut books = self
            .0
            .into_iter()
            .map(|book| book.into_inner().unwrap_or_else(PoisonError::into_inner));
        let mut all = books.next().expect("there is at least one book");
        for book in books {
            all.recorder.merge(&book.recorder);
            all.transfers.done += book.transfers.done;
            all.transfers.open += book.transfers.open;
            if let (Some(all), Some(more)) = (&mut all.history, book.history) {
                all.extend(more);
            }
        }
        all
    }

    fn book(&self, client: u32) -> MutexGuard<'_, Book> {
        let book = &self.0[client as usize % self.0.len()];
        book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A moment of the run as the checker's time.
fn time(moment: Duration) -> Time {
    Time::from_nanos(u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX))
}
