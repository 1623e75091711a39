//! Regular expressions as RE2 runs them. On ASCII, which paths always are, it and `regex` agree.

use std::cell::RefCell;
use std::collections::HashMap;

use nuncio_model::value;
use regex::Regex;

/// Each is compiled when it is first asked for, and once: that takes far longer than to match.
#[derive(Default)]
pub(crate) struct Patterns {
    whole: RefCell<Compiled>,
    found: RefCell<Compiled>,
}

/// `None` is one that takes too much room.
type Compiled = HashMap<value::Regex, Option<Regex>>;

impl Patterns {
    /// The whole text.
    pub(crate) fn is_match(&self, pattern: &value::Regex, text: &str) -> bool {
        let mut whole = self.whole.borrow_mut();
        let regex = match whole.get(pattern) {
            Some(regex) => regex,
            None => {
                let regex = Regex::new(&format!(r"\A(?:{pattern})\z")).ok();
                whole.entry(pattern.clone()).or_insert(regex)
            }
        };
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// RE2's `GlobalReplace`.
    pub(crate) fn replace_all(
        &self,
        pattern: &value::Regex,
        text: &str,
        substitution: &str,
    ) -> String {
        let mut found = self.found.borrow_mut();
        let regex = found
            .entry(pattern.clone())
            .or_insert_with(|| Regex::new(pattern.as_str()).ok());
        match regex {
            Some(regex) => replace_all(regex, text, substitution),
            None => text.to_owned(),
        }
    }
}

/// `\0` to `\9` stand for groups. A group that is not there leaves the text.
fn replace_all(regex: &Regex, text: &str, substitution: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = substitution.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    parts.push(Err(digit as usize - '0' as usize));
                }
                Some('\\') => parts.push(Ok('\\')),
                // RE2 goes no further.
                _ => break,
            },
            c => parts.push(Ok(c)),
        }
    }
    let groups = regex.captures_len();
    if parts
        .iter()
        .any(|part| part.is_err_and(|group| group >= groups))
    {
        return text.to_owned();
    }
    let replaced = |captures: &regex::Captures<'_>| {
        let mut out = String::new();
        for part in &parts {
            match part {
                Ok(c) => out.push(*c),
                Err(group) => out.push_str(captures.get(*group).map_or("", |m| m.as_str())),
            }
        }
        out
    };
    regex.replace_all(text, replaced).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn as_re2_does() {
        let regex = |text| value::Regex::new(text).unwrap();
        let patterns = Patterns::default();
        assert!(patterns.is_match(&regex("/a|/ab"), "/ab"));
        assert!(!patterns.is_match(&regex("/a"), "/ab"));
        let replace =
            |pattern, substitution| patterns.replace_all(&regex(pattern), "/a/b", substitution);
        assert_eq!(replace("/([a-z])", r"\1-"), "a-b-");
        assert_eq!(replace("/([a-z])", r"\2"), "/a/b");
        assert_eq!(replace("b", r"\0\\$1"), r"/a/b\$1");
    }
}
