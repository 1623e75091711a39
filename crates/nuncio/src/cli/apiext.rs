//! What is about the definitions of kinds in a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::builder::FalseyValueParser;
use nuncio_api::getambassador::crd::WebhookService;

use super::FileFormat;

/// Print the CustomResourceDefinitions of getambassador.io, for `kubectl apply`.
///
/// They take the place of Emissary's, with the same versions and the same stored one, so that a
/// cluster with objects of any version keeps them. Beside v3alpha1 they have v2 and v1, which
/// `nuncio apiext` converts:
///
///   nuncio crds | kubectl apply --server-side --force-conflicts -f -
///
/// Exit codes: 0 when they are printed, 2 when the command line is wrong.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct CrdsArgs {
    /// The Service of `nuncio apiext`, as NAMESPACE/NAME or NAMESPACE/NAME:PORT.
    #[arg(
        long,
        value_name = "SERVICE",
        default_value = "emissary-system/emissary-apiext"
    )]
    pub conversion_webhook: ServiceName,

    /// Only v3alpha1, which needs no `nuncio apiext`. The API server refuses it where objects were
    /// stored as v2.
    #[arg(long, conflicts_with = "conversion_webhook")]
    pub v3alpha1_only: bool,

    /// Their format.
    #[arg(long, value_enum, default_value_t = FileFormat::Yaml)]
    pub format: FileFormat,
}

/// A Service that the API server asks: NAMESPACE/NAME or NAMESPACE/NAME:PORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName(pub WebhookService);

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" names no Service: write one such as emissary-system/emissary-apiext, \
                 with :PORT if it is not 443"
            )
        };
        let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
        let (name, port) = match name.split_once(':') {
            Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0)),
            None => (name, Some(443)),
        };
        let valid = |label: &str| {
            !label.is_empty()
                && label
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !valid(namespace) || !valid(name) {
            return Err(wrong());
        }
        Ok(Self(WebhookService {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port: port.ok_or_else(wrong)?,
        }))
    }
}

/// Serve the webhooks of the API server: conversion between versions, and validation.
///
/// It takes the place of Emissary's apiext: it makes and renews its own authority, in the Secret
/// emissary-ingress-webhook-ca, tells the CRDs of it, and converts getambassador.io v1, v2 and
/// v3alpha1 into each other. Objects that nuncio could not serve are refused in the words of
/// `nuncio check`; when no replica answers, everything is taken. Any number of replicas may run.
///
/// /probes/live and /probes/ready are on --probes; ready is who every CRD trusts.
///
/// Exit codes: 0 after an orderly end, 1 when it could not start or go on, 2 for a wrong command
/// line.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct ApiextArgs {
    /// Its own Service, as NAME, NAMESPACE/NAME or NAMESPACE/NAME:PORT; without a namespace, its own.
    #[arg(value_name = "SERVICE", default_value = "emissary-apiext")]
    pub service: String,

    /// The namespace of its Service and its Secret; without, that of its service account, or
    /// emissary-system.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,

    /// Which CRDs it tells whom to trust, as a label selector.
    #[arg(
        long,
        value_name = "SELECTOR",
        default_value = "app.kubernetes.io/part-of=emissary-ingress"
    )]
    pub crd_label_selector: String,

    /// Path of a kubeconfig; without, the service account of its pod is used.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Address of the webhooks.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// Address of the probes.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub probes: SocketAddr,

    /// Leave its authority to others, such as cert-manager, who keep the Secret.
    #[arg(long, env = "DISABLE_CA_MANAGEMENT", value_parser = FalseyValueParser::new())]
    pub no_ca_management: bool,

    /// Leave it to others to tell the CRDs whom to trust.
    #[arg(long, env = "DISABLE_CRD_MANAGEMENT", value_parser = FalseyValueParser::new())]
    pub no_crd_management: bool,

    /// Convert, and validate nothing.
    #[arg(long, env = "NUNCIO_NO_VALIDATION", value_parser = FalseyValueParser::new())]
    pub no_validation: bool,

    /// How long to go on serving after SIGTERM, in seconds, until the API server asks others.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub leave_after: u64,

    /// How much to log: error, warn, info, debug, trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "AES_LOG_LEVEL"
    )]
    pub log_level: String,
}
