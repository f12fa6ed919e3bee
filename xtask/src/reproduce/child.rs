//! The protocol between the process of a run and its parent: exit codes, lines of progress, and the end of the child with
//! its parent.

use std::io::Read;

use serde::{Deserialize, Serialize};

/// Exit code of a run that could not write because the disk, or the user's share of it, is full.
pub(crate) const NO_SPACE: u8 = 4;

/// Exit code of a run whose parent has ended.
const ORPHANED: i32 = 3;

/// The progress of a run, which its process prints as one line of JSON.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct RunProgress {
    /// Share of the run's steps that are done.
    pub(super) share: f64,
    /// Training images seen so far.
    pub(super) images: u64,
}

/// Ends this process as soon as its standard input is closed.
///
/// The parent holds the other end of the pipe. The system closes it when the parent ends, even by SIGKILL, so that no run is
/// left without the process that started it.
pub(super) fn end_with_parent() {
    std::thread::spawn(|| {
        // An error of the pipe means the same as its end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(ORPHANED);
    });
}

/// Whether the system had no space for what was written.
///
/// The error is recognized by its text: errors of other crates contain the system's message, but not always its error code.
pub(super) fn is_no_space(error: &anyhow::Error) -> bool {
    // ENOSPC, EDQUOT and EFBIG.
    let text = format!("{error:#}");
    ["(os error 28)", "(os error 122)", "(os error 27)"].iter().any(|code| text.contains(code))
}
