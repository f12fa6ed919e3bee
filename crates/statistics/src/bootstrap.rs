//! Means over resamples with replacement. Resample r has its own stream, so the result does not depend on the number of
//! threads.

use rand::Rng;
use rayon::prelude::*;

use crate::error::{check_lengths, check_values};
use crate::{IntervalSettings, Result};

const NAME: &str = "a bootstrap";

// The names of the streams date from when this code belonged to `fewshot`; another name would change every resample.
const ROWS: &str = "fewshot/bootstrap";
const MODELS: &str = "fewshot/bootstrap-models";

/// The mean of every column over the same resamples of the rows: `[column][resample]`.
///
/// **Conventions** all columns share their resamples, so the differences of two columns are resampled in pairs.
///
/// **Errors** [`Error::TooFewValues`](crate::Error::TooFewValues) for no column and for columns without rows,
/// [`Error::UnequalLengths`](crate::Error::UnequalLengths), [`Error::NonFiniteValue`](crate::Error::NonFiniteValue),
/// [`Error::InvalidSetting`](crate::Error::InvalidSetting).
///
/// **Source** Efron, Bootstrap methods, The Annals of Statistics 1979.
///
/// ```
/// use statistics::{IntervalSettings, bootstrap_means};
/// // The second column is the first plus one: so are its means, resample by resample.
/// let [first, second] = bootstrap_means(&[&[1.0, 2.0, 4.0], &[2.0, 3.0, 5.0]], &IntervalSettings::default())?
///     .try_into()
///     .unwrap();
/// assert_eq!(first.len(), 1000);
/// assert!(first.iter().zip(&second).all(|(a, b)| (b - a - 1.0).abs() < 1e-12));
/// # statistics::Result::Ok(())
/// ```
pub fn bootstrap_means(columns: &[&[f64]], settings: &IntervalSettings) -> Result<Vec<Vec<f64>>> {
    settings.check()?;
    let rows = columns.first().map_or(0, |column| column.len());
    check_values(NAME, columns.first().copied().unwrap_or_default(), 1)?;
    for column in columns {
        check_lengths(NAME, rows, column.len())?;
        check_values(NAME, column, 1)?;
    }
    let by_resample: Vec<Vec<f64>> = (0..settings.resamples)
        .into_par_iter()
        .map(|resample| {
            let stream = &mut streams::stream(settings.seed, ROWS, resample as u64);
            let mut sums = vec![0.0; columns.len()];
            for _ in 0..rows {
                let row = draw_row(stream, rows);
                sums.iter_mut().zip(columns).for_each(|(sum, column)| *sum += column[row]);
            }
            sums.iter_mut().for_each(|sum| *sum /= rows as f64);
            sums
        })
        .collect();
    Ok((0..columns.len()).map(|column| by_resample.iter().map(|means| means[column]).collect()).collect())
}

/// Means over models and their episodes, both resampled: one mean for each resample.
///
/// `values[model][episode]`. Where the models share their episodes (`shared`), one draw of episodes serves all models of
/// a resample; otherwise each drawn model has its own draw of episodes.
///
/// **Errors** as for [`bootstrap_means`]; models may differ in their number of episodes only where `shared` is false.
///
/// **Source** Owen, The pigeonhole bootstrap, The Annals of Applied Statistics 2007.
///
/// ```
/// use statistics::{IntervalSettings, bootstrap_model_means};
/// let means = bootstrap_model_means(&[&[0.5, 0.7], &[0.6, 0.8]], true, &IntervalSettings::default())?;
/// assert!(means.iter().all(|mean| (0.5..=0.8).contains(mean)));
/// # statistics::Result::Ok(())
/// ```
pub fn bootstrap_model_means(values: &[&[f64]], shared: bool, settings: &IntervalSettings) -> Result<Vec<f64>> {
    settings.check()?;
    let episodes = values.first().map_or(0, |model| model.len());
    check_values(NAME, values.first().copied().unwrap_or_default(), 1)?;
    for model in values {
        if shared {
            check_lengths(NAME, episodes, model.len())?;
        }
        check_values(NAME, model, 1)?;
    }
    let one = |resample: usize| {
        let stream = &mut streams::stream(settings.seed, MODELS, resample as u64);
        let common: Vec<usize> = match shared {
            true => (0..episodes).map(|_| draw_row(stream, episodes)).collect(),
            false => Vec::new(),
        };
        let mut total = 0.0;
        for _ in 0..values.len() {
            let model = values[draw_row(stream, values.len())];
            let sum: f64 = match shared {
                true => common.iter().map(|&episode| model[episode]).sum(),
                false => (0..model.len()).map(|_| model[draw_row(stream, model.len())]).sum(),
            };
            total += sum / model.len() as f64;
        }
        total / values.len() as f64
    };
    Ok((0..settings.resamples).into_par_iter().map(one).collect())
}

/// A uniform row. 32 random bits are drawn where they suffice, at half the cost of 64.
fn draw_row(stream: &mut streams::Stream, rows: usize) -> usize {
    match u32::try_from(rows) {
        Ok(rows) => stream.random_range(0..rows) as usize,
        Err(_) => stream.random_range(0..rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, RunningMean};

    const SETTINGS: IntervalSettings = IntervalSettings { level: 0.95, resamples: 20_000, seed: 3 };

    #[test]
    fn resampled_means_spread_as_the_mean_does() {
        // The variance of a resampled mean is Σ(x − mean)²/n²: (1.5² + 0.5² + 0.5² + 1.5²)/16 = 5/16.
        let [means] = bootstrap_means(&[&[1.0, 2.0, 3.0, 4.0]], &SETTINGS).unwrap().try_into().unwrap();
        let spread: RunningMean = means.into_iter().collect();
        assert!((spread.mean() - 2.5).abs() < 0.02 && (spread.variance().unwrap() - 5.0 / 16.0).abs() < 0.01);
    }

    #[test]
    fn models_and_episodes_are_both_resampled() {
        // Two constant models: the mean of two draws from {0, 1} has variance 1/8, whatever the episodes.
        for shared in [true, false] {
            let means = bootstrap_model_means(&[&[0.0; 5], &[1.0; 5]], shared, &SETTINGS).unwrap();
            let spread: RunningMean = means.into_iter().collect();
            assert!((spread.mean() - 0.5).abs() < 0.01 && (spread.variance().unwrap() - 0.125).abs() < 0.005);
        }
        // Equal models: shared episodes keep the variance 1/8 of two draws from {0, 1}; own draws halve it.
        for (shared, variance) in [(true, 0.125), (false, 0.0625)] {
            let means = bootstrap_model_means(&[&[0.0, 1.0], &[0.0, 1.0]], shared, &SETTINGS).unwrap();
            let spread: RunningMean = means.into_iter().collect();
            assert!((spread.variance().unwrap() - variance).abs() < 0.005, "{shared}");
        }
    }

    #[test]
    fn missing_and_unequal_columns_are_refused() {
        let few = |found| matches!(found, Err(Error::TooFewValues { needed: 1, got: 0, .. }));
        assert!(few(bootstrap_means(&[], &SETTINGS).map(|_| ())));
        assert!(few(bootstrap_means(&[&[]], &SETTINGS).map(|_| ())));
        assert!(few(bootstrap_model_means(&[&[1.0], &[]], false, &SETTINGS).map(|_| ())));
        let unequal = bootstrap_model_means(&[&[1.0], &[1.0, 2.0]], true, &SETTINGS);
        assert!(matches!(unequal, Err(Error::UnequalLengths { left: 1, right: 2, .. })));
        assert!(bootstrap_model_means(&[&[1.0], &[1.0, 2.0]], false, &SETTINGS).is_ok());
    }
}
