use std::sync::Arc;

use super::{Invalid, checked_string};

/// The name of a value of Envoy's runtime (`envoy.reloadable_features.…`): letters, digits and what
/// stands between them. Envoy takes any text, and never finds what was written with a slip.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuntimeKey(Arc<str>);

checked_string!(RuntimeKey);

impl RuntimeKey {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || !text.chars().all(allowed) {
            return Err(Invalid::new(
                format!("\"{text}\" is not the name of a runtime value"),
                "write letters, digits, `.`, `_` and `-`",
            ));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::RuntimeKey;

    #[test]
    fn a_name_is_one_word() {
        for good in [
            "envoy.reloadable_features.a",
            "re2.max_program_size.error_level",
        ] {
            assert!(RuntimeKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:", "ä"] {
            assert!(RuntimeKey::new(bad).is_err(), "{bad}");
        }
    }
}
