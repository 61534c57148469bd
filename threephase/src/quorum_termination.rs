//! How a quorum ends a transaction: E3PC \[KeidarDolev98\].

use crate::{
    Stage,
    election::{Election, Verdict},
    participant::Part,
};
use consensus_core::{NodeId, contract::atomic_commit::Outcome, majority};

/// The rule over the participants that answered. Whoever has decided answers with its decision, so here
/// nobody has.
///
/// `enough`: a quorum will do. `late`: no more answers are expected. `any`: the planted bug that heeds a
/// pre-commit whatever newer attempt stands beside it.
///
/// A decision needs a quorum that acknowledged an attempt of one round; every quorum of reports meets
/// it, and sites in newer rounds take part in no older attempt. So if an attempt can have been decided,
/// the newest attempt reported is it, or one that followed it and went the same way.
pub(crate) fn judge(
    part: &Part,
    election: &Election,
    enough: bool,
    late: bool,
    any: bool,
) -> Verdict {
    let heard = |node: &NodeId| election.reports.contains_key(node);
    let participants = part.participants.iter().map(|(node, _)| *node);
    let missing: alloc::vec::Vec<_> = participants.clone().filter(|node| !heard(node)).collect();
    let reports = participants.filter_map(|node| election.reports.get(&node).copied());
    let count = reports.clone().count();
    if count < majority(part.participants.len()) {
        return match late {
            true => Verdict::Blocked(missing),
            false => Verdict::Wait,
        };
    }
    if !enough && !missing.is_empty() {
        return Verdict::Wait;
    }
    let newest = reports.clone().map(|report| report.attempt).max();
    let mut counted = reports.filter(|report| any || Some(report.attempt) == newest);
    let commits = match any {
        true => counted.any(|report| report.stage == Stage::PreCommitted),
        false => counted.all(|report| report.stage == Stage::PreCommitted),
    };
    Verdict::Attempt(match commits {
        true => Outcome::Commit,
        false => Outcome::Abort,
    })
}
