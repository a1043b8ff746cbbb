//! Figures about the hub, in Prometheus's text format.

use std::fmt::Write as _;

/// What sort of figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sort {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name, `sekisho_…`; counters end in `_total`.
    pub name: &'static str,
    /// What it counts, in one sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub sort: Sort,
    /// Labels and values; a figure without labels has one row with none.
    pub rows: Vec<(Vec<(&'static str, String)>, u64)>,
}

/// The figures as Prometheus reads them.
pub(crate) fn render(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let sort = match figure.sort {
            Sort::Counter => "counter",
            Sort::Gauge => "gauge",
        };
        let name = figure.name;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {sort}", figure.help);
        for (labels, value) in &figure.rows {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
                .collect();
            let labels = match labels.as_slice() {
                [] => String::new(),
                some => format!("{{{}}}", some.join(",")),
            };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[test]
fn figures_are_spelled_as_prometheus_reads_them() {
    let text = render(&[Figure {
        name: "sekisho_refusals_total",
        help: "Refusals.",
        sort: Sort::Counter,
        rows: vec![(vec![("kind", "a\"b".into())], 2)],
    }]);
    assert_eq!(
        text,
        "# HELP sekisho_refusals_total Refusals.\n# TYPE sekisho_refusals_total counter\n\
         sekisho_refusals_total{kind=\"a\\\"b\"} 2\n"
    );
}
