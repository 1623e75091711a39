//! `nuncio explain`: what becomes of a request, and why.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::Style;
use anyhow::Context;
use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use nuncio_explain::{Explainer, Explanation, Line, Request};
use nuncio_model::{Report, Severity};
use tokio::net::TcpStream;

use crate::cli::{ExplainArgs, ExplainOutput};
use crate::environment::Environment;
use crate::resources::{self, Resources};

/// It could not be explained.
const TROUBLE: u8 = 2;

pub fn run(args: &ExplainArgs) -> ExitCode {
    match explain(args, &mut anstream::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nuncio: {error:#}");
            ExitCode::from(TROUBLE)
        }
    }
}

fn explain(args: &ExplainArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let (paths, url) = paths_and_url(args)?;
    let mut request = Request::parse(&args.method, url, &args.header)?;
    request.listener_port = args.port;
    request.client = args.from;
    let explanation = match args.admin {
        Some(admin) => ask(admin, args, url)?,
        None => of_folders(args, paths, &request)?,
    };
    match args.output {
        ExplainOutput::Text => text(out, &explanation)?,
        ExplainOutput::Json => writeln!(out, "{:#}", serde_json::to_value(&explanation)?)?,
    }
    Ok(())
}

fn paths_and_url(args: &ExplainArgs) -> anyhow::Result<(&[String], &str)> {
    let Some((url, paths)) = args.paths_and_url.split_last() else {
        anyhow::bail!(
            "a URL is missing; write one such as http://shop.example/ as the last argument"
        );
    };
    match (paths.is_empty(), args.admin) {
        (true, None) => anyhow::bail!(
            "it is not said whose request \"{url}\" is; write a folder of manifests before the \
             URL, or --admin and the address of a running nuncio"
        ),
        (false, Some(_)) => anyhow::bail!(
            "a folder and --admin are two gateways; write the one or the other before the URL"
        ),
        _ => Ok((paths, url)),
    }
}

fn of_folders(
    args: &ExplainArgs,
    paths: &[String],
    request: &Request,
) -> anyhow::Result<Explanation> {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let environment = Environment::read().map_err(anyhow::Error::msg)?;
    let settings = resources::settings(&args.scope, &environment)?;
    let resources = Resources::read(&paths, &environment, &settings)?;
    let mut explanation = Explainer::new(&resources.gateway).explain(request);
    explanation.locate(|source| {
        let position = resources.position(&source.resource(), &source.field)?;
        Some(position.to_string())
    });
    explanation.notes.extend(not_in_effect(&resources.report));
    Ok(explanation)
}

/// What is not in effect may be what was meant to take the request.
pub(crate) fn not_in_effect(report: &Report) -> Option<String> {
    let entries = report.entries().iter();
    let mut named: Vec<String> = entries
        .filter(|entry| entry.severity == Severity::Error)
        .map(|entry| entry.resource.to_string())
        .collect();
    named.dedup();
    let count = named.len();
    named.truncate(3);
    let (names, more) = (named.join(", "), if count > 3 { ", …" } else { "" });
    (count > 0).then(|| {
        format!("{count} resources are not in effect as they are written ({names}{more}): see nuncio check")
    })
}

fn text(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let bold = Style::new().bold();
    for Line { label, text } in explanation.lines() {
        writeln!(out, "{bold}{label:<14}{bold:#}{text}")?;
    }
    Ok(())
}

/// The path of the admin port that explains.
const PATH: &str = "/ambassador/v0/diag/explain";

/// Asks a running nuncio.
fn ask(admin: SocketAddr, args: &ExplainArgs, url: &str) -> anyhow::Result<Explanation> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (status, body) = runtime
        .block_on(get(admin, &query(args, url)))
        .with_context(|| format!("cannot ask the nuncio at {admin}; is it running there?"))?;
    if !status.is_success() {
        anyhow::bail!(
            "the nuncio at {admin} answers {status}: {}",
            String::from_utf8_lossy(&body)
        );
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("the nuncio at {admin} explains in another way: use its version"))
}

fn query(args: &ExplainArgs, url: &str) -> String {
    let mut query = format!(
        "{PATH}?url={}&method={}",
        encoded(url),
        encoded(&args.method)
    );
    for header in &args.header {
        query.push_str(&format!("&header={}", encoded(header)));
    }
    if let Some(port) = args.port {
        query.push_str(&format!("&port={port}"));
    }
    if let Some(from) = args.from {
        query.push_str(&format!("&from={}", encoded(&from.to_string())));
    }
    query
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

async fn get(admin: SocketAddr, path: &str) -> anyhow::Result<(http::StatusCode, Bytes)> {
    let request = http::Request::builder()
        .uri(path)
        .header(header::HOST, admin.to_string())
        .body(Empty::<Bytes>::new())?;
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the exchange; what goes wrong shows there.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    Ok((
        response.status(),
        response.into_body().collect().await?.to_bytes(),
    ))
}
