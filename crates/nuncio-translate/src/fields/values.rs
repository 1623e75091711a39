//! Numbers, times and names as resources write them.

use std::time::Duration;

use nuncio_model::route::Priority;
use nuncio_model::value::Invalid;

use super::mistake::Mistake;

/// Zero is kept: it means without end.
pub(crate) fn milliseconds(field: &str, value: Option<i64>) -> Result<Option<Duration>, Mistake> {
    // The longest that a protobuf Duration can say, in round numbers: ten thousand years.
    const MAX: u64 = 315_576_000_000_000;
    match value {
        None => Ok(None),
        Some(value) => match u64::try_from(value) {
            Ok(value) if value <= MAX => Ok(Some(Duration::from_millis(value))),
            _ => Err(Mistake::new(
                field,
                format!("{value} milliseconds is not a time that can be waited"),
                "write milliseconds as a whole number from 0, such as 3000",
            )),
        },
    }
}

/// Which file is meant must not depend on where nuncio was started.
pub(crate) fn whole_path(path: &str) -> Result<(), Invalid> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(Invalid::new(
            format!("\"{path}\" is not the whole path of a file"),
            "write a path that begins with /",
        )),
    }
}

/// A number that Envoy takes: from 0 to what 32 bits hold.
pub(crate) fn unsigned(field: &str, value: Option<i64>) -> Result<Option<u32>, Mistake> {
    value
        .map(|value| {
            u32::try_from(value).map_err(|_| {
                Mistake::new(
                    field,
                    format!("{value} is out of range"),
                    "write a whole number from 0 to 4294967295",
                )
            })
        })
        .transpose()
}

pub(crate) fn priority(field: &str, value: Option<&str>) -> Result<Priority, Mistake> {
    match value {
        None => Ok(Priority::Default),
        Some(text) if text.eq_ignore_ascii_case("default") => Ok(Priority::Default),
        Some(text) if text.eq_ignore_ascii_case("high") => Ok(Priority::High),
        Some(text) => Err(Mistake::new(
            field,
            format!("\"{text}\" is not a priority"),
            "write default or high",
        )),
    }
}

/// `3s`, `0.25s`, and also `250ms`, `1m`, `1h`.
pub(crate) fn duration(field: &str, text: &str) -> Result<Duration, Mistake> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    units
        .iter()
        .find_map(|(unit, seconds)| {
            let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
            Duration::try_from_secs_f64(number * seconds).ok()
        })
        .filter(|duration| duration.as_secs() <= 315_576_000_000)
        .ok_or_else(|| {
            Mistake::new(
                field,
                format!("\"{text}\" is not a duration"),
                "write a number and a unit, such as 3s or 250ms",
            )
        })
}

/// `map.key`, with the key in brackets where it needs them.
pub(crate) fn field_of(map: &str, key: &str) -> String {
    if key.contains(['.', '[', ']', '"']) || key.is_empty() {
        format!("{map}[{key:?}]")
    } else {
        format!("{map}.{key}")
    }
}
