//! How operational sites end a transaction \[SkeenStonebraker83\], and when recovered ones may.

use crate::{
    Stage,
    election::{Election, Verdict},
    participant::Part,
};
use consensus_core::{
    NodeId,
    contract::atomic_commit::{Outcome, Transaction},
};

/// The rule of classic three-phase commit over the sites that answered. Whoever has decided answers
/// with its decision, so here nobody has.
///
/// `late`: whoever has not answered has failed. `all_equal`: the planted bug that takes recovered sites
/// for operational ones.
///
/// An operational candidate goes by the operational sites: any of them pre-committed, and everybody is
/// brought there and commits; all in wait, and no site that failed can have committed, since a commit
/// needs every operational site ready: abort.
///
/// A recovered one does not know what was decided while it was away, and hears it or **waits for every
/// participant**: the last to fail is among them. Then nobody has decided, and nobody will in an older
/// round, so either outcome is safe; a pre-commit anywhere means that a coordinator which is not back
/// may have committed (it never does before one participant has acknowledged), so that is carried on.
pub(crate) fn judge(
    me: NodeId,
    transaction: Transaction,
    part: &Part,
    election: &Election,
    late: bool,
    all_equal: bool,
) -> Verdict {
    let silent = |node: &NodeId| !election.reports.contains_key(node);
    let participants = part.participants.iter().map(|(node, _)| *node);
    let missing: alloc::vec::Vec<_> = participants.filter(silent).collect();
    let heard_coordinator = me == transaction.coordinator || !silent(&transaction.coordinator);
    if !(late || missing.is_empty() && heard_coordinator) {
        return Verdict::Wait;
    }
    let recovered = part.recovered && !all_equal;
    if recovered && !missing.is_empty() {
        return Verdict::Blocked(missing);
    }
    let counted = election.reports.values();
    let mut counted = counted.filter(|report| recovered || all_equal || !report.recovered);
    if counted.any(|report| report.stage == Stage::PreCommitted) {
        Verdict::Attempt(Outcome::Commit)
    } else {
        Verdict::Decide(Outcome::Abort)
    }
}
