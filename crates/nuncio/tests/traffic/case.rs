//! What a case says. `tests/traffic/README.md` has the keys.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Method;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// `$NAME` in the manifests is its address.
    #[serde(default)]
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// A file of limits; `$limits` in the manifests is the address of `nuncio ratelimit` on it.
    pub(crate) limits: Option<String>,
    /// Secrets with a self-signed certificate for these names.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Vec<String>>,
    /// Authorities by name: a Secret with the certificate and the list of what is revoked, and one
    /// for each certificate that it issues.
    #[serde(default)]
    pub(crate) authorities: BTreeMap<String, AuthoritySpec>,
    /// Files that resources can name, in the folder `$files`.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// `$http` and `$https` are ports.
    pub(crate) manifests: String,
    pub(crate) requests: Vec<Step>,
    /// The file with the labels of nuncio's pod.
    pub(crate) pod_labels: Option<String>,
    /// What keys of the diagnostics must be at the end.
    #[serde(default)]
    pub(crate) diagnostics: BTreeMap<String, Value>,
    /// A part of each entry that diagnostics must have; there are no others.
    #[serde(default)]
    pub(crate) errors: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    #[serde(default)]
    pub(crate) tls: bool,
    /// The Secret whose certificate it shows with TLS; one of its own when absent.
    pub(crate) certificate: Option<String>,
    /// The authority whose certificates it asks clients for.
    pub(crate) clients_of: Option<String>,
    /// What it answers, one request after the other, the last for ever, unless it is asked for
    /// something else.
    #[serde(default)]
    pub(crate) statuses: Vec<u16>,
    /// It answers with the head of the request as it came.
    #[serde(default)]
    pub(crate) raw: bool,
    /// It takes connections and says nothing.
    #[serde(default)]
    pub(crate) silent: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthoritySpec {
    pub(crate) issues: Vec<String>,
    #[serde(default)]
    pub(crate) revokes: Vec<String>,
    /// A URI in each certificate that it issues.
    pub(crate) uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// A method and a URL; the port of the URL is `$http` or `$https` by its scheme.
    pub(crate) send: String,
    #[serde(default)]
    pub(crate) via: Via,
    /// The server name, when it is not the URL's host.
    pub(crate) sni: Option<String>,
    /// The authority, when it is not the URL's.
    pub(crate) host: Option<String>,
    /// The Secret whose certificate the client shows.
    pub(crate) certificate: Option<String>,
    /// Whether the newest version of TLS that the client speaks is 1.2.
    #[serde(default)]
    pub(crate) tls12: bool,
    /// The client that a PROXY protocol header names.
    pub(crate) proxied_for: Option<IpAddr>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: String,
    /// What is sent in place of a request, line by line; the answer is everything that comes until
    /// the gateway closes the connection.
    pub(crate) raw: Option<String>,
    /// A header that is another one each time.
    pub(crate) vary: Option<String>,
    /// Headers of the first answer that has them, which are sent from then on, by what they are sent as.
    #[serde(default)]
    pub(crate) returns: BTreeMap<String, String>,
    /// How often, one after the other.
    pub(crate) times: Option<usize>,
    /// How often at once, on a connection each.
    pub(crate) at_once: Option<usize>,
    /// How often at once, on one connection of HTTP/2 that has answered once.
    pub(crate) multiplexed: Option<usize>,
    pub(crate) expect: Expect,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Via {
    #[default]
    Http1,
    Http2,
    Http3,
    Grpc,
    Websocket,
    /// A tunnel, over HTTP/1.1.
    Connect,
    ConnectHttp2,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: Option<u16>,
    /// Response headers; null is an absent one.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    /// Parts of response headers.
    #[serde(default)]
    pub(crate) header_has: BTreeMap<String, Parts>,
    /// Parts of the body.
    pub(crate) body: Option<Parts>,
    /// Parts that the body does not have.
    pub(crate) body_lacks: Option<Parts>,
    /// The bytes of the body, in hexadecimal digits, as far as these go.
    pub(crate) bytes: Option<String>,
    /// How many bytes the body has, from and to.
    pub(crate) size: Option<[usize; 2]>,
    /// A part of a file in `$files`, once it is there.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// The Secret whose certificate is shown.
    pub(crate) certificate: Option<String>,
    /// The protocol that the server chose in ALPN; empty is none.
    pub(crate) alpn: Option<String>,
    /// No answer: the connection fails with this in the error.
    pub(crate) fails: Option<String>,
    /// The upstream that answers, and what reached it.
    pub(crate) upstream: Option<String>,
    #[serde(default)]
    pub(crate) seen: SeenExpect,
    /// What reaches upstreams besides, sooner or later.
    #[serde(default)]
    pub(crate) reaches: BTreeMap<String, SeenExpect>,
    /// How many connections to upstreams end, sooner or later.
    #[serde(default)]
    pub(crate) closes: BTreeMap<String, usize>,
    pub(crate) grpc_status: Option<String>,
    /// How many requests each upstream, or status, answers: between two numbers.
    #[serde(default)]
    pub(crate) shares: BTreeMap<String, [usize; 2]>,
    /// Whether one upstream answers all of them.
    #[serde(default)]
    pub(crate) same_upstream: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeenExpect {
    /// A part of the head as it came.
    pub(crate) head: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) sni: Option<String>,
    pub(crate) body: Option<String>,
    /// Parts of the body, which may have no end.
    pub(crate) body_has: Option<Parts>,
    /// Which of the upstream's connections it came on, from 0.
    pub(crate) connection: Option<u64>,
    /// How many such requests must have come, of what upstreams get besides.
    pub(crate) times: Option<usize>,
    /// Request headers, several values with `, ` between them; null is an absent one.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    /// Parts of request headers.
    #[serde(default)]
    pub(crate) header_has: BTreeMap<String, Parts>,
}

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Parts {
    One(String),
    Several(Vec<String>),
}

impl Parts {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let parts = match self {
            Self::One(part) => std::slice::from_ref(part),
            Self::Several(parts) => parts,
        };
        parts.iter().map(String::as_str)
    }
}

impl Step {
    pub(crate) fn method(&self) -> Method {
        self.send.split_once(' ').unwrap().0.parse().unwrap()
    }

    pub(crate) fn url(&self) -> http::Uri {
        self.send.split_once(' ').unwrap().1.parse().unwrap()
    }
}
