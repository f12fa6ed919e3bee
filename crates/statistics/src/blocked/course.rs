//! The correlation of two metrics along training, with seeds as blocks.

use super::{BlockedCorrelation, PermutationSettings, RankedBlock, tested};
use crate::error::check_lengths;
use crate::{Block, Error, RankStatistic, Result};

const NAME: &str = "a correlation along training";

/// The mean rank correlation of two metrics along training, with a permutation test over seeds.
///
/// `seeds[seed][run]`: a block holds the two metrics of one run at its measured points, in the order of training.
///
/// **Definition** the statistic of a seed is the mean of Spearman's ρ over its runs, and the statistic of all is the mean
/// over seeds. Under the null hypothesis the points of `y` are in any order; one order is drawn for each seed and applied
/// to all of its runs, because runs of one seed share initial weights and data order. The p-value is the share of orders
/// with a mean at least as far from 0.
///
/// **Conventions** all runs of a seed have the same number of points. Successive points of training are not independent, so
/// two metrics that both drift have a small p-value in every seed. Take the mean of each seed (`per_block`) to
/// [`Effect::over_seeds`](crate::Effect::over_seeds) as well: whether they drift in the same way in every seed.
///
/// **Errors** [`Error::TooFewValues`] without a seed, for a seed without runs and for fewer than two points;
/// [`Error::UnequalLengths`], [`Error::NonFiniteValue`], [`Error::NoVariation`], [`Error::InvalidSetting`].
///
/// ```
/// use statistics::{Block, PermutationSettings, course_correlation};
/// // One seed with two runs of four points: opposite in the first, the same in the second.
/// let x = [1.0, 2.0, 3.0, 4.0];
/// let runs = [Block { x: &x, y: &[8.0, 7.0, 6.0, 5.0] }, Block { x: &x, y: &[1.0, 2.0, 4.0, 5.0] }];
/// let found = course_correlation(&[&runs], &PermutationSettings::default())?;
/// assert!(found.mean.abs() < 1e-15 && (found.p_value - 1.0).abs() < 1e-12);
/// let found = course_correlation(&[&runs[..1], &runs[..1]], &PermutationSettings::default())?;
/// // Two of 24² orders have |mean ρ| = 1.
/// assert!(found.mean == -1.0 && (found.p_value - 2.0 / 576.0).abs() < 1e-15);
/// # statistics::Result::Ok(())
/// ```
pub fn course_correlation(seeds: &[&[Block<'_>]], settings: &PermutationSettings) -> Result<BlockedCorrelation> {
    settings.check()?;
    for runs in seeds {
        let Some(first) = runs.first() else {
            return Err(Error::TooFewValues { statistic: NAME, needed: 1, got: 0 });
        };
        for run in *runs {
            run.check(NAME, 2)?;
            check_lengths(NAME, first.len(), run.len())?;
        }
    }
    let ranked = seeds.iter().map(|runs| RankedBlock::new(runs, RankStatistic::Spearman)).collect();
    tested(NAME, ranked, RankStatistic::Spearman, settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_seed_are_permuted_together() {
        // Two equal runs of a seed are one run: counting both as independent would square the number of orders.
        let (x, y) = ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]);
        let run = Block { x: &x, y: &y };
        let settings = PermutationSettings::default();
        let once = course_correlation(&[&[run]], &settings).unwrap();
        let twice = course_correlation(&[&[run, run]], &settings).unwrap();
        assert_eq!((once.p_value, once.mean), (twice.p_value, twice.mean));
        assert!((once.p_value - 2.0 / 24.0).abs() < 1e-15);
        let blocked = crate::blocked_rank_correlation(&[run], RankStatistic::Spearman, &settings).unwrap();
        assert_eq!(blocked, once);
    }

    #[test]
    fn missing_seeds_and_unequal_runs_are_refused() {
        let settings = PermutationSettings::default();
        let (long, short) = ([1.0, 2.0, 3.0], [1.0, 2.0]);
        let (a, b) = (Block { x: &long, y: &long }, Block { x: &short, y: &short });
        assert!(matches!(course_correlation(&[], &settings), Err(Error::TooFewValues { .. })));
        assert!(matches!(course_correlation(&[&[]], &settings), Err(Error::TooFewValues { .. })));
        assert!(matches!(course_correlation(&[&[a, b]], &settings), Err(Error::UnequalLengths { .. })));
        let flat = Block { x: &long, y: &[1.0; 3] };
        assert!(matches!(course_correlation(&[&[flat]], &settings), Err(Error::NoVariation { which: "second", .. })));
        let single = Block { x: &[1.0], y: &[1.0] };
        assert!(matches!(course_correlation(&[&[single]], &settings), Err(Error::TooFewValues { .. })));
    }
}
