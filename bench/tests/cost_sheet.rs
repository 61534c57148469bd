//! The cost sheet of README.md is what the simulator counts. `UPDATE_EXPECT=1` rewrites it.

#![allow(clippy::unwrap_used)]

use bench::algorithms::Shipped;
use std::{env, fs};

const BEGIN: &str = "<!-- cost sheet -->\n";
const END: &str = "<!-- end of the cost sheet -->\n";

#[test]
fn readme_shows_the_cost_sheet_as_it_is_counted() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("it has its place");
    let (shown, after) = rest.split_once(END).expect("its place has an end");
    let sheet = bench::cost::markdown::<Shipped>().unwrap();
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(readme, format!("{before}{BEGIN}\n{sheet}\n{END}{after}")).unwrap();
    } else {
        assert_eq!(shown.trim(), sheet.trim(), "UPDATE_EXPECT=1 rewrites it");
    }
}
