//! ‖J‖²_F from the squared norms of random projections, with directions of their own for each sample.

use streams::Stream;

use crate::batch::Chunk;
use crate::moments::Reading;
use crate::{Passes, Probe, Result};

use super::Task;
use super::passes::{Reverse, forward_squared_norms};

/// Mean of ‖Jᵀv‖² over `probes` directions v in the space of the features.
pub(super) fn by_rows(task: &Task<'_>, chunk: &Chunk, probe: Probe, probes: usize) -> Result<(Vec<Reading>, Passes)> {
    let mut draws = Draws::new(task.seed, "gc-core/projection/rows", chunk, probe, probes, task.outputs);
    // A graph would repeat the forward pass, which no plan counts.
    let mut reverse = Reverse::new(task, chunk, if task.linearises { probes } else { 1 })?;
    loop {
        let cotangents: Vec<Vec<f64>> = (0..reverse.lanes).map_while(|_| draws.next()).collect();
        if cotangents.is_empty() {
            break;
        }
        let norms = reverse.squared_norms(cotangents.concat())?;
        norms.chunks(chunk.len()).for_each(|norms| draws.record(norms));
    }
    Ok((draws.readings(), reverse.passes))
}

/// Mean of ‖J u‖² over `probes` directions u in the space of the inputs.
pub(super) fn by_columns(
    task: &Task<'_>,
    chunk: &Chunk,
    probe: Probe,
    probes: usize,
) -> Result<(Vec<Reading>, Passes)> {
    let mut draws = Draws::new(task.seed, "gc-core/projection/columns", chunk, probe, probes, task.inputs);
    let mut passes = Passes::default();
    while let Some(directions) = draws.next() {
        let norms = forward_squared_norms(task, chunk, directions, &mut passes)?;
        draws.record(&norms);
    }
    Ok((draws.readings(), passes))
}

/// The directions of each sample of a chunk, block by block, and the norms that they gave.
///
/// A sample's directions come from its own stream, addressed by its position in the order of arrival, so they do not
/// depend on how samples are cut into chunks.
struct Draws {
    streams: Vec<Stream>,
    probe: Probe,
    probes: usize,
    dimension: usize,
    /// Directions of the current block of each sample, and how many of them are used.
    blocks: Vec<Vec<Vec<f64>>>,
    used: usize,
    drawn: usize,
    /// Norms of each sample, one after the other.
    norms: Vec<Vec<f64>>,
}

impl Draws {
    fn new(seed: u64, purpose: &str, chunk: &Chunk, probe: Probe, probes: usize, dimension: usize) -> Self {
        let streams = chunk.indices.iter().map(|&index| streams::stream(seed, purpose, index as u64)).collect();
        let (blocks, norms) = (Vec::new(), vec![Vec::with_capacity(probes); chunk.len()]);
        Self { streams, probe, probes, dimension, blocks, used: probe.block(), drawn: 0, norms }
    }

    /// The next direction of every sample, flat, until there have been `probes`.
    fn next(&mut self) -> Option<Vec<f64>> {
        if self.drawn == self.probes {
            return None;
        }
        if self.used == self.probe.block() {
            self.blocks = self.streams.iter_mut().map(|stream| self.probe.draw(stream, self.dimension)).collect();
            self.used = 0;
        }
        let directions = self.blocks.iter().flat_map(|block| block[self.used].iter().copied()).collect();
        self.used += 1;
        self.drawn += 1;
        Some(directions)
    }

    fn record(&mut self, norms: &[f64]) {
        self.norms.iter_mut().zip(norms).for_each(|(seen, norm)| seen.push(*norm));
    }

    /// The blocks of a sample are independent; their means are the units whose variance can be estimated.
    fn readings(&self) -> Vec<Reading> {
        let block = self.probe.block();
        // A complete orthogonal basis gives ‖J‖²_F itself.
        let complete = matches!(self.probe, Probe::Orthogonal { .. }) && block == self.dimension;
        let reading = |norms: &Vec<f64>| {
            let units: Vec<f64> = norms.chunks(block).map(|unit| unit.iter().sum::<f64>() / block as f64).collect();
            let reading = Reading::of_units(&units);
            if complete { Reading::exact(reading.value) } else { reading }
        };
        self.norms.iter().map(reading).collect()
    }
}
