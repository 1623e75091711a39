#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::kept::Kept;

fn mapping(name: &str, prefix: &str) -> String {
    format!(
        "---\napiVersion: getambassador.io/v3alpha1\nkind: Mapping\nmetadata:\n  name: {name}\nspec:\n  prefix: {prefix}\n"
    )
}

fn write(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A change set in short: `+name prefix`, `-name`, and the problems with the folder's path cut.
fn show(changes: Option<ChangeSet>, root: &Path) -> Vec<String> {
    let Some(changes) = changes else {
        return vec!["nothing".to_owned()];
    };
    let root = format!("{}/", root.display());
    let upserted = changes.upserted.iter().map(|object| {
        let body = object.body.to_value();
        let prefix = body["spec"]["prefix"].as_str().unwrap_or_default();
        format!("+{} {prefix}", object.meta.name)
    });
    let deleted = changes.deleted.iter().map(|key| format!("-{}", key.name));
    let problems = changes.problems.iter().map(ToString::to_string);
    upserted
        .chain(deleted)
        .chain(problems)
        .map(|line| line.replace(&root, ""))
        .collect()
}

struct Case {
    dir: tempfile::TempDir,
    folder: Folder,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(vec![dir.path().join("m")]);
        fs::create_dir(dir.path().join("m")).unwrap();
        Self { dir, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        write(self.path(name), text);
    }

    fn scan(&mut self) -> Vec<String> {
        show(self.folder.scan(), self.dir.path())
    }
}

const NOTHING: [&str; 1] = ["nothing"];

#[test]
fn reads_changes_and_deletions() {
    let mut case = Case::new();
    assert!(
        case.scan().is_empty(),
        "the first scan answers, with nothing"
    );
    case.write("m/b.yaml", mapping("b", "/b/"));
    case.write("m/sub/a.yml", mapping("a", "/a/"));
    case.write("m/.hidden.yaml", "no: [yaml");
    case.write("m/..2024/c.yaml", mapping("c", "/c/"));
    case.write("m/readme.txt", "no");
    assert_eq!(case.scan(), ["+b /b/", "+a /a/"]);
    assert_eq!(case.scan(), NOTHING);
    case.write("m/b.yaml", mapping("b", "/b2/"));
    assert_eq!(case.scan(), ["+b /b2/"]);
    case.write("m/b.yaml", mapping("b", "/b2/"));
    assert_eq!(case.scan(), NOTHING);
    fs::remove_dir_all(case.path("m/sub")).unwrap();
    fs::rename(case.path("m/b.yaml"), case.path("m/d.yaml")).unwrap();
    // The object is the same, its source is not.
    assert_eq!(case.scan(), ["+b /b2/", "-a"]);
    fs::remove_file(case.path("m/d.yaml")).unwrap();
    assert_eq!(case.scan(), ["-b"]);
}

#[test]
fn a_broken_file_keeps_its_last_good_objects() {
    let mut case = Case::new();
    case.write("m/a.yaml", mapping("a", "/a/"));
    assert_eq!(case.scan(), ["+a /a/"]);
    case.write("m/a.yaml", mapping("a", "[/a/"));
    case.write("m/b.yaml", b"a: 1\n# \xff\n");
    assert_eq!(
        case.scan(),
        [
            "File m/a.yaml: line 7, column 11: unclosed bracket '['; its last good content stays in effect [ParseError]",
            "File m/b.yaml: line 2, column 3: not UTF-8; nothing of it is in effect [ParseError]",
        ]
    );
    assert_eq!(case.scan(), NOTHING);
    // Good again, as it was.
    case.write("m/a.yaml", mapping("a", "/a/"));
    fs::remove_file(case.path("m/b.yaml")).unwrap();
    assert!(case.scan().is_empty());
    case.write("m/a.yaml", "");
    assert_eq!(case.scan(), ["-a"]);
}

#[test]
fn the_later_of_two_definitions_counts() {
    let mut case = Case::new();
    case.write("m/a.yaml", mapping("x", "/first/"));
    case.write("m/b.yaml", mapping("w", "/w/") + &mapping("x", "/second/"));
    assert_eq!(
        case.scan(),
        [
            "+w /w/",
            "+x /second/",
            "Mapping default/x: defined twice: m/a.yaml:2 has no effect, because m/b.yaml:9 comes later; keep one of them [Duplicate]",
        ]
    );
    fs::remove_file(case.path("m/b.yaml")).unwrap();
    assert_eq!(case.scan(), ["+x /first/", "-w"]);
    case.write("m/a.yaml", mapping("x", "/1/") + &mapping("x", "/2/"));
    assert_eq!(
        case.scan(),
        [
            "+x /2/",
            "Mapping default/x: defined twice: m/a.yaml:2 has no effect, because m/a.yaml:9 comes later; keep one of them [Duplicate]",
        ]
    );
}

#[test]
fn a_root_that_goes_away_keeps_its_objects() {
    let mut case = Case::new();
    case.write("m/a.yaml", mapping("a", "/a/"));
    case.scan();
    fs::rename(case.path("m"), case.path("old")).unwrap();
    assert_eq!(
        case.scan(),
        [
            "File ROOT: cannot be read: No such file or directory (os error 2); what was last read from it (1 objects) stays in effect [Unreadable]"
                .replace("ROOT", &case.path("m").display().to_string())
                .replace(&format!("{}/", case.dir.path().display()), "")
        ]
    );
    assert_eq!(case.scan(), NOTHING);
    case.write("m/b.yaml", mapping("b", "/b/"));
    assert_eq!(case.scan(), ["+b /b/", "-a"]);
}

#[test]
fn roots_are_read_in_order_and_may_be_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("z/a.yaml"), mapping("x", "/z/"));
    write(dir.path().join("a.txt"), mapping("x", "/a/"));
    let roots = vec![dir.path().join("z"), dir.path().join("a.txt")];
    let mut folder = Folder::new(roots);
    assert_eq!(show(folder.scan(), dir.path())[0], "+x /a/");
}

#[test]
fn links_are_followed_once() {
    let mut case = Case::new();
    case.write("out/a.yaml", mapping("a", "/a/"));
    case.write("b.yaml", mapping("b", "/b/"));
    symlink("../out", case.path("m/out")).unwrap();
    symlink("../out", case.path("m/again")).unwrap();
    symlink("..", case.path("m/loop")).unwrap();
    symlink("../b.yaml", case.path("m/link.yaml")).unwrap();
    symlink("nowhere", case.path("m/dangling.yaml")).unwrap();
    let lines = case.scan();
    assert_eq!(lines[0], "+a /a/", "{lines:#?}");
    assert!(lines.contains(&"+b /b/".to_owned()), "{lines:#?}");
    let dangling = "File m/dangling.yaml: cannot be read: No such file";
    assert!(
        lines.iter().any(|line| line.starts_with(dangling)),
        "{lines:#?}"
    );
    // By way of the loop, but not again from there.
    let twice = "Mapping default/b: defined twice: m/link.yaml:2 has no effect, because m/loop/b.yaml:2 comes later";
    assert!(
        lines.iter().any(|line| line.starts_with(twice)),
        "{lines:#?}"
    );
}

#[test]
fn what_cannot_be_read_stays_in_effect() {
    let mut case = Case::new();
    case.write("m/a.yaml", mapping("a", "/a/"));
    case.write("m/sub/b.yaml", mapping("b", "/b/"));
    case.scan();
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&case.path("m/a.yaml"), 0);
    mode(&case.path("m/sub"), 0);
    if fs::read(case.path("m/a.yaml")).is_ok() {
        // The superuser reads everything.
        mode(&case.path("m/sub"), 0o755);
        return;
    }
    let lines = case.scan();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.contains("Permission denied")),
        "{lines:#?}"
    );
    mode(&case.path("m/a.yaml"), 0o644);
    mode(&case.path("m/sub"), 0o755);
    assert!(case.scan().is_empty());
}

#[test]
fn a_huge_file_is_refused() {
    let mut case = Case::new();
    fs::File::create(case.path("m/a.yaml"))
        .unwrap()
        .set_len(65 << 20)
        .unwrap();
    assert_eq!(
        case.scan(),
        [
            "File m/a.yaml: cannot be read: larger than 64 MiB; nothing of it is in effect [Unreadable]"
        ]
    );
}

/// A writer of one file.
struct Writing(Option<Inode>, Option<Inode>);

impl Observer for Writing {
    fn watch(&mut self, _: Surroundings) {}

    fn catch_up(&mut self) {
        self.0 = self.1;
    }

    fn writing(&mut self, file: &Fingerprint) -> bool {
        self.0 == Some(file.inode)
    }
}

#[test]
fn a_file_being_written_is_left_alone() {
    let mut case = Case::new();
    case.write("m/a.yaml", mapping("a", "/a/"));
    case.scan();
    case.write("m/a.yaml", "");
    let file = Some(inode(&fs::metadata(case.path("m/a.yaml")).unwrap()));
    // Known before the scan, and only learned of while it reads.
    assert_eq!(case.folder.scan_beside(&mut Writing(file, file)), None);
    assert_eq!(case.folder.scan_beside(&mut Writing(None, file)), None);
    assert_eq!(case.scan(), ["-a"]);
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        file: usize,
        names: Vec<usize>,
        good: bool,
    },
    Remove {
        file: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    RemoveFolder {
        folder: usize,
    },
    Scan,
}

const FILES: [&str; 6] = [
    "a.yaml",
    "b.json",
    "d/a.yaml",
    "d/e/b.yaml",
    "f/a.yml",
    "f/.hidden.yaml",
];
const FOLDERS: [&str; 3] = ["d", "d/e", "f"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let file = || 0..FILES.len();
    let names = prop::collection::vec(0..5usize, 0..4);
    let step = prop_oneof![
        4 => (file(), names, prop::bool::weighted(0.9)).prop_map(|(file, names, good)| Step::Write { file, names, good }),
        1 => file().prop_map(|file| Step::Remove { file }),
        2 => (file(), file()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (0..FOLDERS.len()).prop_map(|folder| Step::RemoveFolder { folder }),
        3 => Just(Step::Scan),
    ];
    prop::collection::vec(step, 0..30)
}

/// Applies change sets as a store would.
fn apply(store: &mut BTreeMap<ObjectKey, RawObject>, changes: Option<ChangeSet>) {
    for object in changes.iter().flat_map(|changes| &changes.upserted) {
        store.insert(object.key(), object.clone());
    }
    for key in changes.iter().flat_map(|changes| &changes.deleted) {
        assert!(store.remove(key).is_some(), "{key} was never there");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_sequence_of_changes_ends_as_a_fresh_scan_would(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let mut folder = Folder::new(vec![root.to_owned()]);
        let mut store = BTreeMap::new();
        for (round, step) in steps.into_iter().enumerate() {
            // Failing is part of it: there may be no such file.
            let _ = match step {
                Step::Write { file, names, good } => {
                    let path = root.join(FILES[file]);
                    let text = if path.extension().unwrap() == "json" {
                        names.iter().map(|n| serde_json::json!({
                            "apiVersion": "v1", "kind": "X", "metadata": {"name": format!("n{n}")}, "spec": round,
                        }).to_string()).collect()
                    } else {
                        names.iter().map(|n| mapping(&format!("n{n}"), &format!("/{round}/"))).collect::<String>()
                    };
                    // A broken file would keep what a fresh scan cannot know: it only ever
                    // stands where nothing good was.
                    let text = if good || path.exists() { text } else { "a: [".to_owned() };
                    write(&path, text);
                    Ok(())
                }
                Step::Remove { file } => fs::remove_file(root.join(FILES[file])),
                Step::Rename { from, to } => fs::rename(root.join(FILES[from]), root.join(FILES[to])),
                Step::RemoveFolder { folder } => fs::remove_dir_all(root.join(FOLDERS[folder])),
                Step::Scan => {
                    apply(&mut store, folder.scan());
                    Ok(())
                }
            };
        }
        apply(&mut store, folder.scan());
        prop_assert_eq!(folder.scan(), None);
        let mut fresh = Folder::new(vec![root.to_owned()]);
        let mut expected = BTreeMap::new();
        apply(&mut expected, fresh.scan());
        // A broken file renamed over a good one keeps what was good.
        let broken: Vec<_> = fresh.files.iter().filter(|(_, file)| file.fault.is_some()).map(|(id, _)| id.clone()).collect();
        if broken.is_empty() {
            prop_assert_eq!(&store, &expected);
            prop_assert_eq!(folder.said, fresh.said);
        }
    }
}

impl Case {
    /// A folder that reads the same root anew, after what of this one was kept.
    fn restarted(&self) -> Folder {
        let file = self.dir.path().join("kept");
        let content = self.folder.content();
        content.write(fs::File::create(&file).unwrap()).unwrap();
        let kept = Kept::read(&file).unwrap().unwrap();
        Folder::new(vec![self.path("m")]).restored(kept)
    }
}

#[test]
fn what_was_kept_stands_in_for_what_cannot_be_read() {
    let mut case = Case::new();
    case.write("m/a.yaml", mapping("a", "/a/") + &mapping("b", "/b/"));
    case.write("m/c/c.yaml", mapping("c", "/c/"));
    case.folder.scan();

    // The root is gone, and comes again with other things.
    let mut folder = case.restarted();
    fs::rename(case.path("m"), case.path("away")).unwrap();
    let shown = show(folder.scan(), case.dir.path());
    assert_eq!(shown[..3], ["+a /a/", "+b /b/", "+c /c/"]);
    assert!(
        shown[3].contains(
            "cannot be read: No such file or directory (os error 2); what was read from it \
             before this start (3 objects, "
        ),
        "{shown:?}"
    );
    fs::rename(case.path("away"), case.path("m")).unwrap();
    fs::remove_dir_all(case.path("m/c")).unwrap();
    case.write("m/a.yaml", mapping("a", "/other/") + &mapping("b", "/b/"));
    assert_eq!(
        show(folder.scan(), case.dir.path()),
        ["+a /other/", "-c"],
        "it has caught up"
    );
    case.folder = folder;

    // One file is broken: the others are read.
    let mut folder = case.restarted();
    case.write("m/a.yaml", "a: [");
    case.write("m/d.yaml", mapping("d", "/d/"));
    let shown = show(folder.scan(), case.dir.path());
    assert_eq!(shown[..3], ["+a /other/", "+b /b/", "+d /d/"]);
    assert!(
        shown[3].ends_with("its last good content stays in effect [ParseError]"),
        "{shown:?}"
    );

    // What was removed meanwhile is gone, the whole content too.
    let mut folder = case.restarted();
    fs::remove_file(case.path("m/a.yaml")).unwrap();
    fs::remove_file(case.path("m/d.yaml")).unwrap();
    assert_eq!(show(folder.scan(), case.dir.path()), [""; 0]);
}

#[test]
fn what_was_kept_of_one_root_is_not_that_of_another() {
    let mut case = Case::new();
    case.write("m/a.yaml", mapping("a", "/a/"));
    case.folder.scan();
    let file = case.path("kept");
    let content = case.folder.content();
    assert!(content.is_known());
    content.write(fs::File::create(&file).unwrap()).unwrap();
    let kept = Kept::read(&file).unwrap().unwrap();
    let mut folder = Folder::new(vec![case.path("other")]).restored(kept);
    let shown = show(folder.scan(), case.dir.path());
    assert!(shown[0].contains("nothing of it is in effect"), "{shown:?}");
    assert!(!folder.content().is_known());
}

#[test]
fn what_must_not_go_unseen_is_told_of_where_it_cannot_be_read() {
    let auth = mapping("a", "/a/").replace("Mapping", "AuthService");
    let host = mapping("a", "/a/").replace("kind: Mapping", "\"kind\": 'Host'");
    let mut case = Case::new();
    let mut unread = |content: &str| {
        case.write("m/a.yaml", content);
        let changes = case.folder.scan().unwrap_or_default();
        let unread = changes.unread.iter();
        unread.map(|unread| unread.kind).collect::<Vec<_>>()
    };
    let broken = |text: &str| text.replace("/a/", "[/a/");
    let nameless = |text: &str| text.replace("name: a", "x: y");
    assert_eq!(unread(&broken(&auth)), ["AuthService"]);
    assert_eq!(unread(&(broken(&host) + &auth)), ["AuthService", "Host"]);
    assert!(unread(&broken(&mapping("AuthService", "/a/"))).is_empty());
    assert!(unread(&auth).is_empty());
    assert!(
        unread(&broken(&auth)).is_empty(),
        "its last good content is known"
    );
    assert_eq!(unread(&nameless(&auth)), ["AuthService"]);
    assert!(unread(&nameless(&mapping("a", "/a/"))).is_empty());
    let module = mapping("a", "/a/").replace("Mapping", "Module");
    assert!(unread(&nameless(&module)).is_empty());
    let module = module.replace("prefix", "ip_deny");
    assert_eq!(unread(&nameless(&module)), ["Module"]);
    assert_eq!(unread(&broken(&module)), ["Module"]);
}
