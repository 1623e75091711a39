//! The report: every problem with every resource, in one type of entry.
//!
//! Logs, the diagnostics page, status and the command line print from it; nothing else invents
//! messages.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Names one resource, whatever version of its kind it was written in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct ResourceId {
    /// API group, empty for the core group.
    pub group: Arc<str>,
    pub kind: Arc<str>,
    /// Empty for what has no namespace.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ResourceId {
    pub fn new(
        group: impl Into<Arc<str>>,
        kind: impl Into<Arc<str>>,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Which resource, and which of its fields, caused a model object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Origin {
    pub resource: Arc<ResourceId>,
    /// Path of the field in the resource (`spec.prefix`), empty for the resource as a whole.
    pub field: Arc<str>,
}

impl Origin {
    pub fn new(resource: Arc<ResourceId>) -> Self {
        Self {
            resource,
            field: Arc::from(""),
        }
    }

    /// The same resource at a field of it.
    pub fn field(&self, field: impl Into<Arc<str>>) -> Self {
        Self {
            resource: Arc::clone(&self.resource),
            field: field.into(),
        }
    }
}

/// How much of a resource's effect a problem costs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; everything is in effect.
    Notice,
    /// In effect, but not as written: a field is ignored or something is surprising.
    Warning,
    /// The resource, or the part of it that is named, is not in effect.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// Stable codes for scripts and dashboards; the message says the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Reason {
    /// A file or an annotation that is not YAML or JSON.
    ParseError,
    /// A source that cannot be read.
    Unreadable,
    /// What the API server does not let nuncio do.
    Forbidden,
    /// The same object more than once.
    Duplicate,
    /// A field whose value has the wrong type or is out of range.
    InvalidValue,
    /// A required field is missing.
    MissingField,
    /// A field that the kind does not have.
    UnknownField,
    /// A field, a kind or a version that nuncio does not honour.
    NotSupported,
    /// A field that has no effect where it stands.
    NoEffect,
    /// A reference to something that does not exist.
    RefNotFound,
    /// A reference to something that exists but cannot be used.
    RefInvalid,
    /// Two resources want the same thing.
    Conflict,
    /// Nothing takes the resource up: no Listener, no Host.
    NotBound,
    /// No request reaches it: another takes them all.
    Shadowed,
    /// Valid, and likely to do something else than it seems to.
    Surprising,
    /// Envoy refused what came of the resource.
    Refused,
    /// The resource is left out, because Envoy refused what came of it.
    LeftOut,
    /// Envoy stopped.
    EnvoyExited,
    /// What is in effect cannot be kept for the next start.
    NotKept,
}

impl Reason {
    /// What all problems with this code have in common.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::ParseError => "A file or an annotation is not YAML or JSON",
            Self::Unreadable => "A source cannot be read",
            Self::Forbidden => "The API server does not let nuncio do what it needs to do",
            Self::Duplicate => "The same object is there more than once",
            Self::InvalidValue => "A field's value has the wrong type or is out of range",
            Self::MissingField => "A required field is missing",
            Self::UnknownField => "The kind does not have the field",
            Self::NotSupported => "A field, a kind or a version is not honoured",
            Self::NoEffect => "A field has no effect where it stands",
            Self::RefNotFound => "What is referred to does not exist",
            Self::RefInvalid => "What is referred to cannot be used",
            Self::Conflict => "Two resources want the same thing",
            Self::NotBound => "Nothing takes the resource up",
            Self::Shadowed => "No request reaches it: another takes them all",
            Self::Surprising => "It is likely to do something else than it seems to",
            Self::Refused => "Envoy refused what came of the resource",
            Self::LeftOut => "The resource is left out, because Envoy refused what came of it",
            Self::EnvoyExited => "Envoy stopped",
            Self::NotKept => "What is in effect cannot be kept for the next start",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One problem with one resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Entry {
    pub resource: Arc<ResourceId>,
    /// Path of the field, empty for the resource as a whole.
    pub field: Arc<str>,
    pub severity: Severity,
    pub reason: Reason,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Entry {
    pub fn new(
        at: &Origin,
        severity: Severity,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            resource: Arc::clone(&at.resource),
            field: Arc::clone(&at.field),
            severity,
            reason,
            message: message.into(),
            help: None,
        }
    }

    /// Says what to write instead.
    pub fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        write!(f, " [{}]", self.reason)
    }
}

/// Collects entries in the order in which they are found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Report {
    entries: Vec<Entry>,
}

impl Report {
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn error(&mut self, at: &Origin, reason: Reason, message: impl Into<String>) -> &mut Entry {
        self.add(Entry::new(at, Severity::Error, reason, message))
    }

    pub fn warning(
        &mut self,
        at: &Origin,
        reason: Reason,
        message: impl Into<String>,
    ) -> &mut Entry {
        self.add(Entry::new(at, Severity::Warning, reason, message))
    }

    pub fn notice(
        &mut self,
        at: &Origin,
        reason: Reason,
        message: impl Into<String>,
    ) -> &mut Entry {
        self.add(Entry::new(at, Severity::Notice, reason, message))
    }

    fn add(&mut self, entry: Entry) -> &mut Entry {
        self.entries.push(entry);
        self.entries
            .last_mut()
            .expect("invariant: an entry was just pushed")
    }

    pub fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts the entries into an order that depends only on what they say, once each.
    pub fn sort(&mut self) {
        self.entries.sort();
        self.entries.dedup();
    }
}
