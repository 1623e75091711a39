//! What is made of the command line itself: completions, manual pages, `docs/cli.md`.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::{Cli, CompletionsArgs, ManArgs};

/// Prints a shell's completions.
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    clap_complete::generate(args.shell, &mut Cli::command(), "nuncio", &mut io::stdout());
    ExitCode::SUCCESS
}

/// Writes a manual page for each command.
pub fn man(args: &ManArgs) -> ExitCode {
    match write_man(&args.folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nuncio: cannot write to {}: {error}", args.folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write_man(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let command = built();
    page(&command, folder)?;
    for subcommand in command.get_subcommands() {
        page(subcommand, folder)?;
    }
    Ok(())
}

fn page(command: &Command, folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    fs::write(folder.join(format!("{name}.1")), text)
}

/// The whole command line, with what clap adds to it. `help` is a page of its own nowhere.
fn built() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

const INTRODUCTION: &str = "\
# The command line

Made of what `--help` says. Text is coloured on a terminal only, and never when the variable
`NO_COLOR` is set; `CLICOLOR_FORCE=1` colours it anywhere.
";

/// `docs/cli.md`.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for command in built().get_subcommands() {
        let about = command.get_long_about().or(command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        let name = command.get_name();
        let _ = write!(
            text,
            "\n## nuncio {name}\n\n```text\n{usage}\n\n{about}\n```\n"
        );
        let arguments: Vec<_> = command
            .get_arguments()
            .filter(|arg| !is_help(arg))
            .collect();
        if arguments.is_empty() {
            continue;
        }
        text.push_str("\n| argument | what it is |\n| --- | --- |\n");
        for argument in arguments {
            let _ = writeln!(
                text,
                "| `{}` | {} |",
                argument_name(argument),
                says(argument)
            );
        }
    }
    text
}

fn is_help(argument: &Arg) -> bool {
    argument.get_id() == "help"
}

fn argument_name(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    let value = values.join(" ");
    match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long} {value}"),
        (_, Some(long)) => format!("--{long} {value}"),
        _ => value,
    }
}

fn says(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string);
    let mut text = help.unwrap_or_default().replace('\n', " ");
    if !text.ends_with('.') {
        text.push('.');
    }
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if !defaults.is_empty() {
        let _ = write!(text, " Default: `{}`.", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " Variable: `{}`.", variable.to_string_lossy());
    }
    text.trim().replace('|', "\\|")
}
