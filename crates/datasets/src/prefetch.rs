//! Batches that a background thread prepares.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use crate::{Batch, Batches, Error, Position, Result};

/// The batches from a position on, prepared by a background thread. They have the same bits as without it.
///
/// Dropping the iterator ends the thread.
#[derive(Debug)]
pub struct Prefetch {
    batches: Option<Receiver<Result<Batch>>>,
    worker: Option<JoinHandle<()>>,
}

impl Prefetch {
    pub(crate) fn new(batches: Batches, start: Position, ahead: usize) -> Self {
        let (sender, receiver) = sync_channel(ahead);
        let work = move || {
            for position in batches.positions(start) {
                // The iterator was dropped.
                if sender.send(batches.get(position)).is_err() {
                    return;
                }
            }
        };
        let worker = std::thread::Builder::new().name("datasets-prefetch".to_owned()).spawn(work);
        match worker {
            Ok(worker) => Self { batches: Some(receiver), worker: Some(worker) },
            Err(source) => {
                // Without a thread, the only item is the error.
                let (sender, receiver) = sync_channel(1);
                let _ = sender.send(Err(Error::io("start", "the prefetch thread")(source)));
                Self { batches: Some(receiver), worker: None }
            }
        }
    }
}

impl Iterator for Prefetch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.as_ref()?.recv().ok()
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Closing the channel first ends a thread that waits to send.
        self.batches = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}
