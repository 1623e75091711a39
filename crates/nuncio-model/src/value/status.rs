use serde::Serialize;

use super::Invalid;

/// A status that Envoy can answer with of its own (`type.v3.StatusCode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct HttpStatus(u16);

/// Those that Envoy's API has, but for 100: it is no answer.
const KNOWN: &[std::ops::RangeInclusive<u16>] = &[
    200..=208,
    226..=226,
    300..=305,
    307..=308,
    400..=417,
    421..=424,
    426..=426,
    428..=429,
    431..=431,
    500..=508,
    510..=511,
];

impl HttpStatus {
    pub fn new(code: i64) -> Result<Self, Invalid> {
        u16::try_from(code)
            .ok()
            .filter(|code| KNOWN.iter().any(|known| known.contains(code)))
            .map(Self)
            .ok_or_else(|| {
                Invalid::new(
                    format!("{code} is not a status that Envoy can answer with"),
                    "write a status of HTTP, such as 403 or 503",
                )
            })
    }

    pub fn code(self) -> u16 {
        self.0
    }
}
