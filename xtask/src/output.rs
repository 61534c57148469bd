//! Results, on standard output. A reader that has seen enough (`| head`) closes the pipe, and that ends
//! the command quietly, as it ends others.

use crate::ending::{DONE, FAILED};
use std::{
    fmt,
    io::{ErrorKind, Write as _, stdout},
    process::exit,
};

/// Writes to standard output, or ends the process when nobody can read it.
pub(crate) fn write(text: fmt::Arguments<'_>) {
    let mut out = stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(DONE.into()),
        Err(error) => {
            eprintln!("error: cannot write the result: {error}");
            exit(FAILED.into())
        }
    }
}

/// Like `print!`, but a closed pipe is no panic.
macro_rules! show {
    ($($text:tt)*) => { $crate::output::write(format_args!($($text)*)) };
}

/// Like `println!`, but a closed pipe is no panic.
macro_rules! showln {
    () => { $crate::output::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {show, showln};
