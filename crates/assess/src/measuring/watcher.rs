//! Progress and cancellation.

use std::cell::Cell;

use crate::options::{Progress, Stage, Watch};
use crate::{Error, Result};

/// Reports the progress to the caller, who may end the assessment.
pub(super) struct Watcher<'a> {
    watch: Option<Watch<'a>>,
    cancelled: Cell<bool>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(watch: Option<Watch<'a>>) -> Self {
        Self { watch, cancelled: Cell::new(false) }
    }

    /// Reports that this many images of a stage were read.
    ///
    /// # Errors
    /// [`Error::Cancelled`] where the caller ends the assessment.
    pub(super) fn see(&self, stage: Stage, images: usize) -> Result<()> {
        let goes_on = self.watch.is_none_or(|watch| watch(Progress { stage, images }).is_continue());
        if goes_on {
            return Ok(());
        }
        self.cancelled.set(true);
        Err(cancelled(stage))
    }

    /// The error of a stage, which is a cancellation if the caller ended the assessment inside it.
    pub(super) fn error(&self, stage: Stage, error: Error) -> Error {
        if self.cancelled.get() { cancelled(stage) } else { error }
    }
}

fn cancelled(stage: Stage) -> Error {
    Error::Cancelled { stage: stage.to_string() }
}
