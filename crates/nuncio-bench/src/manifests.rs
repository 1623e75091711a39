//! Folders of manifests of any size.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;

/// How many Mappings a file holds, with what belongs to them.
const PER_FILE: usize = 100;

/// The object that changes are made to, in a file of its own.
pub(crate) const CHANGED: &str = "changed";

/// The object whose endpoint requests are sent to.
pub(crate) const PROBED: &str = "probed";

/// Where nobody is asked.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8080);

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The Mapping's timeout: a route.
    Mapping,
    /// The address behind its Service.
    Endpoint,
}

impl Change {
    pub(crate) const ALL: [Self; 2] = [Self::Mapping, Self::Endpoint];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mapping => "Mapping",
            Self::Endpoint => "endpoint",
        }
    }
}

/// So many Mappings, each with a Service and an endpoint of its own; one of them is
/// [`CHANGED`].
pub(crate) fn services(folder: &Path, mappings: usize, port: u16) -> anyhow::Result<()> {
    write(folder, "base.yaml", &base(port))?;
    storm(folder, mappings, 0)?;
    write_changed(folder, 0, 0)
}

/// Changes every Mapping of [`services`] but one.
pub(crate) fn storm(folder: &Path, mappings: usize, round: usize) -> anyhow::Result<()> {
    let names: Vec<_> = (1..mappings).map(name).collect();
    for (file, names) in names.chunks(PER_FILE).enumerate() {
        let mut text = String::new();
        for name in names {
            text.push_str(&service(name, round, NOWHERE));
        }
        write(folder, &format!("mappings-{file:05}.yaml"), &text)?;
    }
    Ok(())
}

/// One more Mapping, [`PROBED`], whose Service has this endpoint.
pub(crate) fn probed(folder: &Path, endpoint: SocketAddr) -> anyhow::Result<()> {
    let text = service(PROBED, 0, endpoint);
    write(folder, &format!("{PROBED}.yaml"), &text)
}

/// So many Mappings for every name, and so many Hosts, each with a Mapping of its own.
pub(crate) fn hosts(folder: &Path, hosts: usize, mappings: usize, port: u16) -> anyhow::Result<()> {
    services(folder, mappings, port)?;
    let mut text = String::new();
    for name in (0..hosts).map(name) {
        text.push_str(&host(&name));
    }
    write(folder, "hosts.yaml", &text)
}

/// So many Hosts with a certificate each, and one Mapping for all.
pub(crate) fn tls_hosts(
    folder: &Path,
    hosts: usize,
    port: u16,
    pair: (&str, &str),
) -> anyhow::Result<()> {
    let base = base(port).replace("protocol: HTTP", "protocol: HTTPS");
    write(
        folder,
        "base.yaml",
        &(base + &mapping("all", "127.0.0.1:1", 0)),
    )?;
    for number in 0..hosts {
        tls_host(folder, number, pair)?;
    }
    Ok(())
}

/// One of them.
pub(crate) fn tls_host(
    folder: &Path,
    number: usize,
    (certificate, key): (&str, &str),
) -> anyhow::Result<()> {
    let name = name(number);
    let indented = |pem: &str| pem.trim_end().replace('\n', "\n    ");
    let text = format!(
        "\
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata:
  name: {name}
spec:
  hostname: {}
  tlsSecret:
    name: {name}
---
apiVersion: v1
kind: Secret
metadata:
  name: {name}
type: kubernetes.io/tls
stringData:
  tls.crt: |
    {}
  tls.key: |
    {}
",
        tls_name(number),
        indented(certificate),
        indented(key)
    );
    write(folder, &format!("host-{name}.yaml"), &text)
}

/// What clients ask it for.
pub(crate) fn tls_name(number: usize) -> String {
    format!("{}.example", name(number))
}

/// So many Mappings to one upstream.
pub(crate) fn routes(
    folder: &Path,
    mappings: usize,
    port: u16,
    upstream: SocketAddr,
) -> anyhow::Result<()> {
    write(folder, "base.yaml", &base(port))?;
    let names: Vec<_> = (0..mappings).map(name).collect();
    for (file, names) in names.chunks(PER_FILE).enumerate() {
        let text: String = names
            .iter()
            .map(|name| mapping(name, &upstream.to_string(), 0))
            .collect();
        write(folder, &format!("mappings-{file:05}.yaml"), &text)?;
    }
    Ok(())
}

/// Whom [`routes`] have asked about every request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) auth: Option<SocketAddr>,
    pub(crate) rate_limit: Option<SocketAddr>,
}

/// The label that every request has for the rate limit service.
pub(crate) const LABEL: &str = "remote_address";

/// Its domain.
pub(crate) const DOMAIN: &str = "bench";

pub(crate) fn filters(folder: &Path, filters: Filters) -> anyhow::Result<()> {
    let mut text = String::new();
    if let Some(auth) = filters.auth {
        text.push_str(&format!(
            "\
---
apiVersion: getambassador.io/v3alpha1
kind: AuthService
metadata:
  name: auth
spec:
  auth_service: {auth}
  proto: http
"
        ));
    }
    if let Some(rate_limit) = filters.rate_limit {
        text.push_str(&format!(
            "\
---
apiVersion: getambassador.io/v3alpha1
kind: RateLimitService
metadata:
  name: limits
spec:
  service: {rate_limit}
  domain: {DOMAIN}
  protocol_version: v3
---
apiVersion: getambassador.io/v3alpha1
kind: Module
metadata:
  name: ambassador
spec:
  config:
    default_label_domain: {DOMAIN}
    default_labels:
      {DOMAIN}:
        defaults:
        - {LABEL}:
            key: {LABEL}
"
        ));
    }
    write(folder, "filters.yaml", &text)
}

/// Changes something to what it never was in an earlier round.
pub(crate) fn change(folder: &Path, change: Change, round: usize) -> anyhow::Result<()> {
    match change {
        Change::Mapping => write_changed(folder, round, 0),
        Change::Endpoint => write_changed(folder, 0, round),
    }
}

fn write_changed(folder: &Path, timeout: usize, endpoint: usize) -> anyhow::Result<()> {
    let endpoint = u32::from(Ipv4Addr::new(10, 0, 0, 0)) + u32::try_from(endpoint)?;
    let endpoint = SocketAddr::from((Ipv4Addr::from(endpoint), 8080));
    let text = service(CHANGED, timeout, endpoint);
    write(folder, &format!("{CHANGED}.yaml"), &text)
}

/// Writes a file as one change.
fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let new = folder.join(format!(".{name}.new"));
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, folder.join(name)));
    written.with_context(|| format!("cannot write {name} in {}", folder.display()))
}

/// All of the same length, so that their order is that of the alphabet.
pub(crate) fn name(index: usize) -> String {
    format!("m-{index:06}")
}

fn base(port: u16) -> String {
    format!(
        "\
apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata:
  name: http
spec:
  port: {port}
  protocol: HTTP
  securityModel: XFP
  hostBinding:
    namespace:
      from: ALL
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata:
  name: any
spec:
  hostname: \"*\"
  requestPolicy:
    insecure:
      action: Route
"
    )
}

fn host(name: &str) -> String {
    format!(
        "\
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata:
  name: {name}
spec:
  hostname: {name}.example
  requestPolicy:
    insecure:
      action: Route
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata:
  name: own-{name}
  namespace: default
spec:
  hostname: {name}.example
  prefix: /own/
  service: {CHANGED}
"
    )
}

fn mapping(name: &str, service: &str, timeout: usize) -> String {
    format!(
        "\
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata:
  name: {name}
  namespace: default
spec:
  hostname: \"*\"
  prefix: /{name}/
  service: {service}
  timeout_ms: {}
",
        3000 + timeout
    )
}

fn service(name: &str, timeout: usize, endpoint: SocketAddr) -> String {
    let mut text = mapping(name, name, timeout);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
spec:
  ports:
  - name: http
    port: 80
    targetPort: 8080
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: default
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
- name: http
  port: {}
endpoints:
- addresses:
  - {}
",
        endpoint.port(),
        endpoint.ip()
    );
    text
}
