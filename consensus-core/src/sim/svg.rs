//! Space-time diagrams [Lamport78]: a vertical line a node, time runs down, messages slant.
//!
//! One row a happening, so that no label covers another; the steps of the scenario stand in the
//! margin.

use super::{
    scenario::plain,
    trace::{Happening, What, name},
};
use crate::NodeId;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write as _;

const MARGIN: i64 = 330;
const COLUMN: i64 = 250;
const ROW: i64 = 19;
const TOP: i64 = 112;
/// Room for what stands to the right of the last line.
const RIGHT: i64 = 110;
/// Letters that fit beside a line.
const FIT: usize = 36;

const STYLE: &str = "\
text{font:11px ui-sans-serif,system-ui,sans-serif;fill:#222}\
.halo{paint-order:stroke;stroke:#fffdf8;stroke-width:3px;stroke-linejoin:round}\
.title{font-size:16px;font-weight:600}.node{font-size:14px;font-weight:600;text-anchor:middle}\
.step{font-family:ui-monospace,monospace;fill:#555}.rule{stroke:#e8e2d6}\
.life{stroke:#444;stroke-width:1.6}.dead{stroke:#bbb;stroke-width:1.2;stroke-dasharray:2 5}\
.message{stroke:#2459a6;stroke-width:1.3;fill:none}\
.lost{stroke:#c0392b;stroke-width:1.2;stroke-dasharray:5 4;fill:none}\
.open{stroke:#9db4d6;stroke-width:1;stroke-dasharray:2 3;fill:none}\
.early{fill:#fffdf8;stroke:#d9822b;stroke-width:1.6}.held{fill:#8a6d3b}\
.record{fill:#fffdf8;stroke:#7a4fa3;stroke-width:1.4}.lazy{stroke-dasharray:2 2}\
.synced{fill:#2e8b57}.wrote{fill:#7a4fa3}.told{fill:#0b6b3a;font-weight:600}\
.crash{stroke:#c0392b;stroke-width:2.4}.bad{fill:#c0392b;font-weight:600}.asked{fill:#2459a6;font-weight:600}";

/// A self-contained SVG document.
pub(crate) fn draw(title: &str, nodes: u16, happenings: &[Happening]) -> String {
    // That a node runs from the start goes without saying.
    let says = |happening: &&Happening| !matches!(happening.what, What::Restarted { boot, .. } if boot.0 <= 1);
    let happenings: Vec<Happening> = happenings.iter().filter(says).cloned().collect();
    let mut picture = Picture::new(nodes, &happenings);
    picture.lives();
    for (row, happening) in happenings.iter().enumerate() {
        picture.row(row, happening);
    }
    picture.finish(title)
}

struct Picture<'a> {
    nodes: u16,
    happenings: &'a [Happening],
    /// Where each message left: its row and its sender.
    sent: BTreeMap<u64, (usize, NodeId)>,
    /// Messages that arrive or are lost.
    ended: BTreeSet<u64>,
    lines: String,
    marks: String,
    texts: String,
}

fn x(node: NodeId) -> i64 {
    MARGIN + (i64::from(node.0) - 1) * COLUMN + COLUMN / 2
}

fn y(row: usize) -> i64 {
    TOP + row as i64 * ROW
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Names of fields fall away, and what does not fit.
fn short(text: &str) -> String {
    let mut words = String::new();
    for word in plain(text).split(' ') {
        let is_field = word.ends_with(':') && word.len() > 1;
        if !is_field {
            words.push_str(word);
            words.push(' ');
        }
    }
    let words = words.trim_end();
    match words.char_indices().nth(FIT) {
        None => words.to_string(),
        Some((end, _)) => format!("{}…", words[..end].trim_end()),
    }
}

impl<'a> Picture<'a> {
    fn new(nodes: u16, happenings: &'a [Happening]) -> Self {
        let mut sent = BTreeMap::new();
        let mut ended = BTreeSet::new();
        for (row, happening) in happenings.iter().enumerate() {
            match &happening.what {
                What::Sent { id, .. } => {
                    sent.insert(*id, (row, happening.node));
                }
                What::Received { id, .. } | What::Lost { id, .. } => {
                    ended.insert(*id);
                }
                _ => {}
            }
        }
        let (lines, marks, texts) = (String::new(), String::new(), String::new());
        Self {
            nodes,
            happenings,
            sent,
            ended,
            lines,
            marks,
            texts,
        }
    }

    fn wide(&self) -> i64 {
        MARGIN + i64::from(self.nodes) * COLUMN + RIGHT
    }

    fn line(&mut self, class: &str, from: (i64, i64), to: (i64, i64)) {
        let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
        let tip = match class {
            "message" => " marker-end=\"url(#tip)\"",
            _ => "",
        };
        let _ = write!(
            self.lines,
            "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"{tip}/>"
        );
    }

    /// Text beside a node's line: to the right of it, or to the left.
    fn beside(&mut self, node: NodeId, row: usize, class: &str, right: bool, text: &str) {
        let (at, anchor) = if right {
            (x(node) + 9, "start")
        } else {
            (x(node) - 9, "end")
        };
        let _ = write!(
            self.texts,
            "<text class=\"halo {class}\" x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            y(row) + 4,
            escape(text)
        );
    }

    /// The line of each node, broken where it is down.
    fn lives(&mut self) {
        let bottom = y(self.happenings.len());
        for node in (1..=self.nodes).map(NodeId) {
            let mut from = TOP - 20;
            let mut up = true;
            for (row, happening) in self.happenings.iter().enumerate() {
                let turns = match happening.what {
                    What::Crashed { .. } => up,
                    What::Restarted { .. } => !up,
                    _ => false,
                };
                if happening.node == node && turns {
                    self.line(
                        if up { "life" } else { "dead" },
                        (x(node), from),
                        (x(node), y(row)),
                    );
                    (from, up) = (y(row), !up);
                }
            }
            self.line(
                if up { "life" } else { "dead" },
                (x(node), from),
                (x(node), bottom),
            );
        }
    }

    fn row(&mut self, row: usize, happening: &Happening) {
        let node = happening.node;
        match &happening.what {
            What::Note(text) => self.step(row, text),
            What::Sent {
                id,
                to,
                text,
                early,
                ..
            } => {
                let right = *to >= node;
                if early.is_some() {
                    let (cx, cy) = (x(node), y(row));
                    let _ = write!(
                        self.marks,
                        "<circle class=\"early\" cx=\"{cx}\" cy=\"{cy}\" r=\"4\"/>"
                    );
                }
                if !self.ended.contains(id) {
                    let end = x(node) + if right { 60 } else { -60 };
                    self.line("open", (x(node), y(row)), (end, y(row) + 14));
                }
                self.beside(node, row, "", right, &short(text));
            }
            What::Received { id, .. } => {
                if let Some((left, from)) = self.sent.get(id).copied() {
                    self.line("message", (x(from), y(left)), (x(node), y(row)));
                }
            }
            What::Lost { id, to, .. } => {
                if let Some((left, from)) = self.sent.get(id).copied() {
                    let (from, to) = ((x(from), y(left)), (x(*to), y(row)));
                    let end = (
                        from.0 + (to.0 - from.0) * 2 / 3,
                        from.1 + (to.1 - from.1) * 2 / 3,
                    );
                    self.line("lost", from, end);
                    self.cross(end, 4);
                }
            }
            What::Held { to, text, .. } => {
                let text = format!("waits: {}", short(text));
                self.beside(node, row, "held", *to >= node, &text);
            }
            What::Doubled { to, kind, .. } => {
                self.beside(node, row, "", *to >= node, &format!("{kind} twice"));
            }
            What::Wrote { lsn, text, forced } => {
                let class = if *forced { "record" } else { "record lazy" };
                let (left, top) = (x(node) - 4, y(row) - 4);
                let _ = write!(
                    self.marks,
                    "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"8\" height=\"8\"/>"
                );
                self.beside(node, row, "wrote", true, &format!("{lsn}: {}", short(text)));
            }
            What::Synced { upto } => {
                let (cx, cy) = (x(node), y(row));
                let _ = write!(
                    self.marks,
                    "<circle class=\"synced\" cx=\"{cx}\" cy=\"{cy}\" r=\"4\"/>"
                );
                self.beside(node, row, "", true, &format!("{upto} on disk"));
            }
            What::Crashed { lost, .. } => {
                self.cross((x(node), y(row)), 7);
                let text = match lost {
                    0 => String::from("crashes"),
                    1 => String::from("crashes, 1 record lost"),
                    lost => format!("crashes, {lost} records lost"),
                };
                self.beside(node, row, "bad", true, &text);
            }
            What::Restarted { boot, .. } => {
                self.beside(node, row, "asked", true, &format!("starts, run {boot}"));
            }
            What::Told(text) => self.beside(node, row, "told", true, &short(text)),
            What::Answered(text) => self.beside(node, row, "told", true, &short(text)),
            What::Input(text) => self.beside(node, row, "asked", false, &short(text)),
            What::Fault(text) => self.beside(node, row, "bad", true, text),
        }
    }

    fn step(&mut self, row: usize, text: &str) {
        let (at, wide) = (y(row), self.wide());
        self.line("rule", (8, at - ROW / 2), (wide, at - ROW / 2));
        let text = match text.char_indices().nth(48) {
            None => escape(text),
            Some((end, _)) => format!("{}…", escape(&text[..end])),
        };
        let _ = write!(
            self.texts,
            "<text class=\"step\" x=\"10\" y=\"{}\">{text}</text>",
            at + 4
        );
    }

    fn cross(&mut self, (cx, cy): (i64, i64), half: i64) {
        let _ = write!(
            self.marks,
            "<path class=\"crash\" d=\"M{} {}L{} {}M{} {}L{} {}\"/>",
            cx - half,
            cy - half,
            cx + half,
            cy + half,
            cx - half,
            cy + half,
            cx + half,
            cy - half
        );
    }

    fn finish(self, title: &str) -> String {
        let wide = self.wide();
        let tall = y(self.happenings.len()) + 24;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {tall}\" width=\"{wide}\" height=\"{tall}\">\
             <style>{STYLE}</style>\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
             <path d=\"M0 0.8L8 4L0 7.2z\" fill=\"#2459a6\"/></marker></defs>\
             <rect width=\"{wide}\" height=\"{tall}\" fill=\"#fffdf8\"/>\
             <text class=\"title\" x=\"10\" y=\"26\">{}</text>",
            escape(title)
        );
        out.push_str(LEGEND);
        for node in (1..=self.nodes).map(NodeId) {
            let _ = write!(
                out,
                "<text class=\"node\" x=\"{}\" y=\"{}\">{}</text>",
                x(node),
                TOP - 28,
                name(node)
            );
        }
        out.push_str(&self.lines);
        out.push_str(&self.marks);
        out.push_str(&self.texts);
        out.push_str("</svg>\n");
        out
    }
}

const LEGEND: &str = "\
<g transform=\"translate(10 48)\">\
<line class=\"message\" x1=\"0\" y1=\"0\" x2=\"34\" y2=\"8\" marker-end=\"url(#tip)\"/><text x=\"42\" y=\"8\">message</text>\
<circle class=\"early\" cx=\"112\" cy=\"4\" r=\"4\"/><text x=\"122\" y=\"8\">sent ahead of the disk</text>\
<line class=\"lost\" x1=\"262\" y1=\"0\" x2=\"296\" y2=\"8\"/><text x=\"304\" y=\"8\">lost</text>\
<line class=\"open\" x1=\"346\" y1=\"0\" x2=\"380\" y2=\"8\"/><text x=\"388\" y=\"8\">still under way</text>\
<rect class=\"record\" x=\"482\" y=\"0\" width=\"8\" height=\"8\"/><text x=\"496\" y=\"8\">record written</text>\
<circle class=\"synced\" cx=\"592\" cy=\"4\" r=\"4\"/><text x=\"602\" y=\"8\">on disk</text>\
<path class=\"crash\" d=\"M658 -2L668 8M658 8L668 -2\"/><text x=\"676\" y=\"8\">crash</text>\
<line class=\"dead\" x1=\"724\" y1=\"4\" x2=\"758\" y2=\"4\"/><text x=\"766\" y=\"8\">down</text>\
</g>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lsn, Time};

    #[test]
    fn every_mark_of_a_step_is_drawn_and_every_text_escaped() {
        let at = Time::ZERO;
        let a = NodeId(1);
        let b = NodeId(2);
        let of = |node, what| Happening { at, node, what };
        let sent = |id, kind: &'static str| What::Sent {
            id,
            to: b,
            kind,
            text: format!("{kind} <k&1>"),
            early: Some(crate::Early::Campaign),
        };
        let happenings = [
            of(NodeId(0), What::Note("deliver a->b".into())),
            of(a, sent(1, "One")),
            of(a, sent(2, "Two")),
            of(a, sent(3, "Three")),
            of(
                b,
                What::Received {
                    id: 1,
                    from: a,
                    text: "One".into(),
                },
            ),
            of(
                a,
                What::Lost {
                    id: 2,
                    from: a,
                    to: b,
                    kind: "Two",
                },
            ),
            of(
                b,
                What::Wrote {
                    lsn: Lsn(1),
                    text: "R".into(),
                    forced: true,
                },
            ),
            of(b, What::Synced { upto: Lsn(1) }),
            of(b, What::Crashed { kept: 0, lost: 1 }),
        ];
        let svg = draw("A & B", 2, &happenings);
        let count = |part: &str| svg.matches(part).count();
        assert_eq!(count("<line class=\"message\""), 2, "one in the legend");
        assert_eq!(count("<line class=\"lost\""), 2);
        assert_eq!(count("<line class=\"open\""), 2);
        assert_eq!(count("<line class=\"dead\""), 2);
        assert_eq!(count("<circle class=\"early\""), 4);
        assert_eq!(count("<circle class=\"synced\""), 2);
        assert_eq!(count("class=\"life\""), 2);
        assert!(svg.contains("A &amp; B") && svg.contains("&lt;k&amp;1&gt;"));
        assert!(!svg.contains("<k&1>"));
    }
}
