//! What commands know of algorithms: those that `--algorithm LIST` names, in the order of the registry.

use crate::ending::refusal;
use bench::{
    algorithms::{Registry, Visitor},
    cost::{self, Cost},
    harness::Load,
};
use bytes::Bytes;
use consensus_core::{Contract, Wire as _, runtime::Runnable};

/// What a registry knows of an algorithm by its name, without the types that it knows it by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Catalogue {
    names: fn() -> Vec<&'static str>,
    contract: fn(&str) -> Contract,
    record: fn(&str, Bytes) -> anyhow::Result<String>,
    cost: fn(&str, u16) -> Result<Option<Cost>, String>,
}

impl Catalogue {
    /// Of everything that `R` knows.
    pub(crate) fn of<R: Registry>() -> Self {
        Self {
            names: R::names,
            contract: contract::<R>,
            record: record::<R>,
            cost: cost::named::<R>,
        }
    }

    /// Reads a list of names, or `all`.
    ///
    /// # Errors
    /// A refusal that names what is not an algorithm, and what is.
    pub(crate) fn chosen(&self, list: &str) -> anyhow::Result<Vec<&'static str>> {
        chosen(list, &(self.names)())
    }

    /// What an algorithm promises; nothing that matters of what is no algorithm.
    pub(crate) fn contract(&self, name: &str) -> Contract {
        (self.contract)(name)
    }

    /// A record of an algorithm's log, for people.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn record(&self, name: &str, bytes: Bytes) -> anyhow::Result<String> {
        (self.record)(name, bytes)
    }

    /// What a commit takes; none of what is no algorithm.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub(crate) fn cost(&self, name: &str, nodes: u16) -> Result<Option<Cost>, String> {
        (self.cost)(name, nodes)
    }
}

fn contract<R: Registry>(name: &str) -> Contract {
    struct Ask(Contract);
    impl Visitor for Ask {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            self.0 = A::CONTRACT;
        }
    }
    let mut ask = Ask(Contract::Register);
    R::named(name, &mut ask);
    ask.0
}

fn record<R: Registry>(name: &str, bytes: Bytes) -> anyhow::Result<String> {
    struct Show(Bytes, anyhow::Result<String>);
    impl Visitor for Show {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let record = A::Record::decode(self.0.clone());
            self.1 = record
                .map(|record| format!("{record:?}"))
                .map_err(Into::into);
        }
    }
    let mut show = Show(bytes, Ok(String::new()));
    R::named(name, &mut show);
    show.1
}

/// Reads a list of some of `names`, or `all`.
///
/// # Errors
/// A refusal that names what is not an algorithm, and what is.
pub(crate) fn chosen(list: &str, names: &[&'static str]) -> anyhow::Result<Vec<&'static str>> {
    if list == "all" {
        return Ok(names.to_vec());
    }
    let mut chosen = Vec::new();
    for word in list.split(',').map(str::trim) {
        match names.iter().find(|name| **name == word) {
            Some(name) if chosen.contains(name) => {
                return Err(refusal(format!(
                    "invalid --algorithm '{list}': {name} stands there twice"
                )));
            }
            Some(name) => chosen.push(*name),
            None => {
                return Err(refusal(format!(
                    "invalid --algorithm '{list}': `{word}` is none of {}, all",
                    names.join(", ")
                )));
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["paxos", "raft"];

    #[test]
    fn all_is_every_algorithm_and_a_name_is_itself() {
        assert_eq!(chosen("all", &NAMES).expect("it is good"), NAMES);
        assert_eq!(chosen("raft", &NAMES).expect("it is good"), ["raft"]);
    }

    #[test]
    fn what_is_no_algorithm_is_named_with_what_is() {
        for list in ["viewstamped", "", "paxos,,"] {
            let error = chosen(list, &NAMES).expect_err(list).to_string();
            assert!(error.contains("paxos, raft"), "{error}");
        }
        assert!(chosen("raft,raft", &NAMES).is_err());
    }
}
