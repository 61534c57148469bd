//! `--algorithm LIST`: names, in the order of the registry.

use crate::ending::refusal;
use bench::algorithms::NAMES;

/// Reads a list of names, or `all`.
///
/// # Errors
/// A refusal that names what is not an algorithm, and what is.
pub(crate) fn chosen(list: &str) -> anyhow::Result<Vec<&'static str>> {
    if list == "all" {
        return Ok(NAMES.to_vec());
    }
    let mut chosen = Vec::new();
    for word in list.split(',').map(str::trim) {
        match NAMES.iter().find(|name| **name == word) {
            Some(name) if chosen.contains(name) => {
                return Err(refusal(format!(
                    "invalid --algorithm '{list}': {name} stands there twice"
                )));
            }
            Some(name) => chosen.push(*name),
            None => {
                return Err(refusal(format!(
                    "invalid --algorithm '{list}': `{word}` is none of {}, all",
                    NAMES.join(", ")
                )));
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_every_algorithm_and_a_name_is_itself() {
        assert_eq!(chosen("all").expect("it is good"), NAMES);
        assert_eq!(chosen(NAMES[0]).expect("it is good"), [NAMES[0]]);
    }

    #[test]
    fn what_is_no_algorithm_is_named_with_what_is() {
        for list in ["viewstamped", "", "paxos,,"] {
            let error = chosen(list).expect_err(list).to_string();
            assert!(error.contains(NAMES[0]), "{error}");
        }
        let twice = format!("{0},{0}", NAMES[0]);
        assert!(chosen(&twice).is_err());
    }
}
