//! Where resources come from: a folder of manifests
