//! Paths of fields, such as `spec.headers["a.b"]` and `spec.labels.ambassador[0]`.

/// A path with one more name; one with a dot in it stands in brackets.
pub fn join(path: &str, name: &str) -> String {
    if name.contains(['.', '[', ']', '"']) {
        format!("{path}[{name:?}]")
    } else if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
