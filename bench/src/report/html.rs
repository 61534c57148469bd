//! The report as one page: no script, no font, no picture from anywhere else.

use super::{
    chart,
    group::{Group, groups},
    json::{Environment, Latency, Report, Run},
    table::{grouped, load, micros, outage, place_of, setting},
    telling::{self, Found},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1f23; --paper: #fff; --faint: #667; --line: #d5d8dd; --bad: #b3261e; --warn: #8a5a00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6ea; --paper: #15181c; --faint: #99a; --line: #363b43; --bad: #ff8a80; --warn: #e8b64c } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 84rem; margin: 2rem auto; padding: 0 1rem }
caption { text-align: left; color: var(--faint); padding: .25rem 0 } .wide:focus-visible { outline: 2px solid var(--faint) } summary { cursor: pointer }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em } pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line) }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td.text, th.text { text-align: left } thead th, th[scope=row] { font-weight: 600 } thead th { color: var(--faint) }
tr.invalid td { color: var(--faint) } .bad { color: var(--bad) } .warn { color: var(--warn) } .faint { color: var(--faint) }
svg { width: 100%; height: auto; max-width: 60rem } svg text { fill: var(--ink) }
@media print { body { max-width: none; margin: 0; font-size: 11px } .wide { overflow: visible } th, td { padding: .15rem .35rem } h2 { break-after: avoid } section, table { break-inside: avoid } .key i { print-color-adjust: exact } }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem } .key i { display: inline-block; width: 1em; height: .7em; margin-right: .4em }
";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let groups = groups(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Cluster report" }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                h1 { "Cluster report" }
                pre tabindex="0" { code { (report.command) } }
                (comparison(&groups))
                (verdicts(&groups))
                (searches(&telling::found(report)))
                (omissions(&groups))
                (drawings(&groups))
                (costs(&groups))
                (floors(&groups))
                (faults(&groups))
                (environment(&report.environment))
            } }
        }
    };
    page.into_string()
}

/// The load, where it is the same everywhere.
fn shared<'a>(groups: &'a [Group<'a>]) -> Option<String> {
    let mut loads = groups.iter().map(|group| load(group.first()));
    let first = loads.next()?;
    loads.all(|load| load == first).then_some(first)
}

/// What tells one row from another: all of the setting, or what is not said once for all.
fn named(groups: &[Group<'_>], run: &Run) -> String {
    if shared(groups).is_some() {
        place_of(run)
    } else {
        setting(run)
    }
}

/// A table that scrolls by itself when it is too wide, by the keyboard too.
fn wide(name: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(name) { table {
            thead { tr { @for (at, head) in heads.iter().enumerate() {
                th.text[at < 2] scope="col" { (head) }
            } } }
            tbody { (rows) }
        } }
    }
}

fn comparison(groups: &[Group<'_>]) -> Markup {
    let heads = [
        "algorithm",
        "setting",
        "rank",
        "operations/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "service p50",
        "failed",
        "aborted",
        "timed out",
    ];
    let rows = html! { @for group in groups { (comparison_row(groups, group)) } };
    html! {
        h2 { "Comparison" }
        @if let Some(load) = shared(groups) { p { "All under the same load: " (load) "." } }
        (wide("Comparison", &heads, &rows))
        p.faint {
            "Response time counts from the intended start of an operation; service time from when it was "
            "sent. Of repetitions the median, and the 95 % bootstrap interval in brackets. Baselines and "
            "invalid runs are not ranked."
        }
    }
}

fn comparison_row(groups: &[Group<'_>], group: &Group<'_>) -> Markup {
    let run = group.first();
    let time = |of: fn(&Latency) -> u64| micros(group.median(|run| of(&run.latency_us) as f64));
    html! {
        tr.invalid[!group.is_valid()] {
            th.text scope="row" { (run.title()) } td.text { (named(groups, run)) }
            td {
                @match group.rank {
                    Some(rank) => { "#" (rank) }
                    None if run.is_baseline() && group.is_valid() => { "baseline" }
                    None if group.is_valid() && group.is_safe() => { "of search" }
                    None => { span.bad { "invalid" } }
                }
            }
            @if group.is_safe() {
                td { (group.throughput()) }
                td { (time(|l| l.p50)) } td { (time(|l| l.p90)) } td { (time(|l| l.p99)) }
                td { (time(|l| l.p999)) } td { (time(|l| l.max)) }
                td { (micros(group.median(|run| run.service_us.p50 as f64))) }
                td { (grouped(group.median(|run| run.failed as f64))) }
                td { (grouped(group.median(|run| run.aborted as f64))) }
                td { (grouped(group.median(|run| run.timeouts as f64))) }
            } @else {
                td.text colspan="10" { "no figures: a safety property was broken" }
            }
        }
    }
}

fn verdicts(groups: &[Group<'_>]) -> Markup {
    let runs = || groups.iter().flat_map(|group| &group.runs);
    let repeated = runs().any(|run| run.repetition > 0);
    // What is said of many runs is said once.
    let mut said: BTreeMap<(bool, &str), Vec<String>> = BTreeMap::new();
    for run in runs() {
        for reason in &run.verdict.reasons {
            let name = match run.repetition {
                0 if !repeated => run.algorithm.clone(),
                repetition => format!("{}, repetition {repetition}", run.algorithm),
            };
            let names = said.entry((run.verdict.valid, reason)).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    html! {
        h2 { "Verdicts" }
        ul {
            @for ((valid, reason), names) in &said {
                li class=(if *valid { "warn" } else { "bad" }) { (names.join(", ")) ": " (reason) }
            }
            @for run in runs() { @if let Some(check) = &run.check {
                li class=[(!check.ok).then_some("bad")] {
                    (run.title()) ", repetition " (run.repetition) ": " (check.kind) " check of "
                    (grouped(check.operations as f64)) " operations: "
                    @if check.ok { "holds" } @else { "broken: " (check.detail) }
                }
            } }
            @if runs().all(|run| run.verdict.reasons.is_empty()) { li { "Every run is valid." } }
        }
    }
}

fn drawings(groups: &[Group<'_>]) -> Markup {
    let shown: Vec<(usize, &Run)> = groups
        .iter()
        .enumerate()
        .filter(|(_, group)| group.is_safe())
        .map(|(series, group)| (series, group.first()))
        // Of a search the rate that was found stands for its shares; all of them are in the first drawing.
        .filter(|(_, run)| run.share.is_none_or(|share| share == 100))
        .collect();
    let key = html! {
        p.key { @for (series, run) in &shown {
            span {
                i style={ "background:" (chart::color(*series)) } {}
                (run.title()) ", " (named(groups, run)) @if !run.verdict.valid { " (invalid)" }
            }
        } }
    };
    html! {
        section {
            h2 { "Response time over throughput" }
            (key)
            @match chart::load(&curves(groups)) {
                Some(svg) => (PreEscaped(svg)),
                None => p { "No operation was recorded." },
            }
            p.faint {
                "Dots are medians, lines reach up to the 99th percentile. Further down and to the right is better."
            }
        }
        section {
            h2 { "Response time by percentile" }
            @match chart::latency(&shown) {
                Some(svg) => (PreEscaped(svg)),
                None => p { "No operation was recorded." },
            }
        }
        section {
            h2 { "Operations a second over time" }
            @match chart::throughput(&shown) {
                Some(svg) => (PreEscaped(svg)),
                None => p { "No operation was recorded." },
            }
            p.faint { "Drawn from the first repetition of each." }
        }
    }
}

/// Loads of one algorithm in one place and one kind of loop are one curve, in the colour of the first.
fn curves(groups: &[Group<'_>]) -> Vec<(usize, Vec<chart::Point>)> {
    let mut curves: Vec<(String, usize, Vec<chart::Point>)> = Vec::new();
    let safe = groups
        .iter()
        .enumerate()
        .filter(|(_, group)| group.is_safe());
    for (series, group) in safe {
        let run = group.first();
        let name = format!("{} {} {:?}", run.algorithm, place_of(run), run.mode);
        let point = (
            group.median(|run| run.throughput_ops),
            group.median(|run| run.latency_us.p50 as f64),
            group.median(|run| run.latency_us.p99 as f64),
        );
        match curves.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., points)) => points.push(point),
            None => curves.push((name, series, vec![point])),
        }
    }
    let curves = curves.into_iter();
    curves.map(|(_, series, points)| (series, points)).collect()
}

fn costs(groups: &[Group<'_>]) -> Markup {
    let heads = [
        "algorithm",
        "setting",
        "messages",
        "bytes",
        "syncs",
        "CPU",
        "queue",
        "sync",
        "network",
        "apply",
        "largest node",
    ];
    let rows = html! {
        @for group in groups.iter().filter(|group| group.is_safe()) {
            @let run = group.first();
            tr.invalid[!group.is_valid()] {
                th.text scope="row" { (run.title()) } td.text { (named(groups, run)) }
                td { (format!("{:.2}", group.median(|run| run.per_operation.messages))) }
                td { (grouped(group.median(|run| run.per_operation.bytes))) }
                td { (format!("{:.3}", group.median(|run| run.per_operation.syncs))) }
                td { (micros(group.median(|run| run.per_operation.cpu_us))) }
                td { (micros(group.median(|run| run.stages_us.queue))) }
                td { (micros(group.median(|run| run.stages_us.sync))) }
                td { (micros(group.median(|run| run.stages_us.network))) }
                td { (micros(group.median(|run| run.stages_us.apply))) }
                td { (grouped(group.median(|run| run.rss_bytes_max as f64) / 1_048_576.0)) " MiB" }
            }
        }
    };
    html! {
        h2 { "Cost of one operation, all nodes together" }
        (wide("Cost of one operation", &heads, &rows))
    }
}

/// What one client's commit cannot do without, where that was measured.
fn floors(groups: &[Group<'_>]) -> Markup {
    let runs = groups.iter().flat_map(|group| &group.runs);
    let rows: Vec<_> = runs
        .filter_map(|run| Some((*run, run.floor.as_ref()?)))
        .collect();
    if rows.is_empty() {
        return html! {};
    }
    html! {
        h2 { "One commit beside its floor" }
        ul { @for (run, floor) in rows { li { (run.title()) ": " (floor.to_string()) } } }
    }
}

fn faults(groups: &[Group<'_>]) -> Markup {
    let runs = || groups.iter().flat_map(|group| &group.runs);
    let untold = |run: &Run| {
        let told = |fault| run.is_safe() && telling::recovery(fault).is_some();
        !run.faults.iter().all(told)
    };
    if runs().all(|run| run.faults.is_empty()) {
        return html! {};
    }
    html! {
        h2 { "Faults" }
        (recoveries(groups))
        @if runs().any(|run| untold(run)) { table {
            thead { tr {
                th scope="col" { "algorithm" } th scope="col" { "repetition" }
                th.text scope="col" { "faults" } th scope="col" { "outage" }
            } }
            @for run in runs().filter(|run| untold(run)) {
                tr {
                    th.text scope="row" { (run.title()) } td { (run.repetition) }
                    td.text { @for fault in &run.faults { (telling::struck(fault)) br; } }
                    td { @if run.is_safe() { (outage(run)) } @else { "–" } }
                }
            }
        } }
    }
}

/// What an outage consists of, where the nodes showed it.
fn recoveries(groups: &[Group<'_>]) -> Markup {
    let runs = groups.iter().flat_map(|group| &group.runs);
    let runs = runs.filter(|run| run.is_safe());
    let told: Vec<_> = runs
        .flat_map(|run| run.faults.iter().map(move |fault| (*run, fault)))
        .filter_map(|(run, fault)| Some((run, fault, telling::recovery(fault)?)))
        .collect();
    let heads = [
        "algorithm",
        "fault",
        "outage",
        "detect",
        "elect",
        "first commit",
        "catch-up",
        "known to",
    ];
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0} ms"));
    let rows = html! { @for (run, fault, parts) in &told {
        tr {
            th.text scope="row" { (run.title()) } td.text { (telling::struck(fault)) }
            td { (fault.outage_ms.map_or_else(|| "for good".to_owned(), |outage| ms(Some(outage)))) }
            @for (_, part) in parts { td { (ms(*part)) } }
            td { (ms(fault.recovery.map(|recovery| recovery.resolution_ms))) }
        }
    } };
    html! {
        @if !told.is_empty() {
            (wide("How service came back", &heads, &rows))
            p.faint {
                "As the nodes said when they were asked again and again: until a survivor no longer followed whom "
                "it had followed, until one led, until an operation begun after the fault was done; the three are the "
                "outage. Catch-up counts from the return of whoever was struck."
            }
        }
    }
}

/// What was searched for: the highest rate first.
fn searches(found: &[Found<'_>]) -> Markup {
    let Some(first) = found.first() else {
        return html! {};
    };
    let heads = ["algorithm", "tried", "operations/s", "share", "p50", "p99"];
    let rows = html! { @for found in found {
        tr {
            th.text scope="row" { (found.algorithm) }
            td.text { (found.searches.iter().map(|search| search.steps.len()).sum::<usize>()) " rates" }
            td { (found.rate_text()) }
            td { @for share in &found.shares { (share.percent) " %" br; } }
            td { @for share in &found.shares { (micros(share.p50)) br; } }
            td { @for share in &found.shares { (micros(share.p99)) br; } }
        }
    } };
    let steps = found.iter().flat_map(|found| &found.searches);
    html! {
        h2 { "Highest rate with the 99th percentile within " (micros(first.bound_us as f64)) }
        (wide("Highest rate", &heads, &rows))
        details {
            summary { "Every rate that was tried" }
            ul { @for search in steps { @for step in &search.steps {
                li {
                    (search.algorithm) ", " (grouped(step.rate)) " /s: p99 " (micros(step.p99_us as f64))
                    @if step.held { ", held" } @else { ", did not hold: " (step.why) }
                }
            } } }
        }
    }
}

/// Response and service time of open loops side by side.
fn omissions(groups: &[Group<'_>]) -> Markup {
    let safe = groups.iter().filter(|group| group.is_safe());
    let rows: Vec<_> = safe
        .filter_map(|group| Some((group, telling::gaps(group)?, telling::omission(group)?)))
        .collect();
    if rows.is_empty() {
        return html! {};
    }
    let heads = ["algorithm", "counted from", "p50", "p90", "p99", "p99.9"];
    let body = html! { @for (group, gaps, _) in &rows {
        tr {
            th.text scope="row" rowspan="2" { (group.first().title()) } td.text { "the intended start" }
            @for gap in gaps { td { (micros(gap.response_us)) } }
        }
        tr { td.text { "the sending" } @for gap in gaps { td { (micros(gap.service_us)) } } }
    } };
    html! {
        h2 { "What a closed loop would not have seen" }
        (wide("Response and service time", &heads, &body))
        ul { @for (group, _, widest) in &rows { li { (group.first().title()) ": " (widest.sentence()) "." } } }
        p.faint {
            "While service is away a closed loop asks nothing, so what it would have asked is missing from its "
            "figures: coordinated omission. An open loop goes on, and every operation waits from the moment at "
            "which it was meant to start."
        }
    }
}

fn environment(environment: &Environment) -> Markup {
    let Environment {
        git,
        rustc,
        cpu,
        cores,
        kernel,
        oversubscribed,
    } = environment;
    html! {
        h2 { "Environment" }
        table {
            tr { th scope="row" { "commit" } td.text { code { (git) } } }
            tr { th scope="row" { "compiler" } td.text { (rustc) } }
            tr { th scope="row" { "processor" } td.text { (cpu) ", " (cores) " cores" } }
            tr { th scope="row" { "kernel" } td.text { (kernel) } }
            tr { th scope="row" { "oversubscribed" } td.text { @if *oversubscribed { "yes" } @else { "no" } } }
        }
    }
}
