//! A text's nodes with the places where they start.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, StrInput};

#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl From<Marker> for At {
    fn from(marker: Marker) -> Self {
        At {
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// The steps of a field path; ends early where it is malformed.
pub(super) fn segments(mut field: &str) -> impl Iterator<Item = Segment<'_>> {
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
pub(super) struct Node {
    pub(super) start: At,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar {
        null: bool,
    },
    Literal(Literal),
    Sequence(Vec<Rc<Node>>),
    /// Keys that are no scalars are left out.
    Mapping(Vec<(String, At, Rc<Node>)>),
    Alias(Option<Rc<Node>>),
}

/// A literal block scalar, which may hold YAML in turn.
#[derive(Debug)]
pub(super) struct Literal {
    pub(super) text: String,
    documents: OnceCell<Vec<Rc<Node>>>,
}

impl Literal {
    /// The documents of the text, parsed when first asked for.
    pub(super) fn documents(&self) -> &[Rc<Node>] {
        self.documents
            .get_or_init(|| Documents::new(&self.text).collect())
    }
}

impl Node {
    /// The node that an alias stands for.
    pub(super) fn resolved(&self) -> &Node {
        match &self.kind {
            Kind::Alias(Some(target)) => target.resolved(),
            _ => self,
        }
    }

    /// The position of a key and its value; merged-in keys come after the mapping's own.
    pub(super) fn entry(&self, key: &str) -> Option<(At, &Node)> {
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

    pub(super) fn item(&self, index: usize) -> Option<&Node> {
        match &self.resolved().kind {
            Kind::Sequence(items) => items.get(index).map(|item| &**item),
            _ => None,
        }
    }
}

/// The documents of a YAML stream without the empty ones, up to the first error: counted as
/// [`crate::manifest::parse`] counts them.
pub(super) struct Documents<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl<'a> Documents<'a> {
    pub(super) fn new(text: &'a str) -> Self {
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
                    ScalarStyle::Literal => Kind::Literal(Literal {
                        text: value.into_owned(),
                        documents: OnceCell::new(),
                    }),
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
