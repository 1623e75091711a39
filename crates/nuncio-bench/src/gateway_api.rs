//! One HTTPRoute changed among many, up to the snapshot that Envoy would be sent.

use std::sync::Arc;

use nuncio::engine::Engine;
use nuncio_sources::{ChangeSet, manifest};
use nuncio_translate::{Scope, Settings, Store};

use crate::change::Difference;
use crate::figure::{Figure, Figures, median};
use crate::manifests::name;
use crate::usage::timed;

/// The measurements, and how many Gateways the routes are on in each.
pub(crate) const AMONG: [(&str, usize); 2] = [("gateway", 1), ("gateways", 50)];

pub(crate) fn measure(
    (measure, gateways): (&'static str, usize),
    routes: usize,
    rounds: usize,
) -> anyhow::Result<Vec<Figure>> {
    let mut engine = Engine::new(
        Store::new(Scope::default()),
        Settings::new(&Scope::default()),
    );
    let mut text = String::new();
    for number in 0..gateways {
        text.push_str(&gateway(number)?);
    }
    for number in 0..routes {
        text.push_str(&service(number));
        text.push_str(&route(number, number % gateways, 0));
    }
    let mut last = engine.apply(changes(&text)?);
    let [mut taken_up, mut resources, mut bytes] = [const { Vec::new() }; 3];
    for round in 1..=rounds {
        let changes = changes(&route(routes / 2, routes / 2 % gateways, round))?;
        let (apply, served) = timed(|| engine.apply(changes));
        let difference = Difference::of(&last.snapshot, &served.snapshot);
        anyhow::ensure!(
            difference.resources > 0,
            "a changed HTTPRoute changes nothing"
        );
        taken_up.push(apply);
        resources.push(difference.resources as f64);
        bytes.push(difference.bytes as f64);
        last = Arc::clone(&served);
    }
    let mut figures = Figures::new(measure, routes);
    figures.add("HTTPRoute: to snapshot (CPU)", "ms", median(taken_up));
    figures.add("HTTPRoute: changed resources", "", median(resources));
    let kibibytes = median(bytes) / 1024.0;
    figures.add("HTTPRoute: their size", "KiB", kibibytes);
    Ok(figures.finish())
}

fn changes(text: &str) -> anyhow::Result<ChangeSet> {
    let parsed = manifest::parse(&Arc::from("bench.yaml"), text);
    let parsed = parsed.map_err(|_| anyhow::anyhow!("the manifests are no YAML"))?;
    Ok(ChangeSet {
        upserted: parsed.objects,
        ..ChangeSet::default()
    })
}

/// Each listens on a port of its own.
fn gateway(number: usize) -> anyhow::Result<String> {
    let port = 10_000 + u16::try_from(number)?;
    Ok(format!(
        "\
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: g-{number}
spec:
  gatewayClassName: emissary
  listeners:
  - name: http
    port: {port}
    protocol: HTTP
"
    ))
}

/// Each has a hostname and a Service of its own.
fn route(number: usize, gateway: usize, timeout: usize) -> String {
    let name = name(number);
    format!(
        "\
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {name}
spec:
  parentRefs:
  - name: g-{gateway}
  hostnames:
  - {name}.example
  rules:
  - timeouts:
      request: {}ms
    backendRefs:
    - name: {name}
      port: 80
",
        3000 + timeout
    )
}

fn service(number: usize) -> String {
    let name = name(number);
    format!(
        "\
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  ports:
  - port: 80
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
- port: 8080
endpoints:
- addresses:
  - 10.0.0.1
"
    )
}
