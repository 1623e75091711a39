#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;

use super::{Effect, Environment, Statsd, VARIABLES, table, without_effect};
use crate::cli::Cli;

fn read(variables: &[(&str, &str)]) -> Result<Environment, String> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Environment::from_vars(|name| variables.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn what_the_list_says_to_be_read_is_read_and_nothing_else() {
    let asked = RefCell::new(BTreeSet::new());
    Environment::from_vars(|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    })
    .unwrap();
    let mut asked = asked.into_inner();
    for command in Cli::command().get_subcommands() {
        let variables = command.get_arguments().filter_map(clap::Arg::get_env);
        asked.extend(variables.map(|name| name.to_str().unwrap().to_owned()));
    }
    let listed: BTreeSet<_> = VARIABLES
        .iter()
        .filter(|variable| matches!(variable.effect, Effect::Read(..)))
        .map(|variable| variable.name.to_owned())
        .collect();
    assert_eq!(asked, listed);
}

#[test]
fn the_documentation_has_the_list() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/environment.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, _) = text.split_once("## What is read").unwrap();
    let expected = format!("{head}{}", table());
    if std::env::var_os("NUNCIO_UPDATE_CASES").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert_eq!(text, expected, "NUNCIO_UPDATE_CASES=1 writes it anew");
    }
}

#[test]
fn each_is_listed_once_and_in_order() {
    let names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert!(names.is_sorted_by(|a, b| a < b));
}

#[test]
fn without_variables_emissarys_defaults_hold() {
    let environment = read(&[]).unwrap();
    assert_eq!(environment.admin.to_string(), "127.0.0.1:8877");
    let ready = environment.ready.unwrap();
    assert_eq!(
        (ready.address.to_string().as_str(), ready.port),
        ("127.0.0.1", 8006)
    );
    assert_eq!(environment.statsd, None);
    assert!(environment.strict_label_selectors);
}

#[test]
fn the_ready_port_can_be_another_or_none() {
    let ready = |port| read(&[("AMBASSADOR_READY_PORT", port)]).map(|e| e.ready.map(|r| r.port));
    assert_eq!(ready("8100"), Ok(Some(8100)));
    assert_eq!(ready(""), Ok(Some(8006)));
    assert_eq!(ready("0"), Ok(None));
    assert_eq!(
        ready("off").unwrap_err(),
        "AMBASSADOR_READY_PORT is \"off\": write a port from 1 to 65535, or 0 for none"
    );
}

#[test]
fn the_admin_address_is_made_of_three() {
    let admin = |variables: &[(&str, &str)]| read(variables).map(|e| e.admin);
    let expected = |text: &str| Ok(text.parse::<SocketAddr>().unwrap());
    let address = ("AMBASSADOR_HEALTHCHECK_BIND_ADDRESS", "0.0.0.0");
    let port = ("AMBASSADOR_HEALTHCHECK_BIND_PORT", "9000");
    let family = ("AMBASSADOR_HEALTHCHECK_IP_FAMILY", "IPV6_ONLY");
    assert_eq!(admin(&[address, port]), expected("0.0.0.0:9000"));
    assert_eq!(admin(&[family]), expected("[::1]:8877"));
    assert!(admin(&[("AMBASSADOR_HEALTHCHECK_IP_FAMILY", "6")]).is_err());
    assert!(admin(&[("AMBASSADOR_HEALTHCHECK_BIND_ADDRESS", "all")]).is_err());
}

#[test]
fn statsd_is_off_until_it_is_enabled() {
    let given = [
        ("STATSD_HOST", "stats.example"),
        ("STATSD_FLUSH_INTERVAL", "5"),
        ("DOGSTATSD", "true"),
        ("DD_ENTITY_ID", "pod"),
    ];
    assert_eq!(read(&given).unwrap().statsd, None);
    let mut enabled = given.to_vec();
    enabled.push(("STATSD_ENABLED", "True"));
    let expected = Statsd {
        dogstatsd: true,
        host: "stats.example".to_owned(),
        port: 8125,
        flush_interval: Duration::from_secs(5),
        entity_id: Some("pod".to_owned()),
    };
    assert_eq!(read(&enabled).unwrap().statsd, Some(expected));
}

#[test]
fn a_wrong_value_is_named() {
    for (name, value) in [
        ("STATSD_ENABLED", "maybe"),
        ("STATSD_PORT", "70000"),
        ("STATSD_FLUSH_INTERVAL", "1.5"),
        ("STATSD_FLUSH_INTERVAL", "300"),
        ("STATSD_FLUSH_INTERVAL", "0"),
        ("AMBASSADOR_ENVOY_BASE_ID", "one"),
        ("DISABLE_STRICT_LABEL_SELECTORS", "perhaps"),
    ] {
        let error = read(&[(name, value)]).unwrap_err();
        assert!(
            error.starts_with(&format!("{name} is \"{value}\": write ")),
            "{error}"
        );
    }
}

#[test]
fn the_port_that_kubernetes_writes_for_a_service_is_not_meant() {
    let port = |value| read(&[("STATSD_ENABLED", "true"), ("STATSD_PORT", value)]);
    let port = |value| port(value).unwrap().statsd.unwrap().port;
    assert_eq!(port("tcp://10.0.0.1:9125"), 8125);
    assert_eq!(port("9125"), 9125);
}

#[test]
fn what_is_set_and_does_nothing_is_named() {
    let set = ["SCOUT_DISABLE", "AMBASSADOR_ID", "OTHER"];
    let named: Vec<_> = without_effect(|name| set.contains(&name)).collect();
    assert_eq!(named, [("SCOUT_DISABLE", "nuncio reports to nobody")]);
}
