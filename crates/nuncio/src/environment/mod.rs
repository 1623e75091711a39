//! The environment: Emissary's variables, each read here or on the command line, or named as one
//! that has no effect.

mod variables;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nuncio_sources::consul::Access;
use nuncio_translate::{ReadyPort, Scope};

use crate::admin::Banner;

pub use variables::{Effect, VARIABLES, table, without_effect};

/// The port of health, diagnostics and metrics.
const ADMIN_PORT: u16 = 8877;

/// The port on which Envoy itself says that it serves.
const READY_PORT: u16 = 8006;

/// StatsD's own port.
const STATSD_PORT: u16 = 8125;

/// Seconds; Envoy flushes its statistics more often than every five minutes.
const LONGEST_FLUSH_INTERVAL: u64 = 299;

/// What the environment says beside the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    pub scope: Scope,
    /// The selector of the scope, as it is written.
    pub label_selector: Option<String>,
    /// Only objects with these fields, of every kind.
    pub field_selector: Option<String>,
    /// The installation's name, where it is not to be nuncio's own choice.
    pub cluster_id: Option<String>,
    pub strict_label_selectors: bool,
    /// What the diagnostics show above everything.
    pub banner: Option<Banner>,
    /// Address of health, diagnostics and metrics.
    pub admin: SocketAddr,
    pub ready: Option<ReadyPort>,
    pub base_id: Option<u32>,
    pub statsd: Option<Statsd>,
    /// The status of Mappings is written too.
    pub mapping_status: bool,
    /// What Consul agents ask for.
    pub consul: Access,
    pub json_logging: bool,
    /// nuncio logs all that it does.
    pub debug: bool,
    /// So does Envoy.
    pub debug_envoy: bool,
}

/// Where Envoy's statistics go by UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statsd {
    /// With tags, as Datadog's agent reads it.
    pub dogstatsd: bool,
    pub host: String,
    pub port: u16,
    pub flush_interval: Duration,
    /// The pod's name at Datadog, a tag of everything.
    pub entity_id: Option<String>,
}

impl Environment {
    pub fn read() -> Result<Self, String> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads the variables; what cannot be read is an error that names its variable.
    pub fn from_vars(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let loopback = loopback(&get)?;
        let debug = get("AMBASSADOR_DEBUG").unwrap_or_default();
        Ok(Self {
            scope: Scope::from_vars(get)?,
            label_selector: get("AMBASSADOR_LABEL_SELECTOR"),
            field_selector: get("AMBASSADOR_FIELD_SELECTOR"),
            cluster_id: get("AMBASSADOR_CLUSTER_ID"),
            strict_label_selectors: !is_true(&get, "DISABLE_STRICT_LABEL_SELECTORS")?,
            banner: banner(&get)?,
            admin: admin(&get, loopback)?,
            ready: ready(&get, loopback)?,
            base_id: number(&get, "AMBASSADOR_ENVOY_BASE_ID", "a number, such as 1")?,
            statsd: statsd(&get)?,
            mapping_status: is_not_false(&get, "AMBASSADOR_UPDATE_MAPPING_STATUS")?,
            consul: consul(&get)?,
            json_logging: is_true(&get, "AMBASSADOR_JSON_LOGGING")?,
            debug: debug.contains("diagd"),
            debug_envoy: debug.contains("envoy"),
        })
    }
}

fn consul(get: &impl Fn(&str) -> Option<String>) -> Result<Access, String> {
    const CERTIFICATE: &str = "CONSUL_CLIENT_CERT";
    const KEY: &str = "CONSUL_CLIENT_KEY";
    let client = match (get(CERTIFICATE), get(KEY)) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        (Some(_), None) => return Err(format!("{CERTIFICATE} is set without {KEY}: set both")),
        (None, Some(_)) => return Err(format!("{KEY} is set without {CERTIFICATE}: set both")),
    };
    Ok(Access {
        token: get("CONSUL_HTTP_TOKEN"),
        token_file: get("CONSUL_HTTP_TOKEN_FILE").map(Into::into),
        ca: get("CONSUL_CACERT").map(Into::into),
        client,
    })
}

/// The loopback address of the address family that is asked for.
fn loopback(get: &impl Fn(&str) -> Option<String>) -> Result<IpAddr, String> {
    const NAME: &str = "AMBASSADOR_HEALTHCHECK_IP_FAMILY";
    match get(NAME).as_deref() {
        None | Some("ANY" | "IPV4_ONLY") => Ok(Ipv4Addr::LOCALHOST.into()),
        Some("IPV6_ONLY") => Ok(Ipv6Addr::LOCALHOST.into()),
        Some(other) => Err(wrong(NAME, other, "ANY, IPV4_ONLY or IPV6_ONLY")),
    }
}

fn admin(get: &impl Fn(&str) -> Option<String>, loopback: IpAddr) -> Result<SocketAddr, String> {
    let address = number(
        get,
        "AMBASSADOR_HEALTHCHECK_BIND_ADDRESS",
        "an IP address, such as 0.0.0.0",
    )?;
    let port = number(get, "AMBASSADOR_HEALTHCHECK_BIND_PORT", PORT)?;
    Ok(SocketAddr::new(
        address.unwrap_or(loopback),
        port.unwrap_or(ADMIN_PORT),
    ))
}

fn banner(get: &impl Fn(&str) -> Option<String>) -> Result<Option<Banner>, String> {
    const NAME: &str = "AMBASSADOR_DIAGD_BANNER_ENDPOINT";
    let Some(url) = get(NAME) else {
        return Ok(None);
    };
    let banner = Banner::new(&url);
    banner.map(Some).map_err(|write| wrong(NAME, &url, &write))
}

fn ready(
    get: &impl Fn(&str) -> Option<String>,
    loopback: IpAddr,
) -> Result<Option<ReadyPort>, String> {
    let port = number(
        get,
        "AMBASSADOR_READY_PORT",
        "a port from 1 to 65535, or 0 for none",
    )?;
    let access_log = is_true(get, "AMBASSADOR_READY_LOG")?;
    let port = port.unwrap_or(READY_PORT);
    Ok((port != 0).then_some(ReadyPort {
        address: loopback,
        port,
        access_log,
    }))
}

fn statsd(get: &impl Fn(&str) -> Option<String>) -> Result<Option<Statsd>, String> {
    let enabled = is_true(get, "STATSD_ENABLED")?;
    let dogstatsd = is_true(get, "DOGSTATSD")?;
    let host = get("STATSD_HOST").unwrap_or_else(|| "statsd-sink".to_owned());
    // In a cluster with a Service "statsd" Kubernetes sets this to its URL, for nobody to read.
    let get_port = |name: &str| get(name).filter(|port| !port.contains("://"));
    let port = number(&get_port, "STATSD_PORT", PORT)?.unwrap_or(STATSD_PORT);
    let interval = number(get, "STATSD_FLUSH_INTERVAL", SECONDS)?.unwrap_or(1);
    if interval == 0 || interval > LONGEST_FLUSH_INTERVAL {
        return Err(wrong(
            "STATSD_FLUSH_INTERVAL",
            &interval.to_string(),
            SECONDS,
        ));
    }
    let entity_id = get("DD_ENTITY_ID");
    Ok(enabled.then_some(Statsd {
        dogstatsd,
        host,
        port,
        flush_interval: Duration::from_secs(interval),
        entity_id,
    }))
}

const PORT: &str = "a port from 1 to 65535";
const SECONDS: &str = "whole seconds from 1 to 299";

fn number<T: std::str::FromStr>(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    write: &str,
) -> Result<Option<T>, String> {
    let Some(text) = get(name) else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(wrong(name, &text, write)),
    }
}

fn is_true(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<bool, String> {
    Ok(truth(get, name)?.unwrap_or(false))
}

fn is_not_false(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<bool, String> {
    Ok(truth(get, name)?.unwrap_or(true))
}

fn truth(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<bool>, String> {
    let Some(text) = get(name) else {
        return Ok(None);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Ok(Some(true)),
        "0" | "f" | "false" | "n" | "no" | "off" => Ok(Some(false)),
        _ => Err(wrong(name, &text, "true or false")),
    }
}

fn wrong(name: &str, value: &str, write: &str) -> String {
    format!("{name} is \"{value}\": write {write}")
}

#[cfg(test)]
mod tests;
