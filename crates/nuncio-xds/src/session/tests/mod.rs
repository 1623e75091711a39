//! The rules, at the level of messages.
//!
//! A snapshot is written `c:a=1>e:a e:a=1 l:l=1>r:t,s:x r:t=1`: type, name, body, and what it
//! requires. A response is written `c a=1 -b`: the type, what it brings, what it removes.

mod changes;
mod model;
mod progress;
mod refusals;
mod removals;
mod streams;
mod subscriptions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nuncio_envoy_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use nuncio_envoy_api::google::rpc::Status;
use nuncio_envoy_api::resource::{Resource, ResourceType, Snapshot};

use super::{Options, Session};
use crate::memory::Memory;

const LINGER: Duration = Duration::from_secs(30);
const BASE: &str = "c:a=1>e:a e:a=1 l:l=1>r:t r:t=1";

fn type_of(letter: &str) -> ResourceType {
    match letter {
        "t" => ResourceType::Runtime,
        "c" => ResourceType::Cluster,
        "e" => ResourceType::ClusterLoadAssignment,
        "s" => ResourceType::Secret,
        "f" => ResourceType::ExtensionConfig,
        "l" => ResourceType::Listener,
        "r" => ResourceType::RouteConfiguration,
        other => panic!("no type is called {other}"),
    }
}

fn letter(type_url: &str) -> &'static str {
    match ResourceType::from_type_url(type_url).unwrap() {
        ResourceType::Runtime => "t",
        ResourceType::Cluster => "c",
        ResourceType::ClusterLoadAssignment => "e",
        ResourceType::Secret => "s",
        ResourceType::ExtensionConfig => "f",
        ResourceType::Listener => "l",
        ResourceType::RouteConfiguration => "r",
    }
}

fn version(body: &str) -> String {
    Resource::new(Bytes::copy_from_slice(body.as_bytes()))
        .version
        .to_string()
}

fn snapshot(text: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for word in text.split_whitespace() {
        let (letter, rest) = word.split_once(':').unwrap();
        let (name, rest) = rest.split_once('=').unwrap();
        let (body, requires) = rest.split_once('>').unwrap_or((rest, ""));
        let mut resource = Resource::new(Bytes::copy_from_slice(body.as_bytes()));
        for required in requires.split(',').filter(|required| !required.is_empty()) {
            let (letter, name) = required.split_once(':').unwrap();
            resource.requires.push((type_of(letter), name.into()));
        }
        snapshot.insert(type_of(letter), name.into(), resource.into());
    }
    snapshot
}

fn write(response: &DeltaDiscoveryResponse) -> String {
    let mut words = vec![letter(&response.type_url).to_owned()];
    for resource in &response.resources {
        let body = &resource.resource.as_ref().unwrap().value;
        let body = std::str::from_utf8(body).unwrap();
        words.push(format!("{}={body}", resource.name));
    }
    for name in &response.removed_resources {
        words.push(format!("-{name}"));
    }
    words.join(" ")
}

/// A session, and an Envoy that says what it is told to say.
struct Stream {
    session: Session,
    now: Instant,
    number: u64,
    /// By type.
    nonces: HashMap<String, String>,
}

impl Stream {
    fn new() -> Self {
        Self::with(&Memory::default())
    }

    fn with(memory: &Memory) -> Self {
        Self::with_options(
            memory,
            Options {
                linger: LINGER,
                ..Options::default()
            },
        )
    }

    fn with_options(memory: &Memory, options: Options) -> Self {
        Self {
            session: Session::new(memory.clone(), options),
            now: Instant::now(),
            number: 0,
            nonces: HashMap::new(),
        }
    }

    /// An Envoy that has all of a snapshot.
    fn started(text: &str) -> Self {
        Self::new().start(text)
    }

    fn start(mut self, text: &str) -> Self {
        self.snapshot(text);
        let mut sent = self.ask("c", "");
        let required = snapshot(text);
        let mut listeners = false;
        loop {
            let mut more = Vec::new();
            for response in sent {
                let letter = &response[..1];
                more.extend(self.ack(letter));
                for word in response.split_whitespace().skip(1) {
                    let name = word.split('=').next().unwrap();
                    if let Some(resource) = required.of(type_of(letter)).get(name) {
                        for (t, name) in &resource.requires {
                            let letter = self::letter(t.type_url());
                            more.extend(self.subscribe(letter, name));
                        }
                    }
                }
            }
            if more.is_empty() && !std::mem::replace(&mut listeners, true) {
                more = self.ask("l", "");
            }
            if more.is_empty() {
                return self;
            }
            sent = more;
        }
    }

    fn sent(&mut self, responses: Vec<DeltaDiscoveryResponse>) -> Vec<String> {
        responses
            .iter()
            .map(|response| {
                let letter = letter(&response.type_url).to_owned();
                self.nonces.insert(letter, response.nonce.clone());
                write(response)
            })
            .collect()
    }

    fn snapshot(&mut self, text: &str) -> Vec<String> {
        self.number += 1;
        let responses = self
            .session
            .on_snapshot(self.number, Arc::new(snapshot(text)), self.now);
        self.sent(responses)
    }

    fn request(&mut self, letter: &str, request: DeltaDiscoveryRequest) -> Vec<String> {
        let request = DeltaDiscoveryRequest {
            type_url: type_of(letter).type_url().to_owned(),
            ..request
        };
        let responses = self.session.on_request(request, self.now);
        self.sent(responses)
    }

    /// The first request of a wildcard; `claims` is what Envoy has, as `a=1 b=2`.
    fn ask(&mut self, letter: &str, claims: &str) -> Vec<String> {
        self.resubscribe(letter, "", claims)
    }

    /// The first request on a stream for names of which Envoy has some.
    fn resubscribe(&mut self, letter: &str, names: &str, claims: &str) -> Vec<String> {
        let claims = claims.split_whitespace().map(|claim| {
            let (name, body) = claim.split_once('=').unwrap();
            (name.to_owned(), version(body))
        });
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: names.split_whitespace().map(str::to_owned).collect(),
            initial_resource_versions: claims.collect(),
            ..Default::default()
        };
        self.request(letter, request)
    }

    fn subscribe(&mut self, letter: &str, names: &str) -> Vec<String> {
        self.resubscribe(letter, names, "")
    }

    fn unsubscribe(&mut self, letter: &str, names: &str) -> Vec<String> {
        let request = DeltaDiscoveryRequest {
            resource_names_unsubscribe: names.split_whitespace().map(str::to_owned).collect(),
            ..Default::default()
        };
        self.request(letter, request)
    }

    fn ack(&mut self, letter: &str) -> Vec<String> {
        let request = DeltaDiscoveryRequest {
            response_nonce: self.nonces[letter].clone(),
            ..Default::default()
        };
        self.request(letter, request)
    }

    fn nack(&mut self, letter: &str, detail: &str) -> Vec<String> {
        let request = DeltaDiscoveryRequest {
            response_nonce: self.nonces[letter].clone(),
            error_detail: Some(Status {
                message: detail.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.request(letter, request)
    }

    /// Lets time pass.
    fn wait(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        let responses = self.session.on_timer(self.now);
        self.sent(responses)
    }

    fn refused(&self) -> Vec<String> {
        let mut refused: Vec<_> = self
            .session
            .refused()
            .map(|(t, name, _)| format!("{}:{name}", letter(t.type_url())))
            .collect();
        refused.sort();
        refused
    }
}

const NOTHING: [&str; 0] = [];
