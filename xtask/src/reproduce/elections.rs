//! Elections of Raft, many of each kind.

use super::measure::Measured;
use bench::harness::election::{Election, split_probability, splits};
use std::time::Duration;

/// Elections behind each row of outages.
const OUTAGES: u64 = 1_000;
/// First elections behind each share of split votes.
const FIRSTS: u64 = 4_000;
/// Elections behind each row of a wide area.
const WIDE: u64 = 2_000;

fn parse<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

/// Outages in milliseconds, the shortest first; those that did not end are infinite.
fn outages(election: &Election, count: u64) -> Result<Vec<f64>, String> {
    let outages = (0..count).map(|seed| {
        let outage = election.outage(seed)?;
        Ok(outage.map_or(f64::INFINITY, |outage| outage.as_secs_f64() * 1e3))
    });
    let mut outages = outages.collect::<Result<Vec<f64>, String>>()?;
    outages.sort_unstable_by(f64::total_cmp);
    Ok(outages)
}

/// Of `sorted`, the value that the share `below` of all do not exceed.
fn quantile(sorted: &[f64], below: f64) -> f64 {
    let rank = (sorted.len() as f64 * below).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// `LEAST MOST`, in milliseconds: quantiles of outages.
pub(super) fn outage(words: &[&str]) -> Measured {
    let [least, most] = words else { return None };
    let (least, most) = (parse(least)?, parse(most)?);
    let timeout = Duration::from_millis(least)..=Duration::from_millis(most);
    let outages = outages(&Election::published(timeout), OUTAGES);
    let quantiles = [0.1, 0.5, 0.9, 0.99, 1.0];
    Some(outages.map(|sorted| quantiles.map(|below| quantile(&sorted, below)).to_vec()))
}

/// `SERVERS ALIVE SHARE`: the formula's probability of a split, and the share of elections.
pub(super) fn split(words: &[&str]) -> Measured {
    let [servers, alive, share] = words else {
        return None;
    };
    let (servers, alive, share) = (parse(servers)?, parse(alive)?, parse(share)?);
    let split = (0..FIRSTS)
        .map(|seed| splits(servers, alive, share, seed).map(u32::from))
        .sum::<Result<u32, String>>();
    Some(split.map(|split| {
        let simulated = f64::from(split) / FIRSTS as f64;
        vec![split_probability(servers, alive, share), simulated]
    }))
}

/// `DOWN`: the mean and a high quantile over a wide area, with so many servers down beside the leader.
pub(super) fn wide(words: &[&str]) -> Measured {
    let [down] = words else { return None };
    let ms = Duration::from_millis;
    let election = Election {
        servers: 5,
        down: parse(down)?,
        ineligible: 0,
        timeout: ms(300)..=ms(600),
        delay: ms(30)..=ms(40),
        sync: Duration::ZERO,
        cutoff: Duration::from_secs(60),
    };
    Some(outages(&election, WIDE).map(|sorted| {
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        vec![mean, quantile(&sorted, 0.999)]
    }))
}
