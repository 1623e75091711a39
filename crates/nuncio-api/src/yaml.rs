//! YAML as Kubernetes reads it.

use serde_json::Value;

/// A text that is not YAML or JSON. Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// The documents of a YAML stream without the empty ones, read as `kubectl apply` reads them.
///
/// Kubernetes parses manifests with sigs.k8s.io/yaml, which is go-yaml v2, hence YAML 1.1: plain
/// `yes`, `on`, `y` are booleans and `0755` is octal. A file that works with `kubectl apply` must
/// mean the same here, so those rules hold. Mapping keys stay as written, though: go-yaml would
/// turn the key `on` into `"true"`, which nobody wants of a header or a label.
pub fn documents(text: &str) -> Result<Vec<Value>, SyntaxError> {
    // What is written out is bounded by the size of the file; only what aliases multiply needs a
    // limit of its own, and the library's stays (a million replayed events).
    let size = text.len().max(1024);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: size,
            max_events: size.saturating_mul(4),
            max_nodes: size.saturating_mul(4),
            max_aliases: size,
            max_anchors: size,
            max_merge_keys: size,
            enforce_alias_anchor_ratio: false,
        },
        strict_booleans: false,
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| syntax_error(&error))
}

fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((1, 1), |location| {
        (location.line() as usize, location.column() as usize)
    });
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The position has fields of its own.
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(message, _)| message);
    SyntaxError {
        line: line.max(1),
        column: column.max(1),
        message: message.to_owned(),
    }
}
