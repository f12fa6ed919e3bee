//! The sampler of episodes: episode i is the same on every machine and in any order.

use rand::Rng;
use streams::Stream;

use crate::class_rows::ClassRows;
use crate::{Episode, EpisodeRules, Error, QueryRule, Result, ShotRule, WayRule};

/// Draws episodes from the labels of a data set, by rules and a seed.
///
/// **Definition** classes are drawn without replacement. Within a class, samples are drawn without replacement: the
/// first are support, the next are queries.
///
/// **Conventions** episode `index` depends on the labels, the rules, the seed and `index` only. Its random stream is
/// `(seed, "fewshot/episode", index)`.
///
/// ```
/// use fewshot::EpisodeSampler;
/// let labels: Vec<u32> = (0..100).map(|sample| sample % 10).collect();
/// let sampler = EpisodeSampler::fixed(&labels, 5, 1, 4, 7)?;
/// let episode = sampler.episode(3);
/// assert_eq!((episode.way(), episode.support().len(), episode.query().len()), (5, 5, 20));
/// assert_eq!(episode, sampler.episode(3));
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct EpisodeSampler {
    classes: Vec<ClassRows>,
    rules: EpisodeRules,
    seed: u64,
}

impl EpisodeSampler {
    /// A sampler of episodes with `way` classes, each with `shots` support samples and `queries` queries.
    ///
    /// **Errors** as [`EpisodeSampler::new`].
    pub fn fixed(labels: &[u32], way: usize, shots: usize, queries: usize, seed: u64) -> Result<Self> {
        Self::new(labels, EpisodeRules::fixed(way, shots, queries), seed)
    }

    /// A sampler with any rules; they are checked against the labels, so every episode drawn is valid.
    ///
    /// **Errors** [`Error::InvalidRule`], [`Error::TooFewClasses`], [`Error::TooFewSamples`] (for the lowest
    /// label whose class is too small), [`Error::TooFewQueries`].
    ///
    /// ```
    /// use fewshot::{EpisodeRules, EpisodeSampler, Error};
    /// let labels = [vec![3; 30], vec![7; 12]].concat();
    /// let error = EpisodeSampler::new(&labels, EpisodeRules::fixed(2, 5, 15), 0).unwrap_err();
    /// assert!(error.to_string().starts_with("class 7 has 12 samples, but 5 shots + 15 queries need 20"));
    /// ```
    pub fn new(labels: &[u32], rules: EpisodeRules, seed: u64) -> Result<Self> {
        rules.check()?;
        let classes = ClassRows::of(labels);
        let (fewest_ways, most_ways) = rules.ways();
        if classes.len() < fewest_ways {
            return Err(Error::TooFewClasses { way: fewest_ways, classes: classes.len() });
        }
        let (shots, queries) = (rules.shots().1, rules.queries_needed());
        if let Some(class) = classes.iter().find(|class| class.rows.len() < shots + queries) {
            return Err(Error::TooFewSamples { class: class.label, count: class.rows.len(), shots, queries });
        }
        let sampler = Self { classes, rules, seed };
        sampler.check_natural_queries(fewest_ways, most_ways)?;
        Ok(sampler)
    }

    /// The rules.
    pub fn rules(&self) -> EpisodeRules {
        self.rules
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of classes of the data.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Episode number `index`.
    pub fn episode(&self, index: u64) -> Episode {
        let stream = &mut streams::stream(self.seed, "fewshot/episode", index);
        let way = self.draw_way(stream);
        let drawn: Vec<&ClassRows> =
            draw(stream, self.classes.len(), way).into_iter().map(|class| &self.classes[class]).collect();
        let queries = self.queries_per_class(&drawn);
        let shots = self.draw_shots(stream, &drawn, queries);
        let mut support = Vec::with_capacity(way);
        let mut query = Vec::with_capacity(way);
        for (class, &shots) in drawn.iter().zip(&shots) {
            let mut rows = draw_rows(stream, &class.rows, shots + queries);
            query.push(rows.split_off(shots));
            support.push(rows);
        }
        if let QueryRule::Natural(count) = self.rules.query {
            query = draw_natural(stream, &drawn, &support, count);
        }
        Episode::from_valid(drawn.iter().map(|class| class.label).collect(), &support, &query)
    }

    /// An infinite iterator over episodes 0, 1, 2, …
    pub fn episodes(&self) -> impl Iterator<Item = Episode> + '_ {
        (0..).map(|index| self.episode(index))
    }

    fn draw_way(&self, stream: &mut Stream) -> usize {
        match self.rules.way {
            WayRule::Fixed(way) => way,
            WayRule::Uniform { low, high } => stream.random_range(low..=high.min(self.classes.len())),
        }
    }

    fn queries_per_class(&self, drawn: &[&ClassRows]) -> usize {
        match self.rules.query {
            QueryRule::PerClass(count) => count,
            QueryRule::Natural(_) => 0,
            QueryRule::UpToHalf(most) => drawn.iter().map(|class| class.rows.len() / 2).min().unwrap_or(most).min(most),
        }
    }

    fn draw_shots(&self, stream: &mut Stream, drawn: &[&ClassRows], queries: usize) -> Vec<usize> {
        match self.rules.shot {
            ShotRule::Fixed(shots) => vec![shots; drawn.len()],
            ShotRule::Uniform { low, high } => vec![stream.random_range(low..=high); drawn.len()],
            ShotRule::MetaDataset { most_support, most_from_class } => {
                proportional_shots(stream, drawn, queries, most_support, most_from_class)
            }
        }
    }

    /// Checks natural queries in the worst case: the smallest classes, each with the most shots.
    fn check_natural_queries(&self, fewest_ways: usize, most_ways: usize) -> Result<()> {
        let QueryRule::Natural(wanted) = self.rules.query else { return Ok(()) };
        if matches!(self.rules.shot, ShotRule::MetaDataset { .. }) {
            let expected = "`per-class` or `up-to-half` where shots follow the class sizes";
            return Err(Error::InvalidRule { rule: "query", value: format!("natural({wanted})"), expected });
        }
        let shots = self.rules.shots().1;
        let mut left: Vec<usize> = self.classes.iter().map(|class| class.rows.len() - shots).collect();
        left.sort_unstable();
        let way = fewest_ways.min(most_ways);
        let available = left.iter().take(way).sum();
        if available < wanted { Err(Error::TooFewQueries { way, available, wanted }) } else { Ok(()) }
    }
}

/// The shots of [`ShotRule::MetaDataset`].
fn proportional_shots(
    stream: &mut Stream,
    drawn: &[&ClassRows],
    queries: usize,
    most_support: usize,
    most_from_class: usize,
) -> Vec<usize> {
    let way = drawn.len();
    let available: Vec<usize> = drawn.iter().map(|class| class.rows.len() - queries).collect();
    // 1 − U[0, 1) is uniform on (0, 1].
    let beta = 1.0 - stream.random::<f64>();
    let offered: usize =
        available.iter().map(|&count| (beta * count.min(most_from_class) as f64).ceil() as usize).sum();
    let spare = offered.min(most_support).saturating_sub(way);
    let weights: Vec<f64> = drawn
        .iter()
        .map(|class| class.rows.len() as f64 * (0.5f64.ln() + 4f64.ln() * stream.random::<f64>()).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let share =
        |(weight, &available): (&f64, &usize)| ((weight / total * spare as f64).floor() as usize + 1).min(available);
    weights.iter().zip(&available).map(share).collect()
}

/// `count` queries from all samples of the drawn classes that are not support, grouped by class.
fn draw_natural(stream: &mut Stream, drawn: &[&ClassRows], support: &[Vec<usize>], count: usize) -> Vec<Vec<usize>> {
    let left: Vec<(usize, usize)> = drawn
        .iter()
        .zip(support)
        .enumerate()
        .flat_map(|(class, (rows, taken))| {
            rows.rows.iter().filter(|row| !taken.contains(row)).map(move |&row| (class, row))
        })
        .collect();
    let mut query = vec![Vec::new(); drawn.len()];
    for position in draw(stream, left.len(), count) {
        let (class, row) = left[position];
        query[class].push(row);
    }
    query
}

fn draw_rows(stream: &mut Stream, rows: &[usize], count: usize) -> Vec<usize> {
    draw(stream, rows.len(), count).into_iter().map(|position| rows[position]).collect()
}

/// `count` numbers of 0 … `from` − 1 without replacement, in random order: the first steps of a Fisher–Yates shuffle.
fn draw(stream: &mut Stream, from: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..from).collect();
    for position in 0..count {
        order.swap(position, stream.random_range(position..from));
    }
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests;
