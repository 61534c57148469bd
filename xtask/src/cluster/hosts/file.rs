//! The file of `--hosts`: a machine a line.
//!
//! ```text
//! # where its node listens   how ssh calls it      where its disk is       what is installed
//! 10.0.0.1
//! 10.0.0.2                   ssh=me@db2            folder=/data/xtask      program=/usr/local/bin/xtask
//! ```

use crate::ending::refusal;
use anyhow::Context as _;
use std::{fs, net::IpAddr, path::Path};

/// A folder that a restart of the machine keeps, and that is no memory.
const FOLDER: &str = "/var/tmp";

/// One machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spec {
    /// Where its nodes listen, and everybody reaches them.
    pub(crate) address: IpAddr,
    /// What ssh is told; the address when not given.
    pub(crate) ssh: String,
    /// This program there; copied when not given.
    pub(crate) program: Option<String>,
    /// Where the nodes keep their data.
    pub(crate) folder: String,
}

/// Reads the file.
///
/// # Errors
/// A refusal that names file, line and what is wrong with it.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Spec>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {}", file.display()))
        .map_err(crate::ending::refused)?;
    parse(&text).map_err(|why| refusal(format!("{}: {why}", file.display())))
}

fn parse(text: &str) -> Result<Vec<Spec>, String> {
    let mut hosts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        if let Some(address) = words.next() {
            let host = host(address, words);
            hosts.push(host.map_err(|why| format!("line {}: {why}", number + 1))?);
        }
    }
    match hosts[..] {
        [] => Err("it names no host".to_owned()),
        _ => Ok(hosts),
    }
}

fn host<'a>(address: &str, words: impl Iterator<Item = &'a str>) -> Result<Spec, String> {
    let parsed = address.parse();
    let mut spec = Spec {
        address: parsed.map_err(|_| format!("`{address}` is no IP address to listen at"))?,
        ssh: address.to_owned(),
        program: None,
        folder: FOLDER.to_owned(),
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if !value.chars().all(is_plain) || value.is_empty() {
            return Err(format!(
                "`{word}`: a value has letters, digits and ._/@:+- alone"
            ));
        }
        match key {
            "ssh" if value.starts_with('-') => return Err(format!("`{word}` is no destination")),
            "ssh" => spec.ssh = value.to_owned(),
            "program" => spec.program = Some(value.to_owned()),
            "folder" => spec.folder = value.to_owned(),
            _ => return Err(format!("`{word}` is none of ssh=, program=, folder=")),
        }
    }
    Ok(spec)
}

/// What a shell takes as it stands.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._/@:+-".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_address_and_what_differs() {
        let hosts = parse("# mine\n10.0.0.1\n\n10.0.0.2 ssh=me@db2 folder=/data # fast\n");
        let hosts = hosts.expect("it is good");
        assert_eq!(
            (hosts[0].ssh.as_str(), hosts[0].folder.as_str()),
            ("10.0.0.1", FOLDER)
        );
        assert_eq!(
            (hosts[1].ssh.as_str(), hosts[1].folder.as_str()),
            ("me@db2", "/data")
        );
        assert_eq!(hosts[1].program, None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, says) in [
            ("", "it names no host"),
            ("10.0.0.1\ndb2", "line 2: `db2` is no IP address"),
            ("::1 port=7", "line 1: `port=7` is none of"),
            ("::1 folder=/a;reboot", "letters, digits"),
            ("::1 ssh=-oProxyCommand=x", "letters, digits"),
            ("::1 ssh=-l", "is no destination"),
            ("::1 folder=", "letters, digits"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
