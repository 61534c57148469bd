//! Key-value operations: the clients' side of the register and of the replicated log.

use crate::recorder::Outcome;
use bytes::Bytes;
use consensus_core::{
    kv,
    service::{Answer, Refusal},
};

/// The key of this number: eight bytes, so that every key costs the same.
#[must_use]
pub fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// What an answer means to the one who counts. A done operation whose result says *mismatch* is
/// done: the system did what it was asked.
#[must_use]
pub fn outcome(answer: &Answer) -> Outcome {
    match answer {
        Answer::Done(_) => Outcome::Done,
        Answer::Refused(Refusal::Aborted) => Outcome::Aborted,
        // It may have been carried out before the session went.
        Answer::Refused(Refusal::SessionExpired) | Answer::Unknown => Outcome::Unknown,
        Answer::Refused(_) => Outcome::Failed,
    }
}

/// The result in a done answer; none when there is no result, or bytes that are not one.
#[must_use]
pub fn result(answer: &Answer) -> Option<kv::Outcome> {
    let Answer::Done(body) = answer else {
        return None;
    };
    consensus_core::Wire::decode(body.clone()).ok()
}

/// Whether asking again, here or elsewhere, is certain not to carry it out twice and may help.
#[must_use]
pub const fn may_retry(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotLeader(_) | Refusal::Busy | Refusal::DiskFull | Refusal::ShuttingDown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_knows_is_told_apart_from_certainly_not() {
        assert_eq!(outcome(&Answer::Unknown), Outcome::Unknown);
        assert_eq!(
            outcome(&Answer::Refused(Refusal::SessionExpired)),
            Outcome::Unknown
        );
        assert_eq!(outcome(&Answer::Refused(Refusal::Busy)), Outcome::Failed);
        assert_eq!(
            outcome(&Answer::Refused(Refusal::Aborted)),
            Outcome::Aborted
        );
    }

    #[test]
    fn a_result_survives_the_wire() {
        let written = kv::Outcome::Written {
            position: 7,
            version: consensus_core::contract::register::Version(3),
        };
        assert_eq!(result(&Answer::Done(kv::encode(&written))), Some(written));
        assert_eq!(result(&Answer::Done(Bytes::from_static(b"\xff"))), None);
    }
}
