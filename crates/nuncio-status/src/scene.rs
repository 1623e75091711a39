//! What is known of the resources at one moment, and which of them are others than the moment before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use nuncio_model::{Entry, Report, ResourceId};
use nuncio_translate::getambassador::{Attached, HostInfo, Inventory, Places};
use nuncio_translate::{Elements, gateway_api, ingress};

/// Everything that a status is made of.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Counts what was computed; 0 before there is anything.
    pub change: u64,
    /// Sorted.
    pub report: Arc<Report>,
    pub inventory: Arc<Inventory>,
    pub attached: Arc<Attached>,
    pub elements: Elements,
    pub ingress: Arc<ingress::Status>,
    pub gateway: Arc<gateway_api::Statuses>,
    /// What is to stand in the cluster for Gateways.
    pub infrastructure: Arc<gateway_api::Infrastructure>,
    /// Of those that stand in annotations and are in the report, the objects that have those.
    pub parents: Arc<BTreeMap<Arc<ResourceId>, ResourceId>>,
}

impl Scene {
    /// Whether a resource counts that is an object of its own.
    pub(crate) fn has(&self, id: &ResourceId) -> bool {
        let ingresses = &self.ingress.ingresses;
        self.elements.generation(id).is_some()
            || ingresses.iter().any(|served| **served == *id)
            || self.gateway.contains_key(id)
    }

    /// What there is to say of a resource.
    pub(crate) fn entries(&self, id: &ResourceId) -> &[Entry] {
        let entries = self.report.entries();
        let start = entries.partition_point(|entry| *entry.resource < *id);
        let length = entries[start..].partition_point(|entry| *entry.resource == *id);
        &entries[start..start + length]
    }
}

/// What of a scene is to be found by resource, kept from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Index {
    mappings: HashMap<Arc<ResourceId>, Arc<Places>>,
    /// Whether each has a certificate.
    hosts: HashMap<Arc<ResourceId>, bool>,
    ingresses: HashSet<Arc<ResourceId>>,
}

impl Index {
    /// The Hosts that take a Mapping; `None` where it is no part of what is served.
    pub(crate) fn mapping(&self, id: &ResourceId) -> Option<&Places> {
        self.mappings.get(id).map(|places| &**places)
    }

    pub(crate) fn has_certificate(&self, host: &ResourceId) -> Option<bool> {
        self.hosts.get(host).copied()
    }

    pub(crate) fn is_ingress(&self, id: &ResourceId) -> bool {
        self.ingresses.contains(id)
    }

    /// Goes on to the next scene. Returns what may have another status in it, beside what was written
    /// anew.
    pub(crate) fn update(&mut self, before: &Scene, now: &Scene) -> HashSet<Arc<ResourceId>> {
        let mut changed: HashSet<Arc<ResourceId>> = entries_changed(before, now).collect();
        if !Arc::ptr_eq(&before.attached, &now.attached) {
            now.attached
                .mappings_changed(&before.attached, |id, places| {
                    match places {
                        Some(places) => self.mappings.insert(Arc::clone(id), Arc::clone(places)),
                        None => self.mappings.remove(id),
                    };
                    changed.insert(Arc::clone(id));
                });
            let (old, new) = (before.attached.served(), now.attached.served());
            changed.extend(keys_that_differ(old, new));
        }
        if !Arc::ptr_eq(&before.inventory, &now.inventory) {
            let hosts = now.inventory.hosts.iter().filter(|host| !host.made);
            let certificate = |host: &HostInfo| host.certificate.is_some();
            let hosts: HashMap<_, _> = hosts
                .map(|host| (Arc::clone(&host.origin.resource), certificate(host)))
                .collect();
            let differs = |(id, has): &(&Arc<ResourceId>, &bool)| self.hosts.get(*id) != Some(has);
            let other = hosts.iter().filter(differs).map(|(id, _)| Arc::clone(id));
            changed.extend(other);
            self.hosts = hosts;
        }
        if !Arc::ptr_eq(&before.gateway, &now.gateway) {
            changed.extend(
                before
                    .gateway
                    .diff(&now.gateway)
                    .map(|differs| match differs {
                        DiffItem::Add(id, _) | DiffItem::Remove(id, _) => Arc::clone(id),
                        DiffItem::Update { new: (id, _), .. } => Arc::clone(id),
                    }),
            );
        }
        if !Arc::ptr_eq(&before.ingress, &now.ingress) && before.ingress != now.ingress {
            let same = before.ingress.addresses == now.ingress.addresses;
            let ingresses: HashSet<_> = now.ingress.ingresses.iter().cloned().collect();
            let new = ingresses
                .iter()
                .filter(|id| !same || !self.ingresses.contains(*id));
            changed.extend(new.cloned());
            changed.extend(self.ingresses.difference(&ingresses).cloned());
            self.ingresses = ingresses;
        }
        changed
    }
}

/// The resources of which something else is said.
pub(crate) fn entries_changed(
    before: &Scene,
    now: &Scene,
) -> impl Iterator<Item = Arc<ResourceId>> + use<> {
    let (old, new) = (before.report.entries(), now.report.entries());
    let mut changed = BTreeSet::new();
    let (mut at, mut from) = (0, 0);
    while at < old.len() || from < new.len() {
        let (one, other) = (old.get(at), new.get(from));
        match (one, other) {
            (Some(one), Some(other)) if one == other => (at, from) = (at + 1, from + 1),
            (Some(one), other) if other.is_none_or(|other| one < other) => {
                changed.insert(Arc::clone(&one.resource));
                at += 1;
            }
            (_, Some(other)) => {
                changed.insert(Arc::clone(&other.resource));
                from += 1;
            }
            (_, None) => break,
        }
    }
    changed.into_iter()
}

fn keys_that_differ<T: PartialEq>(
    old: &BTreeMap<Arc<ResourceId>, T>,
    new: &BTreeMap<Arc<ResourceId>, T>,
) -> Vec<Arc<ResourceId>> {
    let gone = old.keys().filter(|id| !new.contains_key(*id));
    let other = new.iter().filter(|(id, says)| old.get(*id) != Some(says));
    gone.chain(other.map(|(id, _)| id)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use nuncio_sources::manifest;
    use nuncio_translate::{Settings, Store, Translator};

    use super::*;
    use crate::desired;

    /// Resources that change, and what is known of them.
    struct Gateway {
        store: Store,
        translator: Translator,
        scene: Scene,
        index: Index,
    }

    impl Gateway {
        fn new() -> Self {
            Self {
                store: Store::new(Default::default()),
                translator: Translator::new(Settings::new(&Default::default())),
                scene: Scene::default(),
                index: Index::default(),
            }
        }

        /// Takes manifests up; returns the resources of which something else may be to say.
        fn apply(&mut self, text: &str) -> Vec<String> {
            let parsed = manifest::parse(&"test.yaml".into(), text).unwrap();
            self.store.apply(parsed.objects, &[]);
            let unread = |_: &str| Err(String::new());
            let translation = self.translator.translate(&mut self.store, unread);
            let scene = Scene {
                change: self.scene.change + 1,
                report: Arc::new(translation.report),
                inventory: Arc::new(translation.inventory),
                attached: Arc::new(translation.attached),
                elements: self.store.elements(),
                ingress: Arc::new(translation.ingress_status),
                gateway: translation.gateway_status,
                infrastructure: translation.infrastructure,
                parents: Arc::default(),
            };
            let changed = self.index.update(&self.scene, &scene);
            // It is as if it had been made afresh.
            let mut fresh = Index::default();
            fresh.update(&Scene::default(), &scene);
            assert_eq!(self.index.mappings, fresh.mappings);
            assert_eq!(self.index.hosts, fresh.hosts);
            assert_eq!(self.index.ingresses, fresh.ingresses);
            self.scene = scene;
            let mut changed: Vec<String> = changed.iter().map(ToString::to_string).collect();
            changed.sort();
            changed
        }

        fn attached(&self, kind: &str, name: &str) -> Vec<String> {
            let id = ResourceId::new("getambassador.io", kind, "default", name);
            desired::status(&self.scene, &self.index, &id)
                .unwrap()
                .attached_to
        }
    }

    fn object(kind: &str, name: &str, rest: &str) -> String {
        format!(
            "apiVersion: getambassador.io/v3alpha1\nkind: {kind}\n\
             metadata: {{name: {name}, namespace: default}}\nspec: {rest}\n---\n"
        )
    }

    fn listener(name: &str, port: u16) -> String {
        let spec = format!(
            "{{port: {port}, protocol: HTTP, securityModel: XFP, \
             hostBinding: {{namespace: {{from: ALL}}}}}}"
        );
        object("Listener", name, &spec)
    }

    fn host(name: &str, hostname: &str) -> String {
        object("Host", name, &format!("{{hostname: \"{hostname}\"}}"))
    }

    fn mapping(name: &str, hostname: &str, prefix: &str) -> String {
        let spec = format!("{{hostname: \"{hostname}\", prefix: {prefix}, service: web}}");
        object("Mapping", name, &spec)
    }

    #[test]
    fn a_change_is_worth_the_resources_of_which_it_says_something_else() {
        let mut gateway = Gateway::new();
        let mappings = (0..50).map(|n| mapping(&format!("m{n:02}"), "*", &format!("/{n}/")));
        let mappings: String = mappings.collect();
        let all = [listener("http", 8080), host("a", "a.example"), mappings].concat();
        assert!(gateway.apply(&all).len() >= 51);
        assert_eq!(gateway.attached("Mapping", "m07"), ["Host default/a"]);
        assert_eq!(gateway.attached("Host", "a"), ["Listener default/http"]);

        assert_eq!(gateway.apply(""), Vec::<String>::new());
        let one = gateway.apply(&mapping("m07", "*", "/other/"));
        assert_eq!(one, ["Mapping default/m07"]);
        let two = gateway.apply(&mapping("m50", "a.example", "/50/"));
        assert_eq!(two, ["Mapping default/m50"]);
        let wrong = object(
            "Mapping",
            "m07",
            "{prefix: \"(\", prefix_regex: true, service: web}",
        );
        assert_eq!(gateway.apply(&wrong), ["Mapping default/m07"]);
        assert!(gateway.attached("Mapping", "m07").is_empty());
        gateway.apply(&mapping("m07", "*", "/7/"));
        assert_eq!(gateway.attached("Mapping", "m07"), ["Host default/a"]);
    }

    #[test]
    fn where_mappings_are_attached_follows_hosts_and_listeners() {
        let mut gateway = Gateway::new();
        let mappings = [
            mapping("every", "*", "/"),
            mapping("own", "b.example", "/own/"),
        ];
        gateway.apply(&[listener("http", 8080), host("a", "a.example")].concat());
        gateway.apply(&mappings.concat());
        assert_eq!(gateway.attached("Mapping", "every"), ["Host default/a"]);
        assert!(gateway.attached("Mapping", "own").is_empty());

        let changed = gateway.apply(&host("b", "b.example"));
        let expected = [
            "Host default/b",
            "Mapping default/every",
            "Mapping default/own",
        ];
        assert_eq!(changed, expected);
        assert_eq!(gateway.attached("Mapping", "own"), ["Host default/b"]);

        // Many are not all named, and those that come then change nothing.
        let many: String = ('c'..='h')
            .map(|n| host(&n.to_string(), &format!("{n}.example")))
            .collect();
        gateway.apply(&many);
        let named = [
            "Host default/a",
            "Host default/b",
            "Host default/c",
            "Host default/d",
        ];
        let attached = gateway.attached("Mapping", "every");
        assert_eq!(attached, [&named[..], &["and others"]].concat());
        assert_eq!(gateway.apply(&host("i", "i.example")), ["Host default/i"]);

        gateway.apply(&listener("other", 8081));
        let listeners = ["Listener default/http", "Listener default/other"];
        assert_eq!(gateway.attached("Host", "a"), listeners);
    }

    #[test]
    fn a_listener_that_is_not_there_is_missed() {
        let mut gateway = Gateway::new();
        gateway.apply(&[host("a", "a.example"), mapping("m", "*", "/")].concat());
        let id = ResourceId::new("getambassador.io", "Mapping", "default", "m");
        let status = |gateway: &Gateway| {
            let status = desired::status(&gateway.scene, &gateway.index, &id).unwrap();
            (status.state.unwrap(), status.conditions[0].reason.clone())
        };
        assert_eq!(
            status(&gateway),
            ("Inactive".to_owned(), "NotBound".to_owned())
        );
        gateway.apply(&listener("http", 8080));
        // There is no Service web, which is a warning.
        assert_eq!(
            status(&gateway),
            ("Running".to_owned(), "RefNotFound".to_owned())
        );
        // One that is for another nuncio has no status.
        let other = object(
            "Mapping",
            "m",
            "{ambassador_id: [other], prefix: /, service: web}",
        );
        gateway.apply(&other);
        assert_eq!(desired::status(&gateway.scene, &gateway.index, &id), None);
    }
}
