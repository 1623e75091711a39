//! Figures: what was measured, as a file and as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The kind of measurement, such as `cold`.
    pub(crate) measure: String,
    /// How many Mappings there were.
    pub(crate) size: usize,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
}

/// Figures of one kind of measurement at one size.
pub(crate) struct Figures {
    measure: &'static str,
    size: usize,
    figures: Vec<Figure>,
}

impl Figures {
    pub(crate) fn new(measure: &'static str, size: usize) -> Self {
        Self {
            measure,
            size,
            figures: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, unit: &str, value: f64) {
        self.figures.push(Figure {
            measure: self.measure.to_owned(),
            size: self.size,
            name: name.into(),
            unit: unit.to_owned(),
            value,
        });
    }

    pub(crate) fn finish(self) -> Vec<Figure> {
        self.figures
    }
}

/// What a run of the bench says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) version: String,
    /// `release` or `debug`.
    pub(crate) build: String,
    pub(crate) cores: usize,
    pub(crate) figures: Vec<Figure>,
}

impl Results {
    /// A table for each kind of measurement, a column for each size; with a baseline each value is
    /// followed by how many times the earlier one it is.
    pub(crate) fn tables(&self, baseline: Option<&Results>) -> String {
        let earlier: BTreeMap<_, _> = baseline
            .iter()
            .flat_map(|baseline| &baseline.figures)
            .map(|figure| (key(figure), figure.value))
            .collect();
        let mut text = String::new();
        for measure in in_order(self.figures.iter().map(|figure| &figure.measure)) {
            let figures: Vec<_> = self
                .figures
                .iter()
                .filter(|figure| figure.measure == *measure)
                .collect();
            let sizes: BTreeSet<_> = figures.iter().map(|figure| figure.size).collect();
            let mut rows = vec![vec![measure.clone()]];
            rows[0].extend(sizes.iter().map(|size| thousands(&size.to_string())));
            for name in in_order(figures.iter().map(|figure| &figure.name)) {
                let mut row = vec![name.clone()];
                row.extend(sizes.iter().map(|size| {
                    let of_row = |figure: &&&Figure| figure.size == *size && figure.name == *name;
                    figures.iter().find(of_row).map_or(String::new(), |figure| {
                        cell(figure, earlier.get(&key(figure)).copied())
                    })
                }));
                rows.push(row);
            }
            table(&mut text, &rows);
        }
        text
    }
}

fn key(figure: &Figure) -> (&str, usize, &str) {
    (&figure.measure, figure.size, &figure.name)
}

/// Each once, as they come.
fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

fn cell(figure: &Figure, earlier: Option<f64>) -> String {
    let digits = match figure.value.abs() {
        value if value >= 100.0 || figure.unit.is_empty() && value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let mut text = thousands(&format!("{:.digits$}", figure.value));
    if !figure.unit.is_empty() {
        let _ = write!(text, " {}", figure.unit);
    }
    if let Some(earlier) = earlier.filter(|earlier| *earlier != 0.0) {
        let _ = write!(text, " (×{:.2})", figure.value / earlier);
    }
    text
}

/// Digits in groups of three.
fn thousands(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// Markdown, so that it can be put into a document as it is.
fn table(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(4)
        })
        .collect();
    for (index, row) in rows.iter().enumerate() {
        text.push('|');
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, " {cell:<width$} |"),
                _ => write!(text, " {cell:>width$} |"),
            };
        }
        text.push('\n');
        if index == 0 {
            text.push('|');
            for (column, width) in widths.iter().enumerate() {
                let _ = match column {
                    0 => write!(text, " {} |", "-".repeat(*width)),
                    _ => write!(text, " {}: |", "-".repeat(width - 1)),
                };
            }
            text.push('\n');
        }
    }
    text.push('\n');
}

/// Of several runs of the same measurement each figure's median.
pub(crate) fn medians(runs: &[Vec<Figure>]) -> Vec<Figure> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let median_of = |figure: &Figure| Figure {
        value: median(
            runs.iter()
                .flatten()
                .filter(|other| key(other) == key(figure))
                .map(|other| other.value)
                .collect(),
        ),
        ..figure.clone()
    };
    first.iter().map(median_of).collect()
}

/// The least that so many percent are not above; NaN of nothing.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// The middle one, or the mean of the two in the middle; NaN of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(values: &[(usize, &str, &str, f64)]) -> Results {
        let figure = |(size, name, unit, value): &(usize, &str, &str, f64)| Figure {
            measure: "cold".to_owned(),
            size: *size,
            name: (*name).to_owned(),
            unit: (*unit).to_owned(),
            value: *value,
        };
        Results {
            version: "1".to_owned(),
            build: "release".to_owned(),
            cores: 2,
            figures: values.iter().map(figure).collect(),
        }
    }

    #[test]
    fn a_table_has_a_column_for_each_size_and_says_what_became_of_each_value() {
        let now = results(&[
            (1000, "parse", "ms", 150.0),
            (1000, "resources", "", 2003.0),
            (10000, "parse", "ms", 1234.5),
        ]);
        let before = results(&[(1000, "parse", "ms", 300.0), (7, "parse", "ms", 1.0)]);
        assert_eq!(
            now.tables(None),
            "\
| cold      |  1,000 |   10,000 |
| --------- | -----: | -------: |
| parse     | 150 ms | 1,234 ms |
| resources |  2,003 |          |

"
        );
        let compared = now.tables(Some(&before));
        assert!(compared.contains("| 150 ms (×0.50) |"), "{compared}");
        assert!(compared.contains("|          2,003 |"), "{compared}");
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 99), 198.0);
        assert_eq!(percentile(&values, 50), 100.0);
        assert_eq!(percentile(&values[..1], 99), 200.0);
        assert!(percentile(&[], 99).is_nan());
    }

    #[test]
    fn figures_are_medians_of_runs() {
        let run = |value| results(&[(1, "a", "ms", value)]).figures;
        let runs = [run(3.0), run(100.0), run(1.0)];
        assert_eq!(medians(&runs), run(3.0));
        assert_eq!(medians(&runs[..2]), run(51.5));
    }
}
