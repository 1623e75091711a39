//! gRPC with tonic's clients: over HTTP/2, and as a browser does, by gRPC-Web over HTTP/1.1.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nuncio_echo::Echo;
use support::{Gateway, free_port};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_web::GrpcWebClientService;

#[tokio::test]
async fn calls_come_back_with_their_status_by_grpc_and_by_grpc_web() {
    let web = Echo::new("web");
    let web = web.start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let web = web.await.unwrap();
    let port = free_port();
    let manifests = format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: http}}\n\
         spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n\
         apiVersion: getambassador.io/v3alpha1\nkind: Host\nmetadata: {{name: any}}\n\
         spec: {{hostname: \"*\", requestPolicy: {{insecure: {{action: Route}}}}}}\n---\n\
         apiVersion: getambassador.io/v3alpha1\nkind: Module\nmetadata: {{name: ambassador}}\n\
         spec: {{config: {{enable_grpc_web: true}}}}\n---\n\
         apiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata: {{name: web}}\n\
         spec: {{hostname: \"*\", prefix: /, rewrite: \"\", service: \"{}\", grpc: true}}\n",
        web.address()
    );
    let gateway = Gateway::start(&[("all.yaml", manifests)]).await;
    let origin = format!("http://127.0.0.1:{port}");
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };

    let endpoint = Endpoint::from_shared(origin.clone()).unwrap();
    let mut grpc = HealthClient::new(endpoint.connect().await.unwrap());
    let answer = grpc.check(check("")).await.unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    let error = grpc.check(check("nobody")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    let http = Client::builder(TokioExecutor::new()).build_http();
    let origin = origin.parse().unwrap();
    let mut grpc_web = HealthClient::with_origin(GrpcWebClientService::new(http), origin);
    let answer = grpc_web.check(check("")).await.unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    let error = grpc_web.check(check("nobody")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    // It came to the gateway in the form of gRPC-Web, and to the upstream as gRPC.
    let seen = web.seen();
    let kinds: Vec<_> = seen
        .iter()
        .map(|seen| seen.headers["content-type"].clone())
        .collect();
    assert_eq!(kinds.len(), 4, "{seen:?}");
    assert!(
        kinds.iter().all(|kind| kind == &["application/grpc"]),
        "{kinds:?}"
    );
    gateway.terminate().await;
}
