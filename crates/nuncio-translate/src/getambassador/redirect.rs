//! `host_redirect`: a Mapping that answers with a `location`.

use nuncio_api::getambassador::Mapping;
use nuncio_model::route::{Redirect, RedirectPath, RedirectScheme, RedirectStatus};
use nuncio_model::value::{HostLiteral, PathLiteral, Regex};
use nuncio_model::{Reason, Report};

use super::service::{Scheme, ServiceName};
use crate::fields::mistake::Mistake;
use crate::store::Object;

/// `service` is the host to redirect to. A scheme and a port in it count as such (Emissary writes
/// them into the host, so that `location` becomes `http://https://…`), and a bare name is not
/// taken for a Service of the Mapping's namespace.
pub(super) fn redirect(report: &mut Report, object: &Object<Mapping>) -> Result<Redirect, Mistake> {
    let spec = &object.spec;
    let service = spec.service.as_deref().unwrap_or_default();
    let name = ServiceName::parse(service, None).map_err(Mistake::at("spec.service"))?;
    let host = match name.host.contains(':') {
        true => format!("[{}]", name.host),
        false => name.host.clone(),
    };
    Ok(Redirect {
        scheme: match name.scheme {
            Scheme::None | Scheme::Other(_) => None,
            Scheme::Http => Some(RedirectScheme::Http),
            Scheme::Https => Some(RedirectScheme::Https),
        },
        host: Some(HostLiteral::new(&host).map_err(Mistake::at("spec.service"))?),
        port: name.port,
        path: path(report, object)?,
        status: status(report, object),
    })
}

/// The first that is given of the three ways to change the path.
fn path(report: &mut Report, object: &Object<Mapping>) -> Result<RedirectPath, Mistake> {
    let spec = &object.spec;
    let text = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let path = text(&spec.path_redirect);
    let prefix = text(&spec.prefix_redirect);
    let regex = spec.regex_redirect.as_ref();
    let given = [
        ("path_redirect", path.is_some()),
        ("prefix_redirect", prefix.is_some()),
        ("regex_redirect", regex.is_some()),
    ];
    let mut given = given.iter().filter(|(_, is)| *is).map(|(name, _)| *name);
    if let Some(first) = given.next() {
        for other in given {
            report
                .warning(
                    &object.at(format!("spec.{other}")),
                    Reason::Conflict,
                    format!(
                        "Cannot specify both {first} and {other}. Using {first} and ignoring \
                         {other}."
                    ),
                )
                .help("remove one of them");
        }
    }
    if let Some(path) = path {
        return PathLiteral::new(&path)
            .map(RedirectPath::Full)
            .map_err(Mistake::at("spec.path_redirect"));
    }
    if let Some(prefix) = prefix {
        return PathLiteral::new(&prefix)
            .map(RedirectPath::Prefix)
            .map_err(Mistake::at("spec.prefix_redirect"));
    }
    match regex {
        None => Ok(RedirectPath::Keep),
        Some(regex) => Ok(RedirectPath::Regex {
            pattern: Regex::new(&regex.pattern)
                .map_err(Mistake::at("spec.regex_redirect.pattern"))?,
            substitution: PathLiteral::new(&regex.substitution)
                .map_err(Mistake::at("spec.regex_redirect.substitution"))?
                .as_str()
                .into(),
        }),
    }
}

fn status(report: &mut Report, object: &Object<Mapping>) -> RedirectStatus {
    match object.spec.redirect_response_code {
        None | Some(301) => RedirectStatus::MovedPermanently,
        Some(302) => RedirectStatus::Found,
        Some(303) => RedirectStatus::SeeOther,
        Some(307) => RedirectStatus::TemporaryRedirect,
        Some(308) => RedirectStatus::PermanentRedirect,
        Some(other) => {
            report
                .warning(
                    &object.at("spec.redirect_response_code"),
                    Reason::InvalidValue,
                    format!("Unknown redirect_response_code={other}; 301 is used"),
                )
                .help("write 301, 302, 303, 307 or 308");
            RedirectStatus::MovedPermanently
        }
    }
}

/// Fields that only mean something beside `host_redirect`.
pub(super) fn without_host_redirect(report: &mut Report, object: &Object<Mapping>) {
    let spec = &object.spec;
    for (field, given) in [
        ("path_redirect", spec.path_redirect.is_some()),
        ("prefix_redirect", spec.prefix_redirect.is_some()),
        ("regex_redirect", spec.regex_redirect.is_some()),
        (
            "redirect_response_code",
            spec.redirect_response_code.is_some(),
        ),
    ] {
        if given {
            report
                .warning(
                    &object.at(format!("spec.{field}")),
                    Reason::NoEffect,
                    "it has no effect without host_redirect: true",
                )
                .help("write host_redirect: true, or remove it");
        }
    }
}
