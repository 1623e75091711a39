//! What follows a refusal.

use std::time::Duration;

use super::{BASE, NOTHING, Stream};

const CHANGED: &str = "c:a=2>e:a e:a=1 l:l=1>r:t r:t=1";
const IN_USE: &str =
    "Error adding/updating listener(s) l: cannot bind '127.0.0.1:80': Address already in use";

#[test]
fn what_was_accepted_last_is_sent_again_at_once_and_the_refused_not_again() {
    let mut stream = Stream::started(BASE);
    assert_eq!(stream.snapshot(CHANGED), ["c a=2", "e a=1"]);
    stream.ack("e");
    // Envoy warms it anew, so its assignment follows again.
    assert_eq!(
        stream.nack("c", "Error adding/updating cluster(s) a: bad"),
        ["c a=1", "e a=1"]
    );
    assert_eq!(stream.ack("e"), NOTHING);
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.refused(), ["c:a"]);
    assert_eq!(stream.snapshot(CHANGED), NOTHING);

    let again = "c:a=3>e:a e:a=1 l:l=1>r:t r:t=1";
    assert_eq!(stream.snapshot(again), ["c a=3", "e a=1"]);
    assert_eq!(stream.refused(), ["c:a"], "until Envoy has accepted it");
    stream.ack("c");
    assert_eq!(stream.refused(), NOTHING);
}

#[test]
fn what_was_never_accepted_is_removed() {
    let mut stream = Stream::started(BASE);
    assert_eq!(stream.snapshot(&format!("{BASE} c:b=1")), ["c b=1"]);
    assert_eq!(stream.nack("c", "bad"), ["c -b"]);
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.refused(), ["c:b"]);
}

#[test]
fn taking_a_refused_change_back_ends_the_refusal() {
    let mut stream = Stream::started(BASE);
    stream.snapshot(CHANGED);
    stream.nack("c", "bad");
    stream.ack("c");
    assert_eq!(stream.snapshot(BASE), NOTHING);
    assert_eq!(stream.refused(), NOTHING);
}

#[test]
fn removing_what_is_refused_ends_the_refusal() {
    let mut stream = Stream::started(BASE);
    stream.snapshot(&format!("{BASE} c:b=1"));
    stream.nack("c", "bad");
    stream.ack("c");
    stream.snapshot(BASE);
    assert_eq!(stream.refused(), NOTHING);
}

#[test]
fn what_went_while_it_was_refused_is_not_left_half_done() {
    let mut stream = Stream::started(BASE);
    stream.snapshot(&format!("{BASE} c:b=1"));
    assert_eq!(stream.snapshot(BASE), NOTHING);
    assert_eq!(
        stream.nack("c", "Error adding/updating cluster(s) b: bad"),
        ["c -b"]
    );
    assert_eq!(stream.refused(), NOTHING);
}

#[test]
fn clusters_go_one_by_one_once_envoy_has_started() {
    let mut stream = Stream::started("c:a=1 c:b=1 c:d=1");
    assert_eq!(stream.snapshot("c:a=2 c:b=2 c:d=2"), ["c a=2"]);
    assert_eq!(stream.ack("c"), ["c b=2"]);
    assert_eq!(stream.nack("c", "bad"), ["c b=1"]);
    assert_eq!(stream.ack("c"), ["c d=2"]);
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.refused(), ["c:b"]);
}

#[test]
fn the_others_of_a_refused_response_are_not_refused() {
    let mut stream = Stream::new();
    stream.snapshot("c:a=1 c:b=1 c:cluster=1");
    assert_eq!(stream.ask("c", ""), ["c a=1 b=1 cluster=1"]);
    // Every such message has the word "cluster" in it.
    let sent = stream.nack(
        "c",
        "Error adding/updating cluster(s) b: no cluster is as bad",
    );
    assert_eq!(sent, ["c -b"]);
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.refused(), ["c:b"]);
    assert_eq!(stream.session.held(super::type_of("c")), 2);
}

#[test]
fn several_may_be_named() {
    let mut stream = Stream::new();
    stream.snapshot("c:a=1 c:b=1 c:d=1");
    stream.ask("c", "");
    let sent = stream.nack("c", "Error adding/updating cluster(s) a: bad, d: bad");
    assert_eq!(sent, ["c -a -d"]);
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.refused(), ["c:a", "c:d"]);
}

#[test]
fn who_is_not_named_is_found() {
    let mut stream = Stream::started("c:a=1>e:a c:b=1>e:b c:d=1>e:d e:a=1 e:b=1 e:d=1");
    let bad = "c:a=1>e:a c:b=1>e:b c:d=1>e:d e:a=2 e:b=2 e:d=2";
    assert_eq!(stream.snapshot(bad), ["e a=2 b=2 d=2"]);
    // First back to what was accepted, then one half after the other.
    assert_eq!(stream.nack("e", "malformed IP address"), ["e a=1 b=1 d=1"]);
    assert_eq!(stream.ack("e"), ["e a=2"]);
    assert_eq!(stream.ack("e"), ["e b=2 d=2"]);
    assert_eq!(stream.nack("e", "malformed IP address"), ["e b=1 d=1"]);
    assert_eq!(stream.ack("e"), ["e b=2"]);
    assert_eq!(stream.nack("e", "malformed IP address"), ["e b=1"]);
    assert_eq!(stream.ack("e"), ["e d=2"]);
    assert_eq!(stream.ack("e"), NOTHING);
    assert_eq!(stream.refused(), ["e:b"]);
}

#[test]
fn others_go_before_suspects() {
    let all = |a, b, d| format!("c:a=1>e:a c:b=1>e:b c:d=1>e:d e:a={a} e:b={b} e:d={d}");
    let mut stream = Stream::started(&all(1, 1, 1));
    stream.snapshot(&all(2, 2, 1));
    assert_eq!(stream.nack("e", "unnamed"), ["e a=1 b=1"]);
    assert_eq!(stream.snapshot(&all(2, 2, 2)), NOTHING);
    assert_eq!(stream.ack("e"), ["e d=2"]);
    assert_eq!(stream.ack("e"), ["e a=2"]);
}

#[test]
fn a_refused_table_holds_back_no_other() {
    let mut stream = Stream::started("l:l=1>r:a,r:b,r:c r:a=1 r:b=1 r:c=1");
    assert_eq!(
        stream.snapshot("l:l=1>r:a,r:b,r:c r:a=2 r:b=2 r:c=2"),
        ["r a=2"]
    );
    assert_eq!(stream.ack("r"), ["r b=2"]);
    assert_eq!(stream.nack("r", "missing ]: ["), ["r b=1"]);
    assert_eq!(stream.ack("r"), ["r c=2"]);
    assert_eq!(stream.ack("r"), NOTHING);
    assert_eq!(stream.refused(), ["r:b"]);
}

#[test]
fn a_repair_goes_before_what_else_waits() {
    let mut stream = Stream::started("l:a=1 l:b=1");
    assert_eq!(stream.snapshot("l:a=1 l:b=2"), ["l b=2"]);
    assert_eq!(stream.snapshot("l:a=2 l:b=2"), NOTHING);
    assert_eq!(stream.nack("l", "bad"), ["l b=1"]);
    assert_eq!(stream.ack("l"), ["l a=2"]);
}

#[test]
fn what_came_after_the_refused_version_comes_after_the_repair() {
    let mut stream = Stream::started(BASE);
    stream.snapshot("c:a=1>e:a e:a=1 l:l=1>r:t r:t=2");
    stream.snapshot("c:a=1>e:a e:a=1 l:l=1>r:t r:t=3");
    assert_eq!(stream.nack("r", "bad"), ["r t=1"]);
    assert_eq!(stream.ack("r"), ["r t=3"]);
    stream.ack("r");
    assert_eq!(stream.refused(), NOTHING);
}

#[test]
fn a_port_in_use_is_tried_again_less_and_less_often() {
    let mut stream = Stream::started("");
    assert_eq!(stream.snapshot("l:l=1"), ["l l=1"]);
    for seconds in [5, 10, 20, 40, 60, 60] {
        assert_eq!(stream.nack("l", IN_USE), ["l -l"]);
        stream.ack("l");
        assert_eq!(stream.wait(Duration::from_secs(seconds - 1)), NOTHING);
        assert_eq!(stream.wait(Duration::from_secs(1)), ["l l=1"]);
        assert_eq!(stream.refused(), ["l:l"]);
    }
    stream.ack("l");
    assert_eq!(stream.refused(), NOTHING);
}

#[test]
fn it_is_tried_again_at_once_when_another_listener_went() {
    let mut stream = Stream::started("l:m=1");
    stream.snapshot("l:m=1 l:l=1");
    stream.nack("l", IN_USE);
    assert_eq!(stream.ack("l"), NOTHING);
    assert_eq!(stream.snapshot("l:l=1"), ["l -m"]);
    assert_eq!(stream.ack("l"), ["l l=1"]);
}

#[test]
fn a_listener_refused_for_its_secret_is_tried_again_with_the_good_one() {
    let mut stream = Stream::started("l:l=1>s:x s:x=1");
    assert_eq!(stream.snapshot("l:l=2>s:x s:x=2"), ["s x=2", "l l=2"]);
    assert_eq!(stream.nack("s", "bad"), ["s x=1"]);
    assert_eq!(stream.nack("l", "Invalid path"), ["l l=1"]);
    assert_eq!(stream.ack("s"), NOTHING);
    assert_eq!(stream.ack("l"), ["l l=2"]);
    stream.ack("l");
    assert_eq!(stream.refused(), ["s:x"]);
}

#[test]
fn a_stand_in_that_is_refused_too_is_given_up() {
    let mut stream = Stream::started("l:l=1");
    stream.snapshot("l:l=2");
    assert_eq!(stream.nack("l", "bad"), ["l l=1"]);
    // Envoy claims to have it, so it is left alone.
    assert_eq!(stream.nack("l", "bad"), NOTHING);
    assert_eq!(stream.snapshot("l:l=2 l:m=1"), ["l m=1"]);
}

#[test]
fn a_refused_filter_holds_back_neither_its_listener_nor_other_filters() {
    let mut stream = Stream::started("l:l=1>f:a,f:b f:a=1 f:b=1");
    assert_eq!(
        stream.snapshot("l:l=2>f:a,f:b f:a=2 f:b=2"),
        ["f a=2", "l l=2"]
    );
    assert_eq!(stream.nack("f", "missing ]: ["), ["f a=1"]);
    assert_eq!(stream.ack("l"), NOTHING);
    assert_eq!(stream.ack("f"), ["f b=2"]);
    assert_eq!(stream.ack("f"), NOTHING);
    assert_eq!(stream.refused(), ["f:a"]);
}
