//! What breaks between nuncio and the API server, and what is away for a while.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use nuncio_echo::client::{Load, RequestSpec};
use nuncio_testkube::{ADMIN, NOBODY};
use rustix::process::{Pid, Signal, kill_process};

use super::{ALL_RIGHTS, Scene, mapping};

/// A Mapping beside that of the scene.
fn beside(prefix: &str) -> String {
    mapping(prefix).replace("{name: a}", "{name: b}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_break_under_load_drop_no_request() {
    let mut scene = Scene::start().await;
    scene.apply(&scene.all()).await;
    let mut gateway = scene.gateway(ADMIN);
    gateway.ready().await;
    let requests = vec![RequestSpec::get("a.example", "/a/")];
    let load = Load::start(&scene.http, requests, 4, 200);
    for round in 0..3 {
        scene.kubernetes.kill_api_server().await.unwrap();
        let said = async || gateway.errors().await.contains("cannot be reached");
        gateway.until(said).await;
        scene.kubernetes.start_api_server().await.unwrap();
        let prefix = format!("/round-{round}/");
        scene.apply(&beside(&prefix)).await;
        scene.answers(&gateway, &prefix, 200).await;
    }
    let report = load.stop().await;
    assert!(report.sent > 100, "only {} requests were sent", report.sent);
    assert!(
        report.failed.is_empty() && report.not_ok() == 0,
        "{:?} {:?}",
        report.by_status,
        report.failed.iter().take(10).collect::<Vec<_>>()
    );
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_is_made_up_for_where_history_is_forgotten() {
    let mut scene = Scene::start().await;
    scene.apply(&scene.all()).await;
    scene.apply(&beside("/b/")).await;
    let mut gateway = scene.gateway(ADMIN);
    gateway.ready().await;
    assert_eq!(scene.status("/b/").await, Some(200));

    let client = scene.kubernetes.client().await.unwrap();
    let services: Api<Service> = Api::all(client);
    let seen = services.list(&ListParams::default()).await.unwrap();
    let seen = seen.metadata.resource_version.unwrap();
    let nuncio = Pid::from_raw(gateway.pid()).unwrap();
    kill_process(nuncio, Signal::STOP).unwrap();
    scene.kubernetes.kill_api_server().await.unwrap();
    scene.kubernetes.start_api_server().await.unwrap();
    scene.kubernetes.delete(&beside("/b/")).await.unwrap();
    scene.apply(&mapping("/c/")).await;
    scene.kubernetes.kill_api_server().await.unwrap();
    scene.kubernetes.start_api_server().await.unwrap();

    // The API server does not know any more what came after what nuncio has seen.
    let watch = WatchParams::default().timeout(5);
    let events = services.watch(&watch, &seen).await.unwrap().boxed();
    let first: Vec<_> = events.take(1).try_collect().await.unwrap();
    assert!(
        matches!(&first[..], [WatchEvent::Error(status)] if status.code == 410),
        "{first:?}"
    );

    kill_process(nuncio, Signal::CONT).unwrap();
    scene.answers(&gateway, "/c/", 200).await;
    scene.answers(&gateway, "/b/", 404).await;
    assert_eq!(scene.status("/a/").await, Some(404));
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_go_take_nothing_out_of_effect() {
    let mut scene = Scene::start().await;
    scene.apply(&(scene.all() + ALL_RIGHTS)).await;
    let mut gateway = scene.gateway(NOBODY);
    gateway.ready().await;
    assert_eq!(scene.status("/a/").await, Some(200));

    // Who watches already is not asked again for its rights.
    scene.kubernetes.delete(ALL_RIGHTS).await.unwrap();
    scene.kubernetes.kill_api_server().await.unwrap();
    scene.kubernetes.start_api_server().await.unwrap();
    let said = async || {
        let errors = gateway.errors().await;
        errors.contains("may not list and watch services") && errors.contains("stays in effect")
    };
    gateway.until(said).await;
    assert_eq!(scene.status("/a/").await, Some(200));

    scene.apply(&(ALL_RIGHTS.to_owned() + &beside("/b/"))).await;
    scene.answers(&gateway, "/b/", 200).await;
    gateway
        .until(async || !gateway.errors().await.contains("may not list and watch"))
        .await;
    gateway.terminate().await;
}
