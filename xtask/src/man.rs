//! `man`: manual pages, made from the help.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap_mangen::Man;

use crate::command_line::VERSION;
use crate::files::{writable_folder, write_whole};
use crate::output::{self, say};
use crate::program::Program;
use crate::usage::usage;
use crate::{command_line, suggest};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command [default: all of them in one page]
    command: Option<String>,
    /// Write a page for each command into this folder, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn man(args: &Args, program: &Program) -> Result<()> {
    let definition = command_line::definition(program);
    if let Some(folder) = &args.out {
        writable_folder(folder)?;
        for (name, page) in pages(definition)? {
            let path = folder.join(format!("{name}.1"));
            write_whole(&path, &page)?;
            say!("{}", path.display());
        }
        return Ok(());
    }
    let pages = pages(definition)?;
    let wanted =
        args.command.as_ref().map_or_else(|| program.name().to_owned(), |name| format!("{}-{name}", program.name()));
    let page = pages.iter().find(|(name, _)| *name == wanted).map(|(_, page)| page);
    let page = page.ok_or_else(|| {
        let prefix = format!("{}-", program.name());
        let known = pages.iter().filter_map(|(name, _)| name.strip_prefix(&prefix));
        usage(anyhow!(suggest::unknown("command", args.command.as_deref().unwrap_or_default(), known)))
    })?;
    output::print(&String::from_utf8_lossy(page));
    Ok(())
}

/// The name and the text of the page of each command that is not hidden, that of the program first.
fn pages(definition: clap::Command) -> Result<Vec<(String, Vec<u8>)>> {
    let name = definition.get_name().to_owned();
    let mut pages = Vec::new();
    add_pages(definition, &name, &name, &mut pages)?;
    Ok(pages)
}

/// Adds the page of a command and those of its subcommands.
fn add_pages(command: clap::Command, name: &str, shown: &str, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let subcommands: Vec<clap::Command> =
        command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    pages.push((
        name.to_owned(),
        page(command.display_name(name.to_owned()).bin_name(shown.to_owned()).version(VERSION.as_str()))?,
    ));
    for command in subcommands {
        let own = command.get_name().to_owned();
        add_pages(command, &format!("{name}-{own}"), &format!("{shown} {own}"), pages)?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.disable_help_subcommand(true)).render(&mut text).context("cannot write a manual page")?;
    Ok(text)
}
