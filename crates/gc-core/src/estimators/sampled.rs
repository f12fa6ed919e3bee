//! ‖J‖²_F from some of its entries, or some of its rows.

use rand::Rng;
use rand::seq::index;
use streams::Stream;

use crate::batch::Chunk;
use crate::moments::Reading;
use crate::{Passes, Result};

use super::Task;
use super::passes::Reverse;

/// (p/q) Σ ‖Jᵀe_k‖² over q of the p outputs, drawn without replacement for each sample by itself.
///
/// The variance of simple random sampling is p²(1 − q/p)s²/q with s² the variance of the q squared norms, so it is known
/// from q = 2 on (Cochran, 1977, Theorem 2.2).
pub(super) fn output_sample(task: &Task<'_>, chunk: &Chunk, count: usize) -> Result<(Vec<Reading>, Passes)> {
    let samples = chunk.len();
    let drawn: Vec<Vec<usize>> = chunk
        .indices
        .iter()
        .map(|&index| {
            let mut stream = streams::stream(task.seed, "gc-core/output-sample", index as u64);
            index::sample(&mut stream, task.outputs, count).into_vec()
        })
        .collect();
    let mut reverse = Reverse::new(task, chunk, count)?;
    let mut norms = vec![Vec::with_capacity(count); samples];
    for first in (0..count).step_by(reverse.lanes) {
        let lanes = reverse.lanes.min(count - first);
        let mut cotangents = vec![0.0; lanes * samples * task.outputs];
        for (row, cotangent) in cotangents.chunks_mut(task.outputs).enumerate() {
            cotangent[drawn[row % samples][first + row / samples]] = 1.0;
        }
        for (row, norm) in reverse.squared_norms(cotangents)?.into_iter().enumerate() {
            norms[row % samples].push(norm);
        }
    }
    let readings = norms.iter().map(|norms| scaled_up(norms, task.outputs)).collect();
    Ok((readings, reverse.passes))
}

fn scaled_up(norms: &[f64], outputs: usize) -> Reading {
    let (p, q) = (outputs as f64, norms.len() as f64);
    let rows = Reading::of_units(norms);
    let unseen = 1.0 - q / p;
    let unit_variance =
        if norms.len() == outputs { Some(0.0) } else { rows.unit_variance.map(|s2| p * p * unseen * s2 / q) };
    Reading { value: p * rows.value, unit_variance, units: 1 }
}

/// Σ b_kj J_kj²/ρ with independent b_kj ∈ {0, 1} of mean ρ.
///
/// Its variance is Σ J_kj⁴(1 − ρ)/ρ, estimated from the same entries by Σ b_kj J_kj⁴(1 − ρ)/ρ². Kept entries are found
/// by skipping geometrically distributed distances, and rows without any are never computed: in each pass every sample
/// takes the next row in which it has an entry.
pub(super) fn entry_mask(task: &Task<'_>, chunk: &Chunk, rate: f64) -> Result<(Vec<Reading>, Passes)> {
    let samples = chunk.len();
    let mut masks: Vec<KeptEntries> = chunk
        .indices
        .iter()
        .map(|&index| {
            let stream = streams::stream(task.seed, "gc-core/entry-mask", index as u64);
            KeptEntries::new(stream, rate, task.inputs, task.outputs)
        })
        .collect();
    let mut reverse = Reverse::new(task, chunk, 1)?;
    let mut sums = vec![(0.0, 0.0); samples];
    loop {
        let rows: Vec<Option<(usize, Vec<usize>)>> = masks.iter_mut().map(KeptEntries::next_row).collect();
        if rows.iter().all(Option::is_none) {
            break;
        }
        let mut cotangents = vec![0.0; samples * task.outputs];
        for (sample, row) in rows.iter().enumerate() {
            if let Some((output, _)) = row {
                cotangents[sample * task.outputs + output] = 1.0;
            }
        }
        let entries = reverse.entries(cotangents)?;
        for ((sum, row), entries) in sums.iter_mut().zip(&rows).zip(&entries) {
            for column in row.iter().flat_map(|(_, columns)| columns) {
                let square = entries[*column].powi(2);
                sum.0 += square;
                sum.1 += square * square;
            }
        }
    }
    let reading = |(squares, fourths): &(f64, f64)| {
        let variance = fourths * (1.0 - rate) / (rate * rate);
        Reading { value: squares / rate, unit_variance: Some(variance), units: 1 }
    };
    Ok((sums.iter().map(reading).collect(), reverse.passes))
}

/// The entries of a p × d matrix that a Bernoulli mask keeps, row by row.
struct KeptEntries {
    stream: Stream,
    rate: f64,
    columns: usize,
    entries: usize,
    next: usize,
}

impl KeptEntries {
    fn new(stream: Stream, rate: f64, columns: usize, rows: usize) -> Self {
        let mut kept = Self { stream, rate, columns, entries: rows * columns, next: 0 };
        kept.next = kept.gap();
        kept
    }

    /// The number of entries dropped before the next one kept.
    fn gap(&mut self) -> usize {
        if self.rate == 1.0 {
            return 0;
        }
        // 1 − random is in (0, 1], so the logarithm is finite.
        let uniform = 1.0 - self.stream.random::<f64>();
        // Saturates at usize::MAX for a rate so small that nothing is ever kept.
        (uniform.ln() / (-self.rate).ln_1p()).floor() as usize
    }

    /// The next row with kept entries, and their columns.
    fn next_row(&mut self) -> Option<(usize, Vec<usize>)> {
        if self.next >= self.entries {
            return None;
        }
        let row = self.next / self.columns;
        let mut kept = Vec::new();
        while self.next < (row + 1) * self.columns {
            kept.push(self.next % self.columns);
            let gap = self.gap();
            self.next = self.next.saturating_add(1).saturating_add(gap);
        }
        Some((row, kept))
    }
}
