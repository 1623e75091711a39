//! Kubernetes label selectors in their text form.

use std::collections::BTreeMap;

/// `app=web,tier in (a, b),!legacy`: every requirement must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelectorExpr(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl LabelSelectorExpr {
    /// Reads a selector as `kubectl --selector` does.
    pub fn parse(text: &str) -> Result<Self, String> {
        split(text)
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                requirement(part).ok_or_else(|| {
                    format!(
                        "\"{part}\" is not a label selector; write key=value, key!=value, \
                         key in (a,b), key notin (a,b), key or !key"
                    )
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            Requirement::NotIn(key, values) => {
                !labels.get(key).is_some_and(|value| values.contains(value))
            }
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some((key, values)) = set(part, " notin ") {
        return Some(Requirement::NotIn(key?, values));
    }
    if let Some((key, values)) = set(part, " in ") {
        return Some(Requirement::In(key?, values));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(
            word(key)?,
            vec![value.trim().to_owned()],
        ));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(word(key)?, vec![value.trim().to_owned()]));
    }
    match part.strip_prefix('!') {
        Some(key) => Some(Requirement::Absent(word(key)?)),
        None => Some(Requirement::Exists(word(part)?)),
    }
}

fn set(part: &str, operator: &str) -> Option<(Option<String>, Vec<String>)> {
    let (key, values) = part.split_once(operator)?;
    let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
    let values = values.split(',').map(|v| v.trim().to_owned()).collect();
    Some((word(key), values))
}

fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    (!text.is_empty() && text.chars().all(fine)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        LabelSelectorExpr::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn every_form_of_a_requirement() {
        let labels = [("app", "web"), ("tier", "a")];
        for yes in [
            "",
            "app=web",
            "app==web",
            "app=web,tier=a",
            "app!=db",
            "new!=x",
            "tier in (a, b)",
            "tier notin (b,c)",
            "app",
            "!legacy",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in [
            "app=db",
            "app!=web",
            "tier in (b)",
            "tier notin (a)",
            "legacy",
            "!app",
        ] {
            assert!(!matches(no, &labels), "{no}");
        }
        for bad in ["a b", "=x", "a in b", "a in (b", "!"] {
            assert!(LabelSelectorExpr::parse(bad).is_err(), "{bad}");
        }
    }
}
