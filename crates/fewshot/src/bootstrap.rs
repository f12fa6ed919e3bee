//! Bootstrap means. Each resample has its own random stream, so results do not depend on the number of threads.

use rand::Rng;
use rayon::prelude::*;

use crate::interval_settings::IntervalSettings;

/// Means of every column over common resamples of the rows: `[column][resample]`.
///
/// All columns use the same resamples, so the difference of two columns is resampled in pairs.
pub(crate) fn resampled_means(columns: &[&[f64]], settings: &IntervalSettings) -> Vec<Vec<f64>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let by_resample: Vec<Vec<f64>> = (0..settings.resamples)
        .into_par_iter()
        .map(|resample| {
            let stream = &mut streams::stream(settings.seed, "fewshot/bootstrap", resample as u64);
            let mut sums = vec![0.0; columns.len()];
            for _ in 0..rows {
                let row = draw_row(stream, rows);
                sums.iter_mut().zip(columns).for_each(|(sum, column)| *sum += column[row]);
            }
            sums.iter_mut().for_each(|sum| *sum /= rows as f64);
            sums
        })
        .collect();
    (0..columns.len()).map(|column| by_resample.iter().map(|means| means[column]).collect()).collect()
}

/// Means of `values[model][episode]` over resampled models and resampled episodes.
///
/// Where the models share their episodes (`shared`), all models of a resample use one draw of episodes (pigeonhole
/// bootstrap; Owen 2007). Otherwise each drawn model has its own draw.
pub(crate) fn resampled_model_means(values: &[&[f64]], shared: bool, settings: &IntervalSettings) -> Vec<f64> {
    (0..settings.resamples)
        .into_par_iter()
        .map(|resample| {
            let stream = &mut streams::stream(settings.seed, "fewshot/bootstrap-models", resample as u64);
            let episodes = values.iter().map(|model| model.len()).min().unwrap_or(0);
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
        })
        .collect()
}

/// A uniform row index. 32 bits are drawn where they suffice, which halves the cost.
fn draw_row(stream: &mut streams::Stream, rows: usize) -> usize {
    match u32::try_from(rows) {
        Ok(rows) => stream.random_range(0..rows) as usize,
        Err(_) => stream.random_range(0..rows),
    }
}
