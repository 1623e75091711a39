//! Redis as it comes and goes, over TLS, with a password.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use nuncio_echo::free_port;
use nuncio_ratelimit::{Options, Server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::{Redis, Service, ask, client, descriptor, options, redis_settings, request, until};
use tonic::Code;

const LIMITS: &str = "
domain: shop
descriptors: [{key: user, rate_limit: {unit: year, requests_per_unit: 1000000}}]
";

fn limits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("limits.yaml"), LIMITS).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_fail_while_redis_is_away_and_go_on_when_it_is_back() {
    let folder = limits();
    let mut redis = Redis::start().await;
    let service = Service::ready(Options {
        redis: Some(redis_settings(redis.url())),
        ..options(folder.path())
    })
    .await;
    let mut client = client(service.grpc.port());
    let request = request("shop", vec![descriptor(&[("user", "a")])]);
    let remaining = async |client: &mut support::Client| {
        let answer = ask(client, &request).await?;
        Ok::<_, tonic::Status>(answer.statuses[0].limit_remaining)
    };
    assert_eq!(remaining(&mut client).await.unwrap(), 999_999);

    redis.kill();
    let error = remaining(&mut client).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(
        error.message().contains("no connection to Redis"),
        "{error}"
    );
    // Limits are known all the same.
    assert_eq!(service.get("/healthcheck").await.0, 200);

    redis.resume().await;
    let again = async || remaining(&mut client.clone()).await.ok();
    // It forgot: nothing of it is on disk.
    assert_eq!(until("Redis is back", again).await, 999_999);
    let errors = "ratelimit_service_should_rate_limit_error{err_type=\"redis_error\"}";
    assert!(service.metric(errors).await.unwrap() >= 1.0);
}

/// A connection that nobody uses is not found broken by a decision.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_unused_is_noticed() {
    let folder = limits();
    let mut redis = Redis::start().await;
    let service = Service::ready(Options {
        redis: Some(redis_settings(redis.url())),
        ..options(folder.path())
    })
    .await;
    redis.kill();
    let up = "ratelimit_redis_up";
    until("it is noticed", async || {
        (service.metric(up).await == Some(0.0)).then_some(())
    })
    .await;
    redis.resume().await;
    until("it is back", async || {
        (service.metric(up).await == Some(1.0)).then_some(())
    })
    .await;
    let mut client = client(service.grpc.port());
    let request = request("shop", vec![descriptor(&[("user", "a")])]);
    ask(&mut client, &request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hit_of_many_replicas_is_lost_or_counted_twice() {
    const EACH: usize = 40;
    let folder = limits();
    let redis = Redis::start().await;
    let mut services = Vec::new();
    for _ in 0..3 {
        let options = Options {
            redis: Some(redis_settings(redis.url())),
            ..options(folder.path())
        };
        services.push(Service::ready(options).await);
    }
    let mut tasks = Vec::new();
    for service in &services {
        for _ in 0..4 {
            let mut client = client(service.grpc.port());
            // The same counter twice in a request.
            let twice = vec![descriptor(&[("user", "a")]), descriptor(&[("user", "a")])];
            let request = request("shop", twice);
            tasks.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..EACH {
                    let answer = ask(&mut client, &request).await.unwrap();
                    seen.extend(answer.statuses.iter().map(|status| status.limit_remaining));
                }
                seen
            }));
        }
    }
    let mut seen = Vec::new();
    for task in tasks {
        seen.extend(task.await.unwrap());
    }
    seen.sort_unstable();
    let all = u32::try_from(services.len() * 4 * EACH * 2).unwrap();
    let expected: Vec<_> = (1_000_000 - all..1_000_000).collect();
    assert!(seen == expected, "every count was given once");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_over_tls_with_a_password() {
    let folder = limits();
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    fs::write(path("ca"), ca_certificate.pem()).unwrap();
    fs::write(path("certificate"), certificate.pem()).unwrap();
    fs::write(path("key"), key.serialize_pem()).unwrap();
    let port = free_port();
    let arguments = [
        "--port",
        "0",
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &path("certificate"),
        "--tls-key-file",
        &path("key"),
        "--requirepass",
        "secret",
    ];
    let redis = Redis::with(port, arguments.map(str::to_owned).to_vec()).await;

    let mut settings = redis_settings(format!("rediss://:secret@127.0.0.1:{}", redis.port));
    settings.ca = Some(path("ca").into());
    let service = Service::ready(Options {
        redis: Some(settings.clone()),
        ..options(folder.path())
    })
    .await;
    let mut trusted = client(service.grpc.port());
    let request = request("shop", vec![descriptor(&[("user", "a")])]);
    ask(&mut trusted, &request).await.unwrap();

    // Nobody vouches for it.
    settings.ca = None;
    let service = Service::start(Options {
        redis: Some(settings),
        ..options(folder.path())
    })
    .await;
    let mut untrusting = client(service.grpc.port());
    let error = until("the certificate is refused", async || {
        let error = ask(&mut untrusting.clone(), &request).await.unwrap_err();
        error
            .message()
            .to_lowercase()
            .contains("certificate")
            .then_some(error)
    })
    .await;
    assert_eq!(error.code(), Code::Unavailable);
    assert!(ask(&mut untrusting, &request).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_a_redis_is_said_at_the_start() {
    let folder = limits();
    let mut settings = redis_settings("http://127.0.0.1".to_owned());
    let start = async |settings: &nuncio_ratelimit::RedisSettings| {
        let started = Server::bind(Options {
            redis: Some(settings.clone()),
            ..options(folder.path())
        });
        started.await.unwrap_err().to_string()
    };
    let error = start(&settings).await;
    assert!(error.starts_with("the URL of Redis is wrong"), "{error}");
    settings.ca = Some("/nowhere/ca.pem".into());
    let error = start(&settings).await;
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
}
