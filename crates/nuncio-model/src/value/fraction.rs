use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of all requests (`type.v3.FractionalPercent`), exact to a millionth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fraction(u32);

const MILLION: u32 = 1_000_000;
const PERCENT: u32 = MILLION / 100;

impl Fraction {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(MILLION);

    /// What is more than all is all.
    pub fn percent(percent: u32) -> Self {
        Self(percent.min(100) * PERCENT)
    }

    /// The nearest millionth; of nothing, none.
    pub fn of(part: u64, whole: u64) -> Self {
        if whole == 0 {
            return Self::NONE;
        }
        let (part, whole) = (u128::from(part.min(whole)), u128::from(whole));
        let millionths = (part * u128::from(MILLION) + whole / 2) / whole;
        Self(u32::try_from(millionths).expect("invariant: no more than all"))
    }

    pub fn millionths(self) -> u32 {
        self.0
    }

    /// In percent, where that is a whole number.
    pub fn whole_percent(self) -> Option<u32> {
        self.0.is_multiple_of(PERCENT).then_some(self.0 / PERCENT)
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self((self.0 + other.0).min(MILLION))
    }

    /// What this has more than another part.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// In percent.
impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(PERCENT))
    }
}

/// In percent: a whole number where it is one.
impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.whole_percent() {
            Some(percent) => percent.serialize(serializer),
            None => (f64::from(self.0) / f64::from(PERCENT)).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?.clamp(0.0, 100.0);
        // In range, and what is no number is none.
        Ok(Self((percent * f64::from(PERCENT)).round() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_exact_to_a_millionth() {
        assert_eq!(Fraction::of(1, 3).millionths(), 333_333);
        assert_eq!(Fraction::of(2, 3).millionths(), 666_667);
        assert_eq!(Fraction::of(3, 3), Fraction::ALL);
        assert_eq!(Fraction::of(9, 3), Fraction::ALL);
        assert_eq!(Fraction::of(1, 0), Fraction::NONE);
        assert_eq!(Fraction::of(u64::MAX, u64::MAX), Fraction::ALL);
        assert_eq!(Fraction::of(1, 2), Fraction::percent(50));
        assert_eq!(Fraction::percent(150), Fraction::ALL);
        assert_eq!(Fraction::of(1, 3).whole_percent(), None);
        assert_eq!(Fraction::of(1, 4).whole_percent(), Some(25));
    }

    #[test]
    fn they_are_written_in_percent() {
        assert_eq!(Fraction::of(1, 3).to_string(), "33.3333");
        assert_eq!(Fraction::percent(50).to_string(), "50");
    }
}
