//! `nuncio crds`: what to tell a cluster of getambassador.io and gateway.nuncio.dev.

use std::io::{self, Write as _};
use std::process::ExitCode;

use nuncio_api::getambassador::crd::{CrdOptions, crds};
use nuncio_api::policy;
use serde_json::{Value, json};

use crate::cli::{CrdsArgs, FileFormat};
use crate::render::yaml;

pub fn run(args: &CrdsArgs) -> ExitCode {
    let options = CrdOptions {
        conversion: (!args.v3alpha1_only).then(|| args.conversion_webhook.0.clone()),
    };
    let all: Vec<Value> = crds(&options)
        .into_iter()
        .chain(policy::crd::crds())
        .collect();
    let text = text(&all, args.format);
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nuncio: cannot write to standard output: {error}");
            ExitCode::from(2)
        }
    }
}

fn text(crds: &[Value], format: FileFormat) -> String {
    match format {
        FileFormat::Yaml => crds
            .iter()
            .map(|crd| format!("---\n{}", yaml(crd)))
            .collect(),
        FileFormat::Json => {
            format!(
                "{:#}\n",
                json!({"apiVersion": "v1", "kind": "List", "items": crds})
            )
        }
    }
}
