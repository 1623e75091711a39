//! The Helm charts, rendered by the real helm, `nuncio` with the values in `tests/chart`, and taken by a
//! real API server.

#![allow(clippy::unwrap_used)]

mod cluster;
mod crds;
mod guides;
mod releases;
mod render;
mod rights;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;

use nuncio::environment::{Effect, VARIABLES};
use render::{Rendered, all_values, chart, helm, root};
use serde_json::{Value, json};

/// Values that are taken for who has them, and why they do nothing is said where they stand.
const WITHOUT_EFFECT: &[&str] = &[
    "adminService.snapshotPort",
    "rbac.podSecurityPolicies",
    "security.podSecurityPolicy",
    "waitForApiext.enabled",
];

/// What is passed on with all that it has.
const PASSED_ON: &[&str] = &[
    "livenessProbe",
    "module",
    "readinessProbe",
    "resources",
    "startupProbe",
];

fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

fn container(workload: &Value) -> &Value {
    &pod(workload)["containers"][0]
}

/// A variable of the container; nothing is given twice.
fn variable<'a>(workload: &'a Value, name: &str) -> Option<&'a str> {
    let all = container(workload)["env"].as_array().unwrap();
    let mut named = all.iter().filter(|variable| variable["name"] == name);
    let value = named.next()?["value"].as_str();
    assert!(named.next().is_none(), "{name} is given twice");
    value
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().unwrap();
    list.iter()
        .find(|entry| entry["name"] == name)
        .unwrap_or_else(|| panic!("there is no {name}: {list:?}"))
}

#[test]
fn helm_finds_nothing_wrong() {
    let chart = chart();
    let mut runs: Vec<Vec<String>> = vec![Vec::new()];
    for file in all_values() {
        runs.push(vec!["--values".to_owned(), file.display().to_string()]);
    }
    for options in runs {
        let mut arguments = vec!["lint", "--strict", chart.to_str().unwrap()];
        arguments.extend(options.iter().map(String::as_str));
        let output = helm(&arguments);
        assert!(output.status.success(), "{options:?}: {output:?}");
    }
}

#[test]
fn a_value_that_does_not_exist_is_refused_by_its_name() {
    for wrong in [
        "replicaCounts=2",
        "service.prots=x",
        "adminService.nodeport=1",
        "createDefaultListeners=yes-please",
    ] {
        let chart = chart();
        let output = helm(&["template", "gw", chart.to_str().unwrap(), "--set", wrong]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{wrong} is taken");
        let name = wrong.split('=').next().unwrap();
        let last = name.rsplit('.').next().unwrap();
        assert!(said.contains(last), "{wrong}: {said}");
    }
}

/// No template has forgotten one.
#[test]
fn every_value_is_used() {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let templates: String = fs::read_dir(chart().join("templates"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let words: BTreeSet<_> = templates.split(|c: char| !c.is_alphanumeric()).collect();
    for (section, content) in values.as_object().unwrap() {
        assert!(words.contains(section.as_str()), "{section} is not used");
        if PASSED_ON.contains(&section.as_str()) {
            continue;
        }
        for key in content.as_object().into_iter().flat_map(|map| map.keys()) {
            let path = format!("{section}.{key}");
            let is_used = words.contains(key.as_str());
            let without_effect = WITHOUT_EFFECT.contains(&path.as_str());
            assert!(is_used || without_effect, "{path} is not used");
        }
    }
}

/// An upgrade of Emissary's release finds what that had made.
#[test]
fn names_and_labels_are_those_of_emissary() {
    for (release, name, full_name) in [
        ("gw", "emissary-ingress", "gw-emissary-ingress"),
        ("emissary-ingress", "emissary-ingress", "emissary-ingress"),
        ("my-emissary", "my-emissary", "my-emissary"),
        ("ambassador", "ambassador", "ambassador"),
    ] {
        let rendered = Rendered::of(release, &[]);
        let deployment = rendered.get("Deployment", full_name);
        let selector = json!({
            "app.kubernetes.io/name": name, "app.kubernetes.io/instance": release,
        });
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for (label, value) in [
            ("app.kubernetes.io/name", name),
            ("app.kubernetes.io/instance", release),
            ("app.kubernetes.io/part-of", release),
            ("app.kubernetes.io/managed-by", "Helm"),
            ("product", "aes"),
            ("profile", "main"),
        ] {
            assert_eq!(labels[label], value, "{label}");
        }
        assert_eq!(container(deployment)["name"], "emissary-ingress");

        let service = rendered.get("Service", full_name);
        let own = &service["metadata"]["labels"]["app.kubernetes.io/component"];
        assert_eq!(own, "ambassador-service");
        let mut selector = selector;
        selector["profile"] = "main".into();
        assert_eq!(service["spec"]["selector"], selector);
        let admin = rendered.get("Service", &format!("{full_name}-admin"));
        assert_eq!(admin["metadata"]["labels"]["service"], "ambassador-admin");
        rendered.get("ServiceAccount", full_name);
        rendered.get("ClusterRole", full_name);
        rendered.get("IngressClass", "ambassador");
        rendered.get("Module", "ambassador");
    }
}

#[test]
fn what_is_installed_without_values() {
    let rendered = Rendered::of("gw", &[]);
    let name = "gw-emissary-ingress";
    let deployment = rendered.get("Deployment", name);
    assert_eq!(deployment["spec"]["replicas"], 3);
    let (pod, container) = (pod(deployment), container(deployment));
    assert_eq!(container["args"], json!(["init"]));

    // Nothing that it does not need.
    assert_eq!(pod["securityContext"]["runAsUser"], 8888);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        })
    );
    let state = variable(deployment, "NUNCIO_STATE_DIR").unwrap();
    assert_eq!(
        named(&container["volumeMounts"], "state")["mountPath"],
        state
    );
    assert_eq!(named(&pod["volumes"], "state")["emptyDir"], json!({}));

    // nuncio, as this chart starts it, says on the port of the probes what they ask for.
    let admin = named(&container["ports"], "admin");
    assert_eq!(admin["containerPort"], 8877);
    for (probe, path) in [
        ("startupProbe", "check_ready"),
        ("readinessProbe", "check_ready"),
        ("livenessProbe", "check_alive"),
    ] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["path"], format!("/ambassador/v0/{path}"));
        assert_eq!(get["port"], "admin");
    }
    let spread = pod["topologySpreadConstraints"].as_array().unwrap();
    assert_eq!(spread.len(), 2);
    for constraint in spread {
        assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
    }

    let ports = &rendered.get("Service", name)["spec"]["ports"];
    assert_eq!(named(ports, "http")["targetPort"], 8080);
    assert_eq!(named(ports, "https")["targetPort"], 8443);
    for kind in [
        "DaemonSet",
        "Pod",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ServiceMonitor",
        "Listener",
        "KubernetesEndpointResolver",
        "ConsulResolver",
        "Namespace",
        "ConfigMap",
    ] {
        assert!(!rendered.has(kind), "{kind}");
    }
}

/// A misspelled variable would do nothing, and nobody would hear of it.
#[test]
fn nuncio_reads_the_variables_that_the_chart_sets() {
    let rendered = Rendered::with("everything");
    let deployment = rendered.get("Deployment", "front-pods");
    let own = container(deployment)["env"].as_array().unwrap();
    for variable in own {
        let name = variable["name"].as_str().unwrap();
        // For users' own manifests.
        if ["HOST_IP", "POD_IP"].contains(&name) {
            continue;
        }
        let known = VARIABLES.iter().find(|known| known.name == name);
        let known = known.unwrap_or_else(|| panic!("nuncio does not know {name}"));
        assert!(matches!(known.effect, Effect::Read(..)), "{name}");
    }
}

/// A pod has the time for its drain, whichever of the two is given.
#[test]
fn the_grace_period_fits_the_drain_time() {
    for (options, grace, drain) in [
        (&[][..], 620, "600"),
        (&["--set", "env.AMBASSADOR_DRAIN_TIME=30"], 50, "30"),
        (&["--set", "terminationGracePeriodSeconds=90"], 90, "70"),
        (&["--set", "terminationGracePeriodSeconds=5"], 5, "1"),
        (
            &[
                "--set",
                "shutdownDelaySeconds=0,env.AMBASSADOR_DRAIN_TIME=5",
            ],
            15,
            "5",
        ),
    ] {
        let rendered = Rendered::of("gw", options);
        let deployment = rendered.get("Deployment", "gw-emissary-ingress");
        let found = &pod(deployment)["terminationGracePeriodSeconds"];
        assert_eq!(found, grace, "{options:?}");
        assert_eq!(variable(deployment, "AMBASSADOR_DRAIN_TIME"), Some(drain));
    }
}

/// What the Containerfile takes is there, and its image is what the chart starts.
#[test]
fn the_image_is_made_of_what_is_there() {
    let recipe = fs::read_to_string(root().join("Containerfile")).unwrap();
    let ignored = fs::read_to_string(root().join(".containerignore")).unwrap();
    let mut copied = 0;
    for line in recipe.lines() {
        let Some(paths) = line.strip_prefix("COPY ") else {
            continue;
        };
        let mut paths: Vec<_> = paths.split(' ').collect();
        paths.pop();
        if paths[0].starts_with("--from") {
            continue;
        }
        for path in paths {
            assert!(root().join(path).exists(), "there is no {path}");
            let top = path.split('/').next().unwrap();
            assert!(ignored.lines().all(|line| line != top), "{path} is ignored");
            copied += 1;
        }
    }
    assert!(copied > 3);
    for member in fs::read_dir(root().join("crates")).unwrap() {
        let manifest = member.unwrap().path().join("Cargo.toml");
        assert!(manifest.exists(), "{}", manifest.display());
    }

    let rendered = Rendered::of("gw", &[]);
    let deployment = rendered.get("Deployment", "gw-emissary-ingress");
    let security = &pod(deployment)["securityContext"];
    let user = format!("USER {}:{}", security["runAsUser"], security["runAsGroup"]);
    let state = variable(deployment, "NUNCIO_STATE_DIR").unwrap();
    for line in [
        user.as_str(),
        "ENTRYPOINT [\"/usr/local/bin/nuncio\"]",
        "CMD [\"init\"]",
        &format!("ENV NUNCIO_STATE_DIR={state}"),
    ] {
        assert!(recipe.lines().any(|found| found == line), "{line}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert!(recipe.contains(&format!("ARG VERSION={version}")));
    assert_eq!(container(deployment)["image"], format!("nuncio:{version}"));
}

#[test]
fn rights_are_no_wider_than_they_need_to_be() {
    let rendered = Rendered::of("gw", &[]);
    for role in rendered.0.iter().filter(|object| {
        let kind = object["kind"].as_str().unwrap();
        ["ClusterRole", "Role"].contains(&kind)
    }) {
        for rule in role["rules"].as_array().unwrap() {
            // Only what is read may be any kind of a group.
            let reads = rule["verbs"] == json!(["list", "watch"]);
            let text = rule.to_string();
            assert!(reads || !text.contains('*'), "{text}");
            assert!(
                rule["verbs"] != json!(["*"]) && !text.contains("delete"),
                "{text}"
            );
        }
    }
    let single = Rendered::with("single-namespace");
    let cluster_wide = single.get("ClusterRole", "gw-emissary-ingress");
    let rules = cluster_wide["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 1, "only CRDs are not in a namespace");
    let own = &single.get("Role", "gw-emissary-ingress")["rules"];
    assert!(own.to_string().contains("secrets"));
    let deployment = single.get("Deployment", "gw-emissary-ingress");
    assert!(variable(deployment, "AMBASSADOR_SINGLE_NAMESPACE").is_some());
}

#[test]
fn autoscaling_and_daemon_set() {
    let rendered = Rendered::with("autoscaling");
    let scaled = rendered.get("Deployment", "gw-emissary-ingress");
    assert_eq!(scaled["spec"].get("replicas"), None);
    assert_eq!(scaled["spec"]["strategy"]["type"], "Recreate");
    let scaler = rendered.get("HorizontalPodAutoscaler", "gw-emissary-ingress");
    assert_eq!(scaler["apiVersion"], "autoscaling/v2");
    assert_eq!(scaler["spec"]["maxReplicas"], 7);
    assert_eq!(scaler["spec"]["metrics"].as_array().unwrap().len(), 2);
    for (name, port, protocol) in [("https", 8443, "HTTPS"), ("http", 8080, "HTTP")] {
        let listener = rendered.get("Listener", &format!("gw-emissary-ingress-{name}-listener"));
        assert_eq!(listener["spec"]["port"], port);
        assert_eq!(listener["spec"]["protocol"], protocol);
    }

    let rendered = Rendered::with("daemon-set");
    assert!(!rendered.has("Deployment") && !rendered.has("HorizontalPodAutoscaler"));
    let daemon_set = rendered.get("DaemonSet", "gw-emissary-ingress");
    assert_eq!(
        daemon_set["spec"]["updateStrategy"]["type"],
        "RollingUpdate"
    );
    assert_eq!(pod(daemon_set)["hostNetwork"], true);
    assert_eq!(pod(daemon_set)["dnsPolicy"], "ClusterFirstWithHostNet");
}

#[test]
fn a_canary_beside_the_others() {
    let rendered = Rendered::with("canary");
    let canary = rendered.get("Deployment", "gw-emissary-ingress-canary");
    assert_eq!(canary["spec"]["replicas"], 2);
    assert_eq!(container(canary)["image"], "registry.example/nuncio:canary");
    assert_eq!(variable(canary, "AES_LOG_LEVEL"), Some("debug"));
    assert_eq!(
        canary["spec"]["selector"]["matchLabels"]["profile"],
        "canary"
    );
    let own = rendered.get("Service", "gw-emissary-ingress-canary");
    assert_eq!(own["spec"]["selector"]["profile"], "canary");
    // mixPods
    let main = rendered.get("Service", "gw-emissary-ingress");
    assert_eq!(main["spec"]["selector"].get("profile"), None);

    // All that is the gateway's has its id.
    for (kind, name) in [
        ("Module", "ambassador"),
        ("Listener", "gw-emissary-ingress-http-listener"),
        ("KubernetesEndpointResolver", "endpoint"),
        ("ConsulResolver", "consul-dc1"),
    ] {
        let id = &rendered.get(kind, name)["spec"]["ambassador_id"];
        assert_eq!(*id, json!(["shop"]), "{kind}");
    }
    let class = rendered.get("IngressClass", "ambassador");
    let annotations = &class["metadata"]["annotations"];
    assert_eq!(annotations["getambassador.io/ambassador-id"], "shop");
}

#[test]
fn old_values_are_taken() {
    let rendered = Rendered::with("old-values");
    let deployment = rendered.get("Deployment", "gw-emissary-ingress");
    assert_eq!(
        pod(deployment)["securityContext"],
        json!({"runAsUser": 1234})
    );
}

#[test]
fn parts_that_are_switched_off_are_not_there() {
    let rendered = Rendered::with("off");
    assert_eq!(
        rendered.names(),
        [
            "Service/gw-emissary-ingress",
            "Deployment/gw-emissary-ingress"
        ]
    );
    let deployment = rendered.get("Deployment", "gw-emissary-ingress");
    assert_eq!(pod(deployment)["serviceAccountName"], "default");
    assert_eq!(container(deployment).get("startupProbe"), None);
    let bare = Rendered::of("gw", &["--set", "barePod=true"]);
    assert!(!bare.has("Deployment"));
    assert_eq!(
        bare.get("Pod", "gw-emissary-ingress")["spec"]["containers"][0]["args"],
        json!(["init"])
    );
}

#[test]
fn every_other_switch_is_in_effect() {
    let rendered = Rendered::with("everything");
    let deployment = rendered.get("Deployment", "front-pods");
    let (pod, container) = (pod(deployment), container(deployment));
    let template = &deployment["spec"]["template"]["metadata"];
    for (found, expected) in [
        (&deployment["metadata"]["namespace"], json!("gateway")),
        (&deployment["metadata"]["labels"]["team"], json!("edge")),
        (
            &deployment["metadata"]["labels"]["app.kubernetes.io/managed-by"],
            json!("getambassador.io"),
        ),
        (
            &deployment["metadata"]["annotations"]["reload"],
            json!("true"),
        ),
        (&deployment["spec"]["progressDeadlineSeconds"], json!(800)),
        (
            &deployment["spec"]["selector"]["matchLabels"],
            json!({"app": "front"}),
        ),
        (&template["labels"]["app"], json!("front")),
        (&template["labels"]["tier"], json!("edge")),
        (&template["annotations"]["scrape"], json!("true")),
        (&pod["priorityClassName"], json!("system-cluster-critical")),
        (&pod["nodeSelector"], json!({"edge": "true"})),
        (&pod["tolerations"][0]["key"], json!("edge")),
        (
            &pod["affinity"]["podAntiAffinity"],
            json!({"preferredDuringSchedulingIgnoredDuringExecution": []}),
        ),
        (
            &pod["topologySpreadConstraints"][0]["topologyKey"],
            json!("rack"),
        ),
        (&pod["restartPolicy"], json!("Always")),
        (&pod["imagePullSecrets"][0]["name"], json!("registry")),
        (&pod["initContainers"][0]["name"], json!("first")),
        (&pod["serviceAccountName"], json!("front-account")),
        (&named(&pod["volumes"], "certs")["emptyDir"], json!({})),
        (&named(&pod["volumes"], "gw-raw")["emptyDir"], json!({})),
        (
            &named(&pod["containers"], "beside")["image"],
            json!("busybox"),
        ),
        (
            &named(&pod["containers"], "prometheus-exporter")["image"],
            json!("prom/statsd-exporter:v0.8.1"),
        ),
        (&container["name"], json!("front-container")),
        (
            &container["image"],
            json!("registry.example/nuncio@sha256:0"),
        ),
        (
            &container["lifecycle"]["preStop"]["exec"]["command"][0],
            json!("sleep"),
        ),
        (
            &named(&container["volumeMounts"], "certs")["mountPath"],
            json!("/certs"),
        ),
        (
            &named(&container["volumeMounts"], "gw-raw")["mountPath"],
            json!("/raw"),
        ),
        (
            &named(&container["ports"], "admin")["containerPort"],
            json!(9877),
        ),
        (&named(&container["ports"], "http")["hostPort"], json!(80)),
        (
            &named(&container["ports"], "http3")["protocol"],
            json!("UDP"),
        ),
    ] {
        assert_eq!(*found, expected);
    }
    for (name, value) in [
        ("AMBASSADOR_NAMESPACE", "shop"),
        ("AMBASSADOR_DRAIN_TIME", "30"),
        ("NUNCIO_SHUTDOWN_DELAY", "20"),
        ("STATSD_ENABLED", "true"),
    ] {
        assert_eq!(variable(deployment, name), Some(value), "{name}");
    }

    let service = rendered.get("Service", "front-door");
    let spec = &service["spec"];
    for (found, expected) in [
        (
            &spec["selector"],
            json!({"app": "front", "profile": "main"}),
        ),
        (&spec["externalTrafficPolicy"], json!("Local")),
        (&spec["loadBalancerClass"], json!("example.com/nlb")),
        (&spec["loadBalancerIP"], json!("192.0.2.1")),
        (&spec["loadBalancerSourceRanges"], json!(["192.0.2.0/24"])),
        (&spec["sessionAffinity"], json!("ClientIP")),
        (
            &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
            json!(10),
        ),
        (&spec["externalIPs"], json!(["192.0.2.2"])),
        (&spec["ipFamilies"], json!(["IPv4"])),
        (&named(&spec["ports"], "http")["nodePort"], json!(30080)),
        (&named(&spec["ports"], "raw")["port"], json!(2222)),
        (
            &service["metadata"]["annotations"]["example.com/lb"],
            json!("yes"),
        ),
    ] {
        assert_eq!(*found, expected);
    }
    // Both Mappings, as documents of one annotation.
    let config = &service["metadata"]["annotations"]["getambassador.io/config"];
    let documents: Vec<_> = config.as_str().unwrap().split("---\n").collect();
    assert_eq!(documents.len(), 2, "{config}");
    assert!(documents[0].contains("name: one") && documents[1].contains("name: two"));

    let admin = &rendered.get("Service", "front-admin")["spec"];
    for (found, expected) in [
        (&admin["type"], json!("LoadBalancer")),
        (&admin["loadBalancerIP"], json!("192.0.2.3")),
        (&admin["loadBalancerSourceRanges"], json!(["10.0.0.0/8"])),
        (
            &named(&admin["ports"], "ambassador-admin")["port"],
            json!(9000),
        ),
    ] {
        assert_eq!(*found, expected);
    }
    let policy = &rendered.get("NetworkPolicy", "front")["spec"];
    let admin = &policy["ingress"][1];
    assert_eq!(admin["ports"][0]["port"], "admin");
    assert!(admin["from"].to_string().contains("monitoring"));
    let budget = &rendered.get("PodDisruptionBudget", "front")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    let monitor = rendered.get("ServiceMonitor", "front");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(monitor["spec"]["endpoints"][0]["interval"], "30s");
    let module = &rendered.get("Module", "ambassador")["spec"]["config"];
    assert!(module["lua_scripts"].is_string() && module.get("enabled").is_none());
    let class = rendered.get("IngressClass", "front");
    assert_eq!(class["spec"]["controller"], "example.com/front");
    let account = rendered.get("ServiceAccount", "front-account");
    assert_eq!(account["automountServiceAccountToken"], true);
    assert_eq!(account["imagePullSecrets"][0]["name"], "registry");
    for (kind, name) in [
        ("ClusterRole", "front-rights"),
        ("Namespace", "gateway"),
        ("ConfigMap", "front-exporter-config"),
        ("Pod", "front-test-ready"),
    ] {
        rendered.get(kind, name);
    }
}
