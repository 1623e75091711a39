//! The service as it runs: files that change, health, metrics, wrong requests.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use nuncio_envoy_api::google::protobuf::UInt64Value;
use nuncio_ratelimit::Options;
use support::{Client, Service, ask, client, descriptor, options, request, until};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn limit(domain: &str, requests: u32) -> String {
    format!(
        "domain: {domain}\ndescriptors: [{{key: user, rate_limit: {{unit: year, requests_per_unit: {requests}}}}}]\n"
    )
}

/// The limit that holds in a domain.
async fn limit_of(client: &mut Client, domain: &str) -> Result<Option<u32>, tonic::Status> {
    let request = request(domain, vec![descriptor(&[("user", "a")])]);
    let status = ask(client, &request).await?.statuses.remove(0);
    Ok(status.current_limit.map(|limit| limit.requests_per_unit))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_again_and_what_was_good_stays() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("shop.yaml", &limit("shop", 10));
    write("notes.txt", "no limits");
    let service = Service::ready(options(folder.path())).await;
    let mut client = client(service.grpc.port());
    assert_eq!(limit_of(&mut client, "shop").await.unwrap(), Some(10));
    assert_eq!(limit_of(&mut client, "blog").await.unwrap(), None);

    write("blog.yaml", &limit("blog", 5));
    let of = async |domain: &str| limit_of(&mut client.clone(), domain).await.ok().flatten();
    until("the new file", async || {
        (of("blog").await == Some(5)).then_some(())
    })
    .await;

    write(
        "shop.yaml",
        "domain: shop\ndescriptors: [{key: user, limit: 3}]\n",
    );
    let errors = "ratelimit_service_config_load_error";
    until("the wrong file", async || {
        (service.metric(errors).await? > 0.0).then_some(())
    })
    .await;
    assert_eq!(of("shop").await, Some(10));
    write("shop.yaml", &limit("shop", 11));
    until("the file is good again", async || {
        (of("shop").await == Some(11)).then_some(())
    })
    .await;
    assert_eq!(of("blog").await, Some(5));

    fs::remove_file(folder.path().join("blog.yaml")).unwrap();
    until("the file is gone", async || {
        of("blog").await.is_none().then_some(())
    })
    .await;
    assert_eq!(service.get("/healthcheck").await.0, 200);
}

/// As Kubernetes mounts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_is_exchanged_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let of_time = |time: &str, requests: u32| {
        let data = folder.path().join(time);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("limits.yaml"), limit("shop", requests)).unwrap();
        let next = folder.path().join("..data_tmp");
        symlink(time, &next).unwrap();
        fs::rename(next, folder.path().join("..data")).unwrap();
    };
    of_time("..2026_01", 1);
    symlink("..data/limits.yaml", folder.path().join("limits.yaml")).unwrap();
    let service = Service::ready(options(folder.path())).await;
    let client = client(service.grpc.port());
    let of = async || limit_of(&mut client.clone(), "shop").await.unwrap();
    assert_eq!(of().await, Some(1));
    of_time("..2026_02", 2);
    until("the new map", async || {
        (of().await == Some(2)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_before_all_limits_are_known() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), limit("shop", 10)).unwrap();
    fs::write(
        folder.path().join("blog.yaml"),
        "domain: blog\ndescriptor: []\n",
    )
    .unwrap();
    let service = Service::start(options(folder.path())).await;
    let mut client = client(service.grpc.port());
    // The good one is in effect, and whether another domain has limits nobody knows.
    until("the good file", async || {
        limit_of(&mut client.clone(), "shop").await.ok()
    })
    .await;
    let error = limit_of(&mut client, "blog").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("blog.yaml are wrong"), "{error}");
    assert_eq!(service.get("/healthcheck").await.0, 500);
    assert_eq!(service.get("/alive").await.0, 200);

    let endpoint = format!("http://{}", service.grpc);
    let channel = Endpoint::from_shared(endpoint).unwrap().connect_lazy();
    let health = async |name: &str| {
        let service = name.to_owned();
        let mut health = HealthClient::new(channel.clone());
        let response = health.check(HealthCheckRequest { service }).await;
        response.unwrap().into_inner().status().as_str_name()
    };
    assert_eq!(health("").await, "NOT_SERVING");

    fs::write(folder.path().join("blog.yaml"), limit("blog", 5)).unwrap();
    until("readiness", async || {
        (service.get("/healthcheck").await.0 == 200).then_some(())
    })
    .await;
    for name in [
        "",
        "ratelimit",
        "envoy.service.ratelimit.v3.RateLimitService",
    ] {
        until("health", async || {
            (health(name).await == "SERVING").then_some(())
        })
        .await;
    }
    service.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), limit("shop", 10)).unwrap();
    let service = Service::ready(options(folder.path())).await;
    let mut client = client(service.grpc.port());
    let user = descriptor(&[("user", "a")]);
    let mut back = user.clone();
    back.is_negative_hits = true;
    let mut many = user.clone();
    many.hits_addend = Some(UInt64Value {
        value: 1_000_000_001,
    });
    for (wrong, what) in [
        (request("", vec![user.clone()]), "no domain"),
        (request("shop", Vec::new()), "no descriptor"),
        (request("shop", vec![back]), "is_negative_hits"),
        (request("shop", vec![many]), "more than a request may have"),
    ] {
        let error = ask(&mut client, &wrong).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains(what), "{error}");
    }
    let errors = "ratelimit_service_should_rate_limit_error{err_type=\"service_error\"}";
    assert_eq!(service.metric(errors).await, Some(4.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_mode_everything_passes_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), limit("shop", 0)).unwrap();
    let service = Service::ready(Options {
        shadow_mode: true,
        ..options(folder.path())
    })
    .await;
    let mut client = client(service.grpc.port());
    let request = request("shop", vec![descriptor(&[("user", "a")])]);
    let answer = ask(&mut client, &request).await.unwrap();
    // OK as a whole, and over its limit.
    assert_eq!((answer.overall_code, answer.statuses[0].code), (1, 2));
    let labels = "{domain=\"shop\",key1=\"user\"}";
    let over = format!("ratelimit_service_rate_limit_over_limit{labels}");
    assert_eq!(service.metric(&over).await, Some(1.0));
    assert_eq!(
        service.metric("ratelimit_service_global_shadow_mode").await,
        Some(1.0)
    );
}
