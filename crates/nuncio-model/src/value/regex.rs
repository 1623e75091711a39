use std::sync::Arc;

use regex_syntax::ast::{self, Ast, RepetitionKind, RepetitionRange};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, Look};

use super::{Invalid, checked_string};

/// A regular expression that RE2, Envoy's engine, takes.
///
/// Checked by the parser of Rust's `regex`, whose syntax grew out of RE2's, less what RE2 lacks or
/// reads otherwise (<https://github.com/google/re2/wiki/Syntax>).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Regex(Arc<str>);

checked_string!(Regex);

const HELP: &str = "Envoy reads RE2: https://github.com/google/re2/wiki/Syntax";

/// RE2's limit of a counted repetition, nested ones multiplied.
const MAX_REPETITION: u64 = 1000;

impl Regex {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("a regular expression must not be empty", HELP));
        }
        let ast = ast::parse::Parser::new().parse(text).map_err(|error| {
            Invalid::new(
                format!("\"{text}\" is not a regular expression: {}", error.kind()),
                HELP,
            )
        })?;
        check(&ast, 1).map_err(|what| {
            Invalid::new(
                format!("\"{text}\" is not a regular expression that Envoy takes: {what}"),
                HELP,
            )
        })?;
        // Translation finds what the syntax tree cannot: unknown Unicode classes and the like.
        regex_syntax::hir::translate::Translator::new()
            .translate(text, &ast)
            .map_err(|error| {
                Invalid::new(
                    format!("\"{text}\" is not a regular expression: {}", error.kind()),
                    HELP,
                )
            })?;
        Ok(Self(text.into()))
    }

    /// What every text begins with that it matches as a whole. Where that is hard to tell, less.
    pub fn literal_prefix(&self) -> String {
        let prefixes = Extractor::new().extract(&self.hir());
        let common = prefixes.longest_common_prefix().unwrap_or_default();
        let text = match std::str::from_utf8(common) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&common[..error.valid_up_to()])
                .expect("invariant: valid up to there"),
        };
        text.to_owned()
    }

    /// One that matches, beside other texts, whatever this one matches, alone or with a query string
    /// behind it. `None` where the end of the text is asked for too deep inside.
    pub fn with_query(&self) -> Option<Self> {
        let asks_for_end = |regex: &Self| {
            let looks = regex.hir().properties().look_set();
            looks.contains(Look::End) || looks.contains(Look::EndLF)
        };
        // Without an assertion an expression matches more.
        let open = if asks_for_end(self) {
            Self::new(self.0.strip_suffix('$')?).ok()?
        } else {
            self.clone()
        };
        (!asks_for_end(&open)).then(|| Self(format!("(?:{open})(?:\\?(?s:.*))?").into()))
    }

    fn hir(&self) -> Hir {
        regex_syntax::parse(&self.0).expect("invariant: it was parsed when it was made")
    }

    /// A regular expression that matches this text alone.
    pub fn literal(text: &str) -> String {
        regex_syntax::escape(text)
    }
}

fn check(ast: &Ast, repeated: u64) -> Result<(), String> {
    match ast {
        Ast::Empty(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => Ok(()),
        Ast::Flags(flags) => check_flags(&flags.flags),
        Ast::Literal(literal) => check_literal(literal),
        Ast::Assertion(assertion) => match assertion.kind {
            ast::AssertionKind::StartLine
            | ast::AssertionKind::EndLine
            | ast::AssertionKind::StartText
            | ast::AssertionKind::EndText
            | ast::AssertionKind::WordBoundary
            | ast::AssertionKind::NotWordBoundary => Ok(()),
            _ => Err("RE2 has no half word boundaries".to_owned()),
        },
        Ast::ClassBracketed(class) => check_class(&class.kind),
        Ast::Repetition(repetition) => {
            if matches!(*repetition.ast, Ast::Repetition(_)) {
                return Err("a repetition operator follows another".to_owned());
            }
            let count = match repetition.op.kind {
                RepetitionKind::Range(
                    RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n),
                ) => n,
                RepetitionKind::Range(RepetitionRange::Bounded(_, n)) => n,
                _ => 1,
            };
            let repeated = repeated.saturating_mul(u64::from(count.max(1)));
            if repeated > MAX_REPETITION {
                return Err(format!("it repeats more than {MAX_REPETITION} times"));
            }
            check(&repetition.ast, repeated)
        }
        Ast::Group(group) => {
            match &group.kind {
                ast::GroupKind::NonCapturing(flags) => check_flags(flags)?,
                ast::GroupKind::CaptureIndex(_) | ast::GroupKind::CaptureName { .. } => {}
            }
            check(&group.ast, repeated)
        }
        Ast::Alternation(alternation) => {
            alternation.asts.iter().try_for_each(|a| check(a, repeated))
        }
        Ast::Concat(concat) => concat.asts.iter().try_for_each(|a| check(a, repeated)),
    }
}

fn check_flags(flags: &ast::Flags) -> Result<(), String> {
    use ast::{Flag, FlagsItemKind};
    for item in &flags.items {
        if let FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) = item.kind
        {
            return Err("RE2 has only the flags i, m, s and U".to_owned());
        }
    }
    Ok(())
}

fn check_literal(literal: &ast::Literal) -> Result<(), String> {
    use ast::{HexLiteralKind, LiteralKind};
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("RE2 writes a code point as \\x{10FFFF}".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_class(set: &ast::ClassSet) -> Result<(), String> {
    match set {
        ast::ClassSet::BinaryOp(_) => {
            Err("RE2 has no operators in a character class: escape &&, -- or ~~".to_owned())
        }
        ast::ClassSet::Item(item) => check_class_item(item),
    }
}

fn check_class_item(item: &ast::ClassSetItem) -> Result<(), String> {
    use ast::ClassSetItem;
    match item {
        ClassSetItem::Bracketed(_) => {
            Err("RE2 reads \"[\" in a character class as itself: escape it".to_owned())
        }
        ClassSetItem::Union(union) => union.items.iter().try_for_each(check_class_item),
        ClassSetItem::Literal(literal) => check_literal(literal),
        ClassSetItem::Range(range) => {
            check_literal(&range.start)?;
            check_literal(&range.end)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_re2_takes() {
        for good in [
            "/[0-9]+/x",
            "^a$",
            "(?i)foo",
            "(?P<id>[a-z]+)",
            "a{2,5}?",
            r"\d+\.\w*\pN[[:alpha:]_-]",
            "(?:a*)*",
            "[a&b]",
        ] {
            assert!(Regex::new(good).is_ok(), "{good}: {:?}", Regex::new(good));
        }
    }

    #[test]
    fn knows_what_matches_begin_with() {
        for (regex, prefix) in [
            ("/api/[0-9]+", "/api/"),
            ("^/api/v(1|2)$", "/api/v"),
            ("/a|/b", "/"),
            ("/a|b", ""),
            ("(?i)/api", "/"),
            ("/a?b", "/"),
            ("/é.*", "/é"),
            (r"/[éè]", "/"),
            (".*", ""),
            ("/ab{0}", "/a"),
        ] {
            assert_eq!(
                Regex::new(regex).unwrap().literal_prefix(),
                prefix,
                "{regex}"
            );
        }
    }

    #[test]
    fn goes_on_with_a_query_where_it_can() {
        let with_query = |regex: &str| Regex::new(regex).unwrap().with_query();
        let some = |text: &str| Some(Regex::new(text).unwrap());
        assert_eq!(with_query("/a"), some(r"(?:/a)(?:\?(?s:.*))?"));
        assert_eq!(with_query("^/a|/b$"), some(r"(?:^/a|/b)(?:\?(?s:.*))?"));
        assert_eq!(with_query(r"/a\$"), some(r"(?:/a\$)(?:\?(?s:.*))?"));
        assert_eq!(with_query("/a$|/b"), None);
    }

    #[test]
    fn refuses_what_re2_refuses() {
        for bad in [
            "",
            "(",
            "[a",
            "a**",
            "a{1001}",
            "(a{100}){100}",
            "(?x)a b",
            r"a\u0041",
            "[a&&b]",
            r"(?=a)",
            r"(a)\1",
            "*a",
            "[b-a]",
            r"\p{Nope}",
        ] {
            assert!(Regex::new(bad).is_err(), "{bad}");
        }
    }
}
