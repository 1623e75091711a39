//! What goes, goes last.

use std::time::Duration;

use super::{BASE, LINGER, NOTHING, Stream};

const TWO: &str = "c:a=1>e:a c:b=1>e:b e:a=1 e:b=1 l:l=1>r:t r:t=1";
const ONE: &str = "c:a=1>e:a e:a=1 l:l=1>r:t r:t=2";
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_cluster_lingers_after_the_routes_are_acknowledged() {
    let mut stream = Stream::started(TWO);
    assert_eq!(stream.snapshot(ONE), ["r t=2"]);
    assert_eq!(stream.wait(10 * SECOND), NOTHING);
    assert_eq!(stream.ack("r"), NOTHING);
    assert_eq!(stream.session.next_timer(), Some(stream.now + LINGER));
    assert_eq!(stream.wait(LINGER - SECOND), NOTHING);
    assert_eq!(stream.wait(SECOND), ["c -b"]);
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.unsubscribe("e", "b"), NOTHING);
    assert_eq!(stream.session.next_timer(), None);
}

#[test]
fn one_that_comes_back_in_time_stays() {
    let mut stream = Stream::started(TWO);
    stream.snapshot(ONE);
    stream.ack("r");
    stream.wait(LINGER - SECOND);
    assert_eq!(stream.snapshot(TWO), ["r t=1"]);
    stream.ack("r");
    assert_eq!(stream.wait(10 * LINGER), NOTHING);
}

#[test]
fn one_that_comes_back_changed_is_changed() {
    let mut stream = Stream::started(TWO);
    stream.snapshot(ONE);
    stream.ack("r");
    let back = "c:a=1>e:a c:b=2>e:b e:a=1 e:b=1 l:l=1>r:t r:t=2";
    assert_eq!(stream.snapshot(back), ["c b=2", "e b=1"]);
}

#[test]
fn a_stream_of_other_changes_does_not_keep_it() {
    let mut stream = Stream::started(TWO);
    stream.snapshot(ONE);
    let newer = "c:a=1>e:a e:a=1 l:l=1>r:t r:t=3";
    assert_eq!(stream.snapshot(newer), NOTHING);
    assert_eq!(stream.ack("r"), ["r t=3"]);
    assert_eq!(stream.session.next_timer(), Some(stream.now + 20 * SECOND));
    assert_eq!(stream.wait(20 * SECOND - Duration::from_millis(1)), NOTHING);
    assert_eq!(stream.ack("r"), NOTHING);
    assert_eq!(
        stream.wait(10 * SECOND + Duration::from_millis(1)),
        ["c -b"]
    );
}

#[test]
fn refused_routes_keep_what_the_routes_before_them_use() {
    let mut stream = Stream::started(TWO);
    stream.snapshot(ONE);
    assert_eq!(stream.nack("r", "bad"), ["r t=1"]);
    stream.ack("r");
    assert_eq!(stream.wait(10 * LINGER), NOTHING);
    assert_eq!(
        stream.snapshot("c:a=1>e:a e:a=1 l:l=1>r:t r:t=3"),
        ["r t=3"]
    );
    stream.ack("r");
    assert_eq!(stream.wait(LINGER), ["c -b"]);
}

#[test]
fn a_listener_goes_at_once() {
    let mut stream = Stream::started(BASE);
    assert_eq!(stream.snapshot("c:a=1>e:a e:a=1"), ["l -l"]);
}

#[test]
fn tables_and_secrets_are_left_to_envoy() {
    let mut stream = Stream::started("l:l=1>r:t,s:x r:t=1 s:x=1");
    assert_eq!(stream.snapshot(""), ["l -l"]);
    assert_eq!(stream.ack("l"), NOTHING);
    assert_eq!(stream.unsubscribe("r", "t"), NOTHING);
    assert_eq!(stream.unsubscribe("s", "x"), NOTHING);
    assert_eq!(stream.subscribe("s", "x"), ["s -x"]);
}

#[test]
fn the_assignment_of_a_lingering_cluster_can_still_be_asked_for() {
    let mut stream = Stream::started(TWO);
    stream.snapshot(ONE);
    assert_eq!(stream.subscribe("e", "b"), ["e b=1"]);
}

#[test]
fn a_cluster_lingers_after_its_filter_is_acknowledged() {
    let mut stream = Stream::started("c:a=1 l:l=1>f:f f:f=1");
    assert_eq!(stream.snapshot("l:l=1>f:f f:f=2"), ["f f=2"]);
    assert_eq!(stream.wait(SECOND), NOTHING);
    assert_eq!(stream.nack("f", "bad"), ["f f=1"]);
    stream.ack("f");
    assert_eq!(stream.wait(10 * LINGER), NOTHING);
    assert_eq!(stream.snapshot("l:l=1>f:f f:f=3"), ["f f=3"]);
    assert_eq!(stream.ack("f"), NOTHING);
    assert_eq!(stream.wait(LINGER), ["c -a"]);
}

#[test]
fn filters_are_left_to_envoy() {
    let mut stream = Stream::started("l:l=1>f:f f:f=1");
    assert_eq!(stream.snapshot("l:l=2"), ["l l=2"]);
    assert_eq!(stream.ack("l"), NOTHING);
    assert_eq!(stream.unsubscribe("f", "f"), NOTHING);
}
