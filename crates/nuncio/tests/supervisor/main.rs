//! The supervisor with a real Envoy.

#![allow(clippy::unwrap_used)]

mod harness;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nuncio::supervisor::{StartError, State, StateDir, StateDirError, Supervisor};
use serde_json::json;

use harness::{
    Client, HELPER, Helper, LONG, Load, Place, RUNNING, envoy, eventually, eventually_active, get,
    kill, pid, serves,
};

/// Not a test: what [`Helper`] runs.
#[tokio::test]
async fn helper_process() {
    let Ok(order) = std::env::var(HELPER) else {
        return;
    };
    let order: Vec<_> = order.split(' ').collect();
    let place = Place {
        // Removed with the folder of the one who kills this process.
        temp: tempfile::tempdir_in(Path::new(order[0]).parent().unwrap()).unwrap(),
        state: order[0].into(),
        port: order[1].parse().unwrap(),
        drain_time: LONG,
    };
    let _handle = place.start(order[2]).await;
    eprintln!("{RUNNING}");
    std::future::pending().await
}

#[tokio::test]
async fn it_starts_and_ends_at_once_when_idle() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    assert_eq!(get(place.port).unwrap(), "one");
    let shared_memory = place.shared_memory();
    assert!(shared_memory.exists());
    // An idle connection is no reason to wait.
    let mut idle = Client::connect(place.port).unwrap();
    idle.get().unwrap();

    let drained = handle.drain_and_stop().await;
    assert!(drained.took < Duration::from_secs(3), "{drained:?}");
    assert_eq!(drained.cut_off, 0);
    place.assert_clean();
    assert!(!shared_memory.exists());
    assert_eq!(fs::read_dir(place.temp.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_killed_envoy_is_started_again() {
    let place = Place::new();
    let handle = place.start("one").await;
    let first = pid(&handle);
    let mut state = handle.state();
    state.mark_unchanged();
    kill(first, "KILL");

    state.changed().await.unwrap();
    let State::Exited { status, .. } = state.borrow_and_update().clone() else {
        panic!("not exited");
    };
    assert_eq!(status.to_string(), "killed by SIGKILL (signal 9)");
    assert_eq!(*handle.restarts().borrow(), 1);
    let again = state
        .wait_for(|state| matches!(state, State::Running { .. }))
        .await
        .unwrap()
        .clone();
    assert!(
        matches!(again, State::Running { pid, epoch: 0, taken_over: false } if pid != first),
        "{again:?}"
    );
    serves(&handle).await;
    assert_eq!(get(place.port).unwrap(), "one");
    assert_eq!(place.processes(), [pid(&handle)], "the old one is reaped");
    handle.drain_and_stop().await;
    place.assert_clean();
}

/// As with a full disk. What it needs is there since the first start.
#[tokio::test]
async fn a_killed_envoy_is_started_again_where_nothing_can_be_written() {
    let place = Place::new();
    let handle = place.start("one").await;
    // Files are written under this name, and then renamed.
    let in_the_way = ["bootstrap", "base-id", "envoy"].map(|name| {
        let path = place.state.join(name).with_extension("new");
        fs::create_dir(&path).unwrap();
        path
    });
    for _ in 0..2 {
        let killed = pid(&handle);
        kill(killed, "KILL");
        let running = |state: &State| matches!(state, State::Running { pid, .. } if *pid != killed);
        handle.state().wait_for(running).await.unwrap();
        serves(&handle).await;
        assert_eq!(get(place.port).unwrap(), "one");
        assert_eq!(*place.processes(), [pid(&handle)]);
    }
    for path in in_the_way {
        fs::remove_dir(path).unwrap();
    }
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_running_envoy_is_taken_over_with_its_connections() {
    let place = Place::new();
    place.start_and_be_killed("one");
    let running = place.processes();
    assert_eq!(running.len(), 1, "Envoy outlives nuncio");
    eventually(|| get(place.port).is_ok()).await;
    let mut client = Client::connect(place.port).unwrap();
    assert_eq!(client.get().unwrap().1, "one");

    let handle = place.start("one").await;
    assert_eq!(
        *handle.state().borrow(),
        State::Running {
            pid: running[0],
            epoch: 0,
            taken_over: true
        }
    );
    assert_eq!(client.get().unwrap().1, "one");

    // It is no child of this process, and is watched all the same.
    let mut state = handle.state();
    kill(running[0], "KILL");
    state
        .wait_for(|state| matches!(state, State::Exited { .. }))
        .await
        .unwrap();
    state
        .wait_for(|state| matches!(state, State::Running { .. }))
        .await
        .unwrap();
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn an_envoy_that_was_told_to_move_clients_on_stops_doing_so_when_taken_over() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    handle.admin().post("/healthcheck/fail").await.unwrap();
    place.release(handle).await;
    let handle = place.start("one").await;
    let (head, _) = Client::connect(place.port).unwrap().get().unwrap();
    assert!(!head.contains("connection: close"), "{head}");
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_changed_bootstrap_is_a_hot_restart_that_drops_nothing() {
    let mut place = Place::new();
    // The one that is replaced goes this much later, and five seconds.
    place.drain_time = Duration::from_secs(2);
    let handle = place.start("one").await;
    serves(&handle).await;
    let old = pid(&handle);
    place.release(handle).await;

    let load = Load::start(place.port);
    let handle = place.start("two").await;
    let State::Running {
        pid,
        epoch,
        taken_over,
    } = *handle.state().borrow()
    else {
        panic!("not running");
    };
    assert_ne!(pid, old);
    assert_eq!((epoch, taken_over), (1, false));
    eventually(|| place.processes() == [pid]).await;
    let (requests, last) = load.end();
    assert!(requests > 100, "{requests}");
    assert_eq!(last, "two");
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_hot_restart_that_fails_leaves_the_running_envoy_alone() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    let running = place.processes();
    place.release(handle).await;

    let mut config = place.config("one");
    config.bootstrap["static_resources"]["listeners"] = json!("none");
    let error = Supervisor::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Ended(_)), "{error}");
    assert_eq!(place.processes(), running);
    assert_eq!(get(place.port).unwrap(), "one");

    let handle = place.start("one").await;
    assert_eq!(
        pid(&handle),
        running[0],
        "it is still what would be started"
    );
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn an_envoy_that_cannot_be_hot_restarted_is_drained_first() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    let old = pid(&handle);
    place.release(handle).await;

    let other = place.temp.path().join("envoy");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --hot-restart-version ] && {{ echo other; exit; }}\nexec {} \"$@\"\n",
        envoy().display()
    );
    fs::write(&other, script).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = place.config("one");
    config.envoy = other;
    let handle = Supervisor::start(config).await.unwrap();
    assert!(matches!(
        *handle.state().borrow(),
        State::Running {
            epoch: 0,
            taken_over: false,
            ..
        }
    ));
    assert_ne!(pid(&handle), old);
    assert_eq!(place.processes(), [pid(&handle)]);
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn an_envoy_without_a_record_is_found() {
    let mut place = Place::new();
    place.drain_time = Duration::from_secs(1);
    let handle = place.start("one").await;
    serves(&handle).await;
    let old = pid(&handle);
    place.release(handle).await;
    // As if nuncio had been killed between starting Envoy and writing it down.
    fs::remove_file(place.state.join("envoy.json")).unwrap();

    let handle = place.start("one").await;
    assert!(matches!(
        *handle.state().borrow(),
        State::Running { epoch: 1, .. }
    ));
    assert_ne!(pid(&handle), old);
    // Ended while its predecessor still is there: both go.
    handle.drain_and_stop().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_drain_ends_soon_after_the_last_request() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    let mut slow = Client::connect(place.port).unwrap();
    slow.send(Duration::from_millis(1500)).unwrap();
    eventually_active(&handle).await;

    let asked = Instant::now();
    let (drained, during) = tokio::join!(handle.drain_and_stop(), async {
        let mut state = handle.state();
        let draining = state.wait_for(|state| matches!(state, State::Draining { .. }));
        draining.await.unwrap();
        let failed = || {
            let (head, _) = Client::connect(place.port).unwrap().get().unwrap();
            head.contains("connection: close")
        };
        eventually(failed).await;
    });
    let () = during;
    assert_eq!(slow.receive().unwrap().1, "one");
    assert_eq!(drained.cut_off, 0);
    assert!(asked.elapsed() > Duration::from_secs(1), "{drained:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{drained:?}");
    place.assert_clean();
}

#[tokio::test]
async fn a_drain_ends_after_the_drain_time_at_the_latest() {
    let mut place = Place::new();
    place.drain_time = Duration::from_secs(1);
    let handle = place.start("one").await;
    serves(&handle).await;
    let mut slow = Client::connect(place.port).unwrap();
    slow.send(LONG).unwrap();
    eventually_active(&handle).await;

    let drained = handle.drain_and_stop().await;
    assert_eq!(drained.cut_off, 1);
    assert!(drained.took >= Duration::from_secs(1), "{drained:?}");
    assert!(drained.took < Duration::from_secs(4), "{drained:?}");
    assert!(slow.receive().is_err());
    place.assert_clean();
}

#[tokio::test]
async fn a_websocket_and_a_tcp_connection_hold_the_drain() {
    let mut place = Place::new();
    place.drain_time = Duration::from_secs(1);
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_port = tcp.local_addr().unwrap().port();
    drop(tcp);

    let mut config = place.config("one");
    let resources = &mut config.bootstrap["static_resources"];
    resources["clusters"] = json!([{
        "name": "upstream",
        "load_assignment": { "cluster_name": "upstream", "endpoints": [{ "lb_endpoints": [{
            "endpoint": { "address": { "socket_address": {
                "address": "127.0.0.1",
                "port_value": upstream.local_addr().unwrap().port()
            } } }
        }] }] }
    }]);
    let web = &mut resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    web["upgrade_configs"] = json!([{ "upgrade_type": "websocket" }]);
    web["route_config"]["virtual_hosts"][0]["routes"] =
        json!([{ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }]);
    resources["listeners"].as_array_mut().unwrap().push(json!({
        "name": "tcp",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": tcp_port } },
        "filter_chains": [{ "filters": [{
            "name": "tcp",
            "typed_config": {
                "@type": "type.googleapis.com/\
                          envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "tcp",
                "cluster": "upstream"
            }
        }] }]
    }));
    let handle = Supervisor::start(config).await.unwrap();
    serves(&handle).await;

    let mut websocket = Client::connect(place.port).unwrap();
    websocket
        .0
        .write_all(
            b"GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .unwrap();
    let (mut server, _) = upstream.accept().unwrap();
    server
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .unwrap();
    assert!(websocket.receive().unwrap().0.starts_with("HTTP/1.1 101"));
    let _tcp = TcpStream::connect(("127.0.0.1", tcp_port)).unwrap();
    let _server = upstream.accept().unwrap();

    let drained = handle.drain_and_stop().await;
    assert_eq!(drained.cut_off, 2);
    assert!(drained.took >= Duration::from_secs(1), "{drained:?}");
    place.assert_clean();
}

#[tokio::test]
async fn a_drain_can_be_cut_short() {
    let place = Place::new();
    let handle = place.start("one").await;
    serves(&handle).await;
    let mut slow = Client::connect(place.port).unwrap();
    slow.send(LONG).unwrap();
    eventually_active(&handle).await;

    let asked = Instant::now();
    let patience = tokio::time::timeout(Duration::from_millis(500), handle.drain_and_stop());
    assert!(patience.await.is_err(), "a request is under way");
    let drained = handle.stop_now().await;
    assert_eq!(drained.cut_off, 1);
    assert!(asked.elapsed() < Duration::from_secs(5), "{drained:?}");
    place.assert_clean();
}

#[tokio::test]
async fn a_second_supervisor_is_refused() {
    let place = Place::new();
    let mut helper = Helper::start(&place, "one");
    helper.wait_until_running();
    let refused = StateDir::open(&place.state).unwrap_err();
    let StateDirError::InUse { pid: Some(pid), .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(pid, helper.0.id());
    assert!(
        refused.to_string().contains(&format!("(pid {pid})")),
        "{refused}"
    );
    drop(helper);
    place.start("one").await.stop_now().await;
    place.assert_clean();
}

#[tokio::test]
async fn a_long_path_of_the_state_folder_works() {
    let mut place = Place::new();
    place.state = place.temp.path().join("x".repeat(150));
    let config = place.config("one");
    let sockets = config.state_dir.admin_socket().parent().unwrap().to_owned();
    assert_ne!(sockets, place.state);
    let handle = Supervisor::start(config).await.unwrap();
    serves(&handle).await;
    let running = pid(&handle);
    place.release(handle).await;

    let handle = place.start("one").await;
    assert_eq!(pid(&handle), running);
    assert_eq!(get(place.port).unwrap(), "one");
    handle.drain_and_stop().await;
    place.assert_clean();
    assert!(!sockets.exists());
}

#[tokio::test]
async fn what_keeps_envoy_from_starting_is_said() {
    let place = Place::new();
    let mut config = place.config("one");
    config.envoy = "/nowhere/envoy".into();
    let error = Supervisor::start(config).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no Envoy at /nowhere/envoy: run `make envoy`, or pass --envoy PATH"
    );

    let mut config = place.config("one");
    config.envoy = "/etc/passwd".into();
    let error = Supervisor::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::NotExecutable(_)), "{error}");

    let mut config = place.config("one");
    config.bootstrap = json!({ "no_such_field": 1 });
    let error = Supervisor::start(config).await.unwrap_err().to_string();
    assert!(
        error.starts_with("Envoy ended as it started (exit code 1)"),
        "{error}"
    );
    place.assert_clean();
}
