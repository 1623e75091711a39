//! Units of time that limits are for.

use nuncio_envoy_api::envoy::service::ratelimit::v3::rate_limit_response::rate_limit;
use nuncio_envoy_api::envoy::r#type::v3::RateLimitUnit;

/// How long a window is. As in envoyproxy/ratelimit a month has 30 days and a year 365.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    /// In any case, as it is written in a file.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// Of a limit that Envoy asks for itself.
    pub(crate) fn from_override(unit: RateLimitUnit) -> Option<Self> {
        Some(match unit {
            RateLimitUnit::Unknown => return None,
            RateLimitUnit::Second => Self::Second,
            RateLimitUnit::Minute => Self::Minute,
            RateLimitUnit::Hour => Self::Hour,
            RateLimitUnit::Day => Self::Day,
            RateLimitUnit::Month => Self::Month,
            RateLimitUnit::Year => Self::Year,
        })
    }

    pub(crate) fn as_answer(self) -> rate_limit::Unit {
        match self {
            Self::Second => rate_limit::Unit::Second,
            Self::Minute => rate_limit::Unit::Minute,
            Self::Hour => rate_limit::Unit::Hour,
            Self::Day => rate_limit::Unit::Day,
            Self::Week => rate_limit::Unit::Week,
            Self::Month => rate_limit::Unit::Month,
            Self::Year => rate_limit::Unit::Year,
        }
    }

    pub(crate) fn seconds(self) -> u64 {
        const DAY: u64 = 24 * 60 * 60;
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::Month => 30 * DAY,
            Self::Year => 365 * DAY,
        }
    }
}
