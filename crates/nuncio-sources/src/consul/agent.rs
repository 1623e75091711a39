//! Asking agents.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nuncio_model::consul::ConsulService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::answer::{Instance, instances};

/// Where agents listen when no port is written.
const PORT: u16 = 8500;

/// Longest wait for another answer, which Consul makes up to a sixteenth longer.
const WAIT: Duration = Duration::from_secs(60);

/// Longest wait for an answer that Consul does not hold back.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer.
const MAX_BYTES: usize = 16 * 1024 * 1024;

const INDEX: &str = "x-consul-index";
const TOKEN: &str = "x-consul-token";

/// What agents ask of whom they answer: Consul's own variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub token: Option<String>,
    /// Read for each question; before `token`.
    pub token_file: Option<PathBuf>,
    /// Authorities, in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// A certificate to show and its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Why agents cannot be asked over TLS.
#[derive(Debug, thiserror::Error)]
enum AccessError {
    #[error("{} cannot be used: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("the system's authorities cannot be read: {0}")]
    Roots(std::io::Error),
}

pub(super) struct Answer {
    pub(super) instances: Vec<Instance>,
    pub(super) index: u64,
}

#[derive(Debug)]
pub(super) struct Agents {
    access: Access,
    client: Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, String>,
}

impl Agents {
    pub(super) fn new(access: Access) -> Self {
        let client = client(&access).map_err(|error| error.to_string());
        Self { access, client }
    }

    /// Asks for the instances of a service that pass their checks; with an index not before there
    /// is another answer than that one, or a minute is over.
    pub(super) async fn ask(&self, service: &ConsulService, index: u64) -> Result<Answer, String> {
        let patience = match index {
            0 => PATIENCE,
            _ => WAIT + WAIT / 16 + PATIENCE,
        };
        let asked = tokio::time::timeout(patience, self.answer(service, index)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer in {} seconds", patience.as_secs())))
    }

    async fn answer(&self, service: &ConsulService, index: u64) -> Result<Answer, String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri(service, index)?;
        if let Some(token) = self.token()? {
            request.headers_mut().insert(TOKEN, token);
        }
        let response = client.request(request).await;
        let response = response.map_err(|error| words(&error))?;
        let status = response.status();
        let index = response.headers().get(INDEX);
        let index = index.and_then(|index| index.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), MAX_BYTES)
            .collect()
            .await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("it answers {status}: {}", text.trim()));
        }
        Ok(Answer {
            instances: instances(&body)
                .map_err(|error| format!("its answer is not that of a Consul: {error}"))?,
            index: index.ok_or_else(|| format!("its answer has no {INDEX}"))?,
        })
    }

    fn token(&self) -> Result<Option<HeaderValue>, String> {
        let token = match &self.access.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
            ),
            None => self.access.token.clone(),
        };
        let value = token.map(|token| HeaderValue::try_from(token.trim()));
        let value = value.transpose();
        let mut value = value.map_err(|_| "the token is not one line of text".to_owned())?;
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Ok(value)
    }
}

fn uri(service: &ConsulService, index: u64) -> Result<Uri, String> {
    let address = expand(&service.address, |name| std::env::var(name).ok())?;
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", &address));
    let rest = rest.trim_end_matches('/');
    let authority = match rest.parse::<http::uri::Authority>() {
        Ok(authority) if authority.port().is_none() => format!("{rest}:{PORT}"),
        Ok(_) => rest.to_owned(),
        Err(_) => return Err(format!("\"{address}\" is not the address of an agent")),
    };
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("dc", &service.datacenter)
        .append_pair("passing", "1")
        .append_pair("index", &index.to_string())
        .append_pair("wait", &format!("{}s", WAIT.as_secs()))
        .finish();
    let name: String = url::form_urlencoded::byte_serialize(service.name.as_bytes()).collect();
    let path = format!("/v1/health/service/{name}?{query}");
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build();
    uri.map_err(|error| format!("\"{address}\" is not the address of an agent: {error}"))
}

/// `$NAME` and `${NAME}` are variables of the environment: an agent is often on the node, whose
/// address only the pod knows.
fn expand(text: &str, get: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = match after.strip_prefix('{') {
            Some(inner) => inner
                .split_once('}')
                .ok_or_else(|| format!("the brace in \"{text}\" does not end"))?,
            None => after.split_at(after.find(|c: char| !is_name(c)).unwrap_or(after.len())),
        };
        let value = get(name).ok_or_else(|| format!("there is no variable {name}"))?;
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// An error with what caused it.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

fn client(
    access: &Access,
) -> Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, AccessError> {
    let unusable = |path: &Path, what: String| AccessError::File {
        path: path.to_owned(),
        what,
    };
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, AccessError> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        read.map_err(|error| unusable(path, error.to_string()))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match &access.ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(certificates(path)?);
            if added == 0 {
                return Err(unusable(path, "it has no certificate".to_owned()));
            }
            builder.with_root_certificates(roots)
        }
        None => {
            use hyper_rustls::ConfigBuilderExt;
            builder.with_native_roots().map_err(AccessError::Roots)?
        }
    };
    let config = match &access.client {
        Some((certificate, key)) => {
            let read = PrivateKeyDer::from_pem_file(key);
            let key_der = read.map_err(|error| unusable(key, error.to_string()))?;
            builder.with_client_auth_cert(certificates(certificate)?, key_der)?
        }
        None => builder.with_no_client_auth(),
    };
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(address: &str) -> Result<String, String> {
        let service = ConsulService {
            address: address.into(),
            datacenter: "dc 1".into(),
            name: "we/b".into(),
        };
        uri(&service, 7).map(|uri| uri.to_string())
    }

    #[test]
    fn an_address_is_a_host_with_or_without_scheme_and_port() {
        let path = "/v1/health/service/we%2Fb?dc=dc+1&passing=1&index=7&wait=60s";
        assert_eq!(
            asked("consul").unwrap(),
            format!("http://consul:8500{path}")
        );
        assert_eq!(
            asked("https://10.0.0.1:8501/").unwrap(),
            format!("https://10.0.0.1:8501{path}")
        );
        for wrong in ["", "a b", "ftp ://x", "$NO_SUCH_VARIABLE:8500"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_stand_for_their_values() {
        let get = |name: &str| (name == "HOST_IP").then(|| "10.0.0.1".to_owned());
        let expanded = |text| expand(text, get);
        assert_eq!(expanded("${HOST_IP}:8500").unwrap(), "10.0.0.1:8500");
        assert_eq!(expanded("$HOST_IP:8500").unwrap(), "10.0.0.1:8500");
        assert_eq!(expanded("consul:8500").unwrap(), "consul:8500");
        assert!(expanded("${HOST_IP").is_err());
        assert_eq!(expanded("$X").unwrap_err(), "there is no variable X");
    }
}
