//! Who goes on when some links work and some do not, side by side [Ng23 §2].

use bench::harness::partial::{Shape, Verdict, fail, multipaxos_timeout};
use multipaxos::MultiPaxos;
use raft::Raft;

fn show(shape: Shape, name: &str, verdict: Verdict) {
    let progress = verdict.progress.map_or("none".to_string(), |after| {
        format!("{} ms", after.as_millis())
    });
    println!("{shape:<21} {name:<38} {progress:>9} {:>7}", verdict.epochs);
}

/// Multi-Paxos goes on within four of its election timeouts in all three, and its leadership comes to
/// rest. What Raft does, with and without its two remedies, is printed.
#[test]
fn multipaxos_goes_on_in_every_case_of_partial_connectivity() {
    println!(
        "{:<21} {:<38} {:>9} {:>7}",
        "shape", "algorithm", "progress", "leaders"
    );
    let options = multipaxos::Options::default();
    let timeout = multipaxos_timeout(&options);
    for shape in Shape::ALL {
        let verdict = fail::<MultiPaxos>(shape, &options).expect("no invariant breaks");
        show(shape, "multipaxos", verdict);
        assert!(
            verdict.progress.is_some_and(|after| after <= 4 * timeout),
            "{verdict:?}"
        );
        assert!(verdict.epochs <= 2, "{shape}: {verdict:?}");
        for (pre_vote, check_quorum) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let options = raft::Options {
                pre_vote,
                check_quorum,
                ..raft::Options::default()
            };
            let verdict = fail::<Raft>(shape, &options).expect("no invariant breaks");
            let name = format!("raft pre-vote {pre_vote} check-quorum {check_quorum}");
            show(shape, &name, verdict);
        }
    }
}
