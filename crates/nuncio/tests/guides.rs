//! Guides in `docs/` do what they say: their files are written, their commands run, and what stands
//! below a command is in what it prints. Ports are others, so that tests can run at once.
//!
//! A file is a block ```` ```yaml ```` after a line that names it: ``Save this as `folder/name.yaml` ``.
//! Commands are indented lines `$ …`, with what they print below; one that ends with `&` goes on.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nuncio_echo::{Echo, Running, free_port};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use support::{DEADLINE, LOOK};
use tokio::runtime::Runtime;

/// What a guide has, in its order.
enum Part {
    File { name: String, content: String },
    Command { line: String, prints: Vec<String> },
}

fn parts(text: &str) -> Vec<Part> {
    let named = Regex::new("[Ss]ave this as `([^`]+)`").unwrap();
    let mut parts = Vec::new();
    let mut name = None;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(found) = named.captures(line) {
            name = Some(found[1].to_owned());
        } else if line == "```yaml" {
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let content = content.join("\n");
            parts.extend(name.take().map(|name| Part::File { name, content }));
        } else if let Some(line) = line.strip_prefix("    $ ") {
            let mut prints = Vec::new();
            while let Some(line) = lines.next_if(|line| is_printed(line)) {
                prints.push(line.trim().to_owned());
            }
            parts.push(Part::Command {
                line: line.to_owned(),
                prints,
            });
        }
    }
    parts
}

fn is_printed(line: &str) -> bool {
    line.starts_with("    ") && !line.starts_with("    $ ")
}

/// Runs a guide in a folder of its own.
struct Walk {
    folder: tempfile::TempDir,
    /// In place of those in the guide.
    ports: BTreeMap<String, u16>,
    running: Vec<Child>,
    upstreams: Vec<Running>,
    runtime: Runtime,
}

impl Walk {
    /// The same with free ports.
    fn at_free_ports(&mut self, text: &str) -> String {
        let port = Regex::new(r"(127\.0\.0\.1:|0\.0\.0\.0:|port: )(\d{4})\b").unwrap();
        let ports = &mut self.ports;
        let free = |found: &regex::Captures<'_>| {
            let port = ports.entry(found[2].to_owned()).or_insert_with(free_port);
            format!("{}{port}", &found[1])
        };
        port.replace_all(text, free).into_owned()
    }

    fn command(&self, line: &str) -> Command {
        let (program, rest) = line.split_once(' ').unwrap_or((line, ""));
        let program = match program {
            "nuncio" => env!("CARGO_BIN_EXE_nuncio"),
            program => program,
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec {program} {rest}")])
            .current_dir(&self.folder)
            .env("NUNCIO_ENVOY", support::envoy())
            .env("NUNCIO_STATE_DIR", self.folder.path().join("state"))
            .stdin(Stdio::null());
        command
    }

    /// What `nuncio-echo` does, which is a program of another crate.
    fn echo(&mut self, arguments: &str) {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        for pair in words.chunks(2) {
            let ["--listen", listen] = pair else {
                panic!("not an option of nuncio-echo that is known here: {pair:?}");
            };
            let (address, name) = listen.split_once('=').unwrap();
            let echo = Echo::new(name).start(address.parse().unwrap());
            self.upstreams.push(self.runtime.block_on(echo).unwrap());
        }
    }

    fn run(&mut self, line: &str, prints: &[String]) {
        if let Some(line) = line.strip_suffix('&') {
            let mut line = self.at_free_ports(line);
            if let Some(arguments) = line.strip_prefix("nuncio-echo ") {
                self.echo(arguments);
                return;
            }
            if line.starts_with("nuncio run") {
                line.push_str(&format!(" --admin 127.0.0.1:{}", free_port()));
            }
            let log = fs::File::create(self.folder.path().join("log")).unwrap();
            let mut command = self.command(line.trim());
            let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
            self.running.push(child.unwrap());
            return;
        }
        let line = self.at_free_ports(line);
        let prints: Vec<String> = prints.iter().map(|text| self.at_free_ports(text)).collect();
        self.wait_for_ports(&line);
        let end = Instant::now() + DEADLINE;
        loop {
            let output = self.command(&line).output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let missing = prints.iter().find(|part| !printed.contains(part.as_str()));
            let Some(missing) = missing else {
                return;
            };
            // What runs in the background may not be there yet.
            assert!(
                Instant::now() < end,
                "$ {line}\nhas no {missing:?}:\n{printed}\n{}",
                fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until somebody listens on the ports of a URL.
    fn wait_for_ports(&self, line: &str) {
        let port = Regex::new(r"^curl .*127\.0\.0\.1:(\d+)").unwrap();
        let Some(found) = port.captures(line) else {
            return;
        };
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(format!("127.0.0.1:{}", &found[1])).is_err() {
            assert!(Instant::now() < end, "nobody listens for {line}");
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        for child in &mut self.running {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let _ = kill_process(pid.unwrap(), Signal::TERM);
        }
        for child in &mut self.running {
            let _ = child.wait();
        }
    }
}

fn walk(guide: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = fs::read_to_string(path.join(guide)).unwrap();
    let mut walk = Walk {
        folder: tempfile::tempdir().unwrap(),
        ports: BTreeMap::new(),
        running: Vec::new(),
        upstreams: Vec::new(),
        runtime: Runtime::new().unwrap(),
    };
    let mut commands = 0;
    for part in parts(&text) {
        match part {
            Part::File { name, content } => {
                let path = walk.folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, walk.at_free_ports(&content)).unwrap();
            }
            Part::Command { line, prints } => {
                commands += 1;
                walk.run(&line, &prints);
            }
        }
    }
    assert!(commands > 3, "{guide} has few commands");
}

#[test]
fn authentication() {
    walk("auth.md");
}

#[test]
fn rate_limits() {
    walk("ratelimit.md");
}
