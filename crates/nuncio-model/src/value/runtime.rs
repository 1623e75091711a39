use std::sync::Arc;

use serde::Serialize;

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

/// A number that is one: no infinity, and not "not a number".
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Serialize)]
#[serde(transparent)]
pub struct FiniteNumber(f64);

impl FiniteNumber {
    pub fn new(number: f64) -> Result<Self, Invalid> {
        if number.is_finite() {
            Ok(Self(number))
        } else {
            Err(Invalid::new(
                format!("{number} is not a number to reckon with"),
                "write a finite number",
            ))
        }
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{FiniteNumber, RuntimeKey};

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

    #[test]
    fn a_number_is_one() {
        assert!(FiniteNumber::new(-1.5).is_ok());
        assert!(FiniteNumber::new(f64::NAN).is_err());
        assert!(FiniteNumber::new(f64::INFINITY).is_err());
    }
}
