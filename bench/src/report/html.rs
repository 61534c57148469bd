//! The report as one page: no script, no font, no picture from anywhere else.

use super::{
    chart,
    group::{Group, groups},
    json::{Environment, Latency, Report, Run},
    table::{grouped, micros, outage, setting},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1f23; --paper: #fff; --faint: #667; --line: #d5d8dd; --bad: #b3261e; --warn: #8a5a00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6ea; --paper: #15181c; --faint: #99a; --line: #363b43; --bad: #ff8a80; --warn: #e8b64c } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em } pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line) }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child, td.text, th.text { text-align: left } th { font-weight: 600; color: var(--faint) }
tr.invalid td { color: var(--faint) } .bad { color: var(--bad) } .warn { color: var(--warn) } .faint { color: var(--faint) }
svg { width: 100%; height: auto; max-width: 60rem } svg text { fill: var(--ink) }
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
            body {
                h1 { "Cluster report" }
                pre { code { (report.command) } }
                (comparison(&groups))
                (verdicts(&groups))
                (drawings(&groups))
                (costs(&groups))
                (faults(&groups))
                (environment(&report.environment))
            }
        }
    };
    page.into_string()
}

fn comparison(groups: &[Group<'_>]) -> Markup {
    html! {
        h2 { "Comparison" }
        div.wide { table {
            tr {
                th { "algorithm" } th.text { "setting" } th { "operations/s" }
                th { "p50" } th { "p90" } th { "p99" } th { "p99.9" } th { "max" } th { "service p50" }
                th { "failed" } th { "aborted" } th { "timed out" } th { "rank" }
            }
            @for group in groups { (comparison_row(group)) }
        } }
        p.faint {
            "Response time counts from the intended start of an operation; service time from when it was "
            "sent. Of repetitions the median, and the 95 % bootstrap interval in brackets. Baselines and "
            "invalid runs are not ranked."
        }
    }
}

fn comparison_row(group: &Group<'_>) -> Markup {
    let run = group.first();
    let time = |of: fn(&Latency) -> u64| micros(group.median(|run| of(&run.latency_us) as f64));
    html! {
        tr.invalid[!group.is_valid()] {
            td { (run.algorithm) } td.text { (setting(run)) }
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
            td {
                @match group.rank {
                    Some(rank) => { "#" (rank) }
                    None if run.is_baseline() && group.is_valid() => { "baseline" }
                    None => { span.bad { "invalid" } }
                }
            }
        }
    }
}

fn verdicts(groups: &[Group<'_>]) -> Markup {
    let runs = || groups.iter().flat_map(|group| &group.runs);
    html! {
        h2 { "Verdicts" }
        ul {
            @for run in runs() { @for reason in &run.verdict.reasons {
                li class=(if run.verdict.valid { "warn" } else { "bad" }) {
                    (run.algorithm) ", repetition " (run.repetition) ": " (reason)
                }
            } }
            @for run in runs() { @if let Some(check) = &run.check {
                li class=[(!check.ok).then_some("bad")] {
                    (run.algorithm) ", repetition " (run.repetition) ": " (check.kind) " check of "
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
        .collect();
    let key = html! {
        p.key { @for (series, run) in &shown {
            span {
                i style={ "background:" (chart::color(*series)) } {}
                (run.algorithm) ", " (setting(run)) @if !run.verdict.valid { " (invalid)" }
            }
        } }
    };
    html! {
        h2 { "Response time by percentile" }
        (key)
        @match chart::latency(&shown) {
            Some(svg) => (PreEscaped(svg)),
            None => p { "No operation was recorded." },
        }
        h2 { "Operations a second over time" }
        @match chart::throughput(&shown) {
            Some(svg) => (PreEscaped(svg)),
            None => p { "No operation was recorded." },
        }
        p.faint { "Drawn from the first repetition of each." }
    }
}

fn costs(groups: &[Group<'_>]) -> Markup {
    html! {
        h2 { "Cost of one operation, all nodes together" }
        div.wide { table {
            tr {
                th { "algorithm" } th.text { "setting" } th { "messages" } th { "bytes" } th { "syncs" }
                th { "CPU" } th { "queue" } th { "sync" } th { "network" } th { "apply" }
                th { "largest node" }
            }
            @for group in groups.iter().filter(|group| group.is_safe()) {
                @let run = group.first();
                tr.invalid[!group.is_valid()] {
                    td { (run.algorithm) } td.text { (setting(run)) }
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
        } }
    }
}

fn faults(groups: &[Group<'_>]) -> Markup {
    let runs = || groups.iter().flat_map(|group| &group.runs);
    if runs().all(|run| run.faults.is_empty()) {
        return html! {};
    }
    html! {
        h2 { "Faults" }
        table {
            tr { th { "algorithm" } th { "repetition" } th.text { "faults" } th { "outage" } }
            @for run in runs().filter(|run| !run.faults.is_empty()) {
                tr {
                    td { (run.algorithm) } td { (run.repetition) }
                    td.text { @for fault in &run.faults {
                        (fault.kind) " " (fault.target)
                        @if let Some(node) = fault.node { " (node " (node) ")" }
                        " at " (fault.at_s) " s" br;
                    } }
                    td { @if run.is_safe() { (outage(run)) } @else { "–" } }
                }
            }
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
            tr { th { "commit" } td.text { code { (git) } } }
            tr { th { "compiler" } td.text { (rustc) } }
            tr { th { "processor" } td.text { (cpu) ", " (cores) " cores" } }
            tr { th { "kernel" } td.text { (kernel) } }
            tr { th { "oversubscribed" } td.text { @if *oversubscribed { "yes" } @else { "no" } } }
        }
    }
}
