//! Rules of a sampler: the number of classes, shots and queries per episode.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Ceiling of the way, of the shots and of the queries: more is a mistake, and sums of them cannot overflow.
const MOST: usize = 1_000_000;

/// Number of classes per episode.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WayRule {
    /// The same number in every episode.
    Fixed(usize),
    /// Uniform over `low ..= high`; `high` is lowered to the number of classes of the data.
    Uniform {
        /// Fewest classes.
        low: usize,
        /// Most classes.
        high: usize,
    },
}

/// Number of support samples (shots) per class.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShotRule {
    /// The same number for every class of every episode.
    Fixed(usize),
    /// Uniform over `low ..= high`, drawn once per episode and equal for all of its classes.
    Uniform {
        /// Fewest shots.
        low: usize,
        /// Most shots.
        high: usize,
    },
    /// Unequal shots, proportional to the class sizes with noise (Meta-Dataset).
    ///
    /// **Definition** with n_c samples in class c and m queries per class, |S| = min(`most_support`,
    /// Σ_c ⌈β·min(`most_from_class`, n_c − m)⌉), β ~ U(0, 1]; R_c ∝ exp(α_c)·n_c, α_c ~ U[ln ½, ln 2); the shots
    /// of class c are min(⌊R_c (|S| − w)⌋ + 1, n_c − m).
    ///
    /// **Source** Triantafillou et al., Meta-Dataset, ICLR 2020 (arXiv 1903.03096), section 3.2.
    MetaDataset {
        /// Most support samples per episode (500 in Meta-Dataset).
        most_support: usize,
        /// Most samples that one class contributes to |S| (100 in Meta-Dataset).
        most_from_class: usize,
    },
}

/// Number of queries per episode, and their distribution over its classes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryRule {
    /// This number per class: accuracy weighs the classes equally.
    PerClass(usize),
    /// This number per episode, drawn from all samples of its classes that are not support. Large classes have more
    /// queries, as in the data.
    Natural(usize),
    /// An equal number per class: at most this, and at most half of the smallest class (Meta-Dataset, with 10).
    UpToHalf(usize),
}

/// The rules of a sampler.
///
/// **Conventions** way, shots and queries are at most 1,000,000 each.
///
/// ```
/// use fewshot::EpisodeRules;
/// let rules = EpisodeRules::fixed(5, 1, 15);
/// assert_eq!(rules.to_string(), "5-way 1-shot, 15 queries per class");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeRules {
    /// Number of classes.
    pub way: WayRule,
    /// Number of support samples per class.
    pub shot: ShotRule,
    /// Number of queries.
    pub query: QueryRule,
}

impl EpisodeRules {
    /// Rules of any kind.
    ///
    /// ```
    /// use fewshot::{EpisodeRules, QueryRule, ShotRule, WayRule};
    /// let rules = EpisodeRules::new(WayRule::Uniform { low: 2, high: 9 }, ShotRule::Fixed(5), QueryRule::Natural(30));
    /// assert_eq!(rules.to_string(), "2–9-way 5-shot, 30 natural queries");
    /// ```
    pub fn new(way: WayRule, shot: ShotRule, query: QueryRule) -> Self {
        Self { way, shot, query }
    }

    /// `way` classes, each with `shots` support samples and `queries` queries.
    pub fn fixed(way: usize, shots: usize, queries: usize) -> Self {
        Self { way: WayRule::Fixed(way), shot: ShotRule::Fixed(shots), query: QueryRule::PerClass(queries) }
    }

    /// 5 to 50 classes of unequal shots, as Meta-Dataset draws them from a data set without a class hierarchy.
    ///
    /// **Source** Triantafillou et al., Meta-Dataset, ICLR 2020 (arXiv 1903.03096), section 3.2.
    pub fn meta_dataset() -> Self {
        Self {
            way: WayRule::Uniform { low: 5, high: 50 },
            shot: ShotRule::MetaDataset { most_support: 500, most_from_class: 100 },
            query: QueryRule::UpToHalf(10),
        }
    }

    /// Checks each rule without the data; the sampler checks them against its labels.
    pub(crate) fn check(&self) -> Result<()> {
        let (fewest, most) = self.ways();
        let holds = fewest >= 2 && fewest <= most && most <= MOST;
        require(holds, "way", format!("{fewest}..={most}"), "2 to 1,000,000, and low ≤ high")?;
        let (fewest, most) = self.shots();
        let holds = fewest >= 1 && fewest <= most && most <= MOST;
        require(holds, "shot", format!("{fewest}..={most}"), "1 to 1,000,000, and low ≤ high")?;
        let queries = match self.query {
            QueryRule::PerClass(count) | QueryRule::Natural(count) | QueryRule::UpToHalf(count) => count,
        };
        require((1..=MOST).contains(&queries), "query", queries.to_string(), "1 to 1,000,000")
    }

    /// Fewest and most classes per episode.
    pub(crate) fn ways(&self) -> (usize, usize) {
        match self.way {
            WayRule::Fixed(way) => (way, way),
            WayRule::Uniform { low, high } => (low, high),
        }
    }

    /// Fewest and most shots that every class must have.
    pub(crate) fn shots(&self) -> (usize, usize) {
        match self.shot {
            ShotRule::Fixed(shots) => (shots, shots),
            ShotRule::Uniform { low, high } => (low, high),
            // One sample per class is enough, because this rule lowers the number of shots for small classes.
            ShotRule::MetaDataset { most_support, most_from_class } => (most_support.min(most_from_class).min(1), 1),
        }
    }

    /// Number of queries that every class must have beside its shots.
    pub(crate) fn queries_needed(&self) -> usize {
        match self.query {
            QueryRule::PerClass(count) => count,
            QueryRule::Natural(_) => 0,
            QueryRule::UpToHalf(_) => 1,
        }
    }
}

impl std::fmt::Display for EpisodeRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.way {
            WayRule::Fixed(way) => write!(f, "{way}-way ")?,
            WayRule::Uniform { low, high } => write!(f, "{low}–{high}-way ")?,
        }
        match self.shot {
            ShotRule::Fixed(shots) => write!(f, "{shots}-shot, ")?,
            ShotRule::Uniform { low, high } => write!(f, "{low}–{high}-shot, ")?,
            ShotRule::MetaDataset { most_support, .. } => write!(f, "up to {most_support} support samples, ")?,
        }
        match self.query {
            QueryRule::PerClass(count) => write!(f, "{count} queries per class"),
            QueryRule::Natural(count) => write!(f, "{count} natural queries"),
            QueryRule::UpToHalf(count) => write!(f, "up to {count} queries per class"),
        }
    }
}

fn require(holds: bool, rule: &'static str, value: String, expected: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::InvalidRule { rule, value, expected }) }
}
