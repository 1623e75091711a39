//! What `explain` says becomes of a request is what becomes of it: random manifests and requests,
//! through a running gateway to upstreams that say what they got.
//!
//! `NUNCIO_EXPLAIN_SEED` is a number that other manifests and requests are drawn with.

#![allow(clippy::unwrap_used)]

mod compare;
mod dice;
mod manifests;
mod requests;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use compare::{Answered, Setting, Upstream};
use dice::Dice;
use manifests::{Manifests, Places};
use nuncio_echo::{Echo, Running, certs};
use nuncio_explain::{Explainer, Explanation, Outcome};
use nuncio_model::value::Fraction;
use nuncio_sources::manifest;
use nuncio_translate::{Scope, Settings, Store};
use requests::{Asked, Connections};
use support::{Gateway, free_port};

/// Gateways, one after the other; each after the first has a Module.
const GATEWAYS: usize = 3;
/// The last of them gets copies alone.
const UPSTREAMS: [&str; 3] = ["one", "two", "shadow"];
const WORLDS: usize = 40;
const REQUESTS: usize = 900;
/// How often a request is sent at most whose route chance decides. A share of a fifth that never
/// comes up in these is no chance.
const TRIES: usize = 200;
/// Of how many such requests all shares are waited for.
const DRAWN: usize = 10;
/// How many differences are shown.
const SHOWN: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_what_is_done() {
    let seed = std::env::var("NUNCIO_EXPLAIN_SEED").map_or(0, |text| text.parse().unwrap());
    let mut kinds = BTreeMap::new();
    let mut wrong = Vec::new();
    for number in 0..GATEWAYS {
        let mut dice = Dice::new(seed * GATEWAYS as u64 + number as u64);
        one_gateway(&mut dice, number == 0, &mut kinds, &mut wrong).await;
    }
    let count = wrong.len();
    wrong.truncate(SHOWN);
    assert!(
        wrong.is_empty(),
        "seed {seed}: {count} requests of {kinds:?} are otherwise than said\n{}",
        wrong.join("\n\n")
    );
    for kind in [
        "not connected",
        "refused",
        "redirect",
        "preflight",
        "unavailable",
        "forward",
        "upgraded",
        "mirrored",
        "shares",
    ] {
        let seen = kinds.get(kind).copied().unwrap_or(0);
        assert!(
            seen >= 10,
            "seed {seed}: only {seen} of {kind} in {kinds:?}"
        );
    }
}

async fn one_gateway(
    dice: &mut Dice,
    plain: bool,
    kinds: &mut BTreeMap<&'static str, usize>,
    wrong: &mut Vec<String>,
) {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut upstreams = Vec::new();
    for name in UPSTREAMS {
        upstreams.push(Echo::new(name).start(local).await.unwrap());
    }
    let port = |at: usize| upstreams[at].address().port();
    let places = Places {
        http: free_port(),
        https: free_port(),
        deep: free_port(),
        secure: free_port(),
        insecure: free_port(),
        upstreams: [port(0), port(1), port(2)],
    };
    let certificate = certs::self_signed(&["any.example"]);
    let manifests = Manifests::new(dice, &places, &certificate, WORLDS, plain);
    let text = manifests.text();
    let model = model(&text);
    let explainer = Explainer::new(&model);
    let gateway = Gateway::start(&[("all.yaml", text)]).await;
    let mut run = Run {
        manifests: &manifests,
        places: &places,
        upstreams: &upstreams,
        connections: Connections::default(),
        copies: BTreeMap::new(),
        drawn: 0,
        kinds,
    };
    for id in 0..REQUESTS {
        let asked = Asked::new(dice, &places, &manifests, id);
        let explanation = explainer.explain(&asked.question());
        wrong.extend(run.ask(&asked, &explanation).await);
    }
    run.mirrored(wrong).await;
    gateway.terminate().await;
}

fn model(text: &str) -> nuncio_model::Gateway {
    let scope = Scope::default();
    let mut settings = Settings::new(&scope);
    settings.bind_address = Ipv4Addr::LOCALHOST.into();
    let mut store = Store::new(scope);
    let parsed = manifest::parse(&Arc::from("all.yaml"), text).unwrap();
    store.apply(parsed.objects, &[]);
    let read = |_: &str| Err("no files here".to_owned());
    nuncio_translate::translate(&mut store, &settings, read).gateway
}

/// A copy that is said to be made.
struct Copy {
    paths: BTreeSet<String>,
    may_fail: bool,
    said: String,
}

struct Run<'a> {
    manifests: &'a Manifests,
    places: &'a Places,
    upstreams: &'a [Running],
    connections: Connections,
    /// Paths of the requests that the upstream `shadow` must get too, by their number.
    copies: BTreeMap<String, Copy>,
    drawn: usize,
    kinds: &'a mut BTreeMap<&'static str, usize>,
}

impl Run<'_> {
    /// What is otherwise than it is said to be.
    async fn ask(&mut self, asked: &Asked, explanation: &Explanation) -> Option<String> {
        let several = explanation.outcomes.len() > 1;
        if several {
            *self.kinds.entry("shares").or_default() += 1;
            self.drawn += 1;
        }
        let tries = if several && self.drawn <= DRAWN {
            TRIES
        } else {
            1
        };
        let mut seen = BTreeSet::new();
        for one in 0..tries {
            let mut asked = asked.clone();
            asked.headers[0].1.push_str(&format!("-{one}"));
            let asked = &asked;
            let answered = self.answered(asked).await;
            let mut all = Vec::new();
            let mut met = Vec::new();
            for (at, share) in explanation.outcomes.iter().enumerate() {
                let differences = self.differences(asked, explanation, at, answered.as_ref());
                if differences.is_empty() {
                    met.push(at);
                }
                all.push((share.percent, differences));
            }
            let Some(at) = met.first() else {
                let of_route = self.mapping(explanation);
                return Some(format!("{asked:?}\n{explanation}{of_route}\n  {all:#?}"));
            };
            self.count(asked, explanation, *at);
            seen.extend(met);
            if seen.len() == explanation.outcomes.len() {
                return None;
            }
        }
        (tries > 1).then(|| format!("{asked:?}\n{explanation}\n  only {seen:?} came up"))
    }

    async fn answered(&mut self, asked: &Asked) -> Option<Answered> {
        let answer = self.connections.send(asked).await?;
        let mut answered = Answered::new(&answer);
        // An answer in other words, or none, does not say what the upstream got.
        let named = answered.answered_by().map(str::to_owned);
        let told = asked
            .headers
            .iter()
            .any(|(name, _)| *name == "x-echo-status");
        if answered.upstream.is_none() && (named.is_some() || told) {
            let id = vec![asked.headers[0].1.clone()];
            let of_upstream = |(name, upstream): (&&str, &Running)| {
                let seen = upstream.seen().into_iter().rev();
                let mut seen = seen.filter(|seen| seen.headers.get("x-id") == Some(&id));
                seen.next().map(|seen| Upstream {
                    name: (*name).to_owned(),
                    method: seen.method,
                    path: seen.path,
                    host: seen.host,
                    headers: compare::headers(seen.headers.into_iter()),
                })
            };
            let mut all = UPSTREAMS.iter().zip(self.upstreams).take(2);
            answered.upstream = all.find_map(of_upstream);
        }
        Some(answered)
    }

    fn differences(
        &self,
        asked: &Asked,
        explanation: &Explanation,
        at: usize,
        answered: Option<&Answered>,
    ) -> Vec<String> {
        let share = &explanation.outcomes[at];
        let mapping = share.route.as_ref().map(|route| &route.source.name);
        let overridden = mapping.and_then(|name| self.manifests.overridden.get(name));
        let setting = Setting {
            asked,
            arrival: explanation.arrival.as_ref(),
            suppressed: self.manifests.suppressed,
            overridden: overridden.map_or(&[], Vec::as_slice),
        };
        let mut all = setting.differences(share, answered);
        if let Outcome::Forward(forward) = &share.outcome
            && let Some(upstream) = answered.and_then(|answered| answered.upstream.as_ref())
        {
            let mut ports = UPSTREAMS.into_iter().zip(self.places.upstreams);
            let port = ports.find(|(name, _)| *name == upstream.name).unwrap().1;
            let endpoints = &forward.cluster.endpoints;
            let is_its = |endpoint: &String| endpoint.contains(&format!(":{port}"));
            if !endpoints.iter().any(is_its) {
                all.push(format!("went to {}, said {endpoints:?}", upstream.name));
            }
        }
        all
    }

    fn count(&mut self, asked: &Asked, explanation: &Explanation, at: usize) {
        let outcome = &explanation.outcomes[at].outcome;
        let mut count = |kind| *self.kinds.entry(kind).or_default() += 1;
        match outcome {
            Outcome::NotConnected { .. } => count("not connected"),
            Outcome::Tcp { .. } => count("tcp"),
            Outcome::Refused { .. } => count("refused"),
            Outcome::Redirect { .. } => count("redirect"),
            Outcome::DirectResponse { .. } => count("direct response"),
            Outcome::Preflight { .. } => count("preflight"),
            Outcome::Unavailable { .. } => count("unavailable"),
            Outcome::Forward(forward) => {
                count("forward");
                if asked.headers.iter().any(|(name, _)| *name == "upgrade") {
                    count("upgraded");
                }
                if forward
                    .mirrors
                    .iter()
                    .any(|mirror| mirror.percent == Fraction::ALL)
                {
                    count("mirrored");
                    let id = asked.headers[0].1.clone();
                    let copy = self.copies.entry(id).or_insert_with(|| Copy {
                        paths: BTreeSet::new(),
                        // Now and then Envoy makes none of a request whose connection changes its
                        // protocol.
                        may_fail: asked.headers.iter().any(|(name, _)| *name == "upgrade"),
                        said: format!("{asked:?}\n{explanation}"),
                    });
                    copy.paths.insert(forward.path.clone());
                }
            }
        }
    }

    /// The copies that were said to be made were made, and no others.
    async fn mirrored(&mut self, wrong: &mut Vec<String>) {
        for (id, copy) in &self.copies {
            let Copy {
                paths,
                may_fail: false,
                said,
            } = copy
            else {
                continue;
            };
            let id = vec![id.clone()];
            let is_meant = |seen: &nuncio_echo::Seen| seen.headers.get("x-id") == Some(&id);
            let copy =
                tokio::time::timeout(support::DEADLINE, self.upstreams[2].wait_for(is_meant));
            match copy.await {
                Err(_) => wrong.push(format!("no copy of {said}")),
                Ok(seen) if !paths.contains(&seen.path) => {
                    wrong.push(format!("request {id:?} was copied as {seen:?}"));
                }
                Ok(_) => {}
            }
        }
        for seen in self.upstreams[2].seen() {
            let id = &seen.headers["x-id"][0];
            if !self.copies.contains_key(id) {
                wrong.push(format!(
                    "a copy of request {id} that was not said: {seen:?}"
                ));
            }
        }
    }

    /// The Mappings that are said to take it.
    fn mapping(&self, explanation: &Explanation) -> String {
        let routes = explanation.outcomes.iter().flat_map(|share| &share.route);
        let names: Vec<&str> = routes.map(|route| route.source.name.as_str()).collect();
        let objects = self.manifests.objects.iter();
        let named =
            objects.filter(|object| names.contains(&object["metadata"]["name"].as_str().unwrap()));
        named.map(|object| format!("{object}\n")).collect()
    }
}
