//! Which limit a descriptor is under.
//!
//! A domain is a tree: each entry of a descriptor goes one level down, and the limit is where the
//! last one leads to. A level is looked up as envoyproxy/ratelimit does: first `key_value`, then
//! the wildcards in the order of the file, then `key` alone.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use nuncio_envoy_api::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use nuncio_envoy_api::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;

use crate::file::{Descriptor, File, FileError, FileLimit, Quota};
use crate::metrics::{Metrics, RuleStats};

/// The limits of all files.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    domains: HashMap<String, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// By `key_value` or `key`.
    children: HashMap<String, Node>,
    /// Those of the children that end with `*`, in the order of the file.
    wildcards: Vec<String>,
    limit: Option<Limit>,
    detailed_metric: bool,
    value_to_metric: bool,
    share_threshold: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Limit {
    quota: Quota,
    name: String,
    replaces: Vec<String>,
    shadow_mode: bool,
    quota_mode: bool,
    stats: Arc<RuleStats>,
}

/// The limit that a descriptor is under.
#[derive(Debug)]
pub(crate) struct Found<'rules> {
    pub(crate) quota: Quota,
    pub(crate) name: &'rules str,
    pub(crate) replaces: &'rules [String],
    pub(crate) shadow_mode: bool,
    pub(crate) quota_mode: bool,
    pub(crate) stats: Arc<RuleStats>,
    /// Entries that share one counter with others, by their index: what stands for their value.
    pub(crate) shared: Vec<(usize, &'rules str)>,
}

/// How an entry was found.
enum By<'rules> {
    Value,
    Wildcard(&'rules str),
    Key,
}

/// An entry on the way to a limit.
struct Step<'rules> {
    by: By<'rules>,
    node: &'rules Node,
}

impl Rules {
    pub(crate) fn knows(&self, domain: &str) -> bool {
        self.domains.contains_key(domain)
    }

    /// Adds what a file says, or nothing of it.
    pub(crate) fn add(
        &mut self,
        file: &File,
        merge_domains: bool,
        metrics: &Metrics,
    ) -> Result<(), FileError> {
        let mut domain = match self.domains.get(&file.domain) {
            None => Node::default(),
            Some(domain) if merge_domains => domain.clone(),
            Some(_) => {
                let message = format!(
                    "the domain \"{}\" is in another file already: put all of it into one, or start \
                     with --merge-domains",
                    file.domain
                );
                return Err(FileError::new(file.domain_at, message));
            }
        };
        domain.add(&file.descriptors, &mut vec![file.domain.clone()], metrics)?;
        self.domains.insert(file.domain.clone(), domain);
        Ok(())
    }

    /// The limit that holds for a descriptor of a known domain.
    pub(crate) fn find<'rules>(
        &'rules self,
        domain: &str,
        descriptor: &RateLimitDescriptor,
        metrics: &Metrics,
    ) -> Option<Found<'rules>> {
        let steps = self.domains.get(domain)?.steps(&descriptor.entries)?;
        let last = steps.last()?.node;
        let limit = last.limit.as_ref()?;
        let shared: Vec<_> = steps
            .iter()
            .zip(&descriptor.entries)
            .enumerate()
            .filter_map(|(index, (step, entry))| match step.by {
                By::Wildcard(wildcard) if step.node.share_threshold => {
                    Some((index, value_of(wildcard, entry)))
                }
                _ => None,
            })
            .collect();
        let stats = if last.detailed_metric {
            let path = descriptor.entries.iter().enumerate().map(|(index, entry)| {
                let Entry { key, value, .. } = entry;
                match shared.iter().find(|(shared, _)| *shared == index) {
                    Some((_, value)) => format!("{key}_{value}"),
                    // envoyproxy/ratelimit names an empty value only where nothing is shared.
                    None if value.is_empty() && !shared.is_empty() => key.clone(),
                    None => format!("{key}_{value}"),
                }
            });
            metrics.dynamic(domain, path.collect(), &limit.stats)
        } else if steps
            .iter()
            .zip(&descriptor.entries)
            .any(|(step, entry)| step.has_metric(entry))
        {
            let path = steps
                .iter()
                .zip(&descriptor.entries)
                .map(|(step, entry)| step.metric(entry));
            metrics.dynamic(domain, path.collect(), &limit.stats)
        } else {
            Arc::clone(&limit.stats)
        };
        Some(Found {
            quota: limit.quota,
            name: &limit.name,
            replaces: &limit.replaces,
            shadow_mode: limit.shadow_mode,
            quota_mode: limit.quota_mode,
            stats,
            shared,
        })
    }
}

impl Node {
    /// On an error some may have been added.
    fn add(
        &mut self,
        descriptors: &[Descriptor],
        path: &mut Vec<String>,
        metrics: &Metrics,
    ) -> Result<(), FileError> {
        for descriptor in descriptors {
            path.push(descriptor.composite.clone());
            let hash_map::Entry::Vacant(place) = self.children.entry(descriptor.composite.clone())
            else {
                let message = format!(
                    "the descriptor {} is there already: leave one of them out",
                    path.join(".")
                );
                return Err(FileError::new(descriptor.at, message));
            };
            let node = place.insert(Node {
                limit: descriptor
                    .limit
                    .as_ref()
                    .map(|limit| Limit::new(limit, metrics.rule(&path[0], &path[1..]))),
                detailed_metric: descriptor.detailed_metric,
                value_to_metric: descriptor.value_to_metric,
                share_threshold: descriptor.share_threshold,
                ..Node::default()
            });
            node.add(&descriptor.descriptors, path, metrics)?;
            if descriptor.composite.ends_with('*') {
                self.wildcards.push(descriptor.composite.clone());
            }
            path.pop();
        }
        Ok(())
    }

    /// Where each of the entries leads; none if one of them leads nowhere.
    fn steps(&self, entries: &[Entry]) -> Option<Vec<Step<'_>>> {
        let mut composite = String::new();
        let mut steps = Vec::with_capacity(entries.len());
        let mut node = self;
        for entry in entries {
            composite.clear();
            composite.push_str(&entry.key);
            composite.push('_');
            composite.push_str(&entry.value);
            let step = node.step(&entry.key, &composite)?;
            node = step.node;
            steps.push(step);
        }
        Some(steps)
    }

    fn step(&self, key: &str, composite: &str) -> Option<Step<'_>> {
        if let Some(node) = self.children.get(composite) {
            let by = By::Value;
            return Some(Step { by, node });
        }
        let wildcard = self
            .wildcards
            .iter()
            .find(|wildcard| composite.starts_with(&wildcard[..wildcard.len() - 1]));
        if let Some(wildcard) = wildcard {
            let by = By::Wildcard(wildcard);
            let node = &self.children[wildcard];
            return Some(Step { by, node });
        }
        let by = By::Key;
        let node = self.children.get(key)?;
        Some(Step { by, node })
    }
}

impl Step<'_> {
    /// Whether metrics name the entry otherwise than the rule. Of a wildcard that is longer than
    /// the key that it was found by, envoyproxy/ratelimit makes a name of both.
    fn has_metric(&self, entry: &Entry) -> bool {
        self.node.value_to_metric
            || matches!(self.by, By::Wildcard(wildcard) if value_of(wildcard, entry) == wildcard)
    }

    /// How the entry is named where values go into metrics.
    fn metric(&self, entry: &Entry) -> String {
        let value = match self.by {
            By::Wildcard(wildcard) if self.node.share_threshold => value_of(wildcard, entry),
            _ if self.node.value_to_metric => &entry.value,
            By::Wildcard(wildcard) => value_of(wildcard, entry),
            By::Value => &entry.value,
            By::Key => "",
        };
        match value {
            "" => entry.key.clone(),
            value => format!("{}_{value}", entry.key),
        }
    }
}

/// The part of a wildcard that stands for values.
fn value_of<'wildcard>(wildcard: &'wildcard str, entry: &Entry) -> &'wildcard str {
    wildcard
        .strip_prefix(entry.key.as_str())
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(wildcard)
}

impl Limit {
    fn new(limit: &FileLimit, stats: Arc<RuleStats>) -> Self {
        Self {
            quota: limit.quota,
            name: limit.name.clone(),
            replaces: limit.replaces.clone(),
            shadow_mode: limit.shadow_mode,
            quota_mode: limit.quota_mode,
            stats,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::parse;

    fn rules(text: &str) -> Rules {
        let mut rules = Rules::default();
        rules
            .add(&parse(text).unwrap(), false, &Metrics::default())
            .unwrap();
        rules
    }

    fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
        let entries = entries.iter().map(|(key, value)| Entry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        });
        RateLimitDescriptor {
            entries: entries.collect(),
            ..RateLimitDescriptor::default()
        }
    }

    /// The name of the limit that is found.
    fn found(rules: &Rules, entries: &[(&str, &str)]) -> Option<String> {
        let found = rules.find("shop", &descriptor(entries), &Metrics::default())?;
        Some(found.name.to_owned())
    }

    #[test]
    fn the_value_counts_more_than_a_wildcard_and_that_more_than_the_key() {
        let rules = rules(
            "
domain: shop
descriptors:
  - {key: path, rate_limit: {unit: day, requests_per_unit: 1, name: any}}
  - {key: path, value: /f*, rate_limit: {unit: day, requests_per_unit: 1, name: f}}
  - {key: path, value: /fo*, rate_limit: {unit: day, requests_per_unit: 1, name: fo}}
  - {key: path, value: /foo, rate_limit: {unit: day, requests_per_unit: 1, name: foo}}
  - key: user
    descriptors:
      - {key: path, rate_limit: {unit: day, requests_per_unit: 1, name: nested}}
",
        );
        assert_eq!(found(&rules, &[("path", "/foo")]).as_deref(), Some("foo"));
        // The first wildcard, not the longest.
        assert_eq!(found(&rules, &[("path", "/fox")]).as_deref(), Some("f"));
        assert_eq!(found(&rules, &[("path", "/")]).as_deref(), Some("any"));
        let nested = [("user", "a"), ("path", "/")];
        assert_eq!(found(&rules, &nested).as_deref(), Some("nested"));
        assert_eq!(found(&rules, &nested[..1]), None);
        assert_eq!(found(&rules, &[("path", "/"), ("path", "/")]), None);
        assert_eq!(found(&rules, &[]), None);
    }

    #[test]
    fn the_same_descriptor_twice_is_refused() {
        let file = parse(
            "domain: shop\ndescriptors:\n  - {key: a, value: b}\n  - key: c\n    descriptors: [{key: d}, {key: d}]\n",
        );
        let error = Rules::default()
            .add(&file.unwrap(), false, &Metrics::default())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "5:29: the descriptor shop.c.d is there already: leave one of them out"
        );
    }

    #[test]
    fn domains_are_merged_when_that_is_asked_for() {
        let mut rules = rules("domain: shop\ndescriptors: [{key: a}]\n");
        let metrics = Metrics::default();
        let other = parse("domain: shop\ndescriptors: [{key: b}]\n").unwrap();
        let error = rules.add(&other, false, &metrics).unwrap_err();
        assert!(error.to_string().contains("is in another file already"));
        rules.add(&other, true, &metrics).unwrap();
        rules.add(&other, true, &metrics).unwrap_err();
        assert_eq!(rules.domains["shop"].children.len(), 2);
    }
}
