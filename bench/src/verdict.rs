//! Whether a run's figures may be used.
//!
//! A measurement can go wrong without any error: the load could not keep up, operations fell under
//! the table, the clock was read in the wrong place. Each rule here catches one way. A run that
//! breaks one is shown and marked, and never ranked.

use crate::{
    recorder::Measured,
    report::json::{CheckReport, Verdict},
};

/// Little's law may be off by this share.
const LITTLE: f64 = 0.05;
/// An open loop must reach its rate within this share.
const RATE: f64 = 0.02;
/// Clients may be responsible for this share of the 99th percentile that is reported of others.
const STARVED: f64 = 0.5;
/// Below this, microseconds, their lateness is a scheduler's ordinary slice.
const STARVED_US: u64 = 1_000;

/// What is known of a run besides its latencies.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// Operations under way on average, as the issuing side knows: in a closed loop the number of
    /// clients.
    pub in_flight: f64,
    /// Completion rate times mean response time, from the recorded operations.
    pub rate_times_latency: f64,
    /// What was asked for and what was completed a second, of an open loop.
    pub rate: Option<(f64, f64)>,
    /// Issued, and neither answered nor given up.
    pub lost: u64,
    /// 99th percentiles, microseconds: of how late clients were that were free, and of the response. None
    /// of a closed loop.
    pub late: Option<(u64, u64)>,
    /// Busy processes and the cores they shared.
    pub load: Option<(u32, u32)>,
    /// What the history's checker said.
    pub check: Option<CheckReport>,
}

impl Evidence {
    /// Of a closed loop of `clients`, or of an open one at `rate` operations a second.
    #[must_use]
    pub fn of(measured: &Measured, clients: u32, rate: Option<f64>) -> Self {
        Self {
            in_flight: if rate.is_some() {
                measured.in_flight
            } else {
                f64::from(clients)
            },
            rate_times_latency: measured.rate_times_latency,
            rate: rate.map(|asked| (asked, measured.completions_ops)),
            lost: measured.lost,
            late: measured.late.map(|late| (late.p99, measured.latency.p99)),
            load: None,
            check: None,
        }
    }
}

/// Judges a run.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let broken = [
        little(evidence),
        rate(evidence),
        lost(evidence),
        starved(evidence),
        check(evidence),
    ];
    let mut reasons: Vec<String> = broken.into_iter().flatten().collect();
    let valid = reasons.is_empty();
    reasons.extend(oversubscribed(evidence));
    Verdict { valid, reasons }
}

/// [Little61]: what is under way is the rate times the time. Holds of every system over a long
/// enough time, so where it does not, the measurement is wrong.
fn little(evidence: &Evidence) -> Option<String> {
    let (l, lw) = (evidence.in_flight, evidence.rate_times_latency);
    // Not a number is not fine.
    let holds = (l - lw).abs() <= LITTLE * l.max(lw);
    (!holds).then(|| {
        format!(
            "little's law: {l:.2} operations under way, but rate times latency is {lw:.2}; the load \
             generator did not keep up, or operations are missing from the record"
        )
    })
}

fn rate(evidence: &Evidence) -> Option<String> {
    let (asked, reached) = evidence.rate?;
    let holds = (asked - reached).abs() <= RATE * asked;
    (!holds).then(|| {
        format!("rate: {reached:.1} operations a second of {asked:.1} asked for; latency is that of an overloaded system")
    })
}

fn lost(evidence: &Evidence) -> Option<String> {
    (evidence.lost > 0).then(|| {
        format!(
            "lost: {} operations were neither answered nor timed out",
            evidence.lost
        )
    })
}

/// What is reported of the system is then in large part a report of its clients.
fn starved(evidence: &Evidence) -> Option<String> {
    let (late, response) = evidence.late?;
    let starved = late > STARVED_US && late as f64 > STARVED * response as f64;
    starved.then(|| {
        format!(
            "starved: free clients sent up to {late} µs late (p99), over half of the response's {response} µs; \
             give the clients a core, or ask for less"
        )
    })
}

fn check(evidence: &Evidence) -> Option<String> {
    let check = evidence.check.as_ref().filter(|check| !check.ok)?;
    Some(format!("not {}: {}", check.kind, check.detail))
}

/// A warning: everybody is slowed down alike, so ratios within the run stay meaningful.
fn oversubscribed(evidence: &Evidence) -> Option<String> {
    let (processes, cores) = evidence.load?;
    (processes > cores).then(|| {
        format!("oversubscribed: {processes} busy processes on {cores} cores; compare within this run only")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn honest() -> Evidence {
        Evidence {
            in_flight: 64.0,
            rate_times_latency: 63.0,
            rate: None,
            lost: 0,
            late: None,
            load: None,
            check: None,
        }
    }

    fn reason(evidence: &Evidence) -> String {
        let verdict = judge(evidence);
        assert!(!verdict.valid, "{verdict:?}");
        assert_eq!(verdict.reasons.len(), 1, "{verdict:?}");
        verdict.reasons[0].clone()
    }

    #[test]
    fn an_honest_run_is_valid_without_a_word() {
        assert_eq!(
            judge(&honest()),
            Verdict {
                valid: true,
                reasons: vec![]
            }
        );
    }

    #[test]
    fn a_run_against_little_s_law_is_invalid() {
        for forged in [60.0, 68.0, 0.0, f64::NAN] {
            let run = Evidence {
                rate_times_latency: forged,
                ..honest()
            };
            assert!(reason(&run).starts_with("little's law: 64.00"), "{forged}");
        }
    }

    #[test]
    fn an_open_loop_that_misses_its_rate_is_invalid() {
        let run = |reached| Evidence {
            rate: Some((5_000.0, reached)),
            ..honest()
        };
        assert!(judge(&run(4_901.0)).valid);
        assert!(reason(&run(4_899.0)).starts_with("rate: 4899.0"));
        assert!(
            reason(&run(5_200.0)).starts_with("rate: 5200.0"),
            "a wrong clock is fast, too"
        );
    }

    #[test]
    fn a_run_that_loses_operations_is_invalid() {
        let run = Evidence {
            lost: 3,
            ..honest()
        };
        assert!(reason(&run).starts_with("lost: 3 operations"));
    }

    #[test]
    fn a_run_whose_clients_were_starved_is_invalid() {
        let run = |late, response| Evidence {
            late: Some((late, response)),
            ..honest()
        };
        assert!(
            reason(&run(6_000, 10_000)).starts_with("starved: free clients sent up to 6000 µs")
        );
        assert!(judge(&run(4_000, 10_000)).valid);
        assert!(judge(&run(900, 1_000)).valid, "a slice of the scheduler");
    }

    #[test]
    fn a_run_that_fails_its_safety_check_is_invalid() {
        let check = |ok| CheckReport {
            kind: "linearizable".into(),
            operations: 9,
            ok,
            detail: "a stale read".into(),
        };
        assert!(
            judge(&Evidence {
                check: Some(check(true)),
                ..honest()
            })
            .valid
        );
        let run = Evidence {
            check: Some(check(false)),
            ..honest()
        };
        assert_eq!(reason(&run), "not linearizable: a stale read");
    }

    #[test]
    fn oversubscription_is_a_warning_that_leaves_a_run_valid() {
        let verdict = judge(&Evidence {
            load: Some((4, 2)),
            ..honest()
        });
        assert!(verdict.valid);
        assert!(verdict.reasons[0].starts_with("oversubscribed: 4 busy processes on 2 cores"));
        assert!(
            judge(&Evidence {
                load: Some((2, 2)),
                ..honest()
            })
            .reasons
            .is_empty()
        );
    }

    #[test]
    fn every_broken_rule_is_named() {
        let run = Evidence {
            rate_times_latency: 1.0,
            rate: Some((100.0, 1.0)),
            lost: 1,
            load: Some((4, 2)),
            ..honest()
        };
        assert_eq!(judge(&run).reasons.len(), 4);
    }
}
