//! A protocol crate's scenarios as its tests: the files of its folder `testdata`, and the bugs that they
//! warn of.

use super::{ScenarioError, Transcript, Words, golden, play_with};
use crate::Algorithm;
use alloc::{format, string::String};
use core::{fmt, marker::PhantomData};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    println,
};

/// Sets what scenarios call a name to a value.
type Set<O> = fn(&mut O, &str, &str) -> Result<(), String>;

/// The scenarios of one crate, told in the words `W`. `UPDATE_EXPECT=1` in the environment has
/// transcripts rewritten; the difference is reviewed like code.
pub struct Corpus<A: Algorithm, W> {
    folder: PathBuf,
    set: Set<A::Options>,
    words: PhantomData<W>,
}

impl<A: Algorithm, W> fmt::Debug for Corpus<A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Corpus")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl<A: Algorithm, W: Words<A>> Corpus<A, W> {
    /// `crate_root`: the crate's `CARGO_MANIFEST_DIR`. `set` reads the options of a `nodes` step.
    #[must_use]
    pub fn new(crate_root: &str, set: Set<A::Options>) -> Self {
        Self {
            folder: Path::new(crate_root).join("testdata"),
            set,
            words: PhantomData,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("txt")
    }

    /// Plays the scenario `name`, whose transcript must be the one in its file.
    ///
    /// # Panics
    /// When it is not, or the scenario fails.
    #[allow(
        clippy::must_use_candidate,
        reason = "most tests want no more than that it passes"
    )]
    pub fn check(&self, name: &str) -> Transcript {
        let update = std::env::var_os("UPDATE_EXPECT").is_some();
        let play = |text: &str| play_with::<A, W>(text, &self.set);
        golden(&self.file(name), update, play).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The scenario `name` fails where the bug `what` is planted, so it tells the right story.
    ///
    /// # Panics
    /// When it does not notice, or cannot be read.
    pub fn catches(&self, name: &str, what: &dyn fmt::Debug, plant: impl Fn(&mut A::Options)) {
        const PLANTED: &str = "planted";
        let file = self.file(name);
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let line = |line: &str| match line.starts_with("nodes ") {
            true => format!("{line} {PLANTED}\n"),
            false => format!("{line}\n"),
        };
        let text: String = text.lines().map(line).collect();
        let configure = |options: &mut A::Options, name: &str, value: &str| {
            if name == PLANTED {
                plant(options);
                return Ok(());
            }
            (self.set)(options, name, value)
        };
        let play = || -> Result<Transcript, ScenarioError> { play_with::<A, W>(&text, &configure) };
        match catch_unwind(AssertUnwindSafe(play)) {
            Ok(Ok(_)) => panic!("{name} does not notice {what:?}"),
            Ok(Err(error)) => println!("{what:?}: {error}"),
            Err(_) => println!("{what:?}: {name} ends at an assertion"),
        }
    }
}

/// One test a scenario of a [`Corpus`], called like its file.
#[macro_export]
macro_rules! scenario_tests {
    ($corpus:expr => $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $corpus.check(stringify!($name));
        })*
    };
}
