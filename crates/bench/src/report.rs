//! What was measured, as a table for people and as JSON lines for scripts.

use std::collections::BTreeMap;

use crate::broker::Kind;

/// One figure of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// What it is, such as `CPU s per million deliveries`.
    pub(crate) what: &'static str,
    /// Its value, in the unit that `what` names.
    pub(crate) value: f64,
    /// Which way is better.
    pub(crate) better: Better,
}

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Better {
    /// A cost.
    Less,
    /// A rate.
    More,
}

/// Every figure of a run of the program.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    scenario: &'static str,
    what: &'static str,
    better: Better,
    values: BTreeMap<Kind, Vec<f64>>,
}

impl Report {
    /// Notes one figure of `kind` in `scenario`.
    pub(crate) fn add(&mut self, scenario: &'static str, kind: Kind, figure: Figure) {
        let known = self
            .rows
            .iter()
            .position(|row| row.scenario == scenario && row.what == figure.what);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row {
                scenario,
                what: figure.what,
                better: figure.better,
                values: BTreeMap::new(),
            });
            self.rows.len() - 1
        });
        self.rows[index]
            .values
            .entry(kind)
            .or_default()
            .push(figure.value);
    }

    /// The ratio first (the hub's median by the peer's; below 1 is cheaper, or slower), then both
    /// medians with their ranges.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "\n ratio  scenario             figure                             sekisho (range)              peer (range)\n",
        );
        for row in &self.rows {
            let hub = row.median(Kind::Sekisho);
            let peer = row.median(Kind::Peer);
            let ratio = match (hub, peer) {
                (Some(hub), Some(peer)) if peer > 0.0 => format!("{:.2}", hub / peer),
                _ => "-".to_owned(),
            };
            let verdict = match (hub, peer, row.better) {
                (Some(hub), Some(peer), Better::Less) if hub > peer => '!',
                (Some(hub), Some(peer), Better::More) if hub < peer => '!',
                _ => ' ',
            };
            let line = format!(
                "{ratio:>6}{verdict} {:<20} {:<34} {:<28} {}",
                row.scenario,
                row.what,
                row.range(Kind::Sekisho),
                row.range(Kind::Peer),
            );
            table.push_str(line.trim_end());
            table.push('\n');
        }
        table.push_str("(! the hub is behind)\n");
        table
    }

    /// One JSON object per figure and broker.
    pub(crate) fn json_lines(&self) -> String {
        let mut lines = String::new();
        for row in &self.rows {
            for (kind, values) in &row.values {
                let line = serde_json::json!({
                    "scenario": row.scenario,
                    "figure": row.what,
                    "broker": kind.to_string(),
                    "median": median(values),
                    "values": values,
                });
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
        }
        lines
    }
}

impl Row {
    fn median(&self, kind: Kind) -> Option<f64> {
        self.values.get(&kind).and_then(|values| median(values))
    }

    fn range(&self, kind: Kind) -> String {
        let Some(values) = self.values.get(&kind) else {
            return "-".to_owned();
        };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match median(values) {
            Some(median) => format!("{} ({}..{})", short(median), short(least), short(most)),
            None => "-".to_owned(),
        }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn short(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_the_medians() {
        let mut report = Report::default();
        for (kind, values) in [
            (Kind::Sekisho, [1.0, 9.0, 2.0]),
            (Kind::Peer, [4.0, 4.0, 8.0]),
        ] {
            for value in values {
                let figure = Figure {
                    what: "CPU",
                    value,
                    better: Better::Less,
                };
                report.add("fan-in", kind, figure);
            }
        }
        assert!(
            report.table().contains("  0.50  fan-in"),
            "{}",
            report.table()
        );
        assert_eq!(report.json_lines().lines().count(), 2);
    }
}
