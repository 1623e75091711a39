//! ExternalAuth filters (GEP-1494): who is asked whether a request of a rule may pass.
//!
//! They are asked after the AuthService, which holds for everything. It fails closed: where nobody can be asked
//! requests are answered with 500, where nobody answers with 403.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nuncio_api::gateway_api::{BackendObjectReference, ExternalAuth, ForwardBody, HttpAuth};
use nuncio_model::external::{RouteAuthProtocol, RouteAuthorization, SentBody};
use nuncio_model::value::{HeaderName, Invalid, PathLiteral};

use super::Context;
use super::attach::Route;
use super::backend::{Backends, Protocol};
use super::policy::settings::BackendSettings;

/// Longest wait for an answer, as of an AuthService.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where such a filter stands.
pub(super) struct Ask<'a> {
    pub(super) route: &'a Route<'a>,
    pub(super) field: &'a str,
}

/// A field, and what is wrong with it.
type Mistake = (String, Invalid);

impl Ask<'_> {
    /// `None` where who is to be asked cannot be resolved, which the route's status says.
    pub(super) fn read(
        &self,
        context: &mut Context<'_>,
        spec: &ExternalAuth,
        backends: &mut Backends<'_>,
    ) -> Result<Option<RouteAuthorization>, Mistake> {
        let field = self.field;
        let (protocol, spoken, request_headers) = match spec.protocol.as_str() {
            "HTTP" => {
                let none = HttpAuth::default();
                let http = spec.http.as_ref().unwrap_or(&none);
                let protocol = RouteAuthProtocol::Http {
                    path_prefix: self.path_prefix(http)?,
                    response_headers: self.headers(
                        "http.allowedResponseHeaders",
                        &http.allowed_response_headers,
                    )?,
                };
                let headers = self.headers("http.allowedHeaders", &http.allowed_headers)?;
                (protocol, Protocol::Http1, headers)
            }
            "GRPC" => {
                let headers = spec
                    .grpc
                    .as_ref()
                    .map_or(&[][..], |grpc| &grpc.allowed_headers);
                let headers = self.headers("grpc.allowedHeaders", headers)?;
                let authority = self.authority(&spec.backend_ref);
                (
                    RouteAuthProtocol::Grpc { authority },
                    Protocol::Http2,
                    headers,
                )
            }
            other => {
                return Err((
                    format!("{field}.protocol"),
                    Invalid::new(
                        format!("nobody is asked over {}", other.escape_debug()),
                        "write HTTP or GRPC",
                    ),
                ));
            }
        };
        let at = format!("{field}.backendRef");
        let backend = &spec.backend_ref;
        let settings = BackendSettings::default();
        let cluster = backends.resolve_as(context, backend, &at, spoken, &settings);
        Ok(cluster.map(|cluster| RouteAuthorization {
            cluster,
            protocol,
            timeout: TIMEOUT,
            request_headers,
            body: spec.forward_body.as_ref().and_then(body),
        }))
    }

    fn authority(&self, backend: &BackendObjectReference) -> Arc<str> {
        let own = &self.route.meta.namespace;
        let namespace = backend.namespace.as_ref().unwrap_or(own);
        let port = backend.port.unwrap_or_default();
        format!("{}.{namespace}:{port}", backend.name).into()
    }

    fn path_prefix(&self, http: &HttpAuth) -> Result<Option<PathLiteral>, Mistake> {
        let path = http.path.as_deref().filter(|path| !path.is_empty());
        let Some(path) = path else {
            return Ok(None);
        };
        let at = |what| (format!("{}.http.path", self.field), what);
        if !path.starts_with('/') {
            let message = format!("\"{}\" does not begin with /", path.escape_debug());
            return Err(at(Invalid::new(message, "write a path that begins with /")));
        }
        PathLiteral::new(path).map(Some).map_err(at)
    }

    /// Names in lower case, sorted; `None` of none.
    fn headers(&self, list: &str, names: &[String]) -> Result<Option<Vec<Arc<str>>>, Mistake> {
        let mut all: BTreeSet<Arc<str>> = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            let at = |what| (format!("{}.{list}[{index}]", self.field), what);
            if name.eq_ignore_ascii_case("host") {
                all.insert("host".into());
                continue;
            }
            all.insert(HeaderName::new(name).map_err(at)?.as_str().into());
        }
        Ok((!names.is_empty()).then(|| all.into_iter().collect()))
    }
}

/// A longer body is refused: who sees a part of it judges another request than the one that is passed on.
fn body(spec: &ForwardBody) -> Option<SentBody> {
    (spec.max_size > 0).then(|| SentBody {
        max_bytes: spec.max_size.into(),
        allow_partial: false,
    })
}
