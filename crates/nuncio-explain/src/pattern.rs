//! Regular expressions as RE2 runs them. On ASCII, which paths always are, it and `regex` agree.

use nuncio_model::value;
use regex::Regex;

fn compiled(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// The whole text.
pub(crate) fn is_match(pattern: &value::Regex, text: &str) -> bool {
    let whole = format!(r"\A(?:{pattern})\z");
    compiled(&whole).is_some_and(|regex| regex.is_match(text))
}

/// RE2's `GlobalReplace`: `\0` to `\9` stand for groups. A group that is not there leaves the text.
pub(crate) fn replace_all(pattern: &value::Regex, text: &str, substitution: &str) -> String {
    let Some(regex) = compiled(pattern.as_str()) else {
        return text.to_owned();
    };
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
        assert!(is_match(&regex("/a|/ab"), "/ab"));
        assert!(!is_match(&regex("/a"), "/ab"));
        let replace = |pattern, substitution| replace_all(&regex(pattern), "/a/b", substitution);
        assert_eq!(replace("/([a-z])", r"\1-"), "a-b-");
        assert_eq!(replace("/([a-z])", r"\2"), "/a/b");
        assert_eq!(replace("b", r"\0\\$1"), r"/a/b\$1");
    }
}
