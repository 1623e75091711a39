//! From files to a snapshot, with nothing known before.

use std::path::Path;
use std::time::Instant;

use nuncio_envoy::Encoder;
use nuncio_envoy_api::resource::{ResourceType, Snapshot};
use nuncio_sources::Folder;
use nuncio_translate::{Scope, Settings, Store, Translator};

use crate::figure::{Figure, Figures};
use crate::usage::{memory, milliseconds, peak_memory, timed};

pub(crate) const NAME: &str = "cold";

/// The same where the size is the number of Hosts.
pub(crate) const HOSTS: &str = "hosts";

/// Meant to be all that a process does: the memory is the process's.
pub(crate) fn measure(
    name: &'static str,
    folder: &Path,
    size: usize,
) -> anyhow::Result<Vec<Figure>> {
    let mut sources = Folder::new(vec![folder.to_owned()]);
    let (parse, changes) = timed(|| sources.scan().unwrap_or_default());
    let mut store = Store::new(Scope::default());
    let (apply, _touched) = timed(|| store.apply(changes.upserted, &changes.deleted));
    let mut translator = Translator::new(Settings::new(&Scope::default()));
    let none = |_: &str| Err("manifests of the bench name no files".to_owned());
    let started = Instant::now();
    let (translate, translation) = timed(|| translator.translate(&mut store, none));
    let mut encoder = Encoder::default();
    let (encode, snapshot) = timed(|| encoder.encode(&translation.gateway));
    let passed = started.elapsed();

    let mut figures = Figures::new(name, size);
    figures.add("parse (CPU)", "ms", parse);
    figures.add("store (CPU)", "ms", apply);
    figures.add("translate (CPU)", "ms", translate);
    figures.add("encode (CPU)", "ms", encode);
    figures.add("translate and encode (time)", "ms", milliseconds(passed));
    figures.add("resources", "", snapshot.len() as f64);
    figures.add("snapshot", "KiB", bytes(&snapshot) as f64 / 1024.0);
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    figures.add("peak memory", "MiB", mebibytes(peak_memory()?));
    // All that a change is compared with is still there.
    figures.add("memory afterwards", "MiB", mebibytes(memory()?));
    drop((sources, store, translator, encoder));
    Ok(figures.finish())
}

fn bytes(snapshot: &Snapshot) -> usize {
    ResourceType::ALL
        .into_iter()
        .flat_map(|resource_type| snapshot.of(resource_type).values())
        .map(|resource| resource.body.len())
        .sum()
}
