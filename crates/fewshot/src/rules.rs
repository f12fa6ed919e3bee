//! What the episodes of a sampler look like: how many classes, shots and queries.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How many classes an episode has.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WayRule {
    /// Always this many.
    Fixed(usize),
    /// Uniform over `low ..= high`, with `high` lowered to the number of classes there are.
    Uniform {
        /// Fewest classes.
        low: usize,
        /// Most classes.
        high: usize,
    },
}

/// How many support samples each class of an episode has.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShotRule {
    /// Always this many, for every class.
    Fixed(usize),
    /// Uniform over `low ..= high`, drawn once an episode, the same for every class of it.
    Uniform {
        /// Fewest shots.
        low: usize,
        /// Most shots.
        high: usize,
    },
    /// Unequal shots in proportion to the class sizes, with noise (Meta-Dataset).
    ///
    /// **Definition** with n_c samples in class c and m queries a class, |S| = min(`most_support`,
    /// Σ_c ⌈β·min(`most_from_class`, n_c − m)⌉), β ~ U(0, 1]; R_c ∝ exp(α_c)·n_c, α_c ~ U[ln ½, ln 2); the shots
    /// of class c are min(⌊R_c (|S| − w)⌋ + 1, n_c − m).
    ///
    /// **Source** Triantafillou et al., Meta-Dataset, ICLR 2020 (arXiv 1903.03096), section 3.2.
    MetaDataset {
        /// Most support samples of an episode (500 there).
        most_support: usize,
        /// Most samples that one class adds to that size (100 there).
        most_from_class: usize,
    },
}

/// How many queries an episode has, and how they fall on its classes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryRule {
    /// This many of every class: accuracy weighs the classes equally.
    PerClass(usize),
    /// This many in all, drawn from what the support left of the episode's classes together: large classes are asked
    /// for more often, as in the data.
    Natural(usize),
    /// The same number of every class, at most this and at most half of the smallest class (Meta-Dataset, 10 there).
    UpToHalf(usize),
}

/// The rules of a sampler.
///
/// ```
/// use fewshot::EpisodeRules;
/// let rules = EpisodeRules::fixed(5, 1, 15);
/// assert_eq!(rules.to_string(), "5-way 1-shot, 15 queries a class");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeRules {
    /// How many classes.
    pub way: WayRule,
    /// How many support samples.
    pub shot: ShotRule,
    /// How many queries.
    pub query: QueryRule,
}

impl EpisodeRules {
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

    /// Checks each rule by itself; what the data allow is the sampler's to check.
    pub(crate) fn check(&self) -> Result<()> {
        let (fewest, most) = self.ways();
        require(fewest >= 2 && fewest <= most, "way", format!("{fewest}..={most}"), "at least 2, and low ≤ high")?;
        let (fewest, most) = self.shots();
        require(fewest >= 1 && fewest <= most, "shot", format!("{fewest}..={most}"), "at least 1, and low ≤ high")?;
        let queries = match self.query {
            QueryRule::PerClass(count) | QueryRule::Natural(count) | QueryRule::UpToHalf(count) => count,
        };
        require(queries >= 1, "query", queries.to_string(), "at least 1")
    }

    /// Fewest and most classes.
    pub(crate) fn ways(&self) -> (usize, usize) {
        match self.way {
            WayRule::Fixed(way) => (way, way),
            WayRule::Uniform { low, high } => (low, high),
        }
    }

    /// The fewest and most shots that a class must be able to give.
    pub(crate) fn shots(&self) -> (usize, usize) {
        match self.shot {
            ShotRule::Fixed(shots) => (shots, shots),
            ShotRule::Uniform { low, high } => (low, high),
            // The rule bends to small classes, so that one sample is all it needs.
            ShotRule::MetaDataset { most_support, most_from_class } => (most_support.min(most_from_class).min(1), 1),
        }
    }

    /// The queries that every class must be able to give beside its shots.
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
            QueryRule::PerClass(count) => write!(f, "{count} queries a class"),
            QueryRule::Natural(count) => write!(f, "{count} natural queries"),
            QueryRule::UpToHalf(count) => write!(f, "up to {count} queries a class"),
        }
    }
}

fn require(holds: bool, rule: &'static str, value: String, expected: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::InvalidRule { rule, value, expected }) }
}
