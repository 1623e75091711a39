//! A table that is searched by a tree answers what the same table answers that is searched route by
//! route, and what `explain` says of it: random tables and requests, side by side in one Envoy.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, Request};
use nuncio_echo::client::{Client, Protocol, Target, Tunnel};
use nuncio_envoy::{RouteSearch, StaticConfig, route_configuration_with};
use nuncio_envoy_api::json::body_to_json;
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};
use nuncio_explain::{Explainer, Outcome};
use nuncio_model::external::Asks;
use nuncio_model::route::{
    Action, HeaderEdits, HeaderMatch, PathMatch, QueryParameterMatch, Redirect, RedirectPath,
    RedirectStatus, Route, RouteMatch, RouteTable, RuntimeFraction, StringMatch, VirtualHost,
};
use nuncio_model::value::{Domain, Fraction, MatchHeaderName, PathLiteral, PathSegments, Regex};
use nuncio_model::{Origin, ResourceId};
use nuncio_sources::manifest;
use nuncio_translate::{Scope, Settings, Store};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::{DEADLINE, envoy, free_port};
use tokio::process::{Child, Command};

const TABLES: usize = 200;
const REQUESTS: usize = 60;

/// What paths are made of, matched and asked for.
const PIECES: &[&str] = &[
    "/", "/a", "/a/", "/ab", "/A", "//", "/a%2Fb", "/b", "/b/", "b", "a", "/%41", "/a.b", "/-",
];

const REGEXES: &[&str] = &[
    "/a.*",
    ".*",
    "/a",
    "^/a/?$",
    "/a$|/b",
    "(?i)/AB.*",
    "/(a|b)/.*",
    "[^?]*b",
    ".*/b",
    r"/a\b.*",
    "/a//b.*",
];

/// Before the name of the table, which is a host too.
const HOSTS: &[&str] = &["", "one.", "two.", "three.", "four."];

const VALUES: &[&str] = &["1", "2", "12", "1,2", ""];

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(select(PIECES), 1..4).prop_map(|pieces| {
        let path = pieces.concat();
        if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        }
    })
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    let literal = |path: String| PathLiteral::new(&path).unwrap();
    prop_oneof![
        6 => path().prop_map(move |path| PathMatch::Prefix(literal(path))),
        1 => Just(PathMatch::Prefix(literal("/".to_owned()))),
        1 => path().prop_map(move |path| PathMatch::Prefix(literal(format!("{path}?x")))),
        3 => path().prop_map(move |path| PathMatch::Exact(literal(path))),
        3 => path().prop_map(move |path| match PathSegments::new(&path).unwrap() {
            Some(path) => PathMatch::Segments(path),
            None => PathMatch::Prefix(literal(path)),
        }),
        2 => select(REGEXES).prop_map(|regex| PathMatch::Regex(Regex::new(regex).unwrap())),
        1 => Just(PathMatch::Connect),
    ]
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    let value = || select(VALUES).prop_map(Arc::<str>::from);
    let some = || value().prop_filter("not empty", |text| !text.is_empty());
    prop_oneof![
        value().prop_map(StringMatch::Exact),
        some().prop_map(StringMatch::Prefix),
        some().prop_map(StringMatch::Suffix),
        select(vec!["1.*", ".*", "[12]"])
            .prop_map(|regex| StringMatch::Regex(Regex::new(regex).unwrap())),
    ]
}

fn header_match() -> impl Strategy<Value = HeaderMatch> {
    let named = |name| MatchHeaderName::new(name).unwrap();
    let exact = move |name, value: &str| HeaderMatch {
        name: named(name),
        value: StringMatch::Exact(value.into()),
    };
    prop_oneof![
        4 => (select(vec!["x-one", "x-two"]), string_match())
            .prop_map(move |(name, value)| HeaderMatch { name: named(name), value }),
        1 => select(vec!["GET", "POST"]).prop_map(move |method| exact(":method", method)),
        1 => path().prop_map(move |path| exact(":path", &path)),
        3 => select(HOSTS).prop_map(move |host| exact(":authority", host)),
        1 => Just(HeaderMatch {
            name: named(":authority"),
            value: StringMatch::Prefix("t".into()),
        }),
    ]
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let some = |weight| prop::bool::weighted(weight);
    let query =
        (select(vec!["q", "r"]), string_match()).prop_map(|(name, value)| QueryParameterMatch {
            name: name.into(),
            value,
        });
    let fraction = select(vec![0, 100]).prop_map(|percent| RuntimeFraction {
        share: Fraction::percent(percent),
        runtime_key: None,
    });
    (
        path_match(),
        some(0.85),
        prop_oneof![3 => 0..1usize, 1 => 1..3usize],
        prop::collection::vec(header_match(), 2),
        prop::option::weighted(0.1, query),
        prop::option::weighted(0.15, fraction),
    )
        .prop_map(
            |(path, case_sensitive, headers, mut all, query, fraction)| {
                all.truncate(headers);
                RouteMatch {
                    // A regular expression says so itself.
                    case_sensitive: case_sensitive || matches!(path, PathMatch::Regex(_)),
                    path,
                    headers: all,
                    query_parameters: query.into_iter().collect(),
                    fraction,
                }
            },
        )
}

/// A route that says its number, or redirects to one with the path after the match.
fn action(number: usize, matches: &RouteMatch, redirects: bool) -> Action {
    let takes_prefix = matches!(matches.path, PathMatch::Prefix(_) | PathMatch::Segments(_));
    if redirects && takes_prefix {
        return Action::Redirect(Redirect {
            scheme: None,
            host: None,
            port: None,
            path: RedirectPath::Prefix(PathLiteral::new(&format!("/to-{number}")).unwrap()),
            status: RedirectStatus::Found,
        });
    }
    Action::DirectResponse {
        status: 200,
        body: number.to_string().into(),
    }
}

/// In the order of rank and length, as front ends have it, or in any.
fn routes() -> impl Strategy<Value = Vec<Arc<Route>>> {
    let one = (route_match(), any::<bool>());
    (prop::collection::vec(one, 1..120), any::<bool>()).prop_map(|(mut all, sorted)| {
        if sorted {
            let length = |matches: &RouteMatch| match &matches.path {
                PathMatch::Prefix(path) | PathMatch::Exact(path) => path.as_str().len(),
                PathMatch::Segments(path) => path.as_str().len(),
                PathMatch::Regex(regex) => regex.as_str().len(),
                PathMatch::Connect => 1,
            };
            all.sort_by_key(|(matches, _)| {
                (
                    std::cmp::Reverse(length(matches)),
                    matches.headers.is_empty(),
                )
            });
        }
        let origin = Origin::new(Arc::new(ResourceId::new("", "Test", "default", "table")));
        all.into_iter()
            .enumerate()
            .map(|(number, (matches, redirects))| {
                Arc::new(Route {
                    origin: origin.clone(),
                    action: action(number, &matches, redirects),
                    matches,
                    request_headers: HeaderEdits::default(),
                    response_headers: HeaderEdits::default(),
                    cors: None,
                    authorization: None,
                })
            })
            .collect()
    })
}

/// Many routes that differ, below one rare one each, or for many hosts: what must not cost the tree.
fn large() -> Vec<Vec<Arc<Route>>> {
    let origin = Origin::new(Arc::new(ResourceId::new("", "Test", "default", "table")));
    let plain = |path| RouteMatch {
        path,
        case_sensitive: true,
        headers: Vec::new(),
        query_parameters: Vec::new(),
        fraction: None,
    };
    let prefix = |path: &str| PathMatch::Prefix(PathLiteral::new(path).unwrap());
    let with_header = |value| RouteMatch {
        headers: vec![HeaderMatch {
            name: MatchHeaderName::new("x-one").unwrap(),
            value,
        }],
        ..plain(prefix("/"))
    };
    let regex = |text: &str| Regex::new(text).unwrap();
    let rare = [
        plain(PathMatch::Regex(regex(".*/b"))),
        plain(PathMatch::Regex(regex("^.*/b$"))),
        with_header(StringMatch::Exact("1".into())),
        with_header(StringMatch::Exact("".into())),
        with_header(StringMatch::Regex(regex(".*"))),
        RouteMatch {
            query_parameters: vec![QueryParameterMatch {
                name: "q".into(),
                value: StringMatch::Exact("1".into()),
            }],
            ..plain(prefix("/"))
        },
        RouteMatch {
            case_sensitive: false,
            ..plain(prefix("/A/b"))
        },
    ];
    let of_host = |number: u32, path: &str| RouteMatch {
        headers: vec![HeaderMatch {
            name: MatchHeaderName::authority(),
            value: StringMatch::Exact(format!("h{number}.").into()),
        }],
        ..plain(prefix(path))
    };
    let everywhere = || ["/a", "/"].map(|path| plain(prefix(path)));
    let many = || (0..300).map(|number| plain(prefix(&format!("/a/{number}"))));
    let mut tables: Vec<Vec<RouteMatch>> = rare
        .into_iter()
        .map(|first| {
            [first]
                .into_iter()
                .chain(many())
                .chain(everywhere())
                .collect()
        })
        .collect();
    // Hosts with a route for all paths, and hosts with one of their own beside it.
    let hosts = |path: &'static str| (0..300).map(move |number| of_host(number, path));
    let below = (0..300).map(|number| of_host(number, &format!("/a/{number}")));
    tables.push(hosts("/").collect());
    tables.push(hosts("/a/b").chain(hosts("/a")).chain(hosts("/")).collect());
    tables.push(
        below
            .chain(many())
            .chain(hosts("/"))
            .chain(everywhere())
            .collect(),
    );
    let table = |matches: Vec<RouteMatch>| {
        matches
            .into_iter()
            .enumerate()
            .map(|(number, matches)| {
                Arc::new(Route {
                    origin: origin.clone(),
                    action: action(number, &matches, false),
                    matches,
                    request_headers: HeaderEdits::default(),
                    response_headers: HeaderEdits::default(),
                    cors: None,
                    authorization: None,
                })
            })
            .collect()
    };
    tables.into_iter().map(table).collect()
}

/// The table with hosts below its own.
fn with_hosts(table: usize, routes: Vec<Arc<Route>>) -> Vec<Arc<Route>> {
    let of_table = |mut route: Route| {
        for header in &mut route.matches.headers {
            if let (":authority", StringMatch::Exact(host)) =
                (header.name.as_str(), &mut header.value)
            {
                *host = format!("{host}{table}.example").into();
            }
        }
        Arc::new(route)
    };
    let routes = routes.iter().map(|route| Route::clone(route));
    routes.map(of_table).collect()
}

#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    /// Without the name of the table.
    host: String,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
}

impl Asked {
    /// A client sends no path with it.
    fn is_connect(&self) -> bool {
        self.method == Method::CONNECT
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let query = prop_oneof![
        4 => Just(String::new()),
        1 => Just("?".to_owned()),
        1 => Just("?x/b".to_owned()),
        3 => (select(vec!["q", "r"]), select(VALUES)).prop_map(|(name, value)| format!("?{name}={value}")),
    ];
    let number = prop::option::weighted(0.1, 0..300u32);
    let long = prop::bool::weighted(0.02);
    let paths = (path(), number, long, query).prop_map(|(path, number, long, query)| {
        let number = number
            .map(|number| format!("/a/{number}"))
            .unwrap_or_default();
        let tail = if long {
            "/a".repeat(2000)
        } else {
            String::new()
        };
        format!("{number}{path}{tail}{query}")
    });
    let header = (select(vec!["x-one", "x-two"]), select(VALUES));
    let host = prop_oneof![
        3 => select(HOSTS).prop_map(str::to_owned),
        1 => (0..310u32).prop_map(|number| format!("h{number}.")),
    ];
    (
        prop_oneof![
            8 => Just(Method::GET),
            4 => Just(Method::POST),
            1 => Just(Method::CONNECT),
        ],
        host,
        paths,
        prop::collection::vec(header, 0..4),
    )
        .prop_map(|(method, host, path, headers)| Asked {
            method,
            host,
            path,
            headers,
        })
}

/// Two listeners whose tables are still to be filled.
fn gateway(ports: [u16; 2]) -> nuncio_model::Gateway {
    let listener = |port: u16| {
        format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: l{port}}}\n\
             spec: {{port: {port}, protocol: HTTP, securityModel: XFP, hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n"
        )
    };
    let manifests = ports.map(listener).concat();
    let scope = Scope::default();
    let mut settings = Settings::new(&scope);
    settings.bind_address = Ipv4Addr::LOCALHOST.into();
    let mut store = Store::new(scope);
    let parsed = manifest::parse(&Arc::from("x.yaml"), &manifests).unwrap();
    store.apply(parsed.objects, &[]);
    let read = |_: &str| Err("no files here".to_owned());
    nuncio_translate::translate(&mut store, &settings, read).gateway
}

fn snapshot(
    gateway: &mut nuncio_model::Gateway,
    ports: [u16; 2],
    tables: &[Vec<Arc<Route>>],
) -> (Snapshot, Vec<bool>) {
    let mut snapshot = nuncio_envoy::encode(gateway);
    let origin = Origin::new(Arc::new(ResourceId::new("", "Test", "default", "host")));
    let virtual_hosts: Vec<VirtualHost> = tables
        .iter()
        .enumerate()
        .map(|(number, routes)| VirtualHost {
            name: number.to_string().into(),
            // What CONNECT asks for has a port.
            domains: ["", "*."]
                .iter()
                .flat_map(|below| ["", ":80"].map(|port| format!("{below}{number}.example{port}")))
                .map(|domain| Domain::new(&domain).unwrap())
                .collect(),
            origins: vec![origin.clone(); 4],
            routes: routes.clone(),
            response_headers: HeaderEdits::default(),
        })
        .collect();
    let mut trees = Vec::new();
    for (port, search) in ports
        .into_iter()
        .zip([RouteSearch::List, RouteSearch::Tree])
    {
        let listener = gateway.listeners.values().find(|each| each.port == port);
        let http = listener.unwrap().filter_chains[0].http();
        let name = Arc::clone(&http.unwrap().route_table);
        let table = RouteTable {
            name: Arc::clone(&name),
            virtual_hosts: virtual_hosts.clone(),
            ignore_port: false,
            asks: Asks::default(),
        };
        let resource: Resource = route_configuration_with(&table, search);
        if search == RouteSearch::Tree {
            let json = body_to_json(ResourceType::RouteConfiguration.type_url(), &resource.body);
            let hosts = json.unwrap()["virtual_hosts"].as_array().unwrap().clone();
            trees = hosts
                .iter()
                .map(|host| !host["matcher"].is_null())
                .collect();
        }
        snapshot.insert(
            ResourceType::RouteConfiguration,
            Arc::clone(&name),
            Arc::new(resource),
        );
        gateway.route_tables.insert(name, Arc::new(table));
    }
    (snapshot, trees)
}

fn start(folder: &std::path::Path, snapshot: &Snapshot) -> Child {
    let config = StaticConfig::new(snapshot).bootstrap(1000, None);
    std::fs::write(folder.join("envoy.json"), config.to_string()).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new(envoy())
        .args([
            "-c",
            "envoy.json",
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "-l",
            "warning",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn at(port: u16) -> Target {
    Target::cleartext(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A connection, once there is who answers.
async fn connected(folder: &std::path::Path, envoy: &mut Child, port: u16) -> Client {
    let target = at(port);
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Ok(client) = Client::connect(&target, Protocol::Http2).await {
            return client;
        }
        let ended = envoy.try_wait().unwrap();
        let log = || std::fs::read_to_string(folder.join("log")).unwrap();
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "no Envoy: {}",
            log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Status, body and `location` of the answer. CONNECT, which no route here leads anywhere, has a
/// connection of its own.
async fn answer(client: &mut Client, port: u16, table: usize, asked: &Asked) -> String {
    let host = format!("{}{table}.example", asked.host);
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        headers.append(*name, HeaderValue::from_static(value));
    }
    if asked.is_connect() {
        let host = format!("{host}:80");
        let tunnel = Tunnel::connect(&at(port), Protocol::Http2, &host, headers).await;
        let status = tunnel.unwrap().err().expect("it is refused");
        return format!("{}  ", status.as_u16());
    }
    let mut request = Request::new(Default::default());
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = asked.path.parse().unwrap();
    *request.headers_mut() = headers;
    let answer = client.send(&host, request).await.unwrap();
    let location = answer.headers.get("location");
    format!(
        "{} {} {}",
        answer.status.as_u16(),
        String::from_utf8_lossy(&answer.body),
        location.map_or("", |value| value.to_str().unwrap())
    )
}

/// The same, as `explain` has it.
fn explained(explainer: &Explainer<'_>, port: u16, table: usize, asked: &Asked) -> String {
    let path = if asked.is_connect() { "" } else { &asked.path };
    let url = format!("http://{}{table}.example{path}", asked.host);
    let headers = asked.headers.iter();
    let headers = headers.map(|(name, value)| format!("{name}: {value}"));
    let mut request = nuncio_explain::Request::parse(asked.method.as_str(), &url, headers).unwrap();
    request.listener_port = Some(port);
    let explanation = explainer.explain(&request);
    let [share] = &*explanation.outcomes else {
        panic!("nothing here is left to chance: {explanation}");
    };
    match &share.outcome {
        Outcome::Refused { status, .. } => format!("{status}  "),
        Outcome::Redirect {
            status, location, ..
        } => format!("{status}  {location}"),
        Outcome::DirectResponse { status, body, .. } => format!("{status} {body} "),
        other => panic!("no route does that: {other:?}"),
    }
}

#[tokio::test]
async fn a_tree_answers_what_the_list_answers() {
    let mut runner = TestRunner::deterministic();
    let mut tables = large();
    let large = tables.len();
    let drawn = prop::collection::vec(routes(), TABLES);
    tables.extend(drawn.new_tree(&mut runner).unwrap().current());
    let numbered = tables.into_iter().enumerate();
    let tables: Vec<_> = numbered
        .map(|(number, routes)| with_hosts(number, routes))
        .collect();
    let ports = [free_port(), free_port()];
    let mut gateway = gateway(ports);
    let (snapshot, trees) = snapshot(&mut gateway, ports, &tables);
    assert!(
        trees[..large].iter().all(|tree| *tree),
        "a rare route costs the tree"
    );
    // Small tables of routes that match almost anywhere are lists.
    let small = trees[large..].iter().filter(|tree| **tree).count();
    assert!(small > TABLES / 3, "only {small} of {TABLES} are trees");

    let folder = tempfile::tempdir().unwrap();
    let mut envoy = start(folder.path(), &snapshot);
    let mut list = connected(folder.path(), &mut envoy, ports[0]).await;
    let mut tree = connected(folder.path(), &mut envoy, ports[1]).await;
    let explainer = Explainer::new(&gateway);
    let requests = prop::collection::vec(asked(), REQUESTS);
    let mut seen = BTreeSet::new();
    for (table, routes) in tables.iter().enumerate() {
        for asked in requests.new_tree(&mut runner).unwrap().current() {
            let expected = answer(&mut list, ports[0], table, &asked).await;
            let actual = answer(&mut tree, ports[1], table, &asked).await;
            let matches: Vec<_> = routes.iter().map(|route| &route.matches).collect();
            assert_eq!(actual, expected, "table {table}: {asked:?} of {matches:#?}");
            let explained = explained(&explainer, ports[0], table, &asked);
            assert_eq!(explained, expected, "explained: {asked:?} of {matches:#?}");
            seen.insert(expected);
        }
    }
    assert!(seen.len() > 200, "only {} different answers", seen.len());
    assert!(seen.iter().any(|answer| answer.starts_with("404 ")));
}
