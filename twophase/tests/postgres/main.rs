//! PostgreSQL as a participant, on servers that these tests start themselves: `initdb` and `postgres`
//! are looked for in `PATH` and in `/usr/lib/postgresql`. Where they are not found, or the crate is built
//! without its feature `postgres`, each test says on standard error that it was skipped.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "postgres")]
mod servers;
#[cfg(feature = "postgres")]
mod transfers;
#[cfg(feature = "postgres")]
mod windows;

use std::io::Write as _;

/// Past the harness, which keeps what a test prints to itself.
fn skip(test: &str, why: &str) {
    let line = format!("test {test} is skipped: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

macro_rules! tests {
    ($($module:ident::$test:ident),* $(,)?) => {$(
        #[cfg(feature = "postgres")]
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            match servers::programs() {
                Some(_) => $module::$test().await,
                None => skip(stringify!($test), "there is no PostgreSQL server here"),
            }
        }

        #[cfg(not(feature = "postgres"))]
        #[test]
        fn $test() {
            skip(stringify!($test), "it needs the feature `postgres`");
        }
    )*};
}

tests! {
    windows::a_server_that_prepares_nothing_is_refused,
    windows::work_is_voted_as_it_ends,
    windows::a_lost_answer_to_prepare_is_looked_up,
    windows::a_start_says_what_is_held_and_touches_nobody_elses,
    transfers::a_payment_survives_kill_9_at_every_step,
    transfers::payments_are_conserved_when_each_tenth_kills_somebody,
}
