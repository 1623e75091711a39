//! From an object and a field path back to a line and a column.
//!
//! Objects carry no positions: they would cost memory and time for every object, and are wanted
//! only for the few that a message is about. The text is parsed again then.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, StrInput};
use nuncio_api::SourceRef;

use crate::manifest::{Syntax, json};

/// A place in a file. Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The annotation that holds objects of its own.
const CONFIG_ANNOTATION: &str = r#"metadata.annotations["getambassador.io/config"]"#;

/// Where a field of an object stands. `read` gives the text of a file.
///
/// An object from an annotation is found in the file of the object that carries it: exactly when
/// the annotation is a literal block, else at the annotation.
pub fn position(
    source: &SourceRef,
    field: &str,
    read: impl Fn(&str) -> Option<String>,
) -> Option<Position> {
    match source {
        SourceRef::File {
            path,
            document,
            item,
        } => {
            let text = read(path)?;
            let (line, column) = locate(&text, Syntax::of(path), *document, *item, field)?;
            Some(Position {
                file: Arc::clone(path),
                line,
                column,
            })
        }
        SourceRef::Annotation { parent, document } => {
            let SourceRef::File {
                path,
                document: parent_document,
                item,
            } = &**parent
            else {
                return position(parent, CONFIG_ANNOTATION, read);
            };
            let text = read(path)?;
            let found = find(
                &text,
                Syntax::of(path),
                *parent_document,
                *item,
                CONFIG_ANNOTATION,
            )?;
            let (line, column) = found
                .literal
                .as_ref()
                .and_then(|(value, start)| {
                    let (line, column) = locate_folded(value, *document, field)?;
                    // The scalar starts at its first line that is not blank.
                    let blank = value.len() - value.trim_start_matches('\n').len();
                    Some((start.line + line - 1 - blank, start.column + column - 1))
                })
                .unwrap_or((found.at.line, found.at.column));
            Some(Position {
                file: Arc::clone(path),
                line,
                column,
            })
        }
    }
}

/// Line and column, from 1, of a field such as `spec.headers["a.b"]` or `spec.group[1]`; of its
/// nearest existing parent if the field itself is missing. An empty field is the object itself.
pub fn locate(
    text: &str,
    syntax: Syntax,
    document: usize,
    item: Option<usize>,
    field: &str,
) -> Option<(usize, usize)> {
    let found = find(text, syntax, document, item, field)?;
    Some((found.at.line, found.at.column))
}

/// As [`locate`], in an annotation: there the fields of `spec` and `metadata` may stand at the root.
fn locate_folded(text: &str, document: usize, field: &str) -> Option<(usize, usize)> {
    let root = Documents::new(text).nth(document)?;
    let folded = ["spec.", "metadata."]
        .into_iter()
        .find_map(|parent| field.strip_prefix(parent))
        .filter(|rest| match segments(rest).next() {
            Some(Segment::Key(name)) => root.entry(name).is_some(),
            _ => false,
        });
    let found = descend(&root, None, folded.unwrap_or(field))?;
    Some((found.at.line, found.at.column))
}

/// The first line of each document of a text, with those of its items if it is a list.
pub(crate) fn lines(text: &str, syntax: Syntax) -> Vec<DocumentLines> {
    let of = |root: &Node| DocumentLines {
        line: root.start.line,
        items: match root.entry("items").map(|(_, items)| items.resolved()) {
            Some(items) => match &items.kind {
                Kind::Sequence(items) => items.iter().map(|item| item.start.line).collect(),
                _ => Vec::new(),
            },
            None => Vec::new(),
        },
    };
    match syntax {
        Syntax::Yaml => Documents::new(text).map(|root| of(&root)).collect(),
        Syntax::Json => json::document_starts(text)
            .into_iter()
            .map_while(|start| {
                let root = Documents::new(&text[start..]).next()?;
                let mut lines = of(&root);
                let before = newlines(&text[..start]);
                lines.line += before;
                lines.items.iter_mut().for_each(|line| *line += before);
                Some(lines)
            })
            .collect(),
    }
}

/// Where a document and its items begin.
#[derive(Debug)]
pub(crate) struct DocumentLines {
    pub(crate) line: usize,
    pub(crate) items: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct At {
    line: usize,
    column: usize,
}

impl From<Marker> for At {
    fn from(marker: Marker) -> Self {
        At {
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

struct Found {
    at: At,
    /// The text of a literal block scalar and where it begins, if the whole path exists and
    /// leads to one.
    literal: Option<(String, At)>,
}

fn find(
    text: &str,
    syntax: Syntax,
    document: usize,
    item: Option<usize>,
    field: &str,
) -> Option<Found> {
    match syntax {
        Syntax::Yaml => descend(&*Documents::new(text).nth(document)?, item, field),
        Syntax::Json => {
            let start = *json::document_starts(text).get(document)?;
            let mut found = descend(&*Documents::new(&text[start..]).next()?, item, field)?;
            if found.at.line == 1 {
                let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
                found.at.column += text[line..start].chars().count();
            }
            found.at.line += newlines(&text[..start]);
            Some(found)
        }
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn descend(root: &Node, item: Option<usize>, field: &str) -> Option<Found> {
    let mut node = root;
    let mut at = node.start;
    if let Some(item) = item {
        let (_, items) = node.entry("items")?;
        node = items.item(item)?;
        at = node.start;
    }
    let mut whole = true;
    for segment in segments(field) {
        let next = match segment {
            Segment::Key(key) => node.entry(key),
            Segment::Index(index) => node.item(index).map(|item| (item.start, item)),
        };
        let Some((start, value)) = next else {
            whole = false;
            break;
        };
        (at, node) = (start, value);
    }
    let literal = match &node.resolved().kind {
        Kind::Literal(text) if whole => Some((text.clone(), node.resolved().start)),
        _ => None,
    };
    Some(Found { at, literal })
}

#[derive(Debug, PartialEq)]
enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// The steps of a field path; ends early where it is malformed.
fn segments(mut field: &str) -> impl Iterator<Item = Segment<'_>> {
    std::iter::from_fn(move || {
        field = field.strip_prefix('.').unwrap_or(field);
        if field.is_empty() {
            return None;
        }
        if let Some(quoted) = field.strip_prefix("[\"") {
            let (key, rest) = quoted.split_once("\"]")?;
            field = rest;
            return Some(Segment::Key(key));
        }
        if let Some(index) = field.strip_prefix('[') {
            let (index, rest) = index.split_once(']')?;
            field = rest;
            return index.parse().ok().map(Segment::Index);
        }
        let end = field.find(['.', '[']).unwrap_or(field.len());
        let (key, rest) = field.split_at(end);
        field = rest;
        Some(Segment::Key(key))
    })
}

#[derive(Debug)]
struct Node {
    start: At,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Scalar {
        null: bool,
    },
    Literal(String),
    Sequence(Vec<Rc<Node>>),
    /// Keys that are no scalars are left out.
    Mapping(Vec<(String, At, Rc<Node>)>),
    Alias(Option<Rc<Node>>),
}

impl Node {
    /// The node that an alias stands for.
    fn resolved(&self) -> &Node {
        match &self.kind {
            Kind::Alias(Some(target)) => target.resolved(),
            _ => self,
        }
    }

    /// The position of a key and its value; merged-in keys come after the mapping's own.
    fn entry(&self, key: &str) -> Option<(At, &Node)> {
        let Kind::Mapping(entries) = &self.resolved().kind else {
            return None;
        };
        if let Some((_, at, value)) = entries.iter().find(|(name, ..)| name == key) {
            return Some((*at, value));
        }
        entries
            .iter()
            .filter(|(name, ..)| name == "<<")
            .find_map(|(.., merged)| match &merged.resolved().kind {
                Kind::Sequence(sources) => sources.iter().find_map(|source| source.entry(key)),
                _ => merged.entry(key),
            })
    }

    fn item(&self, index: usize) -> Option<&Node> {
        match &self.resolved().kind {
            Kind::Sequence(items) => items.get(index).map(|item| &**item),
            _ => None,
        }
    }
}

/// The documents of a YAML stream without the empty ones, up to the first error: counted as
/// [`crate::manifest::parse`] counts them.
struct Documents<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl<'a> Documents<'a> {
    fn new(text: &'a str) -> Self {
        let options = granit_parser::options! { emit_comments: false };
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
        }
    }

    fn event(&mut self) -> Option<(Event<'a>, Marker)> {
        let (event, span) = self.parser.next_event()?.ok()?;
        Some((event, span.start))
    }

    /// The node that begins with an event; `None` if the event only closes something.
    fn node(&mut self, event: Event<'a>, start: Marker) -> Option<Rc<Node>> {
        let (kind, anchor) = match event {
            Event::Scalar(value, style, anchor, tag) => {
                let kind = match style {
                    ScalarStyle::Literal => Kind::Literal(value.into_owned()),
                    ScalarStyle::Plain => {
                        let empty = matches!(&*value, "" | "~" | "null" | "Null" | "NULL");
                        Kind::Scalar {
                            null: empty && tag.is_none(),
                        }
                    }
                    _ => Kind::Scalar { null: false },
                };
                (kind, anchor)
            }
            Event::Alias(anchor) => (Kind::Alias(self.anchors.get(&anchor).cloned()), 0),
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, start) = self.event()?;
                    match self.node(event, start) {
                        Some(item) => items.push(item),
                        None => break,
                    }
                }
                (Kind::Sequence(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let mut entries = Vec::new();
                loop {
                    let (event, start) = self.event()?;
                    let name = match &event {
                        Event::Scalar(name, ..) => Some(name.to_string()),
                        _ => None,
                    };
                    if self.node(event, start).is_none() {
                        break;
                    }
                    let (event, value_start) = self.event()?;
                    let value = self.node(event, value_start)?;
                    if let Some(name) = name {
                        entries.push((name, start.into(), value));
                    }
                }
                (Kind::Mapping(entries), anchor)
            }
            _ => return None,
        };
        let node = Rc::new(Node {
            start: start.into(),
            kind,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Some(node)
    }
}

impl Iterator for Documents<'_> {
    type Item = Rc<Node>;

    fn next(&mut self) -> Option<Rc<Node>> {
        loop {
            let (event, start) = self.event()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {
                    self.anchors.clear();
                }
                Event::StreamEnd => return None,
                event => {
                    let node = self.node(event, start)?;
                    if !matches!(node.kind, Kind::Scalar { null: true }) {
                        return Some(node);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
