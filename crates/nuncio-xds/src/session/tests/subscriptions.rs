//! Every subscription is answered.

use super::{BASE, NOTHING, Stream};

#[test]
fn a_wildcard_gets_everything_of_its_type() {
    let mut stream = Stream::new();
    stream.snapshot("c:a=1 c:b=1 e:a=1");
    assert_eq!(stream.ask("c", ""), ["c a=1 b=1"]);
}

#[test]
fn a_star_is_a_wildcard_too() {
    let mut stream = Stream::new();
    stream.snapshot("l:a=1");
    assert_eq!(stream.subscribe("l", "*"), ["l a=1"]);
    assert_eq!(stream.ack("l"), NOTHING);
    assert_eq!(stream.unsubscribe("l", "*"), NOTHING);
    assert_eq!(stream.snapshot("l:a=2"), NOTHING);
}

#[test]
fn an_empty_wildcard_is_answered() {
    let mut stream = Stream::new();
    stream.snapshot("");
    assert_eq!(stream.ask("c", ""), ["c"]);
    assert_eq!(stream.ask("l", ""), ["l"]);
}

#[test]
fn names_get_what_they_name_or_its_removal() {
    let mut stream = Stream::new();
    stream.snapshot("e:a=1 e:b=1");
    assert_eq!(stream.subscribe("e", "a missing"), ["e a=1 -missing"]);
    assert_eq!(stream.ack("e"), NOTHING);
    assert_eq!(stream.snapshot("e:a=1 e:b=1 e:missing=1"), ["e missing=1"]);
}

#[test]
fn what_is_subscribed_again_is_sent_again() {
    let mut stream = Stream::started(BASE);
    assert_eq!(stream.subscribe("e", "a"), ["e a=1"]);
}

#[test]
fn a_subscription_during_an_outstanding_response_is_answered_after_it() {
    let mut stream = Stream::new();
    stream.snapshot("e:a=1 e:b=1");
    assert_eq!(stream.subscribe("e", "a"), ["e a=1"]);
    assert_eq!(stream.subscribe("e", "b missing"), NOTHING);
    assert_eq!(stream.ack("e"), ["e b=1 -missing"]);
}

#[test]
fn what_is_unsubscribed_is_not_sent() {
    let mut stream = Stream::started(BASE);
    stream.unsubscribe("e", "a");
    assert_eq!(stream.snapshot("c:a=1>e:a e:a=2 l:l=1>r:t r:t=1"), NOTHING);
}

#[test]
fn nothing_is_answered_before_there_is_a_snapshot() {
    let mut stream = Stream::new();
    assert_eq!(stream.ask("c", "a=1 b=1"), NOTHING);
    assert_eq!(stream.resubscribe("e", "a b", "a=1 b=1"), NOTHING);
    assert_eq!(stream.ask("l", ""), NOTHING);
    assert_eq!(
        stream.snapshot("c:a=1>e:a c:b=2>e:b e:a=1 e:b=1"),
        ["c", "l"]
    );
    assert_eq!(stream.ack("c"), ["c b=2", "e b=1"]);
}

#[test]
fn a_type_that_is_not_served_is_answered_with_removals() {
    let mut stream = Stream::new();
    let request = super::DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/unknown".to_owned(),
        resource_names_subscribe: vec!["a".to_owned()],
        ..Default::default()
    };
    let answer = stream.session.on_request(request, stream.now);
    assert_eq!(answer[0].removed_resources, ["a"]);
    let acknowledgement = super::DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/unknown".to_owned(),
        response_nonce: answer[0].nonce.clone(),
        ..Default::default()
    };
    assert!(
        stream
            .session
            .on_request(acknowledgement, stream.now)
            .is_empty()
    );
}
