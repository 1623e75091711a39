//! A reading of everything that the diagnostics show, so that an answer is of one moment.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};
use nuncio_model::Report;

use super::live::{self, Endpoints, LogLevels, Stats};
use crate::admin::Admin;
use crate::engine::Served;
use crate::identity::Identity;
use crate::supervisor;

pub(super) struct Scene {
    pub(super) identity: Arc<Identity>,
    pub(super) served: Arc<Served>,
    pub(super) report: Report,
    pub(super) xds: nuncio_xds::Status,
    pub(super) envoy: supervisor::State,
    /// Since Envoy answered the last change.
    pub(super) since_update: Option<Duration>,
    pub(super) stats: Option<Stats>,
    pub(super) endpoints: Option<Endpoints>,
    pub(super) log_levels: LogLevels,
    /// Envoy's log was to have another level, and has not.
    pub(super) level_refused: bool,
    pub(super) banner: Option<String>,
    /// How the one who asks came here.
    pub(super) scheme: String,
    pub(super) host: String,
}

/// What has to be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) stats: bool,
    pub(super) log_levels: bool,
    pub(super) banner: bool,
    pub(super) endpoints: bool,
}

impl Needs {
    /// For a page.
    pub(super) const PAGE: Self = Self {
        stats: true,
        log_levels: true,
        banner: true,
        endpoints: true,
    };

    /// For one key of the JSON, or for all.
    pub(super) fn of(key: Option<&str>) -> Self {
        let one_of = |keys: &[&str]| key.is_none_or(|key| key == "webui" || keys.contains(&key));
        Self {
            stats: one_of(&["cluster_stats", "cluster_info", "route_info"]),
            log_levels: one_of(&["loginfo"]),
            banner: one_of(&["banner_content"]),
            endpoints: false,
        }
    }
}

impl Scene {
    pub(super) async fn read(admin: &Admin, headers: &HeaderMap, needs: Needs) -> Self {
        let served = Arc::clone(&admin.served.borrow());
        let xds = admin.xds.borrow().clone();
        let envoy = admin.envoy.borrow().clone();
        let stats = async {
            match needs.stats {
                true => live::stats(&admin.envoy_admin).await,
                false => None,
            }
        };
        let log_levels = async {
            match needs.log_levels {
                true => live::log_levels(&admin.envoy_admin).await,
                false => LogLevels::new(),
            }
        };
        let banner = async {
            match &admin.banner {
                Some(banner) if needs.banner => banner.read().await,
                _ => None,
            }
        };
        let endpoints = async {
            match needs.endpoints {
                true => live::endpoints(&admin.envoy_admin).await,
                false => None,
            }
        };
        let (stats, log_levels, banner, endpoints) =
            futures::join!(stats, log_levels, banner, endpoints);
        let header =
            |name: http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            identity: Arc::clone(&admin.identity),
            report: admin.report_of(&served),
            served,
            xds,
            envoy,
            since_update: admin.gauges.since_acknowledged(),
            stats,
            endpoints,
            log_levels,
            level_refused: false,
            banner,
            scheme: header(http::HeaderName::from_static("x-forwarded-proto"))
                .unwrap_or("http")
                .to_ascii_lowercase(),
            host: header(header::HOST).unwrap_or("*").to_owned(),
        }
    }
}
