//! `nuncio render`: resources as one file that Envoy runs by itself.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use nuncio_envoy::StaticConfig;
use nuncio_model::Gateway;
use nuncio_model::cluster::{Cluster, Discovery, Endpoint};
use nuncio_translate::Settings;
use serde_json::Value;

use crate::cli::{FileFormat, RenderArgs};
use crate::environment::Environment;
use crate::resources::{self, Resources};
use crate::run::MAX_DOWNSTREAM_CONNECTIONS;

/// Written, and everything is in it.
const WHOLE: u8 = 0;
/// Written, and something is not in it.
const PARTIAL: u8 = 1;
/// Nothing was written.
const NOT_WRITTEN: u8 = 2;

pub fn run(args: &RenderArgs) -> ExitCode {
    match render(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("nuncio: {error:#}");
            ExitCode::from(NOT_WRITTEN)
        }
    }
}

fn render(args: &RenderArgs) -> anyhow::Result<u8> {
    let environment = Environment::read().map_err(anyhow::Error::msg)?;
    let settings = Settings {
        bind_address: args.bind,
        ..resources::settings(&args.scope, &environment)?
    };
    let mut resources = Resources::read(&args.paths, &environment, &settings)?;
    if let Some(port) = args.admin_port {
        reach_admin(&mut resources.gateway, &settings.envoy_admin, port);
    }
    let snapshot = nuncio_envoy::encode(&resources.gateway);
    let bootstrap =
        StaticConfig::new(&snapshot).bootstrap(MAX_DOWNSTREAM_CONNECTIONS, args.admin_port);
    let text = match args
        .format
        .unwrap_or_else(|| format_of(args.output.as_deref()))
    {
        FileFormat::Yaml => yaml(&bootstrap),
        FileFormat::Json => format!("{bootstrap:#}\n"),
    };
    match &args.output {
        Some(path) => {
            write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(if resources.say_errors() {
        PARTIAL
    } else {
        WHOLE
    })
}

/// A Mapping may lead to Envoy's admin interface. Nothing makes it a socket here: it is a port.
fn reach_admin(gateway: &mut Gateway, socket: &Arc<str>, port: u16) {
    for (name, cluster) in gateway.clusters.clone() {
        if matches!(&cluster.discovery, Discovery::Pipe(path) if path == socket) {
            let discovery = Discovery::Static(vec![Endpoint {
                address: Ipv4Addr::LOCALHOST.into(),
                port,
            }]);
            let cluster = Cluster {
                discovery,
                ..Cluster::clone(&cluster)
            };
            gateway.clusters.insert(name, Arc::new(cluster));
        }
    }
}

fn format_of(output: Option<&Path>) -> FileFormat {
    match output.and_then(Path::extension) {
        Some(extension) if extension == "json" => FileFormat::Json,
        _ => FileFormat::Yaml,
    }
}

/// YAML in which every value is of the type that it has in JSON, also for readers of YAML 1.1.
pub fn yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! {
        prefer_block_scalars: false,
    };
    serde_saphyr::to_string_with_options(value, options)
        .expect("invariant: what is JSON has a form in YAML")
}

/// The file has private keys: nobody else may read it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}
