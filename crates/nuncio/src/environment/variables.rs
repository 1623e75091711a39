//! Every variable, and what it does here.

/// A variable of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub effect: Effect,
}

/// What becomes of a variable.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// What holds without it, and what it does.
    Read(&'static str, &'static str),
    /// Why it does nothing.
    None(&'static str),
}

use Effect::{None as No, Read};

const fn variable(name: &'static str, effect: Effect) -> Variable {
    Variable { name, effect }
}

/// Those of Emissary, and nuncio's own.
pub const VARIABLES: &[Variable] = &[
    variable(
        "AES_LOG_LEVEL",
        Read(
            "`info`",
            "how much to log: `error`, `warn`, `info`, `debug`, `trace` (`--log-level`)",
        ),
    ),
    variable("AGENT_CONFIG_RESOURCE_NAME", No(AGENT)),
    variable("AMBASSADOR_AMBEX_NO_RATELIMIT", No(PACE)),
    variable("AMBASSADOR_AMBEX_SNAPSHOT_COUNT", No(SNAPSHOTS)),
    variable("AMBASSADOR_APIEXT_DEPLOYMENT_NAME", No(APIEXT)),
    variable("AMBASSADOR_APIEXT_DEPLOYMENT_NAMESPACE", No(APIEXT)),
    variable("AMBASSADOR_APIEXT_WAIT", No(APIEXT)),
    variable("AMBASSADOR_APIEXT_WAIT_TIMEOUT", No(APIEXT)),
    variable(
        "AMBASSADOR_CERTS_SINGLE_NAMESPACE",
        No(
            "Secrets are looked up as resources name them; `AMBASSADOR_SINGLE_NAMESPACE` limits them too",
        ),
    ),
    variable(
        "AMBASSADOR_CLUSTER_ID",
        Read(
            "made of `AMBASSADOR_ID`",
            "the installation's id in the diagnostics",
        ),
    ),
    variable("AMBASSADOR_CONFIG_BASE_DIR", No(FOLDERS)),
    variable(
        "AMBASSADOR_CONFIG_DIR",
        No("manifests are in the folders that `--manifests` names"),
    ),
    variable(
        "AMBASSADOR_DEBUG",
        Read(
            "–",
            "with the word `diagd` nuncio logs at `debug`, with `envoy` Envoy at `trace`",
        ),
    ),
    variable("AMBASSADOR_DEBUG_CLUSTER_CONFIG", No(DEBUG)),
    variable(
        "AMBASSADOR_DIAGD_BANNER_ENDPOINT",
        Read(
            "–",
            "a URL at `http://localhost` whose text the diagnostics show above everything",
        ),
    ),
    variable("AMBASSADOR_DIAGD_BIND_ADDREASS", No(DIAGD)),
    variable("AMBASSADOR_DIAGD_BIND_PORT", No(DIAGD)),
    variable("AMBASSADOR_DISABLE_ENDPOINTS", No(ENDPOINTS)),
    variable("AMBASSADOR_DISABLE_FEATURES", No(OLD)),
    variable("AMBASSADOR_DISABLE_SNAPSHOT_SERVER", No(SNAPSHOTS)),
    variable(
        "AMBASSADOR_DRAIN_TIME",
        Read(
            "`600`",
            "longest time in seconds that requests under way are waited for at the end (`--drain-time`)",
        ),
    ),
    variable("AMBASSADOR_EDS_BYPASS", No(ENDPOINTS)),
    variable("AMBASSADOR_ENVOY_API_VERSION", No(OLD)),
    variable(
        "AMBASSADOR_ENVOY_BASE_ID",
        Read(
            "a free one",
            "Envoy's base id, of the memory that hot restarts share",
        ),
    ),
    variable(
        "AMBASSADOR_ENVOY_BIND_ADDRESS",
        Read("`0.0.0.0`", "address that Listeners bind (`--bind`)"),
    ),
    variable("AMBASSADOR_FAST_RECONFIGURE", No(PACE)),
    variable(
        "AMBASSADOR_FIELD_SELECTOR",
        Read(
            "–",
            "only objects of the cluster with these fields count, of every kind; a folder has no field selectors",
        ),
    ),
    variable("AMBASSADOR_FORCE_ENDPOINTS", No(ENDPOINTS)),
    variable(
        "AMBASSADOR_FORCE_SECRET_VALIDATION",
        No("certificates are always checked"),
    ),
    variable("AMBASSADOR_GRPC_METRICS_SINK", No(OLD)),
    variable(
        "AMBASSADOR_HEALTHCHECK_BIND_ADDRESS",
        Read(
            "`127.0.0.1`",
            "address of health, diagnostics and metrics; `--admin` counts before it",
        ),
    ),
    variable(
        "AMBASSADOR_HEALTHCHECK_BIND_PORT",
        Read(
            "`8877`",
            "port of health, diagnostics and metrics; `--admin` counts before it",
        ),
    ),
    variable(
        "AMBASSADOR_HEALTHCHECK_IP_FAMILY",
        Read(
            "`ANY`",
            "`IPV6_ONLY` makes `::1` of `127.0.0.1` where that is the default",
        ),
    ),
    variable(
        "AMBASSADOR_ID",
        Read("`default`", "resources with this `ambassador_id` count"),
    ),
    variable(
        "AMBASSADOR_ISTIO_SECRET_DIR",
        No("certificates come from Secrets; write one for Istio's"),
    ),
    variable(
        "AMBASSADOR_JSON_LOGGING",
        Read("`false`", "nuncio's log in JSON"),
    ),
    variable(
        "AMBASSADOR_KNATIVE_SUPPORT",
        No("nuncio does not read Knative's resources"),
    ),
    variable(
        "AMBASSADOR_LABEL_SELECTOR",
        Read("–", "only resources with these labels count, of every kind"),
    ),
    variable("AMBASSADOR_LEGACY_MODE", No(OLD)),
    variable("AMBASSADOR_LOG_RESOURCES", No(DEBUG)),
    variable(
        "AMBASSADOR_NAMESPACE",
        Read("`default`", "nuncio's own namespace"),
    ),
    variable("AMBASSADOR_NO_KUBEWATCH", No(OLD)),
    variable(
        "AMBASSADOR_READY_LOG",
        Read("`false`", "access log of the ready port"),
    ),
    variable(
        "AMBASSADOR_READY_PORT",
        Read(
            "`8006`",
            "port on `127.0.0.1` where Envoy answers `GET /ready`: 200 while it serves, 503 while it drains; `0` for none",
        ),
    ),
    variable("AMBASSADOR_RECONFIG_MAX_DELAY", No(PACE)),
    variable("AMBASSADOR_RESTART_TIME", No(OLD)),
    variable("AMBASSADOR_SHUTDOWN_TIME", No(OLD)),
    variable(
        "AMBASSADOR_SINGLE_NAMESPACE",
        Read(
            "–",
            "anything but empty: only resources of its own namespace count",
        ),
    ),
    variable("AMBASSADOR_SNAPSHOT_COUNT", No(SNAPSHOTS)),
    variable(
        "AMBASSADOR_UPDATE_MAPPING_STATUS",
        Read(
            "`true`",
            "`false` leaves the status of Mappings alone, which without the variable Emissary does too; a folder has none",
        ),
    ),
    variable("AMBASSADOR_VERIFY_SSL_FALSE", No(OLD)),
    variable("APPDIR", No(FOLDERS)),
    variable(
        "CACHE_KEY_PREFIX",
        Read(
            "–",
            "`nuncio ratelimit`: begins every key in Redis (`--key-prefix`)",
        ),
    ),
    variable(
        "CONSUL_CACERT",
        Read(
            "the system's",
            "authorities, in PEM, that vouch for Consul agents at `https://`",
        ),
    ),
    variable(
        "CONSUL_CLIENT_CERT",
        Read("–", "a certificate, in PEM, to show to Consul agents"),
    ),
    variable(
        "CONSUL_CLIENT_KEY",
        Read("–", "the key of that certificate, in PEM"),
    ),
    variable(
        "CONSUL_HTTP_TOKEN",
        Read("–", "the token that Consul agents are asked with"),
    ),
    variable(
        "CONSUL_HTTP_TOKEN_FILE",
        Read("–", "a file with that token, read for each question"),
    ),
    variable(
        "DD_ENTITY_ID",
        Read(
            "–",
            "tag `dd.internal.entity_id` of all statistics, with `DOGSTATSD`",
        ),
    ),
    variable(
        "DIAGD_ONLY",
        No("`nuncio check` says what is wrong with resources without an Envoy"),
    ),
    variable(
        "DISABLE_CA_MANAGEMENT",
        Read(
            "–",
            "`nuncio apiext` leaves its authority to others (`--no-ca-management`)",
        ),
    ),
    variable(
        "DISABLE_CRD_MANAGEMENT",
        Read(
            "–",
            "`nuncio apiext` leaves it to others to tell the CRDs whom to trust (`--no-crd-management`)",
        ),
    ),
    variable(
        "DISABLE_STRICT_LABEL_SELECTORS",
        Read(
            "`false`",
            "a `mappingSelector` takes a Mapping that has any of its labels, not all",
        ),
    ),
    variable(
        "DOGSTATSD",
        Read("`false`", "StatsD with tags, as Datadog's agent reads it"),
    ),
    variable("ENVOY_BOOTSTRAP_FILE", No(FOLDERS)),
    variable(
        "ENVOY_CONCURRENCY",
        Read(
            "the number of cores",
            "worker threads of Envoy (`--concurrency`)",
        ),
    ),
    variable("ENVOY_DIR", No(FOLDERS)),
    variable(
        "EXPIRATION_JITTER_MAX_SECONDS",
        Read(
            "`300`",
            "`nuncio ratelimit`: keys in Redis expire up to so many seconds after their window (`--expiration-jitter`)",
        ),
    ),
    variable(
        "KUBECONFIG",
        Read(
            "–",
            "the cluster of `nuncio apiext` where it is not in a pod (`--kubeconfig`)",
        ),
    ),
    variable(
        "LIMIT_RESPONSE_HEADERS_ENABLED",
        Read(
            "`false`",
            "`nuncio ratelimit`: `true` says in headers how much is left (`--response-headers`)",
        ),
    ),
    variable(
        "MERGE_DOMAIN_CONFIG",
        Read(
            "`false`",
            "`nuncio ratelimit`: `true` lets several files have limits of one domain (`--merge-domains`)",
        ),
    ),
    variable(
        "NEAR_LIMIT_RATIO",
        Read(
            "`0.8`",
            "`nuncio ratelimit`: from which part of a limit on hits are near it (`--near-limit-ratio`)",
        ),
    ),
    variable(
        "NUNCIO_ENVOY",
        Read("`envoy` in `PATH`", "the Envoy program (`--envoy`)"),
    ),
    variable(
        "NUNCIO_GATEWAY_ADDRESSES",
        Read(
            "–",
            "addresses and ranges that Gateways are given, one each (`--gateway-addresses`)",
        ),
    ),
    variable(
        "NUNCIO_GATEWAY_SERVICES",
        Read(
            "–",
            "type of the Service that each Gateway gets (`--gateway-services`)",
        ),
    ),
    variable(
        "NUNCIO_LIMITS",
        Read(
            "–",
            "files of limits, by which nuncio counts requests itself where no RateLimitService says who does (`--limits`)",
        ),
    ),
    variable(
        "NUNCIO_NO_ENVOY",
        Read(
            "`false`",
            "`true` starts no Envoy: only those elsewhere are served (`--no-envoy`)",
        ),
    ),
    variable(
        "NUNCIO_NO_STATUS",
        Read(
            "`false`",
            "`true` writes nothing into the cluster: no status, no Events (`--no-status`)",
        ),
    ),
    variable(
        "NUNCIO_NO_VALIDATION",
        Read(
            "–",
            "`nuncio apiext` converts, and validates nothing (`--no-validation`)",
        ),
    ),
    variable(
        "NUNCIO_POD_LABELS_FILE",
        Read(
            "–",
            "labels of nuncio's own pod, `key=\"value\"` lines (`--pod-labels`)",
        ),
    ),
    variable(
        "NUNCIO_POD_NAME",
        Read(
            "made of the hostname",
            "name of nuncio's own pod, which no other replica has (`--pod-name`)",
        ),
    ),
    variable(
        "NUNCIO_RATELIMIT_REDIS",
        Read(
            "–",
            "Redis, where replicas count together (`--redis` of `nuncio run` and `nuncio ratelimit`)",
        ),
    ),
    variable(
        "NUNCIO_SHUTDOWN_DELAY",
        Read(
            "`0`",
            "seconds from the signal to end until the drain, for load balancers to see that it is not ready (`--shutdown-delay`)",
        ),
    ),
    variable(
        "NUNCIO_STATE_DIR",
        Read(
            "below `XDG_STATE_HOME` or `HOME`",
            "folder for sockets and for what a restart needs (`--state-dir`)",
        ),
    ),
    variable(
        "NUNCIO_STATUS_WRITES",
        Read(
            "`20`",
            "so many statuses are written in a second at most, five times as many at once (`--status-writes`)",
        ),
    ),
    variable(
        "NUNCIO_XDS_CERT",
        Read("–", "certificate of `--xds-listen` (`--xds-cert`)"),
    ),
    variable(
        "NUNCIO_XDS_CLIENT_CA",
        Read(
            "–",
            "authorities that vouch for Envoys elsewhere (`--xds-client-ca`)",
        ),
    ),
    variable(
        "NUNCIO_XDS_KEY",
        Read("–", "private key of `--xds-listen` (`--xds-key`)"),
    ),
    variable(
        "NUNCIO_XDS_LISTEN",
        Read(
            "–",
            "address on which Envoys elsewhere are served (`--xds-listen`)",
        ),
    ),
    variable(
        "POD_NAMESPACE",
        Read(
            "that of the service account, or `emissary-system`",
            "the namespace of `nuncio apiext`, its Service and its Secret (`--namespace`)",
        ),
    ),
    variable("SCOUT_DISABLE", No("nuncio reports to nobody")),
    variable(
        "SHADOW_MODE",
        Read(
            "`false`",
            "`nuncio ratelimit`: `true` lets everything pass, and counts what would not have (`--shadow-mode`)",
        ),
    ),
    variable(
        "STATSD_ENABLED",
        Read(
            "`false`",
            "Envoy sends its statistics to `STATSD_HOST` by UDP",
        ),
    ),
    variable(
        "STATSD_FLUSH_INTERVAL",
        Read("`1`", "seconds between two reports, up to 299"),
    ),
    variable(
        "STATSD_HOST",
        Read(
            "`statsd-sink`",
            "name or address; looked up once, at the start, and without an answer there is a warning and no StatsD",
        ),
    ),
    variable(
        "STATSD_PORT",
        Read(
            "`8125`",
            "port of `STATSD_HOST`, which Emissary took for 8125",
        ),
    ),
    variable("ambassador_root", No(FOLDERS)),
    variable("envoy_config_file", No(FOLDERS)),
    variable("snapshot_dir", No(FOLDERS)),
];

const AGENT: &str = "there is no agent";
const APIEXT: &str = "nuncio reads every version itself, and waits for no webhook";
const DEBUG: &str = "`AES_LOG_LEVEL` says how much is logged";
const DIAGD: &str = "diagnostics are on the port of health (`AMBASSADOR_HEALTHCHECK_BIND_PORT`)";
const ENDPOINTS: &str = "endpoints always come by EDS, apart from all else";
const FOLDERS: &str = "what nuncio writes is in the folder that `--state-dir` names";
const OLD: &str = "Emissary 4 does not read it either";
const PACE: &str = "a change is taken up when it comes, and costs what it changes";
const SNAPSHOTS: &str = "nuncio keeps and serves no snapshots";

/// Those that are set and do nothing, with the reason.
pub fn without_effect(
    is_set: impl Fn(&str) -> bool,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES
        .iter()
        .filter_map(move |variable| match variable.effect {
            Effect::None(why) if is_set(variable.name) => Some((variable.name, why)),
            _ => None,
        })
}

/// The tables of `docs/environment.md`.
pub fn table() -> String {
    let mut read = "| variable | default | what it does |\n| --- | --- | --- |\n".to_owned();
    let mut none = "| variable | why it does nothing |\n| --- | --- |\n".to_owned();
    for Variable { name, effect } in VARIABLES {
        match effect {
            Effect::Read(default, what) => {
                read.push_str(&format!("| `{name}` | {default} | {what} |\n"));
            }
            Effect::None(why) => none.push_str(&format!("| `{name}` | {why} |\n")),
        }
    }
    format!(
        "## What is read\n\n{read}\n## What does nothing\n\n`nuncio run` says so in its log where \
         one of these is set.\n\n{none}"
    )
}
