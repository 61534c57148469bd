use super::{
    json::{CheckReport, Report, Run},
    *,
};
use crate::recorder::{Kind, Outcome, Recorder, Sample, Window};
use std::time::Duration;

fn sample() -> Report {
    serde_json::from_str(include_str!("../../testdata/report.json")).unwrap()
}

fn histogram() -> String {
    let second = Duration::from_secs(1);
    let mut recorder = Recorder::new(Window {
        warmup: Duration::ZERO,
        measured: second,
        timeout: second,
    });
    for i in 1..=1_000 {
        let (intended, ended) = (Duration::ZERO, Duration::from_micros(i));
        let kind = Kind::Write;
        let outcome = Outcome::Done;
        recorder.record(&Sample {
            intended,
            started: intended,
            ended,
            kind,
            outcome,
        });
    }
    recorder.measured().histogram
}

/// One valid run, its baseline, one that misses its rate, one that broke a safety property.
fn report() -> Report {
    let mut report = sample();
    let good = Run {
        histogram: histogram(),
        ..report.runs[0].clone()
    };
    let echo = Run {
        algorithm: "echo".into(),
        throughput_ops: 40_000.0,
        ..good.clone()
    };
    let mut late = Run {
        histogram: histogram(),
        ..report.runs[1].clone()
    };
    late.throughput_ops = 99_999.0;
    let mut wrong = Run {
        algorithm: "paxos".into(),
        throughput_ops: 77_777.0,
        ..good.clone()
    };
    let detail = "a stale read <of key 1>".into();
    wrong.check = Some(CheckReport {
        kind: "linearizable".into(),
        operations: 9,
        ok: false,
        detail,
    });
    wrong.verdict.valid = false;
    wrong.verdict.reasons = vec!["not linearizable: a stale read <of key 1>".into()];
    report.runs = vec![good, echo, late, wrong];
    report
}

#[test]
fn a_folder_is_written_and_read_back() {
    let dir = std::env::temp_dir().join(format!("bench-report-{}", std::process::id()));
    let report = report();
    report.write(&dir).unwrap();
    assert_eq!(Report::read(&dir).unwrap(), report);
    let csv = fs::read_to_string(dir.join("runs/000-raft-0.timeline.csv")).unwrap();
    assert_eq!(csv.lines().nth(1), Some("0,10000,5003,20015,31007"));
    fs::remove_file(dir.join("report.html")).unwrap();
    Report::rebuild(&dir).unwrap();
    assert!(dir.join("report.html").exists());
    let other = report
        .to_json()
        .replacen("\"schema\": 1", "\"schema\": 2", 1);
    fs::write(dir.join("report.json"), other).unwrap();
    let error = Report::read(&dir).unwrap_err().to_string();
    assert!(
        error.ends_with("has schema 2, this program reads 1"),
        "{error}"
    );
    fs::remove_dir_all(&dir).unwrap();
    assert!(
        Report::read(&dir)
            .unwrap_err()
            .to_string()
            .starts_with("cannot read")
    );
}

#[test]
fn the_page_asks_nobody_for_anything() {
    let page = html::page(&report());
    for reference in [
        "http:", "https:", "//", "<script", "<link", "@import", "url(",
    ] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert_eq!(page.matches("<svg").count(), 3);
    assert_eq!(
        page.matches("aria-label=").count(),
        3 + 2,
        "drawings and wide tables have names"
    );
}

#[test]
fn the_page_shows_command_environment_faults_and_verdicts() {
    let page = html::page(&report());
    for shown in [
        "cargo xtask cluster --algorithm raft",
        "0123456789ab-dirty",
        "kill leader",
        "oversubscribed: 5 busy processes on 2 cores",
        "rate: 0.0 operations a second",
        "a stale read &lt;of key 1&gt;",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

#[test]
fn a_run_that_broke_a_safety_property_publishes_no_figures() {
    let report = report();
    for text in [html::page(&report), table::render(&report)] {
        assert!(!text.contains("77 777"), "{text}");
        assert!(text.contains("a stale read"));
    }
}

#[test]
fn invalid_runs_and_baselines_are_shown_and_never_ranked() {
    let text = table::render(&report());
    let line = |name: &str| {
        let found = text.lines().find(|line| line.contains(name));
        found
            .unwrap_or_else(|| panic!("{name} in {text}"))
            .to_owned()
    };
    assert!(line(" raft ").contains("#1"), "{text}");
    for name in [" echo ", " twophase ", " paxos "] {
        assert!(!line(name).contains('#'), "{text}");
    }
    assert!(line(" twophase ").contains("invalid"), "{text}");
    assert!(line(" twophase ").contains("99 999"), "{text}");
    assert!(
        text.contains("oversubscribed: 5 busy processes on 2 cores"),
        "{text}"
    );
}

#[test]
fn repetitions_are_one_row_with_an_interval() {
    let mut report = report();
    let run = report.runs[0].clone();
    let again = |repetition, throughput_ops| Run {
        repetition,
        throughput_ops,
        ..run.clone()
    };
    report.runs = vec![again(0, 9_000.0), again(1, 10_000.0), again(2, 11_000.0)];
    let text = table::render(&report);
    assert_eq!(text.matches(" raft ").count(), 1, "{text}");
    assert!(text.contains("10 000 [9 000, 11 000]"), "{text}");
}
