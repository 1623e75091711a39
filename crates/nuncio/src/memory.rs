//! How much memory Envoy may take.

use std::fs;
use std::path::Path;

/// The memory limit of this process's control group, less room for nuncio itself; `None` without a
/// limit. Stable while the group is: Envoy restarts when it changes.
pub(crate) fn limit() -> Option<u64> {
    // cgroup v2, then v1.
    let files = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let bytes: u64 = files
        .iter()
        .find_map(|file| fs::read_to_string(Path::new(file)).ok())?
        .trim()
        .parse()
        .ok()?;
    // Version 1 says "none" by a number beyond any machine.
    (bytes < 1 << 50).then_some(bytes / 10 * 8)
}
