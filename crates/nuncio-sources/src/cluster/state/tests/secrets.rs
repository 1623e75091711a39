//! Which Secrets are held.

use super::*;

fn secret(name: &str, content: &str) -> Body {
    Body::from(&serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"tls.crt": content},
    }))
}

fn names(all: &[&str]) -> BTreeSet<SecretName> {
    all.iter().map(|one| name(one)).collect()
}

fn listed(object: &str, content: &str) -> What {
    What::Listed(name(object), secret(object, content))
}

fn changed(object: &str, content: &str) -> What {
    What::Changed(name(object), secret(object, content))
}

fn told(objects: &[RawObject]) -> Vec<String> {
    let told = objects.iter().map(|object| {
        let body = object.body.to_value();
        let content = body["data"]["tls.crt"].as_str().unwrap();
        format!("{} {content}", object.meta.name)
    });
    told.collect()
}

struct Secrets {
    state: State,
    follower: u64,
}

impl Secrets {
    fn new() -> Self {
        let mut state = State::new(URL);
        let steps = state.define(vec![kinds::secrets()]);
        let follower = steps.start[0].1;
        Self { state, follower }
    }

    /// With three that are there, of which one is wanted.
    fn one_of_three() -> Self {
        let mut secrets = Self::new();
        let all = ["a", "b", "c"].map(|name| listed(name, "1"));
        secrets.tell(all.into_iter().chain([What::Complete]));
        assert_eq!(secrets.said(), ["a 1", "b 1", "c 1"]);
        assert!(secrets.want(&["a"]).is_empty());
        secrets
    }

    fn tell(&mut self, what: impl IntoIterator<Item = What>) {
        for what in what {
            self.state.take(News {
                kind: kinds::secrets().id(),
                follower: self.follower,
                what,
            });
        }
    }

    fn want(&mut self, wanted: &[&str]) -> Vec<Question> {
        self.state.want(names(wanted), true).unwrap()
    }

    fn said(&mut self) -> Vec<String> {
        if !self.state.is_dirty() {
            return Vec::new();
        }
        let changes = self.state.changes();
        let mut said = told(&changes.upserted);
        said.extend(changes.deleted.iter().map(|key| format!("-{}", key.name)));
        said
    }

    fn found(&mut self, asked: &[Question]) -> Vec<String> {
        told(&self.state.found(asked))
    }

    fn held(&self) -> Vec<String> {
        let held = &self.state.kinds[&kinds::secrets().id()].objects;
        held.keys().map(|(_, name)| name.to_string()).collect()
    }
}

#[test]
fn those_that_nobody_wants_are_not_held() {
    let mut secrets = Secrets::one_of_three();
    assert_eq!(secrets.held(), ["a"]);
    secrets.tell([changed("b", "2"), changed("d", "2"), changed("a", "2")]);
    assert_eq!(secrets.said(), ["a 2"]);
    secrets.tell([What::Deleted(name("b")), What::Deleted(name("d"))]);
    assert!(secrets.said().is_empty());
    secrets.tell([listed("a", "3"), listed("c", "3"), What::Complete]);
    assert_eq!(secrets.said(), ["a 3"]);
    assert_eq!(secrets.held(), ["a"]);
    // None is wanted any more.
    secrets.tell([changed("a", "4")]);
    assert!(secrets.want(&[]).is_empty());
    assert!(secrets.said().is_empty());
    assert!(secrets.held().is_empty());
}

#[test]
fn all_are_held_before_it_is_known_which_are_wanted() {
    let mut secrets = Secrets::new();
    assert_eq!(secrets.state.want(names(&["b"]), true), None);
    secrets.tell([listed("a", "1"), listed("b", "1"), What::Complete]);
    assert_eq!(secrets.said(), ["a 1", "b 1"]);
}

#[test]
fn one_that_is_wanted_later_is_asked_for() {
    let mut secrets = Secrets::one_of_three();
    let asked = secrets.want(&["a", "b", "gone"]);
    let all: Vec<_> = asked.iter().map(|question| &*question.name.1).collect();
    assert_eq!(all, ["b", "gone"]);
    secrets
        .state
        .answered(asked[0].clone(), Some(secret("b", "1")));
    assert!(secrets.state.awaits(&asked));
    secrets.state.answered(asked[1].clone(), None);
    assert!(!secrets.state.awaits(&asked));
    assert_eq!(secrets.found(&asked), ["b 1"]);
    assert!(secrets.said().is_empty(), "who asked has it");
    // From now on it is followed, and so is the one that was not there.
    secrets.tell([changed("b", "2"), changed("gone", "2")]);
    assert_eq!(secrets.said(), ["b 2", "gone 2"]);
    secrets.tell([What::Deleted(name("b"))]);
    assert_eq!(secrets.said(), ["-b"]);
}

#[test]
fn what_comes_after_who_asked_has_gone_is_a_change() {
    let mut secrets = Secrets::one_of_three();
    let asked = secrets.want(&["a", "b"]);
    assert!(secrets.found(&asked).is_empty());
    let question = asked[0].clone();
    secrets.state.answered(question, Some(secret("b", "1")));
    assert_eq!(secrets.said(), ["b 1"]);
}

#[test]
fn what_the_watch_says_is_newer_than_an_answer() {
    let mut secrets = Secrets::one_of_three();
    let asked = secrets.want(&["a", "b", "c"]);
    secrets.tell([changed("b", "2"), What::Deleted(name("c"))]);
    assert!(!secrets.state.awaits(&asked));
    for question in &asked {
        let old = secret(&question.name.1, "1");
        secrets.state.answered(question.clone(), Some(old));
    }
    assert_eq!(secrets.found(&asked), ["b 2"]);
    assert_eq!(secrets.held(), ["a", "b"]);
}

#[test]
fn an_answer_to_an_earlier_question_says_nothing() {
    let mut secrets = Secrets::one_of_three();
    let earlier = secrets.want(&["a", "b"]);
    secrets.want(&["a"]);
    let asked = secrets.want(&["a", "b"]);
    let answer = |content| Some(secret("b", content));
    secrets.state.answered(earlier[0].clone(), answer("1"));
    assert!(secrets.state.awaits(&asked));
    secrets.state.answered(asked[0].clone(), answer("2"));
    assert_eq!(secrets.found(&asked), ["b 2"]);
}

#[test]
fn a_list_that_was_made_before_an_answer_takes_nothing_away() {
    let mut secrets = Secrets::one_of_three();
    secrets.tell([listed("a", "1")]);
    let asked = secrets.want(&["a", "new"]);
    let answer = Some(secret("new", "1"));
    secrets.state.answered(asked[0].clone(), answer);
    secrets.tell([What::Complete]);
    assert_eq!(secrets.found(&asked), ["new 1"]);
    // The next one does.
    secrets.tell([listed("a", "1"), What::Complete]);
    assert_eq!(secrets.said(), ["-new"]);
}

#[test]
fn a_list_answers_what_was_asked_while_it_came() {
    let mut secrets = Secrets::one_of_three();
    secrets.tell([listed("a", "1"), listed("b", "2")]);
    let asked = secrets.want(&["a", "b", "gone"]);
    secrets.tell([What::Complete]);
    assert!(!secrets.state.awaits(&asked));
    assert_eq!(secrets.found(&asked), ["b 2"]);
}

#[test]
fn where_they_are_forbidden_the_next_list_answers() {
    let mut secrets = Secrets::one_of_three();
    secrets.tell([What::Trouble(Trouble::Forbidden("no".to_owned()))]);
    assert!(secrets.want(&["a", "b"]).is_empty());
    assert_eq!(secrets.held(), ["a"]);
    secrets.tell([listed("a", "1"), listed("b", "1"), What::Complete]);
    assert_eq!(secrets.said(), ["b 1"]);
}

/// A change set that was made before a Secret was asked for may be taken up after the answer.
#[test]
fn what_may_be_taken_up_late_is_said_again() {
    let mut secrets = Secrets::one_of_three();
    secrets.tell([changed("a", "2")]);
    assert_eq!(secrets.said(), ["a 2"]);
    secrets.state.want(names(&[]), false).unwrap();
    let asked = secrets.state.want(names(&["a"]), false).unwrap();
    let answer = Some(secret("a", "3"));
    secrets.state.answered(asked[0].clone(), answer);
    assert_eq!(secrets.found(&asked), ["a 3"]);
    assert_eq!(secrets.said(), ["a 3"]);
}

#[test]
fn those_that_are_wanted_are_kept_and_no_others() {
    let kept = |secrets: &Secrets| {
        let file = tempfile::NamedTempFile::new().unwrap();
        secrets.state.content().write(&file).unwrap();
        Kept::read(file.path()).unwrap().unwrap()
    };
    let before = kept(&Secrets::one_of_three());
    let mut secrets = Secrets::new();
    let away = Trouble::Unreachable("away".to_owned());
    secrets.tell([What::Trouble(away)]);
    secrets.state.restore(Path::new("kept"), Ok(Some(before)));
    assert_eq!(secrets.said(), ["a 1"]);
    // What is wanted beside comes with the list, if it comes.
    assert!(secrets.want(&["a", "b"]).is_empty());
    secrets.tell([listed("a", "1"), listed("b", "1"), listed("c", "1")]);
    secrets.tell([What::Complete]);
    assert_eq!(secrets.said(), ["b 1"]);
    assert_eq!(secrets.held(), ["a", "b"]);
}
