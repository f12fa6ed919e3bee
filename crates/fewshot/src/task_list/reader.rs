//! Reads task lists episode by episode, and refuses lists of other data.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{FORMAT, Header, Line, VERSION};
use crate::checksum::{EpisodesChecksum, episode_checksum, labels_checksum};
use crate::{Episode, Error, Result};

/// The longest line, in bytes: rows of more than ten million samples.
const LONGEST_LINE: u64 = 128 << 20;

/// An iterator over the episodes of a task list, each checked against the labels.
///
/// **Errors** as items: [`Error::TaskListLine`], [`Error::TaskListEpisode`], [`Error::TaskListTruncated`],
/// [`Error::Stream`]. The iterator ends after an error.
///
/// ```
/// use fewshot::{EpisodeSampler, Error, TaskListReader, TaskListWriter};
/// let labels: Vec<u32> = (0..40).map(|i| i % 4).collect();
/// let sampler = EpisodeSampler::fixed(&labels, 2, 1, 3, 5)?;
/// let mut list = TaskListWriter::new(Vec::new(), &labels, Some(&sampler))?;
/// sampler.episodes().take(10).try_for_each(|episode| list.write(&episode))?;
/// let file = list.finish()?;
/// assert!(TaskListReader::new(&file[..], &labels)?.zip(sampler.episodes()).all(|(a, b)| a.is_ok_and(|a| a == b)));
/// let other = vec![0; 40];
/// assert!(matches!(TaskListReader::new(&file[..], &other), Err(Error::TaskListChecksum { .. })));
/// # fewshot::Result::Ok(())
/// ```
pub struct TaskListReader<'a, R: BufRead> {
    reader: R,
    labels: &'a [u32],
    line: usize,
    episodes: usize,
    checksum: EpisodesChecksum,
    done: bool,
}

impl<'a> TaskListReader<'a, BufReader<File>> {
    /// Opens a file of tasks for these labels.
    ///
    /// **Errors** [`Error::Io`], and those of [`TaskListReader::new`].
    pub fn open(path: &Path, labels: &'a [u32]) -> Result<Self> {
        let file = support::open_input(path).map_err(|error| Error::io(path)(error.into()))?;
        Self::new(BufReader::new(file), labels)
    }
}

impl<'a, R: BufRead> TaskListReader<'a, R> {
    /// Reads the header and compares its checksum with the checksum of the labels.
    ///
    /// **Errors** [`Error::TaskListHeader`], [`Error::TaskListChecksum`], [`Error::Stream`].
    pub fn new(mut reader: R, labels: &'a [u32]) -> Result<Self> {
        let mut first = String::new();
        reader.by_ref().take(LONGEST_LINE).read_line(&mut first).map_err(Error::Stream)?;
        let refuse = |reason: String| Error::TaskListHeader { version: VERSION, reason };
        let header: Header = serde_json::from_str(&first).map_err(|error| refuse(error.to_string()))?;
        if header.format != FORMAT || header.version != VERSION {
            return Err(refuse(format!("it has format `{}` and version {}", header.format, header.version)));
        }
        let found = labels_checksum(labels);
        if header.labels_sha256 != found || header.samples != labels.len() {
            let (listed, listed_count) = (header.labels_sha256, header.samples);
            return Err(Error::TaskListChecksum { listed, listed_count, found, found_count: labels.len() });
        }
        Ok(Self { reader, labels, line: 1, episodes: 0, checksum: EpisodesChecksum::default(), done: false })
    }

    /// The next episode; none after the closing line.
    fn read(&mut self) -> Result<Option<Episode>> {
        let Some(text) = self.next_line()? else {
            return Err(Error::TaskListTruncated { episodes: self.episodes });
        };
        let line: Line = serde_json::from_str(&text).map_err(|error| self.refuse(error.to_string()))?;
        match line {
            Line { classes: Some(classes), support: Some(support), query: Some(query), episodes: None, .. } => {
                let episode = Episode::new(classes, support, query)
                    .and_then(|episode| episode.check_against(self.labels).map(|()| episode))
                    .map_err(|source| Error::TaskListEpisode { line: self.line, source: Box::new(source) })?;
                self.episodes += 1;
                self.checksum.push(&episode_checksum(&episode));
                Ok(Some(episode))
            }
            Line { episodes: Some(count), episodes_sha256: Some(listed), classes: None, .. } => {
                self.close(count, &listed).map(|()| None)
            }
            _ => Err(self.refuse("it is neither an episode (classes, support, query) nor the closing line".to_owned())),
        }
    }

    fn close(&mut self, count: usize, listed: &str) -> Result<()> {
        let found = std::mem::take(&mut self.checksum).finish();
        if count != self.episodes || listed != found {
            return Err(self.refuse(format!(
                "the closing line states {count} episodes with checksum {listed}, but the list has {} with {found}",
                self.episodes
            )));
        }
        match self.next_line()? {
            None => Ok(()),
            Some(_) => Err(self.refuse("there is text after the closing line".to_owned())),
        }
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            let mut text = String::new();
            if self.reader.by_ref().take(LONGEST_LINE).read_line(&mut text).map_err(Error::Stream)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if text.len() as u64 == LONGEST_LINE && !text.ends_with('\n') {
                return Err(self.refuse(format!("it is longer than {LONGEST_LINE} bytes, as no episode is")));
            }
            if !text.trim().is_empty() {
                return Ok(Some(text));
            }
        }
    }

    fn refuse(&self, reason: String) -> Error {
        Error::TaskListLine { line: self.line, reason }
    }
}

impl<R: BufRead> Iterator for TaskListReader<'_, R> {
    type Item = Result<Episode>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}
