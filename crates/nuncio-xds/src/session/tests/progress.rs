//! When a snapshot counts as acknowledged.

use std::time::Duration;

use super::{BASE, Stream};

#[test]
fn not_before_everything_was_asked_for_and_answered() {
    let mut stream = Stream::new();
    stream.snapshot(BASE);
    let at = |stream: &Stream| stream.session.acknowledged();
    stream.ask("c", "");
    stream.subscribe("e", "a");
    stream.ack("e");
    stream.ack("c");
    assert_eq!(at(&stream), 0, "Envoy has not asked for listeners");
    stream.ask("l", "");
    assert_eq!(at(&stream), 0);
    stream.ack("l");
    assert_eq!(at(&stream), 0, "nor for the table that its listener names");
    stream.subscribe("r", "t");
    assert_eq!(at(&stream), 0);
    stream.ack("r");
    assert_eq!(at(&stream), 1);
}

#[test]
fn a_stream_that_begins_late_has_answered_nothing_before() {
    let mut stream = Stream::new();
    stream.number = 6;
    stream.snapshot(BASE);
    stream.ask("c", "");
    stream.ask("l", "");
    assert_eq!(stream.session.acknowledged(), 0);
    stream.ack("c");
    stream.ack("l");
    stream.subscribe("r", "t");
    stream.subscribe("e", "a");
    stream.ack("e");
    assert_eq!(stream.session.acknowledged(), 0);
    stream.ack("r");
    assert_eq!(stream.session.acknowledged(), 7);
}

#[test]
fn a_refusal_is_an_answer() {
    let mut stream = Stream::new();
    stream.snapshot(BASE);
    stream.ask("c", "");
    stream.nack("c", "bad");
    stream.ack("c");
    stream.ask("l", "");
    stream.ack("l");
    stream.subscribe("r", "t");
    stream.nack("r", "bad");
    stream.ack("r");
    assert_eq!(stream.session.acknowledged(), 1);
}

#[test]
fn an_empty_snapshot_is_acknowledged_too() {
    let mut stream = Stream::new();
    stream.snapshot("");
    stream.ask("c", "");
    stream.ack("c");
    stream.ask("l", "");
    assert_eq!(stream.session.acknowledged(), 0);
    stream.ack("l");
    assert_eq!(stream.session.acknowledged(), 1);
}

#[test]
fn nothing_is_before_there_is_a_snapshot() {
    let mut stream = Stream::new();
    stream.ask("c", "a=1");
    stream.ask("l", "");
    assert_eq!(stream.session.acknowledged(), 0);
}

#[test]
fn it_grows_though_changes_never_end() {
    let mut stream = Stream::started(BASE);
    assert_eq!(stream.session.acknowledged(), 1);
    let table = |body: u64| format!("c:a=1>e:a e:a=1 l:l=1>r:t r:t={body}");
    stream.snapshot(&table(2));
    for body in 3..10 {
        stream.snapshot(&table(body));
        assert_eq!(stream.session.acknowledged(), body - 2);
        stream.ack("r");
        assert_eq!(stream.session.acknowledged(), body - 1);
    }
}

#[test]
fn what_envoy_never_asks_for_does_not_hold_it_back_for_ever() {
    let mut stream = Stream::new();
    stream.snapshot(BASE);
    stream.ask("c", "");
    stream.ack("c");
    stream.ask("l", "");
    stream.ack("l");
    assert_eq!(stream.session.acknowledged(), 0);
    stream.wait(Duration::from_secs(20));
    assert_eq!(stream.session.acknowledged(), 1);
}

#[test]
fn a_lingering_cluster_does_not_hold_it_back() {
    let mut stream = Stream::started(BASE);
    stream.snapshot("l:l=1>r:t r:t=1");
    assert_eq!(stream.session.acknowledged(), 2);
}
