//! A file of limits, in the format of envoyproxy/ratelimit: YAML to checked values.

use std::fmt;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::unit::Unit;

/// Why a file is not taken. Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub(crate) struct FileError {
    pub(crate) at: Position,
    pub(crate) message: String,
}

impl FileError {
    pub(crate) fn new(at: Position, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };

    fn of(location: serde_saphyr::Location) -> Self {
        Self {
            line: location.line().max(1),
            column: location.column().max(1),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// What a file says, checked but for what other files say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) domain: String,
    pub(crate) domain_at: Position,
    pub(crate) descriptors: Vec<Descriptor>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Descriptor {
    pub(crate) at: Position,
    /// `key`, or `key_value` where there is a value: what descriptors of requests are looked up by.
    pub(crate) composite: String,
    pub(crate) limit: Option<FileLimit>,
    pub(crate) detailed_metric: bool,
    pub(crate) value_to_metric: bool,
    pub(crate) share_threshold: bool,
    pub(crate) descriptors: Vec<Descriptor>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileLimit {
    pub(crate) quota: Quota,
    pub(crate) name: String,
    pub(crate) replaces: Vec<String>,
    pub(crate) shadow_mode: bool,
    pub(crate) quota_mode: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quota {
    Unlimited,
    Per { requests: u32, unit: Unit },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YamlFile {
    domain: Option<Spanned<String>>,
    descriptors: Option<Vec<Spanned<YamlDescriptor>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YamlDescriptor {
    key: Option<String>,
    value: Option<String>,
    rate_limit: Option<Spanned<YamlLimit>>,
    descriptors: Option<Vec<Spanned<YamlDescriptor>>>,
    #[serde(default)]
    shadow_mode: bool,
    #[serde(default)]
    quota_mode: bool,
    #[serde(default)]
    detailed_metric: bool,
    #[serde(default)]
    value_to_metric: bool,
    #[serde(default)]
    share_threshold: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YamlLimit {
    requests_per_unit: Option<u32>,
    unit: Option<Spanned<String>>,
    #[serde(default)]
    unlimited: bool,
    name: Option<String>,
    replaces: Option<Vec<Spanned<YamlReplaces>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YamlReplaces {
    name: Option<String>,
}

pub(crate) fn parse(text: &str) -> Result<File, FileError> {
    // envoyproxy/ratelimit reads YAML 1.1.
    let options = serde_saphyr::options! {
        strict_booleans: false,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file: Option<YamlFile> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_error(&error))?;
    let (domain, descriptors) = file.map_or((None, None), |file| (file.domain, file.descriptors));
    let Some(domain) = domain.filter(|domain| !domain.value.is_empty()) else {
        let message =
            "there is no domain: write the one that Envoy's filter has, as `domain: NAME`";
        return Err(FileError::new(Position::START, message));
    };
    Ok(File {
        domain_at: Position::of(domain.referenced),
        domain: domain.value,
        descriptors: check_all(descriptors)?,
    })
}

fn syntax_error(error: &serde_saphyr::Error) -> FileError {
    let error = error.without_snippet();
    let at = error.location().map_or(Position::START, Position::of);
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The position has a field of its own.
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(message, _)| message);
    FileError::new(at, message)
}

fn check_all(
    descriptors: Option<Vec<Spanned<YamlDescriptor>>>,
) -> Result<Vec<Descriptor>, FileError> {
    descriptors.into_iter().flatten().map(check).collect()
}

fn check(descriptor: Spanned<YamlDescriptor>) -> Result<Descriptor, FileError> {
    let at = Position::of(descriptor.referenced);
    let descriptor = descriptor.value;
    let Some(key) = descriptor.key.filter(|key| !key.is_empty()) else {
        return Err(FileError::new(at, "the descriptor has no key"));
    };
    let composite = match descriptor.value.filter(|value| !value.is_empty()) {
        Some(value) => format!("{key}_{value}"),
        None => key,
    };
    if descriptor.share_threshold && !composite.ends_with('*') {
        let message = format!(
            "share_threshold is for values that end with \"*\", and \"{composite}\" does not: leave it out"
        );
        return Err(FileError::new(at, message));
    }
    let limit = descriptor
        .rate_limit
        .map(|limit| check_limit(limit, descriptor.shadow_mode, descriptor.quota_mode))
        .transpose()?;
    Ok(Descriptor {
        at,
        composite,
        limit,
        detailed_metric: descriptor.detailed_metric,
        value_to_metric: descriptor.value_to_metric,
        share_threshold: descriptor.share_threshold,
        descriptors: check_all(descriptor.descriptors)?,
    })
}

fn check_limit(
    limit: Spanned<YamlLimit>,
    shadow_mode: bool,
    quota_mode: bool,
) -> Result<FileLimit, FileError> {
    let at = Position::of(limit.referenced);
    let limit = limit.value;
    let quota = match (limit.unlimited, limit.unit) {
        (true, Some(unit)) => {
            let at = Position::of(unit.referenced);
            let message = "what is unlimited has no unit: leave out one of unlimited and unit";
            return Err(FileError::new(at, message));
        }
        (true, None) => Quota::Unlimited,
        (false, None) => {
            let message =
                format!("the limit has no unit: write one of {UNITS}, or `unlimited: true`");
            return Err(FileError::new(at, message));
        }
        (false, Some(unit)) => Quota::Per {
            unit: Unit::from_name(&unit.value).ok_or_else(|| {
                let message = format!("\"{}\" is no unit: write one of {UNITS}", unit.value);
                FileError::new(Position::of(unit.referenced), message)
            })?,
            requests: limit.requests_per_unit.ok_or_else(|| {
                let message = "requests_per_unit is missing: write a number, 0 to let nothing pass";
                FileError::new(at, message)
            })?,
        },
    };
    let name = limit.name.unwrap_or_default();
    let mut replaces = Vec::new();
    for replaced in limit.replaces.into_iter().flatten() {
        let at = Position::of(replaced.referenced);
        let replaced = replaced.value.name.unwrap_or_default();
        if replaced.is_empty() {
            let message = "the limit that is replaced has no name: write that of its rate_limit";
            return Err(FileError::new(at, message));
        }
        if replaced == name {
            let message = format!("the limit \"{name}\" replaces itself: leave that out");
            return Err(FileError::new(at, message));
        }
        replaces.push(replaced);
    }
    Ok(FileLimit {
        quota,
        name,
        replaces,
        shadow_mode,
        quota_mode,
    })
}

const UNITS: &str = "second, minute, hour, day, week, month, year";

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).expect_err("the file is wrong").to_string()
    }

    #[test]
    fn reads_what_envoyproxy_ratelimit_reads() {
        let file = parse(
            "
domain: shop
descriptors:
  - key: user
    value: 17
    rate_limit: {unit: HOUR, requests_per_unit: 5, name: a, replaces: [{name: b}]}
    shadow_mode: yes
    descriptors:
  - key: path
    value: /files/*
    share_threshold: true
    descriptors:
      - key: user
        rate_limit: {unlimited: true}
",
        )
        .unwrap();
        assert_eq!(file.domain, "shop");
        let [user, path] = file.descriptors.as_slice() else {
            panic!("{file:?}");
        };
        assert_eq!(user.composite, "user_17");
        let limit = user.limit.as_ref().unwrap();
        let hourly = Quota::Per {
            requests: 5,
            unit: Unit::Hour,
        };
        assert_eq!(limit.quota, hourly);
        assert_eq!(limit.replaces, ["b"]);
        assert!(limit.shadow_mode);
        assert_eq!(path.composite, "path_/files/*");
        let nested = path.descriptors[0].limit.as_ref().unwrap();
        assert_eq!(nested.quota, Quota::Unlimited);
    }

    #[test]
    fn says_where_and_what_is_wrong() {
        let limit = |limit: &str| {
            error(&format!(
                "domain: a\ndescriptors:\n  - key: b\n    rate_limit:\n      {limit}\n"
            ))
        };
        assert_eq!(
            limit("unit: fortnight"),
            "5:13: \"fortnight\" is no unit: write one of second, minute, hour, day, week, month, year"
        );
        assert!(limit("requests_per_unit: 1").contains("the limit has no unit"));
        assert!(limit("unit: day").starts_with("5:7: requests_per_unit is missing"));
        assert!(limit("{unlimited: true, unit: day}").contains("has no unit: leave out"));
        assert!(limit("{unit: day, requests_per_unit: -1}").starts_with("5:"));
        assert!(
            limit("{unit: day, requests_per_unit: 1, shadow_mode: true}").contains("shadow_mode")
        );
        assert!(
            limit("{unit: day, requests_per_unit: 1, name: a, replaces: [{name: a}]}")
                .contains("replaces itself")
        );
        assert!(limit("{unit: day, requests_per_unit: 1, replaces: [{}]}").contains("has no name"));
        assert!(error("").starts_with("1:1: there is no domain"));
        assert!(error("domain: ''").contains("there is no domain"));
        assert!(error("domain: a\ndescriptors: [{value: b}]").contains("has no key"));
        assert!(error("domain: a\ndescriptors: [{key: b, valeu: c}]").contains("valeu"));
        assert!(error("domain: a\nlimits: []").starts_with("2:1: "));
        assert!(error("domain: a\ndescriptors: [").starts_with("2:"));
        assert!(
            error("domain: a\ndescriptors: [{key: b, value: c, share_threshold: true}]")
                .contains("share_threshold is for values")
        );
    }
}
