//! What was read, in a form to be kept for a start at which it cannot be read.
//!
//! A line that says what it is and in which version, then JSON in an LZ4 frame, then a checksum of
//! all before it. It holds objects as they were written, so that whoever reads it does with them
//! what is done with those of a manifest.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use nuncio_api::{Body, RawObject, SourceRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The first line. The number changes with everything after it.
const MAGIC: &[u8] = b"nuncio kept 1\n";

/// What the first line of every version begins with.
const ANY_MAGIC: &[u8] = b"nuncio kept ";

const CHECKSUM: usize = size_of::<u128>();

/// Why a kept file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not what nuncio keeps")]
    Foreign,
    #[error("was kept by another version of nuncio")]
    Version,
    #[error("is damaged or not whole: its checksum is not that of its content")]
    Damaged,
    #[error("is damaged: {0}")]
    Content(#[from] serde_json::Error),
}

/// The files of one root: a folder, a file, or an API server whose kinds stand for its files.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptRoot<T> {
    path: PathBuf,
    /// Seconds since 1970.
    read_at: u64,
    pub(crate) files: Vec<KeptFile<T>>,
}

/// The last good objects of one file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptFile<T> {
    /// Its path in the root.
    pub(crate) name: String,
    pub(crate) objects: Vec<T>,
    /// Kinds of objects that may be in it and were never read.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) unread: Vec<String>,
}

/// An object and its place in its file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptObject<T = Value> {
    pub(crate) document: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) item: Option<usize>,
    pub(crate) body: T,
}

impl From<&RawObject> for KeptObject<Body> {
    fn from(object: &RawObject) -> Self {
        let (document, item) = match &object.source {
            SourceRef::File { document, item, .. } => (*document, *item),
            // Its parent is kept, which has it.
            SourceRef::Annotation { document, .. } => (*document, None),
            SourceRef::Cluster => (0, None),
        };
        Self {
            document,
            item,
            body: object.body.clone(),
        }
    }
}

/// What there is to keep: cheap to take, because it shares its objects.
#[derive(Debug)]
pub struct Content(pub(crate) Vec<KeptRoot<KeptObject<Body>>>);

impl Content {
    /// Whether anything was ever read. If not, what was kept before is worth more.
    pub fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// Writes it as [`Kept::read`] reads it.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&self, writer: impl Write) -> io::Result<()> {
        let mut hashed = Hashed {
            inner: BufWriter::new(writer),
            hash: Xxh3::new(),
        };
        hashed.write_all(MAGIC)?;
        let mut frame = FrameEncoder::new(hashed);
        serde_json::to_writer(&mut frame, &self.0)?;
        let mut hashed = frame.finish()?;
        let checksum = hashed.hash.digest128().to_le_bytes();
        hashed.inner.write_all(&checksum)?;
        hashed.inner.flush()
    }
}

/// Passes on and hashes.
struct Hashed<W> {
    inner: W,
    hash: Xxh3,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What was kept.
#[derive(Debug)]
pub(crate) struct Kept(Vec<KeptRoot<KeptObject>>);

impl Kept {
    /// Reads what [`Content::write`] wrote; `None` if there is nothing.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, KeptError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Self::parse(&bytes).map(Some)
    }

    fn parse(bytes: &[u8]) -> Result<Self, KeptError> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(match bytes.starts_with(ANY_MAGIC) {
                true => KeptError::Version,
                false => KeptError::Foreign,
            });
        };
        let (frame, checksum) = rest
            .len()
            .checked_sub(CHECKSUM)
            .map(|at| rest.split_at(at))
            .ok_or(KeptError::Damaged)?;
        if xxh3_128(&bytes[..MAGIC.len() + frame.len()]).to_le_bytes() != checksum {
            return Err(KeptError::Damaged);
        }
        let json = io::read_to_string(FrameDecoder::new(frame))?;
        Ok(Self(serde_json::from_str(&json)?))
    }

    /// What was kept of a root.
    pub(crate) fn take(&mut self, root: &Path) -> Option<KeptRoot<KeptObject>> {
        let at = self.0.iter().position(|kept| kept.path == root)?;
        Some(self.0.swap_remove(at))
    }
}

impl<T> KeptRoot<T> {
    pub(crate) fn new(root: PathBuf, read_at: SystemTime, files: Vec<KeptFile<T>>) -> Self {
        let since = read_at.duration_since(UNIX_EPOCH);
        Self {
            path: root,
            read_at: since.map_or(0, |since| since.as_secs()),
            files,
        }
    }

    pub(crate) fn read_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.read_at)
    }
}

#[cfg(test)]
mod tests;
