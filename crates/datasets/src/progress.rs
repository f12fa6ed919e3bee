//! How long work is going: told to whoever draws the bars. This crate prints nothing.

/// Receives the progress of downloads and of other long work; every method may be called from any thread.
pub trait Progress: Send + Sync {
    /// Work begins on `what`, which takes `total` steps (bytes of a download).
    fn start(&self, what: &str, total: u64);

    /// So many steps are done now, counted from the start; fewer than before after work had to begin anew.
    fn at(&self, what: &str, done: u64);

    /// The work on `what` is over, done or not.
    fn finish(&self, what: &str);

    /// Something that the user should know and need not act on, such as a decoded cache that had to be made anew.
    fn note(&self, message: &str) {
        let _ = message;
    }
}

/// Progress that nobody watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet;

impl Progress for Quiet {
    fn start(&self, _: &str, _: u64) {}

    fn at(&self, _: &str, _: u64) {}

    fn finish(&self, _: &str) {}
}
