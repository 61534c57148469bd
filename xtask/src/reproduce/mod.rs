//! `cargo xtask reproduce`: published tables beside ours, a tick or a cross a row.

mod commit;
mod consensus;
mod elections;
mod leaders;
mod livelock;
mod measure;
mod table;

use crate::{
    cluster::root,
    ending::{DONE, FAILED, refused},
    flags::ReproduceFlags,
};
use anyhow::Context as _;
use bench::harness::coordinator_killed;
use std::{fmt::Write as _, fs};
use table::{Ruling, Table};

/// The tables, in the order in which they are shown.
const TABLES: [&str; 11] = [
    include_str!("../../reproduce/1_consensus.toml"),
    include_str!("../../reproduce/2_sites.toml"),
    include_str!("../../reproduce/3_commit.toml"),
    include_str!("../../reproduce/4_presumptions.toml"),
    include_str!("../../reproduce/5_elections.toml"),
    include_str!("../../reproduce/6_splits.toml"),
    include_str!("../../reproduce/7_wide.toml"),
    include_str!("../../reproduce/8_livelock.toml"),
    include_str!("../../reproduce/9_staged.toml"),
    include_str!("../../reproduce/10_succession.toml"),
    include_str!("../../reproduce/11_partial.toml"),
];

/// The page, relative to the root of the repository.
const PAGE: &str = "docs/reproduce.md";

const HEAD: &str = "\
# Published figures, and ours

`cargo xtask reproduce` measures every figure under *ours* anew, in virtual time and from fixed seeds, and
writes this page; it ends with status 1 when a row fails. The published figures and what is accepted stand in
`xtask/reproduce/`. ✓ agrees, ✗ does not, – is shown and not judged. The sources are listed in
[papers.md](papers.md).
";

/// What no paper has as a table, and every one of them argues about.
const KILLED: &str = "The coordinator killed at every step";

const KILLED_NOTE: &str = "\
Not published: what each protocol for atomic commit makes of the same deaths, in a network that stays whole and in one
that is cut between participant 1 and the others. The coordinator takes no part in the work, everybody votes yes, a
message takes 1 ms and a sync 0.1 ms. *Blocks*: for longer than a minute, until the coordinator or the network is back;
then it ends as said. *Diverges*: one commits what another aborts. [GrayLamport06 §3.3], [Skeen81], [KeidarDolev98].
";

/// The command.
pub(crate) fn command(flags: &ReproduceFlags) -> anyhow::Result<u8> {
    let (page, failed) = page(&flags.only)?;
    print!("{page}");
    if flags.only.is_empty() {
        let file = root().join(PAGE);
        fs::write(&file, &page)
            .with_context(|| format!("cannot write {}", file.display()))
            .map_err(refused)?;
        eprintln!("wrote {}", file.display());
    }
    if failed.is_empty() {
        return Ok(DONE);
    }
    for row in failed {
        eprintln!("FAILED {row}");
    }
    Ok(FAILED)
}

/// The page of the tables whose titles contain `only`, and the names of the rows that fail.
fn page(only: &str) -> anyhow::Result<(String, Vec<String>)> {
    let mut page = HEAD.to_owned();
    let mut failed = Vec::new();
    let only = only.to_lowercase();
    for text in TABLES {
        let table = Table::read(text)?;
        if !table.title.to_lowercase().contains(&only) {
            continue;
        }
        write!(page, "\n## {}\n\n{}\n\n", table.title, table.note.trim())?;
        writeln!(page, "Source: {}.\n", table.source)?;
        let columns = table.columns.join(" / ");
        writeln!(
            page,
            "| | published: {columns} | ours | |\n|---|---|---|---|"
        )?;
        for row in &table.rows {
            let ours = match &row.measure {
                Some(what) => measure::measure(what)
                    .map_err(|why| anyhow::anyhow!("{}, {}: {why}", table.title, row.name))?,
                None => Vec::new(),
            };
            let ruling = table.judge(row, &ours)?;
            if ruling == Ruling::Fails {
                failed.push(format!("{}: {}", table.title, row.name));
            }
            let (published, ours) = (table.published(row), table.shown(&ours));
            writeln!(page, "| {} | {published} | {ours} | {ruling} |", row.name)?;
        }
    }
    if KILLED.to_lowercase().contains(&only) {
        let rows = coordinator_killed::rows().map_err(anyhow::Error::msg)?;
        let table = coordinator_killed::render(&rows);
        write!(page, "\n## {KILLED}\n\n{KILLED_NOTE}\n{table}\n")?;
    }
    Ok((page, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_what_is_measured_and_no_row_fails() {
        let (page, failed) = page("").expect("everything is measured");
        assert_eq!(failed, Vec::<String>::new());
        let shown = fs::read_to_string(root().join(PAGE)).expect("it is there");
        assert!(
            page == shown,
            "{PAGE} is old; `cargo xtask reproduce` writes it anew"
        );
    }
}
