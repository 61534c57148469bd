//! What became of every operation.
//!
//! *Response time* counts from the moment an operation was meant to start, so that a system that
//! stalls its clients cannot hide it (the coordinated omission of \[Tene15\]); *service time*, from when
//! it was really sent, stands beside it. Operations whose intended start lies within the measured
//! time are the run's operations, and all of them are waited for: what never came back counts at the
//! time-out value. Moments are spans since the start of the run, warm-up included, so that virtual
//! time serves as well as a clock.

mod histogram;

use crate::report::json::{Latency, TimelinePoint};
use histogram::Times;
use std::time::Duration;

/// What is measured of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// From the start of the run; not measured.
    pub warmup: Duration,
    /// After the warm-up.
    pub measured: Duration,
    /// When a client gives an operation up, from its intended start.
    pub timeout: Duration,
}

impl Window {
    /// When measuring ends, from the start of the run; clients issue nothing after this and wait for
    /// what is under way.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.warmup + self.measured
    }

    fn contains(&self, moment: Duration) -> bool {
        moment >= self.warmup && moment < self.end()
    }

    fn clamp(&self, moment: Duration) -> Duration {
        moment.clamp(self.warmup, self.end()) - self.warmup
    }
}

/// Whether an operation may change anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It may not.
    Read,
    /// It may.
    Write,
}

/// What a client learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// Certainly not carried out: refused, or an error.
    Failed,
    /// Certainly not carried out: rolled back by a lock policy or a no vote.
    Aborted,
    /// Given up after the time-out; carried out or not.
    Timeout,
    /// The answer itself says that nobody knows, or the connection broke. Counts as a time-out.
    Unknown,
}

/// One operation from its intended start to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When it was meant to start: in an open loop the scheduled moment, in a closed one the moment
    /// at which the client was free.
    pub intended: Duration,
    /// When it was really sent.
    pub started: Duration,
    /// When the answer came, or it was given up.
    pub ended: Duration,
    /// Whether it may change anything.
    pub kind: Kind,
    /// What the client learned.
    pub outcome: Outcome,
}

/// Records a run. One a worker thread, merged at the end.
#[derive(Clone, Debug)]
pub struct Recorder {
    window: Window,
    response: Times,
    service: Times,
    reads: Times,
    writes: Times,
    /// Of an open loop: how late the clients' side itself was.
    late: Times,
    seconds: Vec<Second>,
    counts: Counts,
    /// Operations that ended within the window, by outcome.
    ended: Counts,
    /// Ends minus intended starts, each clamped to the window: the integral of operations under way
    /// as the issuing side counts them, once all have ended.
    under_way_ns: i128,
    /// The same integral from the recorded samples alone.
    occupied_ns: u128,
}

#[derive(Clone, Debug)]
struct Second {
    done: u64,
    times: Times,
}

/// How many operations ended how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Begun; in all of the run.
    pub issued: u64,
    /// Ended somehow; in all of the run.
    pub answered: u64,
    /// Carried out.
    pub done: u64,
    /// Certainly not.
    pub failed: u64,
    /// Rolled back.
    pub aborted: u64,
    /// Nobody knows.
    pub timeouts: u64,
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Aborted => self.aborted += 1,
            Outcome::Timeout | Outcome::Unknown => self.timeouts += 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.issued += other.issued;
        self.answered += other.answered;
        self.done += other.done;
        self.failed += other.failed;
        self.aborted += other.aborted;
        self.timeouts += other.timeouts;
    }

    const fn completed(&self) -> u64 {
        self.done + self.failed + self.aborted + self.timeouts
    }
}

/// A run as figures.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// Of the operations whose intended start lay within the measured time.
    pub counts: Counts,
    /// Begun and never ended, in all of the run. More than zero is a bug of whoever drove the run.
    pub lost: u64,
    /// Done within the measured time, a second.
    pub throughput_ops: f64,
    /// Ended somehow within the measured time, a second.
    pub completions_ops: f64,
    /// Response time: done, and at the time-out value what nobody knows of.
    pub latency: Latency,
    /// Service time of the same.
    pub service: Latency,
    /// Response time of the reads among them.
    pub reads: Option<Latency>,
    /// Response time of the writes among them.
    pub writes: Option<Latency>,
    /// Response time in microseconds: HdrHistogram V2, deflated, in base64.
    pub histogram: String,
    /// By how much operations for which a client was free were sent later than they were meant to: the
    /// clients' own fault and nobody else's. None of a closed loop.
    pub late: Option<Latency>,
    /// One point a measured second, by the second in which operations ended.
    pub timeline: Vec<TimelinePoint>,
    /// Mean number of operations under way as the issuing side counted them.
    pub in_flight: f64,
    /// The completion rate times the mean response time, from the recorded operations; of one that
    /// straddles an edge of the measured time the part within. Little's law says that it equals
    /// [`in_flight`](Self::in_flight).
    pub rate_times_latency: f64,
}

impl Recorder {
    /// An empty record.
    #[must_use]
    pub fn new(window: Window) -> Self {
        let seconds = window.measured.as_nanos().div_ceil(1_000_000_000) as usize;
        let times = || Times::up_to(window.timeout);
        Self {
            window,
            response: times(),
            service: times(),
            reads: times(),
            writes: times(),
            late: times(),
            seconds: (0..seconds)
                .map(|_| Second {
                    done: 0,
                    times: times(),
                })
                .collect(),
            counts: Counts::default(),
            ended: Counts::default(),
            under_way_ns: 0,
            occupied_ns: 0,
        }
    }

    /// What is measured.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// An operation that was meant to start at `intended` begins. Followed by one
    /// [`record`](Self::record), in this or another recorder that is merged with this one.
    pub fn issue(&mut self, intended: Duration) {
        self.counts.issued += 1;
        // Until it ends it is under way; what is lost therefore stays so to the end.
        let remaining = self.window.measured - self.window.clamp(intended);
        self.under_way_ns += remaining.as_nanos() as i128;
    }

    /// A client was free at the moment `intended`, and sent its operation so much later.
    pub fn late(&mut self, intended: Duration, by: Duration) {
        if self.window.contains(intended) {
            self.late.record(by);
        }
    }

    /// An operation has ended, or was given up.
    pub fn record(&mut self, sample: &Sample) {
        let (begin, end) = (
            self.window.clamp(sample.intended),
            self.window.clamp(sample.ended),
        );
        self.counts.answered += 1;
        self.under_way_ns -= (self.window.measured - end).as_nanos() as i128;
        self.occupied_ns += end.saturating_sub(begin).as_nanos();
        let in_latency = matches!(
            sample.outcome,
            Outcome::Done | Outcome::Timeout | Outcome::Unknown
        );
        let (response, service) = self.times_of(sample);
        if self.window.contains(sample.ended) {
            self.ended.add(sample.outcome);
            let second = &mut self.seconds[end.as_secs() as usize];
            second.done += u64::from(sample.outcome == Outcome::Done);
            if in_latency {
                second.times.record(response);
            }
        }
        if self.window.contains(sample.intended) {
            self.counts.add(sample.outcome);
            if in_latency {
                self.response.record(response);
                self.service.record(service);
                match sample.kind {
                    Kind::Read => self.reads.record(response),
                    Kind::Write => self.writes.record(response),
                }
            }
        }
    }

    /// Response and service time; of what nobody knows, at least the time-out.
    fn times_of(&self, sample: &Sample) -> (Duration, Duration) {
        let response = sample.ended.saturating_sub(sample.intended);
        let service = sample.ended.saturating_sub(sample.started);
        match sample.outcome {
            Outcome::Timeout | Outcome::Unknown => {
                let late = self.window.timeout;
                (response.max(late), service.max(late))
            }
            Outcome::Done | Outcome::Failed | Outcome::Aborted => (response, service),
        }
    }

    /// Adds what another worker recorded of the same run.
    ///
    /// # Panics
    /// When the other one measured another window.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.window, other.window, "recorders of different runs");
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.late.merge(&other.late);
        for (ours, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            ours.done += theirs.done;
            ours.times.merge(&theirs.times);
        }
        self.counts.merge(&other.counts);
        self.ended.merge(&other.ended);
        self.under_way_ns += other.under_way_ns;
        self.occupied_ns += other.occupied_ns;
    }

    /// The run as figures.
    #[must_use]
    pub fn measured(&self) -> Measured {
        let span = self.window.measured.as_secs_f64();
        let measured_ns = self.window.measured.as_nanos() as f64;
        Measured {
            counts: self.counts,
            lost: self.counts.issued.saturating_sub(self.counts.answered),
            throughput_ops: self.ended.done as f64 / span,
            completions_ops: self.ended.completed() as f64 / span,
            latency: self.response.latency().unwrap_or_default(),
            service: self.service.latency().unwrap_or_default(),
            reads: self.reads.latency(),
            writes: self.writes.latency(),
            late: self.late.latency(),
            histogram: self.response.encode(),
            timeline: self.timeline(),
            in_flight: self.under_way_ns as f64 / measured_ns,
            rate_times_latency: self.occupied_ns as f64 / measured_ns,
        }
    }

    fn timeline(&self) -> Vec<TimelinePoint> {
        let point = |(second, at): (usize, &Second)| {
            let Latency { p50, p99, max, .. } = at.times.latency().unwrap_or_default();
            TimelinePoint {
                second: second as u32,
                operations: at.done,
                p50,
                p99,
                max,
            }
        };
        self.seconds.iter().enumerate().map(point).collect()
    }
}

#[cfg(test)]
mod tests;
