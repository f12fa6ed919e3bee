//! Batches of inputs from a stream, and the chunks in which they are measured.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::iter::Fuse;

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// A batch of inputs `[n, …]`, with the class of each sample if it is known.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let inputs = Tensor::zeros((3, 1, 8, 6), DType::F32, &Device::Cpu)?;
/// let batch = gc_core::Batch::from((inputs, vec![0, 4, 4]));
/// assert_eq!(batch.labels, Some(vec![0, 4, 4]));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Batch {
    /// The inputs, one sample for each index of dimension 0.
    pub inputs: Tensor,
    /// The class of each sample.
    pub labels: Option<Vec<u32>>,
}

impl From<Tensor> for Batch {
    fn from(inputs: Tensor) -> Self {
        Self { inputs, labels: None }
    }
}

impl From<(Tensor, Vec<u32>)> for Batch {
    fn from((inputs, labels): (Tensor, Vec<u32>)) -> Self {
        Self { inputs, labels: Some(labels) }
    }
}

impl From<(Tensor, Option<Vec<u32>>)> for Batch {
    fn from((inputs, labels): (Tensor, Option<Vec<u32>>)) -> Self {
        Self { inputs, labels }
    }
}

/// Samples that are measured together, with their indices in the stream.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) inputs: Tensor,
    pub(crate) labels: Option<Vec<u32>>,
    pub(crate) indices: Vec<usize>,
}

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        self.indices.len()
    }
}

/// A stream of batches, split into chunks of any size, so that a result does not depend on the batch sizes.
pub(crate) struct Chunks<I> {
    source: Fuse<I>,
    /// Whether each sample of the stream is selected; `None` if all are.
    selected: Option<Vec<bool>>,
    /// The number of samples that the stream must have, if it was stated.
    expected: Option<usize>,
    labels_needed: bool,
    pending: VecDeque<Chunk>,
    pending_samples: usize,
    received: usize,
    sample_shape: Option<(Vec<usize>, DType)>,
}

impl<I, B, E> Chunks<I>
where
    I: Iterator<Item = std::result::Result<B, E>>,
    B: Into<Batch>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    pub(crate) fn new(source: I, selected: Option<Vec<bool>>, expected: Option<usize>, labels_needed: bool) -> Self {
        let pending = VecDeque::new();
        Self {
            source: source.fuse(),
            selected,
            expected,
            labels_needed,
            pending,
            pending_samples: 0,
            received: 0,
            sample_shape: None,
        }
    }

    /// The shape of a sample; empty before the first batch.
    pub(crate) fn sample_shape(&self) -> &[usize] {
        self.sample_shape.as_ref().map_or(&[], |(shape, _)| shape)
    }

    /// The next `count` inputs (fewer if the stream is shorter), without removing them.
    pub(crate) fn peek(&mut self, count: usize) -> Result<Tensor> {
        self.fill(count)?;
        let mut rows = Vec::new();
        let mut missing = count;
        for chunk in &self.pending {
            let taken = missing.min(chunk.len());
            rows.push(chunk.inputs.narrow(0, 0, taken)?);
            missing -= taken;
        }
        if rows.is_empty() { Err(Error::EmptyData) } else { Ok(Tensor::cat(&rows, 0)?) }
    }

    /// Removes the next `count` samples: fewer at the end of the stream, `None` after it.
    pub(crate) fn next(&mut self, count: usize) -> Result<Option<Chunk>> {
        self.fill(count)?;
        let mut parts: Vec<Chunk> = Vec::new();
        let mut missing = count;
        while missing > 0 {
            let Some(front) = self.pending.pop_front() else { break };
            let (taken, rest) = split(front, missing)?;
            missing -= taken.len();
            self.pending_samples -= taken.len();
            parts.push(taken);
            if let Some(rest) = rest {
                self.pending.push_front(rest);
            }
        }
        join(parts)
    }

    /// Reads until `count` samples are pending or the source ends.
    fn fill(&mut self, count: usize) -> Result<()> {
        while self.pending_samples < count {
            let Some(item) = self.source.next() else { return self.check_end() };
            let batch = item.map_err(|error| Error::Source(error.into()))?.into();
            let batch = self.admit(batch)?;
            if batch.len() > 0 {
                self.pending_samples += batch.len();
                self.pending.push_back(batch);
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<()> {
        match self.expected {
            Some(expected) if expected != self.received => Err(Error::PopulationSize { expected, got: self.received }),
            _ => Ok(()),
        }
    }

    /// Checks a batch, assigns indices to its samples and keeps the selected ones.
    fn admit(&mut self, batch: Batch) -> Result<Chunk> {
        let got = batch.inputs.dims().to_vec();
        let Some((&samples, sample)) = got.split_first().filter(|(_, sample)| !sample.is_empty()) else {
            return Err(Error::InputShape { expected: "at least one dimension after the samples".into(), got });
        };
        let kind = (sample.to_vec(), batch.inputs.dtype());
        let known = self.sample_shape.get_or_insert_with(|| kind.clone());
        if *known != kind {
            let expected = format!("samples of shape {:?} in {:?}", known.0, known.1);
            return Err(Error::InputShape { expected, got });
        }
        if !batch.inputs.dtype().is_float() || sample.iter().product::<usize>() == 0 {
            let expected = format!("floating-point samples that are not empty (dtype {:?})", batch.inputs.dtype());
            return Err(Error::InputShape { expected, got });
        }
        match &batch.labels {
            Some(labels) if labels.len() != samples => {
                return Err(Error::LabelCount { samples, labels: labels.len() });
            }
            None if self.labels_needed => return Err(Error::LabelsMissing),
            _ => {}
        }
        let first = self.received;
        self.received += samples;
        if let Some(expected) = self.expected.filter(|expected| self.received > *expected) {
            return Err(Error::PopulationSize { expected, got: self.received });
        }
        let chunk = Chunk { inputs: batch.inputs, labels: batch.labels, indices: (first..self.received).collect() };
        match &self.selected {
            None => Ok(chunk),
            Some(selected) => select(chunk, selected),
        }
    }
}

/// The selected samples of a chunk.
fn select(chunk: Chunk, selected: &[bool]) -> Result<Chunk> {
    let rows: Vec<usize> =
        (0..chunk.len()).filter(|&row| selected.get(chunk.indices[row]).copied().unwrap_or(false)).collect();
    if rows.len() == chunk.len() || chunk.len() == 0 {
        return Ok(chunk);
    }
    let indices = rows.iter().map(|&row| chunk.indices[row]).collect();
    let labels = chunk.labels.map(|labels| rows.iter().map(|&row| labels[row]).collect());
    if rows.is_empty() {
        return Ok(Chunk { inputs: chunk.inputs, labels, indices });
    }
    let positions: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    let positions = Tensor::from_vec(positions, rows.len(), chunk.inputs.device())?;
    Ok(Chunk { inputs: chunk.inputs.contiguous()?.index_select(&positions, 0)?, labels, indices })
}

/// Splits a chunk into its first `count` samples and the samples after them.
pub(crate) fn split(chunk: Chunk, count: usize) -> Result<(Chunk, Option<Chunk>)> {
    if chunk.len() <= count {
        return Ok((chunk, None));
    }
    let Chunk { inputs, mut labels, mut indices } = chunk;
    let tail = Chunk {
        inputs: inputs.narrow(0, count, indices.len() - count)?,
        labels: labels.as_mut().map(|labels| labels.split_off(count)),
        indices: indices.split_off(count),
    };
    Ok((Chunk { inputs: inputs.narrow(0, 0, count)?, labels, indices }, Some(tail)))
}

/// Concatenates chunks.
fn join(mut parts: Vec<Chunk>) -> Result<Option<Chunk>> {
    if parts.len() <= 1 {
        return match parts.pop() {
            None => Ok(None),
            Some(chunk) => Ok(Some(Chunk { inputs: chunk.inputs.contiguous()?, ..chunk })),
        };
    }
    let inputs: Vec<&Tensor> = parts.iter().map(|part| &part.inputs).collect();
    let inputs = Tensor::cat(&inputs, 0)?;
    let indices = parts.iter().flat_map(|part| part.indices.iter().copied()).collect();
    let labels: Option<Vec<Vec<u32>>> = parts.into_iter().map(|part| part.labels).collect();
    Ok(Some(Chunk { inputs, labels: labels.map(|labels| labels.concat()), indices }))
}
