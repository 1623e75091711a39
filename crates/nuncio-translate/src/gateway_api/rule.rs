//! Rules of HTTPRoutes and GRPCRoutes: from matches, filters and backends to routes.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use nuncio_api::gateway_api::{
    GrpcMatch, GrpcRoute, HttpBackendRef, HttpFilter, HttpMatch, HttpRetry, HttpRoute,
    HttpTimeouts, SessionPersistence, ValueMatch,
};
use nuncio_model::route::{
    self as model, Action, Forward, HeaderEdits, HeaderMatch, PathMatch, QueryParameterMatch,
    RetryPolicy, RouteMatch, RuntimeFraction, Session, StringMatch,
};
use nuncio_model::value::{Fraction, Invalid, MatchHeaderName, PathLiteral, PathSegments, Regex};

use super::attach::{Route, Spec};
use super::backend::Backends;
use super::class::Age;
use super::filter::{Effects, Unusable, some_value};
use super::policy::Policies;
use super::policy::route::Attached;
use super::policy::settings::Settings;
use super::{Context, Fault, session};

/// What a client may upgrade to, as browsers do.
const UPGRADES: &[&str] = &["websocket"];

/// When a request is sent again, beside the statuses that are named: "connection errors (disconnect,
/// reset, timeout, TCP failure)".
const RETRY_ON: &[&str] = &[
    "connect-failure",
    "refused-stream",
    "reset",
    "retriable-status-codes",
];

/// What a rule depends on beside what its route says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Facts {
    /// Of the listener.
    pub(super) port: u16,
    pub(super) tls: bool,
    /// What the Gateway shows its backends.
    pub(super) client_certificate: Option<Arc<str>>,
    /// The RoutePolicies of both.
    pub(super) policies: Attached,
}

/// What comes of a route.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    pub(super) matches: Vec<Match>,
    /// A reference that cannot be resolved.
    pub(super) unresolved: Option<Fault>,
    /// The first rule that cannot be honoured, and whether there is one that can.
    pub(super) unusable: Option<Fault>,
    pub(super) usable: bool,
}

/// A match of a rule, with the routes that it becomes: one for each backend.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) precedence: Precedence,
    pub(super) routes: Vec<Arc<model::Route>>,
}

/// Of two matches that take a request, the smaller counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    path: (PathRank, Reverse<usize>),
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query_parameters: Reverse<usize>,
    age: Arc<Age>,
    rule: usize,
    matched: usize,
}

/// Where regular expressions stand is each implementation's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Regex,
    Prefix,
}

/// A rule, whichever kind it is of.
struct Rule<'r> {
    index: usize,
    matches: Vec<RouteMatch>,
    filters: &'r [HttpFilter],
    backends: &'r [HttpBackendRef],
    timeouts: Option<&'r HttpTimeouts>,
    retry: Option<&'r HttpRetry>,
    session: Option<&'r SessionPersistence>,
    name: Option<&'r str>,
}

/// Makes the routes of an HTTPRoute or a GRPCRoute.
pub(super) fn lower(
    context: &mut Context<'_>,
    route: &Route<'_>,
    facts: &Facts,
    policies: &Policies,
) -> Lowered {
    let mut backends = Backends::new(route, facts, policies);
    let mut lowered = Lowered::default();
    match route.spec {
        Spec::Http(spec) => lowered.http(context, route, spec, facts, &mut backends),
        Spec::Grpc(spec) => lowered.grpc(context, route, spec, facts, &mut backends),
        Spec::Stream(_) => {}
    }
    lowered.unresolved = backends.unresolved;
    lowered
}

impl Lowered {
    fn http(
        &mut self,
        context: &mut Context<'_>,
        route: &Route<'_>,
        spec: &HttpRoute,
        facts: &Facts,
        backends: &mut Backends<'_>,
    ) {
        // The API server writes one into a route without any.
        let default = [Default::default()];
        let rules = spec.rules.as_deref().unwrap_or(&default);
        for (index, spec) in rules.iter().enumerate() {
            let field = format!("spec.rules[{index}]");
            let matches = self.read(context, route, &field, &spec.matches, http_match);
            let rule = Rule {
                index,
                matches,
                filters: &spec.filters,
                backends: &spec.backend_refs,
                timeouts: spec.timeouts.as_ref(),
                retry: spec.retry.as_ref(),
                session: spec.session_persistence.as_ref(),
                name: spec.name.as_deref(),
            };
            self.add(context, route, &rule, &field, facts, backends);
        }
    }

    fn grpc(
        &mut self,
        context: &mut Context<'_>,
        route: &Route<'_>,
        spec: &GrpcRoute,
        facts: &Facts,
        backends: &mut Backends<'_>,
    ) {
        for (index, spec) in spec.rules.iter().enumerate() {
            let field = format!("spec.rules[{index}]");
            let matches = self.read(context, route, &field, &spec.matches, grpc_match);
            let rule = Rule {
                index,
                matches,
                filters: &spec.filters,
                backends: &spec.backend_refs,
                timeouts: None,
                retry: None,
                session: spec.session_persistence.as_ref(),
                name: spec.name.as_deref(),
            };
            self.add(context, route, &rule, &field, facts, backends);
        }
    }

    /// The matches of a rule; without any it takes every request. One that is wrong costs itself.
    fn read<M>(
        &mut self,
        context: &mut Context<'_>,
        route: &Route<'_>,
        field: &str,
        matches: &[M],
        read: impl Fn(&M) -> Result<RouteMatch, (&'static str, Invalid)>,
    ) -> Vec<RouteMatch> {
        if matches.is_empty() {
            return vec![every_request()];
        }
        let mut all = Vec::new();
        for (index, each) in matches.iter().enumerate() {
            match read(each) {
                Ok(each) => all.push(each),
                Err((name, what)) => {
                    let at = route.at(format!("{field}.matches[{index}].{name}"));
                    let fault = context.invalid(&at, "UnsupportedValue", what);
                    self.unusable.get_or_insert(fault);
                }
            }
        }
        all
    }

    /// Adds what comes of a rule. Requests of one that cannot be honoured are answered with 500.
    fn add(
        &mut self,
        context: &mut Context<'_>,
        route: &Route<'_>,
        rule: &Rule<'_>,
        field: &str,
        facts: &Facts,
        backends: &mut Backends<'_>,
    ) {
        let mut targets = rule.targets(context, route, field, facts, backends);
        if let Err(Unusable(fault)) = &targets {
            self.unusable.get_or_insert(fault.clone());
        }
        for (matched, matches) in rule.matches.iter().enumerate() {
            let made = match &targets {
                Ok(targets) => targets.routes(route, matches, field, facts),
                Err(_) => Ok(vec![error(route, matches, field)]),
            };
            let routes = match made {
                Ok(routes) => routes,
                Err(what) => {
                    let at = route.at(format!("{field}.filters"));
                    let fault = context.invalid(&at, "UnsupportedValue", what);
                    targets = Err(Unusable(fault.clone()));
                    self.unusable.get_or_insert(fault);
                    vec![error(route, matches, field)]
                }
            };
            self.matches.push(Match {
                precedence: precedence(route, matches, rule.index, matched),
                routes,
            });
        }
        self.usable |= targets.is_ok() && !rule.matches.is_empty();
    }
}

fn precedence(route: &Route<'_>, matches: &RouteMatch, rule: usize, matched: usize) -> Precedence {
    let path = match &matches.path {
        PathMatch::Exact(path) => (PathRank::Exact, path.as_str().len()),
        PathMatch::Regex(regex) => (PathRank::Regex, regex.as_str().len()),
        PathMatch::Segments(path) => (PathRank::Prefix, path.as_str().len()),
        PathMatch::Prefix(path) => (PathRank::Prefix, path.as_str().len()),
        PathMatch::Connect => (PathRank::Prefix, 0),
    };
    let is_method = |header: &&HeaderMatch| header.name == MatchHeaderName::method();
    let methods = matches.headers.iter().filter(is_method).count();
    Precedence {
        path: (path.0, Reverse(path.1)),
        method: Reverse(methods > 0),
        headers: Reverse(matches.headers.len() - methods),
        query_parameters: Reverse(matches.query_parameters.len()),
        age: Arc::clone(&route.age),
        rule,
        matched,
    }
}

fn root() -> PathMatch {
    PathMatch::Prefix(PathLiteral::new("/").expect("invariant: it is one line"))
}

fn every_request() -> RouteMatch {
    RouteMatch {
        path: root(),
        case_sensitive: true,
        headers: Vec::new(),
        query_parameters: Vec::new(),
        fraction: None,
    }
}

fn http_match(spec: &HttpMatch) -> Result<RouteMatch, (&'static str, Invalid)> {
    let path = spec.path.as_ref();
    let text = path.and_then(|path| path.value.as_deref()).unwrap_or("/");
    let type_ = path
        .and_then(|path| path.type_.as_deref())
        .unwrap_or("PathPrefix");
    let at_path = |what| ("path", what);
    let path = match type_ {
        "Exact" => PathMatch::Exact(PathLiteral::new(text).map_err(at_path)?),
        "PathPrefix" => match PathSegments::new(text).map_err(at_path)? {
            Some(path) => PathMatch::Segments(path),
            None => root(),
        },
        "RegularExpression" => PathMatch::Regex(Regex::new(text).map_err(at_path)?),
        other => {
            return Err((
                "path.type",
                no_type(other, "Exact, PathPrefix or RegularExpression"),
            ));
        }
    };
    let mut headers = header_matches(&spec.headers)?;
    if let Some(method) = &spec.method {
        headers.push(HeaderMatch {
            name: MatchHeaderName::method(),
            value: StringMatch::Exact(method.as_str().into()),
        });
    }
    let mut query_parameters: Vec<QueryParameterMatch> = Vec::new();
    for parameter in &spec.query_params {
        // "If multiple entries specify equivalent query param names, only the first MUST be
        // considered."
        if query_parameters
            .iter()
            .any(|earlier| *earlier.name == *parameter.name)
        {
            continue;
        }
        let value = value_match(parameter).map_err(|what| ("queryParams", what))?;
        query_parameters.push(QueryParameterMatch {
            name: parameter.name.as_str().into(),
            value,
        });
    }
    Ok(RouteMatch {
        path,
        headers,
        query_parameters,
        ..every_request()
    })
}

fn grpc_match(spec: &GrpcMatch) -> Result<RouteMatch, (&'static str, Invalid)> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let at = |what| ("method", what);
    let path = match &spec.method {
        None => root(),
        Some(method) => {
            let (service, name) = (given(&method.service), given(&method.method));
            match (method.type_.as_deref().unwrap_or("Exact"), service, name) {
                (_, None, None) => root(),
                ("Exact", Some(service), Some(name)) => {
                    PathMatch::Exact(PathLiteral::new(&format!("/{service}/{name}")).map_err(at)?)
                }
                ("Exact", Some(service), None) => {
                    PathMatch::Prefix(PathLiteral::new(&format!("/{service}/")).map_err(at)?)
                }
                ("Exact", None, Some(name)) => {
                    let name = Regex::literal(&name);
                    PathMatch::Regex(Regex::new(&format!("/[^/]+/{name}")).map_err(at)?)
                }
                ("RegularExpression", service, name) => {
                    let any = || "[^/]+".to_owned();
                    let (service, name) = (service.unwrap_or_else(any), name.unwrap_or_else(any));
                    // Each for itself first: both could be wrong in a way that is right together.
                    Regex::new(&service).and(Regex::new(&name)).map_err(at)?;
                    PathMatch::Regex(Regex::new(&format!("/(?:{service})/(?:{name})")).map_err(at)?)
                }
                (other, ..) => {
                    return Err(("method.type", no_type(other, "Exact or RegularExpression")));
                }
            }
        }
    };
    Ok(RouteMatch {
        path,
        headers: header_matches(&spec.headers)?,
        ..every_request()
    })
}

fn no_type(text: &str, known: &str) -> Invalid {
    Invalid::new(
        format!("{} is not a way to match", text.escape_debug()),
        format!("write {known}"),
    )
}

fn header_matches(specs: &[ValueMatch]) -> Result<Vec<HeaderMatch>, (&'static str, Invalid)> {
    let at = |what| ("headers", what);
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for spec in specs {
        let name = MatchHeaderName::new(&spec.name).map_err(at)?;
        // "If multiple entries specify equivalent header names, only the first [...] MUST be
        // considered for a match."
        if headers.iter().any(|earlier| earlier.name == name) {
            continue;
        }
        let value = value_match(spec).map_err(at)?;
        headers.push(HeaderMatch { name, value });
    }
    Ok(headers)
}

fn value_match(spec: &ValueMatch) -> Result<StringMatch, Invalid> {
    match spec.type_.as_deref().unwrap_or("Exact") {
        "Exact" => Ok(StringMatch::Exact(spec.value.as_str().into())),
        "RegularExpression" => Regex::new(&spec.value).map(StringMatch::Regex),
        other => Err(no_type(other, "Exact or RegularExpression")),
    }
}

/// What becomes of the requests of a rule, by shares.
struct Targets {
    all: Vec<Target>,
    timeout: Duration,
    retry: Option<RetryPolicy>,
    session: Option<Session>,
    /// Whether that of each backend is another.
    several: bool,
}

struct Target {
    /// Up to where of all shares it goes.
    up_to: Fraction,
    effects: Effects,
    /// `None` answers 500.
    cluster: Option<Arc<str>>,
}

impl Rule<'_> {
    fn targets(
        &self,
        context: &mut Context<'_>,
        route: &Route<'_>,
        field: &str,
        facts: &Facts,
        backends: &mut Backends<'_>,
    ) -> Result<Targets, Unusable> {
        let policies = &backends.policies.route;
        let mut effects = Effects::new(policies.settings(&facts.policies, self.name));
        effects.add(context, self.filters, field, backends)?;
        let (timeout, retry) = self.patience(&effects.settings).map_err(|(name, what)| {
            let at = route.at(format!("{field}.{name}"));
            Unusable(context.invalid(&at, "UnsupportedValue", what))
        })?;
        let several = self.backends.len() > 1;
        let session = self
            .session(route, facts, several)
            .map_err(|(name, what)| {
                let at = route.at(format!("{field}.sessionPersistence.{name}"));
                Unusable(context.invalid(&at, "UnsupportedValue", what))
            })?;
        let mut all = Vec::new();
        let weight = |backend: &HttpBackendRef| u64::from(backend.weight.unwrap_or(1));
        let whole: u64 = self.backends.iter().map(weight).sum();
        let mut reached = 0;
        for (index, backend) in self.backends.iter().enumerate() {
            let field = format!("{field}.backendRefs[{index}]");
            let mut effects = effects.clone();
            effects.add(context, &backend.filters, &field, backends)?;
            // Also one without a share: what it refers to has to be right.
            let object = backend.object();
            let settings = &effects.settings.backend;
            let cluster = backends.resolve(context, &object, &field, settings);
            if weight(backend) == 0 {
                continue;
            }
            reached += weight(backend);
            all.push(Target {
                up_to: Fraction::of(reached, whole),
                effects,
                cluster,
            });
        }
        if all.is_empty() {
            all.push(Target {
                up_to: Fraction::ALL,
                effects,
                cluster: None,
            });
        }
        Ok(Targets {
            all,
            timeout,
            retry,
            session,
            several,
        })
    }

    fn session(
        &self,
        route: &Route<'_>,
        facts: &Facts,
        several_backends: bool,
    ) -> Result<Option<Session>, (&'static str, Invalid)> {
        let Some(spec) = self.session else {
            return Ok(None);
        };
        let rule = match self.name {
            Some(name) => name.to_owned(),
            None => self.index.to_string(),
        };
        let of = session::Of {
            name: &format!("{}/{rule}", route.id),
            matches: &self.matches,
            several_backends,
            facts,
        };
        session::read(spec, &of).map(Some)
    }

    /// How long is waited, and when a request is sent again.
    fn patience(
        &self,
        settings: &Settings,
    ) -> Result<(Duration, Option<RetryPolicy>), (&'static str, Invalid)> {
        let read = |text: Option<&String>, name| {
            let read = text.map(|text| duration(text)).transpose();
            read.map_err(|what| (name, what))
        };
        let timeouts = self.timeouts;
        let request = timeouts.and_then(|timeouts| timeouts.request.as_ref());
        let request = read(request, "timeouts.request")?.or(settings.timeout);
        let request = request.unwrap_or_default();
        let backend = timeouts.and_then(|timeouts| timeouts.backend_request.as_ref());
        let backend = read(backend, "timeouts.backendRequest")?;
        let backend = backend.filter(|backend| !backend.is_zero());
        let Some(retry) = self.retry else {
            return Ok(match &settings.retry {
                // Of one try both are the same.
                None => (backend.unwrap_or(request), None),
                Some(retry) => {
                    let per_try_timeout = backend.or(retry.per_try_timeout);
                    let retry = RetryPolicy {
                        per_try_timeout,
                        ..retry.clone()
                    };
                    (request, Some(retry))
                }
            });
        };
        let policy = RetryPolicy {
            retry_on: RETRY_ON
                .iter()
                .map(|condition| (*condition).into())
                .collect(),
            statuses: retry.codes.clone(),
            num_retries: retry.attempts,
            per_try_timeout: backend,
            back_off: read(retry.backoff.as_ref(), "retry.backoff")?.filter(|off| !off.is_zero()),
        };
        Ok((request, Some(policy)))
    }
}

impl Targets {
    /// The routes of one match. Each has its share of what those before it leave.
    fn routes(
        &self,
        route: &Route<'_>,
        matches: &RouteMatch,
        field: &str,
        facts: &Facts,
    ) -> Result<Vec<Arc<model::Route>>, Invalid> {
        let first = self.all.iter().map(|target| &target.effects).next();
        let mut routes: Vec<_> = first
            .into_iter()
            .flat_map(|effects| &effects.preflights)
            .map(|(origin, edits)| preflight(route, matches, field, origin, edits))
            .collect();
        let (mut held, mut shared) = (Vec::new(), Vec::new());
        for target in &self.all {
            let effects = &target.effects;
            let settings = &effects.settings;
            let session = match (&self.session, &target.cluster) {
                (Some(session), Some(cluster)) if self.several => {
                    Some(session::of_backend(session, cluster))
                }
                (session, _) => session.clone(),
            };
            let redirect = effects.redirect(&matches.path, facts)?;
            let action = match (redirect, &target.cluster) {
                // Who was to be asked is not known.
                _ if effects.refused => internal_error(),
                (Some(redirect), _) => Action::Redirect(redirect),
                (None, Some(cluster)) => Action::Forward(Box::new(Forward {
                    cluster: Arc::clone(cluster),
                    timeout: self.timeout,
                    idle_timeout: settings.idle_timeout,
                    path_rewrite: effects.path_rewrite(&matches.path)?,
                    host_rewrite: effects.host_rewrite(),
                    retry: self.retry.clone(),
                    mirrors: effects.mirrors.clone(),
                    upgrades: settings.upgrades.clone().unwrap_or_else(|| {
                        UPGRADES.iter().map(|upgrade| (*upgrade).into()).collect()
                    }),
                    priority: settings.priority.unwrap_or_default(),
                    hash_policy: settings.hash_policy(),
                    session: session.clone(),
                    error_responses: settings.error_responses.clone().unwrap_or_default(),
                    checks: settings.checks(),
                })),
                (None, None) => internal_error(),
            };
            let share = (target.up_to != Fraction::ALL).then_some(target.up_to);
            let made = model::Route {
                origin: route.at(field),
                matches: RouteMatch {
                    fraction: share.map(|share| RuntimeFraction {
                        share,
                        runtime_key: None,
                    }),
                    ..matches.clone()
                },
                action,
                request_headers: effects.request_headers.clone(),
                response_headers: effects.response_headers.clone(),
                cors: effects.cors.clone(),
                authorization: effects.authorization.clone(),
            };
            if let Some(session) = session.filter(|_| self.several && target.cluster.is_some()) {
                held.push(Arc::new(model::Route {
                    matches: session::brings(&session, matches),
                    ..made.clone()
                }));
            }
            shared.push(Arc::new(made));
        }
        routes.append(&mut held);
        routes.append(&mut shared);
        Ok(routes)
    }
}

/// What a browser is told that asks whether it may send what a match takes.
fn preflight(
    route: &Route<'_>,
    matches: &RouteMatch,
    field: &str,
    origin: &StringMatch,
    answers: &HeaderEdits,
) -> Arc<model::Route> {
    let header = |name: &str, value: StringMatch| HeaderMatch {
        name: MatchHeaderName::new(name).expect("invariant: the name is a token"),
        value,
    };
    let is_method = |header: &HeaderMatch| header.name == MatchHeaderName::method();
    let mut headers = matches.headers.clone();
    // It asks by OPTIONS for the method that the match is about.
    for header in headers.iter_mut().filter(|header| is_method(header)) {
        header.name = MatchHeaderName::new("access-control-request-method")
            .expect("invariant: the name is a token");
    }
    headers.extend([
        header(":method", StringMatch::Exact("OPTIONS".into())),
        header("origin", origin.clone()),
        header("access-control-request-method", some_value()),
    ]);
    Arc::new(model::Route {
        origin: route.at(field),
        matches: RouteMatch {
            headers,
            ..matches.clone()
        },
        action: Action::DirectResponse {
            status: 200,
            body: "".into(),
        },
        request_headers: HeaderEdits::default(),
        response_headers: answers.clone(),
        cors: None,
        authorization: None,
    })
}

fn internal_error() -> Action {
    Action::DirectResponse {
        status: 500,
        body: "".into(),
    }
}

fn error(route: &Route<'_>, matches: &RouteMatch, field: &str) -> Arc<model::Route> {
    Arc::new(model::Route {
        origin: route.at(field),
        matches: matches.clone(),
        action: internal_error(),
        request_headers: Default::default(),
        response_headers: Default::default(),
        cors: None,
        authorization: None,
    })
}

/// GEP-2257: up to four numbers with units, such as `1h30m` or `250ms`.
pub(super) fn duration(text: &str) -> Result<Duration, Invalid> {
    let invalid = || {
        Invalid::new(
            format!("\"{}\" is not a duration", text.escape_debug()),
            "write numbers of up to five digits with units, such as 10s, 1m30s or 250ms",
        )
    };
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if !(1..=5).contains(&digits) {
            return Err(invalid());
        }
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let unit = units.iter().find(|(unit, _)| after.starts_with(unit));
        let (unit, milliseconds) = unit.ok_or_else(invalid)?;
        total += Duration::from_millis(number * milliseconds);
        rest = &after[unit.len()..];
        if rest.is_empty() {
            return Ok(total);
        }
    }
    Err(invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gep_2257() {
        let milliseconds = |text| duration(text).ok().map(|duration| duration.as_millis());
        assert_eq!(milliseconds("0s"), Some(0));
        assert_eq!(milliseconds("250ms"), Some(250));
        assert_eq!(milliseconds("1h30m5s10ms"), Some(5_405_010));
        for bad in [
            "",
            "s",
            "1",
            "1.5s",
            "-1s",
            "123456s",
            "1h1m1s1ms1s",
            "1d",
            "1 s",
        ] {
            assert_eq!(milliseconds(bad), None, "{bad}");
        }
    }
}
