//! What must come of a request.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use nuncio_echo::Seen;
use nuncio_echo::certs::Pair;
use serde_json::{Value, json};

use crate::case::{Expect, Parts, SeenExpect};

/// What came of one request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) alpn: Option<String>,
    pub(crate) grpc_status: Option<String>,
}

impl Answer {
    /// The whole of an answer, of which only the status is read.
    pub(crate) fn raw(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("it is not an answer: {text}"))?;
        Ok(Self::bare(status, Bytes::copy_from_slice(bytes)))
    }

    /// One of which nothing else is read.
    pub(crate) fn bare(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
            certificate: None,
            alpn: None,
            grpc_status: None,
        }
    }

    /// What the upstream says of itself and of the request.
    pub(crate) fn said(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    actual: Option<T>,
    expected: &Option<T>,
) -> Result<(), String> {
    if expected.is_some() && actual != *expected {
        return Err(format!("{what} is {actual:?}, not {expected:?}"));
    }
    Ok(())
}

fn has(what: &str, text: &str, parts: &Parts) -> Result<(), String> {
    match parts.iter().find(|part| !text.contains(part)) {
        Some(part) => Err(format!("{what} has no {part:?}: {text:?}")),
        None => Ok(()),
    }
}

impl Expect {
    /// Says what is not as it must be.
    pub(crate) fn check(
        &self,
        answer: &Answer,
        pairs: &HashMap<String, Pair>,
    ) -> Result<(), String> {
        let text = String::from_utf8_lossy(&answer.body);
        self.check_answer(answer, pairs)
            .map_err(|error| format!("{error}\n{text}"))
    }

    fn check_answer(&self, answer: &Answer, pairs: &HashMap<String, Pair>) -> Result<(), String> {
        let said = answer.said();
        same("status", Some(answer.status), &self.status)?;
        same("grpc-status", answer.grpc_status.clone(), &self.grpc_status)?;
        same("upstream", string(&said["upstream"]), &self.upstream)?;
        self.seen.check(&said)?;
        for (name, parts) in &self.header_has {
            let value = answer.headers.get(name.as_str());
            let value = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
            has(&format!("response header {name}"), value, parts)?;
        }
        for (name, expected) in &self.headers {
            let values = answer.headers.get_all(name.as_str());
            let values: Vec<_> = values.iter().filter_map(|v| v.to_str().ok()).collect();
            let values = (!values.is_empty()).then(|| values.join(", "));
            if values != *expected {
                return Err(format!("response header {name} is {values:?}"));
            }
        }
        self.check_body(&answer.body)?;
        let alpn = answer.alpn.as_deref().unwrap_or_default();
        if self
            .alpn
            .as_deref()
            .is_some_and(|expected| expected != alpn)
        {
            return Err(format!("the protocol is {alpn:?}"));
        }
        if let Some(secret) = &self.certificate
            && answer.certificate.as_deref() != Some(&pairs[secret].cert_der[..])
        {
            return Err(format!("the certificate is not that of {secret}"));
        }
        Ok(())
    }

    fn check_body(&self, body: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(body);
        if let Some(parts) = &self.body {
            has("the body", &text, parts)?;
        }
        let lacks = self.body_lacks.iter().flat_map(Parts::iter);
        if let Some(part) = lacks.into_iter().find(|part| text.contains(part)) {
            return Err(format!("the body has {part:?}"));
        }
        if let Some([least, most]) = self.size
            && !(least..=most).contains(&body.len())
        {
            return Err(format!("the body has {} bytes", body.len()));
        }
        let digits: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        match &self.bytes {
            Some(begin) if !digits.starts_with(begin) => Err(format!("the body is {digits}")),
            _ => Ok(()),
        }
    }
}

impl SeenExpect {
    /// Says what of a request is not as it must be. It is as the upstream says it.
    fn check(&self, said: &Value) -> Result<(), String> {
        if let Some(part) = &self.head
            && !said["head"].as_str().unwrap_or_default().contains(part)
        {
            return Err(format!("{part:?} did not reach it"));
        }
        same("method", string(&said["method"]), &self.method)?;
        same("path", string(&said["path"]), &self.path)?;
        same("host", string(&said["host"]), &self.host)?;
        same("protocol", string(&said["protocol"]), &self.protocol)?;
        same("sni", string(&said["tls"]["sni"]), &self.sni)?;
        same("body", string(&said["body"]), &self.body)?;
        if let Some(parts) = &self.body_has {
            let body = said["body"].as_str().unwrap_or_default();
            has("the body, as it reached it,", body, parts)?;
        }
        same("connection", said["connection"].as_u64(), &self.connection)?;
        for (name, expected) in &self.headers {
            let values = said["headers"][name].as_array().map(|values| {
                let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
                values.join(", ")
            });
            if values != *expected {
                return Err(format!("{name} reached it as {values:?}"));
            }
        }
        for (name, parts) in &self.header_has {
            let value = said["headers"][name][0].as_str().unwrap_or_default();
            has(&format!("{name}, as it reached it,"), value, parts)?;
        }
        Ok(())
    }

    /// Whether a request is such a one.
    pub(crate) fn is(&self, seen: &Seen) -> bool {
        self.check(&json!({
            "method": seen.method,
            "path": seen.path,
            "host": seen.host,
            "headers": seen.headers,
            "body": String::from_utf8_lossy(&seen.body),
        }))
        .is_ok()
    }
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
