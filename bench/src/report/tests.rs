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

/// An open loop during which service was away for a second.
fn stalled() -> Report {
    let mut report = report();
    let mut run = report.runs[0].clone();
    (run.mode, run.rate) = (json::Loop::Open, Some(2_000.0));
    (run.latency_us.p99, run.service_us.p99) = (812_000, 2_900);
    run.faults.truncate(1);
    run.faults[0].recovery = Some(json::Recovery {
        detect_ms: Some(251.0),
        elect_ms: Some(10.0),
        commit_ms: Some(151.0),
        catch_up_ms: None,
        resolution_ms: 6.0,
    });
    report.runs = vec![run];
    report
}

#[test]
fn response_and_service_time_of_an_open_loop_stand_side_by_side() {
    let report = stalled();
    let said = "p99 counted from the intended start is 812.00 ms, from the sending 2.90 ms: 280 times, 2.4 \
                orders of magnitude";
    let text = table::render(&report);
    assert!(
        text.contains("service p99") && text.contains("2.90 ms"),
        "{text}"
    );
    assert!(text.contains(said), "{text}");
    let page = html::page(&report);
    assert!(
        page.contains(said) && page.contains("the sending"),
        "{page}"
    );
    // In a closed loop both are one, and nothing is said.
    let mut closed = report;
    closed.runs[0].rate = None;
    assert!(!table::render(&closed).contains("orders of magnitude"));
    assert!(!html::page(&closed).contains("the sending"));
}

#[test]
fn an_outage_is_told_in_its_parts() {
    let report = stalled();
    let said = "kill leader (node 1) at 3.00 s: detect 251 ms, elect 10 ms, first commit 151 ms (known to 6 ms)";
    assert!(table::render(&report).contains(said));
    let page = html::page(&report);
    for cell in [
        "<td>412 ms</td>",
        "<td>251 ms</td>",
        "<td>10 ms</td>",
        "<td>151 ms</td>",
        "<td>–</td>",
    ] {
        assert!(page.contains(cell), "{cell}");
    }
}

#[test]
fn searches_are_told_best_first_and_their_runs_are_not_ranked() {
    let mut report = report();
    let run = report.runs[0].clone();
    let share = |algorithm: &str, share, p99| {
        let mut run = Run {
            algorithm: algorithm.into(),
            share: Some(share),
            rate: Some(100.0 * f64::from(share)),
            mode: json::Loop::Open,
            ..run.clone()
        };
        (run.latency_us.p50, run.latency_us.p99) = (400, p99);
        run
    };
    report.runs = vec![
        share("paxos", 50, 900),
        share("raft", 50, 700),
        share("raft", 100, 9_000),
    ];
    let search = |algorithm: &str, rate| json::Search {
        algorithm: algorithm.into(),
        repetition: 0,
        bound_us: 10_000,
        rate: Some(rate),
        steps: vec![json::SearchStep {
            rate: 2.0 * rate,
            throughput_ops: rate,
            p99_us: 70_000,
            held: false,
            why: "p99 is 70000 µs".into(),
        }],
    };
    report.searches = vec![search("paxos", 5_000.0), search("raft", 10_000.0)];
    let text = table::render(&report);
    assert!(text.contains("ops/s with p99 within 10.00 ms"), "{text}");
    let place = |what: &str| {
        text.rfind(what)
            .unwrap_or_else(|| panic!("{what} in {text}"))
    };
    assert!(place("10 000") < place("5 000"), "{text}");
    assert!(text.contains("400 µs, 700 µs"), "{text}");
    assert!(!text.contains('#') && text.contains("of search"), "{text}");
    let page = html::page(&report);
    assert!(page.contains("20 000 /s: p99 70.00 ms, did not hold: p99 is 70000 µs"));
}

#[test]
fn a_fault_that_struck_a_little_later_is_the_same_fault() {
    let mut report = report();
    let mut run = report.runs[0].clone();
    run.faults.truncate(1);
    let at = |algorithm: &str, at_s| {
        let mut run = Run {
            algorithm: algorithm.into(),
            ..run.clone()
        };
        run.faults[0].at_s = at_s;
        run
    };
    report.runs = vec![at("raft", 3.04), at("paxos", 3.06), at("twophase", 5.0)];
    report.runs[1].throughput_ops /= 2.0;
    let text = table::render(&report);
    let ranks = ["#1", "#2"].map(|rank| text.matches(rank).count());
    assert_eq!(ranks, [2, 1], "{text}");
}

#[test]
fn every_kind_of_invalid_run_is_marked_and_explained_and_the_next_one_leads() {
    let reasons = [
        "starved: free clients",
        "rate: 1 of 2",
        "lost: 3 operations",
    ];
    for reason in reasons {
        let mut report = report();
        let good = report.runs[0].clone();
        let mut bad = Run {
            algorithm: "paxos".into(),
            throughput_ops: 99_999.0,
            ..good.clone()
        };
        bad.verdict = json::Verdict {
            valid: false,
            reasons: vec![reason.into()],
        };
        report.runs = vec![bad, good];
        let text = table::render(&report);
        let row = |name: &str| {
            text.lines()
                .find(|line| line.contains(name))
                .unwrap()
                .to_owned()
        };
        assert!(row(" paxos ").contains("invalid"), "{text}");
        assert!(row(" raft ").contains("#1"), "{text}");
        assert!(text.contains(&format!("invalid: paxos, repetition 0: {reason}")));
        let page = html::page(&report);
        assert!(page.contains("class=\"invalid\"") && page.contains(reason));
    }
}
