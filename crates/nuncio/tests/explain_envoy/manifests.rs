//! Random manifests: small worlds of a Host and its Mappings, beside one another in one gateway.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nuncio_echo::certs::Pair;
use serde_json::{Value, json};

use crate::dice::Dice;

/// What paths are made of, matched and asked for.
pub(crate) const PIECES: &[&str] = &[
    "/", "/a", "/a/", "/ab", "/A", "//", "/a%2Fb", "/b", "/b/", "/b/../a", "/./b", "/%41", "/a.b",
    "/-", "/a%2fb/", "/..", "/b!",
];

const REGEXES: &[&str] = &[
    "/a.*",
    ".*",
    "/a",
    "/a/?",
    "(?i)/AB.*",
    "/(a|b)/.*",
    ".*/b",
    "//a.*/",
    "/[^/]+/b.*",
];

pub(crate) const VALUES: &[&str] = &["1", "2", "12", "1,2"];

/// Texts of added headers.
const FORMATS: &[&str] = &[
    "1",
    "a%%b",
    "%REQ(:path)%",
    "%REQ(:PATH):3%",
    "%REQ(:authority)%",
    "%REQ(:method)% x",
    "%REQ(X-One)%",
    "<%REQ(x-one)%>",
    "%REQ(x-none?x-two)%",
    "%REQ(x-none?:path)%",
    "%REQ(x-none)%",
    "%REQ(x-two?x-one):1%",
    "%REQUEST_HEADER(x-one)%",
    "%REQ(accept)%",
    "%REQ(accept-language)%",
    "%REQ(x-new)%",
    "%REQ(x-envoy-original-path?:path)%",
    "%REQ(x-forwarded-proto)%",
];

/// Of which the request alone says nothing.
pub(crate) const OPEN: &str = "%PROTOCOL%";

const REQUEST_HEADERS: &[&str] = &["x-one", "x-two", "x-new", "accept", "user-agent", "cookie"];

const RESPONSE_HEADERS: &[&str] = &[
    "x-out",
    "x-inner",
    "cache-control",
    "location",
    "access-control-allow-origin",
];

/// Where requests may go.
pub(crate) struct Places {
    pub(crate) http: u16,
    pub(crate) https: u16,
    /// Behind a trusted proxy.
    pub(crate) deep: u16,
    pub(crate) secure: u16,
    pub(crate) insecure: u16,
    /// Of the upstreams `one`, `two` and `shadow`.
    pub(crate) upstreams: [u16; 3],
}

/// All manifests of a gateway, and what of them its requests go by.
pub(crate) struct Manifests {
    pub(crate) objects: Vec<Value>,
    /// Names that Hosts are for.
    pub(crate) hosts: Vec<String>,
    /// Whether Envoy's own headers are left out.
    pub(crate) suppressed: bool,
    /// Statuses in place of which a Mapping answers something else, by its name.
    pub(crate) overridden: BTreeMap<String, Vec<u16>>,
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "getambassador.io/v3alpha1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

impl Manifests {
    pub(crate) fn new(
        dice: &mut Dice,
        places: &Places,
        certificate: &Pair,
        worlds: usize,
        plain: bool,
    ) -> Self {
        let mut all = Self {
            objects: Vec::new(),
            hosts: Vec::new(),
            suppressed: false,
            overridden: BTreeMap::new(),
        };
        all.fixed(places, certificate);
        if !plain {
            all.module(dice);
        }
        for number in 0..worlds {
            all.world(dice, places, number);
        }
        all
    }

    /// As a file.
    pub(crate) fn text(&self) -> String {
        let documents = self.objects.iter();
        documents.map(|object| format!("{object}\n---\n")).collect()
    }

    fn fixed(&mut self, places: &Places, certificate: &Pair) {
        for (name, port, protocol, model, depth) in [
            ("http", places.http, "HTTP", "XFP", 0),
            ("https", places.https, "HTTPS", "XFP", 0),
            ("deep", places.deep, "HTTP", "XFP", 1),
            ("secure", places.secure, "HTTP", "SECURE", 0),
            ("insecure", places.insecure, "HTTPS", "INSECURE", 0),
        ] {
            let mut spec = json!({
                "port": port, "protocol": protocol, "securityModel": model,
                "hostBinding": { "namespace": { "from": "ALL" } },
            });
            if depth > 0 {
                spec["l7Depth"] = depth.into();
            }
            self.objects.push(object("Listener", name, spec));
        }
        for (name, port) in ["one", "two", "shadow"].into_iter().zip(places.upstreams) {
            self.objects.push(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
                "spec": { "ports": [{ "name": "http", "port": 80 }] },
            }));
            self.objects.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
                "addressType": "IPv4",
                "ports": [{ "name": "http", "port": port }],
                "endpoints": [{ "addresses": ["127.0.0.1"] }],
            }));
        }
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "empty" },
            "spec": { "ports": [{ "port": 80 }] },
        }));
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "certificate" },
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": BASE64_STANDARD.encode(&certificate.cert_pem),
                "tls.key": BASE64_STANDARD.encode(&certificate.key_pem),
            },
        }));
    }

    fn module(&mut self, dice: &mut Dice) {
        let mut config = json!({});
        for name in [
            "merge_slashes",
            "strip_matching_host_port",
            "reject_requests_with_escaped_slashes",
            "suppress_envoy_headers",
        ] {
            if dice.percent(50) {
                config[name] = true.into();
            }
        }
        self.suppressed = config["suppress_envoy_headers"] == true;
        if dice.percent(50) {
            config["use_remote_address"] = false.into();
        }
        if dice.percent(50) {
            let action = dice.pick(&["DROP_HEADER", "REJECT_REQUEST"]);
            config["headers_with_underscores_action"] = action.into();
        }
        if dice.percent(50) {
            config["cors"] = cors(dice);
        }
        let module = object("Module", "ambassador", json!({ "config": config }));
        self.objects.push(module);
    }

    fn world(&mut self, dice: &mut Dice, places: &Places, number: usize) {
        let hostname = match dice.below(4) {
            0 => format!("*.w{number}.example"),
            _ => format!("h{number}.example"),
        };
        let action = dice.pick(&["Route", "Route", "Route", "Route", "Redirect", "Reject"]);
        let mut host = json!({
            "hostname": hostname,
            "requestPolicy": { "insecure": { "action": action } },
        });
        if dice.percent(50) {
            host["tlsSecret"] = json!({ "name": "certificate" });
        }
        self.objects
            .push(object("Host", &format!("h{number}"), host));
        let mut mappings: Vec<Value> = Vec::new();
        for _ in 0..2 + dice.below(6) {
            let shares = !mappings.is_empty() && dice.percent(25);
            let mut spec = match shares {
                true => criteria_of(&mappings[dice.below(mappings.len())]),
                // Most of what nothing else takes.
                false if mappings.is_empty() => json!({ "hostname": hostname, "prefix": "/" }),
                false => criteria(dice, &hostname),
            };
            match dice.below(10) {
                0..3 => redirect(dice, &mut spec),
                3..5 if shares => {
                    spec["shadow"] = true.into();
                    spec["service"] = "shadow".into();
                }
                _ => forward(dice, places, &mut spec, shares),
            }
            edits(dice, &mut spec);
            if dice.percent(30) {
                spec["cors"] = cors(dice);
            }
            let name = format!("m{number}-{}", mappings.len());
            if spec["error_response_overrides"].is_array() {
                self.overridden.insert(name.clone(), vec![404, 503]);
            }
            self.objects.push(object("Mapping", &name, spec.clone()));
            mappings.push(spec);
        }
        self.hosts.push(match hostname.strip_prefix('*') {
            Some(suffix) => format!("a{suffix}"),
            None => hostname,
        });
    }
}

pub(crate) fn path(dice: &mut Dice) -> String {
    (0..1 + dice.below(3)).map(|_| dice.pick(PIECES)).collect()
}

const CRITERIA: &[&str] = &[
    "hostname",
    "prefix",
    "prefix_regex",
    "prefix_exact",
    "case_sensitive",
    "headers",
    "regex_headers",
    "method",
    "method_regex",
    "query_parameters",
    "regex_query_parameters",
    "precedence",
];

fn criteria_of(mapping: &Value) -> Value {
    let fields = mapping.as_object().unwrap().iter();
    let fields = fields.filter(|(name, _)| CRITERIA.contains(&name.as_str()));
    Value::Object(
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

fn criteria(dice: &mut Dice, hostname: &str) -> Value {
    let mut spec = json!({ "hostname": hostname, "prefix": path(dice) });
    match dice.below(10) {
        0..2 => spec["prefix"] = "/".into(),
        2..4 => {
            spec["prefix"] = dice.pick(REGEXES).into();
            spec["prefix_regex"] = true.into();
        }
        4 => spec["prefix_exact"] = true.into(),
        5 => spec["case_sensitive"] = false.into(),
        _ => {}
    }
    if dice.percent(15) {
        let name = dice.pick(&["x-one", "x-two", "accept", "accept-language"]);
        spec["headers"] = json!({ name: dice.pick(VALUES) });
    }
    if dice.percent(10) {
        let name = dice.pick(&["x-one", "accept", "accept-language", ":path"]);
        spec["regex_headers"] = json!({ name: dice.pick(&["1.*", "[12]", ".*b.*"]) });
    }
    if dice.percent(10) {
        spec["method"] = dice.pick(&["GET", "POST|PUT"]).into();
        spec["method_regex"] = true.into();
    }
    if dice.percent(10) {
        spec["query_parameters"] = json!({ "q": dice.pick(VALUES) });
    }
    if dice.percent(10) {
        spec["regex_query_parameters"] = json!({ "r": "1.*" });
    }
    if dice.percent(15) {
        spec["precedence"] = dice.below(3).into();
    }
    spec
}

const SUBSTITUTIONS: &[&str] = &["/x", r"/\1/x", r"\0\0", r"/\2", "/y?z=1"];

fn regex_rewrite(dice: &mut Dice, substitutions: &[&str]) -> Value {
    let pattern = dice.pick(&[
        "/(a|b)",
        "a",
        "/",
        "^/([a-z]+)/(.*)$",
        "//+",
        ".*",
        "%2[fF]",
    ]);
    let substitution = dice.pick(substitutions);
    json!({ "pattern": pattern, "substitution": substitution })
}

fn redirect(dice: &mut Dice, spec: &mut Value) {
    spec["host_redirect"] = true.into();
    spec["service"] = dice
        .pick(&[
            "new.example",
            "https://new.example",
            "http://new.example:8080",
            "new.example:443",
            "https://new.example:443",
        ])
        .into();
    match dice.below(5) {
        0 => spec["path_redirect"] = dice.pick(&["/fixed", "/fixed?x=1", "/"]).into(),
        1 => spec["prefix_redirect"] = dice.pick(&["/new/", "/new", "/"]).into(),
        2 => spec["regex_redirect"] = regex_rewrite(dice, &[SUBSTITUTIONS, &["", r"\1"]].concat()),
        _ => {}
    }
    if dice.percent(60) {
        let codes = [301, 302, 303, 307, 308];
        spec["redirect_response_code"] = codes[dice.below(codes.len())].into();
    }
}

fn forward(dice: &mut Dice, places: &Places, spec: &mut Value, shares: bool) {
    let [one, two, _] = places.upstreams;
    spec["service"] = match dice.below(10) {
        0 => "empty".into(),
        1 => format!("localhost:{one}").into(),
        2 => format!("127.0.0.1:{two}").into(),
        3..6 => "two".into(),
        _ => "one".into(),
    };
    if shares && dice.percent(70) {
        spec["weight"] = (20 + dice.below(5) * 10).into();
    }
    match dice.below(8) {
        0 => spec["rewrite"] = "".into(),
        1..3 => spec["rewrite"] = dice.pick(&["/new/", "/new", "/n?x=1"]).into(),
        3 => spec["regex_rewrite"] = regex_rewrite(dice, SUBSTITUTIONS),
        4 => spec["regex_rewrite"] = json!({ "pattern": "/.*", "substitution": "" }),
        _ => {}
    }
    match dice.below(6) {
        0 => spec["host_rewrite"] = dice.pick(&["inner.example", "inner.example:81"]).into(),
        1 => spec["auto_host_rewrite"] = true.into(),
        _ => {}
    }
    if dice.percent(40) {
        spec["allow_upgrade"] = json!(["websocket"]);
    }
    if dice.percent(25) {
        spec["timeout_ms"] = [0, 2500, 9000][dice.below(3)].into();
    }
    if dice.percent(15) {
        let body = json!({ "text_format": "it is %RESPONSE_CODE%" });
        spec["error_response_overrides"] = json!([
            { "on_status_code": 404, "body": body },
            { "on_status_code": 503, "body": body },
        ]);
    }
}

fn edits(dice: &mut Dice, spec: &mut Value) {
    for (what, names) in [("request", REQUEST_HEADERS), ("response", RESPONSE_HEADERS)] {
        if dice.percent(40) {
            let mut added = json!({});
            for _ in 0..1 + dice.below(3) {
                let open = what == "response" && dice.percent(5);
                let value = if open { OPEN } else { dice.pick(FORMATS) };
                let mut header = json!({ "value": value });
                if dice.percent(60) {
                    header["append"] = dice.percent(50).into();
                }
                added[dice.pick(names)] = header;
            }
            spec[format!("add_{what}_headers")] = added;
        }
        if dice.percent(25) {
            spec[format!("remove_{what}_headers")] = json!([dice.pick(names)]);
        }
    }
}

fn cors(dice: &mut Dice) -> Value {
    let mut cors = match dice.below(3) {
        0 => json!({ "origins": ["*"] }),
        1 => json!({ "origins": ["http://o.example", "http://p.example"] }),
        _ => json!({ "origins": ["http://o.example"], "credentials": true }),
    };
    for (name, value) in [
        ("methods", json!(["GET", "POST"])),
        ("headers", json!(["x-one"])),
        ("exposed_headers", json!(["x-out", "x-inner"])),
        ("max_age", json!("60")),
    ] {
        if dice.percent(50) {
            cors[name] = value;
        }
    }
    cors
}
