//! What nuncio is told of its own pod.

use std::path::Path;

use anyhow::Context;
use nuncio_translate::ingress::{PodLabels, parse_pod_labels};

/// Reads the labels of the pod from a file that the downward API writes.
pub(crate) fn labels(file: Option<&Path>) -> anyhow::Result<Option<PodLabels>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let of = || format!("cannot read the labels of the pod, {}", file.display());
    let text = std::fs::read_to_string(file).with_context(of)?;
    let labels = parse_pod_labels(&text).map_err(anyhow::Error::msg);
    labels.map(Some).with_context(of)
}

/// The zone of the pod's node, which Kubernetes notes on each pod (KEP-4742).
pub(crate) fn zone(labels: Option<&PodLabels>) -> Option<String> {
    labels?.get("topology.kubernetes.io/zone").cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels");
        let error = || format!("{:#}", labels(Some(&file)).unwrap_err());
        assert!(error().contains("labels: No such file"), "{}", error());
        std::fs::write(&file, "app=\"a\"\napp\n").unwrap();
        assert!(error().contains("labels: line 2 is not a label: app"));
        std::fs::write(&file, "app=\"a\"\n").unwrap();
        assert_eq!(labels(Some(&file)).unwrap().unwrap()["app"], "a");
        assert_eq!(labels(None).unwrap(), None);
    }
}
