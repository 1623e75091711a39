//! What the API server has to know: the authority in its Secret, and the CRDs and the validating
//! webhook that trust it.
//!
//! Replicas need no leader: each works towards the same state, and what another wrote meanwhile is
//! a conflict, after which the newer state is looked at. A new authority is made while the old one
//! is still good. The Secret then has both, the CRDs trust both, and a replica signs with the new
//! one only when all CRDs have trusted it for a while: so no conversion fails on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition,
};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use nuncio_api::getambassador::GROUP;
use nuncio_api::getambassador::crd::WebhookService;
use serde_json::json;

use crate::authority::{Authority, CA_LIFE, ServerCertificates};
use crate::webhook;

/// The Secret with the authority, as Emissary names it.
pub const SECRET: &str = "emissary-ingress-webhook-ca";

/// By what nuncio's changes are known.
pub(crate) const FIELD_MANAGER: &str = "nuncio-apiext";

/// How often everything is looked at, whether or not something changed.
const LOOK: Duration = Duration::from_secs(10);

/// How often validation is set up again, should somebody have taken it away.
const TELL_AGAIN: Duration = Duration::from_secs(300);

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The authority before, while some may still trust only that.
const OLD_CERTIFICATE: &str = "old.crt";
const OLD_KEY: &str = "old.key";

/// What is managed, and how.
#[derive(Clone, Debug)]
pub struct Managed {
    /// Who is asked.
    pub service: WebhookService,
    /// Whether the authority is made and renewed here.
    pub authority: bool,
    /// Whether the CRDs are told of it.
    pub crds: bool,
    /// Whether objects are validated.
    pub validation: bool,
    /// Which CRDs, as a label selector.
    pub crd_selector: String,
    /// How long CRDs must have trusted a new authority before it signs.
    pub settling: Duration,
}

/// Keeps all of that so until it is dropped.
pub(crate) struct Manager {
    client: Client,
    managed: Managed,
    certificates: Arc<ServerCertificates>,
    ready: Arc<AtomicBool>,
    /// `None` before it is known whether there is one.
    secret: Option<Option<Secret>>,
    crds: Option<BTreeMap<String, Crd>>,
    /// CRDs that are being listed anew.
    listed: BTreeMap<String, Crd>,
    /// The bundle that the validating webhook was told last, and when.
    told: Option<(String, Instant)>,
    /// The newest authority, and since when all CRDs trust it.
    trusted: Option<(String, Instant)>,
    said: Option<String>,
}

/// What matters of a CRD.
struct Crd {
    resource_version: String,
    versions: usize,
    conversion: Option<CustomResourceConversion>,
}

/// What the Secret holds.
struct Authorities {
    current: Arc<Authority>,
    old: Option<Arc<Authority>>,
}

impl Manager {
    pub(crate) fn new(
        client: Client,
        managed: Managed,
        certificates: Arc<ServerCertificates>,
        ready: Arc<AtomicBool>,
    ) -> Self {
        Self {
            client,
            managed,
            certificates,
            ready,
            secret: None,
            crds: None,
            listed: BTreeMap::new(),
            told: None,
            trusted: None,
            said: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let namespace = &self.managed.service.namespace;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let named = watcher::Config::default().fields(&format!("metadata.name={SECRET}"));
        let mut secrets = watcher(secrets, named).default_backoff().boxed();
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let labelled = watcher::Config::default().labels(&self.managed.crd_selector);
        let mut crds = watcher(crds, labelled).default_backoff().boxed();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let seen = tokio::select! {
                event = secrets.try_next() => event.map(|event| event.map(|event| self.secret_event(event))),
                event = crds.try_next() => event.map(|event| event.map(|event| self.crd_event(event))),
                _ = look.tick() => Ok(None),
            };
            let outcome = match seen {
                Ok(_) => self.reconcile().await,
                Err(error) => Err(anyhow::Error::new(error).context("cannot watch")),
            };
            match outcome {
                Ok(()) => self.said = None,
                Err(error) => self.say(format!("{error:#}")),
            }
        }
    }

    /// Says once what keeps it from its work.
    fn say(&mut self, what: String) {
        if self.said.as_ref() != Some(&what) {
            tracing::error!("{what}");
            self.said = Some(what);
        }
    }

    fn secret_event(&mut self, event: Event<Secret>) {
        match event {
            Event::Init => self.secret = None,
            Event::InitApply(secret) | Event::Apply(secret) => self.secret = Some(Some(secret)),
            Event::InitDone => {
                self.secret.get_or_insert(None);
            }
            Event::Delete(_) => self.secret = Some(None),
        }
    }

    fn crd_event(&mut self, event: Event<CustomResourceDefinition>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(crd) => {
                if let Some((name, crd)) = Crd::read(crd) {
                    self.listed.insert(name, crd);
                }
            }
            Event::InitDone => self.crds = Some(std::mem::take(&mut self.listed)),
            Event::Apply(crd) => {
                if let (Some(crds), Some((name, crd))) = (&mut self.crds, Crd::read(crd)) {
                    crds.insert(name, crd);
                }
            }
            Event::Delete(crd) => {
                if let Some(crds) = &mut self.crds {
                    crds.remove(&crd.name_any());
                }
            }
        }
    }

    /// One step towards what should be. What is written comes back as an event, and is the next.
    async fn reconcile(&mut self) -> anyhow::Result<()> {
        let (Some(secret), Some(_)) = (self.secret.clone(), &self.crds) else {
            return Ok(());
        };
        let Some(authorities) = self.authorities(secret).await? else {
            self.ready.store(false, Ordering::Relaxed);
            return Ok(());
        };
        let bundle = authorities.bundle();
        if self.managed.crds {
            self.tell_crds(&bundle).await?;
        }
        let signing = self.signing(&authorities);
        let ready = self.trust(&signing.certificate);
        self.certificates.sign_with(signing);
        if self.ready.swap(ready, Ordering::Relaxed) != ready {
            tracing::info!(ready, "webhooks");
        }
        let is_told =
            |(told, when): &(String, Instant)| *told == bundle && when.elapsed() < TELL_AGAIN;
        if self.managed.validation && !self.told.as_ref().is_some_and(is_told) {
            webhook::apply(&self.client, &self.managed.service, &bundle)
                .await
                .context("cannot set up validation")?;
            self.told = Some((bundle, Instant::now()));
        }
        Ok(())
    }

    /// The authorities of the Secret; `None` if it was written just now, or is somebody else's to
    /// write.
    async fn authorities(&mut self, secret: Option<Secret>) -> anyhow::Result<Option<Authorities>> {
        let now = SystemTime::now();
        let found = secret.as_ref().map(|secret| Authorities::read(secret, now));
        let (old, why) = match found {
            Some(Ok(found)) if !self.managed.authority || !found.current.is_ending(now) => {
                return Ok(Some(found));
            }
            Some(Ok(found)) => (Some(found.current), "ends soon".to_owned()),
            Some(Err(error)) => (None, error.to_string()),
            None => (None, "there is none yet".to_owned()),
        };
        let name = format!("{}/{SECRET}", self.managed.service.namespace);
        if !self.managed.authority {
            anyhow::bail!("no authority in the Secret {name}, which is managed elsewhere: {why}");
        }
        tracing::info!("making an authority for the webhooks in the Secret {name}: {why}");
        let new = Authority::generate(now, CA_LIFE).context("cannot make an authority")?;
        let written = self.write(secret, &new, old.as_deref()).await;
        match written {
            Ok(written) => {
                self.secret = Some(Some(written.clone()));
                let authorities = Authorities::read(&written, now);
                Ok(Some(authorities.context("cannot read the new authority")?))
            }
            // Another replica was faster; the watch brings what it wrote.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot write the Secret {name}")),
        }
    }

    async fn write(
        &self,
        secret: Option<Secret>,
        new: &Authority,
        old: Option<&Authority>,
    ) -> Result<Secret, kube::Error> {
        let namespace = &self.managed.service.namespace;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.into()));
        let mut data = BTreeMap::from([entry(CERTIFICATE, &new.certificate), entry(KEY, &new.key)]);
        if let Some(old) = old {
            data.extend([
                entry(OLD_CERTIFICATE, &old.certificate),
                entry(OLD_KEY, &old.key),
            ]);
        }
        match secret {
            Some(mut secret) => {
                secret.data = Some(data);
                secrets.replace(SECRET, &params, &secret).await
            }
            None => {
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(SECRET.to_owned()),
                        ..ObjectMeta::default()
                    },
                    type_: Some("kubernetes.io/tls".to_owned()),
                    data: Some(data),
                    ..Secret::default()
                };
                secrets.create(&params, &secret).await
            }
        }
    }

    /// Has each CRD that is converted trust `bundle`.
    async fn tell_crds(&mut self, bundle: &str) -> anyhow::Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let wanted = webhook::conversion(&self.managed.service, bundle)?;
        let crds = self.crds.iter_mut().flatten();
        for (name, crd) in crds.filter(|(_, crd)| crd.is_converted()) {
            if crd.conversion.as_ref() == Some(&wanted) {
                continue;
            }
            tracing::info!("telling {name} who converts, and whom to trust");
            let patch = json!({
                "metadata": {"resourceVersion": crd.resource_version},
                "spec": {"conversion": wanted},
            });
            match api.patch(name, &params, &Patch::Merge(patch)).await {
                Ok(patched) => {
                    if let Some((_, patched)) = Crd::read(patched) {
                        *crd = patched;
                    }
                }
                // Changed or deleted meanwhile: the watch brings it.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot change the CRD {name}"));
                }
            }
        }
        Ok(())
    }

    /// Whether every CRD that is converted trusts a certificate.
    fn trust(&self, certificate: &str) -> bool {
        let mut crds = self.crds.iter().flat_map(BTreeMap::values);
        crds.all(|crd| !crd.is_converted() || crd.trusts(certificate))
    }

    /// The newest authority that has been trusted for long enough, or the one before.
    fn signing(&mut self, authorities: &Authorities) -> Arc<Authority> {
        let newest = &authorities.current;
        let Some(old) = &authorities.old else {
            return Arc::clone(newest);
        };
        if !self.trust(&newest.certificate) {
            self.trusted = None;
            return Arc::clone(old);
        }
        let since = match &self.trusted {
            Some((certificate, since)) if *certificate == newest.certificate => *since,
            _ => {
                let since = Instant::now();
                self.trusted = Some((newest.certificate.clone(), since));
                since
            }
        };
        Arc::clone(if since.elapsed() >= self.managed.settling {
            newest
        } else {
            old
        })
    }
}

// === impl Crd ===

impl Crd {
    fn read(crd: CustomResourceDefinition) -> Option<(String, Self)> {
        let name = crd.name_any();
        (crd.spec.group == GROUP).then(|| {
            let resource_version = crd.resource_version().unwrap_or_default();
            let read = Self {
                resource_version,
                versions: crd.spec.versions.len(),
                conversion: crd.spec.conversion,
            };
            (name, read)
        })
    }

    /// Whether somebody wants it converted, by this server or another.
    fn is_converted(&self) -> bool {
        let strategy = self
            .conversion
            .as_ref()
            .map(|found| found.strategy.as_str());
        self.versions > 1 && strategy != Some("None")
    }

    fn trusts(&self, certificate: &str) -> bool {
        let webhook = self
            .conversion
            .as_ref()
            .and_then(|found| found.webhook.as_ref());
        let client = webhook.and_then(|webhook| webhook.client_config.as_ref());
        let bundle = client.and_then(|client| client.ca_bundle.as_ref());
        bundle.is_some_and(|bundle| String::from_utf8_lossy(&bundle.0).contains(certificate))
    }
}

// === impl Authorities ===

impl Authorities {
    fn read(secret: &Secret, now: SystemTime) -> Result<Self, crate::authority::CaError> {
        let text = |name: &str| {
            let data = secret.data.as_ref().and_then(|data| data.get(name));
            data.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
        };
        let parse = |certificate: &str, key: &str| {
            let (certificate, key) = (text(certificate), text(key));
            Authority::parse(
                &certificate.unwrap_or_default(),
                &key.unwrap_or_default(),
                now,
            )
        };
        let current = parse(CERTIFICATE, KEY)?;
        // One that is good no more is of no use; so is one that was put beside another.
        let old = parse(OLD_CERTIFICATE, OLD_KEY).ok();
        let old = old.filter(|old| old.certificate != current.certificate);
        Ok(Self {
            current: Arc::new(current),
            old: old.map(Arc::new),
        })
    }

    /// What is to be trusted, in PEM.
    fn bundle(&self) -> String {
        let old = self.old.as_ref().map_or("", |old| &old.certificate);
        format!("{}{old}", self.current.certificate)
    }
}
