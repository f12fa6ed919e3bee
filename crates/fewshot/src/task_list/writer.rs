//! Writes task lists episode by episode.

use std::io::Write;
use std::path::Path;

use support::AtomicFile;

use super::{FORMAT, Header, Line, VERSION};
use crate::checksum::{EpisodesChecksum, episode_checksum, labels_checksum};
use crate::{Episode, EpisodeSampler, Error, Result};

/// Writes a task list of any length; one episode is in memory at a time.
///
/// ```
/// use fewshot::{Episode, TaskListReader, TaskListWriter};
/// let labels = [5, 5, 6, 6];
/// let episode = Episode::new(vec![6, 5], vec![vec![2], vec![0]], vec![vec![3], vec![1]])?;
/// let mut writer = TaskListWriter::new(Vec::new(), &labels, None)?;
/// writer.write(&episode)?;
/// let file = writer.finish()?;
/// let replayed: Vec<Episode> = TaskListReader::new(&file[..], &labels)?.collect::<fewshot::Result<_>>()?;
/// assert_eq!(replayed, [episode]);
/// # fewshot::Result::Ok(())
/// ```
pub struct TaskListWriter<'a, W: Write> {
    writer: W,
    labels: &'a [u32],
    episodes: usize,
    checksum: EpisodesChecksum,
}

impl<'a, W: Write> TaskListWriter<'a, W> {
    /// Starts a list for these labels. The rules and seed of `sampler`, if given, are written to the header.
    ///
    /// **Errors** [`Error::Stream`], as for every write.
    pub fn new(writer: W, labels: &'a [u32], sampler: Option<&EpisodeSampler>) -> Result<Self> {
        let mut list = Self { writer, labels, episodes: 0, checksum: EpisodesChecksum::default() };
        list.line(&Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            samples: labels.len(),
            labels_sha256: labels_checksum(labels),
            rules: sampler.map(EpisodeSampler::rules),
            seed: sampler.map(EpisodeSampler::seed),
        })?;
        Ok(list)
    }

    /// Writes an episode.
    ///
    /// **Errors** [`Error::Stream`], and those of [`Episode::check_against`].
    pub fn write(&mut self, episode: &Episode) -> Result<()> {
        episode.check_against(self.labels)?;
        self.line(&Line {
            classes: Some(episode.classes().to_vec()),
            support: Some(episode.support_by_class()),
            query: Some(episode.query_by_class()),
            ..Line::default()
        })?;
        self.episodes += 1;
        self.checksum.push(&episode_checksum(episode));
        Ok(())
    }

    /// Writes the closing line. A reader refuses a list without it as truncated.
    pub fn finish(mut self) -> Result<W> {
        let checksum = std::mem::take(&mut self.checksum).finish();
        self.line(&Line { episodes: Some(self.episodes), episodes_sha256: Some(checksum), ..Line::default() })?;
        self.writer.flush().map_err(Error::Stream)?;
        Ok(self.writer)
    }

    fn line(&mut self, line: &impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.writer, line).map_err(|error| Error::Stream(error.into()))?;
        self.writer.write_all(b"\n").map_err(Error::Stream)
    }
}

/// Writes the first `episodes` episodes of a sampler to a file, which is created when it is complete.
///
/// **Errors** [`Error::Io`], [`Error::Stream`], and those of [`TaskListWriter::write`].
pub fn write_task_list(path: &Path, labels: &[u32], sampler: &EpisodeSampler, episodes: usize) -> Result<()> {
    let mut list = TaskListWriter::new(AtomicFile::create(path).map_err(Error::file)?, labels, Some(sampler))?;
    for episode in sampler.episodes().take(episodes) {
        list.write(&episode)?;
    }
    list.finish()?.commit().map_err(Error::file)
}
