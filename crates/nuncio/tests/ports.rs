//! A Listener whose port somebody else has.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nuncio_echo::client::{Client, Protocol, Target};
use support::{Gateway, free_port};

fn listener(name: &str, port: u16) -> String {
    format!(
        "apiVersion: getambassador.io/v3alpha1\nkind: Listener\nmetadata: {{name: {name}}}\n\
         spec: {{port: {port}, protocol: HTTP, securityModel: XFP, \
         hostBinding: {{namespace: {{from: ALL}}}}}}\n---\n"
    )
}

async fn answers(port: u16) -> bool {
    let target = Target::cleartext(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let Ok(mut client) = Client::connect(&target, Protocol::Http1).await else {
        return false;
    };
    let answer = client.get("a.example", "/ambassador/v0/check_alive").await;
    answer.is_ok_and(|answer| answer.status == 200)
}

#[tokio::test]
async fn a_taken_port_is_named_holds_nothing_back_and_is_taken_once_free() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = holder.local_addr().unwrap().port();
    let free = free_port();
    let manifests = [listener("free", free), listener("taken", taken)].concat();
    let gateway = Gateway::start(&[("listeners.yaml", manifests)]).await;
    assert!(answers(free).await, "the other one serves");
    let errors = gateway.errors().await;
    assert!(
        errors.contains("Listener default/taken") && errors.contains("in use"),
        "{errors}"
    );

    drop(holder);
    gateway
        .until(async || answers(taken).await && gateway.errors().await == "[]")
        .await;
    gateway.terminate().await;
}
