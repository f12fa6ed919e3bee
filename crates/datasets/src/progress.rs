//! The progress of downloads and other long work. This crate prints nothing.

/// Receives the progress of downloads and of other long work. Every method may be called from any thread.
pub trait Progress: Send + Sync {
    /// Work on `what` begins. `total` is its number of steps: the bytes of a download, 0 if unknown.
    fn start(&self, what: &str, total: u64);

    /// `done` steps are complete, counted from the start. The number can decrease if the work restarts.
    fn at(&self, what: &str, done: u64);

    /// The work on `what` ended, completed or not.
    fn finish(&self, what: &str);

    /// A message that needs no action, such as a repeated download or skipped files.
    fn note(&self, message: &str) {
        let _ = message;
    }
}

/// Ignores all progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet;

impl Progress for Quiet {
    fn start(&self, _: &str, _: u64) {}

    fn at(&self, _: &str, _: u64) {}

    fn finish(&self, _: &str) {}
}
