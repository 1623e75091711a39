//! What is sent when, while nothing is refused.

use std::time::Duration;

use super::{BASE, LINGER, Memory, NOTHING, Options, Stream};

#[test]
fn types_do_not_wait_for_each_other_and_have_an_order() {
    let mut stream = Stream::started(&format!("{BASE} l:m=1>s:x s:x=1"));
    let sent = stream.snapshot("c:a=2>e:a e:a=2 s:x=2 l:l=2>r:t l:m=1>s:x r:t=2");
    assert_eq!(sent, ["c a=2", "e a=2", "s x=2", "l l=2", "r t=2"]);
}

#[test]
fn one_response_is_outstanding_and_the_newest_wins() {
    let mut stream = Stream::started(BASE);
    assert_eq!(
        stream.snapshot("c:a=1>e:a e:a=2 l:l=1>r:t r:t=1"),
        ["e a=2"]
    );
    assert_eq!(stream.snapshot("c:a=1>e:a e:a=3 l:l=1>r:t r:t=1"), NOTHING);
    assert_eq!(stream.snapshot("c:a=1>e:a e:a=4 l:l=1>r:t r:t=1"), NOTHING);
    assert_eq!(stream.ack("e"), ["e a=4"]);
    assert_eq!(stream.ack("e"), NOTHING);
}

#[test]
fn what_changed_back_meanwhile_is_sent_back() {
    let mut stream = Stream::started(BASE);
    assert_eq!(
        stream.snapshot("c:a=1>e:a e:a=2 l:l=1>r:t r:t=1"),
        ["e a=2"]
    );
    assert_eq!(stream.snapshot(BASE), NOTHING);
    assert_eq!(stream.ack("e"), ["e a=1"]);
}

#[test]
fn equal_snapshots_send_nothing() {
    let mut stream = Stream::started(BASE);
    assert_eq!(stream.snapshot(BASE), NOTHING);
}

#[test]
fn a_changed_cluster_is_followed_by_its_unchanged_assignment() {
    let mut stream = Stream::started(BASE);
    let sent = stream.snapshot("c:a=2>e:a e:a=1 l:l=1>r:t r:t=1");
    assert_eq!(sent, ["c a=2", "e a=1"]);
}

#[test]
fn it_is_followed_right_behind_an_outstanding_assignment() {
    let mut stream = Stream::started(BASE);
    assert_eq!(
        stream.snapshot("c:a=1>e:a e:a=2 l:l=1>r:t r:t=1"),
        ["e a=2"]
    );
    assert_eq!(
        stream.snapshot("c:a=2>e:a e:a=2 l:l=1>r:t r:t=1"),
        ["c a=2"]
    );
    // The assignment under way may come before the cluster, and be thrown away.
    assert_eq!(stream.ack("e"), ["e a=2"]);
    assert_eq!(stream.ack("e"), NOTHING);
}

#[test]
fn the_assignment_of_a_new_cluster_waits_to_be_asked_for() {
    let mut stream = Stream::started(BASE);
    let more = format!("{BASE} c:b=1>e:b e:b=1");
    assert_eq!(stream.snapshot(&more), ["c b=1"]);
    assert_eq!(stream.subscribe("e", "b"), ["e b=1"]);
}

#[test]
fn secrets_listeners_and_tables_go_one_by_one() {
    let mut stream = Stream::new();
    stream.snapshot("s:a=1 s:b=1 l:a=1 l:b=1 r:a=1 r:b=1 r:c=1");
    for letter in ["s", "r"] {
        assert_eq!(stream.subscribe(letter, "a b"), [format!("{letter} a=1")]);
    }
    assert_eq!(stream.ask("l", ""), ["l a=1"]);
    for letter in ["s", "l", "r"] {
        assert_eq!(stream.ack(letter), [format!("{letter} b=1")]);
        assert_eq!(stream.ack(letter), NOTHING);
    }
}

#[test]
fn a_table_that_always_changes_does_not_hold_back_others() {
    let mut stream = Stream::new();
    stream.snapshot("r:a=1 r:b=1");
    assert_eq!(stream.subscribe("r", "a b"), ["r a=1"]);
    assert_eq!(stream.snapshot("r:a=2 r:b=1"), NOTHING);
    assert_eq!(stream.ack("r"), ["r b=1"]);
    assert_eq!(stream.snapshot("r:a=3 r:b=1"), NOTHING);
    assert_eq!(stream.ack("r"), ["r a=3"]);
}

#[test]
fn a_changed_listener_goes_before_a_new_one() {
    let mut stream = Stream::started("l:m=1");
    assert_eq!(stream.snapshot("l:a=1 l:m=2"), ["l m=2"]);
    assert_eq!(stream.ack("l"), ["l a=1"]);
}

#[test]
fn a_listener_that_goes_travels_with_one_that_comes() {
    let mut stream = Stream::started("l:l=1 l:m=1");
    assert_eq!(stream.snapshot("l:m=2 l:n=1"), ["l n=1 -l"]);
    assert_eq!(stream.ack("l"), ["l m=2"]);
    assert_eq!(stream.ack("l"), NOTHING);
    assert_eq!(stream.snapshot("l:n=1"), ["l -m"]);
}

#[test]
fn an_answer_to_an_older_response_changes_nothing() {
    let mut stream = Stream::started(BASE);
    let before = stream.nonces["e"].clone();
    assert_eq!(
        stream.snapshot("c:a=1>e:a e:a=2 l:l=1>r:t r:t=1"),
        ["e a=2"]
    );
    let now = stream.nonces.insert("e".to_owned(), before).unwrap();
    assert_eq!(stream.nack("e", "late"), NOTHING);
    assert_eq!(stream.snapshot("c:a=1>e:a e:a=3 l:l=1>r:t r:t=1"), NOTHING);
    stream.nonces.insert("e".to_owned(), now);
    assert_eq!(stream.ack("e"), ["e a=3"]);
}

#[test]
fn an_answer_that_never_comes_does_not_hold_back_others() {
    let mut stream = Stream::started(BASE);
    assert_eq!(
        stream.snapshot("c:a=2>e:a e:a=1 l:l=1>r:t r:t=1"),
        ["c a=2", "e a=1"]
    );
    let late = stream.nonces["c"].clone();
    assert_eq!(
        stream.snapshot("c:a=2>e:a c:b=1 e:a=1 l:l=1>r:t r:t=1"),
        NOTHING
    );
    assert_eq!(stream.wait(Duration::from_secs(20)), ["c b=1"]);
    assert_eq!(stream.ack("c"), NOTHING);
    // It is understood when it comes after all.
    stream.nonces.insert("c".to_owned(), late);
    assert_eq!(
        stream.nack("c", "Error adding/updating cluster(s) a: bad"),
        ["c a=1", "e a=1"]
    );
}

#[test]
fn routes_may_wait_for_new_clusters() {
    let options = Options {
        linger: LINGER,
        hold_routes: Duration::from_secs(1),
    };
    let mut stream = Stream::with_options(&Memory::default(), options).start(BASE);
    let new = "c:a=1>e:a c:b=1 e:a=1 l:l=1>r:t r:t=2";
    assert_eq!(stream.snapshot(new), ["c b=1"]);
    assert_eq!(stream.ack("c"), ["r t=2"]);
    stream.ack("r");

    let newer = "c:a=1>e:a c:b=1 c:d=1 e:a=1 l:l=1>r:t r:t=3";
    assert_eq!(stream.snapshot(newer), ["c d=1"]);
    assert_eq!(
        stream.wait(Duration::from_secs(1)),
        ["r t=3"],
        "but not for ever"
    );

    stream.ack("c");
    stream.ack("r");
    let changed = "c:a=2>e:a c:b=1 c:d=1 e:a=1 l:l=1>r:t r:t=4";
    assert_eq!(
        stream.snapshot(changed),
        ["c a=2", "e a=1", "r t=4"],
        "nor for changed ones"
    );
}

#[test]
fn a_filter_waits_for_its_cluster_and_goes_before_its_listener() {
    let mut stream = Stream::started("c:a=1 l:l=1>f:f f:f=1");
    assert_eq!(stream.snapshot("c:a=1 c:b=1 l:l=2>f:f f:f=2"), ["c b=1"]);
    assert_eq!(stream.ack("c"), ["f f=2", "l l=2"]);
}

#[test]
fn the_runtime_goes_first() {
    let mut stream = Stream::new();
    stream.snapshot("c:a=1 t:n=1");
    assert_eq!(stream.subscribe("t", "n"), ["t n=1"]);
    stream.ask("c", "");
    stream.ack("t");
    stream.ack("c");
    assert_eq!(stream.snapshot("c:a=2 t:n=2"), ["t n=2", "c a=2"]);
}
