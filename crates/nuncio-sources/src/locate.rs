//! From an object and a field path back to a line and a column.
//!
//! Objects carry no positions: they would cost memory and time for every object, and are wanted
//! only for the few that a message is about. The text is parsed again then, once for all that is
//! wanted of it.

mod node;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use nuncio_api::SourceRef;

use crate::manifest::{Syntax, json};
use node::{At, Documents, Kind, Literal, Node, Segment, segments};

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

/// Where fields of objects stand, in the order in which they are asked for; `None` for what came
/// from no file. `read` gives the text of a file, once for each.
///
/// An object from an annotation is found in the file of the object that carries it: exactly when
/// the annotation is a literal block, else at the annotation.
pub fn positions<'a>(
    wanted: impl IntoIterator<Item = (Option<&'a SourceRef>, &'a str)>,
    mut read: impl FnMut(&str) -> Option<String>,
) -> Vec<Option<Position>> {
    let mut positions = Vec::new();
    let mut of_file: BTreeMap<&Arc<str>, Vec<(usize, &SourceRef, &str)>> = BTreeMap::new();
    for (index, (source, field)) in wanted.into_iter().enumerate() {
        positions.push(None);
        if let Some(source) = source
            && let Some(file) = file(source)
        {
            let wanted = of_file.entry(file).or_default();
            wanted.push((index, source, field));
        }
    }
    // File by file, so that one tree at a time is held.
    for (path, wanted) in of_file {
        let Some(tree) = read(path).map(|text| Tree::parse(&text, Syntax::of(path))) else {
            continue;
        };
        for (index, source, field) in wanted {
            positions[index] = tree.place(source, field).map(|at| Position {
                file: Arc::clone(path),
                line: at.line,
                column: at.column,
            });
        }
    }
    positions
}

/// The file that an object came from.
fn file(source: &SourceRef) -> Option<&Arc<str>> {
    match source {
        SourceRef::File { path, .. } => Some(path),
        SourceRef::Annotation { parent, .. } => file(parent),
        SourceRef::Cluster => None,
    }
}

/// A parsed text.
pub(crate) struct Tree {
    /// Without the empty ones.
    documents: Vec<Document>,
}

struct Document {
    root: Rc<Node>,
    /// What comes before it in the text: whole lines, and columns of its first line.
    above: usize,
    before: usize,
}

impl Tree {
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Self {
        let documents = match syntax {
            Syntax::Yaml => Documents::new(text)
                .map(|root| Document {
                    root,
                    above: 0,
                    before: 0,
                })
                .collect(),
            Syntax::Json => {
                let (mut above, mut before, mut counted) = (0, 0, 0);
                json::document_starts(text)
                    .into_iter()
                    .map_while(|start| {
                        let root = Documents::new(&text[start..]).next()?;
                        let between = &text[counted..start];
                        counted = start;
                        above += between.matches('\n').count();
                        match between.rsplit_once('\n') {
                            Some((_, last)) => before = last.chars().count(),
                            None => before += between.chars().count(),
                        }
                        Some(Document {
                            root,
                            above,
                            before,
                        })
                    })
                    .collect()
            }
        };
        Self { documents }
    }

    /// Line and column, from 1, of a field such as `spec.headers["a.b"]` or `spec.group[1]`; of
    /// its nearest existing parent if the field itself is missing. An empty field is the object
    /// itself.
    pub(crate) fn locate(
        &self,
        document: usize,
        item: Option<usize>,
        field: &str,
    ) -> Option<(usize, usize)> {
        let found = self.find(document, item, field)?;
        Some((found.at.line, found.at.column))
    }

    /// The first line of each document, with those of its items if it is a list.
    pub(crate) fn lines(&self) -> Vec<DocumentLines> {
        let lines = |document: &Document| {
            let line = |node: &Node| document.at(node.start).line;
            let items = document.root.entry("items");
            let items = match items.map(|(_, items)| &items.resolved().kind) {
                Some(Kind::Sequence(items)) => items.iter().map(|item| line(item)).collect(),
                _ => Vec::new(),
            };
            DocumentLines {
                line: line(&document.root),
                items,
            }
        };
        self.documents.iter().map(lines).collect()
    }

    fn place(&self, source: &SourceRef, field: &str) -> Option<At> {
        let (parent, document) = match source {
            SourceRef::File { document, item, .. } => {
                return Some(self.find(*document, *item, field)?.at);
            }
            SourceRef::Annotation { parent, document } => (parent, document),
            SourceRef::Cluster => return None,
        };
        let SourceRef::File {
            document: parent_document,
            item,
            ..
        } = &**parent
        else {
            return self.place(parent, CONFIG_ANNOTATION);
        };
        let found = self.find(*parent_document, *item, CONFIG_ANNOTATION)?;
        let inside = found.literal.and_then(|(literal, start)| {
            let at = locate_folded(literal.documents().get(*document)?, field)?;
            // The scalar starts at its first line that is not blank.
            let text = &literal.text;
            let blank = text.len() - text.trim_start_matches('\n').len();
            Some(At {
                line: start.line + at.line - 1 - blank,
                column: start.column + at.column - 1,
            })
        });
        Some(inside.unwrap_or(found.at))
    }

    fn find(&self, document: usize, item: Option<usize>, field: &str) -> Option<Found<'_>> {
        let document = self.documents.get(document)?;
        let mut found = descend(&document.root, item, field)?;
        found.at = document.at(found.at);
        Some(found)
    }
}

impl Document {
    /// Where in the text something of the document is.
    fn at(&self, at: At) -> At {
        let before = if at.line == 1 { self.before } else { 0 };
        At {
            line: at.line + self.above,
            column: at.column + before,
        }
    }
}

/// Where a document and its items begin.
#[derive(Debug)]
pub(crate) struct DocumentLines {
    pub(crate) line: usize,
    pub(crate) items: Vec<usize>,
}

struct Found<'a> {
    at: At,
    /// A literal block scalar and where it begins, if the whole path exists and leads to one.
    literal: Option<(&'a Literal, At)>,
}

/// A field in an annotation: there the fields of `spec` and `metadata` may stand at the root.
fn locate_folded(root: &Node, field: &str) -> Option<At> {
    let folded = ["spec.", "metadata."]
        .into_iter()
        .find_map(|parent| field.strip_prefix(parent))
        .filter(|rest| match segments(rest).next() {
            Some(Segment::Key(name)) => root.entry(name).is_some(),
            _ => false,
        });
    Some(descend(root, None, folded.unwrap_or(field))?.at)
}

fn descend<'a>(root: &'a Node, item: Option<usize>, field: &str) -> Option<Found<'a>> {
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
        Kind::Literal(literal) if whole => Some((literal, node.resolved().start)),
        _ => None,
    };
    Some(Found { at, literal })
}

#[cfg(test)]
mod tests;
