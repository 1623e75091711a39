//! Filters that a Module switches on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use nuncio_api::getambassador::{
    BrotliSettings, GrpcStatsService, GrpcStatsSettings, GzipSettings,
};
use nuncio_model::Reason;
use nuncio_model::filter::{
    AccessAction, AddressAccess, AddressOf, AddressPrincipal, Brotli, CidrRange,
    CompressedResponses, FilterConfig, GrpcMethods, GrpcService, GrpcStats, Gzip, GzipLevel,
    GzipStrategy, HttpFilter,
};
use nuncio_model::value::LuaScript;

use super::{Keys, NAME, path};
use crate::fields::error_response;
use crate::fields::mistake::Mistake;
use crate::getambassador::Context;
use crate::store::AUTH_MODULE;

/// Who may send requests where nobody may.
const NOBODY: AddressAccess = AddressAccess {
    action: AccessAction::Allow,
    principals: Vec::new(),
};

/// Of a Module that cannot be read nobody knows whom it lets in: so it is nobody.
pub(super) fn without_module(context: &mut Context<'_>) -> Vec<Arc<str>> {
    let store = context.store;
    let written = store
        .unread("Module")
        .filter(|origin| matches!(&*origin.resource.name, NAME | AUTH_MODULE));
    let Some(origin) = written.chain(store.unseen("Module").cloned()).next() else {
        return Vec::new();
    };
    context
        .report
        .error(
            &origin,
            Reason::NotBound,
            "a Module may be there that cannot be read, and none is in effect: it is not known whom it \
             lets in, and requests are answered with 403",
        )
        .help("see what keeps it from being read");
    let config = FilterConfig::AddressAccess(NOBODY);
    let name: Arc<str> = config.name().into();
    let filter = Arc::new(HttpFilter { origin, config });
    context.gateway.filters.insert(Arc::clone(&name), filter);
    vec![name]
}

impl Keys<'_, '_, '_> {
    /// The names of the filters, in Emissary's order.
    pub(super) fn filters(&mut self) -> Vec<Arc<str>> {
        let config = self.config;
        let mut filters = Vec::new();
        // `false` means off; Emissary goes by the presence of the key.
        if config.enable_grpc_http11_bridge == Some(true) {
            filters.push(("enable_grpc_http11_bridge", FilterConfig::GrpcHttp1Bridge));
        }
        if config.enable_grpc_web == Some(true) {
            filters.push(("enable_grpc_web", FilterConfig::GrpcWeb));
        }
        if let Some(spec) = &config.grpc_stats {
            filters.push(("grpc_stats", FilterConfig::GrpcStats(self.grpc_stats(spec))));
        }
        let script = config.lua_scripts.as_deref();
        if let Some(script) = script.filter(|script| !script.trim().is_empty()) {
            let script = LuaScript::new(script).map_err(Mistake::at(path("lua_scripts")));
            let script = self.take(script);
            filters.extend(script.map(|script| ("lua_scripts", FilterConfig::Lua(script))));
        }
        if let Some(spec) = &config.gzip {
            let gzip = self.gzip(spec);
            filters.push(("gzip", FilterConfig::Gzip(gzip)));
        }
        if let Some(spec) = &config.brotli {
            let brotli = self.brotli(spec);
            filters.push(("brotli", FilterConfig::Brotli(brotli)));
        }
        if config.buffer.is_some() {
            let buffer = self.buffer();
            filters.extend(buffer.map(|filter| ("buffer", filter)));
        }
        if let Some(specs) = &config.error_response_overrides {
            let key = "error_response_overrides";
            let (responses, mistakes) =
                error_response::read_all(&mut |path| self.context.file(path), &path(key), specs);
            for mistake in mistakes {
                self.take::<()>(Err(mistake));
            }
            filters.push((key, FilterConfig::ErrorResponses(responses)));
        }
        let access = self.address_access();
        filters.extend(access.map(|(key, access)| (key, FilterConfig::AddressAccess(access))));
        filters
            .into_iter()
            .map(|(key, config)| self.keep(key, config))
            .collect()
    }

    fn keep(&mut self, key: &str, config: FilterConfig) -> Arc<str> {
        let name: Arc<str> = config.name().into();
        let filter = HttpFilter {
            origin: self.object.at(path(key)),
            config,
        };
        let filters = &mut self.context.gateway.filters;
        filters.insert(Arc::clone(&name), Arc::new(filter));
        name
    }

    /// A service that is wrong is left out alone.
    fn grpc_stats(&mut self, spec: &GrpcStatsSettings) -> GrpcStats {
        let services = spec.services.as_deref().unwrap_or_default();
        let methods = if !services.is_empty() {
            let key = path("grpc_stats.services");
            let services = services.iter().enumerate().filter_map(|(index, service)| {
                let read = grpc_service(&format!("{key}[{index}]"), service);
                self.take(read)
            });
            GrpcMethods::Of(services.collect())
        } else if spec.all_methods == Some(true) {
            GrpcMethods::All
        } else {
            GrpcMethods::None
        };
        GrpcStats {
            methods,
            upstream_stats: spec.upstream_stats == Some(true),
        }
    }

    fn buffer(&mut self) -> Option<FilterConfig> {
        let spec = self.config.buffer.as_ref()?;
        if spec.max_request_time.is_some() {
            self.context
                .report
                .notice(
                    &self.object.at(path("buffer.max_request_time")),
                    Reason::NoEffect,
                    "max_request_time has no effect: Envoy has no such limit any more",
                )
                .help("it can be removed; timeout_ms limits a whole request");
        }
        if spec.max_request_bytes.is_none() {
            self.take::<()>(Err(Mistake::because(
                path("buffer.max_request_bytes"),
                Reason::MissingField,
                "missing required field: max_request_bytes",
                "write how many bytes a request may have",
            )));
        }
        let max_request_bytes =
            self.positive("buffer.max_request_bytes", spec.max_request_bytes)?;
        Some(FilterConfig::Buffer { max_request_bytes })
    }

    fn gzip(&mut self, spec: &GzipSettings) -> Gzip {
        let mut levels = vec![
            ("DEFAULT_COMPRESSION".to_owned(), GzipLevel::Default),
            ("DEFAULT".to_owned(), GzipLevel::Default),
            ("BEST_SPEED".to_owned(), GzipLevel::Level(1)),
            ("SPEED".to_owned(), GzipLevel::Level(1)),
            ("BEST_COMPRESSION".to_owned(), GzipLevel::Level(9)),
            ("BEST".to_owned(), GzipLevel::Level(9)),
        ];
        levels.extend((1..=9).map(|n| (format!("COMPRESSION_LEVEL_{n}"), GzipLevel::Level(n))));
        let levels: Vec<_> = levels
            .iter()
            .map(|(word, level)| (&**word, *level))
            .collect();
        let level = self.word(
            "gzip.compression_level",
            spec.compression_level.as_deref(),
            &levels,
        );
        let strategy = self.word(
            "gzip.compression_strategy",
            spec.compression_strategy.as_deref(),
            &[
                ("DEFAULT_STRATEGY", GzipStrategy::Default),
                ("DEFAULT", GzipStrategy::Default),
                ("FILTERED", GzipStrategy::Filtered),
                ("HUFFMAN_ONLY", GzipStrategy::HuffmanOnly),
                ("HUFFMAN", GzipStrategy::HuffmanOnly),
                ("RLE", GzipStrategy::Rle),
                ("FIXED", GzipStrategy::Fixed),
            ],
        );
        Gzip {
            memory_level: self.between("gzip.memory_level", spec.memory_level, 1, 9),
            window_bits: self.between("gzip.window_bits", spec.window_bits, 9, 15),
            level: level.unwrap_or_default(),
            strategy: strategy.unwrap_or_default(),
            responses: CompressedResponses {
                min_content_length: self.between(
                    "gzip.min_content_length",
                    spec.min_content_length,
                    0,
                    u32::MAX,
                ),
                content_types: content_types(spec.content_type.as_deref()),
                disable_on_etag_header: spec.disable_on_etag_header == Some(true),
                remove_accept_encoding_header: spec.remove_accept_encoding_header == Some(true),
            },
        }
    }

    fn brotli(&mut self, spec: &BrotliSettings) -> Brotli {
        Brotli {
            quality: self.between("brotli.quality", spec.quality, 0, 11),
            window_bits: self.between("brotli.window_bits", spec.window_bits, 10, 24),
            responses: CompressedResponses {
                min_content_length: self.between(
                    "brotli.min_content_length",
                    spec.min_content_length,
                    0,
                    u32::MAX,
                ),
                content_types: content_types(spec.content_type.as_deref()),
                disable_on_etag_header: spec.disable_on_etag_header == Some(true),
                remove_accept_encoding_header: spec.remove_accept_encoding_header == Some(true),
            },
        }
    }

    fn between(&mut self, key: &str, value: Option<i64>, least: u32, most: u32) -> Option<u32> {
        let value = value?;
        self.take(
            u32::try_from(value)
                .ok()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| {
                    Mistake::new(
                        path(key),
                        format!("{value} is out of range"),
                        format!("write a whole number from {least} to {most}"),
                    )
                }),
        )
    }

    /// Who may send requests. An entry that is wrong allows or denies nobody: where only some are
    /// allowed, a mistake opens nothing.
    fn address_access(&mut self) -> Option<(&'static str, AddressAccess)> {
        let config = self.config;
        // Whoever may be meant by one that cannot be read, it is not everybody.
        let written = self.object.spec.pointer("/config/ip_allow");
        if config.ip_allow.is_none() && written.is_some_and(|value| !value.is_null()) {
            return Some(("ip_allow", NOBODY));
        }
        let given = |list: &Option<Vec<_>>| list.clone().filter(|entries| !entries.is_empty());
        let (key, action, entries) = match (given(&config.ip_allow), given(&config.ip_deny)) {
            (Some(entries), deny) => {
                if deny.is_some() {
                    self.take::<()>(Err(Mistake::because(
                        path("ip_deny"),
                        Reason::Conflict,
                        "ip_allow and ip_deny may not both be set; ip_allow counts",
                        "remove one of them",
                    )));
                }
                ("ip_allow", AccessAction::Allow, entries)
            }
            (None, Some(entries)) => ("ip_deny", AccessAction::Deny, entries),
            (None, None) => return None,
        };
        let mut principals = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let read = principal(key, index, entry);
            principals.extend(self.take(read));
        }
        if action == AccessAction::Deny && principals.is_empty() {
            return None;
        }
        Some((key, AddressAccess { action, principals }))
    }
}

fn principal(
    key: &str,
    index: usize,
    entry: &BTreeMap<String, String>,
) -> Result<AddressPrincipal, Mistake> {
    const HELP: &str = "write peer: or remote: and a range, such as remote: 10.0.0.0/8";
    let field = format!("{}[{index}]", path(key));
    let mut entries = entry.iter();
    let (Some((whose, range)), None) = (entries.next(), entries.next()) else {
        return Err(Mistake::new(
            field,
            format!("{key} principals must be separate list elements"),
            HELP,
        ));
    };
    let at = format!("{field}.{whose}");
    let whose = match whose.as_str() {
        "peer" => AddressOf::Peer,
        "remote" => AddressOf::Client,
        other => {
            return Err(Mistake::new(
                field,
                format!("{key} principal type {other} unknown: must be peer or remote"),
                HELP,
            ));
        }
    };
    let range = cidr(range).ok_or_else(|| {
        Mistake::new(
            at,
            format!("{key} principal {range} is not valid: it is not a range of addresses"),
            HELP,
        )
    })?;
    Ok(AddressPrincipal { whose, range })
}

/// An address, or a range of them.
fn cidr(text: &str) -> Option<CidrRange> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.trim().parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix_len = match length {
        Some(length) => length
            .trim()
            .parse()
            .ok()
            .filter(|length| *length <= most)?,
        None => most,
    };
    Some(CidrRange {
        address,
        prefix_len,
    })
}

/// A service that stands at `field`.
fn content_types(given: Option<&[String]>) -> Vec<Arc<str>> {
    let given = given.unwrap_or_default().iter();
    given.map(|text| text.as_str().into()).collect()
}

fn grpc_service(field: &str, spec: &GrpcStatsService) -> Result<GrpcService, Mistake> {
    let missing = |name: &str, help| {
        let (field, message) = (format!("{field}.{name}"), "it names nothing");
        Mistake::because(field, Reason::MissingField, message, help)
    };
    if spec.name.is_empty() {
        return Err(missing(
            "name",
            "write a service with its package, such as shop.Orders",
        ));
    }
    if spec.method_names.is_empty() {
        return Err(missing(
            "method_names",
            "write the methods that count for themselves",
        ));
    }
    Ok(GrpcService {
        name: spec.name.as_str().into(),
        methods: spec
            .method_names
            .iter()
            .map(|m| m.as_str().into())
            .collect(),
    })
}
