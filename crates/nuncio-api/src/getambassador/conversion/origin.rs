use std::borrow::Cow;

/// Which fields of an older version those of v3alpha1 come from, where the names differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldOrigins(Vec<(String, String)>);

impl FieldOrigins {
    pub(super) fn add(&mut self, new: String, old: String) {
        self.0.push((new, old));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field that was written, for one of v3alpha1. What stands below a field is found by the
    /// longest known part of its path.
    pub fn written<'a>(&self, field: &'a str) -> Cow<'a, str> {
        let below = |new: &str| {
            let rest = field.strip_prefix(new)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        self.0
            .iter()
            .filter_map(|(new, old)| Some((new.len(), old, below(new)?)))
            .max_by_key(|(length, ..)| *length)
            .map_or(Cow::Borrowed(field), |(_, old, rest)| {
                Cow::Owned(format!("{old}{rest}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_part_counts() {
        let mut origins = FieldOrigins::default();
        for (new, old) in [
            ("spec.hostname", "spec.host"),
            ("spec.regex_headers.x", "spec.headers.x"),
            ("spec.labels.d[0]", "spec.rate_limits[0]"),
            ("spec.labels.d[0].g[3]", "spec.rate_limits[0].descriptor"),
        ] {
            origins.add(new.to_owned(), old.to_owned());
        }
        for (new, old) in [
            ("spec.hostname", "spec.host"),
            ("spec.hostnames", "spec.hostnames"),
            ("spec.regex_headers", "spec.regex_headers"),
            ("spec.regex_headers.x", "spec.headers.x"),
            ("spec.regex_headers.xy", "spec.regex_headers.xy"),
            ("spec.labels.d[0].g[1]", "spec.rate_limits[0].g[1]"),
            ("spec.labels.d[0].g[3]", "spec.rate_limits[0].descriptor"),
            ("", ""),
        ] {
            assert_eq!(origins.written(new), old);
        }
    }
}
