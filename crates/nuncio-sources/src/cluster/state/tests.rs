use super::*;

mod secrets;

const URL: &str = "https://127.0.0.1:1/";

fn kind(name: &str) -> Kind {
    let gvk = GroupVersionKind::gvk("getambassador.io", "v3alpha1", name);
    Kind {
        resource: ApiResource::from_gvk(&gvk),
        namespaced: true,
        fields: None,
    }
}

fn body(kind: &str, name: &str, prefix: &str) -> Body {
    Body::from(&serde_json::json!({
        "apiVersion": "getambassador.io/v3alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"prefix": prefix},
    }))
}

fn name(name: &str) -> Name {
    ("default".into(), name.into())
}

fn listed(object: &str, prefix: &str) -> What {
    What::Listed(name(object), body("Mapping", object, prefix))
}

fn changed(object: &str, prefix: &str) -> What {
    What::Changed(name(object), body("Mapping", object, prefix))
}

/// A state, its kinds and who follows them.
struct Scene {
    state: State,
    followers: BTreeMap<KindId, u64>,
}

impl Scene {
    fn new(kinds: &[&str]) -> Self {
        let mut scene = Self {
            state: State::new(URL),
            followers: BTreeMap::new(),
        };
        scene.define(kinds);
        scene
    }

    /// With two Mappings, listed and said.
    fn listed() -> Self {
        let mut scene = Self::new(&["Mapping"]);
        scene.tell(
            "Mapping",
            [listed("a", "/a"), listed("b", "/b"), What::Complete],
        );
        assert_eq!(scene.said(), ["+a /a", "+b /b"]);
        scene
    }

    fn define(&mut self, kinds: &[&str]) -> Steps {
        let steps = self
            .state
            .define(kinds.iter().map(|name| kind(name)).collect());
        for (kind, follower) in &steps.start {
            self.followers.insert(kind.id(), *follower);
        }
        steps
    }

    fn tell(&mut self, name: &str, what: impl IntoIterator<Item = What>) {
        let id = kind(name).id();
        for what in what {
            self.state.take(News {
                kind: id.clone(),
                follower: self.followers[&id],
                what,
            });
        }
    }

    /// What changed, objects that came with a plus; nothing if there is nothing to say.
    fn said(&mut self) -> Vec<String> {
        if !self.state.is_dirty() {
            return Vec::new();
        }
        let changes = self.state.changes();
        let came = changes.upserted.iter().map(|object| {
            let body = object.body.to_value();
            let prefix = body["spec"]["prefix"].as_str().unwrap_or_default();
            format!("+{} {prefix}", object.meta.name)
        });
        let went = changes.deleted.iter().map(|key| format!("-{}", key.name));
        let problems = changes
            .problems
            .iter()
            .map(|problem| format!("! {}", problem.message));
        came.chain(went).chain(problems).collect()
    }

    /// What it would keep, as it is read.
    fn kept(&self) -> Kept {
        let file = tempfile::NamedTempFile::new().unwrap();
        self.state.content().write(&file).unwrap();
        Kept::read(file.path()).unwrap().unwrap()
    }
}

#[test]
fn nothing_is_said_before_every_kind_is_listed() {
    let mut scene = Scene::new(&["Mapping", "Host"]);
    scene.tell(
        "Mapping",
        [listed("a", "/a"), What::Complete, changed("b", "/b")],
    );
    assert!(scene.said().is_empty());
    assert!(!scene.state.content().is_known());
    scene.tell("Host", [What::Complete]);
    assert_eq!(scene.said(), ["+a /a", "+b /b"]);
    assert!(scene.said().is_empty());
}

#[test]
fn a_new_list_says_what_differs() {
    let mut scene = Scene::listed();
    scene.tell("Mapping", [listed("a", "/a"), listed("c", "/c")]);
    assert!(scene.said().is_empty(), "half a list says nothing");
    scene.tell("Mapping", [What::Complete]);
    assert_eq!(scene.said(), ["+c /c", "-b"]);
}

#[test]
fn a_list_that_breaks_off_takes_nothing_away() {
    let mut scene = Scene::listed();
    let refused = What::Trouble(Trouble::Refused("too busy".to_owned()));
    scene.tell("Mapping", [listed("a", "/a"), refused]);
    assert_eq!(
        scene.said(),
        [
            "! cannot be listed and watched: too busy; what was last read from it (2 objects) stays in effect"
        ]
    );
    scene.tell("Mapping", [listed("b", "/b"), What::Complete]);
    assert_eq!(scene.said(), ["-a"]);
}

#[test]
fn a_watch_says_each_change_once() {
    let mut scene = Scene::listed();
    scene.tell("Mapping", [changed("a", "/a")]);
    assert!(scene.said().is_empty(), "only its status changed");
    scene.tell(
        "Mapping",
        [
            changed("a", "/1"),
            changed("a", "/2"),
            What::Deleted(name("b")),
        ],
    );
    assert_eq!(scene.said(), ["+a /2", "-b"]);
}

#[test]
fn what_is_forbidden_is_believed_after_some_tries() {
    let mut scene = Scene::new(&["Mapping", "Host"]);
    scene.tell("Host", [What::Complete]);
    let forbidden = || What::Trouble(Trouble::Forbidden("no".to_owned()));
    scene.tell("Mapping", [forbidden(), forbidden()]);
    assert!(scene.said().is_empty());
    scene.tell("Mapping", [forbidden()]);
    let said =
        "! nuncio may not list and watch mappings.getambassador.io: no; nothing of it is in effect";
    assert_eq!(scene.said(), [said]);
    scene.tell("Mapping", [listed("a", "/a"), What::Complete]);
    assert_eq!(scene.said(), ["+a /a"]);
}

#[test]
fn with_a_kind_go_its_objects() {
    let mut scene = Scene::listed();
    let steps = scene.define(&["Host"]);
    assert_eq!(steps.stop, [kind("Mapping").id()]);
    assert_eq!(scene.said(), ["-a", "-b"]);
    // Whoever followed it may have said something since.
    scene.tell("Mapping", [changed("a", "/a")]);
    assert!(scene.said().is_empty());
}

#[test]
fn another_version_of_a_kind_takes_nothing_away_before_it_is_listed() {
    let mut scene = Scene::listed();
    let old = scene.followers[&kind("Mapping").id()];
    let mut newer = kind("Mapping");
    newer.resource.version = "v2".to_owned();
    let steps = scene.state.define(vec![newer]);
    assert_eq!(steps.stop, [kind("Mapping").id()]);
    assert!(steps.start[0].1 > old);
    assert!(scene.said().is_empty());
}

#[test]
fn what_was_kept_stands_in_until_there_is_something_better() {
    let kept = Scene::listed().kept();
    let mut scene = Scene::new(&[]);
    scene.state = State::new(URL);
    scene
        .state
        .undefined(Trouble::Unreachable("connection refused".to_owned()));
    assert!(scene.state.lacks());
    scene.state.restore(Path::new("kept"), Ok(Some(kept)));
    assert!(!scene.state.lacks());
    let said = scene.said();
    assert_eq!(said[..2], ["+a /a", "+b /b"]);
    let problem = "! cannot be reached: connection refused; what was read from it before this start (2 objects, ";
    assert!(said[2].starts_with(problem), "{}", said[2]);

    scene.state.reached();
    scene.define(&["Mapping", "Host"]);
    scene.tell("Mapping", [listed("a", "/a"), What::Complete]);
    assert_eq!(scene.said(), ["-b"]);
    scene.tell("Host", [What::Complete]);
    assert!(scene.said().is_empty());
}

#[test]
fn what_was_kept_of_another_cluster_is_not_used() {
    let kept = Scene::listed().kept();
    let mut state = State::new("https://127.0.0.1:2/");
    state.undefined(Trouble::Unreachable("connection refused".to_owned()));
    state.restore(Path::new("kept"), Ok(Some(kept)));
    let changes = state.changes();
    assert!(changes.upserted.is_empty());
    assert_eq!(
        changes.problems[0].message,
        "cannot be reached: connection refused; nothing of it is in effect"
    );
}

#[test]
fn annotations_of_services_that_were_never_listed_may_have_an_auth_service() {
    let mut state = State::new(URL);
    let services = super::super::kinds::built_in();
    let is_service = |kind: &Kind| kind.resource.kind == "Service";
    let services: Vec<_> = services.into_iter().filter(is_service).collect();
    let kind = services[0].id();
    let steps = state.define(services);
    for _ in 0..3 {
        state.take(News {
            kind: kind.clone(),
            follower: steps.start[0].1,
            what: What::Trouble(Trouble::Forbidden("no".to_owned())),
        });
    }
    let unread = state.changes().unread;
    assert_eq!(unread.len(), 1);
    assert_eq!(unread[0].kind, "AuthService");
    assert_eq!(&*unread[0].origin.resource.name, "services");
}

#[test]
fn auth_services_that_were_never_listed_may_be_there() {
    let unread = |scene: &mut Scene| {
        let unread = scene.state.changes().unread;
        let names = unread
            .iter()
            .map(|unread| unread.origin.resource.name.to_string());
        names.collect::<Vec<_>>()
    };
    const NAME: &str = "authservices.getambassador.io";
    let forbidden = || What::Trouble(Trouble::Forbidden("no".to_owned()));
    let mut scene = Scene::new(&["Mapping", "AuthService"]);
    scene.tell("Mapping", [What::Complete]);
    scene.tell("AuthService", [forbidden(), forbidden()]);
    assert!(unread(&mut scene).is_empty());
    scene.tell("AuthService", [forbidden()]);
    assert_eq!(unread(&mut scene), [NAME]);
    let never_read = scene.kept();
    scene.tell("AuthService", [What::Complete]);
    assert!(unread(&mut scene).is_empty());
    scene.tell("AuthService", [forbidden(), forbidden(), forbidden()]);
    assert!(unread(&mut scene).is_empty(), "that there is none was read");
    let read = scene.kept();
    scene.define(&["Mapping"]);
    assert!(unread(&mut scene).is_empty());

    for (kept, expected) in [(never_read, vec![NAME.to_owned()]), (read, vec![])] {
        let mut scene = Scene::new(&["AuthService"]);
        scene.tell("AuthService", [forbidden()]);
        assert!(scene.state.lacks());
        scene.state.restore(Path::new("kept"), Ok(Some(kept)));
        assert_eq!(unread(&mut scene), expected);
        scene.tell("AuthService", [forbidden(), forbidden()]);
        assert_eq!(unread(&mut scene), expected);
    }
}
