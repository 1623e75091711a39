//! One change among many resources, up to the snapshot that Envoy would be sent.

use std::path::Path;
use std::sync::Arc;

use nuncio::engine::Engine;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_sources::Folder;
use nuncio_translate::{Scope, Settings, Store};

use crate::figure::{Figure, Figures, median};
use crate::manifests::{self, Change};
use crate::usage::timed;

pub(crate) const NAME: &str = "change";

pub(crate) fn measure(folder: &Path, size: usize, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut sources = Folder::new(vec![folder.to_owned()]);
    let mut engine = Engine::new(
        Store::new(Scope::default()),
        Settings::new(&Scope::default()),
    );
    let mut last = engine.apply(sources.scan().unwrap_or_default());
    let mut figures = Figures::new(NAME, size);
    for change in Change::ALL {
        let [mut found, mut taken_up, mut resources, mut bytes] = [const { Vec::new() }; 4];
        for round in 1..=rounds {
            manifests::change(folder, change, round)?;
            let (scan, changes) = timed(|| sources.scan().unwrap_or_default());
            let (apply, served) = timed(|| engine.apply(changes));
            let difference = Difference::of(&last.snapshot, &served.snapshot);
            anyhow::ensure!(
                difference.resources > 0,
                "a changed {} changes nothing",
                change.name()
            );
            found.push(scan);
            taken_up.push(apply);
            resources.push(difference.resources as f64);
            bytes.push(difference.bytes as f64);
            last = Arc::clone(&served);
        }
        let name = change.name();
        figures.add(format!("{name}: find it (CPU)"), "ms", median(found));
        figures.add(format!("{name}: to snapshot (CPU)"), "ms", median(taken_up));
        figures.add(format!("{name}: changed resources"), "", median(resources));
        let kibibytes = median(bytes) / 1024.0;
        figures.add(format!("{name}: their size"), "KiB", kibibytes);
    }
    Ok(figures.finish())
}

/// Fewer where each takes long.
pub(crate) fn rounds(size: usize) -> usize {
    (50_000 / size.max(1)).clamp(3, 9)
}

/// What would have to be sent to an Envoy that has an older snapshot.
pub(crate) struct Difference {
    pub(crate) resources: usize,
    pub(crate) bytes: usize,
}

impl Difference {
    pub(crate) fn of(old: &Snapshot, new: &Snapshot) -> Self {
        let changed = ResourceType::ALL.into_iter().flat_map(|resource_type| {
            let old = old.of(resource_type);
            let new = new.of(resource_type).iter();
            new.filter(|(name, new)| old.get(*name).is_none_or(|old| old.version != new.version))
        });
        let sizes: Vec<_> = changed.map(|(_, resource)| resource.body.len()).collect();
        Self {
            resources: sizes.len(),
            bytes: sizes.iter().sum(),
        }
    }
}
