//! Other members, another leader: what an operator's program asks of the node that leads.

use super::gateway::{Handle, Reply};
use crate::{
    Decoder, Field, Index, NodeId,
    contract::replicated_log::{Member, MemberChange},
    service::{Answer, Manage, Refusal},
};
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use core::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two attempts to do what is refused for now.
const PAUSE: Duration = Duration::from_millis(20);

/// Why members or leader were not changed, or may not have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// Certainly not done: another node leads. Ask there.
    #[error("this node does not lead; {}", .0.map_or("the leader is not known".into(), |n| alloc::format!("node {n} does")))]
    NotLeader(Option<NodeId>),
    /// Certainly not done: another change is under way, or the leader has committed nothing of its own
    /// yet. Ask again.
    #[error("another change is under way; ask again when it is through")]
    ChangePending,
    /// Certainly not done: a learner that is behind would stall the others. Ask again.
    #[error("node {0} has not caught up yet; ask again")]
    NotCaughtUp(NodeId),
    /// Certainly not done, and never will be: the last voter removed, a stranger promoted, a member
    /// added twice.
    #[error("the group cannot be changed like that")]
    Impossible,
    /// The leader leads on, or a third node leads now.
    #[error("leadership was not handed over; service goes on")]
    TransferFailed,
    /// Certainly not done, for a reason that has nothing to do with members.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Done, or not, or perhaps later: time ran out, or leadership was lost meanwhile. Look at who
    /// belongs before asking again.
    #[error("no answer in time; it may have been done, or may be yet")]
    Unknown,
}

impl ManageError {
    /// What an answer to [`Management::manage`] means: what was done, decoded.
    ///
    /// # Errors
    /// Every answer but *done*.
    pub fn decode<T: Field>(answer: Answer) -> Result<T, Self> {
        let refusal = match answer {
            Answer::Done(result) => return read(result),
            Answer::Unknown => return Err(Self::Unknown),
            Answer::Refused(refusal) => refusal,
        };
        Err(match refusal {
            Refusal::NotLeader(hint) => Self::NotLeader(hint),
            Refusal::ChangePending => Self::ChangePending,
            Refusal::TooFarBehind(node) => Self::NotCaughtUp(node),
            Refusal::Impossible => Self::Impossible,
            Refusal::TransferFailed => Self::TransferFailed,
            other => Self::Refused(other),
        })
    }

    /// Whether asking the same node again later may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::ChangePending
                | Self::NotCaughtUp(_)
                | Self::Refused(Refusal::Busy | Refusal::DiskFull)
        )
    }
}

fn read<T: Field>(result: Bytes) -> Result<T, ManageError> {
    // Encoded by this very program or a node of the same version.
    T::take(&mut Decoder::new(result)).map_err(|_| ManageError::Unknown)
}

/// Who can ask a group for other members or another leader: a node's own [`Handle`], and an operator's
/// client from afar.
///
/// A newcomer is taken in as a learner, catches up, and is promoted; a node that is to go is removed:
///
/// ```
/// use consensus_core::{NodeId, contract::replicated_log::Member, runtime::{ManageError, Management}};
/// use core::time::Duration;
///
/// async fn replace(group: &impl Management, with: Member, old: NodeId) -> Result<(), ManageError> {
///     let (new, patience) = (with.node, Duration::from_secs(60));
///     group.add_learner(with, patience).await?;
///     group.promote(new, patience).await?;
///     group.remove(old, patience).await?;
///     Ok(())
/// }
/// ```
pub trait Management: Sync {
    /// Asks once; the answer is for [`ManageError::decode`]. *Unknown* after `within`.
    fn manage(&self, what: Manage, within: Duration) -> impl Future<Output = Answer> + Send;

    /// Changes who belongs, all at once, and waits until that is committed and in force; the log entry
    /// that says so. What is refused for now is not asked again.
    ///
    /// # Errors
    /// [`ManageError`].
    fn change_members(
        &self,
        changes: Vec<MemberChange>,
        within: Duration,
    ) -> impl Future<Output = Result<Index, ManageError>> + Send {
        async move { ManageError::decode(self.manage(Manage::Change(changes), within).await) }
    }

    /// Takes in a node that receives the log and does not vote: the first step of every newcomer. It
    /// need not run yet. Asks again while that is refused for now.
    ///
    /// # Errors
    /// [`ManageError`].
    fn add_learner(
        &self,
        member: Member,
        within: Duration,
    ) -> impl Future<Output = Result<Index, ManageError>> + Send {
        patiently(self, MemberChange::AddLearner(member), within)
    }

    /// Lets a learner vote as soon as it has caught up, for which this waits.
    ///
    /// # Errors
    /// [`ManageError`]; [`ManageError::NotCaughtUp`] when it still lags after `within`.
    fn promote(
        &self,
        node: NodeId,
        within: Duration,
    ) -> impl Future<Output = Result<Index, ManageError>> + Send {
        patiently(self, MemberChange::Promote(node), within)
    }

    /// Lets a node go, the leader included: it then steps down, and the others elect another. Asks
    /// again while that is refused for now.
    ///
    /// # Errors
    /// [`ManageError`].
    fn remove(
        &self,
        node: NodeId,
        within: Duration,
    ) -> impl Future<Output = Result<Index, ManageError>> + Send {
        patiently(self, MemberChange::Remove(node), within)
    }

    /// Takes a member in anew whose disk is lost or damaged, under a disk newly formatted: removes it,
    /// then takes it in as a learner. **Only after this has returned may the node start**; then
    /// [`promote`](Self::promote) it.
    ///
    /// # Errors
    /// [`ManageError`]. After [`ManageError::Unknown`] it may be removed and not taken in; repeat it.
    fn readmit(
        &self,
        member: Member,
        within: Duration,
    ) -> impl Future<Output = Result<Index, ManageError>> + Send {
        async move {
            let until = Instant::now() + within;
            match self.remove(member.node, within).await {
                // It is no member any more: an earlier attempt got so far.
                Ok(_) | Err(ManageError::Impossible) => {}
                Err(error) => return Err(error),
            }
            let left = until.saturating_duration_since(Instant::now());
            self.add_learner(member, left).await
        }
    }

    /// Hands leadership to a voter, or to the best placed, and waits until it leads; who does.
    ///
    /// # Errors
    /// [`ManageError`].
    fn transfer_leadership(
        &self,
        to: Option<NodeId>,
        within: Duration,
    ) -> impl Future<Output = Result<NodeId, ManageError>> + Send {
        async move { ManageError::decode(self.manage(Manage::Transfer(to), within).await) }
    }
}

/// Asks again while it is refused for now.
async fn patiently<G: Management + ?Sized>(
    group: &G,
    change: MemberChange,
    within: Duration,
) -> Result<Index, ManageError> {
    let until = Instant::now() + within;
    let mut refused = None;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let asked = group.change_members(vec![change.clone()], left);
        match asked.await {
            Err(error) if error.is_passing() && Instant::now() + PAUSE < until => {
                refused = Some(error);
                sleep(PAUSE).await;
            }
            // There was no time left to find the leader; why it refused before says more.
            Err(ManageError::NotLeader(None)) if refused.is_some() => {
                return Err(refused.unwrap_or(ManageError::Unknown));
            }
            ended => return ended,
        }
    }
}

/// At the node itself: refused unless it leads.
impl Management for Handle {
    async fn manage(&self, what: Manage, within: Duration) -> Answer {
        let asked: Reply = Self::manage(self, what);
        timeout(within, asked).await.unwrap_or(Answer::Unknown)
    }
}
