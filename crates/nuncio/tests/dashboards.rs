//! The dashboard, the alerts and `docs/metrics.md` are held to what a running gateway exposes: a real
//! Prometheus scrapes it while it has traffic of all kinds, and is asked every query there is.

#![allow(clippy::unwrap_used)]

mod support;

#[path = "dashboards/expected.rs"]
mod expected;
#[path = "dashboards/prometheus.rs"]
mod prometheus;
#[path = "dashboards/scene.rs"]
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use expected::{Values, expected};
use nuncio_api::yaml;
use prometheus::{Prometheus, program};
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use scene::Scene;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A query of the dashboard as it is written, and whose it is.
struct Query {
    title: String,
    /// Of the panel's queries, counted from 0.
    at: usize,
    expr: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&read("dashboards/nuncio.json")).unwrap()
}

fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.enumerate().map(|(at, target)| Query {
            title: panel["title"].as_str().unwrap().to_owned(),
            at,
            expr: target["expr"].as_str().unwrap().to_owned(),
        })
    });
    queries.collect()
}

/// As Grafana does it.
fn substitute(expr: &str, host: &str) -> String {
    expr.replace("$__rate_interval", "2m")
        .replace("$job", "nuncio")
        .replace("$host", host)
        .replace("$mapping", ".*")
}

/// Name and expression of every alert.
fn alerts() -> Vec<(String, String)> {
    let documents = yaml::documents(&read("dashboards/alerts.yaml")).unwrap();
    let groups = documents[0]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap());
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap().to_owned();
    rules.map(|r| (text(r, "alert"), text(r, "expr"))).collect()
}

/// What a query asks for.
#[derive(Default)]
struct Asked {
    selectors: Vec<VectorSelector>,
    /// What is compared with something.
    compared: Vec<String>,
}

impl Asked {
    fn of(expr: &str) -> Self {
        let parsed = parser::parse(expr).unwrap_or_else(|error| panic!("{expr}: {error}"));
        let mut asked = Self::default();
        walk_expr(&mut asked, &parsed).unwrap();
        asked
    }

    fn metrics(&self) -> BTreeSet<String> {
        let names = self.selectors.iter().filter_map(|s| s.name.clone());
        names.collect()
    }
}

impl ExprVisitor for Asked {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.selectors.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.selectors.push(matrix.vs.clone()),
            Expr::Binary(binary) if binary.op.is_comparison_operator() => {
                self.compared.push(binary.lhs.to_string());
            }
            _ => {}
        }
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_says_what_the_traffic_was() {
    let mut scene = Scene::start().await;
    scene.warm_up().await;
    let prometheus = Prometheus::start(scene.gateway.admin()).await;
    scene.exercise(&prometheus).await;

    every_panel_is_right(&prometheus).await;
    a_chosen_host_is_the_only_one(&prometheus).await;
    variables_have_values(&prometheus).await;
    alerts_have_data(&prometheus).await;
    let (_, text) = scene.gateway.admin_get("/metrics").await.unwrap();
    documentation_is_right(&text);
    envoys_query_is_passed_on(&scene).await;

    scene.restart_envoy(&prometheus).await;
    scene.gateway.terminate().await;
}

async fn every_panel_is_right(prometheus: &Prometheus) {
    let mut expected = expected();
    let queries = queries();
    let mut wrong = Vec::new();
    for query in &queries {
        let at = (query.title.as_str(), query.at);
        let Some((labels, holds)) = expected.remove(&at) else {
            panic!("nothing says what {at:?} of the dashboard must be");
        };
        let rows = prometheus.query(&substitute(&query.expr, ".*")).await;
        let labels: BTreeSet<&str> = labels.iter().copied().collect();
        let named = rows
            .iter()
            .all(|(found, _)| found.keys().map(String::as_str).eq(labels.iter().copied()));
        let values: Values = rows
            .iter()
            .map(|(found, value)| {
                let key: Vec<&str> = found.values().map(String::as_str).collect();
                (key.join(" "), *value)
            })
            .collect();
        if !named || !holds(&values) {
            wrong.push(format!("{at:?}: {}\n{rows:?}", query.expr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        expected.is_empty(),
        "not in the dashboard: {:?}",
        expected.keys()
    );
}

async fn a_chosen_host_is_the_only_one(prometheus: &Prometheus) {
    for query in queries()
        .iter()
        .filter(|query| query.expr.contains("$host"))
    {
        let rows = prometheus
            .query(&substitute(&query.expr, r"b\\.example"))
            .await;
        let hosts: BTreeSet<&str> = rows.iter().map(|(l, _)| &*l["nuncio_host"]).collect();
        let b: &[&str] = match query.title.as_str() {
            "4xx and 5xx by Host" => &[],
            _ => &["b.example"],
        };
        assert_eq!(hosts, b.iter().copied().collect(), "{}", query.expr);
    }
}

async fn variables_have_values(prometheus: &Prometheus) {
    let dashboard = dashboard();
    let mut values = BTreeMap::new();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = substitute(variable["query"]["query"].as_str().unwrap(), ".*");
            let inside = query.strip_prefix("label_values(").unwrap();
            let (selector, label) = inside.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
            let name = variable["name"].as_str().unwrap();
            values.insert(
                name.to_owned(),
                prometheus.label_values(selector, label).await,
            );
        }
    }
    assert_eq!(values["job"], ["nuncio"]);
    assert_eq!(values["host"], ["a.example", "b.example"]);
    assert_eq!(values["mapping"], ["gone", "news", "shop"]);
}

/// None names a metric or a label that is not there, and what each compares is there.
async fn alerts_have_data(prometheus: &Prometheus) {
    for (name, expr) in alerts() {
        let asked = Asked::of(&expr);
        for selector in &asked.selectors {
            // Of classes of answers there are only those that were given.
            let rows = prometheus.query(&selector.to_string()).await;
            assert!(!rows.is_empty(), "{name}: there is no {selector}");
        }
        assert!(!asked.compared.is_empty(), "{name} compares nothing");
        for compared in &asked.compared {
            let rows = prometheus.query(compared).await;
            assert!(!rows.is_empty(), "{name}: there is no {compared}");
        }
    }
}

/// A metric in `docs/metrics.md` or of a gateway: its type and labels.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Metrics {
    let text = read("docs/metrics.md");
    let tables = text
        .split("\n\n")
        .filter(|part| part.starts_with("| metric |"));
    let rows = tables.flat_map(|table| table.lines().filter_map(|row| row.strip_prefix("| `")));
    rows.filter_map(|row| {
        let (name, rest) = row.split_once('`')?;
        let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
        assert_eq!(
            cells.len(),
            6,
            "a metric has type, labels, unit and meaning: {row}"
        );
        assert!(cells[1..5].iter().all(|cell| !cell.is_empty()), "{row}");
        let labels = cells[2].split('`').skip(1).step_by(2);
        let labels = labels.map(str::to_owned).collect();
        Some((name.to_owned(), (cells[1].to_owned(), labels)))
    })
    .collect()
}

/// Reads Prometheus' text form. Samples of one metric may have other labels than others.
fn exposed(text: &str) -> Metrics {
    let mut metrics: Metrics = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), (kind.to_owned(), BTreeSet::new())))
        .collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        let mut name = &line[..end];
        if !metrics.contains_key(name) {
            let parts = ["_bucket", "_sum", "_count"].into_iter();
            name = parts
                .filter_map(|part| name.strip_suffix(part))
                .next()
                .unwrap_or(name);
        }
        let Some((_, labels)) = metrics.get_mut(name) else {
            panic!("no type is said of: {line}");
        };
        if let Some((inside, _)) = line[end..]
            .strip_prefix('{')
            .and_then(|l| l.rsplit_once('}'))
        {
            let names = inside
                .split("\",")
                .filter_map(|label| label.split_once('='));
            labels.extend(
                names
                    .map(|(name, _)| name.to_owned())
                    .filter(|name| name != "le"),
            );
        }
    }
    metrics
}

fn documentation_is_right(text: &str) {
    let (documented, exposed) = (documented(), exposed(text));
    let wrong: Vec<_> = documented
        .iter()
        .filter(|(name, of)| exposed.get(*name) != Some(of))
        .map(|(name, of)| format!("{name}: {of:?}, exposed is {:?}", exposed.get(name)))
        .collect();
    assert!(wrong.is_empty(), "docs/metrics.md: {}", wrong.join("\n"));
    for name in exposed.keys().filter(|name| !name.starts_with("envoy_")) {
        assert!(
            documented.contains_key(name),
            "{name} is not in docs/metrics.md"
        );
    }
    let dashboard = queries()
        .into_iter()
        .map(|query| substitute(&query.expr, ".*"));
    for expr in dashboard.chain(alerts().into_iter().map(|(_, expr)| expr)) {
        for metric in Asked::of(&expr).metrics() {
            let parts = ["", "_bucket", "_sum", "_count"].into_iter();
            let mut names = parts.filter_map(|part| metric.strip_suffix(part));
            // `up` is Prometheus' own.
            let is = metric == "up" || names.any(|name| documented.contains_key(name));
            assert!(is, "{metric} is used and not in docs/metrics.md");
        }
    }
}

async fn envoys_query_is_passed_on(scene: &Scene) {
    let get = async |query: &str| {
        let path = format!("/metrics?{query}");
        scene.gateway.admin_get(&path).await.unwrap()
    };
    let (status, text) = get("filter=%5Evhost%5C.&usedonly").await;
    assert_eq!(status, 200);
    let families = exposed(&text);
    assert!(
        families.contains_key("envoy_vhost_upstream_rq_completed"),
        "{text}"
    );
    assert!(families.contains_key("nuncio_changes_total"), "{text}");
    assert!(!families.contains_key("envoy_server_live"), "{text}");
    // Nothing was too slow.
    assert!(
        !families.contains_key("envoy_vhost_upstream_rq_timeout"),
        "{text}"
    );
    let (status, text) = get("filter=%5B").await;
    assert_eq!(status, 400);
    assert!(text.contains("regex"), "{text}");
}

fn promtool(arguments: &[&str]) {
    let output = Command::new(program("PROMTOOL", "promtool"))
        .args(arguments)
        .current_dir(root().join("dashboards"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn alerts_fire_and_are_silent_as_they_should() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let rules = yaml::documents(&read("dashboards/alerts.yaml")).unwrap();
    let tests = read("dashboards/alerts_test.yaml");
    for rule in rules[0]["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        for key in ["summary", "description"] {
            assert!(rule["annotations"][key].is_string(), "{name} has no {key}");
        }
        for what in ["fires", "is silent"] {
            assert!(
                tests.contains(&format!("name: {name} {what}\n")),
                "{name} {what}"
            );
        }
    }
}
