----------------------------- MODULE TwoPhase -----------------------------
(***************************************************************************)
(* Two-phase commit as an abstract machine, after the specification of     *)
(* [GrayLamport06 section 3]: resource managers, one transaction manager,  *)
(* and a set of messages that only grows, which is loss, delay and         *)
(* repetition in one.  No disks, no crashes: those are checked on the      *)
(* production code in tests/model.rs.                                      *)
(***************************************************************************)
CONSTANT RM

VARIABLES
    rmState,      \* of each resource manager
    tmState,      \* of the transaction manager
    tmPrepared,   \* whom the transaction manager knows to be prepared
    msgs          \* everything ever sent

vars == <<rmState, tmState, tmPrepared, msgs>>

Prepared(r) == [type |-> "Prepared", rm |-> r]
Commit == [type |-> "Commit"]
Abort == [type |-> "Abort"]

TypeOK ==
    /\ rmState \in [RM -> {"working", "prepared", "committed", "aborted"}]
    /\ tmState \in {"init", "committed", "aborted"}
    /\ tmPrepared \subseteq RM
    /\ msgs \subseteq {Prepared(r) : r \in RM} \cup {Commit, Abort}

Init ==
    /\ rmState = [r \in RM |-> "working"]
    /\ tmState = "init"
    /\ tmPrepared = {}
    /\ msgs = {}

TMHears(r) ==
    /\ tmState = "init"
    /\ Prepared(r) \in msgs
    /\ tmPrepared' = tmPrepared \cup {r}
    /\ UNCHANGED <<rmState, tmState, msgs>>

TMCommits ==
    /\ tmState = "init"
    /\ tmPrepared = RM
    /\ tmState' = "committed"
    /\ msgs' = msgs \cup {Commit}
    /\ UNCHANGED <<rmState, tmPrepared>>

TMAborts ==
    /\ tmState = "init"
    /\ tmState' = "aborted"
    /\ msgs' = msgs \cup {Abort}
    /\ UNCHANGED <<rmState, tmPrepared>>

RMPrepares(r) ==
    /\ rmState[r] = "working"
    /\ rmState' = [rmState EXCEPT ![r] = "prepared"]
    /\ msgs' = msgs \cup {Prepared(r)}
    /\ UNCHANGED <<tmState, tmPrepared>>

RMGivesUp(r) ==
    /\ rmState[r] = "working"
    /\ rmState' = [rmState EXCEPT ![r] = "aborted"]
    /\ UNCHANGED <<tmState, tmPrepared, msgs>>

RMCommits(r) ==
    /\ Commit \in msgs
    /\ rmState' = [rmState EXCEPT ![r] = "committed"]
    /\ UNCHANGED <<tmState, tmPrepared, msgs>>

RMAborts(r) ==
    /\ Abort \in msgs
    /\ rmState' = [rmState EXCEPT ![r] = "aborted"]
    /\ UNCHANGED <<tmState, tmPrepared, msgs>>

Next ==
    \/ TMCommits
    \/ TMAborts
    \/ \E r \in RM :
        \/ TMHears(r)
        \/ RMPrepares(r)
        \/ RMGivesUp(r)
        \/ RMCommits(r)
        \/ RMAborts(r)

Spec == Init /\ [][Next]_vars

(* AC1: nobody commits beside another's abort. *)
Consistent ==
    \A a, b \in RM : ~(rmState[a] = "committed" /\ rmState[b] = "aborted")
===========================================================================
