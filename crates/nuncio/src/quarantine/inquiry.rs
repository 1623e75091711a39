//! Finding out which resource Envoy's refusal is about.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_model::Origin;
use nuncio_translate::{Settings, Store, translate};
use nuncio_xds::Refusal;
use serde_json::Value;
use tokio::process::Command;

use super::{Found, HARMLESS_KEYS, Quarantine, Rank, can_be_left_out, rank, whole};
use crate::engine::Served;

/// What one answer of Envoy takes at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than so many resources are not to blame one by one: then something is that cannot be left
/// out, and what Envoy accepted last stays.
const MOST: usize = 32;

/// What is to be found out, and all that it takes. It works on a copy of the resources: changes go
/// on meanwhile.
pub struct Inquiry {
    pub(crate) store: Store,
    /// Those that resources name.
    pub(crate) files: BTreeMap<Arc<str>, Result<Arc<str>, String>>,
    pub(crate) settings: Settings,
    pub(crate) quarantine: Quarantine,
    pub(crate) served: Arc<Served>,
    pub refusals: Vec<Refusal>,
}

/// An Envoy that is asked and serves nothing.
#[derive(Clone, Debug)]
pub struct Validator {
    pub envoy: PathBuf,
    /// That of the Envoy that serves.
    pub bootstrap: Arc<Value>,
    /// A file that nobody else uses.
    pub file: PathBuf,
}

impl Validator {
    /// Envoy's words, if it refuses a bootstrap.
    async fn refuses(&self, bootstrap: &Value) -> anyhow::Result<Option<String>> {
        let text = serde_json::to_vec(bootstrap)?;
        let _ = std::fs::remove_file(&self.file);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file)?;
        let _removed = Removed(&self.file);
        file.write_all(&text)?;
        let output = Command::new(&self.envoy)
            .args([
                "--mode",
                "validate",
                "--disable-hot-restart",
                "-l",
                "critical",
                "-c",
            ])
            .arg(&self.file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .context("it does not end")??;
        if output.status.success() {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let words = said.split_once("error initializing configuration");
        let words = words.and_then(|(_, words)| words.split_once("': "));
        match words {
            Some((_, words)) => Ok(Some(words.trim().to_owned())),
            None => anyhow::bail!("{}: {}", output.status, said.trim()),
        }
    }
}

struct Removed<'a>(&'a PathBuf);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

impl Inquiry {
    /// What to leave out. Less than everything where Envoy cannot be asked, or where its refusal is
    /// about something that must stay.
    pub async fn run(mut self, envoy: &Validator) -> Found {
        let mut found = Vec::new();
        for refusal in std::mem::take(&mut self.refusals) {
            let before = found.len();
            match self.blame(&refusal, envoy, &mut found).await {
                Ok(true) => {}
                Ok(false) => found.truncate(before),
                Err(error) => {
                    tracing::warn!("cannot ask Envoy what it refuses: {error:#}");
                    found.truncate(before);
                }
            }
        }
        Found {
            change: self.served.change,
            blamed: found,
        }
    }

    /// Whether those that were added are all that are to blame.
    async fn blame(
        &mut self,
        refusal: &Refusal,
        envoy: &Validator,
        found: &mut Vec<(Origin, Arc<str>)>,
    ) -> anyhow::Result<bool> {
        let resource_type = refusal.resource_type;
        let words: Arc<str> = format!(
            "the {resource_type} \"{}\": {}",
            refusal.name,
            refusal.detail.trim()
        )
        .into();
        // A certificate and a filter are of one resource each.
        if matches!(
            resource_type,
            ResourceType::Secret | ResourceType::ExtensionConfig
        ) {
            let origin = self.served.origin(resource_type, &refusal.name).map(whole);
            let blamed = origin.filter(can_be_left_out);
            found.extend(blamed.map(|at| (at, words)));
            return Ok(true);
        }
        let all = self.suspects();
        let mut suspects: Vec<Origin> = all.clone();
        suspects.retain(|at| self.quarantine.changed_since(at, refusal.since));
        let mut out = self.quarantine.origins();
        out.extend(found.iter().map(|(at, _)| at.clone()));
        if let [only] = suspects.as_slice() {
            // Nothing to choose from, if it has to do with it at all.
            let without = self.without(&out, std::slice::from_ref(only));
            let version = without
                .of(resource_type)
                .get(&refusal.name)
                .map(|r| &r.version);
            if version != Some(&refusal.version) && !self.refused(&without, refusal, envoy).await? {
                found.push((only.clone(), words));
                return Ok(true);
            }
        }
        let now = self.without(&out, &[]);
        if !self.refused(&now, refusal, envoy).await? {
            // It has to do with what the running Envoy is or does, and that cannot be asked.
            return Ok(false);
        }
        for _ in 0..MOST {
            let mut culprit = self.bisect(&out, &suspects, refusal, envoy).await?;
            if culprit.is_none() && suspects.len() < all.len() {
                suspects.clone_from(&all);
                suspects.retain(|at| !out.contains(at));
                culprit = self.bisect(&out, &suspects, refusal, envoy).await?;
            }
            let Some(culprit) = culprit else {
                return Ok(false);
            };
            suspects.retain(|at| *at != culprit);
            out.insert(culprit.clone());
            found.push((culprit, Arc::clone(&words)));
            let now = self.without(&out, &[]);
            if !self.refused(&now, refusal, envoy).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The one of the suspects without which, and without those before it, Envoy refuses nothing.
    async fn bisect(
        &mut self,
        out: &BTreeSet<Origin>,
        suspects: &[Origin],
        refusal: &Refusal,
        envoy: &Validator,
    ) -> anyhow::Result<Option<Origin>> {
        let without_all = self.without(out, suspects);
        if suspects.is_empty() || self.refused(&without_all, refusal, envoy).await? {
            return Ok(None);
        }
        let (mut refused, mut accepted) = (0, suspects.len());
        while accepted - refused > 1 {
            let middle = refused + (accepted - refused) / 2;
            let snapshot = self.without(out, &suspects[..middle]);
            if self.refused(&snapshot, refusal, envoy).await? {
                refused = middle;
            } else {
                accepted = middle;
            }
        }
        Ok(suspects.get(accepted - 1).cloned())
    }

    /// What could be to blame, in the order in which it is suspected.
    fn suspects(&self) -> Vec<Origin> {
        let elements = self.served.elements.iter().map(|element| element.id());
        let ingresses = self.store.ingresses.iter().map(|object| &object.id);
        let secrets = self.store.secrets.iter().map(|object| &object.id);
        let routes = self.store.routes();
        let mut all = BTreeSet::new();
        for id in elements.chain(ingresses).chain(routes).chain(secrets) {
            let Some(rank) = rank(&id.group, &id.kind) else {
                continue;
            };
            let origin = Origin::new(Arc::clone(id));
            if &*id.kind == "Module" {
                let keys = HARMLESS_KEYS.iter();
                all.extend(keys.map(|key| (rank, origin.field(format!("spec.config.{key}")))));
            } else if can_be_left_out(&origin) {
                // A certificate is refused as a Secret; a Host uses it in its own way.
                let rank = if &*id.kind == "Secret" {
                    Rank::Host
                } else {
                    rank
                };
                all.insert((rank, origin));
            }
        }
        let left_out = self.quarantine.origins();
        all.into_iter()
            .map(|(_, at)| at)
            .filter(|at| !left_out.contains(at))
            .collect()
    }

    /// What Envoy would get without some.
    fn without(&mut self, out: &BTreeSet<Origin>, more: &[Origin]) -> Snapshot {
        let mut left_out = out.clone();
        left_out.extend(more.iter().cloned());
        self.store.leave_out(left_out);
        // The store forgets those that nothing names now.
        let read = |path: &str| match self.files.get(path) {
            Some(Ok(text)) => Ok(text.to_string()),
            Some(Err(error)) => Err(error.clone()),
            None => Err("it has not been read".to_owned()),
        };
        let gateway = translate(&mut self.store, &self.settings, read).gateway;
        nuncio_envoy::encode(&gateway)
    }

    async fn refused(
        &self,
        snapshot: &Snapshot,
        refusal: &Refusal,
        envoy: &Validator,
    ) -> anyhow::Result<bool> {
        let resource = snapshot.of(refusal.resource_type).get(&refusal.name);
        let Some(bootstrap) = resource.and_then(|resource| {
            nuncio_envoy::inquiry(&envoy.bootstrap, refusal.resource_type, resource)
        }) else {
            return Ok(false);
        };
        Ok(envoy.refuses(&bootstrap).await?.is_some())
    }
}
