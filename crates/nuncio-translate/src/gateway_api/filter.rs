//! Filters of a rule or of a backend: what they change of requests and responses.

use std::sync::Arc;

use nuncio_api::gateway_api::{self as api, HeaderModifier, HttpFilter, PathModifier};
use nuncio_model::Reason;
use nuncio_model::external::RouteAuthorization;
use nuncio_model::route::{
    Cors, HeaderAddition, HeaderEdits, HostRewrite, Mirror, PathMatch, PathRewrite, Redirect,
    RedirectPath, RedirectScheme, RedirectStatus, StringMatch,
};
use nuncio_model::value::{
    FormatString, Fraction, HeaderName, HostLiteral, Invalid, PathLiteral, Regex,
};

use super::backend::Backends;
use super::external_auth::Ask;
use super::policy::settings::{BackendSettings, Settings};
use super::rule::Facts;
use super::{Context, Fault};

/// The well-known ports of both schemes.
const HTTP: (&str, u16) = ("http", 80);
const HTTPS: (&str, u16) = ("https", 443);

/// Seconds that a browser may remember a preflight's answer for where nothing is said.
const DEFAULT_MAX_AGE: u32 = 5;

/// All that filters do, those of a backend after those of its rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects {
    pub(super) request_headers: HeaderEdits,
    pub(super) response_headers: HeaderEdits,
    redirect: Option<api::RequestRedirect>,
    path: Option<PathModifier>,
    host: Option<HostLiteral>,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) cors: Option<Cors>,
    /// Where CORS allows everything with credentials, a star says nothing to a browser: it is told
    /// what it asked for, by origin.
    pub(super) preflights: Vec<(StringMatch, HeaderEdits)>,
    /// What RoutePolicies say: those that filters refer to are nearer than those that are attached.
    pub(super) settings: Settings,
    pub(super) authorization: Option<Arc<RouteAuthorization>>,
    /// Who is to be asked cannot be resolved.
    pub(super) refused: bool,
    asks_several: bool,
}

/// Why a rule cannot be honoured: its requests are answered with 500.
pub(super) struct Unusable(pub(super) Fault);

impl Effects {
    /// What policies do that are attached.
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Adds what filters do. A mirror that cannot be resolved is left out, which is said in the route's
    /// status.
    pub(super) fn add(
        &mut self,
        context: &mut Context<'_>,
        filters: &[HttpFilter],
        field: &str,
        backends: &mut Backends<'_>,
    ) -> Result<(), Unusable> {
        let route = backends.route;
        for (index, filter) in filters.iter().enumerate() {
            let field = format!("{field}.filters[{index}]");
            let done = self.add_one(context, filter, &field, backends);
            done.map_err(|what| {
                let at = route.at(what.0);
                Unusable(context.invalid(&at, "UnsupportedValue", what.1))
            })?;
        }
        if self.redirect.is_some() && (self.path.is_some() || self.host.is_some()) {
            let at = route.at(format!("{field}.filters"));
            return Err(Unusable(context.fault(
                &at,
                Reason::Conflict,
                "IncompatibleFilters",
                "a redirect cannot be rewritten",
                "remove RequestRedirect or URLRewrite",
            )));
        }
        if self.asks_several {
            let at = route.at(format!("{field}.filters"));
            return Err(Unusable(context.fault(
                &at,
                Reason::Conflict,
                "IncompatibleFilters",
                "of several ExternalAuth filters only one would be asked",
                "keep one, of the rule or of each of its backends",
            )));
        }
        Ok(())
    }

    fn add_one(
        &mut self,
        context: &mut Context<'_>,
        filter: &HttpFilter,
        field: &str,
        backends: &mut Backends<'_>,
    ) -> Result<(), (String, Invalid)> {
        let missing = |name: &str| {
            let what = format!("a filter of type {} needs {name}", filter.type_);
            (
                field.to_owned(),
                Invalid::new(what, format!("write {name}")),
            )
        };
        match filter.type_.as_str() {
            "RequestHeaderModifier" => {
                let name = "requestHeaderModifier";
                let spec = filter.request_header_modifier.as_ref();
                let spec = spec.ok_or_else(|| missing(name))?;
                modify(&mut self.request_headers, spec, &format!("{field}.{name}"))
            }
            "ResponseHeaderModifier" => {
                let name = "responseHeaderModifier";
                let spec = filter.response_header_modifier.as_ref();
                let spec = spec.ok_or_else(|| missing(name))?;
                modify(&mut self.response_headers, spec, &format!("{field}.{name}"))
            }
            "RequestRedirect" => {
                let spec = filter.request_redirect.clone();
                self.redirect = Some(spec.ok_or_else(|| missing("requestRedirect"))?);
                Ok(())
            }
            "URLRewrite" => {
                let spec = filter.url_rewrite.as_ref();
                let spec = spec.ok_or_else(|| missing("urlRewrite"))?;
                if let Some(hostname) = &spec.hostname {
                    let host = HostLiteral::new(hostname);
                    let host =
                        host.map_err(|what| (format!("{field}.urlRewrite.hostname"), what))?;
                    self.host = Some(host);
                }
                self.path = spec.path.clone().or(self.path.take());
                Ok(())
            }
            "RequestMirror" => {
                let spec = filter.request_mirror.as_ref();
                let spec = spec.ok_or_else(|| missing("requestMirror"))?;
                let share = match (&spec.fraction, spec.percent) {
                    (Some(fraction), _) => Fraction::of(
                        fraction.numerator.into(),
                        fraction.denominator.unwrap_or(100).into(),
                    ),
                    (None, Some(percent)) => Fraction::percent(percent),
                    (None, None) => Fraction::ALL,
                };
                let field = format!("{field}.requestMirror.backendRef");
                let settings = BackendSettings::default();
                let resolved = backends.resolve(context, &spec.backend_ref, &field, &settings);
                if let Some(cluster) = resolved {
                    self.mirrors.push(Mirror { cluster, share });
                }
                Ok(())
            }
            "CORS" => {
                let spec = filter.cors.as_ref().ok_or_else(|| missing("cors"))?;
                let cors = cors(spec, &format!("{field}.cors"))?;
                self.preflights = preflights(&cors);
                self.cors = Some(cors);
                Ok(())
            }
            "ExtensionRef" => {
                let name = "extensionRef";
                let spec = filter.extension_ref.as_ref();
                let spec = spec.ok_or_else(|| missing(name))?;
                let namespace = &backends.route.meta.namespace;
                let policies = &backends.policies.route;
                let settings = policies.referred(context.store, namespace, spec);
                let settings = settings.map_err(|what| (format!("{field}.{name}"), what))?;
                self.settings.overlay(settings);
                Ok(())
            }
            "ExternalAuth" => {
                let name = "externalAuth";
                let spec = filter.external_auth.as_ref().ok_or_else(|| missing(name))?;
                let ask = Ask {
                    route: backends.route,
                    field: &format!("{field}.{name}"),
                };
                self.asks_several |= self.authorization.is_some() || self.refused;
                match ask.read(context, spec, backends)? {
                    Some(asked) => self.authorization = Some(Arc::new(asked)),
                    None => self.refused = true,
                }
                Ok(())
            }
            other => Err((
                format!("{field}.type"),
                Invalid::new(
                    format!("nuncio has no filter of type {}", other.escape_debug()),
                    "write RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, \
                     RequestRedirect, URLRewrite, CORS, ExternalAuth or ExtensionRef",
                ),
            )),
        }
    }

    /// What is answered in place of a backend's answer.
    pub(super) fn redirect(
        &self,
        path: &PathMatch,
        facts: &Facts,
    ) -> Result<Option<Redirect>, Invalid> {
        let Some(spec) = &self.redirect else {
            return Ok(None);
        };
        let scheme = match spec.scheme.as_deref() {
            None => None,
            Some("http") => Some(RedirectScheme::Http),
            Some("https") => Some(RedirectScheme::Https),
            Some(other) => {
                return Err(Invalid::new(
                    format!(
                        "there is no redirect to the scheme {}",
                        other.escape_debug()
                    ),
                    "write http or https",
                ));
            }
        };
        let own = if facts.tls { "https" } else { "http" };
        // Without a port the scheme's is meant, without a scheme the listener's.
        let port = spec.port.or(match scheme {
            Some(_) => None,
            None => Some(facts.port),
        });
        let shown = spec.scheme.as_deref().unwrap_or(own);
        let port = port.filter(|port| ![HTTP, HTTPS].contains(&(shown, *port)));
        let status = match spec.status_code.unwrap_or(302) {
            301 => RedirectStatus::MovedPermanently,
            302 => RedirectStatus::Found,
            303 => RedirectStatus::SeeOther,
            307 => RedirectStatus::TemporaryRedirect,
            308 => RedirectStatus::PermanentRedirect,
            other => {
                return Err(Invalid::new(
                    format!("{other} is not the status of a redirect"),
                    "write 301, 302, 303, 307 or 308",
                ));
            }
        };
        let host = spec.hostname.as_deref().map(HostLiteral::new).transpose()?;
        let path = match &spec.path {
            None => RedirectPath::Keep,
            Some(modifier) => match rewritten(modifier, path)? {
                Rewritten::Whole(path) => RedirectPath::Full(path),
                Rewritten::Kept => RedirectPath::Keep,
                Rewritten::Prefix(path) => RedirectPath::Prefix(path),
                Rewritten::Regex(pattern, substitution) => RedirectPath::Regex {
                    pattern,
                    substitution,
                },
            },
        };
        Ok(Some(Redirect {
            scheme,
            host,
            port,
            path,
            status,
        }))
    }

    pub(super) fn host_rewrite(&self) -> HostRewrite {
        match &self.host {
            Some(host) => HostRewrite::Literal(host.clone()),
            None => HostRewrite::None,
        }
    }

    pub(super) fn path_rewrite(&self, path: &PathMatch) -> Result<PathRewrite, Invalid> {
        let Some(modifier) = &self.path else {
            return Ok(self
                .settings
                .path_rewrite
                .clone()
                .unwrap_or(PathRewrite::None));
        };
        Ok(match rewritten(modifier, path)? {
            Rewritten::Kept => PathRewrite::None,
            Rewritten::Prefix(path) => PathRewrite::Prefix(path),
            Rewritten::Regex(pattern, substitution) => PathRewrite::Regex {
                pattern,
                substitution,
            },
            Rewritten::Whole(path) => PathRewrite::Regex {
                pattern: Regex::new("^/.*$").expect("invariant: RE2 takes it"),
                substitution: substitution(path.as_str()),
            },
        })
    }
}

/// What becomes of a path.
enum Rewritten {
    Kept,
    Whole(PathLiteral),
    /// In place of what the match took.
    Prefix(PathLiteral),
    Regex(Regex, Arc<str>),
}

/// In place of a prefix of whole segments stand whole segments: between both and what follows there is
/// one slash.
fn rewritten(modifier: &PathModifier, path: &PathMatch) -> Result<Rewritten, Invalid> {
    match modifier.type_.as_str() {
        "ReplaceFullPath" => {
            let text = modifier.replace_full_path.as_deref().unwrap_or_default();
            let text = if text.is_empty() { "/" } else { text };
            PathLiteral::new(text).map(Rewritten::Whole)
        }
        "ReplacePrefixMatch" => {
            let text = modifier.replace_prefix_match.as_deref().unwrap_or_default();
            let text = text.trim_end_matches('/');
            match path {
                PathMatch::Segments(prefix) if text.is_empty() => {
                    let pattern = format!("^{}/*", Regex::literal(prefix.as_str()));
                    Ok(Rewritten::Regex(Regex::new(&pattern)?, "/".into()))
                }
                PathMatch::Segments(_) => PathLiteral::new(text).map(Rewritten::Prefix),
                // The root.
                PathMatch::Prefix(_) if text.is_empty() => Ok(Rewritten::Kept),
                PathMatch::Prefix(_) => {
                    PathLiteral::new(&format!("{text}/")).map(Rewritten::Prefix)
                }
                PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Connect => {
                    Err(Invalid::new(
                        "only a rule whose matches are PathPrefix has a prefix to replace",
                        "write ReplaceFullPath, or a match of type PathPrefix",
                    ))
                }
            }
        }
        other => Err(Invalid::new(
            format!("{} is not a way to change a path", other.escape_debug()),
            "write ReplaceFullPath or ReplacePrefixMatch",
        )),
    }
}

/// A text as RE2 puts it in: a backslash would name a group.
fn substitution(text: &str) -> Arc<str> {
    text.replace('\\', r"\\").into()
}

/// Envoy removes first, then adds: what was to be added before it is removed, is not added.
fn modify(
    edits: &mut HeaderEdits,
    spec: &HeaderModifier,
    field: &str,
) -> Result<(), (String, Invalid)> {
    let lists = [("set", &spec.set, false), ("add", &spec.add, true)];
    for (list, headers, append) in lists {
        for (index, header) in headers.iter().enumerate() {
            let at = |what| (format!("{field}.{list}[{index}]"), what);
            let name = HeaderName::new(&header.name).map_err(at)?;
            // An operator of Envoy's is none here.
            let value = FormatString::new(&header.value.replace('%', "%%")).map_err(at)?;
            if !append {
                edits.add.retain(|earlier| earlier.name != name);
            }
            edits.add.push(HeaderAddition {
                name,
                value,
                append,
            });
        }
    }
    for (index, name) in spec.remove.iter().enumerate() {
        let name = HeaderName::new(name);
        let name = name.map_err(|what| (format!("{field}.remove[{index}]"), what))?;
        edits.add.retain(|earlier| earlier.name != name);
        edits.remove.push(name);
    }
    Ok(())
}

fn cors(spec: &api::Cors, field: &str) -> Result<Cors, (String, Invalid)> {
    let list = |items: &[String]| items.iter().map(|item| item.as_str().into()).collect();
    let origins = spec.allow_origins.iter().enumerate();
    let origins = origins.map(|(index, origin)| {
        origin_match(origin).map_err(|what| (format!("{field}.allowOrigins[{index}]"), what))
    });
    Ok(Cors {
        allow_origins: origins.collect::<Result<_, _>>()?,
        allow_methods: list(&spec.allow_methods),
        allow_headers: list(&spec.allow_headers),
        expose_headers: list(&spec.expose_headers),
        allow_credentials: spec.allow_credentials == Some(true),
        max_age: Some(spec.max_age.unwrap_or(DEFAULT_MAX_AGE).to_string().into()),
        answers_others: true,
    })
}

fn preflights(cors: &Cors) -> Vec<(StringMatch, HeaderEdits)> {
    let is_star = |list: &[Arc<str>]| list.iter().any(|item| &**item == "*");
    let (methods, headers) = (&cors.allow_methods, &cors.allow_headers);
    if !cors.allow_credentials || !(is_star(methods) || is_star(headers)) {
        return Vec::new();
    }
    let says = |list: &[Arc<str>], asked: &str| match is_star(list) {
        true => format!("%REQ({asked})%"),
        false => list.join(", ").replace('%', "%%"),
    };
    let answers = [
        ("access-control-allow-origin", "%REQ(origin)%".to_owned()),
        ("access-control-allow-credentials", "true".to_owned()),
        (
            "access-control-allow-methods",
            says(methods, "access-control-request-method"),
        ),
        (
            "access-control-allow-headers",
            says(headers, "access-control-request-headers"),
        ),
        (
            "access-control-max-age",
            cors.max_age.as_deref().unwrap_or_default().to_owned(),
        ),
    ];
    let answers = answers.into_iter().filter(|(_, value)| !value.is_empty());
    let add = answers.filter_map(|(name, value)| {
        Some(HeaderAddition {
            name: HeaderName::new(name).ok()?,
            value: FormatString::new(&value).ok()?,
            append: false,
        })
    });
    let edits = HeaderEdits {
        add: add.collect(),
        remove: Vec::new(),
    };
    let any = |origin: &StringMatch| *origin == StringMatch::Exact("*".into());
    let origins = cors.allow_origins.iter().map(|origin| match any(origin) {
        true => some_value(),
        false => origin.clone(),
    });
    origins.map(|origin| (origin, edits.clone())).collect()
}

/// Any value but none.
pub(super) fn some_value() -> StringMatch {
    StringMatch::Regex(Regex::new(".+").expect("invariant: RE2 takes it"))
}

/// `*` alone is every origin; within one it is any number of labels.
fn origin_match(origin: &str) -> Result<StringMatch, Invalid> {
    match origin.split_once('*') {
        // Envoy takes a bare star for any origin.
        Some(("", "")) => Ok(StringMatch::Exact(origin.into())),
        None => Ok(StringMatch::Exact(origin.into())),
        Some((before, after)) => {
            let (before, after) = (Regex::literal(before), Regex::literal(after));
            Regex::new(&format!("{before}.*{after}")).map(StringMatch::Regex)
        }
    }
}
