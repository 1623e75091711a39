//! One Mapping, read into checked values. A value that is wrong costs this Mapping alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::{AddedHeader, Cors as CorsSpec, Mapping};
use nuncio_model::Reason;
use nuncio_model::route::{
    Cors, HeaderAddition, HeaderEdits, HeaderMatch, HostRewrite, PathMatch, PathRewrite, Priority,
    QueryParameterMatch, Redirect, RetryPolicy, StringMatch,
};
use nuncio_model::value::{
    FormatString, HeaderName, HostLiteral, MatchHeaderName, PathLiteral, Regex,
};

use super::Context;
use super::cluster::ClusterSpec;
use super::mistake::Mistake;
use super::redirect;
use super::unsupported;
use crate::store::Object;

/// Emissary's default of `timeout_ms`.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(3000);

/// What a Mapping matches, as it is written: what groups and the order go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Criteria {
    pub(super) precedence: i64,
    pub(super) prefix: String,
    /// `headers`, then `regex_headers`, each sorted, then `:authority`, then `:method`.
    pub(super) headers: Vec<Criterion>,
    pub(super) query_parameters: Vec<Criterion>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Criterion {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) regex: bool,
}

/// A Mapping that can be put into effect.
#[derive(Clone, Debug)]
pub(super) struct Parsed<'a> {
    pub(super) object: &'a Object<Mapping>,
    pub(super) criteria: Criteria,
    pub(super) path: PathMatch,
    pub(super) case_sensitive: bool,
    pub(super) headers: Vec<HeaderMatch>,
    pub(super) query_parameters: Vec<QueryParameterMatch>,
    pub(super) association: Association,
    pub(super) weight: Option<i64>,
    pub(super) target: Target,
    pub(super) request_headers: HeaderEdits,
    pub(super) response_headers: HeaderEdits,
}

/// What decides which Hosts take a Mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Association {
    /// Hosts that this glob intersects.
    Hostname(String),
    /// Every Host: the route's own condition says the rest.
    Every,
    /// Only Hosts that select it by its labels.
    Labels,
}

#[derive(Clone, Debug)]
pub(super) enum Target {
    Route(Box<RouteTarget>),
    Shadow(Box<ClusterSpec>),
    Redirect(Redirect),
}

/// Where requests go, and what is done to them on the way.
#[derive(Clone, Debug)]
pub(super) struct RouteTarget {
    pub(super) cluster: ClusterSpec,
    pub(super) timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) path_rewrite: PathRewrite,
    pub(super) host_rewrite: HostRewrite,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) cors: Option<Cors>,
    pub(super) upgrades: Vec<Arc<str>>,
    pub(super) priority: Priority,
}

/// Reads a Mapping; `None` when it is left out, which the report then says.
pub(super) fn parse<'a>(
    context: &mut Context<'_>,
    object: &'a Object<Mapping>,
) -> Option<Parsed<'a>> {
    unsupported::mapping(&mut context.report, object);
    match Parser::new(context, object).parse() {
        Ok(parsed) => Some(parsed),
        Err(mistake) => {
            mistake.report(&mut context.report, object);
            None
        }
    }
}

struct Parser<'a, 'c, 's> {
    context: &'c mut Context<'s>,
    object: &'a Object<Mapping>,
}

impl<'a, 'c, 's> Parser<'a, 'c, 's> {
    fn new(context: &'c mut Context<'s>, object: &'a Object<Mapping>) -> Self {
        Self { context, object }
    }

    fn parse(mut self) -> Result<Parsed<'a>, Mistake> {
        let spec = &self.object.spec;
        let prefix = required("spec.prefix", spec.prefix.as_deref())?;
        required("spec.service", spec.service.as_deref())?;
        let path = path_match(spec, prefix)?;
        let hostname = self.hostname()?;
        let (headers, header_criteria) = self.headers(&hostname)?;
        let (query_parameters, query_criteria) = query_parameters(spec)?;
        let criteria = Criteria {
            precedence: spec.precedence.unwrap_or(0),
            prefix: prefix.to_owned(),
            headers: header_criteria,
            query_parameters: query_criteria,
        };
        let weight = spec.weight;
        if weight.is_some_and(|weight| weight < 0) {
            return Err(Mistake::new(
                "spec.weight",
                "a weight is not negative",
                "write a share of the requests in percent, from 0 to 100",
            ));
        }
        let target = self.target(&path)?;
        let edits = |add: &Option<_>, remove: &Option<Vec<String>>, what| {
            header_edits(add.as_ref(), remove.as_deref(), what)
        };
        let mut request_headers = edits(
            &spec.add_request_headers,
            &spec.remove_request_headers,
            "request",
        )?;
        if spec.add_linkerd_headers == Some(true)
            && let Target::Route(route) = &target
        {
            request_headers.add.push(linkerd_header(&route.cluster));
        }
        Ok(Parsed {
            object: self.object,
            criteria,
            path,
            case_sensitive: spec.case_sensitive.unwrap_or(true),
            headers,
            query_parameters,
            association: hostname.association,
            weight,
            target,
            request_headers,
            response_headers: edits(
                &spec.add_response_headers,
                &spec.remove_response_headers,
                "response",
            )?,
        })
    }

    /// Emissary's precedence: `hostname`, then `host`, then `:authority` among the headers.
    fn hostname(&mut self) -> Result<Hostname, Mistake> {
        let spec = &self.object.spec;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(hostname) = given(&spec.hostname) {
            if given(&spec.host).is_some() {
                self.warn(
                    "spec.host",
                    Reason::NoEffect,
                    "host is ignored because hostname is set",
                    "remove host and host_regex",
                );
            }
            return Ok(Hostname::glob(&hostname));
        }
        if let Some(host) = given(&spec.host) {
            if spec.host_regex == Some(true) {
                let pattern = Regex::new(&host).map_err(Mistake::at("spec.host"))?;
                return Ok(Hostname {
                    criterion: Some((host, true)),
                    matches: Some(StringMatch::Regex(pattern)),
                    association: Association::Every,
                });
            }
            return Hostname::exact(&host, "spec.host");
        }
        let authority = spec
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(":authority"));
        match authority {
            Some((name, value)) => Hostname::exact(value, &format!("spec.headers[\"{name}\"]")),
            None => Ok(Hostname {
                criterion: None,
                matches: None,
                association: Association::Labels,
            }),
        }
    }

    fn headers(&self, hostname: &Hostname) -> Result<(Vec<HeaderMatch>, Vec<Criterion>), Mistake> {
        let spec = &self.object.spec;
        let mut matches = Vec::new();
        let mut criteria = Vec::new();
        let mut push = |name: MatchHeaderName, text: &str, value: &str, matcher| {
            let regex = matches!(matcher, StringMatch::Regex(_));
            matches.push(HeaderMatch {
                name,
                value: matcher,
            });
            criteria.push(Criterion {
                name: text.to_owned(),
                value: value.to_owned(),
                regex,
            });
        };
        for (name, value) in &spec.headers {
            if name.eq_ignore_ascii_case(":authority") {
                continue;
            }
            let field = field_of("spec.headers", name);
            let header = MatchHeaderName::new(name).map_err(Mistake::at(field))?;
            push(
                header,
                name,
                value,
                StringMatch::Exact(value.as_str().into()),
            );
        }
        for (name, value) in &spec.regex_headers {
            let field = field_of("spec.regex_headers", name);
            let header = MatchHeaderName::new(name).map_err(Mistake::at(field.clone()))?;
            let pattern = Regex::new(value).map_err(Mistake::at(field))?;
            push(header, name, value, StringMatch::Regex(pattern));
        }
        if let Some(matcher) = &hostname.matches {
            matches.push(HeaderMatch {
                name: MatchHeaderName::authority(),
                value: matcher.clone(),
            });
        }
        if let Some((value, regex)) = &hostname.criterion {
            criteria.push(Criterion {
                name: ":authority".to_owned(),
                value: value.clone(),
                regex: *regex,
            });
        }
        if let Some(method) = spec.method.as_deref().filter(|method| !method.is_empty()) {
            let regex = spec.method_regex == Some(true);
            let value = if regex {
                StringMatch::Regex(Regex::new(method).map_err(Mistake::at("spec.method"))?)
            } else {
                StringMatch::Exact(method.into())
            };
            matches.push(HeaderMatch {
                name: MatchHeaderName::method(),
                value,
            });
            criteria.push(Criterion {
                name: ":method".to_owned(),
                value: method.to_owned(),
                regex,
            });
        }
        Ok((matches, criteria))
    }

    fn target(&mut self, path: &PathMatch) -> Result<Target, Mistake> {
        let spec = &self.object.spec;
        let shadow = spec.shadow == Some(true);
        if spec.host_redirect == Some(true) {
            if !shadow {
                let redirect = redirect::redirect(&mut self.context.report, self.object)?;
                return Ok(Target::Redirect(redirect));
            }
            self.warn(
                "spec.host_redirect",
                Reason::Conflict,
                "At most one of host_redirect and shadow may be set; ignoring host_redirect",
                "use two Mappings",
            );
        } else {
            redirect::without_host_redirect(&mut self.context.report, self.object);
        }
        let cluster = ClusterSpec::of_mapping(self.context, self.object)?;
        if shadow {
            return Ok(Target::Shadow(Box::new(cluster)));
        }
        Ok(Target::Route(Box::new(RouteTarget {
            cluster,
            timeout: milliseconds("spec.timeout_ms", spec.timeout_ms)?.unwrap_or(DEFAULT_TIMEOUT),
            idle_timeout: milliseconds("spec.idle_timeout_ms", spec.idle_timeout_ms)?,
            path_rewrite: self.path_rewrite(path)?,
            host_rewrite: self.host_rewrite()?,
            retry: retry_policy(spec)?,
            cors: spec.cors.as_ref().map(cors),
            upgrades: self.upgrades()?,
            priority: priority("spec.priority", spec.priority.as_deref())?,
        })))
    }

    fn path_rewrite(&mut self, path: &PathMatch) -> Result<PathRewrite, Mistake> {
        let spec = &self.object.spec;
        if let Some(regex) = spec
            .regex_rewrite
            .as_ref()
            .filter(|regex| !regex.pattern.is_empty() || !regex.substitution.is_empty())
        {
            if spec
                .rewrite
                .as_deref()
                .is_some_and(|r| r != "/" && !r.is_empty())
            {
                self.warn(
                    "spec.rewrite",
                    Reason::NoEffect,
                    "Cannot specify both rewrite and regex_rewrite: using regex_rewrite and \
                     ignoring rewrite",
                    "remove one of them",
                );
            }
            return Ok(PathRewrite::Regex {
                pattern: Regex::new(&regex.pattern)
                    .map_err(Mistake::at("spec.regex_rewrite.pattern"))?,
                substitution: one_line("spec.regex_rewrite.substitution", &regex.substitution)?,
            });
        }
        let rewrite = spec.rewrite.as_deref().unwrap_or("/");
        if rewrite.is_empty() {
            return Ok(PathRewrite::None);
        }
        if matches!(path, PathMatch::Regex(_)) && spec.rewrite.is_none() {
            self.notice(
                "spec.prefix_regex",
                "without rewrite the whole path of each request is replaced by \"/\"",
                "write rewrite: \"\" to leave the path alone, or use regex_rewrite",
            );
        }
        PathLiteral::new(rewrite)
            .map(PathRewrite::Prefix)
            .map_err(Mistake::at("spec.rewrite"))
    }

    fn host_rewrite(&mut self) -> Result<HostRewrite, Mistake> {
        let spec = &self.object.spec;
        let auto = spec.auto_host_rewrite == Some(true);
        match spec.host_rewrite.as_deref().filter(|host| !host.is_empty()) {
            Some(host) => {
                if auto {
                    self.warn(
                        "spec.auto_host_rewrite",
                        Reason::NoEffect,
                        "auto_host_rewrite is ignored because host_rewrite is set",
                        "remove one of them",
                    );
                }
                HostLiteral::new(host)
                    .map(HostRewrite::Literal)
                    .map_err(Mistake::at("spec.host_rewrite"))
            }
            None if auto => Ok(HostRewrite::Auto),
            None => Ok(HostRewrite::None),
        }
    }

    /// `use_websocket: false` means off, unlike in Emissary, where the field's presence counts.
    fn upgrades(&self) -> Result<Vec<Arc<str>>, Mistake> {
        let spec = &self.object.spec;
        let mut upgrades: Vec<Arc<str>> = Vec::new();
        for (index, upgrade) in spec.allow_upgrade.iter().flatten().enumerate() {
            if upgrade.trim().is_empty() {
                return Err(Mistake::new(
                    format!("spec.allow_upgrade[{index}]"),
                    "an upgrade must not be empty",
                    "write the name of a protocol, such as websocket",
                ));
            }
            let upgrade: Arc<str> = upgrade.to_ascii_lowercase().into();
            if !upgrades.contains(&upgrade) {
                upgrades.push(upgrade);
            }
        }
        if spec.use_websocket == Some(true) && !upgrades.iter().any(|u| &**u == "websocket") {
            upgrades.push("websocket".into());
        }
        Ok(upgrades)
    }

    fn warn(&mut self, field: &str, reason: Reason, message: &str, help: &str) {
        self.context
            .report
            .warning(&self.object.at(field), reason, message)
            .help(help);
    }

    fn notice(&mut self, field: &str, message: &str, help: &str) {
        self.context
            .report
            .notice(&self.object.at(field), Reason::NoEffect, message)
            .help(help);
    }
}

struct Hostname {
    /// As it takes part in groups and order, and whether it is a regex.
    criterion: Option<(String, bool)>,
    matches: Option<StringMatch>,
    association: Association,
}

impl Hostname {
    fn glob(hostname: &str) -> Self {
        let hostname = hostname.to_ascii_lowercase();
        let matches = match (hostname.strip_prefix('*'), hostname.strip_suffix('*')) {
            (Some(""), _) => None,
            (Some(suffix), _) => Some(StringMatch::Suffix(suffix.into())),
            (None, Some(prefix)) => Some(StringMatch::Prefix(prefix.into())),
            (None, None) => Some(StringMatch::Exact(hostname.as_str().into())),
        };
        Self {
            criterion: Some((hostname.clone(), false)),
            matches,
            association: Association::Hostname(hostname),
        }
    }

    fn exact(host: &str, field: &str) -> Result<Self, Mistake> {
        if host.contains('*') {
            let message = if field == "spec.host" {
                format!("host exact-match {host} contains *, which cannot match anything.")
            } else {
                format!(":authority exact-match '{host}' contains *, which cannot match anything.")
            };
            return Err(Mistake::new(
                field,
                message,
                "write hostname, which takes a * at one end",
            ));
        }
        Ok(Self {
            criterion: Some((host.to_owned(), false)),
            matches: Some(StringMatch::Exact(host.to_ascii_lowercase().into())),
            association: Association::Hostname(host.to_ascii_lowercase()),
        })
    }
}

fn required<'v>(field: &str, value: Option<&'v str>) -> Result<&'v str, Mistake> {
    match value {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(Mistake {
            reason: Reason::MissingField,
            ..Mistake::new(
                field,
                "it is missing",
                "every Mapping has a prefix and a service",
            )
        }),
    }
}

/// `prefix_regex` counts before `prefix_exact`.
fn path_match(spec: &Mapping, prefix: &str) -> Result<PathMatch, Mistake> {
    if spec.prefix_regex == Some(true) {
        return Regex::new(prefix)
            .map(PathMatch::Regex)
            .map_err(Mistake::at("spec.prefix"));
    }
    let path = PathLiteral::new(prefix).map_err(Mistake::at("spec.prefix"))?;
    Ok(if spec.prefix_exact == Some(true) {
        PathMatch::Exact(path)
    } else {
        PathMatch::Prefix(path)
    })
}

fn query_parameters(spec: &Mapping) -> Result<(Vec<QueryParameterMatch>, Vec<Criterion>), Mistake> {
    let mut matches = Vec::new();
    let mut criteria = Vec::new();
    let exact = spec.query_parameters.iter().map(|p| (p, false));
    let regex = spec.regex_query_parameters.iter().map(|p| (p, true));
    for ((name, value), regex) in exact.chain(regex) {
        let field = field_of(
            if regex {
                "spec.regex_query_parameters"
            } else {
                "spec.query_parameters"
            },
            name,
        );
        if name.is_empty() {
            return Err(Mistake::new(
                &field,
                "the name of a query parameter must not be empty",
                "write the name before the colon",
            ));
        }
        matches.push(QueryParameterMatch {
            name: name.as_str().into(),
            value: if regex {
                StringMatch::Regex(Regex::new(value).map_err(Mistake::at(field))?)
            } else {
                StringMatch::Exact(value.as_str().into())
            },
        });
        criteria.push(Criterion {
            name: name.clone(),
            value: value.clone(),
            regex,
        });
    }
    Ok((matches, criteria))
}

/// Zero is kept: it means without end.
pub(super) fn milliseconds(field: &str, value: Option<i64>) -> Result<Option<Duration>, Mistake> {
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

/// A number that Envoy takes: from 0 to what 32 bits hold.
pub(super) fn unsigned(field: &str, value: Option<i64>) -> Result<Option<u32>, Mistake> {
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

pub(super) fn priority(field: &str, value: Option<&str>) -> Result<Priority, Mistake> {
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

/// Envoy's retry conditions (`x-envoy-retry-on`, `x-envoy-retry-grpc-on`). Emissary takes one of
/// six; a list of any of them is the same to Envoy.
const RETRY_CONDITIONS: &[&str] = &[
    "5xx",
    "cancelled",
    "connect-failure",
    "deadline-exceeded",
    "envoy-ratelimited",
    "gateway-error",
    "http3-post-connect-failure",
    "internal",
    "refused-stream",
    "reset",
    "reset-before-request",
    "resource-exhausted",
    "retriable-4xx",
    "retriable-headers",
    "retriable-status-codes",
    "unavailable",
];

fn retry_policy(spec: &Mapping) -> Result<Option<RetryPolicy>, Mistake> {
    let Some(policy) = &spec.retry_policy else {
        return Ok(None);
    };
    let mut retry_on = Vec::new();
    for word in policy
        .retry_on
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        if !RETRY_CONDITIONS.contains(&word) {
            return Err(Mistake::new(
                "spec.retry_policy.retry_on",
                format!("\"{word}\" is not a condition to retry on"),
                format!("write one or more of {}", RETRY_CONDITIONS.join(", ")),
            ));
        }
        retry_on.push(word.into());
    }
    if retry_on.is_empty() {
        return Err(Mistake::new(
            "spec.retry_policy.retry_on",
            "it does not say when to retry",
            format!("write one or more of {}", RETRY_CONDITIONS.join(", ")),
        ));
    }
    let per_try_timeout = policy
        .per_try_timeout
        .as_deref()
        .map(|text| duration("spec.retry_policy.per_try_timeout", text))
        .transpose()?;
    Ok(Some(RetryPolicy {
        retry_on,
        num_retries: unsigned("spec.retry_policy.num_retries", policy.num_retries)?,
        per_try_timeout,
    }))
}

/// `3s`, `0.25s`, and also `250ms`, `1m`, `1h`.
fn duration(field: &str, text: &str) -> Result<Duration, Mistake> {
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

fn cors(spec: &CorsSpec) -> Cors {
    let list = |items: &[String]| items.iter().map(|item| item.as_str().into()).collect();
    Cors {
        // The string form of old versions is split at commas and not trimmed; a space would keep
        // an origin from ever matching.
        allow_origins: spec
            .origins
            .iter()
            .map(|origin| StringMatch::Exact(origin.trim().into()))
            .collect(),
        allow_methods: list(&spec.methods),
        allow_headers: list(&spec.headers),
        expose_headers: list(&spec.exposed_headers),
        allow_credentials: spec.credentials == Some(true),
        max_age: spec.max_age.as_deref().map(Into::into),
    }
}

fn header_edits(
    add: Option<&BTreeMap<String, AddedHeader>>,
    remove: Option<&[String]>,
    what: &str,
) -> Result<HeaderEdits, Mistake> {
    let mut edits = HeaderEdits::default();
    for (name, added) in add.into_iter().flatten() {
        let field = field_of(&format!("spec.add_{what}_headers"), name);
        edits.add.push(HeaderAddition {
            name: HeaderName::new(name).map_err(Mistake::at(field.clone()))?,
            value: FormatString::new(&added.value)
                .map_err(Mistake::at(format!("{field}.value")))?,
            append: added.append.unwrap_or(true),
        });
    }
    for (index, name) in remove.into_iter().flatten().enumerate() {
        let field = format!("spec.remove_{what}_headers[{index}]");
        edits
            .remove
            .push(HeaderName::new(name).map_err(Mistake::at(field))?);
    }
    Ok(edits)
}

/// Linkerd's destination: the service as it is reached.
fn linkerd_header(cluster: &ClusterSpec) -> HeaderAddition {
    HeaderAddition {
        name: HeaderName::new("l5d-dst-override").expect("invariant: the name is a token"),
        value: FormatString::new(&format!("{}:{}", cluster.host, cluster.port))
            .expect("invariant: a host has no percent sign"),
        append: true,
    }
}

fn one_line(field: &str, text: &str) -> Result<Arc<str>, Mistake> {
    PathLiteral::new(text)
        .map(|literal| literal.as_str().into())
        .map_err(Mistake::at(field))
}

pub(super) fn field_of(map: &str, key: &str) -> String {
    if key.contains(['.', '[', ']', '"']) || key.is_empty() {
        format!("{map}[{key:?}]")
    } else {
        format!("{map}.{key}")
    }
}
