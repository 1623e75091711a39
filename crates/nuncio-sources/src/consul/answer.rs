//! What an agent answers.

use nuncio_model::cluster::Endpoint;
use serde::Deserialize;

/// An instance of a service: an address or the name of a machine, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Instance {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Instance {
    /// `None` where the host is a name.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        let address = self.host.parse().ok()?;
        Some(Endpoint {
            address,
            port: self.port,
        })
    }
}

/// The instances of a body of `/v1/health/service/…`. A service without a port cannot be reached.
pub(super) fn instances(body: &[u8]) -> Result<Vec<Instance>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        node: Node,
        service: Service,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Node {
        address: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Service {
        #[serde(default)]
        address: String,
        #[serde(default)]
        port: u16,
    }
    let entries: Vec<Entry> = serde_json::from_slice(body)?;
    let with_port = entries.into_iter().filter(|entry| entry.service.port > 0);
    Ok(with_port
        .map(|entry| Instance {
            // Its own, or that of its machine.
            host: match entry.service.address.is_empty() {
                true => entry.node.address,
                false => entry.service.address,
            },
            port: entry.service.port,
        })
        .collect())
}

/// What to ask for next: from the beginning where a Consul has begun anew.
pub(super) fn next_index(asked: u64, answered: u64) -> u64 {
    match answered < asked {
        true => 0,
        // Zero would not wait.
        false => answered.max(1),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_that_of_the_service_or_of_its_machine() {
        let body = br#"[
            {"Node": {"Address": "10.0.0.1", "Node": "a"}, "Service": {"Address": "", "Port": 80}, "Checks": []},
            {"Node": {"Address": "10.0.0.1"}, "Service": {"Address": "web.internal", "Port": 8080}},
            {"Node": {"Address": "10.0.0.2"}, "Service": {"Address": "fd00::1"}}
        ]"#;
        let instance = |host: &str, port| Instance {
            host: host.to_owned(),
            port,
        };
        let found = instances(body).unwrap();
        assert_eq!(
            found,
            [instance("10.0.0.1", 80), instance("web.internal", 8080)]
        );
        assert!(found[0].endpoint().is_some() && found[1].endpoint().is_none());
        assert!(instances(b"No cluster leader").is_err());
    }

    #[test]
    fn a_consul_that_began_anew_is_asked_from_the_beginning() {
        assert_eq!(next_index(0, 7), 7);
        assert_eq!(next_index(7, 7), 7);
        assert_eq!(next_index(7, 3), 0);
        assert_eq!(next_index(0, 0), 1);
    }
}
