#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::manifest;

fn written() -> Vec<u8> {
    let source = SourceRef::File {
        path: "m/a.yaml".into(),
        document: 2,
        item: Some(1),
    };
    let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } });
    let Ok((object, _)) = manifest::object(source, body) else {
        panic!("it is an object");
    };
    let file = KeptFile {
        name: "a.yaml".to_owned(),
        objects: vec![KeptObject::from(&object)],
        unread: Vec::new(),
    };
    let read_at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let root = KeptRoot::new("/m".into(), read_at, vec![file]);
    let mut bytes = Vec::new();
    Content(vec![root]).write(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_written_is_read() {
    let mut kept = Kept::parse(&written()).unwrap();
    assert!(kept.take(Path::new("/other")).is_none());
    let root = kept.take(Path::new("/m")).unwrap();
    assert_eq!(
        root.read_at(),
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    );
    let [file] = &root.files[..] else {
        panic!("{root:?}");
    };
    assert_eq!(file.name, "a.yaml");
    let [object] = &file.objects[..] else {
        panic!("{file:?}");
    };
    assert_eq!((object.document, object.item), (2, Some(1)));
    assert_eq!(object.body["kind"], "Secret");
}

/// Every truncation and every changed byte is noticed.
#[test]
fn what_is_damaged_is_refused() {
    let bytes = written();
    for length in 0..bytes.len() {
        assert!(Kept::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        assert!(Kept::parse(&bytes).is_err(), "byte {at}");
    }
    let message = |bytes: &[u8]| Kept::parse(bytes).unwrap_err().to_string();
    assert_eq!(
        message(b"nuncio kept 2\nmore"),
        "was kept by another version of nuncio"
    );
    assert_eq!(message(b"PNG"), "is not what nuncio keeps");
}
