//! A published table, and what counts as agreeing with it.

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use std::fmt;

/// One table, as its file has it.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) title: String,
    /// Where it was published.
    pub(super) source: String,
    /// The conditions.
    pub(super) note: String,
    /// What the figures of a row are.
    pub(super) columns: Vec<String>,
    /// Decimals that are shown, and to which figures must agree exactly.
    #[serde(default)]
    decimals: usize,
    /// What is accepted where a row does not say.
    #[serde(default)]
    accept: Option<Accepts>,
    #[serde(rename = "row")]
    pub(super) rows: Vec<Row>,
}

/// One row.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    /// How it is measured; none: only shown as published.
    #[serde(default)]
    pub(super) measure: Option<String>,
    published: Vec<Figure>,
    #[serde(default)]
    accept: Option<Accepts>,
}

/// A figure, or why there is none.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum Figure {
    Number(f64),
    Word(String),
}

/// What is accepted, for all columns or by column.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum Accepts {
    All(String),
    Each(Vec<String>),
}

/// What is made of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ruling {
    Agrees,
    Fails,
    Shown,
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agrees => "✓",
            Self::Fails => "✗",
            Self::Shown => "–",
        })
    }
}

impl Table {
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        let table: Self = toml::from_str(text)?;
        let columns = table.columns.len();
        for row in &table.rows {
            ensure!(
                row.published.len() == columns,
                "{}: figures are missing",
                row.name
            );
        }
        Ok(table)
    }

    fn number(&self, value: f64) -> String {
        if value.is_infinite() {
            return "never".to_owned();
        }
        let mut text = format!("{value:.*}", self.decimals);
        if text.contains('.') {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        text
    }

    pub(super) fn published(&self, row: &Row) -> String {
        let figures = row.published.iter().map(|figure| match figure {
            Figure::Number(number) => self.number(*number),
            Figure::Word(word) => word.clone(),
        });
        figures.collect::<Vec<_>>().join(" / ")
    }

    pub(super) fn shown(&self, ours: &[f64]) -> String {
        if ours.is_empty() {
            return "–".to_owned();
        }
        let figures: Vec<_> = ours.iter().map(|value| self.number(*value)).collect();
        figures.join(" / ")
    }

    /// Whether `ours` agree with what was published, as far as anything is asked of them.
    pub(super) fn judge(&self, row: &Row, ours: &[f64]) -> anyhow::Result<Ruling> {
        if row.measure.is_none() {
            return Ok(Ruling::Shown);
        }
        ensure!(
            ours.len() == self.columns.len(),
            "{} columns are measured",
            ours.len()
        );
        let mut ruling = Ruling::Shown;
        for (column, value) in ours.iter().enumerate() {
            let rule = match row.accept.as_ref().or(self.accept.as_ref()) {
                None => "=",
                Some(Accepts::All(rule)) => rule,
                Some(Accepts::Each(rules)) => rules.get(column).context("a rule is missing")?,
            };
            let published = match &row.published[column] {
                Figure::Number(number) => Some(*number),
                Figure::Word(_) => None,
            };
            let before = column.checked_sub(1).map(|before| ours[before]);
            match self.accepts(rule, *value, published, before)? {
                None => {}
                Some(false) => return Ok(Ruling::Fails),
                Some(true) => ruling = Ruling::Agrees,
            }
        }
        Ok(ruling)
    }

    /// None: nothing is asked.
    ///
    /// | rule | ours must |
    /// |---|---|
    /// | `-` | be nothing in particular |
    /// | `=` | equal what was published, as far as decimals are shown |
    /// | `5%` | lie within 5 % of it |
    /// | `x2.5` | lie within a factor of 2.5 of it |
    /// | `>50`, `<4`, `=0` | exceed, not reach, or be this number |
    /// | `rises` | be no less than in the column before |
    /// | `never` | never come |
    fn accepts(
        &self,
        rule: &str,
        ours: f64,
        published: Option<f64>,
        before: Option<f64>,
    ) -> anyhow::Result<Option<bool>> {
        let than = || published.with_context(|| format!("`{rule}` needs a published figure"));
        let parse = |text: &str| text.parse::<f64>().with_context(|| format!("`{rule}`"));
        Ok(Some(match rule {
            "-" => return Ok(None),
            "=" => self.number(ours) == self.number(than()?),
            "never" => ours.is_infinite(),
            "rises" => ours >= before.unwrap_or(0.0),
            _ => {
                if let Some(share) = rule.strip_suffix('%') {
                    (ours - than()?).abs() <= than()? * parse(share)? / 100.0
                } else if let Some(factor) = rule.strip_prefix('x') {
                    let (factor, than) = (parse(factor)?, than()?);
                    (than / factor..=than * factor).contains(&ours)
                } else if let Some(bound) = rule.strip_prefix('>') {
                    ours > parse(bound)?
                } else if let Some(bound) = rule.strip_prefix('<') {
                    ours < parse(bound)?
                } else if let Some(exact) = rule.strip_prefix('=') {
                    self.number(ours) == self.number(parse(exact)?)
                } else {
                    bail!("`{rule}` is no rule");
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(accept: &str, published: &str, ours: &[f64]) -> Ruling {
        let columns: Vec<_> = ours.iter().map(|_| "\"c\"").collect();
        let text = format!(
            "title = 't'\nsource = 's'\nnote = 'n'\ncolumns = [{}]\n\
             [[row]]\nname = 'r'\nmeasure = 'm'\npublished = {published}\naccept = {accept}\n",
            columns.join(", ")
        );
        let table = Table::read(&text).expect("it is one");
        table.judge(&table.rows[0], ours).expect("the rule is one")
    }

    #[test]
    fn a_rule_accepts_what_it_says_and_nothing_else() {
        let never = f64::INFINITY;
        for (accept, published, agrees, fails) in [
            ("'='", "[4]", 4.2, 5.0),
            ("'10%'", "[100]", 109.0, 111.0),
            ("'10%'", "[100]", 91.0, 89.0),
            ("'x2.5'", "[100]", 249.0, 251.0),
            ("'x2.5'", "[100]", 41.0, 39.0),
            ("'>50'", "['–']", 51.0, 50.0),
            ("'>50'", "['–']", never, 1.0),
            ("'<4'", "['–']", 3.9, 4.0),
            ("'<4'", "['–']", 3.9, never),
            ("'=0'", "['–']", 0.0, 1.0),
            ("'never'", "['never']", never, 3.0),
        ] {
            assert_eq!(
                ruling(accept, published, &[agrees]),
                Ruling::Agrees,
                "{accept} {agrees}"
            );
            assert_eq!(
                ruling(accept, published, &[fails]),
                Ruling::Fails,
                "{accept} {fails}"
            );
        }
        assert_eq!(ruling("'-'", "[4]", &[5.0]), Ruling::Shown);
    }

    #[test]
    fn one_column_that_fails_fails_the_row() {
        assert_eq!(
            ruling("['-', 'rises']", "['–', '–']", &[2.0, 1.0]),
            Ruling::Fails
        );
        assert_eq!(ruling("['=', '-']", "[2, 3]", &[2.0, 1.0]), Ruling::Agrees);
        assert_eq!(ruling("['-', '=']", "[2, 3]", &[2.0, 1.0]), Ruling::Fails);
    }
}
