//! Which Mappings a Host takes.

use std::collections::BTreeMap;

use nuncio_api::getambassador::{LabelSelector, LabelSelectorRequirement};

/// Whether any name can match both globs, as Emissary decides it: by characters, not by labels.
pub(super) fn globs_intersect(a: &str, b: &str) -> bool {
    if a == b || a == "*" || b == "*" {
        return true;
    }
    if a.starts_with('.') || b.starts_with('.') {
        return false;
    }
    let shape = |glob: &str| (glob.starts_with('*'), glob.ends_with('*'));
    match (shape(a), shape(b)) {
        ((true, true), _) | (_, (true, true)) | ((false, false), (false, false)) => false,
        ((true, false), (false, true)) | ((false, true), (true, false)) => true,
        ((true, false), (true, false)) => {
            let (a, b) = (&a[1..], &b[1..]);
            a.ends_with(b) || b.ends_with(a)
        }
        ((false, true), (false, true)) => {
            let (a, b) = (&a[..a.len() - 1], &b[..b.len() - 1]);
            a.starts_with(b) || b.starts_with(a)
        }
        ((true, false), (false, false)) => leading(a, b),
        ((false, false), (true, false)) => leading(b, a),
        ((false, true), (false, false)) => trailing(a, b),
        ((false, false), (false, true)) => trailing(b, a),
    }
}

/// `*` stands for at least one character.
fn leading(glob: &str, name: &str) -> bool {
    let rest = &glob[1..];
    name.len() > rest.len() && name.ends_with(rest)
}

fn trailing(glob: &str, name: &str) -> bool {
    let rest = &glob[..glob.len() - 1];
    name.len() > rest.len() && name.starts_with(rest)
}

/// A selector that says something; an empty one counts as absent.
pub(super) fn given(selector: Option<&LabelSelector>) -> Option<&LabelSelector> {
    selector.filter(|s| !s.match_labels.is_empty() || !s.match_expressions.is_empty())
}

/// Whether the labels satisfy every part of a selector.
///
/// Emissary ignores `matchExpressions`, so that a selector of nothing else takes everything. Here
/// they count.
pub(crate) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector
        .match_labels
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && selector
            .match_expressions
            .iter()
            .all(|requirement| requirement_holds(requirement, labels))
}

/// Emissary's rule before 3.2: one label is enough.
pub(super) fn selects_loosely(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector
        .match_labels
        .iter()
        .any(|(key, value)| labels.get(key) == Some(value))
        || (selector.match_labels.is_empty() && selects(selector, labels))
}

fn requirement_holds(
    requirement: &LabelSelectorRequirement,
    labels: &BTreeMap<String, String>,
) -> bool {
    let value = labels.get(&requirement.key);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|v| requirement.values.contains(v)),
        "NotIn" => !value.is_some_and(|v| requirement.values.contains(v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // Reported where the selector is read; what cannot be understood selects nothing.
        _ => false,
    }
}

/// The operator of a selector that is none.
pub(super) fn unknown_operator(selector: &LabelSelector) -> Option<(usize, &str)> {
    selector
        .match_expressions
        .iter()
        .enumerate()
        .find(|(_, r)| {
            !matches!(
                r.operator.as_str(),
                "In" | "NotIn" | "Exists" | "DoesNotExist"
            )
        })
        .map(|(index, r)| (index, r.operator.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (a, b) in [
            ("*", "x.com"),
            ("a.com", "a.com"),
            ("*.a.com", "x.a.com"),
            ("*a.com", "xa.com"),
            ("*.com", "*.a.com"),
            ("a.*", "a.com"),
            ("a.*", "a.b.*"),
            ("*.com", "a.*"),
        ] {
            assert!(globs_intersect(a, b) && globs_intersect(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("a.com", "b.com"),
            ("*.a.com", "a.com"),
            ("*.a.com", ".a.com"),
            (".a.com", "x"),
            ("*a*", "a"),
            ("*.a.com", "*.b.com"),
            ("a.*", "b.*"),
            ("a.*", "a."),
            ("a.com", "a.com:8080"),
        ] {
            assert!(!globs_intersect(a, b) && !globs_intersect(b, a), "{a} {b}");
        }
    }

    #[test]
    fn selectors() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let expression = |operator: &str| LabelSelector {
            match_expressions: vec![LabelSelectorRequirement {
                key: "a".to_owned(),
                operator: operator.to_owned(),
                values: vec!["1".to_owned()],
            }],
            ..LabelSelector::default()
        };
        assert!(selects(&expression("In"), &labels));
        assert!(selects(&expression("Exists"), &labels));
        assert!(!selects(&expression("NotIn"), &labels));
        assert!(!selects(&expression("DoesNotExist"), &labels));
        assert!(!selects(&expression("Nonsense"), &labels));
        let two = LabelSelector {
            match_labels: BTreeMap::from([
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "2".to_owned()),
            ]),
            ..LabelSelector::default()
        };
        assert!(!selects(&two, &labels));
        assert!(selects_loosely(&two, &labels));
        assert!(given(Some(&LabelSelector::default())).is_none());
    }
}
