//! `nuncio diff`: what would change for traffic.
//!
//! ```text
//!  OLD ──▶ Gateway ──┐
//!                    ├──▶ compare ──▶ Changes ──▶ text, JSON
//!  NEW ──▶ Gateway ──┘
//! ```

mod compare;
mod drain;
mod fields;
mod routes;
mod text;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::{DiffArgs, DiffOutput};
use crate::environment::Environment;
use crate::resources::{self, Resources};

pub use compare::compare;
pub use fields::Field;

/// Nothing would change.
const SAME: u8 = 0;
/// Something would.
const DIFFERENT: u8 = 1;
/// It could not be compared.
const TROUBLE: u8 = 2;

/// What is different between two gateways, for traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    pub listeners: Vec<Change>,
    pub virtual_hosts: Vec<VirtualHostChange>,
    pub clusters: Vec<Change>,
    pub endpoints: Vec<Change>,
    pub certificates: Vec<Change>,
    pub filters: Vec<Change>,
    pub runtime: Vec<Field>,
    /// Connections of clients that Envoy would drain.
    pub drains: Vec<Drain>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Added,
    Removed,
    Changed,
    /// Tried at another place among the others.
    Moved,
}

/// One object that is there, is not, or is another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub kind: Kind,
    pub what: String,
    /// The resource that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// Domains of one listener whose routes change alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualHostChange {
    pub kind: Kind,
    pub listener: String,
    pub domains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    pub routes: Vec<Change>,
}

/// Connections that are told to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drain {
    pub listener: String,
    /// Those of one filter chain; all without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_chain: Option<String>,
    pub why: String,
}

pub fn run(args: &DiffArgs) -> ExitCode {
    match diff(args, &mut anstream::stdout().lock()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("nuncio: {error:#}");
            ExitCode::from(TROUBLE)
        }
    }
}

fn diff(args: &DiffArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let environment = Environment::read().map_err(anyhow::Error::msg)?;
    let settings = resources::settings(&args.scope, &environment)?;
    let read = |path: &PathBuf| {
        let paths = std::slice::from_ref(path);
        Resources::read(paths, &environment, &settings)
    };
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    // What is not in effect is not compared.
    old.say_errors();
    new.say_errors();
    let changes = compare(&old.gateway, &new.gateway);
    match args.output {
        DiffOutput::Text => text::write(out, &changes)?,
        DiffOutput::Json => writeln!(out, "{:#}", serde_json::to_value(&changes)?)?,
    }
    Ok(if changes.is_empty() { SAME } else { DIFFERENT })
}
