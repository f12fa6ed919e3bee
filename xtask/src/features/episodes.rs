//! The episodes of `fewshot`: sampled by rules and a seed, or replayed from a task list.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use fewshot::{
    Confusion, Episode, EpisodeRules, EpisodeSampler, Evaluation, HeadKind, IntervalSettings, LabelledFeatures,
    QueryRule, ShotRule, Task, WayRule,
};

use crate::arguments::up_to;
use crate::files::replaceable_start;
use crate::usage::usage;

/// A count, or a range of counts of which each episode draws one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counts {
    low: usize,
    high: usize,
}

/// The options of episodes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Episodes")]
pub(super) struct EpisodeArgs {
    /// Task list to replay (JSON Lines, as --write-tasks writes it), instead of sampling episodes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ways", "shots", "queries", "episodes", "seed", "natural_queries", "meta_dataset"])]
    tasks: Option<PathBuf>,
    /// Classes in each episode (way), or a range such as 5-50 from which each episode draws its own
    #[arg(long, alias = "way", value_name = "N", default_value = "5", value_parser = counts::<100_000>)]
    ways: Counts,
    /// Support samples of each class (shot), or a range
    #[arg(long, alias = "shot", value_name = "N", default_value = "5", value_parser = counts::<1_000_000>)]
    shots: Counts,
    /// Query samples of each class
    #[arg(long, alias = "query", value_name = "N", default_value_t = 15, value_parser = up_to::<1_000_000>)]
    queries: usize,
    /// Draw --queries queries for the whole episode from all remaining samples of its classes, so that large classes have more
    #[arg(long)]
    natural_queries: bool,
    /// 5 to 50 classes with unequal shots, as Meta-Dataset draws them
    #[arg(long, conflicts_with_all = ["ways", "shots", "queries", "natural_queries"])]
    meta_dataset: bool,
    /// Number of episodes
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = up_to::<10_000_000>)]
    episodes: usize,
    /// Seed of the episodes
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = crate::arguments::seed, allow_negative_numbers = true)]
    seed: u64,
    /// Also write the sampled episodes as a task list
    #[arg(long, value_name = "FILE", conflicts_with = "tasks")]
    write_tasks: Option<PathBuf>,
}

/// Parses `5`, or a range such as `5-50`, with counts from 1 to `MAX`.
fn counts<const MAX: usize>(text: &str) -> Result<Counts, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (up_to::<MAX>(low), up_to::<MAX>(high)) {
        (Ok(low), Ok(high)) if low <= high => Ok(Counts { low, high }),
        _ => Err(format!("expected a whole number from 1 to {MAX}, or a range such as 5-50")),
    }
}

impl EpisodeArgs {
    /// Evaluates heads on the features of a file, whose name `source` is.
    pub(super) fn evaluate(&self, features: &LabelledFeatures, heads: &[HeadKind], source: &str) -> Result<Evaluation> {
        if self.tasks.is_some() {
            let episodes = self.listed(features.labels())?.into_iter().map(Ok);
            return fewshot::evaluate_episodes(features, episodes, heads, &IntervalSettings::default())
                .with_context(|| source.to_owned());
        }
        let sampler = EpisodeSampler::new(features.labels(), self.rules(), self.seed);
        let sampler = sampler.with_context(|| source.to_owned())?;
        fewshot::evaluate(features, &sampler, self.episodes, heads).with_context(|| source.to_owned())
    }

    /// Checks the options before anything is read.
    ///
    /// # Errors
    /// A single episode, or episodes of one class, as an error in the command line; a file of --write-tasks that cannot be written, or
    /// that is there and is no task list.
    pub(super) fn check(&self) -> Result<()> {
        if self.episodes < 2 {
            return Err(usage(anyhow!("--episodes {}: an interval needs at least 2 episodes", self.episodes)));
        }
        if self.ways.low < 2 {
            return Err(usage(anyhow!("--ways {}: an episode needs at least 2 classes", self.ways.low)));
        }
        let replaceable = |path| replaceable_start(path, br#"{"format":"fewshot-task-list""#, "task list");
        self.write_tasks.as_deref().map_or(Ok(()), replaceable).context("--write-tasks")
    }

    /// Writes the task list of --write-tasks, if it is asked for.
    pub(super) fn write_tasks(&self, labels: &[u32]) -> Result<()> {
        let Some(path) = &self.write_tasks else { return Ok(()) };
        let sampler = EpisodeSampler::new(labels, self.rules(), self.seed)?;
        fewshot::write_task_list(path, labels, &sampler, self.episodes).with_context(|| path.display().to_string())
    }

    /// One task of all classes, with the support samples of --shots and all other samples as queries.
    pub(super) fn all_classes(&self, features: &LabelledFeatures, heads: &[HeadKind]) -> Result<Vec<Confusion>> {
        let Counts { low: shots, high } = self.shots;
        if self.tasks.is_some() || self.meta_dataset || shots != high {
            return Err(usage(anyhow!("--confusion: give one number of --shots, without --tasks and --meta-dataset")));
        }
        let labels = features.labels();
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let queries = labels.len().saturating_sub(classes.len() * shots);
        if queries == 0 {
            bail!(
                "--confusion: {} samples of {} classes leave no query beside {shots} shots",
                labels.len(),
                classes.len()
            );
        }
        let rules =
            EpisodeRules::new(WayRule::Fixed(classes.len()), ShotRule::Fixed(shots), QueryRule::Natural(queries));
        let episode = EpisodeSampler::new(labels, rules, self.seed).context("--confusion")?.episode(0);
        let task = Task::new(features, &episode)?;
        heads.iter().map(|head| Confusion::of(head, &task).context("--confusion")).collect()
    }

    fn listed(&self, labels: &[u32]) -> Result<Vec<Episode>> {
        let Some(path) = &self.tasks else { return Ok(Vec::new()) };
        let list = || path.display().to_string();
        let tasks = fewshot::TaskListReader::open(path, labels).with_context(list)?;
        let episodes: Vec<Episode> = tasks.collect::<fewshot::Result<_>>().with_context(list)?;
        if episodes.len() < 2 {
            bail!("{}: {} episodes; an interval needs at least 2", path.display(), episodes.len());
        }
        Ok(episodes)
    }

    fn rules(&self) -> EpisodeRules {
        if self.meta_dataset {
            return EpisodeRules::meta_dataset();
        }
        let way = match self.ways {
            Counts { low, high } if low == high => WayRule::Fixed(low),
            Counts { low, high } => WayRule::Uniform { low, high },
        };
        let shot = match self.shots {
            Counts { low, high } if low == high => ShotRule::Fixed(low),
            Counts { low, high } => ShotRule::Uniform { low, high },
        };
        let query = match self.natural_queries {
            true => QueryRule::Natural(self.queries),
            false => QueryRule::PerClass(self.queries),
        };
        EpisodeRules::new(way, shot, query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_numbers_or_ranges() {
        assert_eq!(counts::<50>("5"), Ok(Counts { low: 5, high: 5 }));
        assert_eq!(counts::<50>("5-50"), Ok(Counts { low: 5, high: 50 }));
        for text in ["0", "5-51", "6-5", "-5", "5-", "five", ""] {
            assert!(counts::<50>(text).unwrap_err().contains("1 to 50"), "{text}");
        }
    }
}
