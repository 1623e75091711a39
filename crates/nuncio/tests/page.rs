//! The page of the diagnostics: with 10,000 Mappings, and in a real Chromium.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use support::{DEADLINE, Gateway, free_port};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::{ParseError, Url};

const DIAG: &str = "/ambassador/v0/diag/";

fn base(port: u16) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1
kind: Listener
metadata: {{name: http, namespace: default}}
spec: {{port: {port}, protocol: HTTP, securityModel: XFP, hostBinding: {{namespace: {{from: ALL}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Host
metadata: {{name: any, namespace: default}}
spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {{name: wrong, namespace: default}}
spec: {{hostname: \"*\", prefix: /wrong/, service: \"127.0.0.1:9\", timeout_ms: <script>alert(1)</script>}}
---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {{name: canary, namespace: default}}
spec: {{hostname: shop.example, prefix: /cart/, method: GET, headers: {{x-beta: \"1\"}}, service: \"127.0.0.1:9\", weight: 10}}
"
    )
}

fn mappings(from: usize, to: usize) -> String {
    (from..to)
        .map(|n| {
            format!(
                "---
apiVersion: getambassador.io/v3alpha1
kind: Mapping
metadata: {{name: mapping-{n:05}, namespace: default}}
spec: {{hostname: \"*\", prefix: /path-{n:05}/, service: \"127.0.0.1:{}\"}}
",
                20_000 + n % 100
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_mappings_are_paged_and_searched() {
    let names: Vec<String> = (0..20)
        .map(|file| format!("mappings-{file:02}.yaml"))
        .collect();
    let mut files = vec![("base.yaml", base(free_port()))];
    for (file, name) in names.iter().enumerate() {
        files.push((name, mappings(file * 500, (file + 1) * 500)));
    }
    let gateway = Gateway::start(&files).await;
    let get = async |query: &str| {
        let (status, body) = gateway.admin_get(&format!("{DIAG}{query}")).await.unwrap();
        assert_eq!(status, 200, "{query}");
        body
    };
    let page = get("?show=routes&page=3").await;
    assert!(page.contains("10004 routes, page 3 of 201"));
    assert_eq!(page.matches("/path-").count(), 50);
    let found = get("?show=routes&q=PATH-0777").await;
    assert!(found.contains("10 routes<") && found.contains("/path-07777/"));
    assert!(!found.contains("/path-00001/"));
    assert!(
        get("?show=routes&q=nothing-has-this")
            .await
            .contains("0 routes")
    );
    let clusters = get("?show=clusters&q=20042").await;
    assert!(clusters.contains("1 clusters") && clusters.contains("100 Mappings"));
    let whole: Value = serde_json::from_str(&get("?json=true").await).unwrap();
    assert_eq!(whole["route_info"].as_array().unwrap().len(), 10_004);
    assert_eq!(whole["groups"].as_object().unwrap().len(), 10_004);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_in_a_browser() {
    let port = free_port();
    let files = [
        ("base.yaml", base(port)),
        ("mappings.yaml", mappings(0, 120)),
    ];
    let gateway = Gateway::start(&files).await;
    let browser = Browser::start().await;
    let page = &browser.client;
    let url = |query: &str| format!("http://{}{DIAG}{query}", gateway.admin());

    page.goto(&url("")).await.unwrap();
    browser.picture("overview").await;
    let text = browser.text("main").await;
    assert!(text.contains("serving"), "{text}");
    // What users write is text and never markup.
    assert!(text.contains("<script>alert(1)</script>"), "{text}");

    browser.follow("Routes").await;
    assert!(browser.text("main").await.contains("page 1 of 3"));
    browser.picture("routes").await;
    browser.follow("Next").await;
    assert!(browser.text("main").await.contains("page 2 of 3"));
    let field = page.find(Locator::Css("input[type=search]")).await.unwrap();
    field.send_keys("shop.example").await.unwrap();
    browser.click(Locator::Css(".search button")).await;
    let found = browser.text("main").await;
    assert!(
        found.contains("1 routes") && found.contains("x-beta: 1"),
        "{found}"
    );
    browser.picture("search").await;
    browser.follow("Mapping default/canary").await;
    assert!(browser.text("main").await.contains("kind: Mapping"));
    browser.picture("route").await;
    for section in ["Listeners", "Hosts", "Clusters", "Report"] {
        browser.follow(section).await;
        assert!(browser.text("h1").await.contains(section));
        browser.picture(&section.to_lowercase()).await;
    }

    browser.follow("Try a request").await;
    let asked = "http://shop.example/cart/1?a=<b>";
    let asked = asked.replace("shop.example", &format!("shop.example:{port}"));
    for (field, text) in [
        ("url", asked.as_str()),
        ("headers", "Host: shop.example\nx-beta: 1"),
    ] {
        let field = page.find(Locator::Id(field)).await.unwrap();
        field.send_keys(text).await.unwrap();
    }
    browser.click(Locator::Css(".try button")).await;
    let answer = browser.text(".answer").await;
    assert!(answer.contains(&asked), "{answer}");
    assert!(answer.contains("Mapping default/canary"), "{answer}");
    assert!(answer.contains("127.0.0.1:9"), "{answer}");
    browser.picture("try").await;
    page.goto(&url("?show=try&url=nonsense")).await.unwrap();
    let alert = browser.text("[role=alert]").await;
    assert!(alert.contains("write a URL such as"), "{alert}");

    // The page itself never scrolls sideways, not even on a phone.
    browser.be_a_phone().await;
    for section in [
        "overview",
        "listeners",
        "hosts",
        "routes",
        "gateways",
        "clusters",
        "report",
        "try&url=http://shop.example/cart/",
    ] {
        page.goto(&url(&format!("?show={section}"))).await.unwrap();
        let width = "return [document.documentElement.scrollWidth, window.innerWidth]";
        let widths = page.execute(width, Vec::new()).await.unwrap();
        assert_eq!(widths, json!([390, 390]), "{section}: {widths}");
        let name = section.split('&').next().unwrap();
        browser.picture(&format!("phone-{name}")).await;
    }
    browser.is_content().await;
}

/// Chromium under its driver. Dropped, both end.
struct Browser {
    client: Client,
    /// Leads the process group that Chromium is in.
    driver: Child,
}

impl Browser {
    async fn start() -> Self {
        let program = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".to_owned());
        let mut driver = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .expect("chromedriver is installed by scripts/install-chromium.sh");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = loop {
            let line = lines.next_line().await.unwrap().expect("it says its port");
            let port = line.rsplit_once("successfully on port ");
            if let Some((_, port)) = port {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        let capabilities = json!({
            "goog:chromeOptions": {
                "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
                         "--hide-scrollbars", "--window-size=1200,900"],
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Self { client, driver }
    }

    async fn text(&self, selector: &str) -> String {
        let found = self.client.find(Locator::Css(selector)).await.unwrap();
        found.text().await.unwrap()
    }

    async fn follow(&self, link: &str) {
        let path = format!("//a[starts-with(normalize-space(.), '{link}')]");
        self.click(Locator::XPath(&path)).await;
    }

    /// Clicks on what leads to another page, and returns when that is there: a click alone returns
    /// before the navigation has begun.
    async fn click(&self, what: Locator<'_>) {
        let old = self.client.find(Locator::Css("html")).await.unwrap();
        self.client.find(what).await.unwrap().click().await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        while old.tag_name().await.is_ok() {
            assert!(Instant::now() < deadline, "{what:?} leads nowhere");
        }
    }

    /// Saves what is seen to `target/page`.
    async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/page");
        fs::create_dir_all(&folder).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// Looks at pages as on a phone from here on.
    async fn be_a_phone(&self) {
        let parameters = json!({
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": { "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true },
        });
        let command = Post("goog/cdp/execute", parameters);
        self.client.issue_cmd(command).await.unwrap();
    }

    /// Nothing was refused by the page's policy, and nothing else went wrong.
    async fn is_content(&self) {
        let log = Post("se/log", json!({ "type": "browser" }));
        let log = self.client.issue_cmd(log).await.unwrap();
        assert_eq!(log, json!([]), "the browser complains");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let pid = self.driver.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// A command of chromedriver's own.
#[derive(Debug)]
struct Post(&'static str, Value);

impl WebDriverCompatibleCommand for Post {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.0))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}
