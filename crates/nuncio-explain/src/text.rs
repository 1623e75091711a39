//! An explanation as lines that a person reads from top to bottom, the answer last.

use std::fmt;

use crate::explanation::{
    Cluster, ClusterShare, Explanation, HeaderChange, Outcome, Share, Source,
};

/// A line with what it is about; an empty label goes on with the line before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub label: &'static str,
    pub text: String,
}

impl Explanation {
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut say = |label, text: String| lines.push(Line { label, text });
        say("request", format!("{} {}", self.method, self.url));
        if let Some(listener) = &self.listener {
            let (name, address) = (&listener.name, &listener.address);
            let source = &listener.source;
            say(
                "listener",
                format!("{name} on {address} ({}) [{source}]", listener.transport),
            );
        }
        if let Some(chain) = &self.filter_chain {
            say(
                "filter chain",
                format!("{}: {} [{}]", chain.name, chain.takes, chain.source),
            );
        }
        if let Some(arrival) = self.arrival.as_ref().filter(|arrival| arrival.changed) {
            say("seen as", format!("{}{}", arrival.host, arrival.path));
        }
        for filter in &self.filters {
            say(
                "filter",
                format!("{}: {}{}", filter.name, filter.says, place(&filter.source)),
            );
        }
        if let Some(host) = &self.virtual_host {
            say(
                "virtual host",
                format!("{}{}", host.domain, place(&host.source)),
            );
        }
        let several = self.outcomes.len() > 1;
        for share in &self.outcomes {
            if several {
                say("share", format!("{} of 100 requests", share.percent));
            }
            outcome(share, &mut say);
        }
        if let Some(closest) = &self.closest {
            say(
                "closest",
                format!("{} [{}]", closest.route.matches, closest.route.source),
            );
            for each in &closest.differences {
                let found = each.found.as_deref().unwrap_or("nothing");
                say(
                    "",
                    format!(
                        "{}: it asks for {}, the request has {found}",
                        each.what, each.wanted
                    ),
                );
            }
        }
        for note in &self.notes {
            say("note", note.clone());
        }
        lines
    }
}

fn outcome(share: &Share, say: &mut impl FnMut(&'static str, String)) {
    if let Some(route) = &share.route {
        let (place, of) = (route.place, route.of);
        say(
            "route",
            format!("{} ({place} of {of}) [{}]", route.matches, route.source),
        );
    }
    for filter in &share.checks {
        let (name, says) = (&filter.name, &filter.says);
        say("filter", format!("{name}: {says}{}", place(&filter.source)));
    }
    match &share.outcome {
        Outcome::NotConnected { why, help } => {
            say("answer", format!("none: {why}"));
            say("help", help.clone());
        }
        Outcome::Tcp { clusters } => {
            clusters
                .iter()
                .for_each(|each| say("bytes to", weighted(each)));
        }
        Outcome::Refused {
            status,
            why,
            help,
            response_headers,
        }
        | Outcome::Unavailable {
            status,
            why,
            help,
            response_headers,
            ..
        } => {
            headers("response", response_headers, say);
            say("answer", format!("{status}: {why}"));
            say("help", help.clone());
        }
        Outcome::Redirect {
            status,
            location,
            why,
            response_headers,
        } => {
            headers("response", response_headers, say);
            say("answer", format!("{status}, location {location}: {why}"));
        }
        Outcome::DirectResponse {
            status,
            body,
            response_headers,
        } => {
            headers("response", response_headers, say);
            say("answer", format!("{status} by Envoy itself: {body}"));
        }
        Outcome::Preflight {
            status,
            response_headers,
        } => {
            headers("response", response_headers, say);
            say(
                "answer",
                format!("{status} by Envoy itself: a CORS preflight"),
            );
        }
        Outcome::Forward(forward) => {
            say("cluster", cluster(&forward.cluster));
            headers("request", &forward.request_headers, say);
            headers("response", &forward.response_headers, say);
            forward
                .mirrors
                .iter()
                .for_each(|each| say("copies to", weighted(each)));
            if let Some(timeout) = forward.timeout_ms {
                say("timeout", format!("{timeout} ms"));
            }
            if !forward.retry_on.is_empty() {
                say("retries on", forward.retry_on.join(", "));
            }
            let (method, path, host) = (&forward.method, &forward.path, &forward.host);
            say(
                "answer",
                format!("the upstream's, which gets {method} {path} for host {host}"),
            );
        }
    }
}

fn headers(
    label: &'static str,
    changes: &[HeaderChange],
    say: &mut impl FnMut(&'static str, String),
) {
    for HeaderChange {
        name,
        value,
        append,
    } in changes
    {
        say(
            label,
            match value {
                None => format!("- {name}"),
                Some(value) if *append => format!("+ {name}: {value}"),
                Some(value) => format!("= {name}: {value}"),
            },
        );
    }
}

fn weighted(share: &ClusterShare) -> String {
    format!("{} ({} of 100)", cluster(&share.cluster), share.percent)
}

fn cluster(cluster: &Cluster) -> String {
    let endpoints = match cluster.endpoints.is_empty() {
        true => "no endpoints".to_owned(),
        false => cluster.endpoints.join(", "),
    };
    let tls = if cluster.tls { ", TLS" } else { "" };
    let http2 = if cluster.http2 { ", HTTP/2" } else { "" };
    let source = place(&cluster.source);
    format!("{}: {endpoints}{tls}{http2}{source}", cluster.name)
}

fn place(source: &Option<Source>) -> String {
    source
        .as_ref()
        .map(|source| format!(" [{source}]"))
        .unwrap_or_default()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource())?;
        match &self.at {
            Some(at) => write!(f, " {at}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { label, text } in self.lines() {
            writeln!(f, "{label:<14}{text}")?;
        }
        Ok(())
    }
}
