//! What is done to requests on their way: retries, CORS, header changes, upgrades, who is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_api::getambassador::{
    AddedHeader, Cors as CorsSpec, ModuleCors, NumberOrString, RegexRewrite,
    RetryPolicy as RetryPolicySpec,
};
use nuncio_model::external::RouteAuth;
use nuncio_model::route::{
    Cors, HeaderAddition, HeaderEdits, PathRewrite, RetryPolicy, StringMatch,
};
use nuncio_model::value::{FormatString, HeaderName, PathLiteral, Regex};

use super::mistake::Mistake;
use super::values::{duration, field_of, unsigned};

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

/// What `allow_upgrade` calls the requests for a connection to somewhere, in lower case.
pub(crate) const CONNECT: &str = "connect";

/// `field` is where the policy stands.
pub(crate) fn retry_policy(field: &str, policy: &RetryPolicySpec) -> Result<RetryPolicy, Mistake> {
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
                format!("{field}.retry_on"),
                format!("\"{word}\" is not a condition to retry on"),
                format!("write one or more of {}", RETRY_CONDITIONS.join(", ")),
            ));
        }
        retry_on.push(word.into());
    }
    if retry_on.is_empty() {
        return Err(Mistake::new(
            format!("{field}.retry_on"),
            "it does not say when to retry",
            format!("write one or more of {}", RETRY_CONDITIONS.join(", ")),
        ));
    }
    let per_try_timeout = policy
        .per_try_timeout
        .as_deref()
        .map(|text| duration(&format!("{field}.per_try_timeout"), text))
        .transpose()?;
    Ok(RetryPolicy {
        retry_on,
        num_retries: unsigned(&format!("{field}.num_retries"), policy.num_retries)?,
        per_try_timeout,
        statuses: Vec::new(),
        back_off: None,
    })
}

pub(crate) fn cors(spec: &CorsSpec) -> Cors {
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
        answers_others: false,
    }
}

/// The same of a Module, where lists may be texts.
pub(crate) fn module_cors(spec: &ModuleCors) -> Cors {
    let list = |items: &Option<_>| {
        items
            .as_ref()
            .map(nuncio_api::getambassador::StringOrList::items)
            .unwrap_or_default()
    };
    cors(&CorsSpec {
        origins: list(&spec.origins),
        methods: list(&spec.methods),
        headers: list(&spec.headers),
        exposed_headers: list(&spec.exposed_headers),
        credentials: spec.credentials,
        max_age: spec.max_age.as_ref().map(|age| match age {
            NumberOrString::Number(seconds) => seconds.to_string(),
            NumberOrString::String(text) => text.clone(),
        }),
        v2_comma_separated_origins: None,
    })
}

/// What `add_<what>_headers` and `remove_<what>_headers` below `path` say.
pub(crate) fn header_edits(
    path: &str,
    what: &str,
    add: Option<&BTreeMap<String, AddedHeader>>,
    remove: Option<&[String]>,
) -> Result<HeaderEdits, Mistake> {
    let mut edits = HeaderEdits::default();
    for (name, added) in add.into_iter().flatten() {
        let field = field_of(&format!("{path}.add_{what}_headers"), name);
        edits.add.push(HeaderAddition {
            name: HeaderName::new(name).map_err(Mistake::at(field.clone()))?,
            value: FormatString::new(&added.value)
                .map_err(Mistake::at(format!("{field}.value")))?,
            append: added.append.unwrap_or(true),
        });
    }
    for (index, name) in remove.into_iter().flatten().enumerate() {
        let field = format!("{path}.remove_{what}_headers[{index}]");
        edits
            .remove
            .push(HeaderName::new(name).map_err(Mistake::at(field))?);
    }
    Ok(edits)
}

/// `allow_upgrade`: protocols in lower case, each once.
pub(crate) fn upgrades(field: &str, given: &[String]) -> Result<Vec<Arc<str>>, Mistake> {
    let mut upgrades: Vec<Arc<str>> = Vec::new();
    for (index, upgrade) in given.iter().enumerate() {
        if upgrade.trim().is_empty() || upgrade.contains(char::is_control) {
            return Err(Mistake::new(
                format!("{field}[{index}]"),
                "an upgrade must not be empty, nor have line breaks",
                "write the name of a protocol, such as websocket",
            ));
        }
        let upgrade: Arc<str> = upgrade.to_ascii_lowercase().into();
        if !upgrades.contains(&upgrade) {
            upgrades.push(upgrade);
        }
    }
    Ok(upgrades)
}

/// `regex_rewrite`: what an expression finds in the path, and what stands in its place.
pub(crate) fn regex_rewrite(field: &str, spec: &RegexRewrite) -> Result<PathRewrite, Mistake> {
    let pattern = Regex::new(&spec.pattern).map_err(Mistake::at(format!("{field}.pattern")))?;
    let substitution = PathLiteral::new(&spec.substitution)
        .map_err(Mistake::at(format!("{field}.substitution")))?;
    Ok(PathRewrite::Regex {
        pattern,
        substitution: substitution.as_str().into(),
    })
}

/// `bypass_auth` and `auth_context_extensions`.
pub(crate) fn auth(
    bypass: Option<bool>,
    extensions: Option<&BTreeMap<String, String>>,
) -> RouteAuth {
    match (bypass == Some(true), extensions) {
        (true, _) => RouteAuth::Bypassed,
        (false, Some(extensions)) if !extensions.is_empty() => {
            let text =
                |(name, value): (&String, &String)| (name.as_str().into(), value.as_str().into());
            RouteAuth::Extended(extensions.iter().map(text).collect())
        }
        (false, _) => RouteAuth::Asked,
    }
}
