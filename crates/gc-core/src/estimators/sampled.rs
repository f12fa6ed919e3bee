//! ‖J‖²_F from some of the entries, or some of the rows, of J.

use rand::Rng;
use rand::seq::index;
use streams::Stream;

use crate::batch::Chunk;
use crate::moments::SampleEstimate;
use crate::{Passes, Result};

use super::Task;
use super::passes::Reverse;

/// (p/q) Σ ‖Jᵀe_k‖² over q of the p outputs, drawn without replacement and independently for each sample.
///
/// The variance of simple random sampling is p²(1 − q/p)s²/q with s² the variance of the q squared norms (Cochran, 1977,
/// Theorem 2.2). It can be estimated for q ≥ 2.
pub(super) fn output_sample(task: &Task<'_>, chunk: &Chunk, count: usize) -> Result<(Vec<SampleEstimate>, Passes)> {
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
    let estimates = norms.iter().map(|norms| scaled_up(norms, task.outputs)).collect();
    Ok((estimates, reverse.passes))
}

fn scaled_up(norms: &[f64], outputs: usize) -> SampleEstimate {
    let (p, q) = (outputs as f64, norms.len() as f64);
    let rows = SampleEstimate::of_replicates(norms);
    let unseen = 1.0 - q / p;
    let replicate_variance =
        if norms.len() == outputs { Some(0.0) } else { rows.replicate_variance.map(|s2| p * p * unseen * s2 / q) };
    SampleEstimate { value: p * rows.value, replicate_variance, replicates: 1 }
}

/// Σ b_kj J_kj²/ρ with independent b_kj ∈ {0, 1} of mean ρ.
///
/// The variance is Σ J_kj⁴(1 − ρ)/ρ, estimated from the same entries by Σ b_kj J_kj⁴(1 − ρ)/ρ². The distances between kept
/// entries are drawn from a geometric distribution. Rows without kept entries are not computed: in each pass every sample
/// computes its next row with a kept entry.
pub(super) fn entry_mask(task: &Task<'_>, chunk: &Chunk, rate: f64) -> Result<(Vec<SampleEstimate>, Passes)> {
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
    let estimate = |(squares, fourths): &(f64, f64)| {
        let variance = fourths * (1.0 - rate) / (rate * rate);
        SampleEstimate { value: squares / rate, replicate_variance: Some(variance), replicates: 1 }
    };
    Ok((sums.iter().map(estimate).collect(), reverse.passes))
}

/// The entries of a p × d matrix that a Bernoulli mask keeps, in the order of rows.
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

    /// The number of dropped entries before the next kept one.
    fn gap(&mut self) -> usize {
        if self.rate == 1.0 {
            return 0;
        }
        // 1 − random is in (0, 1], so the logarithm is finite.
        let uniform = 1.0 - self.stream.random::<f64>();
        // The cast saturates at usize::MAX for a rate so small that no entry is kept.
        (uniform.ln() / (-self.rate).ln_1p()).floor() as usize
    }

    /// The next row with kept entries, and the columns of these entries.
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
