//! What the end of a stream leaves behind.

use std::time::Duration;

use super::{BASE, LINGER, Memory, NOTHING, Stream};

#[test]
fn only_differences_are_sent_to_an_envoy_that_comes_back() {
    let mut stream = Stream::new();
    stream.snapshot("c:a=1>e:a c:b=2>e:b e:a=1 e:b=1 l:l=1>r:t r:t=2");
    // The answer says that no cluster is warming from the stream before.
    assert_eq!(stream.ask("c", "a=1 b=1 old=1"), ["c"]);
    assert_eq!(stream.resubscribe("e", "a b old", "a=1 b=1 old=1"), NOTHING);
    assert_eq!(stream.ack("c"), ["c b=2", "e b=1"]);
    stream.ack("e");
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.ask("l", "l=1 old=1"), ["l -old"]);
    assert_eq!(stream.resubscribe("r", "t", "t=1"), ["r t=2"]);
    stream.ack("l");
    assert_eq!(stream.ack("r"), NOTHING);
    assert_eq!(stream.wait(LINGER), ["c -old"]);
}

#[test]
fn an_envoy_that_has_everything_gets_the_answer_to_its_wildcards() {
    let mut stream = Stream::new();
    stream.snapshot(BASE);
    assert_eq!(stream.ask("c", "a=1"), ["c"]);
    assert_eq!(stream.resubscribe("e", "a", "a=1"), NOTHING);
    assert_eq!(stream.ask("l", "l=1"), ["l"]);
    assert_eq!(stream.resubscribe("r", "t", "t=1"), NOTHING);
}

#[test]
fn what_an_envoy_claims_and_is_the_same_is_known_to_be_accepted() {
    let mut stream = Stream::new();
    stream.snapshot(BASE);
    stream.ask("c", "a=1");
    stream.ack("c");
    stream.resubscribe("e", "a", "a=1");
    let changed = "c:a=2>e:a e:a=1 l:l=1>r:t r:t=1";
    assert_eq!(stream.snapshot(changed), ["c a=2", "e a=1"]);
    stream.ack("e");
    assert_eq!(stream.nack("c", "bad"), ["c a=1", "e a=1"]);
}

#[test]
fn a_body_that_is_not_known_is_left_to_envoy() {
    let mut stream = Stream::new();
    stream.snapshot("l:l=2");
    stream.ask("c", "");
    assert_eq!(stream.ask("l", "l=1"), ["l l=2"]);
    assert_eq!(stream.nack("l", "bad"), NOTHING);
    assert_eq!(stream.snapshot("l:l=3"), ["l l=3"]);
}

#[test]
fn clusters_go_on_where_envoy_can_not_acknowledge_any_more() {
    let mut stream = Stream::new();
    stream.snapshot("c:a=2");
    assert_eq!(stream.ask("c", "a=1"), ["c"]);
    assert_eq!(stream.ack("c"), ["c a=2"]);
    assert_eq!(stream.nack("c", "bad"), NOTHING);
    assert_eq!(stream.snapshot("c:a=2 c:b=1"), ["c b=1"]);
    assert_eq!(stream.snapshot("c:a=2 c:b=2"), ["c b=2"]);
    assert_eq!(stream.snapshot("c:a=3 c:b=2"), ["c a=3"]);
}

#[test]
fn refusals_outlive_the_stream() {
    let memory = Memory::default();
    let mut stream = Stream::with(&memory).start(BASE);
    let changed = "c:a=2>e:a e:a=1 l:l=1>r:t r:t=1";
    stream.snapshot(changed);
    stream.nack("c", "bad");
    stream.session.close();

    let mut stream = Stream::with(&memory);
    stream.snapshot(changed);
    // Whether the repair arrived is not known.
    assert_eq!(stream.ask("c", "a=1"), ["c a=1"]);
    assert_eq!(stream.refused(), ["c:a"]);
    assert_eq!(stream.resubscribe("e", "a", "a=1"), ["e a=1"]);
    assert_eq!(stream.ack("c"), NOTHING);
}

#[test]
fn another_envoy_may_try_what_one_refused() {
    let memory = Memory::default();
    let mut stream = Stream::with(&memory).start(BASE);
    let changed = "c:a=2>e:a e:a=1 l:l=1>r:t r:t=1";
    stream.snapshot(changed);
    stream.nack("c", "bad");
    stream.session.close();

    let mut stream = Stream::with(&memory);
    stream.snapshot(changed);
    // It may be the same one, and not have acknowledged anything.
    assert_eq!(stream.ask("c", ""), ["c a=1"]);
    assert_eq!(stream.ack("c"), ["c a=2"]);
    assert_eq!(stream.nack("c", "bad"), ["c a=1"]);
}

#[test]
fn a_cluster_that_may_wait_for_its_assignment_gets_it() {
    let memory = Memory::default();
    let mut stream = Stream::with(&memory).start(BASE);
    let changed = "c:a=2>e:a e:a=1 l:l=1>r:t r:t=1";
    assert_eq!(stream.snapshot(changed), ["c a=2", "e a=1"]);
    stream.session.close();

    let mut stream = Stream::with(&memory);
    stream.snapshot(changed);
    assert_eq!(stream.ask("c", "a=2"), ["c"]);
    assert_eq!(stream.resubscribe("e", "a", "a=1"), ["e a=1"]);
}

#[test]
fn a_cluster_that_may_have_been_refused_is_repaired_first() {
    let memory = Memory::default();
    let mut stream = Stream::with(&memory).start(BASE);
    let changed = "c:a=2>e:a e:a=1 l:l=1>r:t r:t=1";
    assert_eq!(stream.snapshot(changed), ["c a=2", "e a=1"]);
    stream.session.close();

    let mut stream = Stream::with(&memory);
    stream.snapshot(changed);
    assert_eq!(stream.ask("c", "a=1"), ["c a=1"]);
    assert_eq!(stream.resubscribe("e", "a", "a=1"), ["e a=1"]);
    assert_eq!(stream.ack("c"), ["c a=2"]);
}

#[test]
fn an_envoy_that_has_many_clusters_to_apply_is_given_the_time() {
    let mut stream = Stream::new();
    let many: Vec<_> = (0..10_000).map(|number| format!("c:n{number}=1")).collect();
    stream.snapshot(&many.join(" "));
    assert_eq!(stream.ask("c", "").len(), 1);
    assert_eq!(stream.wait(Duration::from_secs(12)), NOTHING);
}

#[test]
fn several_clusters_without_an_answer_are_taken_back_and_tried_alone() {
    let mut stream = Stream::new();
    stream.snapshot("c:a=1 c:b=1");
    assert_eq!(stream.ask("c", ""), ["c a=1 b=1"]);
    let late = stream.nonces["c"].clone();
    assert_eq!(stream.wait(Duration::from_millis(3001)), NOTHING);
    assert_eq!(stream.wait(Duration::from_millis(1)), ["c -a -b"]);
    let repair = stream.nonces.insert("c".to_owned(), late).unwrap();
    assert_eq!(
        stream.nack("c", "Error adding/updating cluster(s) a: bad"),
        NOTHING
    );
    stream.nonces.insert("c".to_owned(), repair);
    assert_eq!(stream.ack("c"), ["c b=1"]);
    assert_eq!(stream.ack("c"), NOTHING);
    assert_eq!(stream.refused(), ["c:a"]);
}

#[test]
fn an_assignment_that_is_claimed_after_its_cluster_was_sent_is_sent_again() {
    let memory = Memory::default();
    let mut stream = Stream::with(&memory).start(BASE);
    let changed = "c:a=2>e:a e:a=1 l:l=1>r:t r:t=1";
    stream.snapshot(changed);
    stream.session.close();

    // The repair is sent before Envoy says which assignments it has.
    let mut stream = Stream::with(&memory);
    stream.snapshot(changed);
    assert_eq!(stream.ask("c", "a=1"), ["c a=1"]);
    assert_eq!(stream.resubscribe("e", "a", "a=1"), ["e a=1"]);
}
