//! `patch_client=<id>`: what changed since the last answer to a client, as a JSON patch (RFC 6902).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::Value;

use super::document::Document;
use super::json;

/// How long an answer is remembered, and of how many clients.
const REMEMBERED: Duration = Duration::from_secs(60);
const CLIENTS: usize = 10;

/// The last answers, by client.
#[derive(Default)]
pub struct Patches(Mutex<HashMap<String, (Instant, Value)>>);

impl Patches {
    /// The whole of a document to who is new, else what changed.
    pub(super) fn answer(&self, client: &str, document: &Document<'_>) -> Response {
        let mut now: Value = document
            .parts()
            .map(|(key, value)| (key, serde_json::from_str(value.get()).unwrap_or_default()))
            .collect::<HashMap<_, Value>>()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        without_serializations(&mut now);
        match self.remember(client, now.clone(), Instant::now()) {
            None => json(&now),
            Some(before) => {
                let patch = json_patch::diff(&before, &now);
                let body = serde_json::to_vec(&patch).expect("invariant: a patch is JSON");
                let json_patch = "application/json-patch+json";
                ([(header::CONTENT_TYPE, json_patch)], body).into_response()
            }
        }
    }

    /// Takes an answer in; what this client had last, if that is not too long ago.
    fn remember(&self, client: &str, answer: Value, now: Instant) -> Option<Value> {
        let mut answers = self
            .0
            .lock()
            .expect("invariant: nothing panics while it holds the lock");
        answers.retain(|_, (at, _)| now.duration_since(*at) < REMEMBERED);
        let before = answers.remove(client);
        if answers.len() >= CLIENTS
            && let Some(oldest) = answers
                .iter()
                .min_by_key(|(_, (at, _))| *at)
                .map(|(client, _)| client.clone())
        {
            answers.remove(&oldest);
        }
        answers.insert(client.to_owned(), (now, answer));
        before.map(|(_, answer)| answer)
    }
}

/// They are long, and say what other keys say.
fn without_serializations(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("serialization");
            fields.values_mut().for_each(without_serializations);
        }
        Value::Array(items) => items.iter_mut().for_each(without_serializations),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_remembered_for_a_minute_and_for_ten_clients() {
        let patches = Patches::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(patches.remember("a", json!(1), at(0)), None);
        assert_eq!(patches.remember("a", json!(2), at(59)), Some(json!(1)));
        assert_eq!(patches.remember("a", json!(3), at(119)), None);
        for (client, seconds) in (0..CLIENTS).zip(120..) {
            patches.remember(&client.to_string(), json!(client), at(seconds));
        }
        assert_eq!(patches.remember("a", json!(4), at(140)), None);
        assert_eq!(patches.remember("1", json!(0), at(140)), Some(json!(1)));
        assert_eq!(patches.remember("0", json!(1), at(140)), None);
    }

    #[test]
    fn serializations_are_left_out_wherever_they_are() {
        let mut value = json!({"a": [{"serialization": "x", "b": 1}]});
        without_serializations(&mut value);
        assert_eq!(value, json!({"a": [{"b": 1}]}));
    }
}
