//! One change among many resources, from the file to the answer of a real Envoy.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::change::{Difference, rounds};
use crate::figure::{Figure, Figures, median};
use crate::gateway::{Gateway, in_time};
use crate::manifests::{self, CHANGED, Change};
use crate::usage::milliseconds;

pub(crate) const NAME: &str = "served";

pub(crate) async fn measure(
    folder: &Path,
    size: usize,
    envoy: &Path,
) -> anyhow::Result<Vec<Figure>> {
    let state = tempfile::tempdir()?;
    let mut gateway = Gateway::start(folder, state.path(), envoy).await?;
    let figures = in_time(changes(folder, size, &mut gateway)).await;
    gateway.stop().await;
    figures
}

async fn changes(folder: &Path, size: usize, gateway: &mut Gateway) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Figures::new(NAME, size);
    let start = milliseconds(gateway.start);
    figures.add("start of Envoy to all acknowledged", "ms", start);
    for change in Change::ALL {
        let [mut times, mut prepared, mut resources, mut bytes] = [const { Vec::new() }; 4];
        for round in 1..=rounds(size) {
            let (before, pushed) = (Arc::clone(gateway.served()), gateway.pushed());
            let written = Instant::now();
            manifests::change(folder, change, round)?;
            gateway.take_up(CHANGED).await?;
            times.push(milliseconds(written.elapsed()));
            resources.push((gateway.pushed() - pushed) as f64);
            let now = Arc::clone(gateway.served());
            let difference = Difference::of(&before.snapshot, &now.snapshot);
            bytes.push(difference.bytes as f64);
            // There and back: what is left is Envoy's own time.
            for snapshot in [&before.snapshot, &now.snapshot] {
                let sent = Instant::now();
                gateway.send(snapshot).await?;
                prepared.push(milliseconds(sent.elapsed()));
            }
        }
        let name = change.name();
        let (time, prepared) = (median(times), median(prepared));
        figures.add(format!("{name}: file to acknowledged"), "ms", time);
        figures.add(format!("{name}: prepared to acknowledged"), "ms", prepared);
        figures.add(format!("{name}: file / prepared"), "", time / prepared);
        figures.add(format!("{name}: pushed resources"), "", median(resources));
        let kibibytes = median(bytes) / 1024.0;
        figures.add(format!("{name}: their size"), "KiB", kibibytes);
    }
    Ok(figures.finish())
}
