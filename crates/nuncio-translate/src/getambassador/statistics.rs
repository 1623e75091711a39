//! Names in statistics.

use nuncio_model::{Origin, Reason, Report};

/// A name that Envoy's labels can hold: a dot would end it, and the rest would be part of the name
/// of the metric.
pub(super) fn name(report: &mut Report, at: &Origin, name: &str) -> String {
    if !name.contains('.') {
        return name.to_owned();
    }
    let without = name.replace('.', "_");
    report
        .notice(
            at,
            Reason::Surprising,
            format!("the name in statistics is {without}: a dot would end it there"),
        )
        .help(format!("write {without}"));
    without
}
