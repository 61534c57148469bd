//! The page that says which test holds a node to which scenario.

use crate::sources::{all_rust_files, root};
use std::{collections::BTreeMap, fs};

/// What a row of the table names: its scenario, and the tests.
fn row(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let scenario = cells.next()?.split(' ').next()?;
    let tests = cells.next()?.split('`').skip(1).step_by(2).collect();
    Some((scenario, tests))
}

#[test]
fn every_scenario_of_disk_and_wire_has_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/faults.md")).expect("the page is there");
    let (_, table) = page.split_once("## Which test").expect("it has the table");
    let rows: BTreeMap<&str, Vec<&str>> = table.lines().filter_map(row).collect();
    let numbered = |name: &str, numbers: &[u32]| {
        let ids: Vec<String> = numbers.iter().map(|n| format!("{name}{n:02}")).collect();
        ids
    };
    let disk = [1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17];
    let ten: Vec<u32> = (1..=10).collect();
    let attacks = ten.iter().map(|n| format!("X{n}"));
    let all = numbered("ST-", &disk)
        .into_iter()
        .chain(numbered("NW-", &ten));
    let code: String = all_rust_files()
        .iter()
        .map(|file| fs::read_to_string(file).expect("it was found"))
        .collect();
    for scenario in all.chain(attacks) {
        let tests = rows
            .get(&*scenario)
            .unwrap_or_else(|| panic!("{scenario} has no row"));
        assert!(!tests.is_empty(), "{scenario} has no test");
        for test in tests {
            assert!(
                code.contains(&format!("fn {test}(")),
                "{scenario}: there is no {test}"
            );
        }
    }
}
