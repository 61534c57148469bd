use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const WINDOW: Window = Window {
    warmup: ms(1_000),
    measured: ms(4_000),
    timeout: ms(500),
};

fn sample(intended: u64, started: u64, ended: u64, outcome: Outcome) -> Sample {
    Sample {
        intended: ms(intended),
        started: ms(started),
        ended: ms(ended),
        kind: Kind::Write,
        outcome,
    }
}

fn one(sample: Sample) -> Measured {
    let mut recorder = Recorder::new(WINDOW);
    recorder.issue(sample.intended);
    recorder.record(&sample);
    recorder.measured()
}

#[test]
fn response_time_counts_from_the_intended_start() {
    let measured = one(sample(2_000, 2_300, 2_310, Outcome::Done));
    assert_eq!(measured.latency.max, 310_000);
    assert_eq!(measured.service.max, 10_000);
    assert_eq!(measured.writes.unwrap().max, 310_000);
    assert_eq!(measured.reads, None);
}

#[test]
fn what_never_came_back_counts_at_the_time_out() {
    for outcome in [Outcome::Timeout, Outcome::Unknown] {
        // An unknown outcome can come early: a broken connection does not make a system fast.
        let measured = one(sample(2_000, 2_000, 2_001, outcome));
        assert_eq!(measured.counts.timeouts, 1);
        assert_eq!(measured.latency.p50, 500_000);
        assert_eq!(measured.throughput_ops, 0.0);
    }
}

#[test]
fn a_quick_refusal_does_not_improve_the_latency() {
    for outcome in [Outcome::Failed, Outcome::Aborted] {
        let measured = one(sample(2_000, 2_000, 2_001, outcome));
        assert_eq!(measured.latency, Latency::default());
        assert_eq!(measured.counts.done, 0);
    }
}

#[test]
fn warm_up_is_not_measured_and_a_drained_tail_is() {
    let early = one(sample(999, 999, 1_100, Outcome::Done));
    assert_eq!(early.counts.done, 0);
    assert_eq!(
        early.throughput_ops, 0.25,
        "it ended within the measured time"
    );
    let late = one(sample(4_999, 4_999, 5_200, Outcome::Done));
    assert_eq!(late.counts.done, 1);
    assert_eq!(late.latency.max, 201_000);
    assert_eq!(late.throughput_ops, 0.0, "it ended after the measured time");
    let after = one(sample(5_000, 5_000, 5_001, Outcome::Done));
    assert_eq!(after.counts.done, 0);
}

#[test]
fn the_timeline_has_a_point_for_every_second_and_shows_an_outage() {
    let mut recorder = Recorder::new(WINDOW);
    for at in [1_000, 1_200, 4_900] {
        recorder.issue(ms(at));
        recorder.record(&sample(at, at, at + 10, Outcome::Done));
    }
    let counts: Vec<_> = recorder
        .measured()
        .timeline
        .iter()
        .map(|p| p.operations)
        .collect();
    assert_eq!(counts, [2, 0, 0, 1]);
}

#[test]
fn merged_workers_measure_what_one_would_have() {
    let mut all = Recorder::new(WINDOW);
    let mut parts = [Recorder::new(WINDOW), Recorder::new(WINDOW)];
    for i in 0..1_000 {
        let sample = sample(
            500 + 5 * i,
            500 + 5 * i,
            501 + 5 * i + i % 37,
            Outcome::Done,
        );
        for recorder in [&mut all, &mut parts[(i % 2) as usize]] {
            recorder.issue(sample.intended);
            recorder.record(&sample);
        }
    }
    let [mut first, second] = parts;
    first.merge(&second);
    assert_eq!(first.measured(), all.measured());
}

#[test]
fn the_histogram_can_be_read_back() {
    let measured = one(sample(2_000, 2_000, 2_123, Outcome::Done));
    let bytes = STANDARD.decode(&measured.histogram).unwrap();
    let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
    assert_eq!(read.len(), 1);
    assert!(read.equivalent(read.max(), 123_000));
}

#[test]
fn little_s_law_holds_of_a_closed_loop_and_not_of_one_that_loses_operations() {
    let mut recorder = Recorder::new(WINDOW);
    for client in 0..8 {
        let mut at = client;
        while at < 5_000 {
            recorder.issue(ms(at));
            recorder.record(&sample(at, at, at + 20, Outcome::Done));
            at += 20;
        }
    }
    let measured = recorder.measured();
    assert!(
        (measured.in_flight - 8.0).abs() < 1e-9,
        "{}",
        measured.in_flight
    );
    assert!((measured.rate_times_latency - 8.0).abs() < 1e-9);
    assert!((measured.throughput_ops * measured.latency.mean / 1e6 - 8.0).abs() < 0.1);
    recorder.issue(ms(1_000));
    let measured = recorder.measured();
    assert_eq!(measured.lost, 1);
    assert!((measured.in_flight - 9.0).abs() < 1e-9);
    assert!((measured.rate_times_latency - 8.0).abs() < 1e-9);
}

#[test]
fn a_time_longer_than_the_time_out_is_recorded_as_it_was() {
    let measured = one(sample(1_000, 60_000, 60_001, Outcome::Done));
    assert_eq!(measured.latency.max, 59_001_000);
}

#[test]
fn only_the_lateness_of_measured_moments_counts() {
    let mut recorder = Recorder::new(WINDOW);
    assert_eq!(recorder.measured().late, None);
    recorder.late(ms(500), ms(90));
    recorder.late(ms(2_000), ms(3));
    assert_eq!(recorder.measured().late.map(|late| late.max), Some(3_000));
}
