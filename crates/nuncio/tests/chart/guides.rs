//! The commands of the README and of the guides about clusters, word for word, against a real API server.
//!
//! Not run is what needs an image: there is no registry that it could be pushed to, and no node that would
//! run it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use nuncio_testkube::Kubernetes;
use tempfile::TempDir;

use crate::render::root;

/// Commands with an image, or what waits for pods that have one.
fn needs_image(command: &str) -> bool {
    command.starts_with("podman ")
        || command.contains(" --wait")
        || command.starts_with("kubectl wait ")
}

/// The commands of a part of a text, from one line up to another that begins as said: indented, with a `$` where
/// what they print follows, and over several lines where those end with a backslash.
fn commands(text: &str, from: &str, to: &str) -> Vec<String> {
    let (_, part) = text.split_once(from).expect("the part begins");
    let (part, _) = part.split_once(to).expect("the part ends");
    let mut commands = Vec::new();
    let mut lines = part.lines();
    while let Some(line) = lines.next() {
        let line = line.strip_prefix("    $ ").or(line.strip_prefix("    "));
        let Some(mut command) = line.map(str::to_owned) else {
            continue;
        };
        while command.ends_with('\\') {
            command.pop();
            command.push_str(lines.next().expect("it goes on"));
        }
        let program = command.split(' ').next().unwrap();
        if ["helm", "kubectl", "nuncio", "podman"].contains(&program) {
            commands.push(command);
        }
    }
    commands
}

fn guide(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A person at a terminal, in the folder of the repository.
struct Terminal<'k> {
    kubernetes: &'k Kubernetes,
    folder: TempDir,
}

impl<'k> Terminal<'k> {
    fn new(kubernetes: &'k Kubernetes) -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(
            root().join("charts").canonicalize().unwrap(),
            folder.path().join("charts"),
        )
        .unwrap();
        let programs = folder.path().join("programs");
        fs::create_dir(&programs).unwrap();
        let helm = std::env::var_os("HELM").expect("HELM names helm: run `make test`");
        let kubectl = kubernetes.kubectl();
        for (name, program) in [
            ("helm", PathBuf::from(helm)),
            ("kubectl", kubectl.get_program().into()),
            ("nuncio", env!("CARGO_BIN_EXE_nuncio").into()),
        ] {
            symlink(program.canonicalize().unwrap(), programs.join(name)).unwrap();
        }
        Self { kubernetes, folder }
    }

    /// What a command prints.
    fn run(&self, line: &str) -> String {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let programs = path(&self.folder.path().join("programs"));
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", line])
            .current_dir(self.folder.path())
            .env(
                "PATH",
                format!("{programs}:{}", std::env::var("PATH").unwrap()),
            )
            .env("KUBECONFIG", self.kubernetes.kubeconfig())
            .env("HOME", self.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "$ {line}\n{said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn run_all(&self, commands: &[String]) {
        for command in commands.iter().filter(|command| !needs_image(command)) {
            self.run(command);
        }
    }
}

async fn deployment(kubernetes: &Kubernetes, namespace: &str, name: &str) -> (Option<i32>, String) {
    let client = kubernetes.client().await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client, namespace);
    let spec = deployments.get(name).await.unwrap().spec.unwrap();
    let containers = spec.template.spec.unwrap().containers;
    (spec.replicas, containers[0].image.clone().unwrap())
}

const IMAGE: &str = "registry.example/nuncio:0.1.0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_guides_do_what_they_say() {
    let readme = commands(&guide("README.md"), "## In a cluster", "\n## ");
    let kubernetes_md = guide("docs/kubernetes.md");
    let install = commands(
        &kubernetes_md,
        "## Install",
        "Emissary's release, with the values",
    );
    let upgrade = commands(
        &kubernetes_md,
        "Emissary's release, with the values",
        "\n## ",
    );
    let crds = commands(&guide("docs/crds.md"), "## The CRDs", "\n## ");
    assert_eq!(
        [readme.len(), install.len(), upgrade.len(), crds.len()],
        [3, 3, 2, 1]
    );
    // What is installed first by one guide is as the other has it.
    assert_eq!(readme.last(), install.last());

    let kubernetes = Kubernetes::start().await.unwrap();
    let terminal = Terminal::new(&kubernetes);
    terminal.run_all(&readme);
    let installed = deployment(&kubernetes, "gateway", "gateway-emissary-ingress").await;
    assert_eq!(installed.1, IMAGE);
    let listeners = terminal.run("kubectl --namespace gateway get listeners");
    assert!(
        listeners.contains("8080") && listeners.contains("8443"),
        "{listeners}"
    );

    // The columns are those that the guide shows.
    terminal.run(
        "kubectl apply -f - <<YAML\n\
         apiVersion: getambassador.io/v3alpha1\n\
         kind: Mapping\n\
         metadata: {name: api}\n\
         spec: {hostname: '*', prefix: /api/, service: api}\n\
         YAML",
    );
    let shown = commands(&kubernetes_md, "## Status", "### Reasons");
    assert_eq!(shown, ["kubectl get mappings"]);
    let printed = terminal.run(&shown[0]);
    let (_, after) = kubernetes_md
        .split_once("$ kubectl get mappings\n")
        .unwrap();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let header = |text: &str| words(text.lines().next().unwrap());
    assert_eq!(header(&printed), header(after), "{printed}");

    // A release as Emissary's users have one, of which the values are kept. Of two in one cluster only one can
    // have the IngressClass.
    terminal.run("helm --namespace gateway uninstall gateway");
    terminal.run(
        "helm install emissary-ingress charts/nuncio --namespace emissary --create-namespace \
         --set replicaCount=2 --set image.repository=registry.example/other",
    );
    terminal.run_all(&upgrade);
    let upgraded = deployment(&kubernetes, "emissary", "emissary-ingress").await;
    assert_eq!(upgraded, (Some(2), IMAGE.to_owned()));

    // The CRDs go over those of a release, with their objects. From here on nuncio apiext would be needed.
    terminal.run_all(&crds);
    let versions =
        "kubectl get crd mappings.getambassador.io -o jsonpath='{.spec.versions[*].name}'";
    assert_eq!(words(&terminal.run(versions)).len(), 3);
}
