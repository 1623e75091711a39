//! Random snapshots, answers and reconnections, against a model of what Envoy does with them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use nuncio_envoy_api::google::rpc::Status;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use proptest::prelude::*;

use super::{LINGER, letter, snapshot, type_of, version};
use crate::memory::Memory;
use crate::session::{Options, Session};

/// What Envoy always asks for.
const RUNTIME: &str = "n";

/// Bodies from here on are refused.
const BAD: u8 = 6;

#[derive(Clone, Debug)]
enum Step {
    Snapshot(String),
    /// Envoy handles what came first.
    Handle,
    /// Requests of Envoy arrive.
    Arrive,
    Reconnect,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let body = || prop_oneof![9 => 0..BAD, 2 => BAD..9];
    let clusters = prop::collection::btree_map("[ab-d]", (body(), body()), 0..4);
    let listeners = prop::collection::btree_map("[l-n]", (body(), body(), body(), body()), 0..3);
    let runtime = prop::option::of(body());
    let snapshot = (clusters, listeners, runtime).prop_map(|(clusters, listeners, runtime)| {
        let mut words = Vec::new();
        words.extend(runtime.map(|runtime| format!("t:{RUNTIME}={runtime}")));
        for (name, (cluster, assignment)) in clusters {
            words.push(format!("c:{name}={cluster}>e:{name} e:{name}={assignment}"));
        }
        for (name, (listener, filter, table, secret)) in listeners {
            words.push(format!(
                "l:{name}={listener}>f:{name},r:{name},s:x{name} f:{name}={filter} \
                 r:{name}={table} s:x{name}={secret}"
            ));
        }
        Step::Snapshot(words.join(" "))
    });
    let step = prop_oneof![
        4 => snapshot,
        8 => Just(Step::Handle),
        8 => Just(Step::Arrive),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(PartialEq, Eq, Debug)]
enum Warming {
    NeedsAssignment(String),
    Refused,
}

/// What Envoy does, as far as it was seen.
#[derive(Default)]
struct Envoy {
    /// In effect, by type and name.
    active: BTreeMap<(ResourceType, String), String>,
    /// What it claims on a new stream: not what it applied of a refused response.
    claims: BTreeMap<(ResourceType, String), String>,
    warming: BTreeMap<String, Warming>,
    /// It has its first clusters: from now on warming ones keep it from answering.
    started: bool,
    subscribed: BTreeSet<(ResourceType, String)>,
    asked: BTreeSet<ResourceType>,
    /// Acknowledgements that wait for clusters to be warm.
    withheld: Vec<DeltaDiscoveryRequest>,
    inbox: VecDeque<DeltaDiscoveryResponse>,
    outbox: VecDeque<DeltaDiscoveryRequest>,
}

/// Bodies name what they require: in the model that is fixed by type and name.
fn required(t: ResourceType, name: &str) -> Vec<(ResourceType, String)> {
    match t {
        ResourceType::Cluster => vec![(type_of("e"), name.to_owned())],
        ResourceType::Listener => {
            vec![
                (type_of("s"), format!("x{name}")),
                (type_of("f"), name.to_owned()),
                (type_of("r"), name.to_owned()),
            ]
        }
        _ => Vec::new(),
    }
}

fn is_bad(body: &str) -> bool {
    body.parse::<u8>().unwrap() >= BAD
}

impl Envoy {
    fn ask(&mut self, t: ResourceType) {
        let names = self.subscribed.iter().filter(|(of, _)| *of == t);
        let claims = self.claims.iter().filter(|((of, _), _)| *of == t);
        let request = DeltaDiscoveryRequest {
            type_url: t.type_url().to_owned(),
            resource_names_subscribe: names.map(|(_, name)| name.clone()).collect(),
            initial_resource_versions: claims
                .map(|((_, name), body)| (name.clone(), version(body)))
                .collect(),
            ..Default::default()
        };
        self.asked.insert(t);
        self.outbox.push_back(request);
    }

    fn connect(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
        self.withheld.clear();
        self.subscribed
            .insert((ResourceType::Runtime, RUNTIME.to_owned()));
        let by_name: BTreeSet<_> = self.subscribed.iter().map(|(t, _)| *t).collect();
        let listened = self.asked.contains(&ResourceType::Listener);
        self.asked.clear();
        self.ask(ResourceType::Cluster);
        for t in by_name {
            self.ask(t);
        }
        if listened {
            self.ask(ResourceType::Listener);
        }
    }

    /// Asks for what the resources in effect require, and no longer for the rest.
    fn update_subscriptions(&mut self) {
        let warming = self
            .warming
            .keys()
            .map(|name| (ResourceType::Cluster, name.clone()));
        let active = self.active.keys().cloned();
        let wanted: BTreeSet<_> = active
            .chain(warming)
            .flat_map(|(t, name)| required(t, &name))
            .chain([(ResourceType::Runtime, RUNTIME.to_owned())])
            .collect();
        let added: Vec<_> = wanted.difference(&self.subscribed).cloned().collect();
        let removed: Vec<_> = self.subscribed.difference(&wanted).cloned().collect();
        self.subscribed = wanted;
        for (t, name) in removed {
            self.active.remove(&(t, name.clone()));
            self.claims.remove(&(t, name.clone()));
            self.outbox.push_back(DeltaDiscoveryRequest {
                type_url: t.type_url().to_owned(),
                resource_names_unsubscribe: vec![name],
                ..Default::default()
            });
        }
        for (t, name) in added {
            self.asked.insert(t);
            self.outbox.push_back(DeltaDiscoveryRequest {
                type_url: t.type_url().to_owned(),
                resource_names_subscribe: vec![name],
                ..Default::default()
            });
        }
    }

    fn handle(&mut self) -> bool {
        let Some(response) = self.inbox.pop_front() else {
            return false;
        };
        let t = ResourceType::from_type_url(&response.type_url).unwrap();
        let resources: Vec<_> = response
            .resources
            .iter()
            .map(|resource| {
                let body = resource.resource.as_ref().unwrap().value.to_vec();
                (resource.name.clone(), String::from_utf8(body).unwrap())
            })
            // What it no longer asks for it ignores.
            .filter(|(name, _)| {
                let wildcard = matches!(t, ResourceType::Cluster | ResourceType::Listener);
                wildcard || self.subscribed.contains(&(t, name.clone()))
            })
            .collect();
        let bad: Vec<_> = resources
            .iter()
            .filter(|(_, body)| is_bad(body))
            .map(|(name, _)| name.clone())
            .collect();
        let waits = !self.warming.is_empty();
        let partly = matches!(t, ResourceType::Cluster | ResourceType::Listener);
        for name in &response.removed_resources {
            if t == ResourceType::Cluster {
                self.warming.remove(name);
            }
            if partly {
                self.active.remove(&(t, name.clone()));
                if bad.is_empty() {
                    self.claims.remove(&(t, name.clone()));
                }
            }
            if t == ResourceType::ClusterLoadAssignment {
                self.warm(name);
            }
        }
        if partly || bad.is_empty() {
            for (name, body) in &resources {
                self.apply(t, name, body);
                if bad.is_empty() {
                    self.claims.insert((t, name.clone()), body.clone());
                }
            }
        }
        if t == ResourceType::ClusterLoadAssignment {
            // Refused or not: it ends the wait.
            for (name, _) in &resources {
                self.warm(name);
            }
        }
        self.update_subscriptions();
        let mut answer = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce,
            ..Default::default()
        };
        if !bad.is_empty() {
            let named: Vec<_> = bad.iter().map(|name| format!("{name}: bad")).collect();
            let message = if partly {
                let what = t.short_name().to_lowercase();
                format!("Error adding/updating {what}(s) {}", named.join(", "))
            } else {
                "missing ]: [".to_owned()
            };
            answer.error_detail = Some(Status {
                message,
                ..Default::default()
            });
            let warms = |warming: &Warming| matches!(warming, Warming::NeedsAssignment(_));
            let pauses = waits || self.warming.values().any(warms);
            if t == ResourceType::Cluster && self.started && pauses {
                self.withheld.push(answer);
            } else {
                self.outbox.push_back(answer);
            }
        } else if t == ResourceType::Cluster {
            self.withheld.push(answer);
        } else {
            self.outbox.push_back(answer);
        }
        if self.warming.is_empty() {
            self.outbox.extend(self.withheld.drain(..));
        }
        true
    }

    fn apply(&mut self, t: ResourceType, name: &str, body: &str) {
        let key = (t, name.to_owned());
        if t == ResourceType::Cluster {
            let same = self.active.get(&key).is_some_and(|active| active == body);
            if is_bad(body) {
                self.warming.insert(name.to_owned(), Warming::Refused);
            } else if !same || self.warming.contains_key(name) {
                let warming = Warming::NeedsAssignment(body.to_owned());
                self.warming.insert(name.to_owned(), warming);
            }
        } else if !is_bad(body) {
            self.active.insert(key, body.to_owned());
        }
    }

    fn warm(&mut self, name: &str) {
        if let Some(Warming::NeedsAssignment(body)) = self.warming.get(name) {
            self.active
                .insert((ResourceType::Cluster, name.to_owned()), body.clone());
            self.warming.remove(name);
        }
    }
}

struct World {
    memory: Memory,
    session: Session,
    envoy: Envoy,
    snapshot: Arc<Snapshot>,
    number: u64,
    now: Instant,
    /// Types with a response that Envoy has not answered, to the session's knowledge.
    outstanding: BTreeMap<&'static str, String>,
}

impl World {
    fn new() -> Self {
        let memory = Memory::default();
        let mut world = Self {
            session: Self::session(&memory),
            memory,
            envoy: Envoy::default(),
            snapshot: Arc::default(),
            number: 0,
            now: Instant::now(),
            outstanding: BTreeMap::new(),
        };
        world.envoy.connect();
        world
    }

    fn session(memory: &Memory) -> Session {
        let options = Options {
            linger: LINGER,
            ..Options::default()
        };
        Session::new(memory.clone(), options)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Snapshot(text) => {
                self.snapshot = Arc::new(snapshot(&text));
                self.number += 1;
                let snapshot = Arc::clone(&self.snapshot);
                let sent = self.session.on_snapshot(self.number, snapshot, self.now);
                self.deliver(sent);
            }
            Step::Handle => {
                self.envoy.handle();
                self.ask_for_listeners();
            }
            Step::Arrive => {
                self.arrive();
            }
            Step::Reconnect => {
                self.session.close();
                self.session = Self::session(&self.memory);
                self.outstanding.clear();
                self.envoy.connect();
                if self.number > 0 {
                    let snapshot = Arc::clone(&self.snapshot);
                    let sent = self.session.on_snapshot(self.number, snapshot, self.now);
                    self.deliver(sent);
                }
            }
            Step::Wait => self.wait(Duration::from_millis(100)),
        }
    }

    /// Envoy asks for listeners once it has its first clusters.
    fn ask_for_listeners(&mut self) {
        let acknowledged = self
            .envoy
            .outbox
            .iter()
            .any(|request| !request.response_nonce.is_empty());
        self.envoy.started |= acknowledged;
        if acknowledged && !self.envoy.asked.contains(&ResourceType::Listener) {
            self.envoy.ask(ResourceType::Listener);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let sent = self.session.on_timer(self.now);
        self.deliver(sent);
    }

    /// An Envoy that started without clusters may not answer the first ones on a new stream.
    fn wait_for_stuck(&mut self) {
        if self.outstanding.keys().eq(["c"].iter()) {
            self.outstanding.clear();
        }
        self.wait(Duration::from_secs(4));
    }

    fn arrive(&mut self) -> bool {
        let Some(request) = self.envoy.outbox.pop_front() else {
            return false;
        };
        if !request.response_nonce.is_empty() {
            let letter = letter(&request.type_url);
            if self.outstanding.get(letter) == Some(&request.response_nonce) {
                self.outstanding.remove(letter);
            }
        }
        let sent = self.session.on_request(request, self.now);
        self.deliver(sent);
        true
    }

    fn deliver(&mut self, sent: Vec<DeltaDiscoveryResponse>) {
        for response in sent {
            let nonce = response.nonce.clone();
            let before = self.outstanding.insert(letter(&response.type_url), nonce);
            assert_eq!(before, None, "two responses of a type are outstanding");
            let t = ResourceType::from_type_url(&response.type_url).unwrap();
            if !matches!(letter(t.type_url()), "c" | "e") {
                assert!(response.resources.len() <= 1, "these go one by one");
            }
            self.envoy.inbox.push_back(response);
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let arrived = self.arrive();
            let handled = self.envoy.handle();
            self.ask_for_listeners();
            if !arrived && !handled {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        assert_eq!(self.outstanding, BTreeMap::new(), "an answer is missing");
        assert_eq!(self.envoy.warming, BTreeMap::new(), "Envoy waits");
        assert_eq!(self.session.acknowledged(), self.number);
        for t in ResourceType::ALL {
            for (name, resource) in self.snapshot.of(t) {
                let wildcard = matches!(t, ResourceType::Cluster | ResourceType::Listener);
                if !wildcard && !self.envoy.subscribed.contains(&(t, name.to_string())) {
                    continue;
                }
                let body = std::str::from_utf8(&resource.body).unwrap();
                let has = self.envoy.active.get(&(t, name.to_string()));
                if is_bad(body) {
                    let refused = self
                        .session
                        .refused()
                        .any(|(of, refused, _)| of == t && refused == name);
                    assert!(refused, "{t} {name} is not known to be refused");
                } else {
                    assert_eq!(has.map(String::as_str), Some(body), "{t} {name}");
                }
            }
        }
        let refused: Vec<_> = self.session.refused().collect();
        for (t, name, _) in &refused {
            let wanted = &self.snapshot.of(*t)[*name];
            assert!(is_bad(std::str::from_utf8(&wanted.body).unwrap()));
        }
        let stale_routes = refused
            .iter()
            .any(|(t, ..)| matches!(letter(t.type_url()), "f" | "l" | "r"));
        for (t, name) in self.envoy.active.keys() {
            let wanted = self.snapshot.of(*t).contains_key(name.as_str());
            match t {
                ResourceType::Listener => assert!(wanted, "{t} {name} is left"),
                ResourceType::Cluster => assert!(wanted || stale_routes, "{t} {name} is left"),
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever happens, Envoy ends with the last snapshot but for what it refuses, nothing waits,
    /// and there are never two responses of a type under way.
    #[test]
    fn converges(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.step(Step::Snapshot("c:a=1>e:a e:a=1".to_owned()));
        world.settle();
        world.wait_for_stuck();
        world.settle();
        assert_eq!(world.outstanding, BTreeMap::new(), "an answer is missing");
        world.wait(LINGER);
        world.settle();
        world.check();
    }

    #[test]
    fn converges_without_a_last_good_snapshot(steps in steps()) {
        let mut world = World::new();
        world.step(Step::Snapshot(String::new()));
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.wait_for_stuck();
        world.settle();
        assert_eq!(world.outstanding, BTreeMap::new(), "an answer is missing");
        world.wait(LINGER);
        world.settle();
        world.check();
    }
}
