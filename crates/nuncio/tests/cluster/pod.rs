//! As in a pod: the files of a service account, and the variables that a kubelet sets.

use std::ffi::OsString;
use std::fs;

use nuncio_testkube::ADMIN;
use rustix::process::geteuid;

use super::Scene;
use super::support::Gateway;

/// Runs a program where the folder in `$1` is what a kubelet mounts.
const MOUNTED: &str = r#"set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp "$1"/* /run/secrets/kubernetes.io/serviceaccount/
shift
exec "$@""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pod_its_own_cluster_is_served() {
    let scene = Scene::start().await;
    scene.apply(&scene.all()).await;
    let kubernetes = &scene.kubernetes;
    let account = tempfile::tempdir().unwrap();
    let files = [
        ("token", kubernetes.token(ADMIN)),
        ("ca.crt", kubernetes.authority().unwrap()),
        ("namespace", "default".to_owned()),
    ];
    for (name, content) in files {
        fs::write(account.path().join(name), content).unwrap();
    }
    let user: &[&str] = match geteuid().is_root() {
        true => &[],
        false => &["--user", "--map-root-user"],
    };
    let unshare = ["unshare"].iter().chain(user);
    let shell = ["--mount", "--", "sh", "-c", MOUNTED, "sh"];
    let mut launcher: Vec<OsString> = unshare.chain(&shell).map(OsString::from).collect();
    launcher.push(account.path().into());
    let (host, port) = kubernetes.address();
    let port = port.to_string();
    let variables = [
        ("KUBERNETES_SERVICE_HOST", host.as_str()),
        ("KUBERNETES_SERVICE_PORT", port.as_str()),
    ];
    let mut gateway = Gateway::launched(launcher, &variables);
    gateway.ready().await;
    assert_eq!(scene.status("/a/").await, Some(200));
    gateway.terminate().await;
}
