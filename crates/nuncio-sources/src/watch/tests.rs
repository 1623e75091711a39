#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use notify::event::Flag;
use notify::{Config, EventHandler, RecursiveMode, WatcherKind};
use tokio::time::{interval, timeout};

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn mapping(name: &str, prefix: &str) -> String {
    format!(
        "---\napiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata:\n  name: {name}\nspec:\n  prefix: {prefix}\n"
    )
}

/// A folder under watch, and the prefixes in effect by name.
struct Case {
    dir: tempfile::TempDir,
    watcher: Watcher,
    prefixes: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Case {
    async fn start(prepare: impl FnOnce(&Path)) -> Self {
        Self::with::<RecommendedWatcher>(prepare).await
    }

    async fn with<W: notify::Watcher + Send + 'static>(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let watcher = Watcher::with::<W>(vec![dir.path().join("m")], None).unwrap();
        let mut case = Self {
            dir,
            watcher,
            prefixes: BTreeMap::new(),
            problems: Vec::new(),
        };
        case.next().await;
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn take(&mut self, changes: &ChangeSet) {
        for object in &changes.upserted {
            let body = object.body.to_value();
            let prefix = body["spec"]["prefix"].as_str().unwrap_or_default();
            self.prefixes
                .insert(object.meta.name.clone(), prefix.to_owned());
        }
        for key in &changes.deleted {
            self.prefixes.remove(&key.name);
        }
        self.problems = changes.problems.iter().map(ToString::to_string).collect();
    }

    async fn next(&mut self) -> ChangeSet {
        let changes = timeout(LONG, self.watcher.next())
            .await
            .expect("a change set");
        self.take(&changes);
        changes
    }

    async fn until(&mut self, reached: impl Fn(&Self) -> bool) {
        while !reached(self) {
            self.next().await;
        }
    }

    fn prefix(&self, name: &str) -> &str {
        self.prefixes.get(name).map_or("", String::as_str)
    }
}

fn one_mapping(dir: &Path) {
    fs::create_dir(dir.join("m")).unwrap();
    fs::write(dir.join("m/a.yaml"), mapping("a", "/1/")).unwrap();
}

#[tokio::test]
async fn a_file_renamed_into_place_is_read() {
    let mut case = Case::start(one_mapping).await;
    assert_eq!(case.prefix("a"), "/1/");
    case.write("m/.a.yaml.new", mapping("a", "/2/"));
    fs::rename(case.path("m/.a.yaml.new"), case.path("m/a.yaml")).unwrap();
    assert_eq!(case.next().await.upserted.len(), 1);
    assert_eq!(case.prefix("a"), "/2/");
    // From elsewhere.
    case.write("b.yaml", mapping("b", "/b/"));
    fs::rename(case.path("b.yaml"), case.path("m/b.yaml")).unwrap();
    case.next().await;
    assert_eq!(case.prefix("b"), "/b/");
}

#[tokio::test]
async fn a_half_written_file_is_not_read() {
    let mut case = Case::start(one_mapping).await;
    let mut new = fs::File::create(case.path("m/new.yaml")).unwrap();
    let mut old = fs::File::create(case.path("m/a.yaml")).unwrap();
    for file in [&mut new, &mut old] {
        file.write_all(mapping("half", "/half/").as_bytes())
            .unwrap();
        file.flush().unwrap();
    }
    case.write("m/z.yaml", mapping("z", "/z/"));
    // Slow writers, but alive.
    let mut tick = interval(Duration::from_millis(20));
    while case.prefix("z").is_empty() {
        tokio::select! {
            changes = case.watcher.next() => case.take(&changes),
            _ = tick.tick() => for file in [&mut new, &mut old] {
                file.write_all(b"#\n").unwrap();
            },
        }
        assert_eq!(case.prefix("half"), "");
        assert_eq!(case.prefix("a"), "/1/");
    }
    new.write_all(mapping("new", "/new/").as_bytes()).unwrap();
    old.write_all(mapping("a", "/2/").as_bytes()).unwrap();
    drop((new, old));
    case.until(|case| case.prefix("a") == "/2/" && case.prefix("new") == "/new/")
        .await;
    assert_eq!(case.prefix("half"), "/half/");
}

#[tokio::test]
async fn a_writer_that_never_closes_is_not_waited_for_forever() {
    let mut case = Case::start(one_mapping).await;
    let mut file = fs::File::create(case.path("m/a.yaml")).unwrap();
    file.write_all(mapping("a", "/2/").as_bytes()).unwrap();
    case.until(|case| case.prefix("a") == "/2/").await;
    drop(file);
}

#[tokio::test]
async fn a_file_written_over_never_vanishes() {
    let mut case = Case::start(one_mapping).await;
    let (mut round, mut quick_rounds) = (1, 0);
    while quick_rounds < 10 {
        round += 1;
        let prefix = format!("/{round}/");
        // As vim does: the old one is moved away.
        let moved = Instant::now();
        fs::rename(case.path("m/a.yaml"), case.path("m/a.yaml~")).unwrap();
        case.write("m/a.yaml", mapping("a", &prefix));
        // A machine that is busy may keep the new one away for so long that it is gone.
        let quick = moved.elapsed() < QUIET_AFTER_REMOVAL / 2;
        quick_rounds += u32::from(quick);
        while case.prefix("a") != prefix {
            let deleted = case.next().await.deleted;
            assert!(!quick || deleted.is_empty(), "{deleted:?}");
        }
        let prefix = format!("/{round}/over/");
        case.write("m/a.yaml", mapping("a", &prefix));
        while case.prefix("a") != prefix {
            assert_eq!(case.next().await.deleted, []);
        }
    }
}

#[tokio::test]
async fn a_config_map_changes_as_one() {
    let version = |dir: &Path, version: &str| {
        let folder = dir.join("m").join(format!("..{version}"));
        fs::create_dir_all(&folder).unwrap();
        for name in ["a", "b"] {
            let text = mapping(name, &format!("/{version}/"));
            fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
        }
    };
    let mut case = Case::start(|dir| {
        version(dir, "1");
        symlink("..1", dir.join("m/..data")).unwrap();
        for name in ["a.yaml", "b.yaml"] {
            symlink(Path::new("..data").join(name), dir.join("m").join(name)).unwrap();
        }
    })
    .await;
    assert_eq!((case.prefix("a"), case.prefix("b")), ("/1/", "/1/"));
    for round in 2..8 {
        version(case.dir.path(), &round.to_string());
        symlink(format!("..{round}"), case.path("m/..data_tmp")).unwrap();
        fs::rename(case.path("m/..data_tmp"), case.path("m/..data")).unwrap();
        fs::remove_dir_all(case.path(&format!("m/..{}", round - 1))).unwrap();
        let changes = case.next().await;
        let prefix = format!("/{round}/");
        assert_eq!(
            (case.prefix("a"), case.prefix("b")),
            (prefix.as_str(), prefix.as_str())
        );
        assert_eq!(changes.upserted.len(), 2);
        assert_eq!((changes.deleted, changes.problems), (vec![], vec![]));
    }
}

#[tokio::test]
async fn folders_come_and_go() {
    let mut case = Case::start(one_mapping).await;
    for round in 0..5 {
        fs::create_dir_all(case.path("m/x/y")).unwrap();
        case.write("m/x/y/b.yaml", mapping("b", &format!("/{round}/")));
        case.until(|case| case.prefix("b") == format!("/{round}/"))
            .await;
        case.write("m/x/y/b.yaml", mapping("b", "/changed/"));
        case.until(|case| case.prefix("b") == "/changed/").await;
        fs::remove_dir_all(case.path("m/x")).unwrap();
        case.until(|case| case.prefix("b").is_empty()).await;
    }
}

#[tokio::test]
async fn a_root_that_is_swapped_never_empties() {
    let mut case = Case::start(one_mapping).await;
    for round in 2..6 {
        fs::rename(case.path("m"), case.path(&format!("old{round}"))).unwrap();
        case.until(|case| !case.problems.is_empty()).await;
        assert!(!case.prefix("a").is_empty());
        let prefix = format!("/{round}/");
        fs::create_dir(case.path("new")).unwrap();
        case.write("new/a.yaml", mapping("a", &prefix));
        fs::rename(case.path("new"), case.path("m")).unwrap();
        while case.prefix("a") != prefix {
            assert_eq!(case.next().await.deleted, []);
        }
        assert_eq!(case.problems, [""; 0]);
        // And it is watched again.
        case.write("m/a.yaml", mapping("a", "/again/"));
        case.until(|case| case.prefix("a") == "/again/").await;
    }
}

#[tokio::test]
async fn a_root_may_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not/yet/there");
    let mut watcher = Watcher::new(vec![root.clone()]).unwrap();
    let first = timeout(LONG, watcher.next()).await.unwrap();
    assert_eq!((first.upserted.len(), first.problems.len()), (0, 1));
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("a.yaml"), mapping("a", "/a/")).unwrap();
    let upserted = async {
        loop {
            let changes = watcher.next().await;
            if !changes.upserted.is_empty() {
                return changes;
            }
        }
    };
    assert_eq!(timeout(LONG, upserted).await.unwrap().problems, []);
}

#[tokio::test]
async fn a_link_on_the_way_to_the_root_may_change() {
    let release = |dir: &Path, name: &str| {
        fs::create_dir_all(dir.join(name).join("m")).unwrap();
        let path = dir.join(name).join("m/a.yaml");
        fs::write(path, mapping("a", &format!("/{name}/"))).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    release(dir.path(), "one");
    release(dir.path(), "two");
    symlink("one", dir.path().join("current")).unwrap();
    let mut watcher = Watcher::new(vec![dir.path().join("current/m")]).unwrap();
    timeout(LONG, watcher.next()).await.unwrap();
    symlink("two", dir.path().join("next")).unwrap();
    fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
    let changes = timeout(LONG, watcher.next()).await.unwrap();
    assert_eq!(
        changes.upserted[0].body.to_value()["spec"]["prefix"],
        "/two/"
    );
    assert_eq!(changes.deleted, []);
}

#[tokio::test]
async fn files_behind_links_are_watched() {
    let mut case = Case::start(|dir| {
        one_mapping(dir);
        fs::create_dir(dir.join("out")).unwrap();
        fs::create_dir(dir.join("files")).unwrap();
        fs::write(dir.join("files/b.yaml"), mapping("b", "/b/")).unwrap();
        symlink("../out", dir.join("m/out")).unwrap();
        symlink("../files/b.yaml", dir.join("m/b.yaml")).unwrap();
    })
    .await;
    case.write("out/c.yaml", mapping("c", "/c/"));
    case.until(|case| case.prefix("c") == "/c/").await;
    case.write("files/b.yaml", mapping("b", "/b2/"));
    case.until(|case| case.prefix("b") == "/b2/").await;
}

#[tokio::test]
async fn a_broken_file_is_reported_until_it_is_mended() {
    let mut case = Case::start(one_mapping).await;
    case.write("m/a.yaml", mapping("a", "[/2/"));
    case.until(|case| !case.problems.is_empty()).await;
    assert!(
        case.problems[0].contains("line 7, column 11"),
        "{:?}",
        case.problems
    );
    assert_eq!(case.prefix("a"), "/1/");
    case.write("m/a.yaml", mapping("a", "/3/"));
    case.until(|case| case.problems.is_empty()).await;
    assert_eq!(case.prefix("a"), "/3/");
}

#[tokio::test]
async fn one_of_ten_thousand_files_changes() {
    let mut case = Case::start(|dir| {
        for n in 0..10_000 {
            let folder = dir.join(format!("m/{}", n / 1000));
            fs::create_dir_all(&folder).unwrap();
            fs::write(
                folder.join(format!("{n}.yaml")),
                mapping(&format!("x{n}"), "/1/"),
            )
            .unwrap();
        }
    })
    .await;
    assert_eq!(case.prefixes.len(), 10_000);
    case.write("m/7/7777.yaml", mapping("x7777", "/2/"));
    let changes = case.next().await;
    assert_eq!((changes.upserted.len(), changes.deleted.len()), (1, 0));
    assert_eq!(case.prefix("x7777"), "/2/");
}

#[tokio::test]
async fn no_state_of_a_file_under_writing_is_ever_seen() {
    const ROUNDS: usize = 300;
    let content = |round: usize| {
        let prefix = format!("/{round}/");
        (mapping("a", &prefix), mapping("b", &prefix))
    };
    let mut case = Case::start(|dir| {
        fs::create_dir(dir.join("m")).unwrap();
        let (a, b) = content(0);
        fs::write(dir.join("m/a.yaml"), a + &b).unwrap();
    })
    .await;
    let path = case.path("m/a.yaml");
    let writer = std::thread::spawn(move || {
        for round in 1..=ROUNDS {
            let (a, b) = content(round);
            let mut file = fs::File::create(&path).unwrap();
            file.write_all(a.as_bytes()).unwrap();
            file.write_all(b.as_bytes()).unwrap();
        }
    });
    let last = format!("/{ROUNDS}/");
    while case.prefix("b") != last {
        let changes = case.next().await;
        assert_eq!((changes.deleted, changes.problems), (vec![], vec![]));
        assert_eq!(case.prefix("a"), case.prefix("b"));
    }
    writer.join().unwrap();
}

/// A kernel that loses every event and says so when asked to.
struct Forgetful;

static FORGETFUL: Mutex<Option<Box<dyn EventHandler>>> = Mutex::new(None);

impl notify::Watcher for Forgetful {
    fn new<F: EventHandler>(handler: F, _: Config) -> notify::Result<Self> {
        *FORGETFUL.lock().unwrap() = Some(Box::new(handler));
        Ok(Forgetful)
    }

    fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
        Ok(())
    }

    fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
        Ok(())
    }

    fn kind() -> WatcherKind {
        WatcherKind::NullWatcher
    }
}

#[tokio::test]
async fn lost_events_lead_to_a_scan() {
    let mut case = Case::with::<Forgetful>(one_mapping).await;
    case.write("m/a.yaml", mapping("a", "/2/"));
    let mut tick = interval(Duration::from_millis(10));
    while case.prefix("a") != "/2/" {
        tokio::select! {
            changes = case.watcher.next() => case.take(&changes),
            _ = tick.tick() => if let Some(handler) = &mut *FORGETFUL.lock().unwrap() {
                handler.handle_event(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
            },
        }
    }
}

/// A kernel that has no watches left.
#[derive(Debug)]
struct Exhausted;

impl notify::Watcher for Exhausted {
    fn new<F: EventHandler>(_: F, _: Config) -> notify::Result<Self> {
        Ok(Exhausted)
    }

    fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
        Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
    }

    fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
        Ok(())
    }

    fn kind() -> WatcherKind {
        WatcherKind::NullWatcher
    }
}

#[tokio::test]
async fn without_watches_changes_are_polled_for() {
    let mut case = Case::with::<Exhausted>(one_mapping).await;
    case.until(|case| {
        case.problems
            .iter()
            .any(|line| line.contains("fs.inotify.max_user_watches"))
    })
    .await;
    case.write("m/a.yaml", mapping("a", "/2/"));
    case.until(|case| case.prefix("a") == "/2/").await;
    fs::remove_file(case.path("m/a.yaml")).unwrap();
    case.until(|case| case.prefixes.is_empty()).await;
}
