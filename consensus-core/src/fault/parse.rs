//! Reading fault specifications.

use super::{BadCertificate, Fault, FaultError, FaultKind, FaultSpec, Part, Rate, Target, When};
use alloc::string::ToString;
use core::{str::FromStr, time::Duration};

impl FromStr for FaultSpec {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (what, when) = match text.split_once('@') {
            Some((what, when)) => (what, Some(when)),
            None => (text, None),
        };
        let (word, arguments) = match what.split_once(':') {
            Some((word, arguments)) => (word, arguments),
            None => (what, ""),
        };
        let kind: FaultKind = word.trim().parse()?;
        let fault = fault(kind, arguments.trim())?;
        let (when, lasting) = match when.map(|when| when.split_once('+').unwrap_or((when, ""))) {
            None => (When::Start, None),
            Some((at, lasting)) => {
                let counted = matches!(kind, FaultKind::Eio | FaultKind::Enospc);
                let when = match at.trim().parse() {
                    Ok(n) if counted && n > 0 => When::Nth(n),
                    _ => When::At(duration(at)?),
                };
                let lasting = (!lasting.is_empty()).then(|| duration(lasting));
                (when, lasting.transpose()?)
            }
        };
        Ok(Self {
            fault,
            when,
            lasting,
        })
    }
}

fn fault(kind: FaultKind, text: &str) -> Result<Fault, FaultError> {
    let misfit = |shape| FaultError::Arguments {
        given: text.to_string(),
        kind,
        shape,
    };
    let target = |shape| match text {
        "" => Err(misfit(shape)),
        text => text.parse::<Target>(),
    };
    let nothing = |fault, shape| {
        if text.is_empty() {
            Ok(fault)
        } else {
            Err(misfit(shape))
        }
    };
    // The sign of multiplication or the letter that looks like it, found on every keyboard.
    let times = || text.split_once('×').or_else(|| text.rsplit_once('x'));
    Ok(match kind {
        FaultKind::Drop => Fault::Drop(rate(text)?),
        FaultKind::Dup => Fault::Dup(rate(text)?),
        FaultKind::Reorder => Fault::Reorder(rate(text)?),
        FaultKind::Delay => {
            let (mean, jitter) = text
                .split_once('±')
                .or_else(|| text.split_once("+-"))
                .unwrap_or((text, "0ms"));
            Fault::Delay {
                mean: duration(mean)?,
                jitter: duration(jitter)?,
            }
        }
        FaultKind::Cut => {
            let (a, b) = text.split_once('-').ok_or_else(|| misfit("cut:1-2"))?;
            let (a, b): (Target, Target) = (a.parse()?, b.parse()?);
            if a == b {
                return Err(misfit("cut:1-2"));
            }
            Fault::Cut(a, b)
        }
        FaultKind::Isolate => Fault::Isolate(target("isolate:2")?),
        FaultKind::Deaf => Fault::Deaf(target("deaf:2")?),
        FaultKind::Mute => Fault::Mute(target("mute:2")?),
        FaultKind::Star => Fault::Star(target("star:2")?),
        FaultKind::Chain => nothing(Fault::Chain, "chain")?,
        FaultKind::Kill => Fault::Kill(target("kill:leader@3s")?),
        FaultKind::Restart => Fault::Restart(target("restart:2@5s")?),
        FaultKind::Powerloss => nothing(Fault::Powerloss, "powerloss@3s")?,
        FaultKind::Pause => Fault::Pause(target("pause:leader@3s+1s")?),
        FaultKind::Slow => match times() {
            None => Fault::Slow(target("slow:2×10")?, 10),
            Some((target, factor)) => match factor.parse() {
                Ok(factor) if factor > 0 => Fault::Slow(target.parse()?, factor),
                _ => return Err(misfit("slow:2×10")),
            },
        },
        FaultKind::Skew => skew(text).ok_or_else(|| misfit("skew:2+50ms (gained a second)"))??,
        FaultKind::Torn => Fault::Torn(target("torn:2")?),
        FaultKind::Lost => Fault::Lost(target("lost:2")?),
        FaultKind::Rot => {
            let (target, part) = text.split_once('/').unwrap_or((text, "middle"));
            let part = match part {
                "head" => Part::Head,
                "middle" => Part::Middle,
                "tail" => Part::Tail,
                "hardstate" => Part::HardState,
                _ => return Err(misfit("rot:2/head, middle, tail or hardstate")),
            };
            Fault::Rot(target.parse()?, part)
        }
        FaultKind::Misdirect => Fault::Misdirect(target("misdirect:2")?),
        FaultKind::Eio => Fault::Eio(target("eio:2@7")?),
        FaultKind::Enospc => Fault::Enospc(target("enospc:2@7")?),
        FaultKind::Slowdisk => match times() {
            None => Fault::Slowdisk(target("slowdisk:2×50ms")?, Duration::from_millis(100)),
            Some((target, by)) => Fault::Slowdisk(target.parse()?, duration(by)?),
        },
        FaultKind::Wipe => Fault::Wipe(target("wipe:2")?),
        FaultKind::Badcert => {
            let shape = "badcert:2/untrusted, expired, wrong-id or wrong-cluster";
            let (target, why) = text.split_once('/').ok_or_else(|| misfit(shape))?;
            let why = match why {
                "untrusted" => BadCertificate::Untrusted,
                "expired" => BadCertificate::Expired,
                "wrong-id" => BadCertificate::WrongId,
                "wrong-cluster" => BadCertificate::WrongCluster,
                _ => return Err(misfit(shape)),
            };
            Fault::Badcert(target.parse()?, why)
        }
        FaultKind::Garbage => Fault::Garbage(target("garbage:2")?),
        FaultKind::Slowloris => Fault::Slowloris(target("slowloris:2")?),
        FaultKind::Add => match target("add:6@2s")? {
            new @ Target::Node(_) => Fault::Add(new),
            _ => return Err(misfit("add:6@2s")),
        },
        FaultKind::Remove => Fault::Remove(target("remove:2@3s")?),
        FaultKind::Readmit => Fault::Readmit(target("readmit:2@4s")?),
        FaultKind::Transfer => Fault::Transfer(target("transfer:leader@2s")?),
    })
}

fn skew(text: &str) -> Option<Result<Fault, FaultError>> {
    let at = text.find(['+', '±', '-'])?;
    let (target, by) = text.split_at(at);
    let behind = by.starts_with('-');
    let by = by.trim_start_matches(['+', '±', '-']);
    Some(target.parse().and_then(|target| {
        Ok(Fault::Skew {
            target,
            by: duration(by)?,
            behind,
        })
    }))
}

/// Reads `150ms`, `1.5s`, `20us`, `7ns`.
///
/// # Errors
/// When it is none of these.
pub fn duration(text: &str) -> Result<Duration, FaultError> {
    let text = text.trim();
    let error = || FaultError::Duration(text.to_string());
    let digits = text
        .find(|c: char| c.is_ascii_alphabetic() || c == 'µ')
        .ok_or_else(error)?;
    let unit = match &text[digits..] {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        _ => return Err(error()),
    };
    decimal(&text[..digits], unit)
        .map(Duration::from_nanos)
        .ok_or_else(error)
}

fn rate(text: &str) -> Result<Rate, FaultError> {
    let value = match text.strip_suffix('%') {
        Some(percent) => decimal(percent, 10_000),
        None => decimal(text, 1_000_000),
    };
    match value {
        Some(millionths) if millionths <= 1_000_000 => Ok(Rate(millionths as u32)),
        _ => Err(FaultError::Rate(text.to_string())),
    }
}

/// A decimal number times `unit`, without floating point: the same on every machine.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let number = |digits: &str| match digits {
        "" => Some(0),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u64>().ok(),
        _ => None,
    };
    let scale = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = u128::from(number(part)?) * u128::from(unit) / u128::from(scale);
    number(whole)?
        .checked_mul(unit)?
        .checked_add(u64::try_from(part).ok()?)
}
