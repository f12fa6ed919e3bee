//! The program in which the commands run.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

/// The name of the workspace's own program in examples, which other programs replace by theirs.
pub(crate) const WORKSPACE: &str = "cargo xtask";

/// The program in which the commands run: its name for people, and how it starts another process of itself.
///
/// ```
/// use xtask::Program;
///
/// // A Python package starts its runs by the interpreter.
/// let program = Program::installed("geometric-collapse").started_by(["python", "-m", "geometric_collapse"]);
/// assert_eq!(program.name(), "geometric-collapse");
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    shown: &'static str,
    /// The words that start it; none for the file of this process.
    words: Option<Vec<OsString>>,
    in_workspace: bool,
}

impl Program {
    /// A program that is installed under this name.
    pub fn installed(name: &'static str) -> Self {
        Self { name, shown: name, words: None, in_workspace: false }
    }

    /// The program of the workspace, `cargo xtask`, with the commands that need its sources.
    pub fn workspace() -> Self {
        Self { name: "xtask", shown: WORKSPACE, words: None, in_workspace: true }
    }

    /// The same program, started by these words instead of the file of this process. The arguments follow them.
    pub fn started_by<W: Into<OsString>>(self, words: impl IntoIterator<Item = W>) -> Self {
        Self { words: Some(words.into_iter().map(Into::into).collect()), ..self }
    }

    /// The name of its file.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What people type to start it.
    pub(crate) fn shown(&self) -> &'static str {
        self.shown
    }

    /// Whether it has the commands that need the sources.
    pub(crate) fn in_workspace(&self) -> bool {
        self.in_workspace
    }

    /// The words that start another process of it.
    pub(crate) fn words(&self) -> Result<Vec<OsString>> {
        match &self.words {
            Some(words) => Ok(words.clone()),
            None => {
                let own = std::env::current_exe().context("cannot find the path of this program")?;
                Ok(vec![own.into_os_string()])
            }
        }
    }
}

/// A command of these words; the arguments follow.
pub(crate) fn start(words: &[OsString]) -> Result<Command> {
    let [program, arguments @ ..] = words else { anyhow::bail!("no words start this program") };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}
