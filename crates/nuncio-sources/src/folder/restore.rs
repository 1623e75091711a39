//! What was kept stands in for what cannot be read; and what there is to keep.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nuncio_api::SourceRef;
use nuncio_model::{Entry, Origin, Reason, Severity, guard};

use super::{File, FileId, Fingerprint, Folder, Place, ReadAt, walk};
use crate::kept::{Content, Kept, KeptError, KeptFile, KeptObject, KeptRoot};
use crate::manifest::{self, file_resource};

impl Folder {
    /// As if what was kept had been read from the same roots a moment ago. What is read then replaces
    /// it, file by file.
    pub(crate) fn restored(&self, mut kept: Kept) -> Self {
        let mut folder = Self::new(self.roots.clone());
        for (root, path) in self.roots.iter().enumerate() {
            let Some(kept) = kept.take(&absolute(path)) else {
                continue;
            };
            folder.read_at[root] = Some(ReadAt::Before(kept.read_at()));
            for file in kept.files {
                folder.restore(root, path, file);
            }
        }
        folder
    }

    /// Reports that what was kept cannot be used, for as long as it would be.
    pub(crate) fn set_not_kept(&mut self, path: &Path, error: &KeptError) {
        let origin = Origin::new(file_resource(&path.to_string_lossy()));
        let message = format!("{error}; nothing of it is used");
        let mut entry = Entry::new(&origin, Severity::Error, Reason::Unreadable, message);
        entry.help("make the manifests readable: what is kept is then written anew");
        self.not_kept = Some(entry);
    }

    fn restore(&mut self, root: usize, root_path: &Path, kept: KeptFile<KeptObject>) {
        // A root that is a file has itself in it, by an empty name.
        let path = match kept.name.is_empty() {
            true => root_path.to_owned(),
            false => root_path.join(&kept.name),
        };
        let id = FileId {
            root,
            name: walk::name(&path),
        };
        let objects: Vec<_> = kept
            .objects
            .into_iter()
            .filter_map(|object| {
                let source = SourceRef::File {
                    path: Arc::clone(&id.name),
                    document: object.document,
                    item: object.item,
                };
                manifest::object(source, object.body).ok()
            })
            .map(|(object, _)| object)
            .collect();
        for (index, object) in objects.iter().enumerate() {
            let place = Place {
                file: id.clone(),
                index,
            };
            let places = self.places.entry(object.key()).or_default();
            places.insert(places.partition_point(|other| *other < place), place);
        }
        let file = File {
            fingerprint: Fingerprint::NONE,
            unsettled: true,
            hash: None,
            good: kept.unread.is_empty() || !objects.is_empty(),
            objects,
            problems: Vec::new(),
            fault: None,
            unread: kept.unread.iter().filter_map(|kind| guard(kind)).collect(),
            lines: None,
            path,
        };
        self.files.insert(id, file);
    }

    /// What there is to keep: of every root that was ever read, what of it is in effect.
    pub(crate) fn content(&self) -> Content {
        let mut files: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        let known = |file: &File| file.good || !file.unread.is_empty();
        for (id, file) in self.files.iter().filter(|(_, file)| known(file)) {
            let root = &self.roots[id.root];
            let name = file.path.strip_prefix(root).unwrap_or(&file.path);
            let name = name.to_string_lossy().into_owned();
            let files = files.entry(id.root).or_default();
            files.push(KeptFile {
                name,
                objects: file.objects.iter().map(KeptObject::from).collect(),
                unread: file.unread.iter().map(ToString::to_string).collect(),
            });
        }
        let roots = self.roots.iter().zip(&self.read_at).enumerate();
        let roots = roots.filter_map(|(index, (root, read_at))| {
            let (ReadAt::Here(time) | ReadAt::Before(time)) = (*read_at)?;
            Some(KeptRoot::new(
                absolute(root),
                time,
                files.remove(&index).unwrap_or_default(),
            ))
        });
        Content(roots.collect())
    }
}

/// Whatever the folder that a relative path starts in at the next start, and also of a path that
/// does not exist.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
