//! One Mapping, read into checked values. A value that is wrong costs this Mapping alone.

use std::sync::Arc;
use std::time::Duration;

use nuncio_api::getambassador::Mapping;
use nuncio_model::Reason;
use nuncio_model::external::Checks;
use nuncio_model::route::{
    Cors, ErrorResponses, HeaderAddition, HeaderEdits, HeaderMatch, HostRewrite, PathMatch,
    PathRewrite, Priority, QueryParameterMatch, Redirect, RetryPolicy, StringMatch,
};
use nuncio_model::value::{
    FormatString, HeaderName, HostLiteral, MatchHeaderName, PathLiteral, Regex,
};

use super::Context;
use super::cluster::ClusterSpec;
use super::envoy_admin;
use super::module::fill;
use super::{labels, redirect, unsupported};
use crate::fields::error_response;
use crate::fields::mistake::Mistake;
use crate::fields::request::{self, CONNECT, cors, header_edits, retry_policy};
use crate::fields::values::{field_of, milliseconds, priority};
use crate::store::Object;

/// What a Mapping matches, as it is written: what groups and the order go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Criteria {
    pub(super) precedence: i64,
    pub(super) prefix: String,
    /// `headers`, then `regex_headers`, each sorted, then `:authority`, then `:method`.
    pub(super) headers: Vec<Criterion>,
    pub(super) query_parameters: Vec<Criterion>,
}

impl Criteria {
    pub(super) fn all(&self) -> impl Iterator<Item = &Criterion> {
        self.headers.iter().chain(&self.query_parameters)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Criterion {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) regex: bool,
}

/// A Mapping that can be put into effect.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) object: Arc<Object<Mapping>>,
    pub(super) criteria: Arc<Criteria>,
    pub(super) path: PathMatch,
    pub(super) case_sensitive: bool,
    pub(super) headers: Vec<HeaderMatch>,
    pub(super) query_parameters: Vec<QueryParameterMatch>,
    pub(super) association: Association,
    pub(super) weight: Option<i64>,
    pub(super) target: Target,
    pub(super) request_headers: HeaderEdits,
    pub(super) response_headers: HeaderEdits,
    pub(super) cors: Option<Cors>,
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
    Shadow(Arc<ClusterSpec>),
    Redirect(Redirect),
}

/// Where requests go, and what is done to them on the way.
#[derive(Clone, Debug)]
pub(super) struct RouteTarget {
    pub(super) cluster: Arc<ClusterSpec>,
    pub(super) timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) path_rewrite: PathRewrite,
    pub(super) host_rewrite: HostRewrite,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) upgrades: Vec<Arc<str>>,
    /// Whether it gets CONNECT requests too.
    pub(super) connect: bool,
    pub(super) priority: Priority,
    pub(super) error_responses: ErrorResponses,
    pub(super) checks: Option<Box<Checks>>,
}

/// Reads a Mapping; `None` when it is left out, which the report then says.
pub(super) fn parse(context: &mut Context<'_>, object: &Arc<Object<Mapping>>) -> Option<Parsed> {
    unsupported::mapping(&mut context.report, object);
    match Parser::new(context, object).parse() {
        Ok(parsed) => Some(parsed),
        Err(mistake) => {
            mistake.report(&mut context.report, object);
            None
        }
    }
}

fn escaped(path: &str) -> String {
    path.replace(' ', "%20")
}

struct Parser<'a, 'c, 's> {
    context: &'c mut Context<'s>,
    object: &'a Arc<Object<Mapping>>,
}

impl<'a, 'c, 's> Parser<'a, 'c, 's> {
    fn new(context: &'c mut Context<'s>, object: &'a Arc<Object<Mapping>>) -> Self {
        Self { context, object }
    }

    fn parse(mut self) -> Result<Parsed, Mistake> {
        let spec = &self.object.spec;
        let prefix = required("spec.prefix", spec.prefix.as_deref())?;
        required("spec.service", spec.service.as_deref())?;
        let path = path_match(spec, prefix)?;
        let hostname = self.hostname()?;
        let (headers, header_criteria) = self.headers(&hostname)?;
        let (query_parameters, query_criteria) = query_parameters(spec)?;
        let criteria = Arc::new(Criteria {
            precedence: spec.precedence.unwrap_or(0),
            prefix: prefix.to_owned(),
            headers: header_criteria,
            query_parameters: query_criteria,
        });
        let weight = spec.weight;
        if weight.is_some_and(|weight| weight < 0) {
            return Err(Mistake::new(
                "spec.weight",
                "a weight is not negative",
                "write a share of the requests in percent, from 0 to 100",
            ));
        }
        let target = self.target(&path)?;
        let cors = self.cors(&target);
        let defaults = &self.context.module.defaults;
        let edits = |what, add: &Option<_>, remove: &Option<Vec<String>>, defaults| {
            let own = header_edits("spec", what, add.as_ref(), remove.as_deref());
            fill(own, add.is_some(), remove.is_some(), defaults)
        };
        let mut request_headers = edits(
            "request",
            &spec.add_request_headers,
            &spec.remove_request_headers,
            &defaults.request_headers,
        )?;
        let linkerd = spec.add_linkerd_headers.unwrap_or(defaults.linkerd_headers);
        if linkerd && let Target::Route(route) = &target {
            let (name, value) = linkerd_destination(&route.cluster);
            request_headers.add.push(HeaderAddition {
                name,
                value,
                append: true,
            });
        }
        Ok(Parsed {
            object: Arc::clone(self.object),
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
                "response",
                &spec.add_response_headers,
                &spec.remove_response_headers,
                &defaults.response_headers,
            )?,
            cors,
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
        let cluster = Arc::new(ClusterSpec::of_mapping(self.context, self.object)?);
        if shadow {
            if cluster.is_envoy_admin() {
                return Err(envoy_admin::no_shadow());
            }
            return Ok(Target::Shadow(cluster));
        }
        if cluster.is_envoy_admin() {
            envoy_admin::note(&mut self.context.report, &self.object.at("spec.service"));
        }
        let path_rewrite = self.path_rewrite(path)?;
        let host_rewrite = self.host_rewrite()?;
        let mut upgrades = self.upgrades()?;
        let connect = self.connect(&mut upgrades, path);
        let error_responses = self.error_responses();
        let checks = self.checks();
        let defaults = &self.context.module.defaults;
        Ok(Target::Route(Box::new(RouteTarget {
            cluster,
            timeout: milliseconds("spec.timeout_ms", spec.timeout_ms)?.unwrap_or(defaults.timeout),
            idle_timeout: milliseconds("spec.idle_timeout_ms", spec.idle_timeout_ms)?,
            path_rewrite,
            host_rewrite,
            retry: match &spec.retry_policy {
                Some(policy) => Some(retry_policy("spec.retry_policy", policy)?),
                None => defaults.retry.clone(),
            },
            upgrades,
            connect,
            priority: priority("spec.priority", spec.priority.as_deref())?,
            error_responses,
            checks,
        })))
    }

    fn checks(&mut self) -> Option<Box<Checks>> {
        let spec = &self.object.spec;
        let extensions = spec.auth_context_extensions.as_ref();
        let extensions = extensions.filter(|extensions| !extensions.is_empty());
        if spec.bypass_auth == Some(true) && extensions.is_some() {
            self.notice(
                "spec.auth_context_extensions",
                "auth_context_extensions has no effect: with bypass_auth no AuthService is asked",
                "remove one of them",
            );
        }
        let auth = request::auth(spec.bypass_auth, extensions);
        let labels = labels::labels(self.context, self.object);
        let checks = Checks { auth, labels };
        (checks != Checks::default()).then(|| Box::new(checks))
    }

    /// Envoy's filter passes over redirects.
    fn cors(&mut self, target: &Target) -> Option<Cors> {
        let spec = &self.object.spec;
        if matches!(target, Target::Redirect(_)) {
            if spec.cors.is_some() {
                self.warn(
                    "spec.cors",
                    Reason::NoEffect,
                    "cors has no effect: Envoy redirects whoever asks, pages of other origins too",
                    "remove it; the Mapping that is redirected to may have it",
                );
            }
            return None;
        }
        let defaults = &self.context.module.defaults;
        let own = spec.cors.as_deref().map(cors);
        own.or_else(|| defaults.cors.clone())
    }

    /// Each that is wrong is left out alone.
    fn error_responses(&mut self) -> ErrorResponses {
        let spec = &self.object.spec;
        if spec.bypass_error_response_overrides == Some(true) {
            if spec.error_response_overrides.is_some() {
                self.warn(
                    "spec.error_response_overrides",
                    Reason::Conflict,
                    "error_response_overrides is ignored because bypass_error_response_overrides \
                     is true",
                    "remove one of them",
                );
            }
            return ErrorResponses::Off;
        }
        let Some(specs) = &spec.error_response_overrides else {
            return ErrorResponses::Inherited;
        };
        let field = "spec.error_response_overrides";
        let (responses, mistakes) =
            error_response::read_all(&mut |path| self.context.file(path), field, specs);
        for mistake in mistakes {
            mistake.report(&mut self.context.report, self.object);
        }
        ErrorResponses::Own(responses)
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
            let rewrite = request::regex_rewrite("spec.regex_rewrite", regex)?;
            self.valid_path("spec.regex_rewrite.substitution", &regex.substitution);
            return Ok(rewrite);
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
        let literal = PathLiteral::new(rewrite).map_err(Mistake::at("spec.rewrite"))?;
        if rewrite.starts_with('/') {
            self.valid_path("spec.rewrite", rewrite);
        } else {
            self.warn(
                "spec.rewrite",
                Reason::InvalidValue,
                "it does not begin with /: what the upstream gets is no path",
                &format!("write \"/{}\"", escaped(rewrite)),
            );
        }
        Ok(PathRewrite::Prefix(literal))
    }

    fn valid_path(&mut self, field: &str, text: &str) {
        if text.contains(' ') {
            self.warn(
                field,
                Reason::InvalidValue,
                "it has a space, which ends the path in a request: most upstreams refuse that",
                &format!("write \"{}\"", escaped(text)),
            );
        }
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
        let given = spec.allow_upgrade.as_deref().unwrap_or_default();
        let mut upgrades = request::upgrades("spec.allow_upgrade", given)?;
        if spec.use_websocket == Some(true) && !upgrades.iter().any(|u| &**u == "websocket") {
            upgrades.push("websocket".into());
        }
        Ok(upgrades)
    }

    /// Takes CONNECT out of the upgrades, which is none of requests with a path: whether those
    /// without one are to be taken too.
    fn connect(&mut self, upgrades: &mut Vec<Arc<str>>, path: &PathMatch) -> bool {
        let Some(at) = upgrades.iter().position(|upgrade| **upgrade == *CONNECT) else {
            return false;
        };
        upgrades.remove(at);
        let any_path = matches!(path, PathMatch::Prefix(prefix) if prefix.as_str() == "/");
        let spec = &self.object.spec;
        let any_query = spec.query_parameters.is_empty() && spec.regex_query_parameters.is_empty();
        if any_path && any_query {
            return true;
        }
        self.warn(
            "spec.allow_upgrade",
            Reason::NoEffect,
            "CONNECT has no effect: such a request has neither path nor query, and this Mapping \
             asks for one",
            "write a Mapping with prefix: / for it",
        );
        false
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

/// Linkerd's destination: the service as it is reached.
pub(super) fn linkerd_destination(cluster: &ClusterSpec) -> (HeaderName, FormatString) {
    let name = HeaderName::new("l5d-dst-override").expect("invariant: the name is a token");
    let upstream = &cluster.upstream;
    let destination = format!("{}:{}", upstream.host, upstream.port);
    let value = FormatString::new(&destination).expect("invariant: a host has no percent sign");
    (name, value)
}
