//! Printing fault specifications so that they read back.

use super::{BadCertificate, Fault, FaultSpec, Part, Rate, When};
use alloc::format;
use core::{fmt, time::Duration};

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Decimal(u64::from(self.0), 10_000))?;
        f.write_str("%")
    }
}

/// `.0 / .1` with as many places as it takes; `.1` is a power of ten.
struct Decimal(u64, u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / self.1, self.0 % self.1);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let width = self.1.ilog10() as usize;
        let digits = format!("{part:0width$}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        match nanos {
            n if n >= 1_000_000_000 => write!(f, "{}s", Decimal(n, 1_000_000_000)),
            n if n >= 1_000_000 => write!(f, "{}ms", Decimal(n, 1_000_000)),
            n if n >= 1_000 => write!(f, "{}us", Decimal(n, 1_000)),
            n => write!(f, "{n}ns"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)?;
        match self {
            Self::Drop(rate) | Self::Dup(rate) | Self::Reorder(rate) => write!(f, ":{rate}"),
            Self::Delay { mean, jitter } => write!(f, ":{}±{}", Span(*mean), Span(*jitter)),
            Self::Cut(a, b) => write!(f, ":{a}-{b}"),
            Self::Chain | Self::Powerloss => Ok(()),
            Self::Slow(target, factor) => write!(f, ":{target}×{factor}"),
            Self::Skew { target, by, behind } => {
                write!(
                    f,
                    ":{target}{}{}",
                    if *behind { '-' } else { '+' },
                    Span(*by)
                )
            }
            Self::Rot(target, part) => write!(
                f,
                ":{target}/{}",
                match part {
                    Part::Head => "head",
                    Part::Middle => "middle",
                    Part::Tail => "tail",
                    Part::HardState => "hardstate",
                }
            ),
            Self::Slowdisk(target, by) => write!(f, ":{target}×{}", Span(*by)),
            Self::Badcert(target, why) => write!(
                f,
                ":{target}/{}",
                match why {
                    BadCertificate::Untrusted => "untrusted",
                    BadCertificate::Expired => "expired",
                    BadCertificate::WrongId => "wrong-id",
                    BadCertificate::WrongCluster => "wrong-cluster",
                }
            ),
            other => match other.target() {
                Some(target) => write!(f, ":{target}"),
                None => Ok(()),
            },
        }
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)?;
        match self.when {
            When::Start => {}
            When::At(at) => write!(f, "@{}", Span(at))?,
            When::Nth(n) => write!(f, "@{n}")?,
        }
        match self.lasting {
            Some(lasting) => write!(f, "+{}", Span(lasting)),
            None => Ok(()),
        }
    }
}
