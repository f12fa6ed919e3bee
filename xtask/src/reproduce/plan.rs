//! `--plan`: the runs as a list of commands, one a line, for any program that executes commands.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};

use super::engine::Job;
use crate::files::write_whole;
use crate::output::say;
use crate::shell::line_word;

/// The start of every command: libraries read the number of threads from the environment.
pub(super) const START: &str = "env RAYON_NUM_THREADS=";

/// The command of each run: the one that the local engine starts. A line holds plain words, which need no shell.
pub(super) fn commands(
    program: &[OsString],
    jobs: &[Job],
    threads: usize,
    data_dir: Option<&Path>,
) -> Result<Vec<String>> {
    let mut first = vec![format!("{START}{threads}")];
    first.extend(program.iter().map(|word| line_word(word)).collect::<Result<Vec<_>>>()?);
    first.extend(["run".to_owned(), "--threads".to_owned(), threads.to_string()]);
    if let Some(data_dir) = data_dir {
        let data_dir = std::path::absolute(data_dir).with_context(|| format!("cannot find {}", data_dir.display()))?;
        first.extend(["--data-dir".to_owned(), line_word(data_dir.as_os_str())?]);
    }
    let first = first.join(" ");
    jobs.iter().map(|job| Ok(format!("{first} {}", line_word(job.folder.path().as_os_str())?))).collect()
}

/// Writes the list.
pub(super) fn write(list: &Path, commands: &[String]) -> Result<()> {
    let text: String = commands.iter().map(|command| format!("{command}\n")).collect();
    write_whole(list, text.as_bytes()).context("--plan")?;
    let path = list.display();
    say!("{} commands in {path}, to be run in any order, on any machine that sees the same folders:", commands.len());
    say!("  parallel < {path}");
    say!("  xargs -d '\\n' -n 1 -P 4 sh -c < {path}");
    say!("afterwards, the same command without --plan makes the report");
    Ok(())
}
