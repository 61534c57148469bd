//! What the kernel says about a process: `/proc/<pid>`.

use std::{fs, io, time::Duration};

/// What one process has used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time in user and kernel mode, threads that have ended included. Grained by the
    /// kernel's clock tick, mostly 10 ms.
    pub(crate) cpu: Duration,
    /// The most memory that was resident at once, in bytes.
    pub(crate) rss_bytes_max: u64,
}

/// Reads what a process has used so far.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parsed(&stat, &status)
}

/// The same from the text of both files.
///
/// # Errors
/// When they are of another form.
pub(crate) fn parsed(stat: &str, status: &str) -> io::Result<Usage> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "/proc is of another form");
    let ticks = cpu_ticks(stat).ok_or_else(malformed)?;
    Ok(Usage {
        cpu: Duration::from_nanos(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second()),
        // A process that has just ended has no memory left to speak of.
        rss_bytes_max: resident_bytes_max(status).unwrap_or(0),
    })
}

/// User and system ticks of a `stat` line. The name of the process, in parentheses, may hold
/// anything, so counting begins after the last of them.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes_max(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 4 0 9 9 9";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        assert_eq!(
            resident_bytes_max("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 12 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(resident_bytes_max("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = usage(std::process::id()).expect("this process exists");
        assert!(usage.rss_bytes_max > 0);
    }
}
