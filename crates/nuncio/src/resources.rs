//! Folders and files read once, for the commands that serve nothing.

use std::path::PathBuf;

use nuncio_model::{Entry, Gateway, Report, ResourceId, Severity};
use nuncio_sources::{ChangeSet, Folder, Position, positions};
use nuncio_translate::{Settings, Store};

use crate::cli::ScopeArgs;
use crate::environment::Environment;
use crate::files::read_file;
use crate::pod;

/// What came of the resources, and where they stand.
pub(crate) struct Resources {
    pub(crate) objects: usize,
    pub(crate) gateway: Gateway,
    pub(crate) report: Report,
    store: Store,
}

/// How the resources are read that count.
pub(crate) fn settings(args: &ScopeArgs, environment: &Environment) -> anyhow::Result<Settings> {
    Ok(Settings {
        admin: environment.admin,
        strict_label_selectors: environment.strict_label_selectors,
        ready: environment.ready,
        pod_labels: pod::labels(args.pod_labels.as_deref())?,
        ..Settings::new(&environment.scope)
    })
}

impl Resources {
    pub(crate) fn read(
        paths: &[PathBuf],
        environment: &Environment,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        for path in paths {
            if let Err(error) = std::fs::metadata(path) {
                anyhow::bail!("cannot read {}: {error}", path.display());
            }
        }
        let ChangeSet {
            upserted,
            problems,
            unread,
            ..
        } = Folder::new(paths.to_vec()).scan().unwrap_or_default();
        let zone = pod::zone(settings.pod_labels.as_ref());
        let mut store = Store::new(environment.scope.clone()).in_zone(zone);
        let objects = upserted.len();
        store.apply(upserted, &[]);
        store.set_unread(unread);
        let translation = nuncio_translate::translate(&mut store, settings, read_file);
        let mut report = translation.report;
        report.extend(problems);
        report.sort();
        Ok(Self {
            objects,
            gateway: translation.gateway,
            report,
            store,
        })
    }

    /// The entries with the places that they are about, in the order of those.
    pub(crate) fn entries(&self) -> Vec<(Option<Position>, &Entry)> {
        self.placed(|_| true)
    }

    /// Only the wanted ones: to say where an entry is, its file is read and parsed once more.
    fn placed(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<(Option<Position>, &Entry)> {
        let entries = self.report.entries().iter();
        let entries: Vec<&Entry> = entries.filter(|entry| wanted(entry)).collect();
        let fields = entries
            .iter()
            .map(|entry| (self.store.source(&entry.resource), &*entry.field));
        let places = positions(fields, |path| std::fs::read_to_string(path).ok());
        let mut placed: Vec<_> = places.into_iter().zip(entries).collect();
        placed.sort();
        placed
    }

    /// Where a field of a resource stands.
    pub(crate) fn position(&self, resource: &ResourceId, field: &str) -> Option<Position> {
        let fields = [(self.store.source(resource), field)];
        let places = positions(fields, |path| std::fs::read_to_string(path).ok());
        places.into_iter().next()?
    }

    pub(crate) fn count(&self, severity: Severity) -> usize {
        let entries = self.report.entries().iter();
        entries.filter(|entry| entry.severity == severity).count()
    }

    /// Says on standard error what is not in effect; whether anything is not.
    pub(crate) fn say_errors(&self) -> bool {
        for (at, entry) in self.placed(|entry| entry.severity == Severity::Error) {
            eprintln!("{}", line(at.as_ref(), entry));
        }
        self.count(Severity::Error) > 0
    }
}

/// An entry as one line.
pub(crate) fn line(at: Option<&Position>, entry: &Entry) -> String {
    match at {
        Some(at) => format!("{at}: {}: {entry}", entry.severity),
        None => format!("{}: {entry}", entry.severity),
    }
}
