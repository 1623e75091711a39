//! Kubernetes label selectors in their text form.

use std::collections::BTreeMap;
use std::iter::Peekable;

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
    /// Reads a selector as `kubectl --selector` does; the empty one selects everything.
    pub fn parse(text: &str) -> Result<Self, String> {
        Parser(tokens(text).into_iter().peekable())
            .requirements()
            .map(Self)
            .map_err(|what| {
                format!(
                    "\"{text}\" is not a label selector: {what}; write key=value, key!=value, \
                     key in (a,b), key notin (a,b), key or !key, with commas between them"
                )
            })
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Comma,
    Open,
    Close,
    Not,
    Equal,
    NotEqual,
}

/// Words end at white space and at any of the signs, as Kubernetes has it: `a in(b)` is fine.
fn tokens(text: &str) -> Vec<Token<'_>> {
    const SIGNS: [(&str, Token<'_>); 7] = [
        ("!=", Token::NotEqual),
        ("==", Token::Equal),
        ("=", Token::Equal),
        ("!", Token::Not),
        (",", Token::Comma),
        ("(", Token::Open),
        (")", Token::Close),
    ];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let sign = SIGNS
            .iter()
            .find_map(|(sign, token)| Some((rest.strip_prefix(sign)?, *token)));
        let (after, token) = sign.unwrap_or_else(|| {
            let ends = |c: char| c.is_whitespace() || "!=,()".contains(c);
            let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            (after, Token::Word(word))
        });
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

struct Parser<'a, I: Iterator<Item = Token<'a>>>(Peekable<I>);

impl<'a, I: Iterator<Item = Token<'a>>> Parser<'a, I> {
    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.0.peek().is_none() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.0.next() {
                None => return Ok(requirements),
                Some(Token::Comma) => {}
                Some(other) => return Err(format!("{} is not expected there", other.words())),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.0.next_if_eq(&Token::Not).is_some() {
            return Ok(Requirement::Absent(self.key()?));
        }
        let key = self.key()?;
        match self.0.peek().copied() {
            None | Some(Token::Comma) => return Ok(Requirement::Exists(key)),
            _ => {}
        }
        match self.0.next() {
            Some(Token::Equal) => Ok(Requirement::In(key, vec![self.value()?])),
            Some(Token::NotEqual) => Ok(Requirement::NotIn(key, vec![self.value()?])),
            Some(Token::Word("in")) => Ok(Requirement::In(key, self.values()?)),
            Some(Token::Word("notin")) => Ok(Requirement::NotIn(key, self.values()?)),
            other => Err(format!(
                "{} is not expected after the key {key}",
                other.map_or("the end".to_owned(), Token::words)
            )),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        match self.0.next() {
            Some(Token::Word(word)) => {
                let name = word.split_once('/').map_or(word, |(_, name)| name);
                let prefix = word.strip_suffix(name).unwrap_or_default();
                if is_name(name) && (prefix.is_empty() || is_name(prefix.trim_end_matches('/'))) {
                    Ok(word.to_owned())
                } else {
                    Err(format!("no label can have the key \"{word}\""))
                }
            }
            Some(other) => Err(format!("{} stands where a key should", other.words())),
            None => Err("a key is missing at the end".to_owned()),
        }
    }

    /// Nothing at all is the empty value.
    fn value(&mut self) -> Result<String, String> {
        match self.0.next_if(|token| matches!(token, Token::Word(_))) {
            Some(Token::Word(word)) if is_name(word) => Ok(word.to_owned()),
            Some(other) => Err(format!("no label can have the value {}", other.words())),
            None => Ok(String::new()),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        if self.0.next() != Some(Token::Open) {
            return Err("values in parentheses are missing".to_owned());
        }
        if self.0.next_if_eq(&Token::Close).is_some() {
            return Err("there is no value in the parentheses".to_owned());
        }
        let mut values = vec![self.value()?];
        loop {
            match self.0.next() {
                Some(Token::Comma) => values.push(self.value()?),
                Some(Token::Close) => return Ok(values),
                _ => return Err("a parenthesis is not closed".to_owned()),
            }
        }
    }
}

impl Token<'_> {
    fn words(self) -> String {
        match self {
            Token::Word(word) => format!("\"{word}\""),
            Token::Comma => "a comma".to_owned(),
            Token::Open | Token::Close => "a parenthesis".to_owned(),
            Token::Not => "!".to_owned(),
            Token::Equal => "=".to_owned(),
            Token::NotEqual => "!=".to_owned(),
        }
    }
}

/// What a label's value and each part of its key may be (their lengths aside: a name that is too
/// long only selects nothing).
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.chars().all(inner) && text.starts_with(outer) && text.ends_with(outer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let labels = [("app", "web"), ("tier", "a"), ("x.io/in", ""), ("in", "1")];
        for yes in [
            "",
            "app=web",
            " app == web ",
            "app=web,tier=a",
            "app!=db",
            "new!=x",
            "tier in (a, b)",
            "tier in(a)",
            "tier\tin\t( a )",
            "tier notin (b,c)",
            "app",
            "!legacy",
            "! legacy",
            "x.io/in=",
            "x.io/in in (,b)",
            "in in (1)",
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
            "app=web,tier=b",
            "app=",
        ] {
            assert!(!matches(no, &labels), "{no}");
        }
    }

    #[test]
    fn what_is_no_selector_says_what_to_write() {
        for (bad, what) in [
            ("a b", "\"b\" is not expected after the key a"),
            ("=x", "= stands where a key should"),
            ("a in b", "values in parentheses are missing"),
            ("a in (b", "a parenthesis is not closed"),
            ("a in ()", "there is no value in the parentheses"),
            ("!", "a key is missing at the end"),
            ("a,", "a key is missing at the end"),
            ("a,,b", "a comma stands where a key should"),
            ("a=b=c", "= is not expected there"),
            ("!a=b", "= is not expected there"),
            ("a=b c", "\"c\" is not expected there"),
            ("a>1", "no label can have the key \"a>1\""),
            ("a=-", "no label can have the value \"-\""),
            ("/a", "no label can have the key \"/a\""),
        ] {
            let error = LabelSelectorExpr::parse(bad).unwrap_err();
            let expected = format!("\"{bad}\" is not a label selector: {what}; write key=value");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ab=!,() \tin/.\\-]{0,12}|\\PC{0,16}") {
            let _ = LabelSelectorExpr::parse(&text);
        }

        /// A set is what its members are one by one.
        #[test]
        fn sets_mean_what_their_members_mean(
            values in proptest::collection::vec("[a-c]{1,2}", 1..4),
            held in proptest::option::of("[a-c]{1,2}"),
        ) {
            let labels: Vec<_> = held.iter().map(|value| ("k", value.as_str())).collect();
            let set = values.join(" , ");
            let any = values.iter().any(|value| matches(&format!("k={value}"), &labels));
            let none = values.iter().all(|value| matches(&format!("k!={value}"), &labels));
            prop_assert_eq!(matches(&format!("k in ({set})"), &labels), any);
            prop_assert_eq!(matches(&format!("k notin ({set})"), &labels), none);
            prop_assert_eq!(matches("k", &labels), held.is_some());
            prop_assert_eq!(matches("!k", &labels), held.is_none());
        }
    }
}
